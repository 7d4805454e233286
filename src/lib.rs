//! `runner` fine-tunes a pretrained image classifier on your own photos. ARCHITECTURE.md describes the design.

mod cache;
mod claim;
mod cli;
mod commands;
mod config;
mod console;
mod data;
mod device;
mod disk;
mod error;
mod explain;
mod export;
mod fetch;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod inference;
mod kernels;
mod memory;
mod model;
mod page;
mod plan;
mod protobuf;
mod random;
mod report;
mod rundir;
mod runs;
mod sample_data;
mod scores;
mod storage;
mod sweep;
mod system;
mod tensorboard;
#[cfg(test)]
mod test_support;
mod text;
mod train;

use std::{ffi::OsString, io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    commands::context::Context,
    console::{Console, Talk, talk_coloured, talk_line},
    error::{Error, Result},
};

/// Training allocates the same blocks of hundreds of megabytes in every step; the system's allocator would return their pages
/// each time, to be cleared again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the program with `args`, the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    system::panics::keep_quiet();
    device::prepare_process();
    system::stop::survive_file_limit();
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(cli::with_implicit_train(args.clone())) {
        Ok(cli) => cli,
        Err(error) => {
            say_usage(&error, &args);
            if error.use_stderr() && args.iter().any(|arg| arg == "--json") {
                let text = error.render().to_string();
                let (message, help) = text.split_once('\n').unwrap_or((&text, ""));
                let error = Error::usage(message.trim_start_matches("error: ")).help(help.trim());
                Console::new(Talk::Json).failure(error.fields());
            }
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let talk = match (cli.talk.quiet, cli.talk.json) {
        (true, _) => Talk::Quiet,
        (_, true) => Talk::Json,
        (false, false) => Talk::Normal,
    };
    let cx = Context::new(talk, &args, <Cli as clap::CommandFactory>::command);
    let outcome = system::panics::caught(|| {
        dispatch(cli.command, &cx)?;
        cx.console.ensure_said()
    });
    match outcome.unwrap_or_else(|message| Err(Error::internal(message))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cx.console.failure(error.fields());
            report(&error);
            error.exit_code()
        }
    }
}

fn dispatch(command: Command, cx: &Context) -> Result<()> {
    match command {
        Command::Train(args) => commands::train::run(&args, cx),
        Command::Plan(args) => commands::plan::run(&args, cx),
        Command::Check(args) => commands::check::run(&args, cx),
        Command::Trial(args) => commands::trial::run(&args, cx),
        Command::Samples(args) => commands::samples::run(&args, cx),
        Command::Config(args) => commands::config::run(&args, cx),
        Command::Resume(args) => commands::resume::run(&args, cx),
        Command::Evaluate(args) => commands::evaluate::run(&args, cx),
        Command::Predict(args) => commands::predict::run(&args, cx),
        Command::Explain(args) => commands::explain::run(&args, cx),
        Command::Compare(args) => commands::compare::run(&args, cx),
        Command::Report(args) => commands::report::run(&args, cx),
        Command::Sweep(args) => commands::sweep::run(&args, cx),
        Command::List(args) => commands::list::run(&args, cx),
        Command::Show(args) => commands::show::run(&args, cx),
        Command::Verify(args) => commands::verify::run(&args, cx),
        Command::Rm(args) => commands::rm::run(&args, cx),
        Command::Slim(args) => commands::slim::run(&args, cx),
        Command::Export(args) => commands::export::run(&args, cx),
        Command::Cache(args) => commands::cache::run(&args, cx),
        Command::Models(args) => commands::models::run(&args, cx),
        Command::Fetch(args) => commands::fetch::run(&args, cx),
        Command::Init(args) => commands::init::run(&args, cx),
        Command::Schema(args) => commands::schema::run(&args, cx),
        Command::Words(args) => commands::words::run(&args, cx),
        Command::Man => commands::shell::man(cx),
        Command::Completions(args) => commands::shell::completions(&args, cx),
        Command::SampleData(args) => commands::sample_data::run(&args, cx),
    }
}

fn report(error: &Error) {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || !std::io::stderr().is_terminal();
    // After an interruption, the command that resumes has been printed already.
    if !error.is_interrupted() {
        talk_coloured(&error.render(!is_plain));
    }
}

/// Prints help, the version, or a usage error. An error quotes the arguments, so their control characters are escaped.
fn say_usage(error: &clap::Error, args: &[OsString]) {
    let is_plain = |arg: &OsString| {
        let arg = arg.to_string_lossy();
        text::plain::for_people(&arg) == arg
    };
    if error.use_stderr() && !args.iter().all(is_plain) {
        // Printed without colors, because escape sequences in the arguments would pass for colors.
        talk_line(error.render().to_string().trim_end());
    } else {
        let _ = error.print();
    }
}
