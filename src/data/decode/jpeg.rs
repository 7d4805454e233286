//! JPEG files to the bytes that Pillow's libjpeg-turbo gives: accurate integer inverse DCT, triangular chroma
//! upsampling, smoothing of progressive images that end early.

use image::{ImageFormat, RgbImage, metadata::Orientation};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};

use super::{DecodeError, DecodeOptions, check_size, decode_other, one_line};

/// Encoders write about ten; each one of a hostile file costs a pass over all coefficients.
const MAX_SCANS: usize = 100;

pub(super) fn decode(
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(RgbImage, Orientation), DecodeError> {
    let outline = outline(bytes);
    if let Some(end) = outline.end {
        // What follows the end of image is none of the decoder's business.
        return decode_whole(&bytes[..end], Damage::Kept, options);
    }
    if !outline.is_one_scan {
        // Nothing tells how many scans there should have been.
        return Err(DecodeError::Truncated);
    }
    // The end marker is missing. The picture is whole all the same if nothing that could follow changes it.
    let body = bytes.strip_suffix(&[0xff]).unwrap_or(bytes);
    let tails: [&[u8]; 2] = [&[0xff, 0xd9], &[0x59; 4096]];
    let [first, second] = tails.map(|tail| {
        decode_whole(
            &[body, tail, &[0xff, 0xd9]].concat(),
            Damage::Refused,
            options,
        )
    });
    match (first, second) {
        (Ok(first), Ok(second)) if first.0 == second.0 => Ok(first),
        (Err(error @ DecodeError::TooManyPixels { .. }), _) => Err(error),
        _ => Err(DecodeError::Truncated),
    }
}

/// What becomes of an image whose scans hold too little or no valid codes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// It costs some blocks, as in libjpeg.
    Kept,
    Refused,
}

/// Decodes a JPEG that has an end marker.
fn decode_whole(
    bytes: &[u8],
    damage: Damage,
    options: &DecodeOptions,
) -> Result<(RgbImage, Orientation), DecodeError> {
    let limits = DecodeLimits {
        max_scans: MAX_SCANS,
        ..DecodeLimits::default()
    };
    let damaged = |error: JpegError| DecodeError::Damaged(one_line(&error.to_string()));
    let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(damaged)?;
    let header = decoder.header();
    let (width, height) = (header.width, header.height);
    check_size(u64::from(width), u64::from(height), options)?;
    if header.is_lossless {
        return Err(DecodeError::Unsupported("a lossless JPEG"));
    }
    if header.precision != 8 {
        return Err(DecodeError::Unsupported("a 12-bit JPEG"));
    }
    if decoder.is_arithmetic() {
        return Err(DecodeError::Unsupported("an arithmetic-coded JPEG"));
    }
    let is_cmyk = header.components.len() == 4;
    let factors: Vec<(u8, u8)> = header
        .components
        .iter()
        .map(|it| (it.horizontal_sampling, it.vertical_sampling))
        .collect();
    let is_larger = |(x, y): &(u8, u8)| factors.first().is_some_and(|it| *x > it.0 || *y > it.1);
    if factors.iter().any(is_larger) {
        // The decoder gives other pictures for these, which no camera or program writes.
        return Err(DecodeError::Unsupported("an unusual JPEG"));
    }
    if is_cmyk && factors.first() != factors.last() {
        // The decoder takes black for as wide as the first ink. The other one's pixels differ a little from Pillow's.
        return decode_other(bytes, ImageFormat::Jpeg, options);
    }
    decoder.set_output_format(if is_cmyk {
        PixelFormat::Cmyk
    } else {
        PixelFormat::Rgb
    });
    decoder.set_lenient(damage == Damage::Kept);
    // libjpeg's default; it changes only progressive images that lack scans.
    decoder.set_block_smoothing(true);
    let orientation = decoder
        .exif_data()
        .and_then(Orientation::from_exif_chunk)
        .unwrap_or(Orientation::NoTransforms);
    let mut pixels = decoder.decode_image().map_err(damaged)?.data;
    if is_cmyk {
        cmyk_to_rgb(&mut pixels);
    }
    RgbImage::from_raw(u32::from(width), u32::from(height), pixels)
        .map(|image| (image, orientation))
        .ok_or(DecodeError::Truncated)
}

/// Pillow's conversion of Adobe's inverted inks, in place: `white - ink * white / 255`, rounded as Pillow rounds.
fn cmyk_to_rgb(pixels: &mut Vec<u8>) {
    let n_pixels = pixels.len() / 4;
    for index in 0..n_pixels {
        let [c, m, y, white] = [0, 1, 2, 3].map(|ink| u32::from(pixels[4 * index + ink]));
        for (channel, paper) in [c, m, y].into_iter().enumerate() {
            let product = (255 - paper) * white + 128;
            let shade = ((product >> 8) + product) >> 8;
            pixels[3 * index + channel] = white.saturating_sub(shade) as u8;
        }
    }
    pixels.truncate(3 * n_pixels);
}

/// What the markers of a JPEG say.
#[derive(Default)]
struct JpegMarkers {
    /// The index just behind the end-of-image marker.
    end: Option<usize>,
    /// A sequential JPEG whose only scan holds all components.
    is_one_scan: bool,
}

/// Walks from marker to marker, over segments as a whole, so that thumbnails do not count.
fn outline(bytes: &[u8]) -> JpegMarkers {
    let mut outline = JpegMarkers::default();
    let (mut at, mut n_scans, mut n_components) = (2, 0, 0);
    let find = |from| Some(from + bytes.get(from..)?.iter().position(|&byte| byte == 0xff)?);
    while let Some(start) = find(at) {
        let Some(&marker) = bytes.get(start + 1) else {
            break;
        };
        let length = match bytes.get(start + 2..start + 4) {
            Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        };
        at = start + 2;
        match marker {
            0xd9 => {
                return JpegMarkers {
                    end: Some(at),
                    ..outline
                };
            }
            // A fill byte: the marker may start at the next one.
            0xff => at -= 1,
            // Stuffed 0xff of a scan, restart markers, and those without a length.
            0x00 | 0x01 | 0xd0..=0xd8 => {}
            // Baseline and extended sequential frames; all others have several scans.
            0xc0 | 0xc1 => {
                n_components = bytes.get(start + 9).copied().unwrap_or(0);
                at += length;
            }
            0xda => {
                n_scans += 1;
                let n_in_scan = bytes.get(start + 4).copied();
                outline.is_one_scan = n_scans == 1 && n_in_scan == Some(n_components);
                at += length;
            }
            _ => at += length,
        }
    }
    outline
}
