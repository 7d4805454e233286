//! Pictures of single runs and of comparisons, drawn from plain values. Pure: opens no files and knows no run directories.

mod axes;
#[cfg(test)]
mod comparison_tests;
mod confusion;
mod curves;
mod ink;
mod legend;
mod overlay;
mod panel;
mod photos;
mod reliability;
mod score;
mod score_curves;
#[cfg(test)]
mod score_tests;
mod setting;
mod sheet;
mod strokes;
mod sweep;
mod terminal;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use confusion::{Numbers, confusion};
pub(crate) use curves::{CurvePoint, curves};
pub(crate) use overlay::{RunCurve, overlay};
pub(crate) use photos::{MOST_TILES, Tile, Title, columns, letterboxed, photo_grid};
pub(crate) use reliability::{ReliabilityBin, reliability};
pub(crate) use score::Score;
pub(crate) use score_curves::{MarkedPoint, ScoreCurve, precision_recall, roc};
pub(crate) use setting::AxisValue;
pub(crate) use sheet::png_of;
pub(crate) use sweep::{RungMark, TrialPoint, sweep};
pub(crate) use terminal::terminal_plot;
