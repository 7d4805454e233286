//! Decodes JPEG files to the same bytes as Pillow's libjpeg-turbo: accurate integer inverse DCT, triangular chroma upsampling,
//! smoothing of progressive images that end early.

use image::{ImageFormat, RgbImage, metadata::Orientation};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};

use super::{DecodeError, DecodeOptions, check_size, decode_other, one_line};

/// Encoders write about ten scans. Each scan costs a pass over all coefficients, so a hostile file with thousands would take
/// very long.
const MAX_SCANS: usize = 100;

pub(super) fn decode(
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(RgbImage, Orientation), DecodeError> {
    let markers = markers(bytes);
    if let Some(end) = markers.end {
        // Cameras append previews and metadata after the end of the image; the decoder must not see them.
        return decode_whole(&bytes[..end], Damage::Kept, options);
    }
    if !markers.is_one_scan {
        // Without an end marker, nothing tells how many scans are missing.
        return Err(DecodeError::Truncated);
    }
    // The end marker is missing, but perhaps nothing else. If two different continuations decode to the same pixels, the file
    // determines all of them and the image is complete.
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

/// How to treat an image whose scans end early or contain invalid codes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// Decode it with some blocks missing, like libjpeg.
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
        // The decoder disagrees with libjpeg on these; no known camera or program writes them.
        return Err(DecodeError::Unsupported("an unusual JPEG"));
    }
    if is_cmyk && factors.first() != factors.last() {
        // This decoder assumes that black is sampled like the first ink. The fallback's pixels differ slightly from Pillow's.
        return decode_other(bytes, ImageFormat::Jpeg, options);
    }
    decoder.set_output_format(if is_cmyk {
        PixelFormat::Cmyk
    } else {
        PixelFormat::Rgb
    });
    decoder.set_lenient(damage == Damage::Kept);
    // The default of libjpeg; it changes only progressive images that lack scans.
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

/// Converts Adobe's inverted inks in place like Pillow: `white - ink * white / 255`, with the same rounding.
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

/// The structure of a JPEG, read from its markers.
#[derive(Default)]
struct JpegMarkers {
    /// The index just after the end-of-image marker.
    end: Option<usize>,
    /// Whether this is a sequential JPEG with a single scan of all components.
    is_one_scan: bool,
}

/// Walks from marker to marker. Segments are skipped as a whole, so that the markers of embedded thumbnails do not count.
fn markers(bytes: &[u8]) -> JpegMarkers {
    let mut markers = JpegMarkers::default();
    let (mut at, mut n_scans, mut n_components) = (2, 0, 0);
    let find = |from| Some(from + first_ff(bytes.get(from..)?)?);
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
                    ..markers
                };
            }
            // A fill byte: the marker may start at the next one.
            0xff => at -= 1,
            // A stuffed 0xff within a scan, restart markers, and other markers without a length.
            0x00 | 0x01 | 0xd0..=0xd8 => {}
            // Baseline and extended sequential frames. Other frames have several scans, and leave `n_components` at 0.
            0xc0 | 0xc1 => {
                n_components = bytes.get(start + 9).copied().unwrap_or(0);
                at += length;
            }
            0xda => {
                n_scans += 1;
                let n_in_scan = bytes.get(start + 4).copied();
                markers.is_one_scan = n_scans == 1 && n_in_scan == Some(n_components);
                at += length;
            }
            _ => at += length,
        }
    }
    markers
}

/// The index of the first byte 0xff. Most bytes of a photo are passed over here, in chunks that vector code compares at once.
fn first_ff(bytes: &[u8]) -> Option<usize> {
    let is_in = |chunk: &[u8; 32]| {
        let found = chunk.iter().map(|byte| u8::from(*byte == 0xff));
        found.fold(0, |all, one| all | one) != 0
    };
    let (chunks, rest) = bytes.as_chunks();
    let skipped = chunks.iter().position(is_in).map(|chunk| 32 * chunk);
    let skipped = skipped.unwrap_or(bytes.len() - rest.len());
    let here = bytes[skipped..].iter().position(|byte| *byte == 0xff)?;
    Some(skipped + here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_marker_byte_is_found_wherever_it_is() {
        assert_eq!(first_ff(&[0xfe; 100]), None);
        for n_bytes in [1, 32, 33, 100] {
            for first in 0..n_bytes {
                let mut bytes = vec![0xfe; n_bytes];
                bytes[first..].fill(0xff);
                assert_eq!(first_ff(&bytes), Some(first));
            }
        }
    }
}
