//! Arguments that several commands take.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ExperimentArgs {
    /// Experiment file (TOML)
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Folder that holds the runs [default: RUNNER_RUNS_DIR, or `runs`]
    #[arg(long, value_name = "DIR")]
    pub(crate) runs_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Overrides {
    /// Override a key, for example optimizer.lr=1e-4 or phase.head.epochs=3; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
}
