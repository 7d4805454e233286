//! Tests without a cluster. Slurm's words in them are those of Slurm 22.05.

mod pure;
#[cfg(unix)]
mod recorded;
#[cfg(unix)]
mod script;

use std::path::Path;
#[cfg(unix)]
use std::process::Command;

use super::{script::Batch, settings::SlurmSettings};

pub(super) fn settings() -> SlurmSettings {
    SlurmSettings {
        partition: None,
        time: None,
        gres: None,
        cpus_per_task: None,
        mem: None,
        account: None,
        qos: None,
        constraint: None,
        warn_s: 120,
        setup: Vec::new(),
        extra: Vec::new(),
    }
}

pub(super) fn full() -> SlurmSettings {
    let text = |text: &str| Some(text.to_owned());
    SlurmSettings {
        partition: text("gpu"),
        time: text("04:00:00"),
        gres: text("gpu:1"),
        cpus_per_task: Some(4),
        mem: text("16G"),
        account: text("photos"),
        qos: text("long"),
        constraint: text("a100|h100"),
        warn_s: 300,
        setup: vec!["module load cuda".to_owned()],
        extra: vec!["--exclude=n7".to_owned()],
    }
}

pub(super) fn batch(folder: &Path, settings: SlurmSettings) -> Batch {
    Batch {
        name: "rates".to_owned(),
        program: folder.join("bin/runner"),
        cwd: folder.to_owned(),
        dir: folder.join("runs/sweep-rates"),
        settings,
        max_parallel: None,
    }
}

/// Makes a script. Another process writes it: a file that this one has written may still be open in a child that another test is
/// starting, and could not be executed.
#[cfg(unix)]
pub(super) fn executable(path: &Path, text: &str) {
    let source = path.with_extension("text");
    std::fs::write(&source, text).unwrap();
    let made = Command::new("install")
        .args(["-m", "755"])
        .arg(source)
        .arg(path)
        .status();
    assert!(made.unwrap().success());
}
