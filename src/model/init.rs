//! Initial parameters as in torchvision's constructors. Pure: computes values from seed and shape; knows no Burn.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::{
    paper::{Init, TensorSpec},
    state::HostTensor,
    transpose::transposed,
};
use crate::random;

/// The number of values drawn from one generator. Each block has its own, so that large tensors are filled in parallel with the
/// same values at any number of threads.
const BLOCK: usize = 1 << 16;
/// The rows and columns of the tiles that a matrix is transposed in while it is drawn: one cache line of `f32`.
const TILE: usize = 16;
/// The rows that a task draws before it transposes them: 3 MB of VGG16's largest matrix, and two cache lines of each column.
const AT_ONCE: usize = 2 * TILE;
/// The fewest rows that a task draws of a transposed matrix: four cache lines of each transposed row.
const MIN_ROWS: usize = 4 * TILE;

/// A freshly initialised tensor for `spec`, as in torchvision's constructor. It depends on the seed and the tensor's name alone.
pub(crate) fn fresh(spec: &TensorSpec, seed: u64) -> Draw {
    let law = match spec.init {
        Init::Zeros => Law::Constant(0.0),
        Init::Ones => Law::Constant(1.0),
        Init::Normal { std } => Law::Normal { std: std as f32 },
        Init::KaimingNormalFanOut => {
            let fan_out = spec.shape[0] * spec.shape[2..].iter().product::<usize>();
            let std = (2.0 / fan_out as f32).sqrt();
            Law::Normal { std }
        }
        Init::KaimingUniformFanIn => {
            let fan_in: usize = spec.shape[1..].iter().product();
            let bound = (6.0 / fan_in as f32).sqrt();
            Law::Uniform { bound }
        }
        Init::Uniform { fan_in } => Law::Uniform {
            bound: 1.0 / (fan_in as f32).sqrt(),
        },
    };
    Draw::new(spec, law, seed)
}

/// A freshly initialised weight or bias of the layer that replaces a pretrained one, as in a new `nn.Linear` or `nn.Conv2d` with a 1x1
/// kernel: uniform within plus or minus `1/sqrt(in_features)` (torch `nn/modules/linear.py`, `reset_parameters`).
pub(crate) fn new_head(spec: &TensorSpec, in_features: usize, seed: u64) -> Draw {
    let bound = 1.0 / (in_features as f32).sqrt();
    Draw::new(spec, Law::Uniform { bound }, seed)
}

/// The distribution of a tensor's values.
#[derive(Clone, Copy, Debug)]
enum Law {
    Constant(f32),
    Normal { std: f32 },
    Uniform { bound: f32 },
}

/// A tensor that is fully determined and not drawn yet.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    shape: Vec<usize>,
    law: Law,
    /// The seed of this tensor, from that of the run and the tensor's name.
    seed: u64,
}

impl Draw {
    fn new(spec: &TensorSpec, law: Law, seed: u64) -> Self {
        Self {
            shape: spec.shape.clone(),
            law,
            seed: random::derive_seed(seed, &format!("init {}", spec.path), &[]),
        }
    }

    /// Draws the tensor in PyTorch's order.
    pub(crate) fn tensor(&self) -> HostTensor {
        let mut values = vec![0.0; self.shape.iter().product()];
        let blocks = values.par_chunks_mut(BLOCK).enumerate();
        blocks.for_each(|(block, values)| Stream::at(self, block).fill(values));
        HostTensor {
            shape: self.shape.clone(),
            values,
        }
    }

    /// Draws a matrix `[rows, columns]` as its transpose `[columns, rows]`, with the same values as [`Self::tensor`]. The first
    /// matrix of VGG16 has 411 MB: drawn in one order and copied to the other, the copy would take longer than the drawing.
    pub(crate) fn transposed(&self) -> HostTensor {
        let (n_rows, n_columns) = (self.shape[0], self.shape[1]);
        let per_task = rows_per_task(n_columns);
        if n_rows < 2 * per_task {
            return transposed(&self.tensor());
        }
        let mut values = vec![0.0; n_rows * n_columns];
        let n_tasks = n_rows.div_ceil(per_task);
        let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
        tasks.resize_with(n_tasks, || Vec::with_capacity(n_columns));
        for column in values.chunks_mut(n_rows) {
            for (task, part) in tasks.iter_mut().zip(column.chunks_mut(per_task)) {
                task.push(part);
            }
        }
        tasks
            .into_par_iter()
            .enumerate()
            .for_each_init(Vec::new, |rows, (task, mut columns)| {
                let stream = Stream::at(self, task * per_task * n_columns / BLOCK);
                // Tasks that begin at different columns do not wait for each other while the system clears the same new page.
                let first = n_columns * task / n_tasks / TILE * TILE;
                fill_columns(stream, &mut columns, first, rows);
            });
        HostTensor {
            shape: vec![n_columns, n_rows],
            values,
        }
    }
}

/// The number of rows that begin and end together with blocks, so that no task draws values of another one.
fn rows_per_task(n_columns: usize) -> usize {
    // A block has a power of two of values, so only the twos in `n_columns` can be shared.
    let in_step = BLOCK >> n_columns.trailing_zeros().min(BLOCK.trailing_zeros());
    in_step.max(MIN_ROWS)
}

/// Draws rows one after the other into parts of columns, some rows at a time, beginning each time at column `first`. `rows` is scratch memory.
fn fill_columns(mut stream: Stream, columns: &mut [&mut [f32]], first: usize, rows: &mut Vec<f32>) {
    let n_columns = columns.len();
    let n_rows = columns.first().map_or(0, |column| column.len());
    rows.resize(AT_ONCE.min(n_rows) * n_columns, 0.0);
    for first_row in (0..n_rows).step_by(AT_ONCE) {
        let height = AT_ONCE.min(n_rows - first_row);
        let rows = &mut rows[..height * n_columns];
        stream.fill(rows);
        let (before, behind) = columns.split_at_mut(first);
        for (offset, columns) in [(first, behind), (0, before)] {
            for (index, columns) in columns.chunks_mut(TILE).enumerate() {
                let left = offset + index * TILE;
                for (tile_row, rows) in rows.chunks(TILE * n_columns).enumerate() {
                    let first_row = first_row + tile_row * TILE;
                    let mut tile = [[0.0; TILE]; TILE];
                    for (row, values) in rows.chunks(n_columns).enumerate() {
                        // Most lines are whole; of a known length, they need no calls to copy them.
                        let values = &values[left..left + columns.len()];
                        if let Ok(values) = <&[f32; TILE]>::try_from(values) {
                            turn(values, row, &mut tile);
                        } else {
                            turn(values, row, &mut tile);
                        }
                    }
                    let height = rows.len() / n_columns;
                    for (column, line) in columns.iter_mut().zip(&tile) {
                        let column = &mut column[first_row..first_row + height];
                        if let Ok(column) = <&mut [f32; TILE]>::try_from(&mut *column) {
                            *column = *line;
                        } else {
                            column.copy_from_slice(&line[..height]);
                        }
                    }
                }
            }
        }
    }
}

#[expect(
    clippy::inline_always,
    reason = "the loop is unrolled where the length is known"
)]
#[inline(always)]
fn turn(values: &[f32], row: usize, tile: &mut [[f32; TILE]; TILE]) {
    for (line, value) in tile.iter_mut().zip(values) {
        line[row] = *value;
    }
}

/// The values of a tensor in PyTorch's order, from the beginning of a block on.
struct Stream<'a> {
    draw: &'a Draw,
    rng: ChaCha8Rng,
    block: usize,
    /// The values that are left in the block.
    left: usize,
}

impl<'a> Stream<'a> {
    fn at(draw: &'a Draw, block: usize) -> Self {
        let seed = random::derive_seed(draw.seed, "block", &[block as u64]);
        Self {
            draw,
            rng: ChaCha8Rng::seed_from_u64(seed),
            block,
            left: BLOCK,
        }
    }

    /// Fills `values` with the next ones of the tensor.
    fn fill(&mut self, mut values: &mut [f32]) {
        while !values.is_empty() {
            if self.left == 0 {
                *self = Self::at(self.draw, self.block + 1);
            }
            let n_values = values.len().min(self.left);
            let (now, later) = values.split_at_mut(n_values);
            let rng = &mut self.rng;
            match self.draw.law {
                Law::Constant(value) => now.fill(value),
                Law::Normal { std } => now.fill_with(|| std * normal(rng)),
                Law::Uniform { bound } => now.fill_with(|| rng.random_range(-bound..bound)),
            }
            self.left -= n_values;
            values = later;
        }
    }
}

fn normal(rng: &mut ChaCha8Rng) -> f32 {
    StandardNormal.sample(rng)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(path: &str, shape: &[usize], init: Init) -> TensorSpec {
        TensorSpec {
            path: path.to_owned(),
            shape: shape.to_vec(),
            is_buffer: false,
            is_turned: false,
            init,
        }
    }

    fn std_of(values: &[f32]) -> f32 {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        (values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f32>()
            / values.len() as f32)
            .sqrt()
    }

    #[test]
    fn convolutions_have_the_spread_of_kaiming_normal_fan_out() {
        let tensor = fresh(
            &spec(
                "features.0.weight",
                &[64, 64, 3, 3],
                Init::KaimingNormalFanOut,
            ),
            1,
        )
        .tensor();
        let expected = (2.0 / (64.0 * 9.0_f32)).sqrt();
        assert!((std_of(&tensor.values) / expected - 1.0).abs() < 0.02);
    }

    #[test]
    fn a_replaced_layer_starts_as_a_new_linear_layer() {
        let tensor = new_head(
            &spec("classifier.6.weight", &[10, 400], Init::Zeros),
            400,
            1,
        )
        .tensor();
        let largest = tensor
            .values
            .iter()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert!(largest <= 0.05 && largest > 0.049);
        assert_ne!(
            new_head(&spec("classifier.6.bias", &[10], Init::Zeros), 400, 1)
                .tensor()
                .values,
            vec![0.0; 10]
        );
    }

    #[test]
    fn values_depend_on_seed_and_name_alone() {
        let values = |path, seed| {
            fresh(&spec(path, &[70, 1000], Init::Normal { std: 0.01 }), seed)
                .tensor()
                .values
        };
        assert_eq!(
            values("classifier.0.weight", 1),
            values("classifier.0.weight", 1)
        );
        assert_ne!(
            values("classifier.0.weight", 1),
            values("classifier.0.weight", 2)
        );
        assert_ne!(
            values("classifier.0.weight", 1),
            values("classifier.3.weight", 1)
        );
    }

    #[test]
    fn a_matrix_is_drawn_the_same_in_both_orders() {
        let laws = [Init::Normal { std: 0.01 }, Init::Uniform { fan_in: 9 }];
        // Columns that share 16, 9 and 0 twos with a block; rows that fill whole tasks and tiles, and that do not.
        for (n_rows, n_columns) in [
            (130, 1 << 16),
            (300, 49 << 9),
            (137, 1024),
            (40, 33),
            (7, 3),
        ] {
            for init in laws {
                let spec = spec("classifier.0.weight", &[n_rows, n_columns], init);
                let draw = fresh(&spec, 1);
                let expected = transposed(&draw.tensor());
                assert!(draw.transposed() == expected, "{n_rows} x {n_columns}");
            }
        }
    }
}
