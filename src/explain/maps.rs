//! Class activation maps, from the activations of a layer and the gradients of a class's logit with respect to them.

use clap::ValueEnum;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// Weight each channel by the mean of its gradient (Selvaraju et al., 2017)
    GradCam,
    /// Weight each place by its own positive gradient (Jiang et al., 2021)
    LayerCam,
}

/// How much each place of a layer's output speaks for a class: `height` x `width` values of at least 0, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeatMap {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) values: Vec<f32>,
}

impl HeatMap {
    /// The map of one image, from activations `A` and gradients `dy/dA` of shape `[channels, height, width]`.
    ///
    /// Grad-CAM: `relu(sum_k mean(dy/dA_k) A_k)`. Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via
    /// Gradient-based Localization, 2017, equations 1 and 2.
    ///
    /// LayerCAM: `relu(sum_k relu(dy/dA_k) A_k)`. Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for
    /// Localization, 2021, equations 4 to 6.
    pub(crate) fn new(
        method: Method,
        activations: &[f32],
        gradients: &[f32],
        [height, width]: [usize; 2],
    ) -> Self {
        let n_places = height * width;
        let mut sums = vec![0.0_f64; n_places];
        let channels = activations.chunks_exact(n_places);
        for (channel, slopes) in channels.zip(gradients.chunks_exact(n_places)) {
            let total: f64 = slopes.iter().copied().map(f64::from).sum();
            let mean = total / n_places as f64;
            for ((sum, value), slope) in sums.iter_mut().zip(channel).zip(slopes) {
                let weight = match method {
                    Method::GradCam => mean,
                    Method::LayerCam => f64::from(slope.max(0.0)),
                };
                *sum += weight * f64::from(*value);
            }
        }
        Self {
            height,
            width,
            values: sums.into_iter().map(|sum| sum.max(0.0) as f32).collect(),
        }
    }

    /// The map at another size, with values from 0 to 1: bilinear as by PyTorch's `interpolate` with `align_corners=False`, then
    /// divided by the largest value. A map without a positive value stays 0 everywhere.
    pub(crate) fn resized(&self, height: usize, width: usize) -> Vec<f32> {
        let rows = taps(self.height, height);
        let columns = taps(self.width, width);
        let mut values = Vec::with_capacity(height * width);
        for (top, bottom, down) in &rows {
            for (left, right, across) in &columns {
                let at = |row: usize, column: usize| self.values[row * self.width + column];
                let mix = |row: usize| at(row, *left) * (1.0 - across) + at(row, *right) * across;
                values.push(mix(*top) * (1.0 - down) + mix(*bottom) * down);
            }
        }
        let largest = values.iter().copied().fold(0.0, f32::max);
        if largest > 0.0 {
            for value in &mut values {
                *value /= largest;
            }
        }
        values
    }
}

/// For each of `to` places the two of `from` that it lies between, and its distance from the first one.
fn taps(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let scale = from as f32 / to as f32;
    let tap = |place: usize| {
        let at = ((place as f32 + 0.5) * scale - 0.5).max(0.0);
        let first = (at as usize).min(from - 1);
        (first, (first + 1).min(from - 1), at - first as f32)
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two channels of 1 x 2 places.
    const ACTIVATIONS: [f32; 4] = [1.0, 2.0, 3.0, 4.0];

    #[test]
    fn the_methods_weight_channels_and_places() {
        let gradients = [1.0, 3.0, -1.0, 0.5];
        let map = |method| HeatMap::new(method, &ACTIVATIONS, &gradients, [1, 2]).values;
        // The mean gradients are 2 and -0.25.
        assert_eq!(map(Method::GradCam), [2.0 - 0.75, 4.0 - 1.0]);
        assert_eq!(map(Method::LayerCam), [1.0, 6.0 + 2.0]);
    }

    #[test]
    fn what_speaks_against_a_class_is_not_shown() {
        let map = HeatMap::new(Method::GradCam, &ACTIVATIONS, &[-1.0; 4], [1, 2]);
        assert_eq!(map.values, [0.0, 0.0]);
        assert_eq!(map.resized(2, 2), [0.0; 4]);
    }

    #[test]
    fn maps_are_resized_as_by_pytorch() {
        let map = HeatMap {
            height: 2,
            width: 2,
            values: vec![0.0, 1.0, 2.0, 4.0],
        };
        // torch.nn.functional.interpolate(torch.tensor([[[[0., 1.], [2., 4.]]]]), (3, 4), mode="bilinear") / 4
        let expected = [
            [0.0, 0.0625, 0.1875, 0.25],
            [0.25, 0.343_75, 0.531_25, 0.625],
            [0.5, 0.625, 0.875, 1.0],
        ];
        let expected = expected.concat();
        let actual = map.resized(3, 4);
        let pairs = actual.iter().zip(&expected);
        assert!(
            pairs.clone().all(|(a, b)| (a - b).abs() < 1e-6),
            "{actual:?}"
        );
        assert_eq!(actual.len(), expected.len());
    }
}
