//! Sweeps in a real Slurm: each test has a cluster of its own, in which it lets happen what happens in clusters. `make slurm` runs
//! them. They are skipped where the script that starts a cluster is absent, or the user is not root.

mod asha;
mod disk;
mod failures;
mod nodes;
mod requests;
mod site;
mod stops;
