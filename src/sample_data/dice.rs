//! The random numbers of one picture, derived from its class and index, not from the pictures drawn before it.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// Makes the generator of one picture. The same arguments give the same numbers on any thread and in any order.
    pub(super) fn new(seed: u64, task: &str, class: &str, index: usize) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(format!("sample-data/{seed}/{task}/{class}/{index}"));
        Self(ChaCha8Rng::from_seed(hasher.finalize().into()))
    }

    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.0.random::<f32>()
    }

    /// A number between `-reach` and `reach`.
    pub(super) fn around(&mut self, reach: f32) -> f32 {
        self.between(-reach, reach)
    }

    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.0.random::<f32>() < probability
    }

    /// An integer from `low` to `high`, inclusive.
    pub(super) fn count(&mut self, low: usize, high: usize) -> usize {
        self.0.random_range(low..=high)
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.random_range(0..choices.len())]
    }

    /// An approximately normal number with standard deviation 1: the sum of four random bytes, which is fast enough for the noise of
    /// each pixel.
    pub(super) fn bell(&mut self) -> f32 {
        let sum: u32 = self
            .0
            .random::<u32>()
            .to_le_bytes()
            .into_iter()
            .map(u32::from)
            .sum();
        // A byte has variance (256^2 - 1) / 12, so four have a standard deviation of 147.8.
        (sum as f32 - 510.0) / 147.8
    }
}
