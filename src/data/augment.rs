//! Which part of an image training sees: the whole image or a random crop, mirrored or not. Pure.

use rand_chacha::rand_core::Rng as _;

use crate::{config::experiment::Augment, random};

/// The part of an image that the transforms get.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum View {
    Whole,
    /// The view that `augment` draws with this seed.
    Drawn {
        augment: Augment,
        seed: u64,
    },
}

/// A view of an image whose size is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Drawn {
    pub(crate) is_mirrored: bool,
    /// Left, top, width, height in pixels.
    pub(crate) crop: Option<[usize; 4]>,
}

/// Number of attempts at a crop that fits, as in torchvision's `RandomResizedCrop`; below, its range of aspect ratios.
const N_ATTEMPTS: usize = 10;
const MIN_RATIO: f64 = 3.0 / 4.0;
const MAX_RATIO: f64 = 4.0 / 3.0;

impl View {
    /// The view of training image `image` in an epoch. With `augment.variants`, epochs cycle through that many views.
    pub(crate) fn in_epoch(
        augment: Augment,
        seed: u64,
        phase: usize,
        epoch: usize,
        image: usize,
    ) -> Self {
        if !augment.is_random() {
            return Self::Whole;
        }
        let place = match augment.variants {
            0 => vec![phase, epoch, image],
            n_variants => vec![epoch % n_variants, image],
        };
        let place: Vec<u64> = place.into_iter().map(|number| number as u64).collect();
        Self::Drawn {
            augment,
            seed: random::derive_seed(seed, "augment", &place),
        }
    }

    pub(crate) fn draw(self, width: usize, height: usize) -> Drawn {
        let Self::Drawn { augment, seed } = self else {
            return Drawn {
                is_mirrored: false,
                crop: None,
            };
        };
        let mut rng = random::rng(seed, "view", &[]);
        // Uniform in [0, 1): an f64 has 53 significant bits.
        let mut uniform = || (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let is_mirrored = uniform() < augment.horizontal_flip;
        let crop = augment
            .crop_scale
            .map(|scale| crop(scale, width, height, &mut uniform));
        Drawn { is_mirrored, crop }
    }
}

/// Draws a crop with a random share of the area and a random aspect ratio; if none fits, takes the largest centered one.
/// Source: `torchvision.transforms.v2.RandomResizedCrop`.
fn crop(
    [low, high]: [f64; 2],
    width: usize,
    height: usize,
    uniform: &mut impl FnMut() -> f64,
) -> [usize; 4] {
    let (whole_width, whole_height) = (width as f64, height as f64);
    for _ in 0..N_ATTEMPTS {
        let area = whole_width * whole_height * (low + (high - low) * uniform());
        let (min, max) = (MIN_RATIO.ln(), MAX_RATIO.ln());
        let ratio = (min + (max - min) * uniform()).exp();
        let (crop_width, crop_height) =
            ((area * ratio).sqrt().round(), (area / ratio).sqrt().round());
        if crop_width < 1.0 || crop_height < 1.0 {
            continue;
        }
        let (crop_width, crop_height) = (crop_width as usize, crop_height as usize);
        if crop_width <= width && crop_height <= height {
            let mut place = |free: usize| ((free + 1) as f64 * uniform()) as usize;
            let (left, top) = (place(width - crop_width), place(height - crop_height));
            return [left, top, crop_width, crop_height];
        }
    }
    let ratio = whole_width / whole_height;
    let (crop_width, crop_height) = if ratio < MIN_RATIO {
        (
            width,
            ((whole_width / MIN_RATIO).round() as usize).min(height),
        )
    } else if ratio > MAX_RATIO {
        (
            ((whole_height * MAX_RATIO).round() as usize).min(width),
            height,
        )
    } else {
        (width, height)
    };
    [
        (width - crop_width) / 2,
        (height - crop_height) / 2,
        crop_width,
        crop_height,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUGMENT: Augment = Augment {
        horizontal_flip: 0.5,
        crop_scale: Some([0.08, 1.0]),
        variants: 0,
    };

    #[test]
    fn crops_lie_inside_and_keep_their_share_and_proportions() {
        for seed in 0..500 {
            let view = View::Drawn {
                augment: AUGMENT,
                seed,
            };
            let [left, top, width, height] = view.draw(400, 300).crop.unwrap();
            assert!(left + width <= 400 && top + height <= 300);
            let (width, height) = (width as f64, height as f64);
            assert!((0.07..=1.0).contains(&(width * height / 120_000.0)));
            assert!(
                (0.73..=1.36).contains(&(width / height)),
                "{width} x {height}"
            );
        }
    }

    #[test]
    fn about_half_are_mirrored() {
        let is_mirrored = |seed| {
            View::Drawn {
                augment: AUGMENT,
                seed,
            }
            .draw(9, 9)
            .is_mirrored
        };
        let n_mirrored = (0..1000).filter(|seed| is_mirrored(*seed)).count();
        assert!((430..570).contains(&n_mirrored), "{n_mirrored}");
    }

    #[test]
    fn a_narrow_image_is_cut_in_the_middle() {
        let augment = Augment {
            crop_scale: Some([1.0, 1.0]),
            ..AUGMENT
        };
        let view = View::Drawn { augment, seed: 1 };
        assert_eq!(view.draw(30, 1000).crop, Some([0, 480, 30, 40]));
        assert_eq!(view.draw(1, 1).crop, Some([0, 0, 1, 1]));
    }

    #[test]
    fn variants_come_round_again_and_other_draws_do_not() {
        let at = |variants, epoch| {
            View::in_epoch(
                Augment {
                    variants,
                    ..AUGMENT
                },
                1,
                0,
                epoch,
                5,
            )
        };
        assert_eq!(at(3, 0), at(3, 3));
        assert_ne!(at(3, 0), at(3, 1));
        assert_ne!(at(0, 0), at(0, 3));
        let plain = Augment {
            horizontal_flip: 0.0,
            crop_scale: None,
            variants: 0,
        };
        assert_eq!(View::in_epoch(plain, 1, 0, 0, 5), View::Whole);
    }
}
