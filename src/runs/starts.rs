//! The remains of a start that was killed or failed before the run had a manifest. Nothing was trained in them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{disk::files, rundir::RunDir};

/// A run directory without a manifest that no process works in.
#[derive(Clone, Debug)]
pub(crate) struct KilledStart {
    dir: RunDir,
}

impl KilledStart {
    /// Returns `None` unless the folder has the name of a run directory and contains only files that are written before the
    /// manifest.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let is_folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
        if !is_folder || !has_time(name) {
            return None;
        }
        let start = Self {
            dir: RunDir::bare(path),
        };
        let holds_no_others = fs::read_dir(path)
            .ok()?
            .all(|entry| entry.is_ok_and(|entry| start.wrote(&entry.path())));
        (holds_no_others && !start.dir.is_claimed()).then_some(start)
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The files and the folder that a start writes, without anything else in the folder.
    pub(crate) fn entries(&self) -> io::Result<Vec<PathBuf>> {
        let paths = fs::read_dir(self.path())?.map(|entry| Ok(entry?.path()));
        let paths: Vec<PathBuf> = paths.collect::<io::Result<_>>()?;
        Ok(paths.into_iter().filter(|path| self.wrote(path)).collect())
    }

    fn wrote(&self, path: &Path) -> bool {
        let dir = &self.dir;
        if *path == dir.checkpoints() {
            return fs::read_dir(path).is_ok_and(|mut files| files.next().is_none());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_known = files::is_temporary(&name)
            || [
                dir.run_log(),
                dir.claim_toml(),
                dir.status_toml(),
                dir.source_toml(),
                dir.resolved_toml(),
                dir.split_csv(),
                dir.rejected_csv(),
                dir.groups_csv(),
            ]
            .contains(&path.to_owned());
        is_known && fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
    }
}

/// `20261123-101502-NAME`
fn has_time(name: &str) -> bool {
    let (time, rest) = name.split_at_checked(16).unwrap_or_default();
    let is_right = |(at, byte): (usize, u8)| match at {
        8 | 15 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    !rest.is_empty() && time.bytes().enumerate().all(is_right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_start_writes_is_taken_for_one() {
        let runs = tempfile::tempdir().unwrap();
        let make = |name: &str, files: &[&str]| {
            let path = runs.path().join(name);
            fs::create_dir_all(path.join("checkpoints")).unwrap();
            for file in files {
                fs::write(path.join(file), "").unwrap();
            }
            path
        };
        let killed = make(
            "20261123-101502-small",
            &["run.log", "source.toml", ".runner-tmp-abc"],
        );
        let is_start = |path: &Path| KilledStart::at(path).is_some();
        assert!(is_start(&killed));
        let others = [
            make("thesis", &["run.log"]),
            make("20261123-101502-", &["run.log"]),
            make("20261123-101502-run", &["run.log", "manifest.toml"]),
            make("20261123-101502-trained", &["checkpoints/base.safetensors"]),
            make("20261123-101502-notes", &["run.log", "notes.txt"]),
        ];
        assert!(!others.iter().any(|path| is_start(path)));
        let log = fs::File::open(killed.join("run.log")).unwrap();
        log.lock().unwrap();
        assert!(!is_start(&killed));
        drop(log);
        assert_eq!(
            KilledStart::at(&killed).unwrap().entries().unwrap().len(),
            4
        );
    }
}
