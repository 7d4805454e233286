//! `[launcher.slurm]`: the resources of a trial, and the checks that need no cluster.

use serde::Deserialize;

use crate::text::suggest::list;

/// The least time between the start of a task and the warning signal. Slurm's clock is coarse: with less, the signal may come in
/// the first second of the task.
const LEAST_BEFORE_WARNING_S: u64 = 120;

/// The longest time before the limit at which Slurm can send a signal.
const MOST_WARN_S: u32 = 65_535;

/// The options that are set for every submission.
const OWN_OPTIONS: [&str; 14] = [
    "array",
    "chdir",
    "clusters",
    "error",
    "job-name",
    "no-requeue",
    "open-mode",
    "output",
    "parsable",
    "requeue",
    "signal",
    "test-only",
    "wait",
    "wrap",
];

/// The options that have a key.
const KEYED_OPTIONS: [(&str, &str); 8] = [
    ("account", "account"),
    ("constraint", "constraint"),
    ("cpus-per-task", "cpus_per_task"),
    ("gres", "gres"),
    ("mem", "mem"),
    ("partition", "partition"),
    ("qos", "qos"),
    ("time", "time"),
];

/// The table `[launcher.slurm]`. What is `None` is left to the cluster.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlurmSettings {
    pub(crate) partition: Option<String>,
    /// The time limit of a trial, as Slurm writes it.
    pub(crate) time: Option<String>,
    /// Generic resources such as `gpu:1`.
    pub(crate) gres: Option<String>,
    pub(crate) cpus_per_task: Option<u32>,
    /// The memory of a trial with its unit, `0` for all of the node's.
    pub(crate) mem: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) qos: Option<String>,
    pub(crate) constraint: Option<String>,
    /// How many seconds before the time limit a trial is told to save a checkpoint.
    pub(crate) warn_s: u32,
    /// Commands that run on the node before the trial, each complete.
    pub(crate) setup: Vec<String>,
    /// Further options of `sbatch`, each like `--exclude=n7`.
    pub(crate) extra: Vec<String>,
}

/// A setting that cannot work on any cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The key within `[launcher.slurm]`.
    pub(crate) key: &'static str,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl SlurmSettings {
    /// The time limit in seconds; `None` if there is none or it is not one.
    pub(crate) fn time_s(&self) -> Option<u64> {
        seconds(self.time.as_deref()?)
    }

    /// The options in `extra` with their values: `("exclude", "n7")`.
    pub(super) fn extra_options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.extra.iter().map(|line| option(line))
    }

    /// All problems, in the order of the fields.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(word_problem("partition", self.partition.as_deref(), ""));
        problems.extend(self.time_problem());
        problems.extend(self.gres.as_deref().and_then(gres_problem));
        if self.cpus_per_task == Some(0) {
            problems.push(Problem {
                key: "cpus_per_task",
                message: "a trial needs at least one CPU, but `cpus_per_task` is 0".to_owned(),
                help: "set it to 1 or more, or remove it to take what the cluster gives".to_owned(),
            });
        }
        problems.extend(self.mem.as_deref().and_then(mem_problem));
        problems.extend(word_problem("account", self.account.as_deref(), ""));
        problems.extend(word_problem("qos", self.qos.as_deref(), ""));
        let constraint = self.constraint.as_deref();
        problems.extend(word_problem("constraint", constraint, "&|*()"));
        if self.warn_s == 0 || self.warn_s > MOST_WARN_S {
            problems.push(Problem {
                key: "warn_s",
                message: format!("invalid time before the limit: {} seconds", self.warn_s),
                help: format!(
                    "use 1 to {MOST_WARN_S} seconds, enough for an epoch's end and a checkpoint"
                ),
            });
        }
        problems.extend(self.setup.iter().filter_map(|line| setup_problem(line)));
        problems.extend(self.extra.iter().filter_map(|line| extra_problem(line)));
        problems
    }

    fn time_problem(&self) -> Option<Problem> {
        let time = self.time.as_deref()?;
        let least = u64::from(self.warn_s) + LEAST_BEFORE_WARNING_S;
        let (message, help) = match seconds(time) {
            None => (
                format!("invalid time limit `{time}`"),
                "write minutes, HH:MM:SS, or DAYS-HH:MM:SS, for example \"04:00:00\"".to_owned(),
            ),
            Some(limit) if limit < least => (
                format!(
                    "a time limit of {limit} seconds is too short for `warn_s = {}`",
                    self.warn_s
                ),
                format!(
                    "use at least {least} seconds, or lower `warn_s`: the limit must be {LEAST_BEFORE_WARNING_S} seconds above it"
                ),
            ),
            Some(_) => return None,
        };
        Some(Problem {
            key: "time",
            message,
            help,
        })
    }
}

/// Parses a time limit in any form of Slurm's: `MM`, `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM` or `D-HH:MM:SS`.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(number(days)?), rest),
        None => (None, text),
    };
    let parts: Vec<u64> = rest.split(':').map(number).collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match (days, parts.as_slice()) {
        (Some(_), [hours]) => (*hours, 0, 0),
        (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
        (None, [minutes]) => (0, *minutes, 0),
        (None, [minutes, seconds]) => (0, *minutes, *seconds),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    Some(((days.unwrap_or(0) * 24 + hours) * 60 + minutes) * 60 + seconds)
}

/// Parses digits alone, few enough that no sum of times overflows.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.len() <= 9;
    (is_number && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Splits a line of `extra` at `=` or white space into the option without its dashes and its value.
fn option(line: &str) -> (&str, &str) {
    let line = line.trim_start_matches('-');
    line.split_once(|letter: char| letter == '=' || letter.is_whitespace())
        .unwrap_or((line, ""))
}

/// Checks a value that is one word, in which letters, digits, `allowed` and some punctuation may stand.
fn word_problem(key: &'static str, value: Option<&str>, allowed: &str) -> Option<Problem> {
    let value = value?;
    let is_fine = |letter: char| {
        letter.is_alphanumeric() || ",._-+:=@[]!/%".contains(letter) || allowed.contains(letter)
    };
    let what = match value.chars().find(|letter| !is_fine(*letter)) {
        None if !value.is_empty() => return None,
        None => "it is empty".to_owned(),
        Some(letter) => format!("{letter:?} cannot be part of it"),
    };
    Some(Problem {
        key,
        message: format!("invalid `{key}` {value:?}: {what}"),
        help: format!(
            "write it as for `sbatch --{key}`, or remove it to take the cluster's default"
        ),
    })
}

/// Checks `name`, `name:count` or `name:type:count`, or several with commas between.
fn gres_problem(value: &str) -> Option<Problem> {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|it| it.is_alphanumeric() || "._-+/".contains(it))
    };
    let is_count = |word: &str| {
        let digits = word.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T']);
        word.len() <= digits.len() + 1 && number(digits).is_some_and(|count| count > 0)
    };
    let is_fine = value.split(',').all(|item| {
        let words: Vec<&str> = item.split(':').collect();
        match words.as_slice() {
            [name] => is_word(name),
            [name, last] => is_word(name) && is_word(last) && *last != "0",
            [name, kind, count] => is_word(name) && is_word(kind) && is_count(count),
            _ => false,
        }
    });
    (!is_fine).then(|| Problem {
        key: "gres",
        message: format!("invalid `gres` {value:?}"),
        help: "write NAME:COUNT or NAME:TYPE:COUNT, for example \"gpu:1\" or \"gpu:a100:1\""
            .to_owned(),
    })
}

fn mem_problem(value: &str) -> Option<Problem> {
    let is_amount = value
        .strip_suffix(['K', 'M', 'G', 'T', 'k', 'm', 'g', 't'])
        .is_some_and(|digits| number(digits).is_some_and(|amount| amount > 0));
    (value != "0" && !is_amount).then(|| Problem {
        key: "mem",
        message: format!("invalid amount of memory {value:?}"),
        help: "write a whole number with its unit K, M, G or T, for example \"16G\"; \"0\" asks for all memory of the node".to_owned(),
    })
}

fn setup_problem(line: &str) -> Option<Problem> {
    let what = if line.trim().is_empty() {
        "it is empty"
    } else if line
        .chars()
        .any(|letter| letter.is_control() && letter != '\t')
    {
        "it contains a line break or another control character"
    } else if line.ends_with('\\') {
        "it ends with a backslash, so that it would continue on the next line"
    } else {
        return None;
    };
    Some(Problem {
        key: "setup",
        message: format!("invalid line {line:?} in `setup`: {what}"),
        help: "give one whole command per entry, for example \"module load cuda\"".to_owned(),
    })
}

fn extra_problem(line: &str) -> Option<Problem> {
    let problem = |message: String, help: &str| {
        let (key, help) = ("extra", help.to_owned());
        Some(Problem { key, message, help })
    };
    let (name, value) = option(line);
    let is_option = line.starts_with("--")
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || it == '-');
    if !is_option || line.chars().any(char::is_control) {
        return problem(
            format!("{line:?} in `extra` is not an option of `sbatch`"),
            "give one long option per entry, for example \"--exclude=n7\"",
        );
    }
    // `sbatch` takes an abbreviation such as `--out` for the whole option.
    if let Some(own) = OWN_OPTIONS.iter().find(|own| own.starts_with(name)) {
        let all: Vec<String> = OWN_OPTIONS.iter().map(|own| format!("--{own}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        return problem(
            format!(
                "`--{own}` cannot be set in `extra`: a sweep sets it itself or does not work with it"
            ),
            &format!("remove it; this concerns {}", list(&all, "and")),
        );
    }
    if let Some((own, key)) = KEYED_OPTIONS.iter().find(|(own, _)| own.starts_with(name)) {
        return problem(
            format!("`--{own}` cannot be set in `extra`"),
            &format!("use the key `{key}` of [launcher.slurm]"),
        );
    }
    if name == "dependency" && value.contains('?') {
        return problem(
            "a dependency with `?` cannot be set in `extra`: a sweep may add its own dependencies"
                .to_owned(),
            "separate the dependencies with commas",
        );
    }
    None
}
