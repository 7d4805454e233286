//! 2x2 max pool of stride 2 over NHWC values; knows no layers.

use super::tiles::Nhwc;
use super::transforms::{larger, load_up_to, store_up_to};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Pools NHWC `input` of `shape` into `output` of `shape.pooled()`, dropping a last odd row or column.
pub(crate) fn max_pool(input: &[f32], shape: Nhwc, output: &mut [f32]) {
    let target = shape.pooled();
    assert_eq!(input.len(), shape.len(), "input size");
    assert_eq!(output.len(), target.len(), "output size");
    if output.is_empty() {
        return;
    }
    output
        .par_chunks_mut(target.width * target.channels)
        .enumerate()
        .for_each(|(row, output)| {
            let start = shape.pixel(row / target.height, row % target.height * 2, 0);
            let line = shape.width * shape.channels;
            Arch::new().dispatch(PoolRow {
                upper: &input[start..start + line],
                lower: &input[start + line..start + 2 * line],
                output,
                channels: shape.channels,
            });
        });
}

struct PoolRow<'a> {
    upper: &'a [f32],
    lower: &'a [f32],
    output: &'a mut [f32],
    channels: usize,
}

impl WithSimd for PoolRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.channels;
        let pairs = self
            .upper
            .chunks_exact(2 * channels)
            .zip(self.lower.chunks_exact(2 * channels));
        for (target, (upper, lower)) in self.output.chunks_exact_mut(channels).zip(pairs) {
            for (part, target) in target.chunks_mut(S::F32_LANES).enumerate() {
                let start = part * S::F32_LANES;
                let load = |line: &[f32], first: usize| {
                    load_up_to(simd, &line[first + start..first + start + target.len()])
                };
                let upper = larger(simd, load(upper, 0), load(upper, channels));
                let lower = larger(simd, load(lower, 0), load(lower, channels));
                store_up_to(simd, target, larger(simd, upper, lower));
            }
        }
    }
}
