//! Text in the embedded font: measures it, and shortens it to the available room.

use std::sync::OnceLock;

use plotters::style::{FontFamily, FontStyle, IntoFont, register_font};

use crate::error::{Error, Result};

const FONT: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans.ttf");
const FAMILY: &str = "runner-sans";
/// Replaces letters that the font lacks, which would otherwise not be drawn at all.
const UNKNOWN: char = '\u{fffd}';

/// The font family; the first call registers it with the plotting library.
pub(super) fn family() -> Result<FontFamily<'static>> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    if *REGISTERED.get_or_init(|| register_font(FAMILY, FontStyle::Normal, FONT).is_ok()) {
        Ok(FontFamily::Name(FAMILY))
    } else {
        Err(Error::report("cannot read the embedded font"))
    }
}

/// The width of a text in pixels.
pub(super) fn width(text: &str, size: f64) -> Result<f64> {
    // Measured large and scaled down, because the library rounds to whole pixels.
    const MEASURED_AT: f64 = 100.0;
    let (pixels, _) = (family()?, MEASURED_AT)
        .into_font()
        .box_size(text)
        .map_err(|error| Error::report(format!("cannot measure the text `{text}`: {error}")))?;
    Ok(f64::from(pixels) * size / MEASURED_AT)
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
