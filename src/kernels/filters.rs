//! The filter transforms of Winograd F(4x4,3x3), for weights and for their gradients. Knows no activations.

use super::transforms::{POSITIONS, SIDE};
use pulp::{Simd, WithSimd};

/// The output channels per panel of transformed weights: as many as the rows of the gemm crate's widest kernel.
pub(crate) const PANEL: usize = 64;

/// The input channels whose filters are gathered at a time: enough to use up a cache line of untransformed weights before the
/// next output channel's line replaces it.
const GATHERED: usize = 8;

/// Transforms the filters of one panel into `[36][in][rows]`.
pub(crate) struct TransformPanel<'a, F> {
    pub(crate) first: usize,
    pub(crate) out_channels: usize,
    pub(crate) in_channels: usize,
    pub(crate) filter: &'a F,
    pub(crate) values: &'a mut [f32],
}

impl<F: Fn(usize, usize) -> [f32; 9]> WithSimd for TransformPanel<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let rows = self.values.len() / (POSITIONS * self.in_channels);
        let used = rows.min(self.out_channels - self.first);
        let mut taps = vec![[[0.0f32; PANEL]; 9]; GATHERED];
        for first in (0..self.in_channels).step_by(GATHERED) {
            let gathered = GATHERED.min(self.in_channels - first);
            for output in 0..used {
                for (index, taps) in taps.iter_mut().enumerate().take(gathered) {
                    let filter = (self.filter)(self.first + output, first + index);
                    for (tap, value) in taps.iter_mut().zip(filter) {
                        tap[output] = value;
                    }
                }
            }
            for (index, taps) in taps.iter().enumerate().take(gathered) {
                for start in (0..rows).step_by(S::F32_LANES) {
                    let here = start..start + S::F32_LANES;
                    let mut g = [simd.splat_f32s(0.0); 9];
                    for (g, tap) in g.iter_mut().zip(taps) {
                        *g = S::as_simd_f32s(&tap[here.clone()]).0[0];
                    }
                    let transformed = transform_filters(simd, g);
                    for (position, value) in transformed.into_iter().enumerate() {
                        let at = (position * self.in_channels + first + index) * rows + start;
                        let values = &mut self.values[at..at + S::F32_LANES];
                        S::as_mut_simd_f32s(values).0[0] = value;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn filter_line<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; 6] {
    let (sixth, fraction) = (simd.splat_f32s(-1.0 / 6.0), simd.splat_f32s(1.0 / 24.0));
    let outer = simd.add_f32s(a, c);
    let far = simd.mul_add_e_f32s(simd.splat_f32s(4.0), c, a);
    let twice = simd.add_f32s(b, b);
    [
        simd.mul_f32s(simd.splat_f32s(0.25), a),
        simd.mul_f32s(sixth, simd.add_f32s(outer, b)),
        simd.mul_f32s(sixth, simd.sub_f32s(outer, b)),
        simd.mul_f32s(fraction, simd.add_f32s(far, twice)),
        simd.mul_f32s(fraction, simd.sub_f32s(far, twice)),
        c,
    ]
}

/// Transforms `lanes` filters at once by `G g G^T`; `filters` is `[9][lanes]`, result `[36][lanes]`.
#[inline(always)]
pub(crate) fn transform_filters<S: Simd>(simd: S, g: [S::f32s; 9]) -> [S::f32s; POSITIONS] {
    let mut half = [simd.splat_f32s(0.0); SIDE * 3];
    for x in 0..3 {
        for (y, value) in filter_line(simd, [g[x], g[3 + x], g[6 + x]])
            .into_iter()
            .enumerate()
        {
            half[y * 3 + x] = value;
        }
    }
    let mut full = [simd.splat_f32s(0.0); POSITIONS];
    for y in 0..SIDE {
        let row = filter_line(simd, [half[y * 3], half[y * 3 + 1], half[y * 3 + 2]]);
        full[y * SIDE..y * SIDE + SIDE].copy_from_slice(&row);
    }
    full
}

#[inline(always)]
fn filter_gradient_line<S: Simd>(simd: S, u: [S::f32s; 6]) -> [S::f32s; 3] {
    let (sixth, twelfth) = (simd.splat_f32s(1.0 / 6.0), simd.splat_f32s(1.0 / 12.0));
    let (quarter, fraction) = (simd.splat_f32s(0.25), simd.splat_f32s(1.0 / 24.0));
    let near = simd.add_f32s(u[1], u[2]);
    let far = simd.add_f32s(u[3], u[4]);
    let first = simd.sub_f32s(simd.mul_f32s(quarter, u[0]), simd.mul_f32s(sixth, near));
    let near_difference = simd.mul_f32s(sixth, simd.sub_f32s(u[2], u[1]));
    [
        simd.mul_add_e_f32s(fraction, far, first),
        simd.mul_add_e_f32s(twelfth, simd.sub_f32s(u[3], u[4]), near_difference),
        simd.mul_add_e_f32s(sixth, simd.sub_f32s(far, near), u[5]),
    ]
}

/// Transforms the summed products `[36]` of the gradients of filters into 3x3 gradients by `G^T u G`.
#[inline(always)]
pub(crate) fn filter_gradients<S: Simd>(simd: S, u: &[S::f32s; POSITIONS]) -> [S::f32s; 9] {
    let mut half = [simd.splat_f32s(0.0); 3 * SIDE];
    for x in 0..SIDE {
        let column = filter_gradient_line(
            simd,
            [u[x], u[6 + x], u[12 + x], u[18 + x], u[24 + x], u[30 + x]],
        );
        for y in 0..3 {
            half[y * SIDE + x] = column[y];
        }
    }
    let mut full = [simd.splat_f32s(0.0); 9];
    for y in 0..3 {
        let h = &half[y * SIDE..];
        let row = filter_gradient_line(simd, [h[0], h[1], h[2], h[3], h[4], h[5]]);
        full[y * 3..y * 3 + 3].copy_from_slice(&row);
    }
    full
}
