//! Operations on NHWC values one by one. Knows no convolutions.

use super::finish::Target;
use super::tiles::Nhwc;
use super::transforms::{at_least, load_up_to, store_up_to};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// The number of values per task.
const TASK_VALUES: usize = 1 << 15;

/// An operation that changes values in place.
#[derive(Clone, Copy)]
pub(crate) struct Change<'a> {
    /// `value * scale + shift` per channel.
    pub(crate) scale_shift: Option<(&'a [f32], &'a [f32])>,
    /// Sets negative values to zero, after scaling.
    pub(crate) relu: bool,
}

impl Change<'_> {
    /// Changes pixels of `channels` channels.
    pub(crate) fn apply(self, values: &mut [f32], channels: usize) {
        assert!(
            self.scale_shift
                .is_none_or(|(scale, shift)| scale.len() == channels && shift.len() == channels),
            "one scale and one shift per channel"
        );
        let pixels = (TASK_VALUES / channels).max(1);
        values.par_chunks_mut(pixels * channels).for_each(|values| {
            Arch::new().dispatch(ChangePixels {
                change: self,
                values,
            });
        });
    }
}

struct ChangePixels<'a> {
    change: Change<'a>,
    values: &'a mut [f32],
}

impl WithSimd for ChangePixels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        // Unlike `max`, this keeps a NaN.
        let clamped = |value: f32| if value < 0.0 { 0.0 } else { value };
        let relu = self.change.relu;
        if let Some((scale, shift)) = self.change.scale_shift {
            for pixel in self.values.chunks_exact_mut(scale.len()) {
                for ((value, scale), shift) in pixel.iter_mut().zip(scale).zip(shift) {
                    let changed = *value * scale + shift;
                    *value = if relu { clamped(changed) } else { changed };
                }
            }
        } else if relu {
            for value in self.values {
                *value = clamped(*value);
            }
        }
    }
}

/// Adds `other` to `values`, and sets negative sums to zero if `relu`.
pub(crate) fn add(values: &mut [f32], other: &[f32], relu: bool) {
    assert_eq!(values.len(), other.len(), "sizes of what is added");
    values
        .par_chunks_mut(TASK_VALUES)
        .zip(other.par_chunks(TASK_VALUES))
        .for_each(|(values, other)| {
            Arch::new().dispatch(AddValues {
                values,
                other,
                relu,
            });
        });
}

struct AddValues<'a> {
    values: &'a mut [f32],
    other: &'a [f32],
    relu: bool,
}

impl WithSimd for AddValues<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let floor = simd.splat_f32s(if self.relu { 0.0 } else { f32::NEG_INFINITY });
        let lanes = S::F32_LANES;
        for (values, other) in self.values.chunks_mut(lanes).zip(self.other.chunks(lanes)) {
            let sum = simd.add_f32s(load_up_to(simd, values), load_up_to(simd, other));
            store_up_to(simd, values, at_least(simd, floor, sum));
        }
    }
}

/// Copies dense NHWC `input` of `shape` to `output`.
pub(crate) fn copy(input: &[f32], shape: Nhwc, output: Target) {
    let pixels = shape.n * shape.height * shape.width;
    assert_eq!(input.len(), shape.len(), "input size");
    assert!(output.holds(pixels, shape.channels), "output size");
    if input.is_empty() {
        return;
    }
    let Target { values, stride } = output;
    let channels = shape.channels;
    let block = (TASK_VALUES / stride).max(1);
    let outputs = values.par_chunks_mut(block * stride);
    let inputs = input.par_chunks(block * channels);
    outputs.zip(inputs).for_each(|(output, input)| {
        let pixels = output.chunks_mut(stride).zip(input.chunks_exact(channels));
        for (output, input) in pixels {
            output[..channels].copy_from_slice(input);
        }
    });
}
