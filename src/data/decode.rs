//! Decodes image files to the same RGB pixels as Pillow's `Image.open(..).convert("RGB")`.
//! Pure: bytes in, pixels out; must know neither paths nor tensors.

mod cost;
mod jpeg;

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
    RgbImage, error::LimitErrorKind, metadata::Orientation,
};

pub(crate) use self::cost::decoding_bytes;
use crate::config::experiment::Data;

/// The `IEND` chunk, with which a PNG ends.
const PNG_END: &[u8] = b"\0\0\0\0IEND\xaeB`\x82";

/// Bytes of the largest pixel: red, green, blue and alpha of 16 bits each.
const MOST_PIXEL_BYTES: u64 = 8;
/// The most bytes that a header may take in memory; colour profiles have at most a few MB.
const HEADER_BYTES: u64 = 8 << 20;

/// The limits of decoding, and whether to apply the camera's orientation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DecodeOptions {
    /// The largest allowed width times height.
    pub(crate) max_pixels: u64,
    /// Whether to rotate and mirror the image by its EXIF tag, which Pillow's `open` does not.
    pub(crate) exif_orientation: bool,
}

impl DecodeOptions {
    pub(crate) fn of(data: &Data) -> Self {
        Self {
            max_pixels: data.max_pixels,
            exif_orientation: data.exif_orientation,
        }
    }
}

/// An image as pixels `[height, width, 3]` in RGB order, 8 bits each; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RgbImage8 {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<u8>,
}

/// Why bytes are not a readable image: a predicate whose subject is the file. The text goes into `rejected.csv`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("is empty")]
    Empty,
    #[error("is not an image")]
    NotAnImage,
    #[error("is {0} image, a format that is not read; convert it to JPEG or PNG")]
    Unsupported(&'static str),
    #[error("has {width} x {height} pixels, more than data.max_pixels = {max_pixels}")]
    TooManyPixels {
        width: u64,
        height: u64,
        max_pixels: u64,
    },
    #[error("is truncated")]
    Truncated,
    #[error("is damaged: {0}")]
    Damaged(String),
}

/// Decodes an image by its content, whatever its file is called. Of an animation, decodes the first frame.
pub(crate) fn decode_rgb(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage8, DecodeError> {
    // A decoder may panic on a damaged file, which must cost that file only.
    catch_unwind(AssertUnwindSafe(|| decode(bytes, options)))
        .unwrap_or_else(|_| Err(DecodeError::Damaged("the decoder gave up".to_owned())))
}

fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<RgbImage8, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = image::guess_format(bytes).map_err(|_| unknown_format(bytes))?;
    let (image, orientation) = match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, options)?,
        ImageFormat::Png => match decode_other(bytes, format, options) {
            // If only the closing chunk is missing, all pixels are there.
            Err(DecodeError::Truncated) => {
                decode_other(&[bytes, PNG_END].concat(), format, options)
                    .map_err(|_| DecodeError::Truncated)?
            }
            decoded => decoded?,
        },
        ImageFormat::Gif | ImageFormat::Bmp | ImageFormat::WebP | ImageFormat::Tiff => {
            decode_other(bytes, format, options)?
        }
        foreign => return Err(DecodeError::Unsupported(name(foreign))),
    };
    // Pillow's `open` rotates TIFFs, whose orientation is a tag of the format itself, and no other format.
    let image = if options.exif_orientation || format == ImageFormat::Tiff {
        oriented(image, orientation)
    } else {
        image
    };
    let (width, height) = (image.width() as usize, image.height() as usize);
    Ok(RgbImage8 {
        width,
        height,
        pixels: image.into_raw(),
    })
}

fn decode_other(
    bytes: &[u8],
    format: ImageFormat,
    options: &DecodeOptions,
) -> Result<(RgbImage, Orientation), DecodeError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(header_limits(bytes, format));
    let mut decoder = reader
        .into_decoder()
        .map_err(|error| from_image_error(&error))?;
    let (width, height) = decoder.dimensions();
    check_size(u64::from(width), u64::from(height), options)?;
    if format == ImageFormat::Tiff {
        check_tiff_samples(&decoder)?;
    }
    let (n_pixels, tables) = match format {
        // The decoder allocates as many bytes as a tag claims to have, so the limit is what the file itself could hold.
        ImageFormat::Tiff => (
            u64::from(width) * u64::from(height),
            HEADER_BYTES.saturating_add(bytes.len() as u64),
        ),
        // 64 MiB are for the decoders' own tables.
        _ => (options.max_pixels, 64 << 20),
    };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(
        n_pixels
            .saturating_mul(MOST_PIXEL_BYTES)
            .saturating_add(tables),
    );
    decoder
        .set_limits(limits)
        .map_err(|error| from_image_error(&error))?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(|error| from_image_error(&error))?;
    Ok((pillow_rgb(image), orientation))
}

/// The memory limit for reading a header. Reading a PNG header decompresses its colour profile, used or not, and 2 MB can hold a
/// profile of 2 GB; profiles beyond the limit are skipped. The limit includes a row of pixels, which the decoder allocates too.
fn header_limits(bytes: &[u8], format: ImageFormat) -> Limits {
    let width = match (format, bytes.get(16..20)) {
        (ImageFormat::Png, Some(&[a, b, c, d])) => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(u64::from(width) * MOST_PIXEL_BYTES + HEADER_BYTES);
    limits
}

/// Refuses CMYK, which the decoder converts differently from Pillow, and floats, which Pillow does not read.
fn check_tiff_samples(decoder: &impl ImageDecoder) -> Result<(), DecodeError> {
    match decoder.original_color_type() {
        ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16 => {
            Err(DecodeError::Unsupported("a CMYK TIFF"))
        }
        ExtendedColorType::Rgb32F | ExtendedColorType::Rgba32F => {
            Err(DecodeError::Unsupported("a floating-point TIFF"))
        }
        _ => Ok(()),
    }
}

/// Converts to RGB like Pillow: drops alpha without blending, and narrows 16 bits to the high byte, except grey, which is clipped.
fn pillow_rgb(image: DynamicImage) -> RgbImage {
    match image {
        DynamicImage::ImageLuma16(grey) => {
            let pixels = grey
                .as_raw()
                .iter()
                .flat_map(|&value| [value.min(255) as u8; 3])
                .collect();
            RgbImage::from_raw(grey.width(), grey.height(), pixels)
                .expect("three bytes were made of each pixel")
        }
        DynamicImage::ImageLumaA16(_)
        | DynamicImage::ImageRgb16(_)
        | DynamicImage::ImageRgba16(_) => {
            let wide = image.into_rgb16();
            let pixels = wide
                .as_raw()
                .iter()
                .map(|&value| (value >> 8) as u8)
                .collect();
            RgbImage::from_raw(wide.width(), wide.height(), pixels)
                .expect("one byte was made of each sample")
        }
        narrow => narrow.into_rgb8(),
    }
}

fn oriented(image: RgbImage, orientation: Orientation) -> RgbImage {
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    image.into_rgb8()
}

fn check_size(width: u64, height: u64, options: &DecodeOptions) -> Result<(), DecodeError> {
    let max_pixels = options.max_pixels;
    if width == 0 || height == 0 {
        return Err(DecodeError::Damaged("it has no pixels".to_owned()));
    }
    if width.saturating_mul(height) > max_pixels {
        return Err(DecodeError::TooManyPixels {
            width,
            height,
            max_pixels,
        });
    }
    Ok(())
}

fn from_image_error(error: &ImageError) -> DecodeError {
    match error {
        ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeError::Truncated
        }
        ImageError::Limits(limit) if limit.kind() == LimitErrorKind::InsufficientMemory => {
            DecodeError::Damaged("decoding it would take too much memory".to_owned())
        }
        ImageError::Unsupported(kind) if kind.format_hint() == ImageFormat::Tiff.into() => {
            DecodeError::Unsupported("an unusual TIFF")
        }
        other => DecodeError::Damaged(one_line(&other.to_string())),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the first bytes of a file are those of an image, in a supported format or another one.
pub(crate) fn looks_like_an_image(head: &[u8]) -> bool {
    image::guess_format(head).is_ok() || unknown_format(head) != DecodeError::NotAnImage
}

/// Recognises formats that the `image` crate does not know. Users consider these files photos, so "is not an image" would
/// mislead them.
fn unknown_format(bytes: &[u8]) -> DecodeError {
    match bytes.get(4..12) {
        Some(b"ftypheic" | b"ftypheix" | b"ftypmif1" | b"ftypmsf1") => {
            DecodeError::Unsupported("a HEIC")
        }
        _ if bytes.starts_with(b"\xff\x0a") => DecodeError::Unsupported("a JPEG XL"),
        _ => DecodeError::NotAnImage,
    }
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Ico => "an ICO",
        ImageFormat::Avif => "an AVIF",
        ImageFormat::Pnm => "a PNM",
        ImageFormat::Tga => "a TGA",
        ImageFormat::Dds => "a DDS",
        ImageFormat::Hdr => "an HDR",
        ImageFormat::OpenExr => "an OpenEXR",
        ImageFormat::Farbfeld => "a farbfeld",
        ImageFormat::Qoi => "a QOI",
        _ => "a foreign",
    }
}

#[cfg(test)]
mod tests;
