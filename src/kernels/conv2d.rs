//! 2D convolutions of any side, stride, padding and number of groups, as matrix products of gathered patches, and their gradients.
//! Values are NCHW, sums have a fixed order at any number of threads. Knows no Winograd transforms and no layers.

use rayon::prelude::*;

use super::{
    buffer::{AlignedBuffer, BLOCK_SCRATCH, SHARED_SCRATCH, Scratch, computed, with_scratch},
    gemm::{GemmSizes, Matrix, multiply},
    im2col::{PatchGrid, collect_plane, gather_channel, merge_images},
    layout::to_nhwc,
    tiles::Nhwc,
};

/// The number of gathered values of one group of images (4 MB).
const GROUP_VALUES: usize = 1 << 20;

/// From this number of pixels on, a 1x1 convolution multiplies each image where it is. Smaller images are gathered into one
/// product, because they would fill the vectors of their last rows badly.
const WIDE_PIXELS: usize = 128;

/// The fewest columns of a task's product: four times the width of the gemm crate's kernel.
const FEWEST_COLUMNS: usize = 24;

/// The sizes of a convolution and a batch. Pairs are vertical, horizontal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvSizes {
    pub(crate) images: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) groups: usize,
    /// The height and width of the input.
    pub(crate) input: [usize; 2],
    pub(crate) side: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
}

impl ConvSizes {
    /// The height and width of the output.
    pub(crate) fn output(&self) -> [usize; 2] {
        std::array::from_fn(|axis| {
            (self.input[axis] + 2 * self.padding[axis] - self.side[axis]) / self.stride[axis] + 1
        })
    }

    /// Whether the window fits into the padded input, and the channels divide into groups.
    pub(crate) fn fits(&self) -> bool {
        let is_inside = |axis: usize| self.side[axis] <= self.input[axis] + 2 * self.padding[axis];
        is_inside(0)
            && is_inside(1)
            && self.in_channels.is_multiple_of(self.groups)
            && self.out_channels.is_multiple_of(self.groups)
    }

    /// The number of values of the input.
    pub(crate) fn input_len(&self) -> usize {
        self.images * self.in_channels * self.in_pixels()
    }

    /// The number of values of the output.
    pub(crate) fn output_len(&self) -> usize {
        self.images * self.out_channels * self.out_pixels()
    }

    /// The number of weights.
    pub(crate) fn weight_len(&self) -> usize {
        self.out_channels * self.depth()
    }

    fn in_pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    fn out_pixels(&self) -> usize {
        let [height, width] = self.output();
        height * width
    }

    fn taps(&self) -> usize {
        self.side[0] * self.side[1]
    }

    /// The number of products that an output value sums.
    fn depth(&self) -> usize {
        self.in_channels / self.groups * self.taps()
    }

    fn group_outputs(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Whether the pixels of an image are its patches, and numerous.
    fn is_in_place(&self) -> bool {
        let is_pointwise = self.side == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0];
        is_pointwise && self.groups == 1 && self.out_pixels() >= WIDE_PIXELS
    }

    fn grid(&self) -> PatchGrid {
        PatchGrid {
            input: self.input,
            output: self.output(),
            side: self.side,
            stride: self.stride,
            padding: self.padding,
        }
    }

    /// The number of images whose patches are gathered at once. It does not depend on the batch.
    fn images_at_once(&self) -> usize {
        let values = self.in_channels * self.taps() * self.out_pixels();
        (GROUP_VALUES / values).max(1)
    }

    /// The number of products that run at the same time before they are cut into tasks.
    fn products_at_once(&self) -> usize {
        if self.is_in_place() {
            self.images
        } else {
            self.groups * self.images.div_ceil(self.images_at_once())
        }
    }

    fn check(&self, input: usize, weight: usize, output: usize) {
        assert!(self.fits(), "geometry");
        assert_eq!(input, self.input_len(), "input size");
        assert_eq!(weight, self.weight_len(), "weight size");
        assert_eq!(output, self.output_len(), "output size");
    }
}

/// The distance of two rows of gathered pixels: whole cache lines, an odd number of them, so that rows do not compete for the same
/// lines of a cache.
fn row_stride(pixels: usize) -> usize {
    (pixels.div_ceil(16) | 1) * 16
}

/// The columns of a task's product, if `n_products` products of `columns` columns are shared by all threads. Sums do not depend
/// on it.
fn columns_per_task(columns: usize, n_products: usize) -> usize {
    let tasks = (4 * rayon::current_num_threads()).div_ceil(n_products.max(1));
    columns
        .div_ceil(tasks)
        .next_multiple_of(6)
        .clamp(FEWEST_COLUMNS.min(columns), columns)
}

/// Computes `output = conv2d(input, weight) + bias`: `[n, in, h, w]`, `[out, in / groups, *side]`, `[out]` to
/// `[n, out, h', w']`.
pub(crate) fn forward(
    sizes: &ConvSizes,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    sizes.check(input.len(), weight.len(), sizes.output_len());
    let pixels = sizes.out_pixels();
    if sizes.is_in_place() {
        let image = sizes.in_channels * pixels;
        let chunk = sizes.out_channels * pixels;
        return computed(sizes.output_len(), chunk, |index, output| {
            let input = &input[index * image..][..image];
            multiply_filters(sizes, (input, pixels), weight, bias, (output, pixels));
        });
    }
    let images = sizes.images_at_once();
    let image = sizes.in_channels * sizes.in_pixels();
    let chunk = images * sizes.out_channels * pixels;
    computed(sizes.output_len(), chunk, |index, output| {
        let n = output.len() / (sizes.out_channels * pixels);
        let input = &input[index * images * image..][..n * image];
        let stride = row_stride(n * pixels);
        with_scratch(&BLOCK_SCRATCH, |scratch| {
            let Scratch {
                transformed,
                products,
            } = scratch;
            let patches = gather(sizes, input, transformed);
            if n == 1 {
                let patches = (patches, stride);
                multiply_filters(sizes, patches, weight, bias, (output, pixels));
                return;
            }
            let products = products.take_mut(sizes.out_channels * stride);
            multiply_filters(sizes, (patches, stride), weight, bias, (products, stride));
            output
                .par_chunks_mut(pixels)
                .enumerate()
                .for_each(|(plane, output)| {
                    let (image, channel) = (plane / sizes.out_channels, plane % sizes.out_channels);
                    let start = channel * stride + image * pixels;
                    output.copy_from_slice(&products[start..start + pixels]);
                });
        });
    })
}

/// Gathers the patches of some images: `[in * taps][stride]`.
fn gather<'a>(sizes: &ConvSizes, input: &[f32], buffer: &'a mut AlignedBuffer) -> &'a [f32] {
    let n = input.len() / (sizes.in_channels * sizes.in_pixels());
    let stride = row_stride(n * sizes.out_pixels());
    let grid = sizes.grid();
    let patches = buffer.take_mut(sizes.in_channels * sizes.taps() * stride);
    patches
        .par_chunks_mut(sizes.taps() * stride)
        .enumerate()
        .for_each_init(Vec::new, |phases, (channel, rows)| {
            gather_channel(&grid, input, (channel, sizes.in_channels), rows, phases);
        });
    patches
}

/// Multiplies patches `[in * taps][patch stride]` by the filters into `[out][product stride]`.
fn multiply_filters(
    sizes: &ConvSizes,
    (patches, patch_stride): (&[f32], usize),
    weight: &[f32],
    bias: Option<&[f32]>,
    (products, product_stride): (&mut [f32], usize),
) {
    let (depth, outputs) = (sizes.depth(), sizes.group_outputs());
    let rows = patch_stride.min(product_stride);
    let columns = columns_per_task(outputs, sizes.products_at_once());
    products
        .par_chunks_mut(outputs * product_stride)
        .enumerate()
        .for_each(|(group, products)| {
            let patches = &patches[group * depth * patch_stride..][..depth * patch_stride];
            products
                .par_chunks_mut(columns * product_stride)
                .enumerate()
                .for_each(|(task, products)| {
                    let first = group * outputs + task * columns;
                    let columns = products.len() / product_stride;
                    if let Some(bias) = bias {
                        let planes = products.chunks_exact_mut(product_stride);
                        for (plane, bias) in planes.zip(&bias[first..]) {
                            plane.fill(*bias);
                        }
                    }
                    let left = Matrix {
                        values: patches,
                        row_stride: 1,
                        column_stride: patch_stride,
                    };
                    let right = Matrix {
                        values: &weight[first * depth..],
                        row_stride: 1,
                        column_stride: depth,
                    };
                    let product = GemmSizes {
                        rows,
                        columns,
                        depth,
                    };
                    multiply(
                        product,
                        left,
                        right,
                        products,
                        product_stride,
                        bias.is_some(),
                    );
                });
        });
}

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
            let merged = if n == 1 {
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
