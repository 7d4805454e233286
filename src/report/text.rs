//! The embedded font: outlines of text, their widths, and names cut to the room there is.

use std::sync::OnceLock;

use ab_glyph::{Font as _, FontRef, GlyphId, OutlineCurve, Point};
use tiny_skia::{Path, PathBuilder};

use crate::error::{Error, Result};

const FONT: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans.ttf");
/// Stands for each letter that the font lacks, which would otherwise leave no trace.
const UNKNOWN: char = '\u{fffd}';
/// Half the height of a capital letter, as a share of the size: 1493 of 2048 units in `DejaVu Sans`, whose size counts from the
/// lowest descender to the highest ascender, 2384 units.
pub(super) const HALF_CAPITAL: f64 = 1493.0 / 2384.0 / 2.0;

fn font() -> Result<&'static FontRef<'static>> {
    static READ: OnceLock<Option<FontRef<'static>>> = OnceLock::new();
    READ.get_or_init(|| FontRef::try_from_slice(FONT).ok())
        .as_ref()
        .ok_or_else(|| Error::report("cannot read the embedded font"))
}

/// The glyphs of a text, each with the distance from the start of the line, in the font's units; and the width of them all.
fn laid_out(font: &FontRef<'_>, text: &str) -> (Vec<(GlyphId, f32)>, f32) {
    let mut glyphs: Vec<(GlyphId, f32)> = Vec::new();
    let mut x = 0.0;
    for letter in text.chars() {
        let glyph = font.glyph_id(letter);
        if let Some((before, _)) = glyphs.last() {
            x += font.kern_unscaled(*before, glyph);
        }
        glyphs.push((glyph, x));
        x += font.h_advance_unscaled(glyph);
    }
    (glyphs, x)
}

/// Pixels per unit of the font.
fn scale(font: &FontRef<'_>, size: f64) -> f32 {
    size as f32 / font.height_unscaled()
}

/// The width of a text in pixels.
pub(super) fn width(text: &str, size: f64) -> Result<f64> {
    let font = font()?;
    Ok(f64::from(laid_out(font, text).1 * scale(font, size)))
}

/// The outline of a text whose baseline begins at the origin, `None` where there is nothing to see; and its width in pixels.
pub(super) fn outline(text: &str, size: f64) -> Result<(Option<Path>, f64)> {
    let font = font()?;
    let scale = scale(font, size);
    let (glyphs, width) = laid_out(font, text);
    let mut path = PathBuilder::new();
    for (glyph, x) in glyphs {
        let Some(outline) = font.outline(glyph) else {
            continue;
        };
        let at = |point: &Point| ((x + point.x) * scale, -point.y * scale);
        let mut end = None;
        for curve in &outline.curves {
            let (from, to) = match curve {
                OutlineCurve::Line(from, to)
                | OutlineCurve::Quad(from, _, to)
                | OutlineCurve::Cubic(from, _, _, to) => (at(from), at(to)),
            };
            // The curves of a contour follow one another; where one does not, another contour begins.
            if end != Some(from) {
                path.move_to(from.0, from.1);
            }
            match curve {
                OutlineCurve::Line(..) => path.line_to(to.0, to.1),
                OutlineCurve::Quad(_, by, _) => path.quad_to(at(by).0, at(by).1, to.0, to.1),
                OutlineCurve::Cubic(_, by, and_by, _) => {
                    path.cubic_to(at(by).0, at(by).1, at(and_by).0, at(and_by).1, to.0, to.1);
                }
            }
            end = Some(to);
        }
    }
    Ok((path.finish(), f64::from(width * scale)))
}

/// The text, or as much of its beginning as fits with an ellipsis; empty if not even that fits.
pub(super) fn shortened(text: &str, size: f64, room: f64) -> Result<String> {
    cut(text, size, room, |letters, n_kept| {
        let start: String = letters[..n_kept].iter().collect();
        format!("{}…", start.trim_end())
    })
}

/// Like [`shortened`], with the ellipsis in the middle: the end of a file name is the most telling part.
pub(super) fn elided(text: &str, size: f64, room: f64) -> Result<String> {
    cut(text, size, room, |letters, n_kept| {
        let n_at_end = n_kept.div_ceil(2);
        let start: String = letters[..n_kept - n_at_end].iter().collect();
        let end: String = letters[letters.len() - n_at_end..].iter().collect();
        format!("{}…{}", start.trim_end(), end.trim_start())
    })
}

/// The text if it fits, else the longest text that `keep` makes of some number of its letters and that fits.
fn cut(
    text: &str,
    size: f64,
    room: f64,
    keep: impl Fn(&[char], usize) -> String,
) -> Result<String> {
    let letters = text.chars();
    let letters = letters.map(|letter| if is_known(letter) { letter } else { UNKNOWN });
    let letters: Vec<char> = letters.collect();
    let text: String = letters.iter().collect();
    if width(&text, size)? <= room {
        return Ok(text);
    }
    // The most letters that fit lie between `fits` and `too_many`.
    let (mut fits, mut too_many) = (0, letters.len());
    while too_many - fits > 1 {
        let middle = usize::midpoint(fits, too_many);
        if width(&keep(&letters, middle), size)? <= room {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    Ok(if fits == 0 {
        String::new()
    } else {
        keep(&letters, fits)
    })
}

/// Whether the embedded font, which was reduced to these letters, has a letter; `assets/fonts/LICENSE` names its origin.
fn is_known(letter: char) -> bool {
    matches!(letter,
        ' '..='~' | '\u{a0}'..='\u{17f}' | '\u{386}'..='\u{38a}' | '\u{38c}' | '\u{38e}'..='\u{3a1}' | '\u{3a3}'..='\u{3ce}' | '\u{400}'..='\u{45f}'
        | '\u{2010}'..='\u{2015}' | '\u{2018}'..='\u{201e}' | '\u{2020}'..='\u{2022}' | '…' | '′' | '€'
        | '\u{2190}'..='\u{2193}' | '−' | '≈' | '≠' | '≤' | '≥' | '✓' | '✗')
}

/// A fraction of 1 as a percentage.
pub(super) fn percent(fraction: f64, decimals: usize) -> String {
    if fraction.is_finite() {
        format!("{:.decimals$} %", fraction * 100.0)
    } else {
        "? %".into()
    }
}
