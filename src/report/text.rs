//! The embedded font: registered once, measured, and names cut to the room there is.

use std::sync::OnceLock;

use plotters::style::{FontFamily, FontStyle, IntoFont, register_font};

use crate::error::{Error, Result};

const FONT: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans.ttf");
const FAMILY: &str = "runner-sans";
/// Stands for each letter that the font lacks, which would otherwise leave no trace.
const UNKNOWN: char = '\u{fffd}';

/// The family to draw with; the first call makes it known to the plotting library.
pub(super) fn family() -> Result<FontFamily<'static>> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    if *REGISTERED.get_or_init(|| register_font(FAMILY, FontStyle::Normal, FONT).is_ok()) {
        Ok(FontFamily::Name(FAMILY))
    } else {
        Err(Error::Report("the embedded font cannot be read".into()))
    }
}

/// Pixels that a text takes at a size.
pub(super) fn width(text: &str, size: f64) -> Result<f64> {
    // Measured large and scaled down, because the library rounds to whole pixels.
    const MEASURED_AT: f64 = 100.0;
    let (pixels, _) = (family()?, MEASURED_AT)
        .into_font()
        .box_size(text)
        .map_err(|error| Error::Report(format!("`{text}` cannot be measured: {error}")))?;
    Ok(f64::from(pixels) * size / MEASURED_AT)
}

/// The text as far as the font has it, or as much of its start as fits with an ellipsis; nothing where not even that fits.
pub(super) fn shortened(text: &str, size: f64, room: f64) -> Result<String> {
    let text: String = text
        .chars()
        .map(|letter| if is_known(letter) { letter } else { UNKNOWN })
        .collect();
    if width(&text, size)? <= room {
        return Ok(text);
    }
    let letters: Vec<char> = text.chars().collect();
    // The longest start that fits lies between `fits` and `too_long`.
    let (mut fits, mut too_long) = (0, letters.len());
    while too_long - fits > 1 {
        let middle = usize::midpoint(fits, too_long);
        if width(&with_ellipsis(&letters[..middle]), size)? <= room {
            fits = middle;
        } else {
            too_long = middle;
        }
    }
    Ok(if fits == 0 {
        String::new()
    } else {
        with_ellipsis(&letters[..fits])
    })
}

fn with_ellipsis(letters: &[char]) -> String {
    let start: String = letters.iter().collect();
    format!("{}…", start.trim_end())
}

/// What the embedded font was cut to; `assets/fonts/LICENSE` names its origin.
fn is_known(letter: char) -> bool {
    matches!(letter,
        ' '..='~' | '\u{a0}'..='\u{17f}' | '\u{386}'..='\u{38a}' | '\u{38c}' | '\u{38e}'..='\u{3a1}' | '\u{3a3}'..='\u{3ce}' | '\u{400}'..='\u{45f}'
        | '\u{2010}'..='\u{2015}' | '\u{2018}'..='\u{201e}' | '\u{2020}'..='\u{2022}' | '…' | '′' | '€'
        | '\u{2190}'..='\u{2193}' | '−' | '≈' | '≠' | '≤' | '≥' | '✓' | '✗')
}

/// A fraction of 1 as people read it.
pub(super) fn percent(fraction: f64, decimals: usize) -> String {
    if fraction.is_finite() {
        format!("{:.decimals$} %", fraction * 100.0)
    } else {
        "? %".into()
    }
}
