//! The CPU's own kernels on plain slices and numbers: no tensors, no files, no Burn.

pub(crate) mod buffer;
pub(crate) mod chain;
pub(crate) mod direct;
pub(crate) mod gemm;
pub(crate) mod gradients;
pub(crate) mod layout;
pub(crate) mod linear;
pub(crate) mod pool;
pub(crate) mod tiles;
pub(crate) mod transforms;
pub(crate) mod update;
pub(crate) mod winograd;

/// Raised whenever a kernel of frozen layers comes to other digits.
pub(crate) const VERSION: u32 = 1;
