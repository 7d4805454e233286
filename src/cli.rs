//! The command line: subcommands, their options and their help texts. `lib.rs` decides what each of them runs.

use std::{
    ffi::OsString,
    io::Write as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand};

use crate::{
    commands::{cache::PruneWhat, list::SortOrder},
    data::split::Part,
    error::{Error, Result},
    fetch::catalog,
    sample_data::Task,
    train::checkpoint::Which,
};

/// Fine-tune a pretrained image classifier on your own photos, from one TOML file
///
/// `runner CONFIG` is short for `runner train CONFIG`.
///
/// Exit codes: 0 success, 1 failure, 2 invalid arguments or config, 3 unusable images or weights, 130 interrupted
/// (the run can be resumed).
#[derive(Debug, Parser)]
#[command(name = "runner", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct TalkArgs {
    /// Print only errors and the final result
    #[arg(long, short, global = true, conflicts_with = "json")]
    pub(crate) quiet: bool,
    /// Print events and results to stdout as JSON, one object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model from an experiment file, and print the run directory
    Train(ExperimentArgs),
    /// Show what a run would do: phases, parameter groups, learning rates, memory, cache
    Plan(ExperimentArgs),
    /// Check that a run could start: config, images, weights, device, memory
    Check(ExperimentArgs),
    /// Print the resolved config: the value of every key
    Config {
        /// Experiment file (TOML)
        #[arg(required_unless_present = "defaults")]
        file: Option<PathBuf>,
        #[command(flatten)]
        overrides: Overrides,
        /// Show where each value was set: defaults, file, environment or `--set`
        #[arg(long)]
        origin: bool,
        /// Print every key with its default and a comment
        #[arg(long, conflicts_with_all = ["file", "origin", "sets"])]
        defaults: bool,
    },
    /// Resume an interrupted or failed run, or train a finished one for more epochs
    Resume {
        /// Run directory, or latest:NAME for the newest unfinished run with that name (or else the newest finished one)
        run: String,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Evaluate a checkpoint on the training, validation or test images of its run
    Evaluate {
        /// Run directory, or latest:NAME
        run: String,
        /// Checkpoint to evaluate
        #[arg(long, value_enum, default_value = "best")]
        checkpoint: Which,
        /// Images to evaluate on
        #[arg(long, value_enum, default_value = "valid")]
        split: Part,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Compare runs: scores, config differences, curves and significance tests
    Compare(CompareArgs),
    /// Run an experiment with many settings; run the same command again to resume
    Sweep(SweepArgs),
    /// List runs, with their state and best scores
    List {
        /// List only runs whose name contains this text
        #[arg(long)]
        name: Option<String>,
        /// Order of the runs
        #[arg(long, value_enum, default_value = "started")]
        sort: SortOrder,
        /// Print the list as CSV
        #[arg(long, conflicts_with = "json")]
        csv: bool,
        #[command(flatten)]
        folder: RunsArgs,
    },
    /// Show one run in detail: origin, epochs, scores by class, experiment file
    Show {
        /// Run directory, or latest:NAME
        run: String,
        #[command(flatten)]
        folder: RunsArgs,
    },
    /// Check the files of a run for corruption
    Verify {
        /// Run directory, or latest:NAME
        run: String,
        #[command(flatten)]
        folder: RunsArgs,
    },
    /// Delete runs after confirmation; refuses runs that are in progress or that other runs started from
    Rm {
        /// Run directories, sweep directories, glob patterns, or latest:NAME
        #[arg(required = true)]
        runs: Vec<String>,
        /// Delete without asking for confirmation
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        folder: RunsArgs,
    },
    /// Delete optimizer states and other files of finished runs that only resuming needs
    Slim {
        /// Run directories, sweep directories, glob patterns, or latest:NAME
        #[arg(required = true)]
        runs: Vec<String>,
        #[command(flatten)]
        folder: RunsArgs,
    },
    /// Export the parameters of a checkpoint as safetensors, with torchvision's names
    Export {
        /// Run directory, or latest:NAME
        run: String,
        /// File to write, for example model.safetensors
        #[arg(value_name = "FILE.safetensors")]
        file: PathBuf,
        /// Checkpoint to export
        #[arg(long, value_enum, default_value = "best")]
        checkpoint: Which,
        /// Export only these parameters, for example `features` or `features.0.weight`; repeatable
        #[arg(long, value_name = "SELECTOR")]
        only: Vec<String>,
        /// Overwrite the file if it already exists
        #[arg(long, short)]
        force: bool,
    },
    /// Manage the activation cache
    Cache(CacheArgs),
    /// Download published images and weights; without arguments, list what is available
    #[command(after_help = FETCH_HELP)]
    Fetch(FetchArgs),
    /// Write a commented experiment file to start from
    Init {
        /// Folder to write the file to; if the folder holds images, the file is written to the working directory instead
        #[arg(default_value = ".")]
        dir: PathBuf,
        #[arg(long, value_name = "DIR", help = format!("Folder of the images [default: the argument DIR if it holds images, otherwise {}]", catalog::usual_root()))]
        root: Option<String>,
    },
    /// Print the JSON Schema of experiment files, for use in editors
    Schema {
        /// Print the schema of sweep files instead
        #[arg(long)]
        sweep: bool,
    },
    /// Print the words that shell completion offers
    #[command(hide = true)]
    Words { kind: Words },
    /// Print the manual page; view it with `runner man | man -l -`
    Man,
    /// Print a completion script for a shell
    Completions {
        /// Shell to generate the script for
        shell: clap_complete::Shell,
    },
    /// Generate a data set of drawings to try runner on
    SampleData {
        /// Folder to write to; must be new or empty
        dir: PathBuf,
        /// Kind of drawings
        #[arg(long, value_enum, default_value = "pets")]
        task: Task,
        /// Number of images per class
        #[arg(long, default_value_t = 150)]
        per_class: usize,
        /// Random seed; the same seed gives the same images
        #[arg(long, default_value_t = 42)]
        seed: u64,
        /// Do not add the deliberately corrupt files
        #[arg(long)]
        no_broken: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ExperimentArgs {
    /// Experiment file (TOML)
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Run directories, folders of runs, glob patterns, or latest:NAME
    #[arg(required = true)]
    pub(crate) runs: Vec<String>,
    /// Also plot the curves to this PNG file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Print CSV, one row per run
    #[arg(long, conflicts_with_all = ["markdown", "json"])]
    pub(crate) csv: bool,
    /// Print the tables as Markdown
    #[arg(long, conflicts_with = "json")]
    pub(crate) markdown: bool,
    #[command(flatten)]
    pub(crate) folder: RunsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// Sweep file (TOML), for example configs/sweeps/lr.toml
    #[arg(required_unless_present = "defaults")]
    pub(crate) file: Option<PathBuf>,
    /// Number of trials to run in parallel; they share the CPU threads [default: `parallel` in the sweep file]
    #[arg(long, value_name = "N")]
    pub(crate) parallel: Option<NonZeroUsize>,
    /// List the trials and their state, without running them
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print every key of sweep files with its default and a comment
    #[arg(long, conflicts_with_all = ["file", "parallel", "dry_run", "sets"])]
    pub(crate) defaults: bool,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

const FETCH_HELP: &str = "\
Weights are saved where PyTorch looks for them: in $TORCH_HOME/hub/checkpoints, where TORCH_HOME
defaults to ~/.cache/torch.

Environment variables:
  RUNNER_FETCH__MIRROR               Base URL to download from, like --mirror
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY  Proxies to use
  SSL_CERT_FILE                      CA certificates (PEM) to trust instead of the built-in ones";

#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// What to download: a name from the list, or an experiment or sweep file to download what it needs
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[arg(long, value_name = "DIR", help = format!("Folder to unpack images into [default: {}]", catalog::ARCHIVES))]
    pub(crate) to: Option<PathBuf>,
    /// Base URL to download from instead of the official servers; file names are appended to it
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// Keep the archive after unpacking it
    #[arg(long)]
    pub(crate) keep_archive: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    pub(crate) what: Option<CacheCommand>,
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        help = "Cache directory [default: RUNNER_CACHE__DIR, or the user's cache directory]"
    )]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List the entries, with their layers, images, size and last use (the default)
    List,
    /// Read every entry and discard corrupt activations; the next run recomputes them
    Verify,
    /// Remove entries that are not in use
    Prune {
        #[command(flatten)]
        what: PruneWhat,
        /// Show what would be removed, without removing it
        #[arg(long)]
        dry_run: bool,
    },
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

/// What shell completion asks for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Words {
    Runs,
    Keys,
}

/// The completion script of a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    let mut command = <Cli as clap::CommandFactory>::command();
    clap_complete::generate(shell, &mut command, "runner", &mut script);
    if shell == clap_complete::Shell::Bash {
        script.extend_from_slice(BASH_WORDS);
    }
    String::from_utf8_lossy(&script).into_owned()
}

/// Completion of runs and keys, which clap cannot generate because only the running program knows them.
const BASH_WORDS: &[u8] = include_bytes!("completions.bash");

/// The manual page of the program and all its subcommands, as roff.
pub(crate) fn manual() -> Result<Vec<u8>> {
    let unwritten = Error::io("write", "the manual page");
    let mut page = Vec::new();
    let render = |page: &mut Vec<u8>| -> std::io::Result<()> {
        let command = <Cli as clap::CommandFactory>::command();
        clap_mangen::Man::new(command.clone()).render(page)?;
        for subcommand in command.get_subcommands().filter(|it| !it.is_hide_set()) {
            let name = subcommand.get_name();
            writeln!(page, ".SH \"RUNNER {}\"", name.to_uppercase())?;
            let man = clap_mangen::Man::new(subcommand.clone().bin_name(format!("runner {name}")));
            man.render_synopsis_section(page)?;
            man.render_description_section(page)?;
            man.render_options_section(page)?;
        }
        Ok(())
    };
    render(&mut page).map_err(unwritten)?;
    Ok(page)
}

/// Inserts the `train` that `runner CONFIG` omits.
pub(crate) fn with_implicit_train(mut args: Vec<OsString>) -> Vec<OsString> {
    let flags = ["-q", "--quiet", "--json"];
    let first = args
        .iter()
        .skip(1)
        .position(|arg| !flags.iter().any(|flag| arg == flag));
    let Some(first) = first.map(|position| position + 1) else {
        return args;
    };
    // A word that cannot be a file is a misspelt subcommand. It is left to clap, which suggests the nearest one.
    let word = Path::new(&args[first]);
    let looks_like_a_file =
        word.extension().is_some() || word.components().count() > 1 || word.is_file();
    if looks_like_a_file && !word.to_string_lossy().starts_with('-') {
        args.insert(first, "train".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, expected: &str) {
        let args = words.split(' ').map(OsString::from).collect();
        let actual: Vec<String> = with_implicit_train(args)
            .into_iter()
            .map(|arg| arg.into_string().unwrap())
            .collect();
        assert_eq!(actual.join(" "), expected);
    }

    #[test]
    fn the_words_are_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_config_alone_means_train() {
        check("runner a.toml", "runner train a.toml");
        check(
            "runner --json a.toml --set x=1",
            "runner --json train a.toml --set x=1",
        );
        check("runner plan a.toml", "runner plan a.toml");
        check("runner configs/a", "runner train configs/a");
        check("runner pln a.toml", "runner pln a.toml");
        check("runner --help", "runner --help");
        check("runner help plan", "runner help plan");
        check("runner", "runner");
    }
}
