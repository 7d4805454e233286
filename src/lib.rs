//! `runner` adapts a pretrained image classifier to your own photos. ARCHITECTURE.md tells how it is made.

mod cli;
mod commands;
mod config;
mod console;
mod data;
mod device;
mod error;
mod files;
mod hex;
mod memory;
mod model;
mod panics;
mod plan;
mod random;
mod records;
mod report;
mod rundir;
mod sample_data;
mod schedule;
#[cfg(test)]
mod test_support;
mod train;

use std::{ffi::OsString, io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;

use crate::{
    cli::{Cli, Command, Overrides},
    commands::prepare::Request,
    console::{Console, Talk, talk_line},
    error::{Error, Result},
};

/// Runs the program with `args`, the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    panics::keep_quiet();
    device::prepare_process();
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(cli::with_implicit_train(args.clone())) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let talk = match (cli.talk.quiet, cli.talk.json) {
        (true, _) => Talk::Quiet,
        (_, true) => Talk::Json,
        (false, false) => Talk::Normal,
    };
    let words = args
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let console = Console::new(talk);
    let outcome = panics::caught(|| dispatch(cli.command, words, &console));
    match outcome.unwrap_or_else(|message| Err(Error::Internal(message))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            error.exit_code()
        }
    }
}

fn dispatch(command: Command, words: Vec<String>, console: &Console) -> Result<()> {
    match command {
        Command::Train(args) => {
            commands::train::train(&request(args.file, args.overrides), words, console)
        }
        Command::Plan(args) => commands::plan::plan(&request(args.file, args.overrides), console),
        Command::Check(args) => {
            commands::check::check(&request(args.file, args.overrides), console)
        }
        Command::Config {
            file,
            overrides,
            origin,
            defaults,
        } => commands::config::config(
            file.as_deref(),
            &overrides.sets,
            &environment(),
            origin,
            defaults,
        ),
        Command::Resume { run } => commands::resume::resume(&run, console),
        Command::Evaluate {
            run,
            checkpoint,
            split,
            overrides,
        } => commands::evaluate::evaluate(&run, checkpoint, split, &overrides.sets, console),
        Command::Export {
            run,
            file,
            checkpoint,
            only,
        } => commands::export::export(&run, &file, checkpoint, &only, console),
        Command::SampleData {
            dir,
            task,
            per_class,
            seed,
            no_broken,
        } => {
            let options = sample_data::Options {
                task,
                per_class,
                seed,
                broken: !no_broken,
            };
            commands::sample_data::sample_data(&dir, &options, console)
        }
    }
}

fn request(file: std::path::PathBuf, overrides: Overrides) -> Request {
    Request {
        file,
        sets: overrides.sets,
        env: environment(),
    }
}

/// The variables that may override the experiment.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("RUNNER_"))
        .collect()
}

fn report(error: &Error) {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || !std::io::stderr().is_terminal();
    match error {
        Error::Config(problems) => talk_line(problems.render(!is_plain).trim_end()),
        // The command that goes on has been printed.
        Error::Interrupted => {}
        _ => talk_line(&format!("error: {error}")),
    }
}
