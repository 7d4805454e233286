//! A trained network in use: from preprocessed pixels to logits, losses and embeddings. Runs exactly the layers that validated the
//! checkpoint during training, with the kernels of frozen layers for the same prefix, so that the results have the same bits.

use std::sync::Arc;

use burn::{
    module::Module as _,
    tensor::{Device, Tensor, TensorData},
};

use super::{
    activations,
    fill::{CPU_BATCH, GPU_BATCH, recipe_of},
    objective::{cross_entropy, to_vec},
};
use crate::{
    cache::{ActivationPrecision, Recipe},
    config::experiment::Experiment,
    device,
    error::Result,
    model::{front::Front, network::Network, paper::Paper, state::StateDict},
    plan::prefix::Prefix,
};

/// A network that predicts, without gradients and with dropout off.
pub(crate) struct Predictor {
    network: Network,
    /// The frozen steps before `n_done`; `None` if there are none.
    front: Option<Front>,
    prefix: Prefix,
    /// The number of steps before the head, whose input is the embedding.
    n_before_head: usize,
    /// How activations are rounded, as during training.
    rounding: Option<ActivationPrecision>,
    device: Device,
}

/// The results for the images of one batch, in their order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answers {
    /// One value per class for each image.
    pub(crate) logits: Vec<Vec<f32>>,
    /// The cross-entropy of each image with its target, without label smoothing.
    pub(crate) losses: Vec<f32>,
    /// [`Predictor::n_embedding`] values per image, if they were asked for.
    pub(crate) embeddings: Option<Vec<f32>>,
}

impl Predictor {
    /// Builds the network from a complete state dict on the device of the experiment. `prefix` is the frozen prefix of the phase
    /// that the parameters are from.
    pub(crate) fn new(
        experiment: &Experiment,
        n_classes: usize,
        prefix: Prefix,
        state: StateDict,
    ) -> Result<Self> {
        let device = device::open(experiment.device)?;
        let paper = Arc::new(experiment.paper(n_classes));
        let n_before_head = steps_before_head(&paper);
        let recorded = device.clone().autodiff();
        let network = Network::from_state(paper, experiment.model.dropout, state, &recorded);
        let network = network.valid();
        let front =
            (prefix.n_steps > 0).then(|| Front::new(network.front(prefix.n_steps), &device));
        Ok(Self {
            rounding: activations::rounding(experiment, &prefix),
            network,
            front,
            prefix,
            n_before_head,
            device,
        })
    }

    /// The images of one batch that keep the device busy in little memory. No result depends on it.
    pub(crate) fn batch_size(&self) -> usize {
        let batch_size = if device::is_cpu(&self.device) {
            CPU_BATCH
        } else {
            GPU_BATCH
        };
        batch_size.get()
    }

    /// The number of values of one preprocessed image, `[3, height, width]`.
    pub(crate) fn n_pixels(&self) -> usize {
        self.network.paper().pixels.iter().product()
    }

    /// The number of values of one image after the frozen prefix.
    pub(crate) fn n_activations(&self) -> usize {
        self.prefix.shape.iter().product()
    }

    /// The number of values of one embedding.
    pub(crate) fn n_embedding(&self) -> usize {
        self.network.paper().shape(self.n_before_head)[0]
    }

    pub(crate) fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The recipe of the prefix's activations in the cache.
    pub(crate) fn recipe(&self, experiment: &Experiment) -> Recipe {
        let front = self.network.front(self.prefix.n_steps);
        recipe_of(experiment, &self.prefix, &front)
    }

    /// Maps preprocessed images `[n, 3, height, width]` to their activations after the frozen prefix.
    pub(crate) fn activations(&self, pixels: Vec<f32>) -> Vec<f32> {
        let Some(front) = &self.front else {
            return pixels;
        };
        let mut values = front.run(pixels);
        if let Some(precision) = self.rounding {
            for image in values.chunks_exact_mut(self.n_activations()) {
                if precision.can_hold(image) {
                    precision.round(image);
                }
            }
        }
        values
    }

    /// Maps activations after the frozen prefix to logits, losses and, if `with_embeddings`, the input of the head. `targets` has a
    /// class for each image; where the true class is unknown, any will do, and the loss means nothing.
    pub(crate) fn answers(
        &self,
        activations: Vec<f32>,
        targets: &[usize],
        with_embeddings: bool,
    ) -> Answers {
        let n = targets.len();
        let mut sides = [n, 1, 1, 1];
        sides[1..=self.prefix.shape.len()].copy_from_slice(&self.prefix.shape);
        let input = Tensor::<4>::from_data(TensorData::new(activations, sides), &self.device);
        let network = &self.network;
        let (head, end) = (self.n_before_head, network.n_steps());
        let features = network.forward_steps(self.prefix.n_steps..head, input);
        let logits: Tensor<2> = network
            .forward_steps(head..end, features.clone())
            .flatten(1, 3);
        let targets: Vec<i32> = targets.iter().map(|target| *target as i32).collect();
        let targets = Tensor::from_data(TensorData::new(targets, [n]), &self.device);
        let losses = to_vec(cross_entropy(logits.clone(), targets, 0.0));
        let [_, n_classes] = logits.dims();
        Answers {
            logits: to_vec(logits)
                .chunks(n_classes)
                .map(<[f32]>::to_vec)
                .collect(),
            // Adding zero turns -0.0 into 0.0, as in the tables of a run.
            losses: losses.into_iter().map(|loss| loss + 0.0).collect(),
            embeddings: with_embeddings.then(|| self.pooled(to_vec(features))),
        }
    }

    /// The values before the head; where they are maps, such as SqueezeNet's, the mean of each.
    fn pooled(&self, features: Vec<f32>) -> Vec<f32> {
        let shape = self.network.paper().shape(self.n_before_head);
        let n_places: usize = shape[1..].iter().product();
        if n_places == 1 {
            return features;
        }
        let maps = features.chunks_exact(n_places);
        maps.map(|map| {
            let sum: f64 = map.iter().map(|value| f64::from(*value)).sum();
            (sum / n_places as f64) as f32
        })
        .collect()
    }
}

/// The number of steps whose output is the input of the head.
fn steps_before_head(paper: &Paper) -> usize {
    let head = paper.head().path;
    let mut steps = paper.steps.iter();
    let head = steps.position(|step| step.module == head);
    paper.cut_before(head.unwrap_or(paper.steps.len()))
}

/// The `n` most probable classes, the most probable first. Of equal ones, the first class comes first, as in
/// [`argmax`](super::evaluate::argmax).
pub(crate) fn ranked(logits: &[f32], n: usize) -> Vec<usize> {
    // Without NaN and with one kind of zero, the order is total and agrees with `>`.
    let rank = |class: usize| match logits[class] {
        logit if logit.is_nan() => f32::NEG_INFINITY,
        logit => logit + 0.0,
    };
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|a, b| rank(*b).total_cmp(&rank(*a)));
    classes.truncate(n);
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ranked_and_ties_keep_their_order() {
        let logits = [0.5, 2.0, -1.0, 2.0];
        assert_eq!(ranked(&[-0.0, 0.0], 1), [0]);
        assert_eq!(ranked(&logits, 3), [1, 3, 0]);
        assert_eq!(ranked(&logits, 1), [1]);
        assert_eq!(ranked(&logits, 9), [1, 3, 0, 2]);
    }
}
