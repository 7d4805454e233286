//! Trained models in use: opening a run directory without its training images, and predictions for any other images.
//! Knows no tensors; `train/predictor.rs` does.

mod activation_store;
pub(crate) mod embeddings;
pub(crate) mod explainer;
pub(crate) mod files;
mod kept;
mod open;
mod output;
pub(crate) mod partial;
pub(crate) mod photos;
mod predictions;
pub(crate) mod table;

pub(crate) use self::{
    activation_store::ActivationStore,
    kept::skip_done,
    open::{OpenedRun, TrainedModel},
    output::{Counts, Output, Target, header},
    predictions::Predictions,
};
