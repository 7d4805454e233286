//! How much time each part of a run takes.

use serde::{Deserialize, Serialize};

/// The seconds that each part takes; none is counted twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Times {
    /// Computing the frozen layers for the cache.
    pub(crate) filling: f64,
    /// Waiting for images, or for their cached activations.
    pub(crate) waiting: f64,
    /// Computing the frozen layers for training images that are not cached.
    pub(crate) frozen: f64,
    /// Forward pass, backward pass and update of the trained layers.
    pub(crate) training: f64,
    pub(crate) validating: f64,
    /// Writing checkpoints.
    pub(crate) saving: f64,
}

/// Parts with a smaller share of the total are not mentioned.
const WORTH_A_WORD: f64 = 0.05;

impl Times {
    pub(crate) fn total(&self) -> f64 {
        self.parts().iter().map(|(_, seconds, _)| seconds).sum()
    }

    /// The parts, each with its name, its seconds and advice that would shorten it.
    pub(crate) fn parts(&self) -> [(&'static str, f64, &'static str); 6] {
        [
            (
                "filling the cache",
                self.filling,
                "later runs on these images reuse the cache",
            ),
            (
                "waiting for images",
                self.waiting,
                "a faster disk or more `data.workers` would help",
            ),
            (
                "computing frozen layers",
                self.frozen,
                "`runner plan` shows why they are not cached",
            ),
            ("training steps", self.training, ""),
            ("validating", self.validating, ""),
            (
                "writing checkpoints",
                self.saving,
                "a faster disk would help",
            ),
        ]
    }

    /// The parts that take longest, with advice on the first one: `training steps 81 %, validating 12 %`.
    pub(crate) fn bottleneck(&self) -> String {
        let total = self.total().max(f64::EPSILON);
        let mut parts = self.parts();
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        let worth = parts
            .iter()
            .enumerate()
            .filter(|(rank, part)| *rank == 0 || part.1 >= WORTH_A_WORD * total);
        let shares: Vec<String> = worth
            .map(|(_, (name, seconds, _))| format!("{name} {:.0} %", seconds / total * 100.0))
            .collect();
        let advice = parts[0].2;
        let separator = if advice.is_empty() { "" } else { "; " };
        format!("{}{separator}{advice}", shares.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_part_comes_first_and_small_ones_are_left_out() {
        let times = Times {
            waiting: 60.0,
            training: 37.0,
            saving: 3.0,
            ..Times::default()
        };
        assert_eq!(
            times.bottleneck(),
            "waiting for images 60 %, training steps 37 %; a faster disk or more `data.workers` would help"
        );
        assert!(Times::default().bottleneck().contains("0 %"));
    }
}
