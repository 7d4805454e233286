//! One file per subcommand, and what subcommands share: `prepare` does everything that comes before training, `conclude`
//! everything that comes after it.

pub(crate) mod cache;
mod changes;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod conclude;
pub(crate) mod config;
mod data_report;
pub(crate) mod evaluate;
pub(crate) mod export;
pub(crate) mod fetch;
mod fit;
mod images;
pub(crate) mod init;
pub(crate) mod list;
mod notices;
mod pictures;
pub(crate) mod plan;
mod plan_cache;
pub(crate) mod prepare;
pub(crate) mod resume;
pub(crate) mod rm;
pub(crate) mod sample_data;
pub(crate) mod show;
pub(crate) mod slim;
pub(crate) mod sweep;
mod sweep_check;
pub(crate) mod train;
pub(crate) mod verify;
pub(crate) mod words;

use crate::{error::Error, text::plain::for_a_line};

/// The number of facts after which an error only counts the rest.
const MOST_FACTS: usize = 20;

/// Adds a fact per line. Names of files may hold line ends, so each line is escaped.
fn with_facts(mut error: Error, mut lines: impl ExactSizeIterator<Item = String>) -> Error {
    for line in lines.by_ref().take(MOST_FACTS) {
        error = error.fact(for_a_line(&line));
    }
    match lines.len() {
        0 => error,
        n_more => error.fact(format!("and {n_more} more")),
    }
}
