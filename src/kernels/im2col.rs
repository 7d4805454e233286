//! Gathers the windows of a convolution from planes of pixels, and adds their gradients up again. Knows no products.

use rayon::prelude::*;

/// The windows of a convolution. Pairs are vertical, horizontal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PatchGrid {
    pub(crate) input: [usize; 2],
    pub(crate) output: [usize; 2],
    pub(crate) side: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
}

impl PatchGrid {
    /// The height and width of a phase: of all pixels of a padded plane whose coordinates have the same rests of division by the
    /// stride. In a phase, the pixels of a tap are neighbours.
    fn phase(&self) -> [usize; 2] {
        std::array::from_fn(|axis| {
            self.output[axis] - 1 + self.side[axis].div_ceil(self.stride[axis])
        })
    }

    /// The number of phases that any tap reads.
    fn phases(&self) -> [usize; 2] {
        std::array::from_fn(|axis| self.side[axis].min(self.stride[axis]))
    }

    /// Where a tap's row of output pixels begins in the phases.
    pub(crate) fn start(&self, tap: usize, y: usize) -> usize {
        let [height, width] = self.phase();
        let (tap_y, tap_x) = (tap / self.side[1], tap % self.side[1]);
        let phase = tap_y % self.stride[0] * self.phases()[1] + tap_x % self.stride[1];
        (phase * height + y + tap_y / self.stride[0]) * width + tap_x / self.stride[1]
    }

    /// The number of pixels of a window.
    pub(crate) fn taps(&self) -> usize {
        self.side[0] * self.side[1]
    }

    /// Whether every pixel is a window.
    fn is_plain(&self) -> bool {
        self.side == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    /// The number of values of all phases.
    pub(crate) fn phase_values(&self) -> usize {
        let ([height, width], [rows, columns]) = (self.phase(), self.phases());
        height * width * rows * columns
    }

    /// Calls `visit(start in the phases, start in the plane, count)` for each run of pixels of a phase's row, whose distance in the
    /// plane is the horizontal stride.
    fn visit_rows(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let ([height, width], [rows, columns]) = (self.phase(), self.phases());
        for phase_x in 0..columns {
            // The first and last column of this phase that lie inside the plane.
            let first = self.padding[1]
                .saturating_sub(phase_x)
                .div_ceil(self.stride[1]);
            let last = (self.input[1] + self.padding[1])
                .saturating_sub(phase_x)
                .div_ceil(self.stride[1])
                .min(width);
            if first >= last {
                continue;
            }
            let x = first * self.stride[1] + phase_x - self.padding[1];
            for phase_y in 0..rows {
                for row in 0..height {
                    let y = row * self.stride[0] + phase_y;
                    if y < self.padding[0] || y - self.padding[0] >= self.input[0] {
                        continue;
                    }
                    let phase = phase_y * columns + phase_x;
                    visit(
                        (phase * height + row) * width + first,
                        (y - self.padding[0]) * self.input[1] + x,
                        last - first,
                    );
                }
            }
        }
    }
}

/// Spreads a plane over the phases; what lies outside the plane is not written.
pub(crate) fn fill_phases(grid: &PatchGrid, plane: &[f32], phases: &mut [f32]) {
    grid.visit_rows(|to, from, count| {
        let target = &mut phases[to..to + count];
        match grid.stride[1] {
            1 => target.copy_from_slice(&plane[from..from + count]),
            2 => {
                let pairs = plane[from..from + 2 * count - 1].chunks(2);
                for (target, pair) in target.iter_mut().zip(pairs) {
                    *target = pair[0];
                }
            }
            step => {
                let values = plane[from..].iter().step_by(step);
                for (target, value) in target.iter_mut().zip(values) {
                    *target = *value;
                }
            }
        }
    });
}

/// Gathers the patches of one channel of some images `[n, channels, h, w]` into one row a tap, `[taps][stride]`, image behind
/// image. `phases` is reused between calls.
pub(crate) fn gather_channel(
    grid: &PatchGrid,
    images: &[f32],
    (channel, channels): (usize, usize),
    rows: &mut [f32],
    phases: &mut Vec<f32>,
) {
    let stride = rows.len() / grid.taps();
    let [height, width] = grid.output;
    let plane = grid.input[0] * grid.input[1];
    // The border stays zero, because every image writes the same pixels.
    phases.clear();
    phases.resize(grid.phase_values(), 0.0);
    for (image, values) in images.chunks_exact(channels * plane).enumerate() {
        let values = &values[channel * plane..(channel + 1) * plane];
        let first = image * height * width;
        if grid.is_plain() {
            rows[first..first + plane].copy_from_slice(values);
            continue;
        }
        fill_phases(grid, values, phases);
        for (tap, row) in rows.chunks_exact_mut(stride).enumerate() {
            let lines = row[first..first + height * width].chunks_exact_mut(width);
            for (y, target) in lines.enumerate() {
                let start = grid.start(tap, y);
                target.copy_from_slice(&phases[start..start + width]);
            }
        }
    }
    let used = images.len() / (channels * plane) * height * width;
    for row in rows.chunks_exact_mut(stride) {
        row[used..].fill(0.0);
    }
}

/// Adds the gradients of one image's patches, which begin at `first` of each tap's row, to the gradient of a plane, tap by tap.
/// `phases` is reused between calls.
pub(crate) fn collect_plane(
    grid: &PatchGrid,
    (rows, stride): (&[f32], usize),
    first: usize,
    plane: &mut [f32],
    phases: &mut Vec<f32>,
) {
    let [height, width] = grid.output;
    if grid.is_plain() {
        plane.copy_from_slice(&rows[first..first + plane.len()]);
        return;
    }
    phases.clear();
    phases.resize(grid.phase_values(), 0.0);
    for (tap, row) in rows.chunks(stride).enumerate().take(grid.taps()) {
        for (y, values) in row[first..first + height * width]
            .chunks_exact(width)
            .enumerate()
        {
            let start = grid.start(tap, y);
            for (sum, value) in phases[start..start + width].iter_mut().zip(values) {
                *sum += value;
            }
        }
    }
    plane.fill(0.0);
    grid.visit_rows(|from, to, count| {
        let sums = &phases[from..from + count];
        match grid.stride[1] {
            1 => plane[to..to + count].copy_from_slice(sums),
            step => {
                for (target, sum) in plane[to..].iter_mut().step_by(step).zip(sums) {
                    *target = *sum;
                }
            }
        }
    });
}

/// Moves `[n, channels, pixels]` to `[channels][stride]`, image behind image.
pub(crate) fn merge_images(
    images: &[f32],
    channels: usize,
    pixels: usize,
    merged: &mut [f32],
    stride: usize,
) {
    merged
        .par_chunks_mut(stride)
        .enumerate()
        .for_each(|(channel, row)| {
            let planes = images.chunks_exact(pixels).skip(channel).step_by(channels);
            let mut used = 0;
            for (target, plane) in row.chunks_exact_mut(pixels).zip(planes) {
                target.copy_from_slice(plane);
                used += pixels;
            }
            row[used..].fill(0.0);
        });
}
