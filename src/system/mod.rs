//! The process and what surrounds it: memory, signals, panics, and the commit that is checked out.

#[cfg(unix)]
pub(crate) mod allocator;
pub(crate) mod git;
pub(crate) mod panics;
pub(crate) mod stop;
