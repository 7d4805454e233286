//! Picture folders: drawn ones, broken files in them, and folders that are none.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    program::{Case, read, read_toml},
    voice::{Transcript, check},
};

/// The paths of a folder, by name.
fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The rows of a table, without its header.
fn rows(table: &Path) -> Vec<csv::StringRecord> {
    let mut reader = csv::Reader::from_path(table).unwrap();
    reader.records().map(Result::unwrap).collect()
}

#[test]
fn broken_files_are_rejected_with_reasons_and_left_alone() {
    let case = Case::new("");
    case.ok(&["sample-data", "mixed", "--per-class", "10", "--seed", "5"]);
    let before = fs::read(case.path("mixed/Cat/truncated.jpg")).unwrap();
    let set = ["--set", "data.root=mixed"];
    case.says("data/broken_files", &[&["small.toml"], &set[..]].concat());
    let run = case.train(&[&set[..], &["--set", "data.max_rejected_fraction=0.5"]].concat());
    check("data/rejected", &read(&run.join("rejected.csv")));
    // A PNG called .jpg is an image.
    let split = rows(&run.join("split.csv"));
    assert!(split.iter().any(|row| &row[0] == "Cat/png-named.jpg"));
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
    let photos = sorted(&case.path("data/Cat"));
    let (one, other) = (&photos[0], &photos[1]);
    let bytes = fs::read(one).unwrap();
    let time = fs::metadata(one).unwrap().modified().unwrap();
    fs::copy(other, one).unwrap();
    let file = fs::File::options().write(true).open(one).unwrap();
    file.set_modified(time).unwrap();
    let longer = ["--set", "phase.features24.epochs=3"];
    case.fails(3, &words);
    case.fails(3, &[&["resume", words[1]], &longer[..]].concat());
    fs::write(one, bytes).unwrap();
    case.ok(&words);

    let split = read(&run.join("split.csv"));
    let row = split.lines().find(|row| row.ends_with(",train")).unwrap();
    let moved = row.replace(",train", ",valid");
    let other = split.replace(row, &moved);
    fs::write(run.join("split.csv"), &other).unwrap();
    // It has a copy, which is read instead.
    case.ok(&words);
    fs::write(run.join("checkpoints/recipe/split.csv"), other).unwrap();
    case.says("data/a_damaged_split", &words);
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
    assert_eq!(&rows(&run.join("rejected.csv"))[0][0], "'@SUM(1)");
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
    case.says("data/classes_that_differ_in_case", &["check", "small.toml"]);
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
    case.fails(2, &["sample-data", "again"]);
}

/// The drawings of `Case::new` in other layouts.
fn moved(case: &Case, to: impl Fn(usize, &str, &str) -> String) {
    for class in ["Cat", "Dog"] {
        let names = sorted(&case.path("data").join(class));
        for (number, from) in names.iter().enumerate() {
            let name = from.file_name().unwrap().to_str().unwrap();
            let path = case.path(&to(number, class, name));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::copy(from, path).unwrap();
        }
    }
}

#[test]
fn train_and_val_folders_are_the_split_of_a_run() {
    let case = Case::new("");
    moved(&case, |number, class, name| {
        let part = if number % 3 == 0 { "val" } else { "train" };
        format!("wild/{part}/{class}/{name}")
    });
    let root = ["small.toml", "--set", "data.root=wild"];
    let run = case.train(&root[1..]);
    for row in rows(&run.join("split.csv")) {
        let is_valid = row[0].starts_with("val/");
        assert_eq!(&row[2], if is_valid { "valid" } else { "train" });
        assert!(["Cat", "Dog"].contains(&&row[1]), "{row:?}");
    }
    case.ok(&["evaluate", run.to_str().unwrap()]);
    // A fraction that nothing is drawn by is an error where it was typed.
    let fraction = [&["check"], &root[..], &["--set", "split.valid=0.3"]].concat();
    case.says("data/a_fraction_without_effect", &fraction);
    let random = ["--set", "split.valid=0.3", "--set", "split.method=random"];
    case.ok(&[&["check"], &root[..], &random[..]].concat());
}

#[test]
fn a_flat_folder_trains_with_a_pattern_and_with_a_table() {
    let case = Case::new("");
    moved(&case, |number, class, _| {
        format!("flat/{}.{number}.png", class.to_lowercase())
    });
    let check = ["check", "small.toml", "--set", "data.root=flat"];
    case.says("data/a_flat_folder", &check);
    let pattern = [
        "--set",
        "data.root=flat",
        "--set",
        "data.class_pattern=^(cat|dog)",
    ];
    let by_pattern = case.train(&pattern);
    let rows = sorted(&case.path("flat")).into_iter().map(|file| {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        format!("{name}\t{}\n", &name[..3])
    });
    let table = format!("file\tclass\n{}", rows.collect::<String>());
    fs::write(case.path("labels.tsv"), table).unwrap();
    let manifest = [
        "--set",
        "data.root=flat",
        "--set",
        "data.manifest=labels.tsv",
    ];
    let by_table = case.train(&[&manifest[..], &["--set", "name=table"]].concat());
    for table in ["split.csv", "predictions.csv"] {
        assert_eq!(read(&by_pattern.join(table)), read(&by_table.join(table)));
    }
    // The classes of a run are those of its table.
    let words = ["evaluate", by_table.to_str().unwrap()];
    case.ok(&words);
    let table = read(&case.path("labels.tsv")).replacen("\tcat", "\tdog", 1);
    fs::write(case.path("labels.tsv"), table).unwrap();
    case.says("data/another_class", &words);
}

#[test]
fn files_that_claim_nothing_are_ignored_and_copies_are_named() {
    let case = Case::new("");
    let image = sorted(&case.path("data/Cat")).remove(0);
    for number in 0..100 {
        fs::write(case.path(&format!("data/Cat/{number}.xml")), "<box>").unwrap();
    }
    fs::copy(&image, case.path("data/Dog/copy.png")).unwrap();
    let with = |set: &'static str| ["check", "small.toml", "--set", set];
    let mut transcript = Transcript::new(&case);
    transcript
        .run(&["check", "small.toml"])
        .fails(&with("data.duplicates=error"));
    // Over many seeds the copies would be parted.
    for seed in ["1", "2", "3", "4", "5", "6"] {
        let seed = format!("seed={seed}");
        let together = with("data.duplicates=together");
        transcript.run(&[&together[..], &["--set", &seed]].concat());
    }
    transcript.is("data/copies");
}

#[test]
fn an_override_without_effect_is_an_error() {
    let case = Case::new("");
    let file = read(&case.path("small.toml"));
    assert!(file.contains("lr ="), "each phase has its own");
    let mut transcript = Transcript::new(&case);
    for set in ["optimizer.lr=5", "optimizer.weight_decay=0.1"] {
        let own = [
            "--set",
            "phase.head.weight_decay=0",
            "--set",
            "phase.features24.weight_decay=0",
        ];
        let own = [
            &own[..],
            &[
                "--set",
                "phase.head.lr=1e-3",
                "--set",
                "phase.features24.lr=1e-5",
            ],
        ]
        .concat();
        transcript.fails(&[&["check", "small.toml", "--set", set], &own[..]].concat());
    }
    let mut command = case.command(&[
        "check",
        "small.toml",
        "--set",
        "phase.head.lr=1e-3",
        "--set",
        "phase.features24.lr=1e-5",
    ]);
    let output = command.env("RUNNER_OPTIMIZER__LR", "5").output().unwrap();
    transcript
        .output("RUNNER_OPTIMIZER__LR=5 runner check small.toml", &output)
        .is("data/overrides_without_effect");
}
