//! The memory that decoding a file takes beside the file itself, from its header alone. Measured on photos of 89 megapixels.

use std::io::{BufRead, Read as _, Seek, SeekFrom};

use image::{ColorType, ImageDecoder as _, ImageFormat, ImageReader};

use super::header_limits;

/// Bytes of what is returned, for each pixel.
const RGB: f64 = 3.0;

/// The most bytes that are taken at once while the image is decoded; `None` where the header can't be read.
pub(crate) fn decoding_bytes(mut file: impl BufRead + Seek) -> Option<u64> {
    let mut start = Vec::new();
    file.by_ref().take(32).read_to_end(&mut start).ok()?;
    file.rewind().ok()?;
    let format = image::guess_format(&start).ok()?;
    let coefficients = match format {
        ImageFormat::Jpeg => coefficient_bytes(&mut file).unwrap_or(0.0),
        _ => 0.0,
    };
    file.rewind().ok()?;
    let mut reader = ImageReader::with_format(file, format);
    reader.limits(header_limits(&start, format));
    let decoder = reader.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    let per_pixel = match (format, decoder.color_type()) {
        (ImageFormat::Jpeg, _) => RGB + coefficients,
        // A lossy one is decoded to luma and halved chroma, a lossless one always with transparency.
        (ImageFormat::WebP, _) if start.get(12..16) == Some(b"VP8 ") => 2.0 + RGB,
        (ImageFormat::WebP, _) => 4.0 + RGB,
        (_, ColorType::Rgb8) => RGB,
        (_, ColorType::L16) => 2.0 + RGB,
        (_, ColorType::Rgb16) => 6.0 + RGB,
        // They lose their transparency before they are narrowed.
        (_, wide @ (ColorType::La16 | ColorType::Rgba16)) => {
            f64::from(wide.bytes_per_pixel()) + 6.0
        }
        (_, other) => f64::from(other.bytes_per_pixel()) + RGB,
    };
    Some((per_pixel * f64::from(width) * f64::from(height)) as u64)
}

/// What a progressive JPEG keeps of each pixel until its last scan: two bytes a coefficient, where a component has one.
fn coefficient_bytes(file: &mut (impl BufRead + Seek)) -> Option<f64> {
    file.seek(SeekFrom::Start(2)).ok()?;
    loop {
        let mut head = [0; 4];
        file.read_exact(&mut head).ok()?;
        let [0xff, marker, high, low] = head else {
            return None;
        };
        let length = u16::from_be_bytes([high, low]).checked_sub(2)?;
        match marker {
            0xc2 => {
                let mut frame = vec![0; usize::from(length)];
                file.read_exact(&mut frame).ok()?;
                // Precision, height, width and the number of components; then three bytes for each of them.
                let components = frame.get(6..)?.as_chunks::<3>().0;
                let factors = components.iter().map(|[_, it, _]| (it >> 4, it & 15));
                let areas: Vec<f64> = factors.map(|(x, y)| f64::from(x) * f64::from(y)).collect();
                let largest = areas.iter().copied().fold(1.0, f64::max);
                return Some(2.0 * areas.iter().sum::<f64>() / largest);
            }
            // Another frame, or the first scan.
            0xc0 | 0xc1 | 0xda => return Some(0.0),
            _ => file.seek_relative(i64::from(length)).ok()?,
        }
    }
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
            ("baseline.jpg", 3.0),
            ("grey.jpg", 3.0),
            ("progressive.jpg", 6.0),
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
