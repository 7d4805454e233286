//! The batch script of one submission. Pure.

use std::path::{Path, PathBuf};

use super::settings::SlurmSettings;
use crate::error::{Error, Result};

/// What all submissions of a sweep have in common.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// The name of the sweep.
    pub(crate) name: String,
    /// This program, as an absolute path that is the same on every node.
    pub(crate) program: PathBuf,
    /// The absolute path of the working directory, which paths in experiments are relative to.
    pub(crate) cwd: PathBuf,
    /// The absolute path of the sweep's directory.
    pub(crate) dir: PathBuf,
    pub(crate) settings: SlurmSettings,
    /// The number of trials to run in parallel; `None` for as many as the cluster starts.
    pub(crate) max_parallel: Option<usize>,
}

/// One array of trials: task `i` of `1..=n_tasks` is the trial in line `i` of the list.
#[derive(Clone, Debug)]
pub(crate) struct Array<'a> {
    pub(crate) job_name: &'a str,
    /// The absolute path of the file with a trial's name per line.
    pub(crate) list: &'a Path,
    pub(crate) n_tasks: usize,
    /// The most tasks that run at once.
    pub(crate) at_once: Option<usize>,
    /// Jobs that must end before the first task starts.
    pub(crate) after: &'a [u64],
}

impl Batch {
    /// The script that `sbatch` takes on stdin.
    ///
    /// # Errors
    /// If a path cannot be written in a batch script.
    pub(crate) fn script(&self, array: &Array<'_>) -> Result<String> {
        let mut lines = vec!["#!/bin/bash".to_owned()];
        let options = self.options(array)?;
        lines.extend(
            options
                .into_iter()
                .map(|option| format!("#SBATCH {option}")),
        );
        lines.push(String::new());
        lines.push(
            "# A warning that comes before the program listens must not end the task.".to_owned(),
        );
        lines.push("trap '' USR1".to_owned());
        lines.push("fail() { trap - EXIT; echo \"error: $1\" >&2; exit 1; }".to_owned());
        // Slurm only warns about a missing working directory and starts the script in /tmp.
        let cwd = quoted(&self.cwd)?;
        let enter = format!(
            "cd {cwd} || fail {}",
            quoted_text(&format!(
                "cannot enter the working directory {} on this node",
                self.cwd.display()
            ))
        );
        lines.push("task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID".to_owned());
        lines.push(
            "echo \"task $task, start $((${SLURM_RESTART_COUNT:-0} + 1)), node $(hostname)\" >&2"
                .to_owned(),
        );
        lines.push(enter.clone());
        let missing = |what: &str, path: &Path| {
            quoted_text(&format!(
                "the {what} {} is missing on this node",
                path.display()
            ))
        };
        lines.push(format!(
            "[ -f {} ] || fail {}",
            quoted(&self.dir.join("sweep.toml"))?,
            missing("sweep directory", &self.dir)
        ));
        if !self.settings.setup.is_empty() {
            lines.push("trap 'fail \"a line of setup ended the task\"' EXIT".to_owned());
            for line in &self.settings.setup {
                lines.push(line.clone());
                let words = quoted_text(&format!("this line of setup failed: {line}"));
                lines.push(format!("[ $? -eq 0 ] || fail {words}"));
            }
            lines.push("trap - EXIT".to_owned());
            // A line of setup may have changed both.
            lines.push("trap '' USR1".to_owned());
            lines.push(enter);
        }
        let list = quoted(array.list)?;
        lines.push(format!(
            "name=$(sed -n \"${{SLURM_ARRAY_TASK_ID}}p\" {list})"
        ));
        lines.push(format!(
            "[ -n \"$name\" ] || fail \"no line $SLURM_ARRAY_TASK_ID in \"{list}"
        ));
        let program = quoted(&self.program)?;
        lines.push(format!(
            "[ -x {program} ] || fail {}",
            missing("program", &self.program)
        ));
        // All cores of a node that is shared with other jobs would be too many.
        lines.push(
            "export RAYON_NUM_THREADS=\"${RAYON_NUM_THREADS:-$SLURM_CPUS_ON_NODE}\"".to_owned(),
        );
        let trials = quoted(&self.dir.join("trials"))?;
        lines.push(format!("exec {program} trial {trials}/\"$name\""));
        Ok(lines.join("\n") + "\n")
    }

    fn options(&self, array: &Array<'_>) -> Result<Vec<String>> {
        let settings = &self.settings;
        let at_once = array.at_once.map_or(String::new(), |n| format!("%{n}"));
        let log = self.dir.join("logs");
        let mut options = vec![
            format!("--job-name={}", array.job_name),
            format!("--array=1-{}{at_once}", array.n_tasks),
            "--requeue".to_owned(),
            "--open-mode=append".to_owned(),
            // In this option alone, `%` begins a pattern.
            format!(
                "--output={}",
                option_value(&log)?.replace('%', "%%") + "/%A_%a.log"
            ),
            format!("--signal=B:USR1@{}", settings.warn_s),
            format!("--chdir={}", option_value(&self.cwd)?),
        ];
        let cpus = settings.cpus_per_task.map(|n| n.to_string());
        let keyed = [
            ("partition", &settings.partition),
            ("time", &settings.time),
            ("gres", &settings.gres),
            ("cpus-per-task", &cpus),
            ("mem", &settings.mem),
            ("account", &settings.account),
            ("qos", &settings.qos),
            ("constraint", &settings.constraint),
        ];
        for (name, value) in keyed {
            options.extend(value.as_ref().map(|value| format!("--{name}={value}")));
        }
        let mut after: Vec<String> = array.after.iter().map(u64::to_string).collect();
        if !after.is_empty() {
            after.insert(0, "afterany".to_owned());
        }
        let mut dependencies = vec![after.join(":")];
        for (line, (name, value)) in settings.extra.iter().zip(settings.extra_options()) {
            if name == "dependency" {
                dependencies.push(value.to_owned());
            } else {
                options.push(line.clone());
            }
        }
        dependencies.retain(|it| !it.is_empty());
        if !dependencies.is_empty() {
            options.push(format!("--dependency={}", dependencies.join(",")));
        }
        Ok(options)
    }
}

/// Quotes a path for the shell.
fn quoted(path: &Path) -> Result<String> {
    text_of(path).map(quoted_text)
}

fn quoted_text(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+=:@%,".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Quotes a path for an `#SBATCH` line, whose rules are not the shell's: a backslash escapes within quotes only, and `#` begins a
/// comment outside.
fn option_value(path: &Path) -> Result<String> {
    let text = text_of(path)?;
    if text.contains('\\') {
        return Err(unusable(path, "a backslash"));
    }
    if text.contains(|letter: char| letter.is_whitespace() || "'\"#".contains(letter)) {
        // The pattern of the log file's name is added behind the quotes, which is one word to Slurm.
        return Ok(format!("\"{}\"", text.replace('"', "\\\"")));
    }
    Ok(text.to_owned())
}

fn text_of(path: &Path) -> Result<&str> {
    match path.to_str() {
        None => Err(unusable(path, "bytes that are not UTF-8")),
        Some(text) if text.chars().any(char::is_control) => {
            Err(unusable(path, "a control character"))
        }
        Some(text) => Ok(text),
    }
}

fn unusable(path: &Path, what: &str) -> Error {
    let message = format!("a path with {what} cannot be used in a batch script of Slurm");
    Error::run(path, message).help("rename the folder, or run the sweep from another one")
}
