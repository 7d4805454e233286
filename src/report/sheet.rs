//! A white sheet in logical pixels, which is drawn at twice the size and scaled down, so that every edge is smooth.

use std::io::Cursor;

use image::{ImageFormat, RgbImage, imageops};
use plotters::{
    backend::BitMapBackend,
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Circle, PathElement, Polygon, Rectangle},
    style::{
        Color, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::text;
use crate::error::{Error, Result};

pub(super) const INK: RGBColor = RGBColor(34, 34, 38);
pub(super) const FAINT_INK: RGBColor = RGBColor(105, 108, 116);
pub(super) const HAIR: RGBColor = RGBColor(222, 224, 228);
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const VERMILION: RGBColor = RGBColor(213, 94, 0);
pub(super) const PAPER: RGBColor = RGBColor(255, 255, 255);

/// The number of drawn pixels per pixel of the finished picture.
pub(super) const SCALE: f64 = 2.0;

pub(super) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Middle,
    Right,
}

pub(super) struct Sheet<'a> {
    pub(super) area: Area<'a>,
}

/// Converts an error of the plotting library, for `map_err`.
pub(super) fn undrawn(error: impl std::error::Error) -> Error {
    Error::report(format!("cannot draw the picture: {error}"))
}

pub(super) fn scaled(pixels: f64) -> i32 {
    (pixels * SCALE).round() as i32
}

/// Draws on a sheet of the given logical size and returns the finished pixels.
pub(super) fn painted(
    width: u32,
    height: u32,
    paint: impl FnOnce(&Sheet) -> Result<()>,
) -> Result<RgbImage> {
    let (drawn_width, drawn_height) = (width * SCALE as u32, height * SCALE as u32);
    let mut pixels = vec![255_u8; drawn_width as usize * drawn_height as usize * 3];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (drawn_width, drawn_height))
            .into_drawing_area();
        let sheet = Sheet { area };
        paint(&sheet)?;
        sheet.area.present().map_err(undrawn)?;
    }
    let drawn = RgbImage::from_raw(drawn_width, drawn_height, pixels)
        .expect("the buffer was made for exactly this size");
    Ok(imageops::thumbnail(&drawn, width, height))
}

pub(super) fn png(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(undrawn)?;
    Ok(bytes.into_inner())
}

impl Sheet<'_> {
    /// Draws text; `y` is the middle of the capital letters.
    pub(super) fn text(
        &self,
        text: &str,
        (x, y): (f64, f64),
        size: f64,
        align: Align,
        colour: RGBColor,
    ) -> Result<()> {
        self.letters(
            text,
            (x, y - size * CAPITALS_SHIFT),
            size,
            align,
            colour,
            FontTransform::None,
        )
    }

    /// Draws text that reads upwards; `x` is the middle of the capital letters, and left-aligned text begins at the bottom.
    pub(super) fn upright(
        &self,
        text: &str,
        (x, y): (f64, f64),
        size: f64,
        align: Align,
        colour: RGBColor,
    ) -> Result<()> {
        self.letters(
            text,
            (x - size * CAPITALS_SHIFT, y),
            size,
            align,
            colour,
            FontTransform::Rotate270,
        )
    }

    fn letters(
        &self,
        text: &str,
        (x, y): (f64, f64),
        size: f64,
        align: Align,
        colour: RGBColor,
        transform: FontTransform,
    ) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let horizontal = match align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        let font = (text::family()?, size * SCALE)
            .into_font()
            .transform(transform);
        let style = TextStyle::from(font)
            .color(&colour)
            .pos(Pos::new(horizontal, VPos::Top));
        self.area
            .draw_text(text, &style, (scaled(x), scaled(y)))
            .map_err(undrawn)
    }

    pub(super) fn rectangle(
        &self,
        (left, top): (f64, f64),
        (right, bottom): (f64, f64),
        style: ShapeStyle,
    ) -> Result<()> {
        let corners = [(scaled(left), scaled(top)), (scaled(right), scaled(bottom))];
        self.area
            .draw(&Rectangle::new(corners, style))
            .map_err(undrawn)
    }

    pub(super) fn line(&self, points: &[(f64, f64)], style: ShapeStyle) -> Result<()> {
        let points: Vec<_> = points
            .iter()
            .map(|&(x, y)| (scaled(x), scaled(y)))
            .collect();
        self.area
            .draw(&PathElement::new(points, style))
            .map_err(undrawn)
    }

    pub(super) fn dot(&self, (x, y): (f64, f64), radius: f64, style: ShapeStyle) -> Result<()> {
        self.area
            .draw(&Circle::new((scaled(x), scaled(y)), scaled(radius), style))
            .map_err(undrawn)
    }

    pub(super) fn diamond(&self, (x, y): (f64, f64), radius: f64, colour: RGBColor) -> Result<()> {
        let corners = [
            (x, y - radius),
            (x + radius, y),
            (x, y + radius),
            (x - radius, y),
        ];
        self.polygon(&corners, colour)
    }

    pub(super) fn polygon(&self, corners: &[(f64, f64)], colour: RGBColor) -> Result<()> {
        let corners: Vec<_> = corners
            .iter()
            .map(|&(x, y)| (scaled(x), scaled(y)))
            .collect();
        self.area
            .draw(&Polygon::new(corners, colour.filled()))
            .map_err(undrawn)
    }
}

/// The distance from the top of a line of text, where the library places it, to the middle of its capitals, relative to the size.
const CAPITALS_SHIFT: f64 = 0.187;
