//! Estimates the memory that decoding a file needs besides the file itself, from its header alone. The factors were measured on
//! photos of 89 megapixels.

use std::io::{BufRead, Read as _, Seek, SeekFrom};

use image::{ColorType, ImageDecoder as _, ImageFormat, ImageReader};

use super::header_limits;

/// Bytes per pixel of the decoded image.
const RGB: f64 = 3.0;
/// Bytes per coefficient of a progressive JPEG: two, plus one per block of 64.
const COEFFICIENT: f64 = 2.0 + 1.0 / 64.0;

/// The peak number of bytes allocated while the image is decoded; `None` if the header cannot be read.
pub(crate) fn decoding_bytes(mut file: impl BufRead + Seek) -> Option<u64> {
    let mut start = Vec::new();
    file.by_ref().take(32).read_to_end(&mut start).ok()?;
    file.rewind().ok()?;
    let format = image::guess_format(&start).ok()?;
    if format == ImageFormat::Jpeg {
        return jpeg_bytes(&mut file);
    }
    let mut reader = ImageReader::with_format(file, format);
    reader.limits(header_limits(&start, format));
    let decoder = reader.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    let per_pixel = match (format, decoder.color_type()) {
        // Lossy WebP is decoded to luma and halved chroma, lossless WebP always with an alpha channel.
        (ImageFormat::WebP, _) if start.get(12..16) == Some(b"VP8 ") => 2.0 + RGB,
        (ImageFormat::WebP, _) => 4.0 + RGB,
        (_, ColorType::Rgb8) => RGB,
        (_, ColorType::L16) => 2.0 + RGB,
        (_, ColorType::Rgb16) => 6.0 + RGB,
        // The alpha channel is dropped before the samples are narrowed to 8 bits, so there is a copy of 6 bytes per pixel.
        (_, wide @ (ColorType::La16 | ColorType::Rgba16)) => {
            f64::from(wide.bytes_per_pixel()) + 6.0
        }
        (_, other) => f64::from(other.bytes_per_pixel()) + RGB,
    };
    // A TIFF's samples are copied from one buffer into another.
    let samples = match format {
        ImageFormat::Tiff => 2.0 * f64::from(decoder.color_type().bytes_per_pixel()),
        _ => 0.0,
    };
    Some((per_pixel.max(samples) * f64::from(width) * f64::from(height)) as u64)
}

/// Like [`decoding_bytes`] for a JPEG. All planes are decoded before they become pixels; for a progressive JPEG, all coefficients
/// before the planes.
fn jpeg_bytes(file: &mut (impl BufRead + Seek)) -> Option<u64> {
    file.seek(SeekFrom::Start(2)).ok()?;
    loop {
        let marker = next_marker(file)?;
        let mut length = [0; 2];
        file.read_exact(&mut length).ok()?;
        let length = u16::from_be_bytes(length).checked_sub(2)?;
        match marker {
            0xc0..=0xc2 => {
                let mut frame = vec![0; usize::from(length)];
                file.read_exact(&mut frame).ok()?;
                return frame_bytes(&frame, marker == 0xc2);
            }
            // A frame that is not supported, or a scan before any frame.
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xda => return None,
            _ => file.seek_relative(i64::from(length)).ok()?,
        }
    }
}

/// The code of the next marker, skipping fill bytes and bytes that belong to no marker.
fn next_marker(file: &mut impl BufRead) -> Option<u8> {
    let mut is_after_ff = false;
    loop {
        let mut byte = [0];
        file.read_exact(&mut byte).ok()?;
        match byte {
            [0xff] => is_after_ff = true,
            [0] => is_after_ff = false,
            [code] if is_after_ff => return Some(code),
            _ => {}
        }
    }
}

/// Estimates the memory from a frame header: precision, height, width, number of components, then three bytes per component.
fn frame_bytes(frame: &[u8], is_progressive: bool) -> Option<u64> {
    let &[_, h1, h0, w1, w0, _, ref components @ ..] = frame else {
        return None;
    };
    let [height, width] = [[h1, h0], [w1, w0]].map(u16::from_be_bytes);
    let components = components.as_chunks::<3>().0;
    let factors: Vec<(f64, f64)> = components
        .iter()
        .map(|[_, it, _]| (f64::from(it >> 4), f64::from(it & 15)))
        .collect();
    let (across, down) = factors
        .iter()
        .fold((1.0, 1.0), |(x, y), factor: &(f64, f64)| {
            (factor.0.max(x), factor.1.max(y))
        });
    let planes = factors.iter().map(|(x, y)| x * y).sum::<f64>() / (across * down);
    let output = if factors.len() == 4 { 4.0 } else { RGB };
    let coefficients = if is_progressive {
        COEFFICIENT * planes
    } else {
        0.0
    };
    // Chroma is upsampled row by row, unless the two chroma components differ or there is black too: then as whole planes.
    let is_by_row = matches!(factors[..], [_, one, other] if one == other);
    let n_upsampled = factors
        .iter()
        .filter(|factor| !is_by_row && **factor != (across, down))
        .count();
    let per_pixel = (planes + output + n_upsampled as f64).max(planes + coefficients);
    Some((per_pixel * f64::from(width) * f64::from(height)) as u64)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn per_pixel(name: &str) -> f64 {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images/");
        let bytes = std::fs::read(format!("{folder}{name}")).unwrap();
        let n_bytes = decoding_bytes(Cursor::new(&bytes)).unwrap();
        // All of them have 23 x 17 pixels.
        n_bytes as f64 / (23.0 * 17.0)
    }

    #[test]
    fn each_kind_of_file_takes_what_was_measured() {
        for (name, expected) in [
            ("baseline.jpg", 6.0),
            ("subsampled.jpg", 4.5),
            ("grey.jpg", 4.0),
            ("cmyk.jpg", 8.0),
            ("progressive.jpg", 4.52),
            (
                "jpeg/progressive_444_64x31.jpg",
                9.047 * 64.0 * 31.0 / (23.0 * 17.0),
            ),
            ("rgb.tif", 6.0),
            ("rgb_16.tif", 12.0),
            ("grey.tif", 4.0),
            ("grey.png", 4.0),
            ("palette.png", 3.0),
            ("rgb.png", 3.0),
            ("rgba.png", 7.0),
            ("grey_16.png", 5.0),
            ("rgb_16.png", 9.0),
            ("rgba_16.png", 14.0),
            ("rgb.bmp", 3.0),
            ("first_frame.gif", 7.0),
            ("lossy.webp", 5.0),
            ("lossless.webp", 7.0),
        ] {
            let found = per_pixel(name);
            assert!((found - expected).abs() < 0.01, "{name}: {found}");
        }
        assert_eq!(decoding_bytes(Cursor::new(b"words")), None);
    }
}
