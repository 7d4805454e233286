//! Lists, verifies and prunes all entries of a cache directory. Must not print.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use super::{
    key::{self, Description, Recipe, RecipeKey},
    lease::{self, Reason},
    own::Trust,
    room::{self, Folder},
    store::{self, Store},
};
use crate::error::{Error, Result};

const N_LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// One entry on the disk.
#[derive(Clone, Debug)]
pub(crate) struct EntryInfo {
    /// The name of its folder.
    pub(crate) name: String,
    /// `None` if the entry is damaged.
    pub(crate) recipe: Option<Recipe>,
    pub(crate) n_items: usize,
    pub(crate) bytes: u64,
    pub(crate) last_used: SystemTime,
    pub(crate) in_use: bool,
    /// The user that the entry belongs to, if it is another one. `cache.trust` decides whether runs use it.
    pub(crate) owner: Option<u32>,
    /// Why the entry cannot be used, if it is damaged.
    pub(crate) damaged: Option<String>,
}

/// Lists all entries, the least recently used first. Entries that were evicted but not deleted yet count as damaged.
pub(crate) fn list(dir: &Path) -> Result<Vec<EntryInfo>> {
    let mut entries = Vec::new();
    for folder in room::folders(dir)? {
        let in_use = folder.retired.is_none() && lease::is_in_use(&folder.path);
        let look = || {
            let (recipe, _) = recipe_in(&folder)?;
            let n_items = store::n_items_in(&folder.path, &recipe);
            Ok((recipe, n_items.map_err(|error| error.to_string())?))
        };
        let (recipe, n_items, damaged) = match steadily(&folder, look) {
            Ok(Some((recipe, n_items))) => (Some(recipe), n_items, None),
            // The entry was removed in the meantime.
            Ok(None) => continue,
            Err(fact) => (None, 0, Some(fact)),
        };
        entries.push(EntryInfo {
            name: folder.name,
            recipe,
            n_items,
            bytes: folder.bytes,
            last_used: folder.last_used,
            in_use,
            owner: folder.owner,
            damaged,
        });
    }
    entries.sort_by_key(|entry| entry.last_used);
    Ok(entries)
}

/// The result of [`verify`] for one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    /// The name of its folder.
    pub(crate) name: String,
    /// `None` if the entry as a whole is damaged.
    pub(crate) key: Option<RecipeKey>,
    /// Number of items that were read, damaged ones included.
    pub(crate) n_items: usize,
    /// Number of damaged items. They were struck out, so that they are computed again.
    pub(crate) n_damaged: usize,
    /// Why the entry could not be read completely.
    pub(crate) problem: Option<String>,
}

/// Reads every item of every entry of this user. `progress` is called with the number of bytes read and in total.
pub(crate) fn verify(
    dir: &Path,
    mut progress: impl FnMut(u64, u64),
    stop: &AtomicBool,
) -> Result<Vec<Verified>> {
    let mut results = Vec::new();
    let mut stores = Vec::new();
    let mut total_bytes = 0;
    for folder in room::folders(dir)? {
        if folder.retired.is_some() || folder.owner.is_some() {
            continue;
        }
        let mut result = Verified {
            name: folder.name.clone(),
            key: None,
            n_items: 0,
            n_damaged: 0,
            problem: None,
        };
        match opened(&folder) {
            // The entry is being removed, or was removed in the meantime.
            Ok(None) => continue,
            Ok(Some(store)) => {
                result.key = Some(store.key());
                total_bytes += store.len() as u64 * store.slot_bytes();
                stores.push((results.len(), store));
            }
            Err(fact) => result.problem = Some(fact),
        }
        results.push(result);
    }
    let mut done_bytes = 0;
    progress(done_bytes, total_bytes);
    for (at, store) in stores {
        let result: &mut Verified = &mut results[at];
        for item in store.items() {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::interrupted());
            }
            match store.verify(&item) {
                Ok(is_sound) => {
                    result.n_items += usize::from(is_sound.is_some());
                    result.n_damaged += usize::from(is_sound == Some(false));
                }
                Err(error) => {
                    result.problem = Some(error.to_string());
                    break;
                }
            }
            done_bytes += store.slot_bytes();
            progress(done_bytes, total_bytes);
        }
    }
    Ok(results)
}

/// Opens the entry; `None` if it was removed or is being removed.
fn opened(folder: &Folder) -> std::result::Result<Option<Store>, String> {
    let look = || {
        let (recipe, _) = recipe_in(folder)?;
        Store::inspect(&folder.path, &recipe, Trust::Own).map_err(|error| error.to_string())
    };
    steadily(folder, look).map(Option::flatten)
}

/// Calls `look` until it succeeds, a few times; `None` if the entry was removed. Another process may remove the entry during a look
/// and create a new one, so only an entry that fails every time is damaged.
fn steadily<T>(
    folder: &Folder,
    look: impl Fn() -> std::result::Result<T, String>,
) -> std::result::Result<Option<T>, String> {
    let n_looks = if folder.retired.is_none() { N_LOOKS } else { 1 };
    for n_looked in 1.. {
        match look() {
            Ok(found) => return Ok(Some(found)),
            Err(_) if !folder.path.exists() => break,
            Err(fact) if n_looked == n_looks => return Err(fact),
            Err(_) => thread::sleep(PAUSE),
        }
    }
    Ok(None)
}

/// Which entries to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prune {
    All,
    /// Entries that were not used for this long.
    OlderThan(Duration),
    /// The least recently used entries, until the rest takes no more than this many bytes.
    ToSize(u64),
}

/// A folder that was removed or, in a dry run, would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pruned {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) last_used: SystemTime,
    /// Why the folder could not be removed, if it could not.
    pub(crate) problem: Option<String>,
}

/// Removes the entries that `what` selects and nobody uses, and all remains of evicted ones, but nothing of other users. A dry run
/// only lists them.
pub(crate) fn prune(dir: &Path, what: Prune, dry_run: bool) -> Result<Vec<Pruned>> {
    let mut folders = room::folders(dir)?;
    folders.retain(|folder| folder.owner.is_none());
    let now = SystemTime::now();
    let mut left_bytes: u64 = folders.iter().map(|folder| folder.bytes).sum();
    let mut pruned = Vec::new();
    for folder in folders {
        let is_meant = match what {
            Prune::All => true,
            // An entry with a time in the future is not old.
            Prune::OlderThan(age) => now.duration_since(folder.last_used).is_ok_and(|a| a > age),
            Prune::ToSize(bytes) => left_bytes > bytes,
        };
        if !is_meant && folder.retired.is_none() {
            continue;
        }
        let removed = if dry_run {
            folder.would_be_removed()
        } else {
            folder.remove()
        };
        let problem = match removed {
            Ok(true) => None,
            Ok(false) => continue,
            Err(error) => Some(error.to_string()),
        };
        if problem.is_none() {
            left_bytes = left_bytes.saturating_sub(folder.bytes);
        }
        pruned.push(Pruned {
            name: folder.name,
            bytes: folder.bytes,
            last_used: folder.last_used,
            problem,
        });
    }
    Ok(pruned)
}

/// Reads the recipe of the entry, or says in a clause why it has no valid one.
fn recipe_in(folder: &Folder) -> std::result::Result<(Recipe, RecipeKey), String> {
    match folder.retired {
        Some(Reason::New) => return Err("its creation was interrupted".to_owned()),
        Some(Reason::Evicted) => return Err("its removal was interrupted".to_owned()),
        Some(Reason::Damaged) => return Err("it was set aside as damaged".to_owned()),
        None => {}
    }
    match key::read_about(&folder.path).map_err(|error| error.to_string())? {
        Description::Sound(recipe, key) if key.folder_name() == folder.name => Ok((recipe, key)),
        Description::Sound(..) => Err("it belongs to another recipe".to_owned()),
        Description::Damaged(fact) => Err(fact),
        Description::Absent => Err(format!("it has no `{}`", key::ABOUT)),
    }
}
