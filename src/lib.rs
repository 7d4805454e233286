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
mod fetch;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod kernels;
mod memory;
mod model;
mod plan;
mod random;
mod report;
mod rundir;
mod runs;
mod sample_data;
mod scores;
mod sweep;
mod system;
#[cfg(test)]
mod test_support;
mod text;
mod train;

use std::{ffi::OsString, io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::Parser as _;
use serde_json::{Value, json};

use crate::{
    cli::{
        CacheArgs, CacheCommand, Cli, Command, CompareArgs, FetchArgs, Overrides, RunsArgs,
        SweepArgs,
    },
    commands::{compare::Form, prepare::ExperimentRequest},
    console::{Console, Talk, talk_coloured, talk_line},
    error::{Error, Result},
    rundir::RunDir,
    runs::Admit,
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
    let words = args
        .iter()
        .map(|arg| text::plain::masked(&arg.to_string_lossy()).into_owned())
        .collect();
    let console = Console::new(talk);
    let outcome = system::panics::caught(|| {
        dispatch(cli.command, words, &console)?;
        console.ensure_said()
    });
    match outcome.unwrap_or_else(|message| Err(Error::internal(message))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.failure(error.fields());
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
            console,
        ),
        Command::Resume { run, overrides } => commands::resume::resume(
            run_to_resume(&run, console)?.path(),
            &overrides.sets,
            console,
        ),
        Command::Evaluate {
            run,
            checkpoint,
            split,
            overrides,
        } => {
            let run = run_dir(&run)?;
            commands::evaluate::evaluate(run.path(), checkpoint, split, &overrides.sets, console)
        }
        Command::Compare(args) => compare(args, console),
        Command::Sweep(args) => sweep(args, console),
        Command::List {
            name,
            sort,
            csv,
            folder,
        } => commands::list::list(&runs_dir(folder), name.as_deref(), sort, csv, console),
        Command::Show { run, folder } => commands::show::show(&run, &runs_dir(folder), console),
        Command::Verify { run, folder } => {
            let run = runs::find_single(&run, &runs_dir(folder), Admit::Whole)?;
            commands::verify::verify(&run, console)
        }
        Command::Rm { runs, yes, folder } => {
            commands::rm::rm(&runs, &runs_dir(folder), yes, console)
        }
        Command::Slim { runs, folder } => commands::slim::slim(&runs, &runs_dir(folder), console),
        Command::Export {
            run,
            file,
            checkpoint,
            only,
            force,
        } => {
            let run = run_dir(&run)?;
            commands::export::export(run.path(), &file, checkpoint, &only, force, console)
        }
        Command::Cache(args) => cache(args, console),
        Command::Fetch(args) => commands::fetch::fetch(&fetch_request(args), console),
        Command::Init { dir, root } => commands::init::init(&dir, root.as_deref(), console),
        Command::Schema { sweep } => schema(sweep, console),
        Command::Words { kind } => commands::words::words(kind, &config::runs_dir(&environment())),
        Command::Man => {
            let page = cli::manual()?;
            let fields = json!({ "page": String::from_utf8_lossy(&page) });
            console.document("man", fields, &page)
        }
        Command::Completions { shell } => {
            let script = cli::completions(shell);
            let fields = json!({ "script": String::from_utf8_lossy(script.as_ref()) });
            console.document("completions", fields, script)
        }
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

fn request(file: PathBuf, overrides: Overrides) -> ExperimentRequest {
    ExperimentRequest {
        file,
        sets: overrides.sets,
        env: environment(),
    }
}

fn compare(args: CompareArgs, console: &Console) -> Result<()> {
    let form = match (args.csv, args.markdown) {
        (true, _) => Form::Csv,
        (false, true) => Form::Markdown,
        (false, false) => Form::Text,
    };
    let picture = args.output.as_deref();
    commands::compare::compare(&args.runs, &runs_dir(args.folder), form, picture, console)
}

fn schema(of_sweeps: bool, console: &Console) -> Result<()> {
    let schema = if of_sweeps {
        sweep::json_schema()
    } else {
        config::json_schema()
    };
    let fields = json!({ "schema": serde_json::from_str::<Value>(&schema).ok() });
    console.document("schema", fields, schema)
}

fn sweep(args: SweepArgs, console: &Console) -> Result<()> {
    let Some(file) = args.file else {
        let fields = commands::config::defaults_fields(sweep::DEFAULTS);
        return console.document("defaults", fields, sweep::DEFAULTS);
    };
    let request = commands::sweep::SweepRequest {
        file,
        sets: args.overrides.sets,
        env: environment(),
        parallel: args.parallel,
        dry_run: args.dry_run,
    };
    commands::sweep::sweep(&request, console)
}

fn cache(args: CacheArgs, console: &Console) -> Result<()> {
    let dir = commands::cache::dir(args.dir, &environment())?;
    match args.what {
        None | Some(CacheCommand::List) => commands::cache::list(&dir, console),
        Some(CacheCommand::Verify) => commands::cache::verify(&dir, console),
        Some(CacheCommand::Prune { what, dry_run }) => {
            commands::cache::prune(&dir, what, dry_run, console)
        }
    }
}

fn fetch_request(args: FetchArgs) -> commands::fetch::FetchRequest {
    commands::fetch::FetchRequest {
        names: args.names,
        to: args.to,
        mirror: args.mirror,
        keep_archive: args.keep_archive,
        env: environment(),
    }
}

fn run_dir(word: &str) -> Result<RunDir> {
    runs::find_single(word, &config::runs_dir(&environment()), Admit::Whole)
}

/// Like [`run_dir`], but `latest:NAME` prefers the newest unfinished run.
fn run_to_resume(word: &str, console: &Console) -> Result<RunDir> {
    let Some(name) = word.strip_prefix("latest:") else {
        return run_dir(word);
    };
    let (run, newer) = RunDir::latest_to_resume(&config::runs_dir(&environment()), name)?;
    for newer in newer {
        let state = if newer.is_finished() {
            "finished"
        } else {
            "in progress"
        };
        console.note(&format!(
            "{} is newer but {state}; resuming {}",
            newer.path().display(),
            run.path().display()
        ));
    }
    Ok(run)
}

fn runs_dir(args: RunsArgs) -> PathBuf {
    args.runs_dir
        .unwrap_or_else(|| config::runs_dir(&environment()))
}

/// The environment variables that can override keys of the experiment.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("RUNNER_"))
        .collect()
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
