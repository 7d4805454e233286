//! One file per subcommand, each one function, and what they share: the way to a run (`prepare`) and the way out of one
//! (`conclude`).

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
