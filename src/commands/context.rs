//! What every command gets beside its arguments: the console, and what the environment sets.

use std::{ffi::OsString, path::PathBuf};

use super::{
    args::{ExperimentArgs, RunsArgs},
    prepare::ExperimentRequest,
};
use crate::{
    config,
    console::{Console, Talk},
    error::Result,
    rundir::RunDir,
    runs::{self, Admit},
    text::plain::masked,
};

pub(crate) struct Context {
    pub(crate) console: Console,
    /// The command as it was typed, without passwords. A run keeps it.
    pub(crate) command: Vec<String>,
    /// The command line that completion scripts and the manual page describe.
    pub(crate) cli: fn() -> clap::Command,
    /// The environment variables that can override keys of the experiment.
    pub(crate) environment: Vec<(String, String)>,
}

impl Context {
    pub(crate) fn new(talk: Talk, args: &[OsString], cli: fn() -> clap::Command) -> Self {
        let command = args
            .iter()
            .map(|arg| masked(&arg.to_string_lossy()).into_owned());
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("RUNNER_"));
        Self {
            console: Console::new(talk),
            command: command.collect(),
            cli,
            environment: environment.collect(),
        }
    }

    pub(crate) fn request(&self, args: &ExperimentArgs) -> ExperimentRequest {
        ExperimentRequest {
            file: args.file.clone(),
            sets: args.overrides.sets.clone(),
            env: self.environment.clone(),
        }
    }

    /// The folder of runs that `--runs-dir`, a variable or the default names.
    pub(crate) fn runs_dir(&self, args: &RunsArgs) -> PathBuf {
        args.runs_dir
            .clone()
            .unwrap_or_else(|| config::runs_dir(&self.environment))
    }

    /// The one run that a word on the command line names.
    pub(crate) fn run_dir(&self, word: &str) -> Result<RunDir> {
        runs::find_single(word, &config::runs_dir(&self.environment), Admit::Whole)
    }
}
