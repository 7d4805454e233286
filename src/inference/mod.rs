//! Trained models in use: opening a run directory without its training images, and predictions on any other images.
//! Knows no tensors; `train/predictor.rs` does.

mod open;

pub(crate) use self::open::{OpenedRun, TrainedModel};
