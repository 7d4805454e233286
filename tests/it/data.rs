//! Picture folders: drawn ones, broken files in them, and folders that are none.

use std::{collections::BTreeMap, ffi::OsString, fs};

use crate::program::{Case, read, read_toml};

#[test]
fn broken_files_are_rejected_with_reasons_and_left_alone() {
    let case = Case::new("");
    case.ok(&["sample-data", "mixed", "--per-class", "10", "--seed", "5"]);
    let before = fs::read(case.path("mixed/Cat/truncated.jpg")).unwrap();
    let set = ["--set", "data.root=mixed"];
    let error = case.fails(3, &[&["small.toml"], &set[..]].concat());
    assert!(
        error.contains("max_rejected_fraction") && error.contains("truncated.jpg"),
        "{error}"
    );
    let run = case.train(&[&set[..], &["--set", "data.max_rejected_fraction=0.5"]].concat());
    let rejected = read(&run.join("rejected.csv"));
    for file in [
        "Cat/archive.jpg",
        "Cat/empty.jpg",
        "Cat/notes.jpg",
        "Cat/truncated.jpg",
        "Dog/empty.jpg",
    ] {
        assert!(rejected.contains(file), "{file}: {rejected}");
    }
    // A PNG called .jpg is an image.
    assert!(!rejected.contains("png-named"));
    assert!(read(&run.join("split.csv")).contains("Cat/png-named.jpg"));
    assert_eq!(
        read_toml(&run.join("summary.toml"))["rejected"].as_integer(),
        Some(8)
    );
    assert_eq!(
        fs::read(case.path("mixed/Cat/truncated.jpg")).unwrap(),
        before
    );
}

#[test]
fn other_photos_or_another_split_than_the_run_began_with_are_not_evaluated() {
    let case = Case::new("");
    let run = case.train(&[]);
    let words = ["evaluate", run.to_str().unwrap()];
    case.ok(&words);
    let mut photos = fs::read_dir(case.path("data/Cat")).unwrap();
    let [one, other] = [(); 2].map(|()| photos.next().unwrap().unwrap().path());
    let bytes = fs::read(&one).unwrap();
    let time = fs::metadata(&one).unwrap().modified().unwrap();
    fs::copy(&other, &one).unwrap();
    let file = fs::File::options().write(true).open(&one).unwrap();
    file.set_modified(time).unwrap();
    for command in ["evaluate", "resume"] {
        let set = ["--set", "phase.features24.epochs=3"];
        let more = if command == "resume" { &set[..] } else { &[] };
        let error = case.fails(3, &[&[command, words[1]], more].concat());
        assert!(error.contains("the images are not those that"), "{error}");
    }
    fs::write(&one, bytes).unwrap();
    case.ok(&words);

    let split = read(&run.join("split.csv"));
    let row = split.lines().find(|row| row.ends_with(",train")).unwrap();
    let moved = row.replace(",train", ",valid");
    let other = split.replace(row, &moved);
    fs::write(run.join("split.csv"), &other).unwrap();
    // It has a copy, which is read instead.
    case.ok(&words);
    fs::write(run.join("checkpoints/recipe/split.csv"), other).unwrap();
    let error = case.fails(1, &words);
    assert!(error.contains("split.csv: is damaged"), "{error}");
}

/// A spreadsheet opens such a cell as a formula, and some formulas run programs.
fn is_formula(cell: &str) -> bool {
    cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err()
}

#[cfg(unix)]
#[test]
fn names_that_are_formulas_are_none_in_any_table_and_come_back_as_they_were() {
    let case = Case::new("");
    for (from, to) in [("Cat", "=cmd|'calc'!A0"), ("Dog", "-Dog, \"the\"\nsecond")] {
        fs::rename(case.path("data").join(from), case.path("data").join(to)).unwrap();
    }
    // Beside the first, so that only exact names tell them apart.
    let copy = case.path("data/'=cmd|'calc'!A0");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(case.path("data/=cmd|'calc'!A0")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    fs::write(case.path("data/@SUM(1)"), "beside the classes").unwrap();
    let run = case.train(&["--set", "split.test=0.2"]);
    let words = ["resume", run.to_str().unwrap()];
    // What is read back fits what is on the disk.
    let before = read(&run.join("confusion.csv"));
    fs::remove_file(run.join("summary.toml")).unwrap();
    case.ok(&words);
    assert_eq!(read(&run.join("confusion.csv")), before);
    let child = read(&case.path("small.toml")).replace(
        "name = \"small\"",
        "name = \"child\"\ninit_from = \"latest:small\"",
    );
    fs::write(case.path("child.toml"), child).unwrap();
    let sets = ["child.toml", "--set", "split.test=0.2"];
    let child = case.path(&case.ok(&sets));
    assert_eq!(read(&child.join("split.csv")), read(&run.join("split.csv")));
    let mut n_guarded = 0;
    for table in [
        "split",
        "rejected",
        "predictions",
        "confusion",
        "groups",
        "metrics",
        "steps",
    ] {
        let path = run.join(format!("{table}.csv"));
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_path(&path)
            .unwrap();
        for record in reader.records() {
            for cell in &record.unwrap() {
                assert!(!is_formula(cell), "{table}: {cell:?}");
                n_guarded += usize::from(cell.strip_prefix('\'').is_some_and(is_formula));
            }
        }
    }
    assert!(n_guarded > 40, "{n_guarded}");
    assert!(read(&run.join("rejected.csv")).contains("\n'@SUM(1),"));
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_among_the_images_hold_nothing_up() {
    let case = Case::new("");
    let cat = case.path("data/Cat");
    let pipe = format!("mkfifo '{}'", cat.join("pipe.jpg").display());
    let made = std::process::Command::new("sh")
        .args(["-c", &pipe])
        .status();
    assert!(made.unwrap().success());
    for (name, target) in [("zero.jpg", "/dev/zero"), ("up", "..")] {
        std::os::unix::fs::symlink(target, cat.join(name)).unwrap();
    }
    let run = case.train(&["--set", "data.max_rejected_fraction=0.5"]);
    assert_eq!(
        read(&run.join("rejected.csv")),
        "file,reason\nCat/pipe.jpg,is not a regular file\nCat/up,is a link to a folder that contains it\n\
         Cat/zero.jpg,is not a regular file\n"
    );
    assert_eq!(read(&run.join("split.csv")).lines().count(), 1 + 20);
}

// Other systems take the two folders for one.
#[cfg(target_os = "linux")]
#[test]
fn classes_that_differ_in_case_are_kept_apart_with_a_word_on_it() {
    let case = Case::new("");
    fs::rename(case.path("data/Dog"), case.path("data/cat")).unwrap();
    let output = case.run(&["check", "small.toml"]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("classes `Cat` and `cat` differ only"),
        "{text}"
    );
}

#[test]
fn drawings_are_the_same_bytes_every_time_and_never_overwrite() {
    let case = Case::new("");
    case.ok(&["sample-data", "again", "--per-class", "10", "--no-broken"]);
    let files = |folder: &str| -> BTreeMap<OsString, Vec<u8>> {
        let entries = fs::read_dir(case.path(folder)).unwrap().map(Result::unwrap);
        entries
            .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
            .collect()
    };
    for class in ["Cat", "Dog"] {
        let (first, second) = (
            files(&format!("data/{class}")),
            files(&format!("again/{class}")),
        );
        assert_eq!(first.len(), 10);
        assert!(first == second, "{class} differs");
    }
    assert!(case.fails(2, &["sample-data", "again"]).contains("again"));
}
