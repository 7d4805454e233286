//! The process and its environment: the allocator, signals, panics, and the checked-out git commit.

#[cfg(unix)]
pub(crate) mod allocator;
pub(crate) mod git;
pub(crate) mod panics;
pub(crate) mod stop;
