//! Scanning folders made for the purpose.

use std::{num::NonZeroUsize, sync::atomic::AtomicUsize, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::sealed::{Sealed, seal, unseal};

fn png() -> Vec<u8> {
    fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/images/rgb.png"
    ))
    .expect("the fixture is there")
}

fn data(root: &Path) -> Data {
    Data {
        root: root.to_owned(),
        batch_size: NonZeroUsize::MIN,
        workers: 0,
        max_pixels: 1_000_000,
        max_rejected_fraction: 1.0,
        exif_orientation: false,
    }
}

/// A folder with these files; names that end in `.png` hold an image, whatever else holds text.
fn folder(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().expect("it lies in the root")).expect("it can be made");
        let is_png = Path::new(file)
            .extension()
            .is_some_and(|extension| extension == "png");
        fs::write(path, if is_png { png() } else { b"text".to_vec() }).expect("it can be written");
    }
    folder
}

fn check_error(files: &[&str], expected: &str) {
    let folder = folder(files);
    let error = scan(&data(folder.path()), None, &|_, _| ()).expect_err("it must fail");
    let text = error.to_string();
    assert!(
        text.contains(expected) && text.contains("\nhelp: "),
        "{text}"
    );
}

fn files(index: &DatasetIndex) -> Vec<&str> {
    index
        .images
        .iter()
        .map(|image| image.file.as_str())
        .collect()
}

fn rejected(index: &DatasetIndex) -> Vec<(&str, &str)> {
    index
        .rejected
        .iter()
        .map(|r| (r.file.as_str(), r.reason.as_str()))
        .collect()
}

#[test]
fn images_come_by_class_then_folder_then_name() {
    let root = folder(&[
        "b/10.png",
        "b/9.png",
        "b/A.png",
        "a/z.png",
        "a/b/c.png",
        "a b/x.png",
    ]);
    let index = scan(&data(root.path()), None, &|_, _| ()).expect("it scans");
    assert_eq!(index.classes, ["a", "a b", "b"]);
    let expected = [
        "a/z.png",
        "a/b/c.png",
        "a b/x.png",
        "b/10.png",
        "b/9.png",
        "b/A.png",
    ];
    assert_eq!(files(&index), expected);
    assert_eq!(index.class_counts(), [2, 1, 3]);
}

#[test]
fn content_counts_not_the_name() {
    let root = folder(&["a/x.png", "b/y.png", "a/words.jpg"]);
    fs::write(root.path().join("b/image.txt"), png()).expect("it can be written");
    let index = scan(&data(root.path()), None, &|_, _| ()).expect("it scans");
    assert_eq!(files(&index), ["a/x.png", "b/image.txt", "b/y.png"]);
    assert_eq!(rejected(&index), [("a/words.jpg", "is not an image")]);
}

#[test]
fn litter_is_skipped_and_strangers_are_listed() {
    let root = folder(&[
        "a/x.png",
        "b/y.png",
        "a/.DS_Store",
        "a/Thumbs.db",
        ".git/z.png",
        "a/.ipynb_checkpoints/x.png",
        "a/@eaDir/x.png/THUMB.png",
        "lost+found/z.png",
        "readme",
    ]);
    fs::write(root.path().join("b/empty.png"), b"").expect("it can be written");
    let index = scan(&data(root.path()), None, &|_, _| ()).expect("it scans");
    let stray = ("readme", "lies beside the class folders, not in one");
    assert_eq!(rejected(&index), [("b/empty.png", "is empty"), stray]);
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_rejected_and_never_opened() {
    use std::os::unix::{ffi::OsStrExt, fs::symlink};

    let root = folder(&["a/x.png", "b/y.png"]);
    let at = |name: &str| root.path().join(name);
    symlink("nowhere", at("a/dangling.png")).expect("a link can be made");
    symlink("loop.png", at("a/loop.png")).expect("a link can be made");
    symlink("../a", at("a/up")).expect("a link can be made");
    // They lead to the other class too, whose photos would get this one's name.
    symlink("..", at("a/root")).expect("a link can be made");
    symlink("../..", at("a/above")).expect("a link can be made");
    symlink(".", at("c")).expect("a link can be made");
    symlink("/dev/zero", at("a/zero.png")).expect("a link can be made");
    symlink("../b/y.png", at("a/good.png")).expect("a link can be made");
    let _socket = std::os::unix::net::UnixListener::bind(at("a/socket")).expect("it can be made");
    let name = std::ffi::OsStr::from_bytes(b"a/\xff.png");
    fs::write(root.path().join(name), png()).expect("it can be written");
    let index = scan(&data(root.path()), None, &|_, _| ()).expect("it scans");
    assert_eq!(files(&index), ["a/good.png", "a/x.png", "b/y.png"]);
    let reasons = rejected(&index);
    assert_eq!(reasons.len(), 9, "{reasons:?}");
    for (file, expected) in [
        ("a/above", "is a link to a folder that contains it"),
        ("a/dangling.png", "is a link that leads nowhere"),
        ("a/loop.png", "is a link that leads nowhere"),
        ("a/root", "is a link to a folder that contains it"),
        ("a/socket", "is not a regular file"),
        ("a/up", "is a link to a folder that contains it"),
        ("a/zero.png", "is not a regular file"),
        ("a/\u{fffd}.png", "the name is not UTF-8"),
        ("c", "is a link to a folder that contains it"),
    ] {
        let found = reasons.iter().find(|(name, _)| *name == file);
        assert!(
            found.is_some_and(|(_, reason)| reason.starts_with(expected)),
            "{reasons:?}"
        );
    }
}

#[test]
fn a_root_that_cannot_be_used_says_why() {
    check_error(&[], "has no class folders");
    check_error(
        &["x.png", "y.png"],
        "images lie directly in it, in no class folder",
    );
    check_error(&["a/x.png"], "has only one class, `a`");
    check_error(
        &["a/x.png", "b/words"],
        "no readable image in class `b`\n  b/words: is not an image\n",
    );
    check_error(&["a/x.png", "b/\u{1b}[2J"], "b/\\u{1b}[2J: is not an image");
    let folder = folder(&["file"]);
    for (name, expected) in [("missing", "does not exist"), ("file", "is not a folder")] {
        let error = scan(&data(&folder.path().join(name)), None, &|_, _| ()).expect_err(name);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn too_many_rejected_files_are_an_error_that_lists_twenty() {
    let mut names = vec!["a/x.png".to_owned(), "b/y.png".to_owned()];
    names.extend((10..32).map(|i| format!("a/{i}.txt")));
    let root = folder(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut data = data(root.path());
    data.max_rejected_fraction = 22.0 / 24.0;
    assert!(scan(&data, None, &|_, _| ()).is_ok());
    data.max_rejected_fraction = 0.9;
    let text = scan(&data, None, &|_, _| ())
        .expect_err("22 of 24")
        .to_string();
    assert!(
        text.contains("22 of 24 files are not readable images"),
        "{text}"
    );
    assert!(
        text.contains("a/29.txt: is not an image\n  and 2 more\n"),
        "{text}"
    );
}

/// A scan far enough from now that the files just written are settled.
fn scan_later(data: &Data, memory: &TempDir) -> DatasetIndex {
    let now = SystemTime::now() + Duration::from_secs(3600);
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
    // What decodes depends on the limit.
    assert_eq!(
        scan(&Data {
            max_pixels: 999,
            ..data.clone()
        })
        .n_read,
        4
    );

    // What still parses may be damaged too: another hash would blame every photo.
    let path = remembered_in(&memory);
    let whole = fs::read_to_string(&path).expect("it can be read");
    let hash = &second.images[0].content_hash;
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

/// As `rsync -t`, `cp -p` and `unzip` replace files.
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
    // As a file system without these times would leave it: other bytes under the same stamp.
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
    let listing = walk::list(root.path()).expect("it lists");
    let pipe = root.path().join("a/x.png");
    fs::remove_file(&pipe).expect("it can be removed");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    let found = read(&data, &listing.candidates[0]);
    assert!(matches!(found, Found::Unread(reason) if reason.contains("not a regular file")));
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
fn memory_that_cannot_be_written_costs_no_scan() {
    let root = folder(&["a/x.png", "b/y.png", "readme"]);
    let no_folder = root.path().join("readme");
    let index = scan(&data(root.path()), Some(&no_folder), &|_, _| ()).expect("it scans");
    assert!(index.memory_problem.is_some());
}

#[test]
fn what_changes_under_the_scan_is_read_as_it_is_and_looked_at_again() {
    let root = folder(&["a/x.png", "b/y.png"]);
    let data = data(root.path());
    let listing = walk::list(root.path()).expect("it lists");
    let grown = [png(), vec![0; 100]].concat();
    fs::write(root.path().join("a/x.png"), &grown).expect("it can be written");
    fs::remove_file(root.path().join("b/y.png")).expect("it can be removed");
    let found = |at: usize| read(&data, &listing.candidates[at]);
    match found(0) {
        Found::Verdict(stamp, verdict) => {
            assert_eq!(verdict, Verdict::Image(hash::hex(&Sha256::digest(&grown))));
            assert_eq!(stamp.bytes, grown.len() as u64);
            assert_ne!(stamp, listing.candidates[0].stamp);
        }
        Found::Unread(reason) => panic!("{reason}"),
    }
    assert!(matches!(found(1), Found::Unread(reason) if reason.starts_with("cannot be read")));
}

#[test]
fn progress_hears_of_every_file() {
    let root = folder(&["a/x.png", "b/y.png", "b/words"]);
    let (calls, last) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let progress = |done, total| {
        assert_eq!(total, 3);
        calls.fetch_add(1, Ordering::Relaxed);
        last.fetch_max(done, Ordering::Relaxed);
    };
    scan(&data(root.path()), None, &progress).expect("it scans");
    assert_eq!((calls.into_inner(), last.into_inner()), (3, 3));
}
