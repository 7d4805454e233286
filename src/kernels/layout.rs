//! Conversion of a batch between NCHW and NHWC. Knows no convolutions.

use super::buffer::computed;
use super::tiles::Nhwc;
use rayon::prelude::*;

/// The side of the squares that are transposed at a time: reading and writing both stay within the first-level cache.
const SQUARE: usize = 16;
/// The number of pixels (or channels) per task.
const STRIP: usize = 64;

/// Copies NCHW `input` into NHWC `output`; `shape` gives the sizes of both.
pub(crate) fn nchw_to_nhwc(input: &[f32], shape: Nhwc, output: &mut [f32]) {
    transpose_images(input, shape.channels, shape, output);
}

/// Copies NHWC `input` into NCHW `output`; `shape` gives the sizes of both.
pub(crate) fn nhwc_to_nchw(input: &[f32], shape: Nhwc, output: &mut [f32]) {
    transpose_images(input, shape.height * shape.width, shape, output);
}

/// Returns NCHW `input` in NHWC order; `shape` gives its sizes.
pub(crate) fn to_nhwc(input: &[f32], shape: Nhwc) -> Vec<f32> {
    transposed(input, shape.channels, shape)
}

/// Returns NHWC `input` in NCHW order; `shape` gives its sizes.
pub(crate) fn to_nchw(input: &[f32], shape: Nhwc) -> Vec<f32> {
    transposed(input, shape.height * shape.width, shape)
}

fn transposed(input: &[f32], rows: usize, shape: Nhwc) -> Vec<f32> {
    assert_eq!(input.len(), shape.len(), "input size");
    let image = shape.height * shape.width * shape.channels;
    computed(input.len(), image, |index, output| {
        transpose_image(&input[index * image..], rows, output);
    })
}

/// Transposes each image, a matrix of `rows` rows.
fn transpose_images(input: &[f32], rows: usize, shape: Nhwc, output: &mut [f32]) {
    assert_eq!(input.len(), shape.len(), "input size");
    assert_eq!(output.len(), shape.len(), "output size");
    if input.is_empty() {
        return;
    }
    let image = input.len() / shape.n;
    output
        .par_chunks_mut(image)
        .zip(input.par_chunks(image))
        .for_each(|(output, input)| transpose_image(input, rows, output));
}

fn transpose_image(input: &[f32], rows: usize, output: &mut [f32]) {
    let columns = output.len() / rows;
    output
        .par_chunks_mut(STRIP * rows)
        .enumerate()
        .for_each(|(strip, output)| {
            transpose_strip(input, columns, strip * STRIP, output, rows);
        });
}

/// Writes columns `first..` of the matrix `input` as the rows of `output`.
fn transpose_strip(input: &[f32], columns: usize, first: usize, output: &mut [f32], rows: usize) {
    let count = output.len() / rows;
    for top in (0..rows).step_by(SQUARE) {
        let bottom = (top + SQUARE).min(rows);
        for left in (0..count).step_by(SQUARE) {
            let right = (left + SQUARE).min(count);
            for column in left..right {
                let target = &mut output[column * rows + top..column * rows + bottom];
                for (row, target) in target.iter_mut().enumerate() {
                    *target = input[(top + row) * columns + first + column];
                }
            }
        }
    }
}
