//! 2D convolutions of any side, stride, padding and number of groups, as matrix products of gathered patches. Values are NCHW, sums
//! have a fixed order at any number of threads. Knows no Winograd transforms and no layers.

use rayon::prelude::*;

use super::{
    buffer::{AlignedBuffer, BLOCK_SCRATCH, Scratch, computed, with_scratch},
    gemm::{GemmSizes, Matrix, multiply},
    im2col::{PatchGrid, gather_channel},
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

    pub(super) fn in_pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    pub(super) fn out_pixels(&self) -> usize {
        let [height, width] = self.output();
        height * width
    }

    pub(super) fn taps(&self) -> usize {
        self.side[0] * self.side[1]
    }

    /// The number of products that an output value sums.
    pub(super) fn depth(&self) -> usize {
        self.in_channels / self.groups * self.taps()
    }

    pub(super) fn group_outputs(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Whether the pixels of an image are its patches, and numerous.
    pub(super) fn is_in_place(&self) -> bool {
        let is_pointwise = self.side == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0];
        is_pointwise && self.groups == 1 && self.out_pixels() >= WIDE_PIXELS
    }

    pub(super) fn grid(&self) -> PatchGrid {
        PatchGrid {
            input: self.input,
            output: self.output(),
            side: self.side,
            stride: self.stride,
            padding: self.padding,
        }
    }

    /// The number of images whose patches are gathered at once. It does not depend on the batch.
    pub(super) fn images_at_once(&self) -> usize {
        let values = self.in_channels * self.taps() * self.out_pixels();
        (GROUP_VALUES / values).max(1)
    }

    /// The number of products that run at the same time before they are cut into tasks.
    pub(super) fn products_at_once(&self) -> usize {
        if self.is_in_place() {
            self.images
        } else {
            self.groups * self.images.div_ceil(self.images_at_once())
        }
    }

    pub(super) fn check(&self, input: usize, weight: usize, output: usize) {
        assert!(self.fits(), "geometry");
        assert_eq!(input, self.input_len(), "input size");
        assert_eq!(weight, self.weight_len(), "weight size");
        assert_eq!(output, self.output_len(), "output size");
    }
}

/// The distance of two rows of gathered pixels: whole cache lines, an odd number of them, so that rows do not compete for the same
/// lines of a cache.
pub(super) fn row_stride(pixels: usize) -> usize {
    (pixels.div_ceil(16) | 1) * 16
}

/// The columns of a task's product, if `n_products` products of `columns` columns are shared by all threads. Sums do not depend
/// on it.
pub(super) fn columns_per_task(columns: usize, n_products: usize) -> usize {
    let tasks = (4 * rayon::current_num_threads()).div_ceil(n_products.max(1));
    let mut part = columns
        .div_ceil(tasks)
        .next_multiple_of(6)
        .max(FEWEST_COLUMNS);
    // The gemm crate sums a single column in another order.
    while part < columns && columns % part == 1 {
        part += 6;
    }
    part.min(columns)
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
pub(super) fn gather<'a>(
    sizes: &ConvSizes,
    input: &[f32],
    buffer: &'a mut AlignedBuffer,
) -> &'a [f32] {
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
