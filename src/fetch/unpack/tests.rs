//! Good archives, and archives that want to do harm.

use std::io::Cursor;

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::*;

use crate::error::Kind;

const LIMITS: Limits = Limits {
    files: 10,
    bytes: 1 << 20,
    entry_bytes: 1 << 19,
    ratio: 100,
};

/// A folder for an archive and what comes out of it.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new(archive: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.zip"), archive).unwrap();
        Self { folder }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("into")
    }

    fn unpack(&self) -> Result<Unpacked> {
        self.unpack_with(&|_, _| {}, &AtomicBool::new(false))
    }

    fn unpack_with(&self, progress: &dyn Fn(u64, u64), stop: &AtomicBool) -> Result<Unpacked> {
        let archive = self.folder.path().join("a.zip");
        unpack(&archive, &self.target(), &LIMITS, progress, stop)
    }

    /// Everything below the target folder, without the folders themselves.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.target()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.target()).unwrap().to_owned();
                    let name = name.to_str().unwrap().replace('\\', "/");
                    files.push((name, fs::read(path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }
}

/// Deflated files of these names.
fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The archive with other bytes of the same number, in both its headers.
fn patched(archive: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut archive = archive.to_vec();
    let places: Vec<usize> = (0..=archive.len() - from.len())
        .filter(|&place| archive[place..].starts_with(from))
        .collect();
    assert_eq!(places.len(), 2, "the local and the central header");
    for place in places {
        archive[place..place + to.len()].copy_from_slice(to);
    }
    archive
}

/// Sets two bytes in the first entry of the central directory, at `offset` from its signature.
fn with_central_field(mut archive: Vec<u8>, offset: usize, value: [u8; 2]) -> Vec<u8> {
    let place = archive
        .windows(4)
        .position(|bytes| bytes == b"PK\x01\x02")
        .unwrap();
    archive[place + offset..place + offset + 2].copy_from_slice(&value);
    archive
}

/// The archive is refused for `reason`, and not even the target folder is made.
fn check_refused(archive: &[u8], reason: &str) {
    let case = Case::new(archive);
    let text = case.unpack().unwrap_err().to_string();
    assert!(text.contains(reason), "{reason}: {text}");
    assert!(!case.target().exists(), "{reason}");
}

#[test]
fn a_good_archive_comes_out_as_it_went_in() {
    let large: Vec<u8> = (0..300_000_u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.add_directory("Pets/", stored).unwrap();
    zip.add_directory("Pets/Empty/", stored).unwrap();
    zip.start_file("Pets/Cat/0.jpg", stored.unix_permissions(0o777))
        .unwrap();
    zip.write_all(&large).unwrap();
    zip.start_file("readme[1].txt", SimpleFileOptions::default())
        .unwrap();
    zip.write_all(b"read me").unwrap();
    zip.start_file("Pets/Chat/\u{e9}t\u{e9}.jpg", stored)
        .unwrap();
    let case = Case::new(&zip.finish().unwrap().into_inner());
    let last = std::cell::Cell::new((0, 0));
    let unpacked = case
        .unpack_with(
            &|done, total| last.set((done, total)),
            &AtomicBool::new(false),
        )
        .unwrap();
    let expected = Unpacked {
        files: 3,
        bytes: 300_007,
    };
    assert_eq!(unpacked, expected);
    assert_eq!(last.get(), (300_007, 300_007));
    let files = case.files();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "Pets/Cat/0.jpg",
        "Pets/Chat/\u{e9}t\u{e9}.jpg",
        "readme[1].txt",
    ];
    assert_eq!(names, expected);
    assert!(files[0].1 == large);
    assert!(case.target().join("Pets/Empty").is_dir());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |name| {
            let path = case.target().join(name);
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode("Pets/Cat/0.jpg") & 0o111, 0);
        assert_eq!(mode("Pets/Cat") & 0o700, 0o700);
    }
    // The hidden folders are gone as well.
    assert_eq!(fs::read_dir(case.target()).unwrap().count(), 2);
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    for (to, reason) in [
        ("../evil", "leads out of the folder"),
        ("a/../bc", "leads out of the folder"),
        ("/etc/ev", "absolute path"),
        ("C:/evil", "has a drive"),
        ("..\\evil", "backslash"),
        ("a\\..\\bc", "backslash"),
        ("ev\0il.a", "control character"),
        ("ev\x1b[31", "control character"),
        ("a//evil", "an empty component"),
        ("./evils", "an empty component"),
        ("a/NUL.x", "name of a Windows device"),
        ("evil/a.", "name that Windows would change"),
        ("evil/a ", "name that Windows would change"),
    ] {
        let place = "x".repeat(to.len());
        let archive = zip_of(&[("good", b"good"), (&place, b"evil")]);
        check_refused(&patched(&archive, place.as_bytes(), to.as_bytes()), reason);
    }
}

#[test]
fn names_that_are_too_long_are_refused_before_they_cost_memory() {
    for name in ["x".repeat(256), "a/".repeat(30_000) + "x"] {
        let text = Case::new(&zip_of(&[(&name, b"1")])).unpack().unwrap_err();
        let text = text.to_string();
        assert!(text.contains("too long"), "{text}");
        assert!(text.len() < 600, "{text}");
    }
}

#[test]
fn names_that_are_not_utf_8_are_refused() {
    let archive = zip_of(&[("xxxx", b"evil")]);
    let archive = patched(&archive, b"xxxx", b"\xffabc");
    check_refused(&archive, "not plain UTF-8");
}

#[test]
fn links_and_special_files_are_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("link", "/etc", SimpleFileOptions::default())
        .unwrap();
    check_refused(&zip.finish().unwrap().into_inner(), "link");
    for kind in [0o010_000_u16, 0o020_000, 0o060_000, 0o120_000, 0o140_000] {
        let archive = zip_of(&[("pipe", b"evil")]);
        // The upper half of the external attributes.
        let mode = (kind | 0o644).to_le_bytes();
        check_refused(&with_central_field(archive, 40, mode), "special file");
    }
}

#[test]
fn encrypted_entries_are_refused() {
    let archive = zip_of(&[("secret", b"evil")]);
    let flagged = with_central_field(archive, 8, [1, 0]);
    check_refused(&flagged, "is encrypted");
}

#[test]
fn other_compressions_are_refused() {
    let archive = zip_of(&[("lzma", b"evil")]);
    let flagged = with_central_field(archive, 10, [14, 0]);
    check_refused(&flagged, "not supported");
}

#[test]
fn paths_that_would_be_the_same_file_are_refused() {
    let twice = zip_of(&[("one", b"1"), ("two", b"2")]);
    check_refused(&patched(&twice, b"two", b"one"), "same name");
    let cases: [&[(&str, &[u8])]; 4] = [
        &[("Cat/a.jpg", b"1"), ("Cat/A.jpg", b"2")],
        &[("Cat/a.jpg", b"1"), ("cat/b.jpg", b"2")],
        &[("cat", b"1"), ("cat/b.jpg", b"2")],
        &[("cat/b.jpg", b"1"), ("CAT", b"2")],
    ];
    for files in cases {
        check_refused(&zip_of(files), "would be the same file");
    }
}

#[test]
fn archives_beyond_the_limits_are_refused() {
    let zeros = vec![0; 10_000_000];
    check_refused(&zip_of(&[("bomb", &zeros)]), "has 10000000 bytes");
    let half = &zeros[..500_000];
    let three = [("a", half), ("b", half), ("c", half)];
    check_refused(&zip_of(&three), "would unpack to 1500000 bytes");
    check_refused(&zip_of(&three[..1]), "more than 100 times as many");
    let names: Vec<String> = (0..11).map(|index| format!("file{index}")).collect();
    let many: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), &b"x"[..]))
        .collect();
    check_refused(&zip_of(&many), "has 11 entries");
}

#[test]
fn a_file_with_more_or_fewer_bytes_than_declared_is_not_unpacked() {
    let bytes: Vec<u8> = (0..100_000_u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    let archive = zip_of(&[("first", b"good"), ("liar", &bytes)]);
    for declared in [10_u32, 100_001] {
        // The size is in the local header as well, but the directory is what counts.
        let lying = {
            let size = 100_000_u32.to_le_bytes();
            patched(&archive, &size, &declared.to_le_bytes())
        };
        let case = Case::new(&lying);
        let text = case.unpack().unwrap_err().to_string();
        assert!(text.contains("damaged zip archive: entry `liar`"), "{text}");
        assert_eq!(fs::read_dir(case.target()).unwrap().count(), 0);
    }
}

#[test]
fn damaged_bytes_are_noticed_by_their_checksum() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("a.txt", stored).unwrap();
    zip.write_all(b"original").unwrap();
    let mut archive = zip.finish().unwrap().into_inner();
    let place = archive
        .windows(8)
        .position(|bytes| bytes == b"original")
        .unwrap();
    archive[place] = b'O';
    let case = Case::new(&archive);
    let text = case.unpack().unwrap_err().to_string();
    assert!(text.contains("damaged"), "{text}");
    assert_eq!(fs::read_dir(case.target()).unwrap().count(), 0);
}

#[test]
fn what_is_no_archive_is_an_error() {
    for bytes in [
        &b""[..],
        b"<html>log in</html>",
        &zip_of(&[("a", b"1")])[..40],
    ] {
        check_refused(bytes, "invalid or damaged zip archive");
    }
}

#[test]
fn what_is_there_is_neither_overwritten_nor_merged() {
    let case = Case::new(&zip_of(&[("Pets/Cat/0.jpg", b"new"), ("readme", b"new")]));
    fs::create_dir_all(case.target().join("Pets")).unwrap();
    let text = case.unpack().unwrap_err().to_string();
    assert!(text.contains("exists already"), "{text}");
    assert!(case.files().is_empty());
}

#[test]
fn a_document_that_is_there_already_is_in_nobodys_way() {
    let case = Case::new(&zip_of(&[("Pets/0.jpg", b"new"), ("readme", b"the same")]));
    fs::create_dir_all(case.target()).unwrap();
    fs::write(case.target().join("readme"), "another!").unwrap();
    let text = case.unpack().unwrap_err().to_string();
    assert!(text.contains("readme` exists already"), "{text}");
    fs::write(case.target().join("readme"), "the same").unwrap();
    assert_eq!(case.unpack().unwrap(), Unpacked { files: 1, bytes: 3 });
    let names: Vec<String> = case.files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["Pets/0.jpg", "readme"]);
}

#[cfg(unix)]
#[test]
fn links_in_the_target_folder_are_not_followed() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "precious").unwrap();
    let nowhere = outside.path().join("nowhere");
    for (name, to) in [
        ("Pets", outside.path()),
        ("Pets", &nowhere),
        (".a.zip.unpacked", outside.path()),
    ] {
        let case = Case::new(&zip_of(&[("Pets/Cat/0.jpg", b"new")]));
        fs::create_dir_all(case.target()).unwrap();
        symlink(to, case.target().join(name)).unwrap();
        assert!(case.unpack().is_err(), "{name}");
    }
    // A link in the place of what an earlier try left goes; what it leads to stays.
    let case = Case::new(&zip_of(&[("Pets/Cat/0.jpg", b"new")]));
    fs::create_dir_all(case.target()).unwrap();
    symlink(outside.path(), case.target().join(".a.zip.unpacking")).unwrap();
    case.unpack().unwrap();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn an_interrupted_unpacking_leaves_nothing_and_the_next_one_starts_again() {
    let case = Case::new(&zip_of(&[("Pets/0.jpg", b"one"), ("Pets/1.jpg", b"two")]));
    let stop = AtomicBool::new(false);
    let outcome = case.unpack_with(&|_, _| stop.store(true, Ordering::Relaxed), &stop);
    assert!(matches!(outcome, Err(error) if error.kind() == Kind::Interrupted));
    assert_eq!(fs::read_dir(case.target()).unwrap().count(), 0);
    // The remains of a killed process.
    fs::create_dir_all(case.target().join(".a.zip.unpacking/Pets")).unwrap();
    fs::write(case.target().join(".a.zip.unpacking/Pets/0.jpg"), "o").unwrap();
    case.unpack().unwrap();
    assert_eq!(case.files().len(), 2);
    assert_eq!(case.files()[0].1, b"one");
}

#[test]
fn a_move_into_place_that_was_cut_short_is_finished() {
    let case = Case::new(&zip_of(&[("readme", b"one"), ("Pets/1.jpg", b"two")]));
    let unpacked = case.target().join(".a.zip.unpacked");
    fs::create_dir_all(unpacked.join("Pets")).unwrap();
    fs::write(unpacked.join("Pets/1.jpg"), "two").unwrap();
    fs::write(case.target().join("readme"), "one").unwrap();
    assert!(was_cut_short(
        &case.folder.path().join("a.zip"),
        &case.target()
    ));
    assert_eq!(case.unpack().unwrap().files, 2);
    let names: Vec<String> = case.files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(!unpacked.exists());
}

#[test]
fn an_archive_that_another_process_unpacks_is_left_alone() {
    let case = Case::new(&zip_of(&[("a", b"1")]));
    let other = File::open(case.folder.path().join("a.zip")).unwrap();
    other.try_lock().unwrap();
    let text = case.unpack().unwrap_err().to_string();
    assert!(text.contains("another process"), "{text}");
    drop(other);
    case.unpack().unwrap();
}
