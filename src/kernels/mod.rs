//! Our own CPU kernels, which work on plain slices and numbers: no tensors, no files, no Burn.

#![expect(
    clippy::inline_always,
    reason = "vector code keeps its instruction set only where it is inlined into the dispatched call"
)]

pub(crate) mod batch_norm;
pub(crate) mod buffer;
pub(crate) mod conv2d;
pub(crate) mod conv2d_gradients;
pub(crate) mod elementwise;
pub(crate) mod factored;
pub(crate) mod filters;
pub(crate) mod finish;
pub(crate) mod gemm;
pub(crate) mod gradients;
pub(crate) mod grouped;
pub(crate) mod im2col;
pub(crate) mod layout;
pub(crate) mod linear;
mod panels;
pub(crate) mod patches;
pub(crate) mod pool;
pub(crate) mod pool2d;
pub(crate) mod program;
pub(crate) mod relu;
pub(crate) mod sizes;
pub(crate) mod tiles;
pub(crate) mod transforms;
pub(crate) mod update;
pub(crate) mod window;
pub(crate) mod winograd;

#[cfg(test)]
mod conv2d_tests;
#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
mod step_tests;
#[cfg(test)]
mod tests;

/// The version of the kernels for frozen layers. Raised whenever their results change in any digit, because cached activations
/// are only valid for the kernels that computed them.
pub(crate) const VERSION: u32 = 1;
