//! Runs as other commands see them: found by what a user types, read in whatever state they are, and compared with each other.
//! Knows run directories; trains nothing and writes nothing.

mod cautions;
pub(crate) mod compare;
mod differences;
mod find;
mod starts;
mod tables;
mod view;

pub(crate) use find::{Admit, all, find, find_folder, find_single, find_start, listing};
pub(crate) use starts::KilledStart;
pub(crate) use view::{RunState, RunView};
