//! Pictures of a run as PNG bytes, from plain values. Pure: opens no file and knows nothing of runs.

mod axes;
mod confusion;
mod curves;
mod predictions;
mod sheet;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use confusion::confusion;
pub(crate) use curves::{CurvePoint, curves};
pub(crate) use predictions::{Tile, prediction_grid};
