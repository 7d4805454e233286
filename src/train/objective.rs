//! Cross-entropy, and one batch through the model: Burn's `TrainStep` and `InferenceStep` for `Network`.

use burn::{
    tensor::{ExecutionError, Int, Tensor, TensorData, activation::log_softmax},
    train::{InferenceStep, ItemLazy, TrainOutput, TrainStep},
};

use crate::{data::loader::HostBatch, model::network::Network};

/// One batch on the device.
pub(crate) struct Batch {
    /// `[n, channels, height, width]`: pixels, or the output of the first `n_done` layers.
    input: Tensor<4>,
    n_done: usize,
    /// `[n]`: the class indices.
    targets: Tensor<1, Int>,
    label_smoothing: f64,
    /// The images of the whole optimizer step: more than `n` if gradients are accumulated.
    n_images_in_step: usize,
}

/// The result of a batch, still on the device.
pub(crate) struct BatchOutput {
    /// `[n]`
    losses: Tensor<1>,
    /// `[n, classes]`
    logits: Tensor<2>,
}

/// The result of a batch on the host.
pub(crate) struct BatchResult {
    pub(crate) losses: Vec<f32>,
    /// One value per class for each image.
    pub(crate) logits: Vec<Vec<f32>>,
}

impl Batch {
    /// `shape` is the shape of one image after the first `n_done` layers.
    pub(crate) fn new(
        host: HostBatch,
        (n_done, shape): (usize, &[usize]),
        label_smoothing: f64,
        n_images_in_step: usize,
        device: &burn::tensor::Device,
    ) -> Self {
        let n = host.targets.len();
        let mut sides = [n, 1, 1, 1];
        sides[1..=shape.len()].copy_from_slice(shape);
        let input = Tensor::from_data(TensorData::new(host.values, sides), device);
        let targets: Vec<i32> = host.targets.iter().map(|target| *target as i32).collect();
        let targets = Tensor::from_data(TensorData::new(targets, [n]), device);
        Self {
            input,
            n_done,
            targets,
            label_smoothing,
            n_images_in_step,
        }
    }
}

impl TrainStep for Network {
    type Input = Batch;
    type Output = BatchOutput;

    fn step(&self, batch: Batch) -> TrainOutput<BatchOutput> {
        let logits = self.forward_from(batch.n_done, batch.input);
        let losses = cross_entropy(logits.clone(), batch.targets, batch.label_smoothing);
        // A share of the step's mean, so that accumulated batches of unequal size add up to it.
        let loss = losses.clone().sum() / batch.n_images_in_step as f64;
        let output = BatchOutput {
            losses: losses.detach(),
            logits: logits.detach(),
        };
        TrainOutput::new(self, loss.backward(), output)
    }
}

impl InferenceStep for Network {
    type Input = Batch;
    type Output = BatchOutput;

    fn step(&self, batch: Batch) -> BatchOutput {
        let logits = self.forward_from(batch.n_done, batch.input);
        let losses = cross_entropy(logits.clone(), batch.targets, batch.label_smoothing);
        BatchOutput { losses, logits }
    }
}

impl ItemLazy for BatchOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl BatchOutput {
    /// Copies the result to the host, which waits for the device.
    pub(crate) fn read(self) -> BatchResult {
        let [_, n_classes] = self.logits.dims();
        let logits = to_vec(self.logits);
        BatchResult {
            losses: to_vec(self.losses),
            logits: logits.chunks(n_classes).map(<[f32]>::to_vec).collect(),
        }
    }
}

pub(super) fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .try_into_vec()
        .expect("the model computes in f32")
}

/// The loss of each image, `[n]`: `(1 - s) * -log p(target) + s * mean(-log p)`, as `torch.nn.CrossEntropyLoss` with
/// `label_smoothing = s` and `reduction = "none"`.
pub(crate) fn cross_entropy(
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    label_smoothing: f64,
) -> Tensor<1> {
    let log_probabilities = log_softmax(logits, 1);
    let nll = log_probabilities
        .clone()
        .gather(1, targets.unsqueeze_dim(1))
        .squeeze_dim::<1>(1)
        .neg();
    if label_smoothing == 0.0 {
        return nll;
    }
    let uniform = log_probabilities.mean_dim(1).squeeze_dim::<1>(1).neg();
    nll * (1.0 - label_smoothing) + uniform * label_smoothing
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Expected values: `torch.nn.CrossEntropyLoss(label_smoothing=s, reduction="none")`, torch 2.15.
    fn check(label_smoothing: f64, expected: [f32; 2]) {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[2.0, 0.5, -1.0], [0.0, 0.0, 3.0]], &device);
        let targets = Tensor::<1, Int>::from_ints([0, 1], &device);
        let losses = to_vec(cross_entropy(logits, targets, label_smoothing));
        for (actual, expected) in losses.iter().zip(expected) {
            assert!(
                (actual - expected).abs() < 1e-5,
                "{losses:?}, expected {expected}"
            );
        }
    }

    #[test]
    fn cross_entropy_is_pytorch_s() {
        check(0.0, [0.241_311_3, 3.094_923]);
    }

    #[test]
    fn label_smoothing_is_pytorch_s() {
        check(0.1, [0.391_311_3, 2.994_923]);
    }
}
