//! Initial parameters as in torchvision's VGG. Pure: computes values from seed and shape; knows no Burn.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::{layout::TensorSpec, state::HostTensor};
use crate::random;

/// The number of values drawn from one generator. Each block has its own, so that large tensors are filled in parallel with the
/// same values at any number of threads.
const BLOCK: usize = 1 << 16;

/// A freshly initialised tensor for `spec`, as in torchvision's constructor. It depends on the seed and the tensor's name alone.
///
/// Convolutions are Kaiming normal with fan out and the gain of `ReLU`; linear layers are normal with standard deviation 0.01;
/// biases are 0; batch norm starts with weight 1 and bias 0 (torchvision `models/vgg.py`, `VGG.__init__`).
pub(crate) fn fresh(spec: &TensorSpec, seed: u64) -> HostTensor {
    let n = spec.n_elements();
    let values = if let [out_channels, _, height, width] = spec.shape[..] {
        let std = (2.0 / (out_channels * height * width) as f32).sqrt();
        draw(spec, seed, |rng| std * normal(rng))
    } else if spec.shape.len() == 2 {
        draw(spec, seed, |rng| 0.01 * normal(rng))
    } else if spec.path.ends_with(".running_var") || is_batch_norm_weight(spec) {
        vec![1.0; n]
    } else {
        vec![0.0; n]
    };
    HostTensor {
        shape: spec.shape.clone(),
        values,
    }
}

/// A freshly initialised weight or bias of a layer that replaces a pretrained one, as in a new `nn.Linear`: uniform within
/// plus or minus `1/sqrt(in_features)` (torch `nn/modules/linear.py`, `reset_parameters`).
pub(crate) fn new_linear(spec: &TensorSpec, in_features: usize, seed: u64) -> HostTensor {
    let bound = 1.0 / (in_features as f32).sqrt();
    let values = draw(spec, seed, |rng| rng.random_range(-bound..bound));
    HostTensor {
        shape: spec.shape.clone(),
        values,
    }
}

/// A one-dimensional `weight` belongs to a batch norm; every other layer's weight is a matrix or a kernel.
fn is_batch_norm_weight(spec: &TensorSpec) -> bool {
    spec.shape.len() == 1 && spec.path.ends_with(".weight")
}

fn normal(rng: &mut ChaCha8Rng) -> f32 {
    StandardNormal.sample(rng)
}

fn draw(spec: &TensorSpec, seed: u64, one: impl Fn(&mut ChaCha8Rng) -> f32 + Sync) -> Vec<f32> {
    let seed = random::derive_seed(seed, &format!("init {}", spec.path), &[]);
    let mut values = vec![0.0; spec.n_elements()];
    values
        .par_chunks_mut(BLOCK)
        .enumerate()
        .for_each(|(block, chunk)| {
            let mut rng =
                ChaCha8Rng::seed_from_u64(random::derive_seed(seed, "block", &[block as u64]));
            chunk.fill_with(|| one(&mut rng));
        });
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(path: &str, shape: &[usize]) -> TensorSpec {
        TensorSpec {
            path: path.to_owned(),
            shape: shape.to_vec(),
            is_buffer: false,
        }
    }

    fn std_of(values: &[f32]) -> f32 {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        (values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f32>()
            / values.len() as f32)
            .sqrt()
    }

    #[test]
    fn convolutions_have_the_spread_of_kaiming_normal_fan_out() {
        let tensor = fresh(&spec("features.0.weight", &[64, 64, 3, 3]), 1);
        let expected = (2.0 / (64.0 * 9.0_f32)).sqrt();
        assert!((std_of(&tensor.values) / expected - 1.0).abs() < 0.02);
    }

    #[test]
    fn a_replaced_layer_starts_as_a_new_linear_layer() {
        let tensor = new_linear(&spec("classifier.6.weight", &[10, 400]), 400, 1);
        let largest = tensor
            .values
            .iter()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert!(largest <= 0.05 && largest > 0.049);
        assert_ne!(
            new_linear(&spec("classifier.6.bias", &[10]), 400, 1).values,
            vec![0.0; 10]
        );
    }

    #[test]
    fn values_depend_on_seed_and_name_alone() {
        let values = |path, seed| fresh(&spec(path, &[70, 1000]), seed).values;
        assert_eq!(
            values("classifier.0.weight", 1),
            values("classifier.0.weight", 1)
        );
        assert_ne!(
            values("classifier.0.weight", 1),
            values("classifier.0.weight", 2)
        );
        assert_ne!(
            values("classifier.0.weight", 1),
            values("classifier.3.weight", 1)
        );
    }
}
