//! Loops over numbers that the CPU backend spends its time in. They know slices only: no tensors, no files.

pub(crate) mod linear;
pub(crate) mod update;
