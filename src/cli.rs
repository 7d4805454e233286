//! The command line: subcommands, their options and their help texts. `lib.rs` decides what each of them runs.

use std::{ffi::OsString, path::Path};

use clap::{Args, Parser, Subcommand};

use crate::commands::{self, args::ExperimentArgs};

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
    /// Show what a run would do: phases, parameter groups, learning rates, memory, disk space, cache
    Plan(ExperimentArgs),
    /// Check that a run could start: config, images, weights, device, memory, disk space
    Check(ExperimentArgs),
    /// Draw a labelled sheet of training images, as they are or as the network will see them
    Samples(commands::samples::SamplesArgs),
    /// Print the resolved config: the value of every key
    Config(commands::config::ConfigArgs),
    /// Resume an interrupted or failed run, or train a finished one for more epochs
    Resume(commands::resume::ResumeArgs),
    /// Evaluate a checkpoint on images of its run, or on those of another folder
    Evaluate(commands::evaluate::EvaluateArgs),
    /// Predict the classes of new photos with a trained model, as a table
    Predict(commands::predict::PredictArgs),
    /// Draw where the network looked: class activation maps of photos, as PNG files
    Explain(commands::explain::ExplainArgs),
    /// Compare runs: scores, config differences, curves and significance tests
    Compare(commands::compare::CompareArgs),
    /// Write an HTML page about a run, several runs or a sweep: scores, mistakes, curves, data, lineage
    Report(commands::report::ReportArgs),
    /// Run an experiment with many settings; run the same command again to resume
    Sweep(commands::sweep::SweepArgs),
    /// Run one trial of a sweep, as a scheduler does; `runner sweep` writes the folders of trials
    Trial(commands::trial::TrialArgs),
    /// List runs, with their state and best scores
    List(commands::list::ListArgs),
    /// Show one run in detail: origin, epochs, scores by class, experiment file
    Show(commands::show::ShowArgs),
    /// Check the files of a run for corruption
    Verify(commands::verify::VerifyArgs),
    /// Delete runs after confirmation; refuses runs that are in progress or that other runs started from
    Rm(commands::rm::RmArgs),
    /// Delete optimizer states and other files of finished runs that only resuming needs
    Slim(commands::slim::SlimArgs),
    /// Export a checkpoint for other programs: ONNX, or safetensors with torchvision's names; with a model card
    Export(commands::export::ExportArgs),
    /// Manage the activation cache
    Cache(commands::cache::CacheArgs),
    /// List the models that can be fine-tuned: parameters, accuracy, size, and what is downloaded
    #[command(after_help = MODELS_HELP)]
    Models(commands::models::ModelsArgs),
    /// Download published images and weights; without arguments, list what is available
    #[command(after_help = FETCH_HELP)]
    Fetch(commands::fetch::FetchArgs),
    /// Write a commented experiment file to start from
    Init(commands::init::InitArgs),
    /// Print the JSON Schema of experiment files, for use in editors
    Schema(commands::schema::SchemaArgs),
    /// Print the words that shell completion offers
    #[command(hide = true)]
    Words(commands::words::WordsArgs),
    /// Print the manual page; view it with `runner man | man -l -`
    Man,
    /// Print a completion script for a shell
    Completions(commands::shell::CompletionsArgs),
    /// Generate a data set of drawings to try runner on
    SampleData(commands::sample_data::SampleDataArgs),
}

const MODELS_HELP: &str = "\
Columns:
  architecture  The value of the key `model.arch`
  weights       The value of the key `model.weights`
  parameters    With the 1000 classes of ImageNet
  GMAC          10^9 multiplications for one image of 224 x 224 pixels
  top-1         Accuracy on ImageNet's validation images, as torchvision states it
  size          Size of the weights file
  downloaded    Whether the file is in PyTorch's cache; `wrong size`: delete it and fetch it again";

const FETCH_HELP: &str = "\
Weights are saved where PyTorch looks for them: in $TORCH_HOME/hub/checkpoints, where TORCH_HOME
defaults to ~/.cache/torch.

Environment variables:
  RUNNER_FETCH__MIRROR               Base URL to download from, like --mirror
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY  Proxies to use
  SSL_CERT_FILE                      CA certificates (PEM) to trust instead of those of the system";

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
