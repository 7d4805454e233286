//! What runs, starts, removals and exports leave where they are stopped, and what they must leave alone.

use std::fs;

use crate::{
    program::{Case, read},
    runs::text,
    voice::Transcript,
};

#[test]
fn rm_keeps_what_a_run_in_another_folder_began_with() {
    let case = Case::new("");
    let parent = case.train(&[]);
    let child = read(&case.path("small.toml")).replace(
        "name = \"small\"",
        &format!("name = \"child\"\ninit_from = \"{}\"", text(&parent)),
    );
    fs::write(case.path("child.toml"), child).unwrap();
    let child = case.path(&case.ok(&["child.toml", "--set", "runs_dir=elsewhere/deep"]));
    case.says("remains/a_child_elsewhere", &["rm", "--yes", text(&parent)]);
    // Named with it, or gone, it is no obstacle.
    fs::remove_dir_all(&child).unwrap();
    case.ok(&["rm", "--yes", text(&parent)]);
    assert!(!parent.exists());
}

#[test]
fn what_a_killed_start_leaves_is_listed_and_can_be_removed() {
    let case = Case::new("");
    let left = case.path("runs/20261123-101502-small");
    fs::create_dir_all(left.join("checkpoints")).unwrap();
    fs::write(left.join("run.log"), "").unwrap();
    fs::write(left.join("source.toml"), "").unwrap();
    Transcript::new(&case)
        .run(&["list"])
        .fails(&["rm", "20261123-101502-small"])
        .is("remains/an_incomplete_run");
    fs::write(left.join("thesis.tex"), "ten years of work").unwrap();
    case.fails(2, &["rm", "--yes", "20261123-101502-small"]);
    fs::remove_file(left.join("thesis.tex")).unwrap();
    case.ok(&["rm", "--yes", "20261123-101502-small"]);
    assert!(!left.exists());
}

#[test]
fn what_is_left_of_a_removal_is_no_run() {
    let case = Case::new("");
    let run = case.train(&[]);
    fs::rename(run, case.path("runs/.removing-run")).unwrap();
    let mut transcript = Transcript::new(&case);
    for word in ["latest:small", "runs/*", "*"] {
        transcript.fails(&["show", word]);
    }
    transcript.run(&["list"]).is("remains/of_a_removal");
    // The next removal ends it, but nothing that only has such a name.
    let thesis = case.path("runs/.removing-duplicates/thesis.tex");
    fs::create_dir(thesis.parent().unwrap()).unwrap();
    fs::write(&thesis, "ten years of work").unwrap();
    let other = case.train(&[]);
    let taken = format!(".removing-{}", other.file_name().unwrap().to_str().unwrap());
    fs::create_dir(case.path("runs").join(&taken)).unwrap();
    fs::write(case.path("runs").join(&taken).join("notes.txt"), "mine").unwrap();
    case.ok(&["rm", "--yes", other.to_str().unwrap()]);
    assert!(!case.path("runs/.removing-run").exists());
    assert!(!other.exists());
    assert!(thesis.exists() && case.path("runs").join(&taken).join("notes.txt").exists());
}

#[cfg(unix)]
#[test]
fn an_export_that_is_killed_leaves_nothing_under_its_name() {
    let case = Case::new("");
    let run = case.train(&[]);
    let runner = env!("CARGO_BIN_EXE_runner");
    // The system ends a process that writes a larger file.
    let script = format!(
        "ulimit -f 8; exec '{runner}' export '{}' m.safetensors",
        text(&run)
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).current_dir(case.path(""));
    assert!(!shell.output().unwrap().status.success());
    assert!(!case.path("m.safetensors").exists());
    let names = || -> Vec<String> {
        let entries = fs::read_dir(case.path("")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| name.starts_with(".runner-tmp-"))
            .collect()
    };
    // The next export clears what is old enough to be nobody's.
    for name in names() {
        let file = fs::File::options().write(true).open(case.path(&name));
        let old = std::time::SystemTime::now() - std::time::Duration::from_hours(2);
        file.unwrap().set_modified(old).unwrap();
    }
    case.ok(&["export", text(&run), "m.safetensors"]);
    assert!(case.path("m.safetensors").is_file());
    assert_eq!(names(), [""; 0]);
}
