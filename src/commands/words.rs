//! `runner words`: prints words for shell completion, one per line. The scripts of `runner completions` call it.

use std::collections::BTreeSet;

use crate::{
    commands::context::Context, config, console::print, error::Result, rundir::recipe, runs,
};

#[derive(Debug, clap::Args)]
pub(crate) struct WordsArgs {
    kind: Words,
}

/// What shell completion asks for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Words {
    Runs,
    Keys,
}

pub(crate) fn run(args: &WordsArgs, cx: &Context) -> Result<()> {
    let words: BTreeSet<String> = match args.kind {
        Words::Keys => config::schema::names()
            .into_iter()
            .map(|key| format!("{key}="))
            .collect(),
        Words::Runs => {
            let mut words = BTreeSet::new();
            for run in runs::all(&config::runs_dir(&cx.environment)) {
                let directory = run.path().file_name().and_then(|name| name.to_str());
                words.extend(directory.map(str::to_owned));
                let manifest = recipe::manifest(&run).ok();
                words.extend(manifest.map(|manifest| format!("latest:{}", manifest.name)));
            }
            words
        }
    };
    // Words with white space are left out, because the shell splits the output at it.
    let is_plain = |word: &String| word.chars().all(|letter| letter.is_ascii_graphic());
    let lines: Vec<String> = words.into_iter().filter(is_plain).collect();
    print(lines.join("\n") + "\n")
}
