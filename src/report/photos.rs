//! Grids of photos, each with a title and its file name.

use image::{ImageBuffer, Rgb, RgbImage, imageops};

use super::{
    ink::{Color, FAINT_INK, INK},
    sheet::{self, Align, Sheet},
    text,
};
use crate::error::Result;

/// The most photos on one sheet.
pub(crate) const MOST_TILES: usize = 16;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile<'a> {
    /// Three bytes per pixel, row by row.
    pub(crate) rgb: &'a [u8],
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) title: Title<'a>,
    /// What is shown below the photo.
    pub(crate) caption: &'a str,
}

/// The two lines above a photo.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Title<'a> {
    /// Green for a correct prediction, red for a wrong one.
    Prediction {
        predicted: &'a str,
        probability: f64,
        truth: &'a str,
    },
    /// Any text, and a smaller one below it.
    Plain(&'a str, &'a str),
}

/// A green that is dark enough to be legible on white.
pub(super) const RIGHT: Color = Color(0, 122, 61);
pub(super) const WRONG: Color = Color(200, 30, 30);
const MAT: Color = Color(240, 241, 243);

/// The side of a photo, in pixels.
const PHOTO: u32 = 216;
const GAP: u32 = 20;
/// The room for the two lines of a title, in pixels.
const TITLE: u32 = 50;
/// The room for the file name, in pixels.
const CAPTION: u32 = 22;
/// The height of a tile with the gap below it.
const ROW: u32 = TITLE + PHOTO + CAPTION + GAP;
const HEAD: u32 = 58;
const MIN_WIDTH: u32 = 480;
const MAX_COLUMNS: usize = 8;

/// Draws a grid of photos, row by row; `None` leaves its place empty. The heading says what the photos have in common, the note
/// beside it how many there are.
pub(crate) fn photo_grid(
    (heading, note): (&str, &str),
    tiles: &[Option<Tile<'_>>],
    n_columns: usize,
) -> Result<Vec<u8>> {
    let (n_tiles, n_columns) = (tiles.len(), n_columns.max(1));
    let tiles = || {
        let tiles = tiles.iter().enumerate();
        tiles.filter_map(|(at, tile)| Some((at, tile.as_ref()?)))
    };
    let n_rows = n_tiles.div_ceil(n_columns) as u32;
    let grid_width = n_columns as u32 * (PHOTO + GAP) + GAP;
    let width = grid_width.max(MIN_WIDTH);
    let height = HEAD + n_rows.max(1) * ROW;
    // A single row is centred under the heading.
    let left = (width - grid_width) / 2 + GAP;
    let corner = |at: usize| {
        let (column, row) = ((at % n_columns) as u32, (at / n_columns) as u32);
        (left + column * (PHOTO + GAP), HEAD + row * ROW)
    };
    let mut picture = sheet::painted(width, height, |sheet| {
        head(sheet, (heading, note), width)?;
        for (at, tile) in tiles() {
            let (x, y) = corner(at);
            title(sheet, tile.title, (f64::from(x), f64::from(y)))?;
            let (top, side) = (f64::from(y + TITLE), f64::from(PHOTO));
            sheet.rectangle(
                (f64::from(x), top),
                (f64::from(x) + side, top + side),
                MAT.filled(),
            );
            caption(sheet, tile.caption, (f64::from(x), top + side))?;
        }
        Ok(())
    })?;
    // Photos go in last and at their final size, so that they are scaled only once.
    for (at, tile) in tiles() {
        if let Some(photo) = letterboxed(tile.rgb, tile.width, tile.height) {
            let (x, y) = corner(at);
            let (x, y) = (
                x + (PHOTO - photo.width()) / 2,
                y + TITLE + (PHOTO - photo.height()) / 2,
            );
            imageops::replace(&mut picture, &photo, i64::from(x), i64::from(y));
        }
    }
    sheet::png(&picture)
}

/// How many columns look best: four for up to 16 tiles, otherwise as square as possible.
pub(crate) fn columns(n_tiles: usize) -> usize {
    if n_tiles <= 16 {
        n_tiles.clamp(1, 4)
    } else {
        ((n_tiles as f64).sqrt().ceil() as usize).min(MAX_COLUMNS)
    }
}

fn head(sheet: &Sheet, (heading, note): (&str, &str), width: u32) -> Result<()> {
    let at = (f64::from(GAP), 28.0);
    sheet.text(heading, at, 22.0, Align::Left, INK)?;
    let at = (f64::from(width - GAP), 29.0);
    sheet.text(note, at, 15.0, Align::Right, FAINT_INK)
}

fn caption(sheet: &Sheet, file: &str, (x, y): (f64, f64)) -> Result<()> {
    const SIZE: f64 = 12.0;
    let room = f64::from(PHOTO);
    let file = text::elided(file, SIZE, room)?;
    let at = (x + room / 2.0, y + 13.0);
    sheet.text(&file, at, SIZE, Align::Middle, FAINT_INK)
}

fn title(sheet: &Sheet, title: Title<'_>, (x, y): (f64, f64)) -> Result<()> {
    const SIZE: f64 = 17.0;
    const SMALL: f64 = 14.0;
    let room = f64::from(PHOTO);
    let (upper, lower, colors) = match title {
        Title::Prediction {
            predicted,
            probability,
            truth,
        } => {
            let (sign, color) = if predicted == truth {
                ("✓", RIGHT)
            } else {
                ("✗", WRONG)
            };
            let probability = text::percent(probability, 0);
            let fixed = text::width(&format!("{sign}   {probability}"), SIZE)?;
            let predicted = text::shortened(predicted, SIZE, room - fixed - 2.0)?;
            let prefix = "true: ";
            let truth = text::shortened(truth, SMALL, room - text::width(prefix, SMALL)? - 2.0)?;
            (
                format!("{sign} {predicted}  {probability}"),
                format!("{prefix}{truth}"),
                [color, color],
            )
        }
        Title::Plain(upper, lower) => (
            text::shortened(upper, SIZE, room - 2.0)?,
            text::shortened(lower, SMALL, room - 2.0)?,
            [INK, FAINT_INK],
        ),
    };
    let middle = x + room / 2.0;
    // A single line stands close to its photo.
    let height = if lower.is_empty() { 30.0 } else { 12.0 };
    let at = (middle, y + height);
    sheet.text(&upper, at, SIZE, Align::Middle, colors[0])?;
    sheet.text(&lower, (middle, y + 34.0), SMALL, Align::Middle, colors[1])
}

/// The photo scaled to fit a tile; `None` if there are too few bytes for its size. A photo with the size of a tile is not
/// changed.
pub(crate) fn letterboxed(rgb: &[u8], width: u32, height: u32) -> Option<RgbImage> {
    if width == 0 || height == 0 {
        return None;
    }
    let n_bytes = (width as usize)
        .checked_mul(height as usize)?
        .checked_mul(3)?;
    // Borrowed rather than copied: a photo may take hundreds of megabytes.
    let photo = ImageBuffer::<Rgb<u8>, _>::from_raw(width, height, rgb.get(..n_bytes)?)?;
    let scale = f64::from(PHOTO) / f64::from(width.max(height));
    let side = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).clamp(1, PHOTO);
    Some(imageops::resize(
        &photo,
        side(width),
        side(height),
        imageops::FilterType::Triangle,
    ))
}
