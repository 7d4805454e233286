//! What a scan trusts of the one before, and what became of files since.

use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::disk::sealed::{Sealed, seal, unseal};

/// A scan far enough from now that the files just written are settled.
fn scan_later(data: &Data, memory: &TempDir) -> DatasetIndex {
    let now = SystemTime::now() + Duration::from_hours(1);
    scan_at(now, data, Some(memory.path()), &|_, _| ()).expect("it scans")
}

fn remembered_in(memory: &TempDir) -> PathBuf {
    let mut entries = fs::read_dir(memory.path()).expect("it lists");
    entries.next().expect("one").expect("it").path()
}

#[test]
fn a_second_scan_reads_only_what_changed() {
    let root = folder(&["a/x.png", "b/y.png", "b/words"]);
    let memory = tempfile::tempdir().expect("a folder can be made");
    let scan = |data: &Data| scan_later(data, &memory);
    let data = data(root.path());
    let first = scan(&data);
    assert_eq!(first.n_read, 3);
    assert_eq!(
        scan(&data),
        DatasetIndex {
            n_read: 0,
            ..first.clone()
        }
    );

    fs::write(root.path().join("b/z.png"), png()).expect("it can be written");
    fs::write(root.path().join("a/x.png"), [png(), vec![0]].concat()).expect("it can be written");
    let second = scan(&data);
    assert_eq!((second.n_read, second.images.len()), (2, 3));
    assert_ne!(second.hash, first.hash);
    assert_eq!(scan(&data).n_read, 0);
    // The limit decides which files decode.
    assert_eq!(
        scan(&Data {
            max_pixels: 999,
            ..data.clone()
        })
        .n_read,
        4
    );

    // A file that parses may still be damaged: with a wrong hash, every photo would seem to have changed.
    let path = remembered_in(&memory);
    let whole = fs::read_to_string(&path).expect("it can be read");
    let hash = &second.images[0].content_hash.to_string();
    let other = whole.replace(hash, &hash.chars().rev().collect::<String>());
    assert_ne!(other, whole);
    for damaged in ["{ damaged", &other, &whole[..whole.len() / 2], ""] {
        fs::write(&path, damaged).expect("it can be written");
        let again = scan(&data);
        assert_eq!((again.n_read, &again.hash), (4, &second.hash));
    }
    assert_eq!(scan(&data).n_read, 0);
}

#[test]
fn files_that_changed_just_now_are_read_again() {
    let root = folder(&["a/x.png", "b/y.png"]);
    let memory = tempfile::tempdir().expect("a folder can be made");
    let data = data(root.path());
    for _ in 0..2 {
        let index = scan(&data, Some(memory.path()), &|_, _| ()).expect("it scans");
        assert_eq!(index.n_read, 2);
    }
}

/// Replaces a file like `rsync -t`, `cp -p` and `unzip`.
#[cfg(unix)]
#[test]
fn a_file_replaced_by_one_of_the_same_size_and_time_is_read_again() {
    let root = folder(&["a/x.png", "b/y.png"]);
    let memory = tempfile::tempdir().expect("a folder can be made");
    let data = data(root.path());
    let path = root.path().join("a/x.png");
    let replace = |last: u8, is_in_place: bool| {
        let target = if is_in_place {
            path.clone()
        } else {
            root.path().join("new")
        };
        fs::write(&target, [png(), vec![last]].concat()).expect("it can be written");
        let file = fs::File::options().write(true).open(&target);
        let file = file.expect("it can be opened");
        let long_ago = SystemTime::UNIX_EPOCH - Duration::from_millis(1500);
        file.set_modified(long_ago).expect("it can be set");
        if !is_in_place {
            fs::rename(&target, &path).expect("it can be renamed");
        }
    };
    replace(0, true);
    let first = scan_later(&data, &memory);
    assert_eq!(scan_later(&data, &memory).n_read, 0);
    for is_in_place in [true, false] {
        // Until the clock of the file system ticks.
        let before = fs::metadata(&path)
            .map(|it| Stamp::of(&it))
            .expect("it is there");
        loop {
            replace(1, is_in_place);
            let now = fs::metadata(&path)
                .map(|it| Stamp::of(&it))
                .expect("it is there");
            if now != before {
                break;
            }
        }
        let second = scan_later(&data, &memory);
        assert_eq!(second.n_read, 1);
        assert_ne!(second.hash, first.hash);
    }
}

#[test]
fn a_photo_that_is_not_the_one_remembered_is_read_by_the_next_scan() {
    let root = folder(&["a/x.png", "b/y.png"]);
    let memory = tempfile::tempdir().expect("a folder can be made");
    let data = data(root.path());
    let index = scan_later(&data, &memory);
    // A file system without these times could leave other bytes under the same stamp.
    let path = remembered_in(&memory);
    let at = root.path().join("a/x.png");
    let mut bytes = png();
    *bytes.last_mut().expect("it has bytes") ^= 1;
    let before = fs::metadata(&at)
        .map(|it| Stamp::of(&it))
        .expect("it is there");
    fs::write(&at, &bytes).expect("it can be written");
    let now = fs::metadata(&at)
        .map(|it| Stamp::of(&it))
        .expect("it is there");
    let text = fs::read_to_string(&path).expect("it can be read");
    let stamp = |stamp| serde_json::to_string(&stamp).expect("it is JSON");
    let text = unseal(text.as_bytes(), Sealed::Always).expect("it is whole");
    let text = text.replace(&stamp(before), &stamp(now));
    fs::write(&path, seal(&text)).expect("it can be written");
    let trusted = scan_later(&data, &memory);
    assert_eq!((trusted.n_read, &trusted.hash), (0, &index.hash));

    assert!(trusted.read_photo(&trusted.images[1]).is_ok());
    let problem = trusted.read_photo(&trusted.images[0]);
    assert!(matches!(problem, Err(Unusable::Changed)), "{problem:?}");
    let again = scan_later(&data, &memory);
    assert_eq!(again.n_read, 1);
    assert_ne!(again.hash, index.hash);
}

#[cfg(unix)]
#[test]
fn what_became_a_pipe_or_huge_since_it_was_listed_holds_nobody_up() {
    let root = folder(&["a/x.png", "b/y.png"]);
    let data = data(root.path());
    let index = scan(&data, None, &|_, _| ()).expect("it scans");
    let listing = layout::list(&data).expect("it lists");
    let pipe = root.path().join("a/x.png");
    fs::remove_file(&pipe).expect("it can be removed");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    let found = read(&data, &listing.candidates[0]);
    assert!(matches!(found, ScannedFile::Unread(reason) if reason.contains("not a regular file")));
    let photo = index.read_photo(&index.images[0]);
    assert!(matches!(photo, Err(Unusable::Unreadable(_))), "{photo:?}");

    let file = fs::File::create(root.path().join("b/y.png")).expect("it can be made");
    // Holes only, but to read them would take all memory.
    file.set_len(1 << 40).expect("it can grow");
    let photo = index.read_photo(&index.images[1]);
    assert!(matches!(photo, Err(Unusable::Changed)), "{photo:?}");
    let (file, _) = photo::open(&root.path().join("b/y.png")).expect("it opens");
    assert!(matches!(photo::read_exactly(file, 10), Ok(None)));
}

#[test]
fn files_are_recalled_whatever_the_order_they_were_stored_in() {
    // In the order of the listing, files of a folder come before those of its subfolders, unlike in the order of names.
    let root = folder(&["a/z.png", "a/b/c.png", "b/y.png", "b/a/x.png"]);
    let memory = tempfile::tempdir().expect("a folder can be made");
    let data = data(root.path());
    let first = scan_later(&data, &memory);
    assert_eq!((first.n_read, first.images.len()), (4, 4));
    assert_eq!(scan_later(&data, &memory).n_read, 0);
    let path = remembered_in(&memory);
    scan_memory::forget(&path, "a/b/c.png").expect("it can be written");
    assert_eq!(scan_later(&data, &memory).n_read, 1);
}

#[test]
fn an_image_takes_little_memory() {
    // Memory holds a million of them for a million photos, and the verdicts beside them while it scans.
    assert!(size_of::<ImageEntry>() <= 96);
    assert!(size_of::<ScannedFile>() <= 112);
}
