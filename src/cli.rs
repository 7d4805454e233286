//! What may be typed: subcommands and their flags. Knows nothing of what they do.

use std::{
    ffi::OsString,
    io::Write as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand};

use crate::{
    commands::{cache::PruneWhat, list::Order},
    data::split::Part,
    error::{Error, Result},
    fetch::catalog,
    sample_data::Task,
    train::checkpoint::Which,
};

/// Adapts a pretrained image classifier to your own photos, from one TOML file.
///
/// `runner CONFIG` is short for `runner train CONFIG`. Exit codes: 0 done, 1 failed, 2 bad request, 3 data or weights,
/// 130 interrupted (resumable).
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
    /// Say nothing but errors and the answer
    #[arg(long, short, global = true, conflicts_with = "json")]
    pub(crate) quiet: bool,
    /// Write one JSON object per line to stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train as the experiment file says; prints the run directory
    Train(ExperimentArgs),
    /// Show what would happen: phases, parameter groups, learning rates, memory
    Plan(ExperimentArgs),
    /// Check config, images and weights without training
    Check(ExperimentArgs),
    /// Print the resolved experiment
    Config {
        /// Experiment file
        #[arg(required_unless_present = "defaults")]
        file: Option<PathBuf>,
        #[command(flatten)]
        overrides: Overrides,
        /// Show which layer set each value
        #[arg(long)]
        origin: bool,
        /// Print all defaults, with comments
        #[arg(long, conflicts_with_all = ["file", "origin", "sets"])]
        defaults: bool,
    },
    /// Go on with an interrupted or failed run, or with a finished one for more epochs
    Resume {
        /// Run directory, or latest:NAME for the newest interrupted run of that name, else the newest finished one
        run: String,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Score a checkpoint on a part of its run's split
    Evaluate {
        /// Run directory, or latest:NAME
        run: String,
        #[arg(long, value_enum, default_value = "best")]
        checkpoint: Which,
        #[arg(long, value_enum, default_value = "valid")]
        split: Part,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Compare runs: scores, what differs, curves, and photo by photo
    Compare(CompareArgs),
    /// Train an experiment many times with other values; goes on where it was stopped
    Sweep(SweepArgs),
    /// List runs
    List {
        /// Only runs whose name contains this
        #[arg(long)]
        name: Option<String>,
        #[arg(long, value_enum, default_value = "started")]
        sort: Order,
        /// Write the list as CSV
        #[arg(long, conflicts_with = "json")]
        csv: bool,
        #[command(flatten)]
        folder: RunsArgs,
    },
    /// Show one run: how it was started, its epochs, classes and experiment
    Show {
        /// Run directory, or latest:NAME
        run: String,
        #[command(flatten)]
        folder: RunsArgs,
    },
    /// Check the files of a run for damage
    Verify {
        /// Run directory, or latest:NAME
        run: String,
        #[command(flatten)]
        folder: RunsArgs,
    },
    /// Remove runs, after a question; not those in progress, nor those that others began with
    Rm {
        /// Run directories, sweeps' directories, patterns, or latest:NAME
        #[arg(required = true)]
        runs: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        folder: RunsArgs,
    },
    /// Drop what only resuming needs from finished runs, such as optimizer states, to free disk space
    Slim {
        /// Run directories, sweeps' directories, patterns, or latest:NAME
        #[arg(required = true)]
        runs: Vec<String>,
        #[command(flatten)]
        folder: RunsArgs,
    },
    /// Write a checkpoint's parameters as safetensors, under torchvision's names
    Export {
        /// Run directory, or latest:NAME
        run: String,
        /// File to write, such as model.safetensors
        #[arg(value_name = "FILE.safetensors")]
        file: PathBuf,
        #[arg(long, value_enum, default_value = "best")]
        checkpoint: Which,
        /// Only these parameters, such as features or features.0.weight; repeatable
        #[arg(long, value_name = "SELECTOR")]
        only: Vec<String>,
        /// Overwrite the file if it already exists
        #[arg(long, short)]
        force: bool,
    },
    /// Look after what is kept of frozen layers
    Cache(CacheArgs),
    /// Download published images and weights, and unpack them; alone it lists what there is
    #[command(after_help = FETCH_HELP)]
    Fetch(FetchArgs),
    /// Write a commented experiment file to start from
    Init {
        #[arg(default_value = ".")]
        dir: PathBuf,
        #[arg(long, value_name = "DIR", help = format!("Folder of images [default: DIR if it holds images, and the experiment is then written to the working directory; else {}]", catalog::usual_root()))]
        root: Option<String>,
    },
    /// Print the JSON Schema of experiment files, for editors
    Schema {
        /// That of sweep files
        #[arg(long)]
        sweep: bool,
    },
    /// Print the words that a shell can complete
    #[command(hide = true)]
    Words { kind: Words },
    /// Print the manual page, for `man -l`
    Man,
    /// Print a shell's completions, to be put where that shell looks for them
    Completions { shell: clap_complete::Shell },
    /// Draw a folder of pictures to try the tool on
    SampleData {
        /// New or empty folder
        dir: PathBuf,
        #[arg(long, value_enum, default_value = "pets")]
        task: Task,
        /// Pictures in each class
        #[arg(long, default_value_t = 150)]
        per_class: usize,
        #[arg(long, default_value_t = 42)]
        seed: u64,
        /// Leave out the deliberately broken files
        #[arg(long)]
        no_broken: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ExperimentArgs {
    /// Experiment file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Run directories, folders of runs, patterns, or latest:NAME
    #[arg(required = true)]
    pub(crate) runs: Vec<String>,
    /// Also draw the curves into this PNG file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write a row for each run as CSV
    #[arg(long, conflicts_with_all = ["markdown", "json"])]
    pub(crate) csv: bool,
    /// Write tables in Markdown
    #[arg(long, conflicts_with = "json")]
    pub(crate) markdown: bool,
    #[command(flatten)]
    pub(crate) folder: RunsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// Sweep file, such as configs/sweeps/lr.toml
    #[arg(required_unless_present = "defaults")]
    pub(crate) file: Option<PathBuf>,
    /// Trials at once; they share the machine's threads [default: the file's]
    #[arg(long, value_name = "N")]
    pub(crate) parallel: Option<NonZeroUsize>,
    /// List the trials and what would be done with them
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print what a sweep file may say, with all defaults
    #[arg(long, conflicts_with_all = ["file", "parallel", "dry_run", "sets"])]
    pub(crate) defaults: bool,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

const FETCH_HELP: &str = "\
Weights go where PyTorch looks for them: $TORCH_HOME/hub/checkpoints, ~/.cache/torch by default.
RUNNER_FETCH__MIRROR and the key fetch.mirror name a mirror too; HTTPS_PROXY, HTTP_PROXY and NO_PROXY are
obeyed, and SSL_CERT_FILE, a PEM file of the authorities to trust instead of the built-in ones.";

#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// cats-vs-dogs, vgg16, vgg11, ..; or an experiment or sweep file, which gets what it needs
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[arg(long, value_name = "DIR", help = format!("Folder to unpack images in [default: {}]", catalog::ARCHIVES))]
    pub(crate) to: Option<PathBuf>,
    /// Address that file names are put behind, instead of the official places: http:// or https://
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// Keep the archive beside what was in it
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
        help = "The cache [default: RUNNER_CACHE__DIR, else the user's]"
    )]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List entries: of which layers, how many images, how large, when last used (the default)
    List,
    /// Read everything; what is damaged will be computed again
    Verify,
    /// Remove entries that nobody uses just now
    Prune {
        #[command(flatten)]
        what: PruneWhat,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Folder of runs [default: RUNNER_RUNS_DIR, else as `runner config --defaults` says]
    #[arg(long, value_name = "DIR")]
    pub(crate) runs_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Overrides {
    /// Override a key, e.g. optimizer.lr=1e-4 or phase.head.epochs=3; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
}

/// What a shell asks for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Words {
    Runs,
    Keys,
}

/// The completions of a shell, as its own script.
pub(crate) fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    let mut command = <Cli as clap::CommandFactory>::command();
    clap_complete::generate(shell, &mut command, "runner", &mut script);
    if shell == clap_complete::Shell::Bash {
        script.extend_from_slice(BASH_WORDS);
    }
    String::from_utf8_lossy(&script).into_owned()
}

/// Runs and keys, which only the program knows.
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

/// Puts in the `train` that `runner CONFIG` leaves out.
pub(crate) fn with_implicit_train(mut args: Vec<OsString>) -> Vec<OsString> {
    let flags = ["-q", "--quiet", "--json"];
    let first = args
        .iter()
        .skip(1)
        .position(|arg| !flags.iter().any(|flag| arg == flag));
    let Some(first) = first.map(|position| position + 1) else {
        return args;
    };
    // A word that is no file name is a misspelt subcommand, for which clap knows the nearest.
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
