//! Directories that are whole or absent: files are written, flushed and read back, a manifest with their sizes and hashes
//! comes last, and only then does the directory get its name. Knows nothing of what the files hold.

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

/// Written last: a directory without it is none.
const MANIFEST: &str = "state.toml";
/// The generation before the current one.
const PREVIOUS: &str = "previous-";
/// A generation that is not current yet.
const NEW: &str = "new-";
/// A generation on its way out.
const OLD: &str = "old-";

/// A run publishes at most every few seconds, and reading a generation takes less.
const N_READS: usize = 10;

/// A directory under way, of the generations called `name` in `parent`; gone if it is dropped before it is published.
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

    /// Makes it whole.
    pub(super) fn seal<T: Serialize>(&self, manifest: &T) -> Result<()> {
        sealed::write_toml(&self.path().join(MANIFEST), manifest)?;
        flush_folder(&self.path())
    }

    /// Makes it the current generation. The one before stays if `keeps_previous`, which the next one after that replaces.
    pub(super) fn publish(mut self, keeps_previous: bool) -> Result<()> {
        let [current, previous, old] = ["", PREVIOUS, OLD].map(|prefix| self.named(prefix));
        let after = if keeps_previous { &previous } else { &old };
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
            // On a full disk this is also what makes room for saying so.
            let _ = fs::remove_dir_all(self.path());
        }
    }
}

/// The whole directories called `name`, the one to use first. A process that dies while it publishes leaves a generation
/// under another name.
pub(super) fn generations(parent: &Path, name: &str) -> Vec<PathBuf> {
    // Another process may publish meanwhile. Looked for in the order in which a generation goes through its names, none is
    // missed, though one may be found twice.
    let mut found = [NEW, "", PREVIOUS, OLD].map(|prefix| {
        let path = parent.join(format!("{prefix}{name}"));
        path.join(MANIFEST).is_file().then_some(path)
    });
    found.swap(0, 1);
    found.into_iter().flatten().collect()
}

/// What `read` makes of the first of the [`generations`] that it succeeds with, and its errors with those before. Begins
/// again where other generations are found afterwards: a directory that was moved or removed under its reader seems damaged.
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

/// The names that a reader may find generations of `names` under.
pub(super) fn names(names: &[&str]) -> Vec<String> {
    let prefixed = names
        .iter()
        .flat_map(|name| ["", PREVIOUS].map(|prefix| format!("{prefix}{name}")));
    prefixed.collect()
}

/// Where the generation before the current one is kept.
pub(super) fn previous(parent: &Path, name: &str) -> PathBuf {
    parent.join(format!("{PREVIOUS}{name}"))
}

pub(super) fn manifest_path(folder: &Path) -> PathBuf {
    folder.join(MANIFEST)
}

/// Removes what processes that died left under way.
pub(super) fn tidy(parent: &Path, name: &str) -> Result<()> {
    [NEW, OLD]
        .iter()
        .try_for_each(|prefix| remove(&parent.join(format!("{prefix}{name}"))))
}

/// Makes `chosen` the current one of the generations called `name` and removes those that would come before it; returns
/// where it is now.
pub(super) fn settle(parent: &Path, name: &str, chosen: &Path) -> Result<PathBuf> {
    let current = parent.join(name);
    if chosen != current {
        // What is in its way, damaged as it is, would otherwise be kept as the generation before the next one.
        remove(&current)?;
        rename(chosen, &current)?;
    }
    tidy(parent, name)?;
    flush_folder(parent)?;
    Ok(current)
}

/// Removes all generations called `name`.
pub(super) fn remove_all(parent: &Path, name: &str) -> Result<()> {
    ["", NEW, PREVIOUS, OLD]
        .iter()
        .try_for_each(|prefix| remove(&parent.join(format!("{prefix}{name}"))))
}

pub(super) fn manifest<T: DeserializeOwned>(folder: &Path) -> Result<T> {
    sealed::read_toml(&folder.join(MANIFEST), Sealed::Always)
}

/// The same bytes under a second name, without a copy where the file system can.
pub(super) fn link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(|_| ()))
        .map_err(Error::io("copy", to))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io("rename", from))
}

/// The manifest goes first: what is left of a removal that breaks off is none.
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
