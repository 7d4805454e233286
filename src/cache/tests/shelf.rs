//! All entries: what is evicted and what is not, verifying, pruning.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::*;
use crate::{
    cache::{key::RecipeKey, room::make_room_on},
    error::Kind,
};

/// Entries of one item each, the first used longest ago; their folders.
fn entries(dir: &TempDir, n_entries: u32) -> Vec<PathBuf> {
    let entry = |kernels| {
        let store = Store::open(dir.path(), &other_recipe(kernels), Trust::Own).unwrap();
        store.put(&item(0), &values_of(0)).unwrap();
        let folder = store.folder().to_owned();
        drop(store);
        let lock = OpenOptions::new()
            .write(true)
            .open(folder.join("in-use.lock"));
        let age = Duration::from_hours(u64::from(100 - kernels));
        lock.unwrap().set_modified(SystemTime::now() - age).unwrap();
        folder
    };
    (1..=n_entries).map(entry).collect()
}

fn keys(dir: &TempDir) -> Vec<Option<RecipeKey>> {
    list(dir.path())
        .unwrap()
        .into_iter()
        .map(|entry| entry.recipe.map(|recipe| recipe.key()))
        .collect()
}

fn bytes_of_one(dir: &TempDir) -> u64 {
    list(dir.path()).unwrap()[0].bytes
}

#[test]
fn a_list_says_what_is_there_least_recently_used_first() {
    let dir = dir();
    entries(&dir, 3);
    let _used = Store::open(dir.path(), &other_recipe(1), Trust::Own).unwrap();
    let found = list(dir.path()).unwrap();
    let order: Vec<_> = found.iter().map(|entry| entry.recipe.clone()).collect();
    assert_eq!(order, [2, 3, 1].map(|kernels| Some(other_recipe(kernels))));
    assert_eq!(
        found.iter().map(|entry| entry.in_use).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert!(
        found
            .iter()
            .all(|entry| entry.n_items == 1 && entry.damaged.is_none())
    );
    assert!(
        found
            .iter()
            .all(|entry| entry.bytes > SLOT_BYTES + RECORD_BYTES as u64)
    );
    assert!(list(&dir.path().join("none")).unwrap().is_empty());
}

#[test]
fn a_list_names_what_is_damaged() {
    let dir = dir();
    let folders = entries(&dir, 4);
    fs::write(folders[0].join("about.toml"), "garbage").unwrap();
    fs::copy(folders[2].join("about.toml"), folders[1].join("about.toml")).unwrap();
    fs::remove_file(folders[2].join("about.toml")).unwrap();
    fs::write(dir.path().join("unrelated"), "a file").unwrap();
    let found = list(dir.path()).unwrap();
    assert_eq!(found.len(), 4);
    assert_eq!(
        found.iter().filter(|entry| entry.damaged.is_some()).count(),
        3
    );
    let checked = verify(dir.path(), |_, _| {}, &AtomicBool::new(false)).unwrap();
    assert_eq!(
        checked
            .iter()
            .filter(|entry| entry.problem.is_some())
            .count(),
        3
    );
    assert_eq!(prune(dir.path(), Prune::All, false).unwrap().len(), 4);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn room_is_made_by_evicting_those_used_longest_ago() {
    let dir = dir();
    entries(&dir, 4);
    let one = bytes_of_one(&dir);
    let keep = other_recipe(1).key();
    let disk = |_: &Path| Some(u64::MAX);
    let room = make_room_on(dir.path(), 4 * one, 0, (&keep, Trust::Own), disk).unwrap();
    assert!(room.fits && room.evicted.is_empty() && room.used_bytes == 4 * one);
    // Two must go: the first is kept, the second in use.
    let used = Store::open(dir.path(), &other_recipe(2), Trust::Own).unwrap();
    let room = make_room_on(dir.path(), 3 * one, one, (&keep, Trust::Own), disk).unwrap();
    let names: Vec<_> = room
        .evicted
        .iter()
        .map(|entry| entry.name.clone())
        .collect();
    assert_eq!(
        names,
        [3, 4].map(|kernels| other_recipe(kernels).key().folder_name())
    );
    assert!(room.fits);
    let room = make_room_on(dir.path(), 2 * one, one, (&keep, Trust::Own), disk).unwrap();
    assert!(!room.fits && room.evicted.is_empty());
    drop(used);
    let room = make_room_on(dir.path(), 2 * one, one, (&keep, Trust::Own), disk).unwrap();
    assert!(room.fits);
    assert_eq!(keys(&dir), [Some(keep)]);
}

#[test]
fn a_full_disk_makes_room_as_well_and_leaves_a_reserve() {
    let dir = dir();
    entries(&dir, 3);
    let keep = other_recipe(9).key();
    let disk = |_: &Path| Some((1 << 30) + 100 + if keys(&dir).len() > 2 { 0 } else { 50 });
    let room = make_room_on(dir.path(), u64::MAX, 150, (&keep, Trust::Own), disk).unwrap();
    assert!(room.fits);
    assert_eq!(room.evicted.len(), 1);
    let room = make_room_on(dir.path(), u64::MAX, 151, (&keep, Trust::Own), disk).unwrap();
    assert!(!room.fits);
    assert!(keys(&dir).is_empty());
}

#[cfg(unix)]
#[test]
fn pruning_takes_the_old_or_the_many_but_not_the_used() {
    let dir = dir();
    entries(&dir, 5);
    let one = bytes_of_one(&dir);
    let old = Prune::OlderThan(Duration::from_mins(98 * 60 + 30));
    assert_eq!(prune(dir.path(), old, true).unwrap().len(), 1);
    assert_eq!(keys(&dir).len(), 5);
    assert_eq!(prune(dir.path(), old, false).unwrap().len(), 1);
    assert_eq!(keys(&dir).len(), 4);
    let size = Prune::ToSize(3 * one);
    assert_eq!(
        prune(dir.path(), size, true).unwrap(),
        prune(dir.path(), size, false).unwrap()
    );
    assert_eq!(keys(&dir).len(), 3);
    let used = Store::open(dir.path(), &other_recipe(4), Trust::Own).unwrap();
    assert_eq!(prune(dir.path(), Prune::All, true).unwrap().len(), 2);
    assert_eq!(prune(dir.path(), Prune::All, false).unwrap().len(), 2);
    assert_eq!(get(&used, 0), Lookup::Sound);
    assert_eq!(keys(&dir), [Some(other_recipe(4).key())]);
}

#[test]
fn the_rest_of_a_killed_eviction_is_listed_and_removed() {
    let dir = dir();
    let folder = entries(&dir, 2).remove(0);
    let name = folder.file_name().unwrap().to_str().unwrap();
    fs::rename(&folder, dir.path().join(format!(".{name}.evicted-0"))).unwrap();
    assert!(
        list(dir.path())
            .unwrap()
            .iter()
            .any(|entry| entry.damaged.is_some())
    );
    let pruned = prune(dir.path(), Prune::ToSize(u64::MAX), false).unwrap();
    assert_eq!(pruned.len(), 1);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn verifying_strikes_out_what_is_damaged_for_every_process() {
    let (dir, folder) = with_three_items();
    let reader = open(&dir);
    let used = list(dir.path()).unwrap()[0].last_used;
    flip(&file(&folder, ".act"), SLOT_BYTES + 5);
    let mut calls = Vec::new();
    let checked = verify(
        dir.path(),
        |done, total| calls.push((done, total)),
        &AtomicBool::new(false),
    );
    let checked = checked.unwrap();
    assert_eq!((checked[0].n_items, checked[0].n_damaged), (3, 1));
    assert_eq!(calls.first(), Some(&(0, 3 * SLOT_BYTES)));
    assert_eq!(calls.last(), Some(&(3 * SLOT_BYTES, 3 * SLOT_BYTES)));
    assert_eq!(list(dir.path()).unwrap()[0].n_items, 2);
    assert_eq!(list(dir.path()).unwrap()[0].last_used, used);
    reader.refresh().unwrap();
    assert_eq!(get(&reader, 1), Lookup::Absent);
    put(&reader, 1);
    let store = open(&dir);
    (0..3).for_each(|number| assert_eq!(get(&store, number), Lookup::Sound));
    let stop = verify(dir.path(), |_, _| {}, &AtomicBool::new(true));
    assert!(matches!(stop, Err(error) if error.kind() == Kind::Interrupted));
}

#[test]
fn opening_and_evicting_at_once_never_gives_a_wrong_item_or_an_error() {
    const N_ROUNDS: usize = 300;
    const N_EVICTIONS: usize = 20;
    let dir = dir();
    let start = Instant::now();
    let is_done = AtomicBool::new(false);
    let n_evicted = AtomicUsize::new(0);
    let evict = || {
        while !is_done.load(Ordering::Relaxed) {
            let pruned = prune(dir.path(), Prune::All, false).unwrap();
            assert!(
                pruned.iter().all(|entry| entry.problem.is_none()),
                "{pruned:?}"
            );
            // The rest is what the other one is about to delete.
            let entries = pruned.iter().filter(|entry| !entry.name.starts_with('.'));
            n_evicted.fetch_add(entries.count(), Ordering::Relaxed);
            for entry in list(dir.path()).unwrap() {
                let is_whole = entry.damaged.is_none() || entry.name.starts_with('.');
                assert!(is_whole, "{entry:?}");
            }
            let checked = verify(dir.path(), |_, _| {}, &AtomicBool::new(false)).unwrap();
            assert!(
                checked
                    .iter()
                    .all(|entry| entry.problem.is_none() && entry.n_damaged == 0),
                "{checked:?}"
            );
        }
    };
    let is_enough = |round| {
        let is_enough = n_evicted.load(Ordering::Relaxed) >= N_EVICTIONS;
        round >= N_ROUNDS && (is_enough || start.elapsed() > Duration::from_mins(1))
    };
    let use_it = |thread: usize| {
        for round in (0..).take_while(|round| !is_enough(*round)) {
            let store = open(&dir);
            for number in [thread, round + 10] {
                if get(&store, number) == Lookup::Absent {
                    put(&store, number);
                }
                // Whatever other threads do, an open entry is not evicted.
                assert_eq!(get(&store, number), Lookup::Sound);
            }
            assert!(store.folder().join("about.toml").exists());
            drop(store);
            // The entry is closed now and then, so that it can be evicted.
            thread::sleep(Duration::from_millis(1));
        }
    };
    thread::scope(|scope| {
        let evictors = [scope.spawn(evict), scope.spawn(evict)];
        let users = [0, 1].map(|thread| scope.spawn(move || use_it(thread)));
        let results = users.map(thread::ScopedJoinHandle::join);
        is_done.store(true, Ordering::Relaxed);
        for result in results
            .into_iter()
            .chain(evictors.map(thread::ScopedJoinHandle::join))
        {
            result.unwrap();
        }
    });
    assert!(n_evicted.load(Ordering::Relaxed) >= N_EVICTIONS);
    prune(dir.path(), Prune::All, false).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
