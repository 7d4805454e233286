//! Preprocesses one image for a network: resize, scale, normalise, like torchvision's v2 transforms on float tensors.
//! Knows no batches and no tensors.

use crate::{
    config::experiment::Transforms,
    data::{augment::View, decode::RgbImage8, resize},
};

/// Part of the key of cached activations; must be raised whenever the same file gives different values.
pub(crate) const VERSION: u32 = 3;

/// Writes `(resized / 255 - mean) / std` as `[3, height, width]`. An image that has the target size is not resampled.
pub(crate) fn preprocess(image: &RgbImage8, transforms: &Transforms, view: View, out: &mut [f32]) {
    let size = transforms.resize;
    assert_eq!(
        out.len(),
        3 * size.height * size.width,
        "out holds one image"
    );
    let drawn = view.draw(image.width, image.height);
    let crop = drawn.crop.unwrap_or([0, 0, image.width, image.height]);
    let shape = [size.height, size.width];
    resize::resize(image, crop, shape, &transforms.normalize, out);
    if drawn.is_mirrored {
        out.chunks_exact_mut(size.width).for_each(<[f32]>::reverse);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::experiment::{ImageSize, Normalize};

    fn transforms(height: usize, width: usize) -> Transforms {
        let normalize = Normalize {
            mean: [0.5, 0.25, 0.0],
            std: [0.5, 0.25, 1.0],
        };
        Transforms {
            resize: ImageSize { height, width },
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
}
