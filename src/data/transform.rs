//! Preprocesses one image for a network: resize, crop, scale, normalize, like torchvision's v2 transforms on float tensors.
//! Knows no batches and no tensors.

use std::ops::Range;

use crate::{
    config::experiment::{Geometry, ImageSize, Normalize, Transforms},
    data::{
        augment::View,
        decode::RgbImage8,
        resize::{self, Resampling},
    },
};

/// Part of the key of cached activations; must be raised whenever the same file gives different values.
pub(crate) const VERSION: u32 = 3;

/// Writes `(resized / 255 - mean) / std` as `[3, height, width]`. An image that has the target size is not resampled.
///
/// A random crop is resized straight to the size of the network's input, as in torchvision's `RandomResizedCrop`.
pub(crate) fn preprocess(image: &RgbImage8, transforms: &Transforms, view: View, out: &mut [f32]) {
    let ImageSize { height, width } = transforms.size();
    assert_eq!(out.len(), 3 * height * width, "out holds one image");
    let drawn = view.draw(image.width, image.height);
    let whole = [0, 0, image.width, image.height];
    let (part, size, window) = match (drawn.crop, transforms.geometry) {
        (None, Geometry::ShorterThenCrop { shorter, crop }) => {
            let size = proportional_size([image.height, image.width], shorter);
            (whole, size, size.map(|side| centered(side, crop)))
        }
        (crop, _) => {
            let part = crop.unwrap_or(whole);
            (part, [height, width], [0..height, 0..width])
        }
    };
    let resampling = Resampling {
        part,
        size,
        window,
        interpolation: transforms.interpolation,
    };
    resize::resize(image, &resampling, &transforms.normalize, out);
    if drawn.is_mirrored {
        out.chunks_exact_mut(width).for_each(<[f32]>::reverse);
    }
}

/// Preprocessed values `[3, height, width]` as an image again, with normalization undone: what the network sees, for people.
pub(crate) fn displayed(values: &[f32], transforms: &Transforms) -> RgbImage8 {
    let ImageSize { height, width } = transforms.size();
    let Normalize { mean, std } = transforms.normalize;
    let n_pixels = height * width;
    let pixels = (0..n_pixels).flat_map(|at| {
        [0, 1, 2].map(|channel| {
            let value = values[channel * n_pixels + at] * std[channel] + mean[channel];
            // A conversion to integers saturates, and bicubic values may lie a little outside.
            (value * 255.0).round() as u8
        })
    });
    RgbImage8 {
        width,
        height,
        pixels: pixels.collect(),
    }
}

/// The sides with the shorter one at `shorter` and the longer one in proportion, rounded down.
/// Source: `_compute_resized_output_size` of torchvision.
fn proportional_size(sides: [usize; 2], shorter: usize) -> [usize; 2] {
    let shortest = sides[0].min(sides[1]);
    sides.map(|side| shorter * side / shortest)
}

/// The `crop` pixels in the middle of `side`; of an odd border, halves are rounded to even, as by Python's `round`.
/// Source: `_center_crop_compute_crop_anchor` of torchvision.
fn centered(side: usize, crop: usize) -> Range<usize> {
    let border = side - crop;
    let start = border / 2 + usize::from(border % 4 == 3);
    start..start + crop
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::experiment::{Augment, Interpolation};

    fn transforms(height: usize, width: usize) -> Transforms {
        let normalize = Normalize {
            mean: [0.5, 0.25, 0.0],
            std: [0.5, 0.25, 1.0],
        };
        Transforms {
            geometry: Geometry::Squash(ImageSize { height, width }),
            interpolation: Interpolation::Bilinear,
            normalize,
        }
    }

    #[test]
    fn an_image_of_the_target_size_is_only_normalised_into_planes() {
        let image = RgbImage8 {
            width: 2,
            height: 1,
            pixels: vec![0, 255, 51, 255, 0, 102],
        };
        let mut out = [0.0; 6];
        preprocess(&image, &transforms(1, 2), View::Whole, &mut out);
        let expected = [-1.0, 1.0, 3.0, -1.0, 0.2, 0.4_f32];
        assert!(
            out.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{out:?}"
        );
        assert_eq!(displayed(&out, &transforms(1, 2)), image);
    }

    #[test]
    fn height_and_width_are_not_mixed_up() {
        // Left half black, right half white: rows are equal, columns are not.
        let row = [[0_u8; 12], [255; 12]].concat();
        let image = RgbImage8 {
            width: 8,
            height: 6,
            pixels: row.repeat(6),
        };
        let mut out = [0.0; 3 * 3 * 2];
        preprocess(&image, &transforms(3, 2), View::Whole, &mut out);
        for row in out[..6].as_chunks().0 {
            let [left, right]: [f32; 2] = *row;
            assert!(left < -0.5 && right > 0.5, "{out:?}");
        }
    }

    #[test]
    fn proportions_and_centers_are_those_of_torchvision() {
        assert_eq!(proportional_size([500, 333], 256), [384, 256]);
        assert_eq!(proportional_size([333, 500], 256), [256, 384]);
        assert_eq!(proportional_size([1, 7], 40), [40, 280]);
        assert_eq!(proportional_size([30, 31], 7), [7, 7]);
        let starts = [0, 1, 2, 3, 4, 5, 6, 7].map(|border| centered(9 + border, 9).start);
        // Python: [round(border / 2) for border in range(8)]
        assert_eq!(starts, [0, 0, 1, 2, 2, 2, 3, 4]);
    }

    #[test]
    fn random_crops_have_the_size_of_the_input_and_are_not_cropped_again() {
        let pixels = (0..3 * 40 * 30).map(|at| (at * 7919 % 251) as u8);
        let image = RgbImage8 {
            width: 40,
            height: 30,
            pixels: pixels.collect(),
        };
        let squash = transforms(8, 8);
        let crop = Transforms {
            geometry: Geometry::ShorterThenCrop {
                shorter: 10,
                crop: 8,
            },
            ..squash.clone()
        };
        let augment = Augment {
            horizontal_flip: 0.5,
            crop_scale: Some([0.2, 0.8]),
            variants: 0,
        };
        let both = |view| {
            [&squash, &crop].map(|transforms| {
                let mut out = vec![f32::NAN; 3 * 8 * 8];
                preprocess(&image, transforms, view, &mut out);
                out
            })
        };
        for seed in 0..10 {
            let [by_squash, by_crop] = both(View::Drawn { augment, seed });
            assert_eq!(by_squash, by_crop);
        }
        let [by_squash, by_crop] = both(View::Whole);
        assert_ne!(by_squash, by_crop);
    }
}
