//! Decoding against Pillow, damage and bombs.

use std::{fs, path::PathBuf};

use super::*;
use crate::disk::hash;

const OPTIONS: DecodeOptions = DecodeOptions {
    max_pixels: 1_000_000,
    exif_orientation: false,
};

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/images"
    ))
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(fixtures().join(name)).expect("the fixture is there")
}

/// Decodes a fixture, and allows each value to be `tolerance` away from Pillow's.
fn check_with(name: &str, tolerance: u8, options: &DecodeOptions) {
    let image = decode_rgb(&fixture(name), options).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!((image.width, image.height), (23, 17), "{name}");
    let expected = fixture(&format!("{name}.rgb"));
    assert_eq!(image.pixels.len(), expected.len(), "{name}");
    let worst = image
        .pixels
        .iter()
        .zip(&expected)
        .map(|(a, b)| a.abs_diff(*b))
        .max();
    assert!(worst <= Some(tolerance), "{name}: differs by {worst:?}");
}

fn check(name: &str, tolerance: u8) {
    check_with(name, tolerance, &OPTIONS);
}

#[test]
fn lossless_formats_equal_pillow_exactly() {
    for name in [
        "rgb.png",
        "grey.png",
        "grey_alpha.png",
        "palette.png",
        "palette_transparent.png",
        "rgba.png",
        "one_bit.png",
        "grey_16.png",
        "grey_alpha_16.png",
        "rgb_16.png",
        "rgba_16.png",
        "rgb.bmp",
        "palette.bmp",
        "first_frame.gif",
        "transparent.gif",
        "lossless.webp",
        "alpha.webp",
        "rgb.tif",
        "rgb_packbits.tif",
        "rgb_tiff_lzw.tif",
        "rgb_tiff_adobe_deflate.tif",
        "grey.tif",
        "rgba.tif",
        "one_bit.tif",
        "grey_16.tif",
        "grey_16_big_endian.tif",
        "rgb_16.tif",
        "rgb_16_big_endian.tif",
        "rgba_16.tif",
        // Pillow turns a TIFF, and no other format, when it opens it.
        "orientation_6.tif",
    ] {
        check(name, 0);
    }
}

#[test]
fn jpegs_equal_pillow_exactly() {
    for name in [
        "baseline.jpg",
        "subsampled.jpg",
        "progressive.jpg",
        "grey.jpg",
        "restarts.jpg",
        "keep_rgb.jpg",
        "cmyk.jpg",
        "ycck.jpg",
        "trailing_bytes.jpg",
    ] {
        check(name, 0);
    }
    let table = String::from_utf8(fixture("jpeg/pillow.txt")).unwrap();
    for line in table.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [name, width, height, sha256] = fields[..] else {
            panic!("{line}");
        };
        let image = decode_rgb(&fixture(&format!("jpeg/{name}")), &OPTIONS)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(image.width.to_string(), width, "{name}");
        assert_eq!(image.height.to_string(), height, "{name}");
        assert_eq!(hash::sha256_of_bytes(&image.pixels), sha256, "{name}");
    }
}

#[test]
fn a_lossy_webp_equals_pillow_within_the_freedom_of_decoders() {
    check("lossy.webp", 3);
}

#[test]
fn inks_of_several_sizes_are_read_too() {
    check("subsampled_inks.jpg", 2);
}

#[test]
fn orientation_counts_only_when_asked_for() {
    check_with(
        "orientation_6.jpg",
        0,
        &DecodeOptions {
            exif_orientation: true,
            ..OPTIONS
        },
    );
    let image = decode_rgb(&fixture("orientation_6.jpg"), &OPTIONS).expect("it decodes");
    assert_eq!((image.width, image.height), (17, 23));
}

#[test]
fn damaged_files_are_refused_in_one_plain_line() {
    for entry in fs::read_dir(fixtures().join("damaged")).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let bytes = fs::read(&path).expect("it can be read");
        let error = decode_rgb(&bytes, &OPTIONS).expect_err(&path.display().to_string());
        assert!(
            !error.to_string().contains('\n'),
            "{}: {error}",
            path.display()
        );
    }
}

#[test]
fn every_cut_of_a_jpeg_that_loses_data_is_refused() {
    for name in [
        "baseline.jpg",
        "progressive.jpg",
        "restarts.jpg",
        "cmyk.jpg",
    ] {
        let whole = fixture(name);
        for n in 0..whole.len() - 3 {
            assert!(
                decode_rgb(&whole[..n], &OPTIONS).is_err(),
                "{name} cut to {n} bytes"
            );
        }
    }
}

#[test]
fn a_jpeg_that_lacks_only_its_end_marker_is_whole() {
    for name in [
        "baseline.jpg",
        "subsampled.jpg",
        "grey.jpg",
        "restarts.jpg",
        "cmyk.jpg",
    ] {
        let bytes = fixture(name);
        let whole = decode_rgb(&bytes, &OPTIONS);
        assert_eq!(
            decode_rgb(&bytes[..bytes.len() - 2], &OPTIONS),
            whole,
            "{name}"
        );
        assert_eq!(
            decode_rgb(&bytes[..bytes.len() - 1], &OPTIONS),
            whole,
            "{name}"
        );
    }
    // How many scans a progressive one should have is not known.
    let bytes = fixture("progressive.jpg");
    assert_eq!(
        decode_rgb(&bytes[..bytes.len() - 2], &OPTIONS),
        Err(DecodeError::Truncated)
    );
}

#[test]
fn a_png_that_lacks_only_its_end_chunk_is_whole() {
    let bytes = fixture("rgb.png");
    let whole = decode_rgb(&bytes, &OPTIONS);
    assert_eq!(
        decode_rgb(&bytes[..bytes.len() - PNG_END.len()], &OPTIONS),
        whole
    );
}

#[test]
fn a_png_cut_between_two_data_chunks_is_refused() {
    let bytes = fixture("damaged/between_chunks.png");
    assert_eq!(decode_rgb(&bytes, &OPTIONS), Err(DecodeError::Truncated));
}

#[test]
fn bytes_around_markers_do_no_harm() {
    let plain = fixture("baseline.jpg");
    let whole = decode_rgb(&plain, &OPTIONS);
    let tables = plain
        .windows(2)
        .position(|pair| pair == [0xff, 0xdb])
        .expect("it has tables");
    for extra in [&b"abc"[..], &[0xff; 3]] {
        let bytes = [&plain[..tables], extra, &plain[tables..]].concat();
        assert_eq!(decode_rgb(&bytes, &OPTIONS), whole, "{extra:?}");
    }
}

#[test]
fn a_cut_of_other_formats_is_refused_or_gives_the_whole_picture() {
    for name in [
        "rgb.png",
        "palette.png",
        "rgb.bmp",
        "first_frame.gif",
        "lossless.webp",
        "lossy.webp",
        "rgb.tif",
        "rgb_tiff_lzw.tif",
    ] {
        let bytes = fixture(name);
        let whole = decode_rgb(&bytes, &OPTIONS);
        for n in 0..bytes.len() {
            let cut = decode_rgb(&bytes[..n], &OPTIONS);
            assert!(cut.is_err() || cut == whole, "{name} cut to {n} bytes");
        }
    }
}

#[test]
fn too_many_pixels_are_refused_from_the_header_alone() {
    let options = DecodeOptions {
        max_pixels: 23 * 17 - 1,
        ..OPTIONS
    };
    for name in [
        "rgb.png",
        "baseline.jpg",
        "rgb.bmp",
        "first_frame.gif",
        "lossy.webp",
        "rgb.tif",
    ] {
        let error = decode_rgb(&fixture(name), &options).expect_err(name);
        assert!(
            matches!(
                error,
                DecodeError::TooManyPixels {
                    width: 23,
                    height: 17,
                    ..
                }
            ),
            "{name}: {error}"
        );
    }
    // 60,000 x 60,000 pixels in a file of some bytes.
    let mut bomb = fixture("rgb.bmp");
    bomb[18..22].copy_from_slice(&60_000_u32.to_le_bytes());
    bomb[22..26].copy_from_slice(&60_000_u32.to_le_bytes());
    let error = decode_rgb(&bomb, &OPTIONS).expect_err("a bomb");
    assert!(
        matches!(error, DecodeError::TooManyPixels { .. }),
        "{error}"
    );
}

#[test]
fn what_is_no_image_is_called_so() {
    assert_eq!(decode_rgb(b"", &OPTIONS), Err(DecodeError::Empty));
    assert_eq!(
        decode_rgb(b"plain words", &OPTIONS),
        Err(DecodeError::NotAnImage)
    );
    assert_eq!(
        decode_rgb(b"qoif and so on", &OPTIONS),
        Err(DecodeError::Unsupported("a QOI"))
    );
}

#[test]
fn formats_that_are_not_read_are_named() {
    let refused = |bytes: &[u8]| decode_rgb(bytes, &OPTIONS).unwrap_err().to_string();
    let advice = "image, a format that is not read; convert it to JPEG or PNG";
    for (name, kind) in [
        ("cmyk.tif", "a CMYK TIFF"),
        ("grey_alpha.tif", "an unusual TIFF"),
        ("palette.tif", "an unusual TIFF"),
        ("float.tif", "an unusual TIFF"),
    ] {
        let found = refused(&fixture(&format!("unread/{name}")));
        assert_eq!(found, format!("is {kind} {advice}"), "{name}");
    }
    assert_eq!(
        refused(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1"),
        format!("is an AVIF {advice}")
    );
    let baseline = fixture("baseline.jpg");
    let frame = baseline.windows(2).position(|pair| pair == [0xff, 0xc0]);
    let frame = frame.expect("it has a frame");
    for (marker, precision, kind) in [
        (0xc3, 8, "a lossless JPEG"),
        (0xc1, 12, "a 12-bit JPEG"),
        (0xc9, 8, "an arithmetic-coded JPEG"),
    ] {
        let mut bytes = baseline.clone();
        (bytes[frame + 1], bytes[frame + 4]) = (marker, precision);
        assert_eq!(refused(&bytes), format!("is {kind} {advice}"));
    }
    // Blue-difference chroma of twice luma's size.
    let mut bytes = baseline;
    bytes[frame + 14] = 0x22;
    assert_eq!(refused(&bytes), format!("is an unusual JPEG {advice}"));
}

#[test]
fn a_tiff_that_promises_more_than_it_holds_is_refused() {
    let whole = fixture("rgb_16.tif");
    let entries = u32::from_le_bytes(whole[4..8].try_into().unwrap()) as usize + 2;
    for index in 0..9 {
        // The number of values of each tag, then its value.
        for field in [4, 8] {
            let mut bytes = whole.clone();
            let at = entries + 12 * index + field;
            bytes[at..at + 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
            let found = decode_rgb(&bytes, &OPTIONS);
            assert!(
                found.is_err() || found == decode_rgb(&whole, &OPTIONS),
                "tag {index}, byte {field}"
            );
        }
    }
}

#[test]
fn random_damage_never_panics() {
    let mut state = 1_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    for name in [
        "rgb.png",
        "progressive.jpg",
        "subsampled.jpg",
        "cmyk.jpg",
        "palette.bmp",
        "first_frame.gif",
        "lossy.webp",
        "rgb_16.tif",
        "rgb_tiff_lzw.tif",
    ] {
        let whole = fixture(name);
        for _ in 0..100 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                let at = random() % bytes.len();
                bytes[at] = random() as u8;
            }
            let _ = decode_rgb(&bytes, &OPTIONS);
        }
    }
}
