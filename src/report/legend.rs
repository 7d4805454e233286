//! A legend in columns across the sheet, whose height is known before anything is drawn. Knows nothing about runs or trials.

use super::{
    ink::{FAINT_INK, INK, stroke},
    panel::SIDE,
    sheet::{Align, Sheet},
    strokes::Look,
    text,
};
use crate::error::Result;

pub(super) struct Legend {
    /// Looks and labels. A label without a look is a remark.
    entries: Vec<(Option<Look>, String)>,
    column_width: f64,
    n_columns: usize,
    /// The entry that gets a ring around its mark.
    ringed: Option<usize>,
}

pub(super) const SIZE: f64 = 14.0;
const ROW_HEIGHT: f64 = 22.0;
const SAMPLE: f64 = 34.0;
const LABEL_AT: f64 = SAMPLE + 8.0;
const COLUMN_GAP: f64 = 28.0;
/// The most columns, so that labels keep some room even if more would fit.
const MAX_COLUMNS: usize = 4;
const MAX_ENTRIES: usize = 12;

/// A legend of the first dozen labels, in as many columns as keep all of them legible.
pub(super) fn legend(
    labels: Vec<(Look, String)>,
    ringed: Option<usize>,
    width: f64,
) -> Result<Legend> {
    let n_hidden = labels.len().saturating_sub(MAX_ENTRIES);
    let mut entries: Vec<(Option<Look>, String)> = labels
        .into_iter()
        .take(MAX_ENTRIES)
        .map(|(look, label)| (Some(look), label))
        .collect();
    if n_hidden > 0 {
        entries.push((None, format!("and {n_hidden} more")));
    }
    let room = width - 2.0 * SIDE;
    let mut widest: f64 = 0.0;
    for (_, label) in &entries {
        widest = widest.max(text::width(label, SIZE)?);
    }
    let wanted = (LABEL_AT + widest + COLUMN_GAP).max(room / MAX_COLUMNS as f64);
    // Long labels are cut only if even two columns are too narrow. Three columns are not used, because the middle one would lie
    // across the gap between the two plots below.
    let n_columns = if room / wanted < MAX_COLUMNS as f64 {
        2
    } else {
        MAX_COLUMNS
    };
    let column_width = room / n_columns as f64;
    for (_, label) in &mut entries {
        *label = text::shortened(label, SIZE, column_width - LABEL_AT - COLUMN_GAP / 2.0)?;
    }
    Ok(Legend {
        entries,
        column_width,
        n_columns,
        ringed,
    })
}

impl Legend {
    pub(super) fn height(&self) -> f64 {
        self.entries.len().div_ceil(self.n_columns) as f64 * ROW_HEIGHT
    }

    /// Draws the legend below `top`. Entries run down each column.
    pub(super) fn draw(&self, sheet: &Sheet, top: f64) -> Result<()> {
        let n_rows = self.entries.len().div_ceil(self.n_columns).max(1);
        for (at, (look, label)) in self.entries.iter().enumerate() {
            let left = SIDE + 4.0 + (at / n_rows) as f64 * self.column_width;
            let y = top + ((at % n_rows) as f64 + 0.5) * ROW_HEIGHT;
            let Some(look) = look else {
                sheet.text(label, (left + LABEL_AT, y), SIZE, Align::Left, FAINT_INK)?;
                continue;
            };
            let middle = (left + SAMPLE / 2.0, y);
            look.line(sheet, &[(left, y), (left + SAMPLE, y)], 2.0);
            look.mark(sheet, middle, 4.0);
            if self.ringed == Some(at) {
                sheet.dot(middle, RING_RADIUS, stroke(INK, 1.5));
            }
            sheet.text(label, (left + LABEL_AT, y), SIZE, Align::Left, INK)?;
        }
        Ok(())
    }
}

/// The radius of the ring around the mark of the best, here and in the plots.
pub(super) const RING_RADIUS: f64 = 8.5;
