//! Which files are predicted, and what becomes of those that cannot be.

use std::fs;

use super::{column, predict, table, with_stdin};
use crate::{program::Case, runs::text};

#[test]
fn files_folders_patterns_and_lists_give_the_same_rows() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run = text(&run);
    let (by_folder, _) = predict(&case, &[run, "data"]);
    let files = column(&by_folder, "file");
    assert_eq!(files.len(), 20);
    assert!(files.is_sorted() && files[0].starts_with("data/Cat/"));
    assert_eq!(predict(&case, &[run, "data/Cat", "data/Dog"]).0, by_folder);
    assert_eq!(predict(&case, &[run, "data/*"]).0, by_folder);
    assert_eq!(predict(&case, &[run, "data/*/*.*"]).0, by_folder);
    assert_eq!(predict(&case, &[run, "d*/**/*.*g"]).0, by_folder);
    let list = files.join("\r\n");
    let by_list = with_stdin(&case, &["predict", run, "-"], list.as_bytes());
    assert_eq!(table(&by_list.stdout), by_folder);
    let list = files.join("\0");
    let by_list = with_stdin(&case, &["predict", run, "-", "-0"], list.as_bytes());
    assert_eq!(table(&by_list.stdout), by_folder);
    // A file named twice has two rows.
    let (twice, _) = predict(&case, &[run, &files[0], &files[0]]);
    assert_eq!(twice[1], twice[2]);
}

#[test]
fn a_file_that_cannot_be_read_is_a_row_and_the_rest_is_there() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run = text(&run);
    let (fine, _) = predict(&case, &[run, "data/Cat"]);
    let png = fs::read(case.path(&column(&fine, "file")[0])).unwrap();
    fs::create_dir(case.path("new")).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(case.path("new").join(name), bytes).unwrap();
    write("a_cut.png", &png[..png.len() / 2]);
    write("b_empty.jpg", b"");
    write("c_text.jpg", b"no photo");
    write("d_fine", &png);
    write("e_notes.txt", b"no photo, and does not say so");
    write(".hidden.jpg", &png);
    let args = [
        "predict",
        run,
        "new",
        "gone.jpg",
        "*.tiff",
        "new/e_notes.txt",
    ];
    let output = case.says("predict/unreadable", &args);
    assert_eq!(output.status.code(), Some(1));
    let rows = table(&output.stdout);
    assert_eq!(
        column(&rows, "probability")[3],
        column(&fine, "probability")[0]
    );
    // The same as text for people and as JSON.
    let json = case.run(&[&["--json"], &args[..]].concat());
    let lines = String::from_utf8(json.stdout).unwrap();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(
        (last["event"].as_str(), last["code"].as_str()),
        (Some("error"), Some("io"))
    );
}

#[test]
fn true_classes_are_those_of_folders_and_only_where_there_are_some() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run = text(&run);
    let (known, _) = predict(&case, &[run, "data"]);
    let correct = column(&known, "correct");
    let classes = column(&known, "class")
        .into_iter()
        .zip(column(&known, "true_class"));
    for (correct, (class, truth)) in correct.iter().zip(classes) {
        assert_eq!(correct == "true", class == truth);
    }
    fs::rename(case.path("data"), case.path("Dog")).unwrap();
    fs::rename(case.path("Dog/Cat"), case.path("Dog/unsorted")).unwrap();
    let (by_root, _) = predict(&case, &[run, "Dog"]);
    assert!(
        column(&by_root, "true_class")
            .iter()
            .all(|class| class == "Dog")
    );
    fs::rename(case.path("Dog"), case.path("other")).unwrap();
    let (unknown, _) = predict(&case, &[run, "other/unsorted"]);
    assert_eq!(unknown[0], ["file", "class", "probability", "error"]);
    let (mixed, _) = predict(&case, &[run, "other"]);
    let truth = column(&mixed, "true_class");
    assert_eq!(truth.iter().filter(|class| *class == "Dog").count(), 10);
    assert_eq!(truth.iter().filter(|class| class.is_empty()).count(), 10);
    let (none, _) = predict(&case, &[run, "other", "--truth", "none"]);
    assert_eq!(none[0], unknown[0]);
    let (all, _) = predict(&case, &[run, "other/unsorted", "--truth", "folders"]);
    assert_eq!(all[0], known[0]);
}

#[cfg(unix)]
#[test]
fn hostile_names_do_no_harm_and_come_back_whole() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    let case = Case::new("");
    let run = case.train(&[]);
    let run = text(&run);
    let (fine, _) = predict(&case, &[run, "data/Cat"]);
    let png = fs::read(case.path(&column(&fine, "file")[0])).unwrap();
    fs::create_dir(case.path("new")).unwrap();
    let names = [
        "=cmd|'calc'!A0.png",
        "-rf.png",
        "a\nb,\"c\".png",
        "[1]*.png",
        "\u{1b}[31mred.png",
        "\u{202e}gnp.exe.png",
        "日本.png",
        "unknown",
    ];
    for name in names {
        fs::write(case.path("new").join(name), &png).unwrap();
    }
    let bad = OsStr::from_bytes(b"latin\xe9.png");
    fs::write(case.path("new").join(bad), &png).unwrap();
    let mut expected: Vec<String> = names.iter().map(|name| format!("new/{name}")).collect();
    expected.push("new/latin\u{fffd}.png".to_owned());
    expected.sort();
    for (file, args) in [("a.csv", &[][..]), ("a.jsonl", &["--force"])] {
        let args = [&["predict", run, "new", "-o", file], args].concat();
        let stderr = case.fails(1, &args);
        assert!(
            stderr.contains("1 of 9 files could not be read"),
            "{stderr}"
        );
    }
    let csv = table(&fs::read(case.path("a.csv")).unwrap());
    let unguarded = |name: String| name.strip_prefix('\'').map(str::to_owned).unwrap_or(name);
    let mut found: Vec<String> = column(&csv, "file").into_iter().map(unguarded).collect();
    found.sort();
    assert_eq!(found, expected);
    let json = fs::read_to_string(case.path("a.jsonl")).unwrap();
    let mut found: Vec<String> = json
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|row| row["file"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, expected);
    // A name that a pattern would match is a name first, and nothing steers the terminal.
    let (one, _) = predict(&case, &[run, "new/[1]*.png"]);
    assert_eq!(column(&one, "file"), ["new/[1]*.png"]);
    let output = case.run(&["predict", run, "new"]);
    let shown = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8(shown).unwrap();
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
}
