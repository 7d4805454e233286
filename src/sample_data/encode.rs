//! Encodes pictures as files: mostly JPEG of varying quality, some PNG, some grey; and makes broken files.

use image::{
    DynamicImage, ExtendedColorType, ImageEncoder, ImageError, RgbImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
};

use super::dice::Dice;

pub(super) struct Encoded {
    pub(super) extension: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// JPEG quality in percent.
const QUALITY: std::ops::RangeInclusive<usize> = 55..=95;

pub(super) fn any(picture: RgbImage, dice: &mut Dice) -> Result<Encoded, ImageError> {
    let quality = dice.count(*QUALITY.start(), *QUALITY.end()) as u8;
    let is_png = dice.chance(0.1);
    let picture = DynamicImage::ImageRgb8(picture);
    let picture = if dice.chance(0.08) {
        DynamicImage::ImageLuma8(picture.into_luma8())
    } else {
        picture
    };
    if is_png {
        return Ok(Encoded {
            extension: "png",
            bytes: png(&picture)?,
        });
    }
    Ok(Encoded {
        extension: "jpg",
        bytes: jpeg(&picture, quality)?,
    })
}

fn jpeg(picture: &DynamicImage, quality: u8) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(picture)?;
    Ok(bytes)
}

fn png(picture: &DynamicImage) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let colour: ExtendedColorType = picture.color().into();
    PngEncoder::new(&mut bytes).write_image(
        picture.as_bytes(),
        picture.width(),
        picture.height(),
        colour,
    )?;
    Ok(bytes)
}

/// A broken or misnamed file, as they occur in every folder of photos.
pub(super) struct Oddity {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    /// Whether a decoder that ignores the file name can decode it.
    pub(super) is_picture: bool,
}

pub(super) fn oddities(picture: RgbImage) -> Result<Vec<Oddity>, ImageError> {
    let picture = DynamicImage::ImageRgb8(picture);
    let mut truncated = jpeg(&picture, 80)?;
    // Truncated within the tables, before the first pixel, so that no decoder can return part of the picture.
    truncated.truncate(300);
    let mut archive = b"PK\x03\x04\x14\x00\x00\x00\x08\x00".to_vec();
    archive.resize(512, 0x5a);
    let text = b"These were taken in the garden. The good ones are on the other card.\n".to_vec();
    Ok(vec![
        Oddity {
            name: "archive.jpg",
            bytes: archive,
            is_picture: false,
        },
        Oddity {
            name: "empty.jpg",
            bytes: Vec::new(),
            is_picture: false,
        },
        Oddity {
            name: "notes.jpg",
            bytes: text,
            is_picture: false,
        },
        Oddity {
            name: "png-named.jpg",
            bytes: png(&picture)?,
            is_picture: true,
        },
        Oddity {
            name: "truncated.jpg",
            bytes: truncated,
            is_picture: false,
        },
    ])
}
