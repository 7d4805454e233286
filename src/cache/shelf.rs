//! All entries of a cache directory, for a command that shows and tidies it. Must not print.

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

/// One entry as it lies on the disk.
#[derive(Clone, Debug)]
pub(crate) struct EntryInfo {
    /// Of its folder.
    pub(crate) name: String,
    /// `None` where it is damaged.
    pub(crate) recipe: Option<Recipe>,
    pub(crate) n_items: usize,
    pub(crate) bytes: u64,
    pub(crate) last_used: SystemTime,
    pub(crate) in_use: bool,
    /// The user it belongs to, where that is another one: `cache.trust` says whether runs use it.
    pub(crate) owner: Option<u32>,
    /// Why it will not be opened.
    pub(crate) damaged: Option<String>,
}

/// Those used longest ago first. What was taken out of the way but is not yet deleted comes as damaged.
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
            // Removed meanwhile.
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

/// What [`verify`] found in one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Of its folder.
    pub(crate) name: String,
    /// `None` where the entry as a whole is damaged.
    pub(crate) key: Option<RecipeKey>,
    /// Those that are sound and those that are not.
    pub(crate) n_items: usize,
    /// Struck out, so that they are computed anew.
    pub(crate) n_damaged: usize,
    /// Why the entry could not be read, or not to the end.
    pub(crate) problem: Option<String>,
}

/// Reads every item of every entry of this user. `progress` gets the bytes done and those of all entries.
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
            // Being removed, or removed meanwhile.
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

/// `None` for an entry that has gone, or is going.
fn opened(folder: &Folder) -> std::result::Result<Option<Store>, String> {
    let look = || {
        let (recipe, _) = recipe_in(folder)?;
        Store::inspect(&folder.path, &recipe, Trust::Own).map_err(|error| error.to_string())
    };
    steadily(folder, look).map(Option::flatten)
}

/// What `look` finds; `None` for an entry that has gone. While it is looked at, another process may take it away and make
/// another one: only what is wrong each time is damaged.
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
    /// Not used for so long.
    OlderThan(Duration),
    /// Those used longest ago, until the rest takes no more than so many bytes.
    ToSize(u64),
}

/// A folder that was removed, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pruned {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) last_used: SystemTime,
    /// Why it could not be removed after all.
    pub(crate) problem: Option<String>,
}

/// Removes what nobody uses, and what is left of former entries in any case, but nothing of another user. A dry run only
/// says what it would remove.
pub(crate) fn prune(dir: &Path, what: Prune, dry_run: bool) -> Result<Vec<Pruned>> {
    let mut folders = room::folders(dir)?;
    folders.retain(|folder| folder.owner.is_none());
    let now = SystemTime::now();
    let mut left_bytes: u64 = folders.iter().map(|folder| folder.bytes).sum();
    let mut pruned = Vec::new();
    for folder in folders {
        let is_meant = match what {
            Prune::All => true,
            // One that was used in the future is not old.
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

/// Or why there is none to be believed.
fn recipe_in(folder: &Folder) -> std::result::Result<(Recipe, RecipeKey), String> {
    match folder.retired {
        Some(Reason::New) => return Err("left over from a start".to_owned()),
        Some(Reason::Evicted) => return Err("left over from a removal".to_owned()),
        Some(Reason::Damaged) => return Err("set aside as damaged".to_owned()),
        None => {}
    }
    match key::read_about(&folder.path).map_err(|error| error.to_string())? {
        Description::Sound(recipe, key) if key.folder_name() == folder.name => Ok((recipe, key)),
        Description::Sound(..) => Err("it is of another recipe".to_owned()),
        Description::Damaged(fact) => Err(fact),
        Description::Absent => Err(format!("it has no {}", key::ABOUT)),
    }
}
