//! A white sheet on which lines, shapes and text are drawn with smooth edges.

use std::{cell::RefCell, io::Cursor};

use image::{ImageFormat, RgbImage};
use tiny_skia::{FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke, Transform};

use super::{
    ink::{Color, Style},
    text,
};
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Middle,
    Right,
}

pub(super) struct Sheet {
    /// Behind a cell, because many helpers draw on one sheet in turn.
    pixels: RefCell<Pixmap>,
}

/// For `map_err` on what the image library says.
fn undrawn(error: impl std::error::Error) -> Error {
    Error::report(format!("cannot draw a picture: {error}"))
}

/// Draws on a sheet of the given size, in pixels, and returns the finished picture.
pub(super) fn painted(
    width: u32,
    height: u32,
    paint: impl FnOnce(&Sheet) -> Result<()>,
) -> Result<RgbImage> {
    let mut pixels = Pixmap::new(width, height).ok_or_else(|| {
        Error::report(format!(
            "cannot draw a picture of {width} x {height} pixels"
        ))
    })?;
    pixels.fill(tiny_skia::Color::WHITE);
    let sheet = Sheet {
        pixels: RefCell::new(pixels),
    };
    paint(&sheet)?;
    // The paper is opaque, so nothing is premultiplied.
    let rgb = sheet.pixels.into_inner().take();
    let rgb = rgb
        .chunks_exact(4)
        .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]);
    Ok(RgbImage::from_raw(width, height, rgb.collect())
        .expect("the pixels are those of a sheet of this size"))
}

/// Pixels of three bytes each as a PNG file; an error if they are not as many as the sides say.
pub(crate) fn png_of(rgb: &[u8], width: u32, height: u32) -> Result<Vec<u8>> {
    let picture = RgbImage::from_raw(width, height, rgb.to_vec());
    let size = || {
        Error::report(format!(
            "cannot draw a picture of {width} x {height} pixels"
        ))
    };
    png(&picture.ok_or_else(size)?)
}

pub(super) fn png(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(undrawn)?;
    Ok(bytes.into_inner())
}

impl Sheet {
    /// `y` is the middle of the capital letters.
    pub(super) fn text(
        &self,
        text: &str,
        (x, y): (f64, f64),
        size: f64,
        align: Align,
        color: Color,
    ) -> Result<()> {
        let (outline, width) = text::outline(text, size)?;
        let shift = shift(align, width);
        let baseline = y + size * text::HALF_CAPITAL;
        let place = Transform::from_translate((x + shift) as f32, baseline as f32);
        self.glyphs(outline, color, place);
        Ok(())
    }

    /// Draws text that reads upwards; `x` is the middle of the capital letters, and left-aligned text begins at the bottom.
    pub(super) fn upright(
        &self,
        text: &str,
        (x, y): (f64, f64),
        size: f64,
        align: Align,
        color: Color,
    ) -> Result<()> {
        let (outline, width) = text::outline(text, size)?;
        let shift = shift(align, width);
        let baseline = x + size * text::HALF_CAPITAL;
        let place = Transform::from_row(0.0, -1.0, 1.0, 0.0, baseline as f32, (y - shift) as f32);
        self.glyphs(outline, color, place);
        Ok(())
    }

    fn glyphs(&self, outline: Option<Path>, color: Color, place: Transform) {
        if let Some(outline) = outline {
            let mut pixels = self.pixels.borrow_mut();
            pixels.fill_path(&outline, &paint(color), FillRule::Winding, place, None);
        }
    }

    pub(super) fn rectangle(&self, near: (f64, f64), far: (f64, f64), style: Style) {
        let corners = [near, (far.0, near.1), far, (near.0, far.1)];
        let corners = match style {
            // Whole pixels: neighbouring areas would show a seam between them.
            Style::Fill(_) => corners.map(|(x, y)| (x.round(), y.round())),
            Style::Stroke(_, width) => corners.map(|(x, y)| (crisp(x, width), crisp(y, width))),
        };
        self.path(polyline(&corners, true), style);
    }

    pub(super) fn line(&self, points: &[(f64, f64)], style: Style) {
        let mut points = points.to_vec();
        if let Style::Stroke(_, width) = style {
            let is_level = points
                .windows(2)
                .all(|pair| same(pair[0].1, pair[1].1) || same(pair[0].0, pair[1].0));
            if is_level {
                for (x, y) in &mut points {
                    (*x, *y) = (crisp(*x, width), crisp(*y, width));
                }
            }
        }
        self.path(polyline(&points, false), style);
    }

    pub(super) fn dot(&self, (x, y): (f64, f64), radius: f64, style: Style) {
        self.path(
            PathBuilder::from_circle(x as f32, y as f32, radius as f32),
            style,
        );
    }

    pub(super) fn diamond(&self, (x, y): (f64, f64), radius: f64, color: Color) {
        let corners = [
            (x, y - radius),
            (x + radius, y),
            (x, y + radius),
            (x - radius, y),
        ];
        self.polygon(&corners, color);
    }

    pub(super) fn polygon(&self, corners: &[(f64, f64)], color: Color) {
        self.path(polyline(corners, true), color.filled());
    }

    /// Draws nothing where the path is empty or has no finite bounds.
    fn path(&self, path: Option<Path>, style: Style) {
        let Some(path) = path else { return };
        let mut pixels = self.pixels.borrow_mut();
        let place = Transform::identity();
        match style {
            Style::Fill(color) => {
                pixels.fill_path(&path, &paint(color), FillRule::Winding, place, None);
            }
            Style::Stroke(color, width) => {
                let stroke = Stroke {
                    width: width as f32,
                    line_cap: LineCap::Butt,
                    line_join: LineJoin::Round,
                    ..Stroke::default()
                };
                pixels.stroke_path(&path, &paint(color), &stroke, place, None);
            }
        }
    }
}

fn shift(align: Align, width: f64) -> f64 {
    match align {
        Align::Left => 0.0,
        Align::Middle => -width / 2.0,
        Align::Right => -width,
    }
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// Where the middle of a line must lie for its edges to fall between pixels; elsewhere it would be blurred.
fn crisp(at: f64, width: f64) -> f64 {
    if (width.round() as i64) % 2 == 0 {
        at.round()
    } else {
        at.floor() + 0.5
    }
}

fn paint(color: Color) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(color.0, color.1, color.2, 255);
    paint
}

fn polyline(points: &[(f64, f64)], is_closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let (x, y) = (*x as f32, *y as f32);
        if index == 0 {
            path.move_to(x, y);
        } else {
            path.line_to(x, y);
        }
    }
    if is_closed {
        path.close();
    }
    path.finish()
}
