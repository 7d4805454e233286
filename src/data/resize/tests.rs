//! Resampling, against the definition.

use super::*;

const PLAIN: Normalize = Normalize {
    mean: [0.0; 3],
    std: [1.0; 3],
};

fn image(width: usize, height: usize) -> RgbImage8 {
    let pixels = (0..3 * width * height).map(|at| (at * 7919 % 251) as u8);
    RgbImage8 {
        width,
        height,
        pixels: pixels.collect(),
    }
}

/// Computes one output value from the definition, in both directions at once.
fn expected(image: &RgbImage8, resampling: &Resampling, [channel, row, column]: [usize; 3]) -> f64 {
    let [left, top, width, height] = resampling.part;
    let weight = |n_inputs: usize, n_outputs: usize, input: usize, output: usize| {
        let scale = n_inputs as f64 / n_outputs as f64;
        let distance = input as f64 + 0.5 - scale * (output as f64 + 0.5);
        let x = (distance / scale.max(1.0)).abs();
        match resampling.interpolation {
            Interpolation::Bilinear => (1.0 - x).max(0.0),
            Interpolation::Bicubic if x <= 1.0 => 1.5 * x.powi(3) - 2.5 * x.powi(2) + 1.0,
            Interpolation::Bicubic if x <= 2.0 => {
                -0.5 * x.powi(3) + 2.5 * x.powi(2) - 4.0 * x + 2.0
            }
            Interpolation::Bicubic => 0.0,
        }
    };
    let [n_rows, n_columns] = resampling.size;
    let (mut sum, mut total) = (0.0, 0.0);
    for y in 0..height {
        for x in 0..width {
            let weight = weight(height, n_rows, y, row) * weight(width, n_columns, x, column);
            let pixel = 3 * ((top + y) * image.width + left + x) + channel;
            sum += weight * f64::from(image.pixels[pixel]);
            total += weight;
        }
    }
    sum / total / 255.0
}

#[test]
fn every_value_is_the_weighted_mean_of_its_neighbours() {
    for (from, part, size, window) in [
        ([9, 7], [0, 0, 9, 7], [3, 4], [0..3, 0..4]),
        ([9, 7], [2, 1, 5, 6], [6, 5], [0..6, 0..5]),
        ([3, 2], [0, 0, 3, 2], [5, 7], [0..5, 0..7]),
        ([1, 1], [0, 0, 1, 1], [2, 3], [0..2, 0..3]),
        ([40, 30], [0, 0, 40, 30], [11, 13], [0..11, 0..13]),
        ([40, 30], [0, 0, 40, 30], [11, 13], [4..7, 6..7]),
        ([40, 30], [3, 5, 31, 24], [50, 60], [12..30, 41..60]),
        // More values in a row than are added up at a time, and numbers of taps with and without code of their own.
        ([97, 5], [1, 0, 90, 5], [4, 61], [0..4, 0..61]),
        ([97, 5], [1, 0, 90, 5], [4, 23], [0..4, 0..23]),
        ([97, 5], [1, 0, 90, 5], [4, 7], [0..4, 0..7]),
    ] {
        for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
            let image = image(from[0], from[1]);
            let [rows, columns] = [window[0].len(), window[1].len()];
            let resampling = Resampling {
                part,
                size,
                window: window.clone(),
                interpolation,
            };
            let mut out = vec![f32::NAN; 3 * rows * columns];
            resize(&image, &resampling, &PLAIN, &mut out);
            for (index, value) in out.iter().enumerate() {
                let (channel, place) = (index / (rows * columns), index % (rows * columns));
                let at = [
                    channel,
                    window[0].start + place / columns,
                    window[1].start + place % columns,
                ];
                let expected = expected(&image, &resampling, at);
                assert!(
                    (f64::from(*value) - expected).abs() < 1e-6,
                    "{from:?} {at:?} {interpolation:?}"
                );
            }
        }
    }
}

#[test]
fn a_window_has_the_bits_of_the_whole() {
    let image = image(61, 47);
    for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
        let [n_rows, n_columns] = [29, 37];
        let part = [2, 3, 55, 41];
        let computed = |window: [Range<usize>; 2]| {
            let mut out = vec![f32::NAN; 3 * window[0].len() * window[1].len()];
            let resampling = Resampling {
                part,
                size: [n_rows, n_columns],
                window,
                interpolation,
            };
            resize(&image, &resampling, &PLAIN, &mut out);
            out
        };
        let whole = computed([0..n_rows, 0..n_columns]);
        let (rows, columns) = (5..21, 9..30);
        let mut found = computed([rows.clone(), columns.clone()]).into_iter();
        for plane in whole.chunks(n_rows * n_columns) {
            for row in rows.clone() {
                for column in columns.clone() {
                    let value = plane[row * n_columns + column];
                    assert_eq!(found.next().map(f32::to_bits), Some(value.to_bits()));
                }
            }
        }
    }
}
