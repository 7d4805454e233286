//! What the program says, whole: each help page, each answer, each kind of error, as snapshots that are read in review.
//! Other modules check their own words here too: `Case::says` and [`Transcript`] for commands, [`check`] for any text.
//! `INSTA_UPDATE=always cargo test --release --test it` writes them anew; read the difference before you keep it.

mod answers;
mod errors;
mod help;
mod models;
mod notes;

use std::{fmt::Write as _, process::Output};

use crate::program::Case;

/// What commands print one after another, each with its words before it, as one snapshot.
pub(crate) struct Transcript<'a> {
    case: &'a Case,
    text: String,
}

impl<'a> Transcript<'a> {
    pub(crate) fn new(case: &'a Case) -> Self {
        Self {
            case,
            text: String::new(),
        }
    }

    /// Runs a command, whatever comes of it.
    pub(crate) fn run(&mut self, args: &[&str]) -> &mut Self {
        let output = self.case.run(args);
        self.output(&format!("runner {}", args.join(" ")), &output)
    }

    /// Only commands that fail belong here.
    pub(crate) fn fails(&mut self, args: &[&str]) -> &mut Self {
        let output = self.case.run(args);
        assert!(!output.status.success(), "{args:?} succeeds");
        self.output(&format!("runner {}", args.join(" ")), &output)
    }

    /// Adds what a command printed that was started otherwise; `command` is how the snapshot shows it.
    pub(crate) fn output(&mut self, command: &str, output: &Output) -> &mut Self {
        let _ = writeln!(self.text, "$ {command}");
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

    pub(crate) fn is(&self, name: &str) {
        check(name, &self.text);
    }
}

impl Case {
    /// Runs a command and checks all that it prints, and its exit code, against a snapshot.
    pub(crate) fn says(&self, snapshot: &str, args: &[&str]) -> Output {
        let output = self.run(args);
        Transcript::new(self)
            .output(&format!("runner {}", args.join(" ")), &output)
            .is(snapshot);
        output
    }
}

/// What differs from machine to machine and from day to day, and what takes its place.
const FILTERS: &[(&str, &str)] = &[
    // The case's folder, also as a link (macOS) resolves it.
    (r"(/private)?(/[\w.-]+)+/\.tmp\w{6}", "[case]"),
    (r"\b\d{8}-\d{6}(-\d+)?\b", "[time]"),
    // Two runs of a name in one second. Tables are wider then: give runs that share a table other names.
    (r"(\[time\]-[a-z]+)-\d+\b", "$1"),
    (
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?",
        "[date]",
    ),
    (r"\b[0-9a-f]{40,64}\b", "[hash]"),
    (r" on \S+ \((cpu), \d+ threads?\)", " on [machine] ($1)"),
    (r"127\.0\.0\.1:\d{4,5}\b", "127.0.0.1:[port]"),
    (r"runner \d+\.\d+\.\d+", "runner [version]"),
    (r"process \d+", "process [pid]"),
    // Only some systems tell who.
    (
        r"(process \[pid\]|another process) has locked",
        "process [pid] has locked",
    ),
    (r"(?m)^command     \S+", "command     [runner]"),
    (r"\b[0-9a-f]{16}\b", "[entry]"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b", "[date]"),
    // Another processor rounds otherwise, and a race ends otherwise.
    (r" *\b\d\.\d{4}\b", " [score]"),
    (r" *\b\d+\.\d\d %", " [score] %"),
    (r" *\b\d+\.\d to \d+\.\d\b", " [low] to [high]"),
    (r" *-?\b\d\.\d{3} to -?\d\.\d{3}\b", " [low] to [high]"),
    (
        r"\b\d+ of \d+ (positive|negative) images",
        "[n] of [n] $1 images",
    ),
    (r"\bepoch: \d+ \(\w+\)", "epoch: [n]"),
    (r"(?m)^(Cat|Dog)( +)\d+ +\d+$", "$1$2[counts]"),
    (r"\(epoch \d+\)", "(epoch [n])"),
    (
        r"(started from [A-C], epoch|continues [A-C] after epoch) \d+",
        "$1 [n]",
    ),
    (
        r"(\d/\d|unknown +\d)(?: \|)? +\d+ +(?:\| )?\[score\]",
        "$1 [n] [score]",
    ),
    (r"(?m)^trial \d+ .* running.*\n", ""),
    (r"\bin epoch \d+", "in epoch [n]"),
    (r"(?m)^((\| )?[A-C] - [A-C]).*$", "$1 [counts]"),
    (r"the loss is (NaN|-?inf)\b", "the loss is [NaN or inf]"),
    (r"recomputing `[^`]+`", "recomputing `[image]`"),
    (r" *\b\d+(\.\d+)? images/s", " [n] images/s"),
    (r" *\b\d+ ?m ?\d+ ?s\b| *\b\d+(\.\d+)? ?s\b", " [seconds]"),
    (r"\[seconds\]  best\n", "[seconds]\n"),
    (
        r"(?m)[a-z]+( [a-z]+)* \d+ %(, [a-z]+( [a-z]+)* \d+ %)*(; .*)?$",
        "[shares of the time]",
    ),
    (
        r"it has \d+ bytes, expected \d+",
        "it has [size], expected [size]",
    ),
    (r" *\b\d+(\.\d+)? (bytes|[kMG]i?B|B)\b", " [size]"),
    // What takes the most memory depends on the number of threads.
    (r"(?m)^(memory      about|available) .*", "$1 [size]"),
    (r"images of this step: .*", "images of this step: [images]"),
    (
        r"differ by at most \S+ \(of a range of [^)]*\)",
        "differ by at most [difference] (of a range of [range])",
    ),
    (r"(?m)^(\| epoch \|) \d+", "$1 [n]"),
    // Curves in letters follow the scores.
    (r"(?m)^.*[│┤└].*\n", ""),
    (r"(?m)^epoch +1 +\d.*\n", ""),
    (r"(?m) +$", ""),
];

/// The errors among what a command printed, each with its place and its help.
pub(crate) fn errors(stderr: &str) -> String {
    let mut is_error = false;
    let lines = stderr.split_inclusive('\n').filter(|line| {
        let goes_on = line.starts_with("  ") || line.starts_with("help:");
        is_error = line.starts_with("error:") || is_error && goes_on;
        is_error
    });
    lines.collect()
}

/// Compares a text with a snapshot; that of `cache/full` is in `cache/snapshots`, that of `help` in `voice/snapshots`.
pub(crate) fn check(name: &str, text: &str) {
    let (module, name) = name.split_once('/').unwrap_or(("voice", name));
    check_in(&format!("{module}/snapshots"), name, text);
}

/// Like [`check`], with the snapshots in any folder, relative to this file's.
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
