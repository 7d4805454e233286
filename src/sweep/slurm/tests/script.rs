//! Batch scripts as a node runs them, without Slurm around.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use super::{batch, executable, settings};
use crate::sweep::slurm::{script::Array, settings::SlurmSettings};

/// A sweep of two trials whose program prints its arguments, in a folder whose name needs quotes.
struct Node {
    folder: TempDir,
    root: PathBuf,
    settings: SlurmSettings,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("it's \"5 %\" $HOME `x` #1");
        let dir = root.join("runs/sweep-rates");
        fs::create_dir_all(dir.join("submissions")).unwrap();
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(dir.join("sweep.toml"), "").unwrap();
        fs::write(dir.join("submissions/1.txt"), "rates-a\nrates-b\n").unwrap();
        let program = "#!/bin/sh\nkill -USR1 $$\necho \"$RAYON_NUM_THREADS|$A|$PWD|$1|$2|$#\"\n";
        executable(&root.join("bin/runner"), program);
        Self {
            folder,
            root,
            settings: settings(),
        }
    }

    fn run(&self, task: &str) -> Output {
        let batch = batch(&self.root, self.settings.clone());
        let list = batch.dir.join("submissions/1.txt");
        let array = Array {
            job_name: "rates-1-0a1b2c3d",
            list: &list,
            n_tasks: 2,
            at_once: None,
            after: &[],
        };
        let script = self.folder.path().join("script");
        fs::write(&script, batch.script(&array).unwrap()).unwrap();
        Command::new("bash")
            .arg(&script)
            // Where Slurm starts a script whose working directory is missing.
            .current_dir(self.folder.path())
            .env_remove("RAYON_NUM_THREADS")
            .env("SLURM_ARRAY_JOB_ID", "14")
            .env("SLURM_ARRAY_TASK_ID", task)
            .env("SLURM_CPUS_ON_NODE", "3")
            .output()
            .unwrap()
    }

    fn fails(&self, task: &str, words: &str) {
        let output = self.run(task);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let errors: Vec<&str> = stderr
            .lines()
            .filter(|it| it.starts_with("error: "))
            .collect();
        let [error] = errors.as_slice() else {
            panic!("not one error: {stderr}");
        };
        assert!(error.contains(words), "{error}");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stdout, b"", "the trial must not start");
    }

    fn dir(&self) -> PathBuf {
        self.root.join("runs/sweep-rates")
    }
}

fn remove(path: &Path) {
    fs::rename(path, path.with_extension("away")).unwrap();
}

#[test]
fn a_task_starts_the_trial_in_its_line_with_the_warning_ignored() {
    let mut node = Node::new();
    node.settings.setup = vec!["export A='b c'".to_owned(), "cd / # elsewhere".to_owned()];
    for (task, trial) in [("1", "rates-a"), ("2", "rates-b")] {
        let output = node.run(task);
        let (cwd, folder) = (node.root.display(), node.dir().join("trials").join(trial));
        let expected = format!("3|b c|{cwd}|trial|{}|2\n", folder.display());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        assert!(output.status.success(), "{:?}", output.stderr);
    }
}

#[test]
fn a_task_that_cannot_start_its_trial_says_why() {
    let node = Node::new();
    node.fails("3", "no line 3 in ");
    remove(&node.root.join("bin/runner"));
    node.fails("1", "the program ");
    remove(&node.dir().join("sweep.toml"));
    node.fails("1", "the sweep directory ");
    remove(&node.root);
    node.fails("1", "cannot enter the working directory ");
}

#[test]
fn a_line_of_setup_that_fails_ends_the_task() {
    let mut node = Node::new();
    let words = "this line of setup failed: cat /no/such/file";
    for (line, words) in [
        ("cat /no/such/file", words),
        ("exit 0", "a line of setup ended the task"),
        ("set -e; false; true", "a line of setup ended the task"),
    ] {
        node.settings.setup = vec![line.to_owned(), "true".to_owned()];
        node.fails("1", words);
    }
}
