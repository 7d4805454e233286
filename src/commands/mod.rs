//! One file per subcommand, each one function, and what they share: the way to a run (`prepare`), the way out of one
//! (`conclude`) and the talk on the way (`console`).

pub(crate) mod check;
pub(crate) mod conclude;
pub(crate) mod config;
pub(crate) mod console;
pub(crate) mod evaluate;
pub(crate) mod export;
pub(crate) mod plan;
pub(crate) mod prepare;
pub(crate) mod resume;
pub(crate) mod sample_data;
pub(crate) mod train;
