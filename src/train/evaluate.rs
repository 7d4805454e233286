//! Predictions of a model on a list of images, and their scores.

use burn::{tensor::Device, train::InferenceStep as _};

use super::{answers::probabilities, objective::Batch};
use crate::{
    config::experiment::Metric,
    data::loader::HostBatch,
    error::Result,
    model::network::Network,
    scores::{
        confusion::{Confusion, macro_average},
        evaluation::macro_roc_auc,
    },
};

/// The prediction for one image.
#[derive(Clone, Debug)]
pub(crate) struct Prediction {
    pub(crate) image_index: usize,
    pub(crate) target: usize,
    pub(crate) predicted: usize,
    /// One logit per class.
    pub(crate) logits: Vec<f32>,
    /// Cross-entropy without label smoothing.
    pub(crate) loss: f32,
}

/// Mean loss and accuracy over images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scores {
    pub(crate) loss: f64,
    pub(crate) accuracy: f64,
}

/// Runs the batches through the layers after `entry`: the number of layers done already, and the shape of their output for one
/// image. `seen` is called with the number of images done; if it returns `false`, the result is `None`.
pub(crate) fn predict(
    model: &Network,
    batches: impl Iterator<Item = Result<HostBatch>>,
    entry: (usize, &[usize]),
    device: &Device,
    mut seen: impl FnMut(usize) -> bool,
) -> Result<Option<Vec<Prediction>>> {
    let mut predictions = Vec::new();
    for host in batches {
        let host = host?;
        let (targets, items) = (host.targets.clone(), host.items.clone());
        let batch = Batch::new(host, entry, 0.0, targets.len(), device);
        let result = model.step(batch).read();
        let answers = result.logits.into_iter().zip(result.losses);
        for ((logits, loss), (target, item)) in answers.zip(targets.into_iter().zip(items)) {
            predictions.push(Prediction {
                image_index: item.image,
                target,
                predicted: argmax(&logits),
                logits,
                // Adding zero turns -0.0 into 0.0, which CSV would show as `-0`.
                loss: loss + 0.0,
            });
        }
        if !seen(predictions.len()) {
            return Ok(None);
        }
    }
    Ok(Some(predictions))
}

/// The first largest value, as `torch.argmax` on the CPU.
pub(crate) fn argmax(logits: &[f32]) -> usize {
    let first = (0, logits.first().copied().unwrap_or(f32::NAN));
    let others = logits.iter().copied().enumerate().skip(1);
    let largest = others.fold(first, |best, candidate| {
        if candidate.1 > best.1 {
            candidate
        } else {
            best
        }
    });
    largest.0
}

pub(crate) fn scores(predictions: &[Prediction]) -> Scores {
    let n = predictions.len().max(1) as f64;
    let loss = predictions
        .iter()
        .map(|prediction| f64::from(prediction.loss))
        .sum::<f64>()
        / n;
    let n_correct = predictions
        .iter()
        .filter(|prediction| prediction.predicted == prediction.target)
        .count();
    Scores {
        loss,
        accuracy: n_correct as f64 / n,
    }
}

/// The confusion matrix of the predictions.
pub(crate) fn confusion<'a>(predictions: &[Prediction], classes: &'a [String]) -> Confusion<'a> {
    let pairs = predictions.iter();
    Confusion::of_numbers(classes, pairs.map(|it| (it.target, it.predicted)))
}

/// The value of a metric that `metrics.csv` only has if the run is to be judged by it; `None` for others.
pub(crate) fn further_metric(
    metric: Metric,
    predictions: &[Prediction],
    classes: &[String],
) -> Option<f64> {
    match metric {
        Metric::ValidLoss | Metric::ValidAccuracy => None,
        Metric::ValidMacroF1 => macro_average(&confusion(predictions, classes).scores()).f1,
        Metric::ValidAuc => {
            let targets: Vec<usize> = predictions.iter().map(|it| it.target).collect();
            let rows = predictions.iter().map(|it| probabilities(&it.logits));
            macro_roc_auc(classes.len(), &targets, &rows.collect::<Vec<_>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(target: usize, predicted: usize, loss: f32) -> Prediction {
        Prediction {
            image_index: 0,
            target,
            predicted,
            logits: Vec::new(),
            loss,
        }
    }

    #[test]
    fn scores_are_means_over_images() {
        let predictions = [
            prediction(0, 0, 1.0),
            prediction(0, 1, 2.0),
            prediction(1, 1, 6.0),
            prediction(1, 1, 3.0),
        ];
        assert_eq!(
            scores(&predictions),
            Scores {
                loss: 3.0,
                accuracy: 0.75
            }
        );
    }

    #[test]
    fn the_first_of_equal_logits_is_predicted() {
        assert_eq!(argmax(&[-0.25, 0.5, 0.5]), 1);
    }
}
