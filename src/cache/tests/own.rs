//! What is not this program's or this user's is never used, changed or removed, whatever its name.

use std::{
    fs::File,
    sync::atomic::AtomicBool,
    time::{Duration, SystemTime},
};

use super::*;
use crate::cache::{key::RecipeKey, lease, room::make_room_on};

/// Names that an entry could have, and entries that were taken away.
const NAMES: [&str; 4] = [
    "0123456789abcdef",
    "8646fe1a9b837241",
    ".0123456789abcdef.evicted-0123456789abcdef",
    ".0123456789abcdef.new-0123456789abcdef",
];

fn evict_all(dir: &Path, keep: &RecipeKey) {
    make_room_on(dir, 0, 1, (keep, Trust::All), |_| Some(0)).unwrap();
}

fn names_in(folder: &Path) -> Vec<String> {
    let paths = files(folder, "");
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(name).collect()
}

#[test]
fn what_only_has_the_name_of_an_entry_is_left_alone() {
    let dir = dir();
    for name in NAMES {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("thesis.tex"), "ten years of work").unwrap();
        // Other programs have such files too.
        fs::write(folder.join("in-use.lock"), "").unwrap();
        fs::write(folder.join("about.toml"), "title = \"thesis\"").unwrap();
    }
    fs::write(dir.path().join("fedcba9876543210"), "a file").unwrap();
    let before = names_in(dir.path());
    let error = Store::open(dir.path(), &recipe(), Trust::Own)
        .err()
        .unwrap();
    let error = error.to_string();
    assert!(
        error.contains("is not an entry of the activation cache"),
        "{error}"
    );
    assert!(obstacle(dir.path(), &recipe(), Trust::Own).is_some());
    assert!(
        Store::peek(dir.path(), &recipe(), Trust::Own)
            .unwrap()
            .is_none()
    );
    assert!(list(dir.path()).unwrap().is_empty());
    assert!(
        verify(dir.path(), |_, _| {}, &AtomicBool::new(false))
            .unwrap()
            .is_empty()
    );
    evict_all(dir.path(), &other_recipe(2).key());
    for dry_run in [true, false] {
        assert!(prune(dir.path(), Prune::All, dry_run).unwrap().is_empty());
    }
    assert_eq!(names_in(dir.path()), before);
    for name in NAMES {
        assert_eq!(files(&dir.path().join(name), "").len(), 3);
    }
}

#[test]
fn a_foreign_file_in_an_entry_stays_and_so_does_its_folder() {
    let (dir, folder) = with_three_items();
    let thesis = folder.join("thesis.tex");
    fs::write(&thesis, "ten years of work").unwrap();
    for dry_run in [true, false] {
        let pruned = prune(dir.path(), Prune::All, dry_run).unwrap();
        let problem = pruned[0].problem.as_ref().unwrap();
        assert!(problem.contains("thesis.tex"), "{problem}");
    }
    assert_eq!(
        names_in(&folder),
        ["about.toml", "in-use.lock", "thesis.tex"]
    );
    evict_all(dir.path(), &other_recipe(2).key());
    assert!(thesis.exists());
    // It is an entry as before, without items.
    assert_eq!(open(&dir).len(), 0);
    fs::remove_file(&thesis).unwrap();
    assert_eq!(
        prune(dir.path(), Prune::All, false).unwrap()[0].problem,
        None
    );
    assert!(!folder.exists());
}

#[cfg(unix)]
#[test]
fn what_a_link_points_to_is_not_removed() {
    let (dir, folder) = with_three_items();
    let moved = tempfile::tempdir().unwrap();
    let target = moved.path().join("entry");
    fs::rename(&folder, &target).unwrap();
    std::os::unix::fs::symlink(&target, &folder).unwrap();
    assert_eq!(open(&dir).len(), 3);
    assert!(prune(dir.path(), Prune::All, false).unwrap().is_empty());
    evict_all(dir.path(), &other_recipe(2).key());
    assert_eq!(open(&dir).len(), 3);
}

/// Checks the state after each step of creating or removing an entry, as if the process was killed there.
#[test]
fn what_a_killed_process_leaves_of_an_entry_can_be_removed() {
    let old = SystemTime::now() - Duration::from_hours(2);
    for n_files_left in 0..=4 {
        for name in ["new", "evicted", "damaged"] {
            let (dir, folder) = with_three_items();
            let left = dir
                .path()
                .join(format!(".{}.{name}-0123456789abcdef", &KEY[..16]));
            fs::rename(&folder, &left).unwrap();
            fs::write(left.join(".runner-tmp-abc"), "half").unwrap();
            // Made first and removed last.
            let order = ["in-use.lock", "about.toml"];
            let mut names = names_in(&left);
            names.sort_by_key(|name| order.iter().position(|it| it == name).unwrap_or(2));
            for name in names.split_off(n_files_left) {
                fs::remove_file(left.join(name)).unwrap();
            }
            File::open(&left).unwrap().set_modified(old).unwrap();
            let pruned = prune(dir.path(), Prune::ToSize(u64::MAX), false).unwrap();
            assert_eq!(pruned.len(), 1, "{name} {n_files_left}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}

#[test]
fn an_entry_in_the_making_is_not_taken_for_the_rest_of_one() {
    let (dir, folder) = with_three_items();
    let name = format!(".{}.new-0123456789abcdef", &KEY[..16]);
    fs::rename(&folder, dir.path().join(name)).unwrap();
    assert!(list(dir.path()).unwrap().is_empty());
    assert!(prune(dir.path(), Prune::All, false).unwrap().is_empty());
}

/// Entries of another user, who can only be made by root. The first has all its files, the second only the folder, of the
/// third the folder is ours.
#[cfg(unix)]
#[test]
fn entries_of_others_are_used_only_if_they_are_trusted_and_never_changed() {
    use std::os::unix::fs::chown;
    const OTHER: u32 = 54_321;
    let can_give_away = {
        let probe = tempfile::NamedTempFile::new().unwrap();
        chown(probe.path(), Some(OTHER), None).is_ok()
    };
    if !can_give_away {
        return;
    }
    let give = |path: &Path| chown(path, Some(OTHER), None).unwrap();
    let all_of = |folder: &Path| files(folder, "").iter().for_each(|path| give(path));
    let owned = || {
        let (dir, folder) = with_three_items();
        all_of(&folder);
        give(&folder);
        (dir, folder)
    };
    let (dir, folder) = owned();
    let before = names_in(&folder);
    let error = Store::open(dir.path(), &recipe(), Trust::Own)
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("belongs to another user (54321)")
    );
    assert!(obstacle(dir.path(), &recipe(), Trust::Own).is_some());
    assert!(obstacle(dir.path(), &recipe(), Trust::All).is_none());
    assert!(
        Store::peek(dir.path(), &recipe(), Trust::Own)
            .unwrap()
            .is_none()
    );
    assert_eq!(list(dir.path()).unwrap()[0].owner, Some(OTHER));
    assert!(
        verify(dir.path(), |_, _| {}, &AtomicBool::new(false))
            .unwrap()
            .is_empty()
    );
    assert!(prune(dir.path(), Prune::All, false).unwrap().is_empty());
    let room = make_room_on(
        dir.path(),
        0,
        1,
        (&other_recipe(2).key(), Trust::Own),
        |_| None,
    );
    assert_eq!(room.unwrap().used_bytes, 0);
    assert_eq!(names_in(&folder), before);
    assert_eq!(
        Store::open(dir.path(), &recipe(), Trust::All)
            .unwrap()
            .len(),
        3
    );

    // Somebody else's files in one's own folder are not read either.
    for ending in [".act", ".idx"] {
        let (dir, folder) = with_three_items();
        give(&file(&folder, ending));
        let store = open(&dir);
        (0..3).for_each(|number| assert_ne!(get(&store, number), Lookup::Sound));
        (0..3).for_each(|number| put(&store, number));
        (0..3).for_each(|number| assert_eq!(get(&store, number), Lookup::Sound));
    }
    let (dir, folder) = with_three_items();
    all_of(&folder);
    assert!(Store::open(dir.path(), &recipe(), Trust::Own).is_err());
}

#[test]
fn an_entry_that_somebody_has_locked_is_an_error_and_not_a_wait_for_ever() {
    let (dir, folder) = with_three_items();
    let lock = File::open(folder.join("in-use.lock")).unwrap();
    lock.lock().unwrap();
    let patience = Duration::from_millis(20);
    let taken = lease::Lease::take_within(patience, &folder, Trust::Own, &|_| Ok(()));
    let error = taken.err().unwrap().to_string();
    assert!(
        error.contains("another process has locked `in-use.lock`"),
        "{error}"
    );
    assert!(prune(dir.path(), Prune::All, false).unwrap().is_empty());
}
