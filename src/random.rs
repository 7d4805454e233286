//! Derives every random choice of the program from the seed and the purpose of the choice.
//! Pure: there is no generator whose state would have to be saved. Knows nothing of images or tensors.
//!
//! A stream is `ChaCha8` keyed with the SHA-256 of the seed (8 bytes), the length of the purpose (8 bytes), the purpose, and the
//! numbers (8 bytes each), all integers little-endian. The values are part of the program's contract: a run repeats only as long
//! as they stay.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use sha2::{Digest, Sha256};

/// Derives a 64-bit seed for a purpose, such as `dropout`, and numbers, such as `[phase, epoch]`.
pub(crate) fn derive_seed(seed: u64, purpose: &str, numbers: &[u64]) -> u64 {
    rng(seed, purpose, numbers).next_u64()
}

/// Derives a generator for a purpose and numbers.
pub(crate) fn rng(seed: u64, purpose: &str, numbers: &[u64]) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(digest(seed, purpose, numbers))
}

/// Puts `items` in random order (Fisher-Yates).
///
/// Written out because a library's shuffle may draw differently in its next version, which would change every split.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        // The high half of the product is uniform in 0..=last, except for a bias below one in 2^32 for any real data set.
        let pick = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        items.swap(last, pick as usize);
    }
}

/// The order in which `n` training images are visited in one epoch: a permutation of `0..n`.
pub(crate) fn epoch_order(seed: u64, phase_idx: usize, epoch: usize, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    shuffle(
        &mut order,
        &mut rng(seed, "order", &[phase_idx as u64, epoch as u64]),
    );
    order
}

fn digest(seed: u64, purpose: &str, numbers: &[u64]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update((purpose.len() as u64).to_le_bytes());
    hasher.update(purpose.as_bytes());
    for number in numbers {
        hasher.update(number.to_le_bytes());
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_what_they_are() {
        assert_eq!(derive_seed(42, "split", &[]), 1_145_722_521_524_487_775);
        assert_eq!(
            derive_seed(42, "order", &[1, 2]),
            16_123_191_744_859_472_006
        );
        assert_eq!(epoch_order(42, 0, 1, 10), [7, 3, 2, 5, 6, 1, 8, 9, 0, 4]);
    }

    #[test]
    fn purposes_and_places_differ() {
        let seeds = [
            derive_seed(1, "a", &[]),
            derive_seed(2, "a", &[]),
            derive_seed(1, "b", &[]),
            derive_seed(1, "a", &[0]),
            derive_seed(1, "a", &[0, 0]),
        ];
        for (i, a) in seeds.iter().enumerate() {
            assert!(seeds[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn an_order_holds_every_image_once_and_changes_with_the_epoch() {
        let mut order = epoch_order(7, 0, 1, 1000);
        assert_ne!(order, epoch_order(7, 0, 2, 1000));
        assert_ne!(order, epoch_order(7, 1, 1, 1000));
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1000));
        assert!(epoch_order(7, 0, 1, 0).is_empty());
    }
}
