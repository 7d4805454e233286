//! The gradients of 2D convolutions of any geometry, as matrix products of gathered patches. Knows no Winograd transforms and no
//! layers.

use rayon::prelude::*;

use super::{
    buffer::{BLOCK_SCRATCH, SHARED_SCRATCH, Scratch, computed, with_scratch},
    conv2d::{ConvSizes, columns_per_task, gather, row_stride},
    gemm::{GemmSizes, Matrix, multiply},
    im2col::{collect_plane, merge_images},
    layout::to_nhwc,
    tiles::Nhwc,
};

/// Computes the gradient `[n, in, h, w]` of the input from the weights and the gradient of the output.
pub(crate) fn input_gradient(
    sizes: &ConvSizes,
    weight: &[f32],
    output_gradient: &[f32],
) -> Vec<f32> {
    sizes.check(sizes.input_len(), weight.len(), output_gradient.len());
    let pixels = sizes.out_pixels();
    if sizes.is_in_place() {
        let image = sizes.out_channels * pixels;
        let chunk = sizes.in_channels * pixels;
        return computed(sizes.input_len(), chunk, |index, target| {
            let gradient = &output_gradient[index * image..][..image];
            multiply_transposed(sizes, (gradient, pixels), weight, (target, pixels));
        });
    }
    let images = sizes.images_at_once();
    let grid = sizes.grid();
    let image = sizes.in_channels * sizes.in_pixels();
    computed(sizes.input_len(), images * image, |index, target| {
        let n = target.len() / image;
        let outputs = sizes.out_channels * pixels;
        let gradient = &output_gradient[index * images * outputs..][..n * outputs];
        let stride = row_stride(n * pixels);
        with_scratch(&BLOCK_SCRATCH, |scratch| {
            let Scratch {
                transformed,
                products,
            } = scratch;
            // A single pixel would be a row vector, which the gemm crate may sum in another order.
            let merged = if n == 1 && pixels > 1 {
                (gradient, pixels)
            } else {
                let merged = products.take_mut(sizes.out_channels * stride);
                merge_images(gradient, sizes.out_channels, pixels, merged, stride);
                (&*merged, stride)
            };
            let patches = transformed.take_mut(sizes.in_channels * sizes.taps() * stride);
            multiply_transposed(sizes, merged, weight, (patches, stride));
            let patches = &*patches;
            target
                .par_chunks_mut(sizes.in_pixels())
                .enumerate()
                .for_each_init(Vec::new, |phases, (index, target)| {
                    let (image, channel) = (index / sizes.in_channels, index % sizes.in_channels);
                    let rows = &patches[channel * sizes.taps() * stride..];
                    collect_plane(&grid, (rows, stride), image * pixels, target, phases);
                });
        });
    })
}

/// Multiplies gradients `[out][stride]` by the transposed filters into gradients of patches `[in * taps][patch stride]`.
fn multiply_transposed(
    sizes: &ConvSizes,
    (gradient, gradient_stride): (&[f32], usize),
    weight: &[f32],
    (patches, patch_stride): (&mut [f32], usize),
) {
    let (depth, outputs) = (sizes.depth(), sizes.group_outputs());
    let rows = patch_stride.min(gradient_stride);
    let columns = columns_per_task(depth, sizes.products_at_once());
    patches
        .par_chunks_mut(depth * patch_stride)
        .enumerate()
        .for_each(|(group, patches)| {
            let gradient = &gradient[group * outputs * gradient_stride..];
            let weight = &weight[group * outputs * depth..];
            patches
                .par_chunks_mut(columns * patch_stride)
                .enumerate()
                .for_each(|(task, patches)| {
                    let product = GemmSizes {
                        rows,
                        columns: patches.len() / patch_stride,
                        depth: outputs,
                    };
                    let left = Matrix {
                        values: gradient,
                        row_stride: 1,
                        column_stride: gradient_stride,
                    };
                    let right = Matrix {
                        values: &weight[task * columns..],
                        row_stride: depth,
                        column_stride: 1,
                    };
                    multiply(product, left, right, patches, patch_stride, false);
                });
        });
}

/// Computes the gradient `[out, in / groups, *side]` of the weights from the input and the gradient of the output.
pub(crate) fn weight_gradient(
    sizes: &ConvSizes,
    input: &[f32],
    output_gradient: &[f32],
) -> Vec<f32> {
    sizes.check(input.len(), sizes.weight_len(), output_gradient.len());
    let [height, width] = sizes.output();
    let (pixels, depth, outputs) = (height * width, sizes.depth(), sizes.group_outputs());
    let shape = Nhwc {
        n: sizes.images,
        height,
        width,
        channels: sizes.out_channels,
    };
    let gradient = to_nhwc(output_gradient, shape);
    // The gradient as `[group][depth][outputs]`: its columns are the rows of the products.
    let mut transposed = vec![0.0; sizes.weight_len()];
    let image = sizes.in_channels * sizes.in_pixels();
    let columns = columns_per_task(depth, sizes.groups);
    let mut add = |patches: &[(&[f32], usize, usize)], first: usize, accumulate: bool| {
        transposed
            .par_chunks_mut(depth * outputs)
            .enumerate()
            .for_each(|(group, sums)| {
                sums.par_chunks_mut(columns * outputs)
                    .enumerate()
                    .for_each(|(task, sums)| {
                        let mut row = first;
                        for (index, &(patches, stride, n_pixels)) in patches.iter().enumerate() {
                            let left = Matrix {
                                values: &gradient[row * sizes.out_channels + group * outputs..],
                                row_stride: 1,
                                column_stride: sizes.out_channels,
                            };
                            let right = Matrix {
                                values: &patches[(group * depth + task * columns) * stride..],
                                row_stride: 1,
                                column_stride: stride,
                            };
                            let product = GemmSizes {
                                rows: outputs,
                                columns: sums.len() / outputs,
                                depth: n_pixels,
                            };
                            let accumulate = accumulate || index > 0;
                            multiply(product, left, right, sums, outputs, accumulate);
                            row += n_pixels;
                        }
                    });
            });
    };
    if sizes.is_in_place() {
        let patches = input.chunks(image).map(|image| (image, pixels, pixels));
        add(&patches.collect::<Vec<_>>(), 0, false);
    } else {
        let images = sizes.images_at_once();
        with_scratch(&SHARED_SCRATCH, |scratch| {
            for (part, input) in input.chunks(images * image).enumerate() {
                let n_pixels = input.len() / image * pixels;
                let patches = gather(sizes, input, &mut scratch.transformed);
                let first = part * images * pixels;
                add(
                    &[(patches, row_stride(n_pixels), n_pixels)],
                    first,
                    part > 0,
                );
            }
        });
    }
    let transposition = Nhwc {
        n: sizes.groups,
        height: 1,
        width: outputs,
        channels: depth,
    };
    to_nhwc(&transposed, transposition)
}

/// Adds the gradient of the output over images and pixels, in the order of images: `[n, out, pixels]` to `[out]`.
pub(crate) fn bias_gradient(sizes: &ConvSizes, output_gradient: &[f32]) -> Vec<f32> {
    let (channels, pixels) = (sizes.out_channels, sizes.out_pixels());
    (0..channels)
        .into_par_iter()
        .map(|channel| {
            let planes = output_gradient.chunks_exact(pixels).skip(channel);
            let sums = planes.step_by(channels).map(|plane| {
                let parts = plane.chunks(64);
                parts
                    .map(|part| f64::from(part.iter().sum::<f32>()))
                    .sum::<f64>()
            });
            sums.sum::<f64>() as f32
        })
        .collect()
}
