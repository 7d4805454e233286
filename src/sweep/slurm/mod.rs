//! Slurm, by its command line: the batch script of a sweep's trials, the submission of it, and what the queue says about them.
//! Knows the names of trials and the sweep's directory, not how a trial runs. What Slurm says is a hint for the user; how far a
//! trial is, its run directory says.

mod call;
pub(crate) mod commands;
pub(crate) mod ledger;
pub(crate) mod queue;
pub(crate) mod request;
pub(crate) mod script;
pub(crate) mod settings;
pub(crate) mod submissions;

#[cfg(all(test, unix))]
mod cluster_tests;
#[cfg(test)]
mod tests;
