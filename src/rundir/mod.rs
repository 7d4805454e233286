//! The run directory: its name, the names of the files in it, and the claim on it. Knows nothing of what the files hold.

mod ending;
pub(crate) mod recipe;
pub(crate) mod records;
pub(crate) mod times;

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Local, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    claim::{self, Claim, ClaimAnswer, ClaimPaths, Stop},
    console::Console,
    disk::hash,
    error::{Error, Result},
    text::moment,
};

/// A file in `children/`, which names a run that started from this one.
#[derive(Serialize, Deserialize)]
struct ChildNote {
    run: String,
}

/// A run directory that exists.
#[derive(Clone, Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Creates `folder/20261123-101502-NAME`, or with `-2`, `-3`, .. appended if that exists.
    pub(crate) fn create(folder: &Path, name: &str, now: DateTime<Local>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let stem = format!("{}-{name}", now.format("%Y%m%d-%H%M%S"));
        let mut path = folder.join(&stem);
        let mut n_taken = 1;
        // Only creating tells whether the name is free: two processes may start in the same second.
        loop {
            match fs::create_dir(&path) {
                Ok(()) => break,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    n_taken += 1;
                    path = folder.join(format!("{stem}-{n_taken}"));
                }
                Err(error) => return Err(Error::io("create", path)(error)),
            }
        }
        let run_dir = Self { path };
        let checkpoints = run_dir.checkpoints();
        fs::create_dir(&checkpoints).map_err(Error::io("create", checkpoints))?;
        Ok(run_dir)
    }

    /// A directory that may have no manifest, for reading only.
    pub(crate) fn bare(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Opens a run directory that this version can read.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let run_dir = Self {
            path: path.to_owned(),
        };
        let problem = |fact: String| Error::run(path, fact);
        if !recipe::is_run(path) {
            return Err(problem(
                "the folder is not a run directory: it has no `manifest.toml`".to_owned(),
            )
            .help("run `runner list` to see the runs"));
        }
        let manifest = recipe::manifest(&run_dir)?;
        let (oldest, newest) = (records::OLDEST_FORMAT, records::FORMAT);
        if !(oldest..=newest).contains(&manifest.format) {
            let found = manifest.format;
            return Err(problem(format!(
                "the run has format {found}, but this version of runner reads formats {oldest} to {newest}"
            )));
        }
        Ok(run_dir)
    }

    /// The newest finished run named `name`.
    pub(crate) fn latest(folder: &Path, name: &str) -> Result<Self> {
        let none = || {
            Error::usage(format!(
                "`latest:{name}` matches no finished run in `{}`",
                folder.display()
            ))
            .help("train an experiment with this name first, or pass a run directory")
        };
        let mut named = Self::all_named(folder, name);
        named.retain(Self::is_finished);
        named.pop().ok_or_else(none)
    }

    /// The newest run named `name` that was stopped or killed, or else the newest finished one; and the newer runs with that
    /// name.
    pub(crate) fn latest_to_resume(folder: &Path, name: &str) -> Result<(Self, Vec<Self>)> {
        let mut named = Self::all_named(folder, name);
        let is_stopped = |run: &Self| !run.is_finished() && !run.is_claimed();
        let position = named
            .iter()
            .rposition(is_stopped)
            .or_else(|| named.iter().rposition(Self::is_finished));
        let Some(position) = position else {
            let folder = folder.display();
            let text = if named.is_empty() {
                format!("`latest:{name}` matches no run in `{folder}`")
            } else {
                format!("every run that `latest:{name}` matches in `{folder}` is in progress")
            };
            return Err(Error::usage(text).help("run `runner list` to see the runs"));
        };
        let newer = named.split_off(position + 1);
        Ok((named.swap_remove(position), newer))
    }

    /// The runs named `name` in `folder`, the oldest first.
    fn all_named(folder: &Path, name: &str) -> Vec<Self> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let mut found: Vec<(Option<DateTime<Utc>>, PathBuf)> = Vec::new();
        for path in paths.filter(|path| !is_hidden(path)) {
            let run_dir = Self { path: path.clone() };
            let Ok(manifest) = recipe::manifest(&run_dir) else {
                continue;
            };
            if manifest.name == name {
                found.push((moment::parse(&manifest.started), path));
            }
        }
        found.sort();
        found.into_iter().map(|(_, path)| Self { path }).collect()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn manifest_toml(&self) -> PathBuf {
        self.path.join("manifest.toml")
    }
    pub(crate) fn source_toml(&self) -> PathBuf {
        self.path.join("source.toml")
    }
    pub(crate) fn resolved_toml(&self) -> PathBuf {
        self.path.join("resolved.toml")
    }
    pub(crate) fn groups_csv(&self) -> PathBuf {
        self.path.join("groups.csv")
    }
    pub(crate) fn changes_csv(&self) -> PathBuf {
        self.path.join("changes.csv")
    }
    pub(crate) fn split_csv(&self) -> PathBuf {
        self.path.join("split.csv")
    }
    pub(crate) fn rejected_csv(&self) -> PathBuf {
        self.path.join("rejected.csv")
    }
    pub(crate) fn metrics_csv(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }
    /// The folder of TensorBoard's event files.
    pub(crate) fn tensorboard(&self) -> PathBuf {
        self.path.join("tensorboard")
    }
    pub(crate) fn steps_csv(&self) -> PathBuf {
        self.path.join("steps.csv")
    }
    pub(crate) fn predictions_csv(&self) -> PathBuf {
        self.path.join("predictions.csv")
    }
    pub(crate) fn confusion_csv(&self) -> PathBuf {
        self.path.join("confusion.csv")
    }
    pub(crate) fn curves_png(&self) -> PathBuf {
        self.path.join("curves.png")
    }
    pub(crate) fn confusion_png(&self) -> PathBuf {
        self.path.join("confusion.png")
    }
    pub(crate) fn predictions_png(&self) -> PathBuf {
        self.path.join("predictions.png")
    }
    /// Like `confusion.csv`, but for the test images.
    pub(crate) fn confusion_test_csv(&self) -> PathBuf {
        self.path.join("confusion_test.csv")
    }
    pub(crate) fn confusion_test_png(&self) -> PathBuf {
        self.path.join("confusion_test.png")
    }
    pub(crate) fn mistakes_png(&self) -> PathBuf {
        self.path.join("mistakes.png")
    }
    /// The files that are derived from the tables at the end of a run, and again if it is resumed.
    pub(crate) fn conclusions(&self) -> [PathBuf; 7] {
        [
            self.confusion_csv(),
            self.curves_png(),
            self.predictions_png(),
            self.confusion_png(),
            self.mistakes_png(),
            self.confusion_test_csv(),
            self.confusion_test_png(),
        ]
    }
    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }
    pub(crate) fn claim_toml(&self) -> PathBuf {
        self.path.join("claim.toml")
    }
    pub(crate) fn run_log(&self) -> PathBuf {
        self.path.join("run.log")
    }
    pub(crate) fn status_toml(&self) -> PathBuf {
        self.path.join("status.toml")
    }
    pub(crate) fn summary_toml(&self) -> PathBuf {
        self.path.join("summary.toml")
    }

    /// The folder for the notes of runs that start from this one.
    pub(crate) fn children(&self) -> PathBuf {
        self.path.join("children")
    }

    /// Records that the run `child` starts from this one. Runs in other folders could not be found otherwise when this one is
    /// to be deleted.
    pub(crate) fn note_child(&self, child: &Path) -> Result<()> {
        let child = fs::canonicalize(child).map_err(Error::io("find", child))?;
        let folder = self.children();
        match fs::create_dir(&folder) {
            // The run directory itself is not created again, because it may be being deleted at this moment.
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", folder)(error));
            }
            _ => {}
        }
        let digits = hash::sha256_of_bytes(child.as_os_str().as_encoded_bytes());
        let note = ChildNote {
            run: child.to_string_lossy().into_owned(),
        };
        records::write_toml(&folder.join(format!("{}.toml", &digits[..16])), &note)
    }

    /// The directories of runs that started from this one, as recorded; they may have been deleted or moved since.
    pub(crate) fn noted_children(&self) -> Vec<PathBuf> {
        let notes = fs::read_dir(self.children()).into_iter().flatten();
        notes
            .filter_map(|note| records::read_toml::<ChildNote>(&note.ok()?.path()).ok())
            .map(|note| PathBuf::from(note.run))
            .collect()
    }

    /// Claims the run for this process; `stop` is set if another process takes it over.
    pub(crate) fn claim(&self, stop: &'static dyn Stop, console: &Console) -> Result<Claim> {
        match Claim::take(self.place(), stop, console)? {
            ClaimAnswer::Ours(claim) => Ok(claim),
            ClaimAnswer::Theirs(who) => Err(Error::run(
                self.path.clone(),
                format!("the run is in progress: {who}"),
            )
            .help("wait for it to end, or stop it first")),
        }
    }

    /// Whether a process holds a claim on the run, as far as this host can tell.
    pub(crate) fn is_claimed(&self) -> bool {
        claim::is_taken(&self.place())
    }

    /// The process that holds the claim on the run, if it runs on this host.
    pub(crate) fn worker(&self) -> Option<claim::Worker> {
        claim::worker(&self.place())
    }

    fn place(&self) -> ClaimPaths {
        ClaimPaths {
            dir: self.path.clone(),
            lock: self.run_log(),
            owner: self.claim_toml(),
        }
    }
}

/// Whether the name starts with a dot, like that of a run while it is being deleted.
pub(crate) fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with('.')
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::{console::Talk, rundir::records::Manifest};

    #[test]
    fn a_claimed_run_is_in_progress_until_the_claim_ends() {
        static STOP: AtomicBool = AtomicBool::new(false);
        let console = Console::new(Talk::Quiet);
        let runs = tempfile::tempdir().unwrap();
        let run_dir = RunDir::create(runs.path(), "a", moment::now_local()).unwrap();
        let claim = run_dir.claim(&STOP, &console).unwrap();
        assert!(run_dir.is_claimed());
        let error = run_dir.claim(&STOP, &console).err().unwrap().to_string();
        let process = format!("process {}", std::process::id());
        assert!(
            error.contains("in progress") && error.contains(&process),
            "{error}"
        );
        drop(claim);
        assert!(!run_dir.is_claimed());
        assert!(!run_dir.claim_toml().exists());
    }

    #[test]
    fn two_starts_in_the_same_second_get_two_directories() {
        let runs = tempfile::tempdir().unwrap();
        let now = moment::now_local();
        let first = RunDir::create(runs.path(), "a", now).unwrap();
        let second = RunDir::create(runs.path(), "a", now).unwrap();
        assert_ne!(first.path(), second.path());
        assert!(second.path().to_string_lossy().ends_with("-a-2"));
    }

    /// A summary of an earlier version, without a seal.
    const SUMMARY: &str = "format = 1\nname = \"a\"\nepochs = 1\nsteps = 1\nstopped_early = []\nimages = 1\nrejected = 0\n\
        seconds = 1.0\nbottleneck = \"\"\n\
        [best]\nepoch = 1\nphase = \"a\"\nvalid_loss = 1.0\nvalid_accuracy = 0.5\n\
        [last]\nepoch = 1\nphase = \"a\"\nvalid_loss = 1.0\nvalid_accuracy = 0.5\n";

    #[test]
    fn the_newest_run_is_the_last_by_time_wherever_it_was_written() {
        let runs = tempfile::tempdir().unwrap();
        // Neither the texts nor the names of the directories sort in the order of time.
        let times = [
            ("20261025-021000-a", "2026-10-25T02:10:00+01:00"),
            ("20261025-025000-a", "2026-10-25T02:50:00+02:00"),
            ("20261026-000000-a", "the day after"),
        ];
        for (name, started) in times {
            let run = RunDir::bare(&runs.path().join(name));
            fs::create_dir(run.path()).unwrap();
            let manifest = Manifest {
                name: "a".to_owned(),
                format: records::FORMAT,
                started: started.to_owned(),
                ..Manifest::default()
            };
            recipe::write_manifest(&run, &manifest).unwrap();
            fs::write(run.summary_toml(), SUMMARY).unwrap();
        }
        let latest = RunDir::latest(runs.path(), "a").unwrap();
        assert!(latest.path().ends_with("20261025-021000-a"));
        let order = crate::runs::all(runs.path());
        let order = order.iter().map(|run| run.path().file_name().unwrap());
        let expected = [times[2].0, times[1].0, times[0].0];
        assert!(order.eq(expected), "{expected:?}");
    }

    #[test]
    fn other_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = RunDir::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not a run directory"), "{error}");
    }
}
