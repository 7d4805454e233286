//! Scanning folders made for the purpose.

mod memory;

use std::sync::atomic::AtomicUsize;

use tempfile::TempDir;

use super::*;
use crate::data::test_data as data;

fn png() -> Vec<u8> {
    fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/images/rgb.png"
    ))
    .expect("the fixture is there")
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
    assert_eq!(index.ignored, []);
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
    assert_eq!(rejected(&index), [("b/empty.png", "is empty")]);
    let stray = Rejected {
        file: "readme".to_owned(),
        reason: "lies beside the class folders, not in one".to_owned(),
    };
    assert_eq!(index.ignored, [stray]);
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
    let listed = index.rejected.iter().chain(&index.ignored);
    let reasons: Vec<_> = listed
        .map(|it| (it.file.as_str(), it.reason.as_str()))
        .collect();
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
        "the images lie directly in the data folder",
    );
    check_error(&["a/x.png"], "has only one class, `a`");
    check_error(
        &["a/x.png", "b/words"],
        "no readable image in class `b`\n  `b/words` is not an image\n",
    );
    check_error(
        &["a/x.png", "b/\u{1b}[2J"],
        "`b/\\u{1b}[2J` is not an image",
    );
    let folder = folder(&["file"]);
    for (name, expected) in [("missing", "does not exist"), ("file", "is not a folder")] {
        let error = scan(&data(&folder.path().join(name)), None, &|_, _| ()).expect_err(name);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn too_many_rejected_files_are_an_error_that_lists_twenty() {
    let mut names = vec!["a/x.png".to_owned(), "b/y.png".to_owned()];
    names.extend((10..32).map(|i| format!("a/{i}.jpg")));
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
        text.contains("`a/29.jpg` is not an image\n  and 2 more\n"),
        "{text}"
    );
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
    let listing = layout::list(&data).expect("it lists");
    let grown = [png(), vec![0; 100]].concat();
    fs::write(root.path().join("a/x.png"), &grown).expect("it can be written");
    fs::remove_file(root.path().join("b/y.png")).expect("it can be removed");
    let found = |at: usize| read(&data, &listing.candidates[at]);
    match found(0) {
        ScannedFile::Read(stamp, verdict) => {
            assert_eq!(verdict, ScanVerdict::Image(Sha256Hash::of(&grown)));
            assert_eq!(stamp.bytes, grown.len() as u64);
            assert_ne!(stamp, listing.candidates[0].stamp);
        }
        ScannedFile::Unread(reason) => panic!("{reason}"),
    }
    assert!(
        matches!(found(1), ScannedFile::Unread(reason) if reason.starts_with("cannot be read"))
    );
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
