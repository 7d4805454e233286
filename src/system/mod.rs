//! The process and what surrounds it: signals, panics, and the commit that is checked out.

pub(crate) mod git;
pub(crate) mod panics;
pub(crate) mod process_group;
pub(crate) mod scheduler;
pub(crate) mod stop;
pub(crate) mod successor;
