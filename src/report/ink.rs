//! Colors, and how they are put on paper.

/// Red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Color(pub(super) u8, pub(super) u8, pub(super) u8);

pub(super) const INK: Color = Color(34, 34, 38);
pub(super) const FAINT_INK: Color = Color(105, 108, 116);
pub(super) const HAIR: Color = Color(222, 224, 228);
pub(super) const BLUE: Color = Color(0, 114, 178);
pub(super) const VERMILION: Color = Color(213, 94, 0);
pub(super) const PAPER: Color = Color(255, 255, 255);

/// A color as an area or as a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Style {
    Fill(Color),
    /// A line of this width, in pixels.
    Stroke(Color, f64),
}

impl Color {
    pub(super) fn filled(self) -> Style {
        Style::Fill(self)
    }
}

pub(super) fn stroke(color: Color, width: f64) -> Style {
    Style::Stroke(color, width)
}
