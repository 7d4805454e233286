//! A painting: fills and lines in unit coordinates under a pose, with an optional clip.

use image::{Rgb as Pixel, RgbImage};
use tiny_skia::{
    Color, FillRule, GradientStop, LineCap, LineJoin, LinearGradient, Mask, Paint, Pixmap, Point,
    Shader, SpreadMode, Stroke, Transform,
};

use super::{dice::Dice, outline::Outline};

/// A colour, with each component from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rgb(pub(super) f32, pub(super) f32, pub(super) f32);

impl Rgb {
    pub(super) const BLACK: Self = Self(0.05, 0.05, 0.06);
    pub(super) const WHITE: Self = Self(0.96, 0.95, 0.93);

    /// Hue in turns, saturation and value from 0 to 1.
    pub(super) fn from_hsv(hue: f32, saturation: f32, value: f32) -> Self {
        let part = |offset: f32| {
            let k = (offset + hue.rem_euclid(1.0) * 6.0) % 6.0;
            value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
        };
        Self(part(5.0), part(3.0), part(1.0))
    }

    pub(super) fn any(dice: &mut Dice) -> Self {
        Self::from_hsv(
            dice.between(0.0, 1.0),
            dice.between(0.05, 0.9),
            dice.between(0.15, 1.0),
        )
    }

    pub(super) fn mix(self, other: Self, share: f32) -> Self {
        let part = |a: f32, b: f32| a + (b - a) * share;
        Self(
            part(self.0, other.0),
            part(self.1, other.1),
            part(self.2, other.2),
        )
    }

    pub(super) fn darker(self, share: f32) -> Self {
        self.mix(Self::BLACK, share)
    }

    pub(super) fn lighter(self, share: f32) -> Self {
        self.mix(Self::WHITE, share)
    }

    pub(super) fn luminance(self) -> f32 {
        0.3 * self.0 + 0.59 * self.1 + 0.11 * self.2
    }

    /// A random colour whose luminance differs from that of `self` by more than `distance`.
    pub(super) fn contrasting(self, dice: &mut Dice, distance: f32) -> Self {
        for _ in 0..20 {
            let other = Self::any(dice);
            if (other.luminance() - self.luminance()).abs() > distance {
                return other;
            }
        }
        if self.luminance() > 0.5 {
            Self::BLACK
        } else {
            Self::WHITE
        }
    }

    fn color(self, alpha: f32) -> Color {
        let part = |value: f32| value.clamp(0.0, 1.0);
        Color::from_rgba(part(self.0), part(self.1), part(self.2), part(alpha))
            .unwrap_or(Color::BLACK)
    }
}

/// The colour of a fill or line: one colour, or a gradient of two between `from` and `to`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ink {
    Plain(Rgb, f32),
    Fading {
        first: Rgb,
        last: Rgb,
        from: (f32, f32),
        to: (f32, f32),
    },
}

impl From<Rgb> for Ink {
    fn from(colour: Rgb) -> Self {
        Self::Plain(colour, 1.0)
    }
}

impl Ink {
    fn paint(self) -> Paint<'static> {
        let shader = match self {
            Self::Plain(colour, alpha) => Shader::SolidColor(colour.color(alpha)),
            Self::Fading {
                first,
                last,
                from,
                to,
            } => LinearGradient::new(
                Point::from_xy(from.0, from.1),
                Point::from_xy(to.0, to.1),
                vec![
                    GradientStop::new(0.0, first.color(1.0)),
                    GradientStop::new(1.0, last.color(1.0)),
                ],
                SpreadMode::Pad,
                Transform::identity(),
            )
            .unwrap_or_else(|| Shader::SolidColor(first.color(1.0))),
        };
        Paint {
            shader,
            anti_alias: true,
            ..Paint::default()
        }
    }
}

pub(super) struct Painting {
    pixmap: Pixmap,
    clip: Option<Mask>,
    /// The transform from unit coordinates to pixels.
    pub(super) pose: Transform,
}

impl Painting {
    pub(super) fn new(width: u32, height: u32) -> Self {
        let pixmap = Pixmap::new(width, height).expect("sides are above zero and far below 2^16");
        Self {
            pixmap,
            clip: None,
            pose: Transform::identity(),
        }
    }

    pub(super) fn width(&self) -> f32 {
        self.pixmap.width() as f32
    }

    pub(super) fn height(&self) -> f32 {
        self.pixmap.height() as f32
    }

    pub(super) fn fill(&mut self, outline: &Outline, ink: impl Into<Ink>) {
        self.fill_by(outline, ink, FillRule::Winding);
    }

    /// Fills the outline, with holes where it overlaps itself an even number of times.
    pub(super) fn fill_with_holes(&mut self, outline: &Outline, ink: impl Into<Ink>) {
        self.fill_by(outline, ink, FillRule::EvenOdd);
    }

    fn fill_by(&mut self, outline: &Outline, ink: impl Into<Ink>, rule: FillRule) {
        if let Some(path) = outline {
            self.pixmap.fill_path(
                path,
                &ink.into().paint(),
                rule,
                self.pose,
                self.clip.as_ref(),
            );
        }
    }

    /// Draws the outline as a line. `width` is in unit coordinates, like the outline.
    pub(super) fn line(&mut self, outline: &Outline, ink: impl Into<Ink>, width: f32) {
        if let Some(path) = outline {
            let stroke = Stroke {
                width,
                line_cap: LineCap::Round,
                line_join: LineJoin::Round,
                ..Stroke::default()
            };
            self.pixmap.stroke_path(
                path,
                &ink.into().paint(),
                &stroke,
                self.pose,
                self.clip.as_ref(),
            );
        }
    }

    /// Restricts painting to the inside of the outline, until `unclip`.
    pub(super) fn clip(&mut self, outline: &Outline) {
        self.clip = outline
            .as_ref()
            .zip(Mask::new(self.pixmap.width(), self.pixmap.height()))
            .map(|(path, mut mask)| {
                mask.fill_path(path, FillRule::EvenOdd, true, self.pose);
                mask
            });
    }

    pub(super) fn unclip(&mut self) {
        self.clip = None;
    }

    pub(super) fn into_image(self) -> RgbImage {
        let (width, height) = (self.pixmap.width(), self.pixmap.height());
        // The background covers every pixel, so alpha is full and the values need no division by it.
        let pixels = self.pixmap.pixels();
        RgbImage::from_fn(width, height, |x, y| {
            let pixel = pixels[(y * width + x) as usize];
            Pixel([pixel.red(), pixel.green(), pixel.blue()])
        })
    }
}
