//! What the program says, whole: each help page, each answer, each kind of error, as snapshots that are read in review.
//! `INSTA_UPDATE=always cargo test --release --test it voice` writes them anew; read the difference before you keep it.

mod answers;
mod errors;
mod help;
mod models;
mod notes;

use std::fmt::Write as _;

use crate::program::Case;

/// What commands print one after another, each with its words before it, as one snapshot.
pub(crate) struct Transcript<'a> {
    case: &'a Case,
    text: String,
}

impl<'a> Transcript<'a> {
    fn new(case: &'a Case) -> Self {
        Self {
            case,
            text: String::new(),
        }
    }

    /// Runs a command, whatever comes of it.
    fn run(&mut self, args: &[&str]) -> &mut Self {
        let mut command = self.case.command(args);
        // Neither a proxy nor a wish for colors of this machine belongs into a snapshot.
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command.env_remove("CLICOLOR_FORCE").env("NO_COLOR", "1");
        let output = command.output().unwrap();
        let _ = writeln!(self.text, "$ runner {}", args.join(" "));
        for stream in [&output.stderr, &output.stdout] {
            let text = String::from_utf8_lossy(stream);
            self.text.push_str(text.trim_end());
            if !text.trim_end().is_empty() {
                self.text.push('\n');
            }
        }
        if let Some(code) = output.status.code().filter(|code| *code != 0) {
            let _ = writeln!(self.text, "(exit code {code})");
        }
        self.text.push('\n');
        self
    }

    /// Only commands that fail belong here.
    fn fails(&mut self, args: &[&str]) -> &mut Self {
        let before = self.text.len();
        self.run(args);
        assert!(
            self.text[before..].contains("(exit code "),
            "{args:?} succeeds"
        );
        self
    }

    fn is(&self, name: &str) {
        check(name, &self.text);
    }
}

/// What differs from machine to machine and from day to day, and what takes its place.
const FILTERS: &[(&str, &str)] = &[
    // The case's folder, also as a link (macOS) resolves it.
    (r"(/private)?(/[\w.-]+)+/\.tmp\w{6}", "[case]"),
    (r"\b\d{8}-\d{6}(-\d+)?\b", "[time]"),
    (
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?",
        "[date]",
    ),
    (r"\b[0-9a-f]{40,64}\b", "[hash]"),
    (r" on \S+ \((cpu), \d+ threads?\)", " on [machine] ($1)"),
    (r"runner \d+\.\d+\.\d+", "runner [version]"),
    (r"process \d+", "process [pid]"),
    (r"(?m)^command     \S+", "command     [runner]"),
    (r"\b[0-9a-f]{16}\b", "[entry]"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b", "[date]"),
    // Another processor rounds otherwise, and a race ends otherwise.
    (r" *\b\d\.\d{4}\b", " [score]"),
    (r" *\b\d+\.\d\d %", " [score] %"),
    (r" *\b\d+\.\d to \d+\.\d", " [low] to [high]"),
    (r"\bepoch: \d+ \(\w+\)", "epoch: [n]"),
    (r"(?m)^(Cat|Dog)( +)\d+ +\d+$", "$1$2[counts]"),
    (r"\(epoch \d+\)", "(epoch [n])"),
    (
        r"(started from A, epoch|continues A after epoch) \d+",
        "$1 [n]",
    ),
    (r"(\d/\d)(?: \|)? +\d+ +(?:\| )?\[score\]", "$1 [n] [score]"),
    (r"(?m)^trial \d+ .* running.*\n", ""),
    (r"\bin epoch \d+", "in epoch [n]"),
    (r"(?m)^((\| )?A - B).*$", "$1 [counts]"),
    (r" *\b\d+(\.\d+)? images/s", " [n] images/s"),
    (r" *\b\d+ ?m ?\d+ ?s\b| *\b\d+(\.\d+)? ?s\b", " [seconds]"),
    (r"\[seconds\]  best\n", "[seconds]\n"),
    (
        r"(?m)[a-z]+( [a-z]+)* \d+ %(, [a-z]+( [a-z]+)* \d+ %)*(; .*)?$",
        "[shares of the time]",
    ),
    (r" *\b\d+(\.\d+)? (bytes|[kMG]i?B)\b", " [size]"),
    // What takes the most memory depends on the number of threads.
    (r"(?m)^(memory      about|available) .*", "$1 [size]"),
    (r"images of this step: .*", "images of this step: [images]"),
    // Curves in letters follow the scores.
    (r"(?m)^.*[│┤└].*\n", ""),
    (r"(?m)^epoch +1 +\d.*\n", ""),
    (r"(?m) +$", ""),
];

pub(crate) fn check(name: &str, text: &str) {
    check_in("voice/snapshots", name, text);
}

/// Like [`check`], with the snapshots in another folder.
pub(crate) fn check_in(folder: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path(folder);
    for (pattern, instead) in FILTERS {
        settings.add_filter(pattern, *instead);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}
