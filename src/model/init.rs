//! Initial parameters as in torchvision's constructors. Pure: computes values from seed and shape; knows no Burn.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::{
    paper::{Init, TensorSpec},
    state::HostTensor,
};
use crate::random;

/// The number of values drawn from one generator. Each block has its own, so that large tensors are filled in parallel with the
/// same values at any number of threads.
const BLOCK: usize = 1 << 16;

/// A freshly initialised tensor for `spec`, as in torchvision's constructor. It depends on the seed and the tensor's name alone.
pub(crate) fn fresh(spec: &TensorSpec, seed: u64) -> HostTensor {
    let values = match spec.init {
        Init::Zeros => vec![0.0; spec.n_elements()],
        Init::Ones => vec![1.0; spec.n_elements()],
        Init::Normal { std } => normals(spec, seed, std as f32),
        Init::KaimingNormalFanOut => {
            let fan_out = spec.shape[0] * spec.shape[2..].iter().product::<usize>();
            normals(spec, seed, (2.0 / fan_out as f32).sqrt())
        }
        Init::KaimingUniformFanIn => {
            let fan_in: usize = spec.shape[1..].iter().product();
            uniform(spec, seed, (6.0 / fan_in as f32).sqrt())
        }
        Init::Uniform { fan_in } => uniform(spec, seed, 1.0 / (fan_in as f32).sqrt()),
    };
    HostTensor {
        shape: spec.shape.clone(),
        values,
    }
}

/// A freshly initialised weight or bias of the layer that replaces a pretrained one, as in a new `nn.Linear` or `nn.Conv2d` with a 1x1
/// kernel: uniform within plus or minus `1/sqrt(in_features)` (torch `nn/modules/linear.py`, `reset_parameters`).
pub(crate) fn new_head(spec: &TensorSpec, in_features: usize, seed: u64) -> HostTensor {
    HostTensor {
        shape: spec.shape.clone(),
        values: uniform(spec, seed, 1.0 / (in_features as f32).sqrt()),
    }
}

fn uniform(spec: &TensorSpec, seed: u64, bound: f32) -> Vec<f32> {
    draw(spec, seed, |rng| rng.random_range(-bound..bound))
}

fn normals(spec: &TensorSpec, seed: u64, std: f32) -> Vec<f32> {
    draw(spec, seed, |rng| std * normal(rng))
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

    fn spec(path: &str, shape: &[usize], init: Init) -> TensorSpec {
        TensorSpec {
            path: path.to_owned(),
            shape: shape.to_vec(),
            is_buffer: false,
            is_turned: false,
            init,
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
        let tensor = fresh(
            &spec(
                "features.0.weight",
                &[64, 64, 3, 3],
                Init::KaimingNormalFanOut,
            ),
            1,
        );
        let expected = (2.0 / (64.0 * 9.0_f32)).sqrt();
        assert!((std_of(&tensor.values) / expected - 1.0).abs() < 0.02);
    }

    #[test]
    fn a_replaced_layer_starts_as_a_new_linear_layer() {
        let tensor = new_head(
            &spec("classifier.6.weight", &[10, 400], Init::Zeros),
            400,
            1,
        );
        let largest = tensor
            .values
            .iter()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert!(largest <= 0.05 && largest > 0.049);
        assert_ne!(
            new_head(&spec("classifier.6.bias", &[10], Init::Zeros), 400, 1).values,
            vec![0.0; 10]
        );
    }

    #[test]
    fn values_depend_on_seed_and_name_alone() {
        let values =
            |path, seed| fresh(&spec(path, &[70, 1000], Init::Normal { std: 0.01 }), seed).values;
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
