//! Directories that are either complete or absent: files are written, flushed and read back, a manifest with their sizes and
//! hashes comes last, and only then does the directory get its name. Knows nothing about what the files hold.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    disk::{
        files::flush_folder,
        sealed::{self, Sealed},
    },
    error::{Error, Result},
};

/// The manifest, which is written last: a directory without it does not count.
const MANIFEST: &str = "state.toml";
/// Prefix of the generation before the current one.
const PREVIOUS: &str = "previous-";
/// Prefix of a generation that is not current yet.
const NEW: &str = "new-";
/// Prefix of a generation that is being replaced.
const OLD: &str = "old-";

/// How often a reader starts again. A run publishes at most every few seconds, and reading a generation takes less, so that one
/// of these attempts is undisturbed.
const N_READS: usize = 10;

/// An unpublished generation of `name` in `parent`. It is deleted if it is dropped before it is published.
pub(super) struct Draft {
    parent: PathBuf,
    name: &'static str,
    is_published: bool,
}

impl Draft {
    pub(super) fn new(parent: &Path, name: &'static str) -> Result<Self> {
        let draft = Self {
            parent: parent.to_owned(),
            name,
            is_published: false,
        };
        remove(&draft.path())?;
        fs::create_dir(draft.path()).map_err(Error::io("create", draft.path()))?;
        Ok(draft)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.parent.join(format!("{NEW}{}", self.name))
    }

    /// Writes the manifest, which completes the directory.
    pub(super) fn seal<T: Serialize>(&self, manifest: &T) -> Result<()> {
        sealed::write_toml(&self.path().join(MANIFEST), manifest)?;
        flush_folder(&self.path())
    }

    /// Makes this the current generation. If `keeps_previous`, the one before stays until the next one is published.
    pub(super) fn publish(mut self, keeps_previous: bool) -> Result<()> {
        let [current, previous, old] = ["", PREVIOUS, OLD].map(|prefix| self.named(prefix));
        let after = if keeps_previous { &previous } else { &old };
        // Whenever the process dies between two of these renames, a complete generation is left under a name that
        // `generations` looks for.
        remove(&old)?;
        if current.exists() {
            if after.exists() {
                rename(after, &old)?;
            }
            rename(&current, after)?;
        }
        rename(&self.path(), &current)?;
        self.is_published = true;
        flush_folder(&self.parent)?;
        remove(&old)
    }

    fn named(&self, prefix: &str) -> PathBuf {
        self.parent.join(format!("{prefix}{}", self.name))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            // On a full disk this also frees the space that the error report needs.
            let _ = fs::remove_dir_all(self.path());
        }
    }
}

/// The complete generations of `name`, the one to use first. A process that dies while it publishes leaves a generation under
/// one of the prefixes.
pub(super) fn generations(parent: &Path, name: &str) -> Vec<PathBuf> {
    // Another process may publish meanwhile. Searched in the order in which a generation changes its names, none is missed,
    // though one may be found twice.
    let mut found = [NEW, "", PREVIOUS, OLD].map(|prefix| {
        let path = parent.join(format!("{prefix}{name}"));
        path.join(MANIFEST).is_file().then_some(path)
    });
    found.swap(0, 1);
    found.into_iter().flatten().collect()
}

/// Reads the first of the [`generations`] that `read` succeeds with, and returns the errors of those before it. Starts again if
/// the generations have changed meanwhile: a directory that is moved or removed while it is read looks damaged.
pub(super) fn read_first<T>(
    parent: &Path,
    name: &str,
    read: impl Fn(&Path) -> Result<T>,
) -> (Option<T>, Vec<Error>) {
    let manifests = || {
        let found = generations(parent, name).into_iter();
        let with_manifest = found.map(|path| (fs::read(path.join(MANIFEST)).ok(), path));
        with_manifest.collect::<Vec<_>>()
    };
    let mut before = manifests();
    let mut n_tries = 1;
    loop {
        let mut damages = Vec::new();
        let mut values = before
            .iter()
            .filter_map(|(_, path)| read(path).map_err(|error| damages.push(error)).ok());
        let value = values.next();
        drop(values);
        if value.is_some() && damages.is_empty() {
            return (value, damages);
        }
        let now = manifests();
        if now == before || n_tries == N_READS {
            return (value, damages);
        }
        before = now;
        n_tries += 1;
    }
}

/// The directory names under which the generations of `names` stay for longer than a moment.
pub(super) fn names(names: &[&str]) -> Vec<String> {
    let prefixed = names
        .iter()
        .flat_map(|name| ["", PREVIOUS].map(|prefix| format!("{prefix}{name}")));
    prefixed.collect()
}

/// The path of the generation before the current one.
pub(super) fn previous(parent: &Path, name: &str) -> PathBuf {
    parent.join(format!("{PREVIOUS}{name}"))
}

pub(super) fn manifest_path(folder: &Path) -> PathBuf {
    folder.join(MANIFEST)
}

/// Removes unpublished and replaced generations that killed processes left behind.
pub(super) fn tidy(parent: &Path, name: &str) -> Result<()> {
    [NEW, OLD]
        .iter()
        .try_for_each(|prefix| remove(&parent.join(format!("{prefix}{name}"))))
}

/// Makes `chosen` the current generation of `name`, removes those that would be preferred to it, and returns its new path.
pub(super) fn settle(parent: &Path, name: &str, chosen: &Path) -> Result<PathBuf> {
    let current = parent.join(name);
    if chosen != current {
        // The damaged generation in its place would otherwise be kept as the previous one of the next.
        remove(&current)?;
        rename(chosen, &current)?;
    }
    tidy(parent, name)?;
    flush_folder(parent)?;
    Ok(current)
}

/// Removes all generations of `name`.
pub(super) fn remove_all(parent: &Path, name: &str) -> Result<()> {
    ["", NEW, PREVIOUS, OLD]
        .iter()
        .try_for_each(|prefix| remove(&parent.join(format!("{prefix}{name}"))))
}

pub(super) fn manifest<T: DeserializeOwned>(folder: &Path) -> Result<T> {
    sealed::read_toml(&folder.join(MANIFEST), Sealed::Always)
}

/// Gives a file a second name: a hard link if the file system supports them, else a copy.
pub(super) fn link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(|_| ()))
        .map_err(Error::io("copy", to))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io("rename", from))
}

/// Removes the manifest first, so that an interrupted removal leaves nothing that looks like a complete directory.
pub(super) fn remove(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let manifest = path.join(MANIFEST);
    if manifest.exists() {
        fs::remove_file(&manifest).map_err(Error::io("remove", manifest))?;
    }
    fs::remove_dir_all(path).map_err(Error::io("remove", path))
}
