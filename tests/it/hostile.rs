//! What strangers wrote: names and values that would steer a terminal, and a repository that would run their program.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
};

use crate::{
    program::{Case, read, read_toml},
    runs::json,
};

/// ESC, BEL, DEL, CSI as one letter of C1, and controls of bidirectional text.
const HOSTILE: &str = "x\u{1b}[2J\u{7}\u{7f}\u{9b}31m\u{202e}\u{2066}\u{200f}\u{61c}y";

/// The same for TOML, which takes some of the letters only as escapes.
const ESCAPED: &str =
    "x\\u001B[2J\\u0007\\u007F\\u009B31m\\u202E\\u2066\\u200F\\u061Cy \u{9b}\u{202e}\u{2066}";

fn is_harmful(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\t')
        || "\u{202e}\u{2066}\u{200f}\u{61c}".contains(letter)
}

fn check_is_harmless(args: &[&str], output: &Output) {
    for bytes in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(!text.contains(is_harmful), "{args:?}: {text:?}");
    }
}

fn check(case: &Case, args: &[&str]) -> Output {
    let output = case.command(args).stdin(Stdio::null()).output().unwrap();
    check_is_harmless(args, &output);
    output
}

/// A run directory whose every text is hostile.
fn hostile_run(case: &Case, name: &str) {
    let run = case.path("runs").join(name);
    fs::create_dir_all(&run).unwrap();
    let manifest = format!(
        "format = 1\nname = \"{ESCAPED}\"\nrunner_version = \"{ESCAPED}\"\ngit_commit = \"\"\ncommand = [\"{ESCAPED}\"]\n\
         started = \"{ESCAPED}\"\nhost = \"{ESCAPED}\"\nos = \"\"\ndevice = \"{ESCAPED}\"\nthreads = 2\n\
         classes = [\"{name}\", \"{ESCAPED}\"]\nn_train = 1\nn_valid = 1\nn_test = 0\ndata_sha256 = \"\"\nsplit_sha256 = \"\"\n\
         weights = \"{ESCAPED}\"\nweights_sha256 = \"\"\nfresh_parameters = []\n"
    );
    for (file, text) in [
        ("manifest.toml", manifest),
        ("source.toml", format!("# {HOSTILE}\n")),
        (
            "resolved.toml",
            format!("name = \"{ESCAPED}\"\n[data]\nroot = \"{name}{ESCAPED}\"\n"),
        ),
        (
            "status.toml",
            format!("state = \"failed\"\nreason = \"{ESCAPED}\"\nupdated = \"{ESCAPED}\"\n"),
        ),
        (
            "metrics.csv",
            format!(
                "epoch,phase,train_loss,train_accuracy,valid_loss,valid_accuracy\n1,{HOSTILE},1,0.5,1,0.5\n"
            ),
        ),
        (
            "changes.csv",
            format!("epoch,step,key,from,to\n1,1,{HOSTILE},{HOSTILE},{HOSTILE}\n"),
        ),
    ] {
        fs::write(run.join(file), text).unwrap();
    }
}

#[test]
fn no_command_lets_through_what_steers_a_terminal() {
    let case = Case::empty();
    let toml = format!("{HOSTILE}.toml");
    let good = format!(
        "name = \"a\"\ndata.root = \"{ESCAPED}\"\nmodel.arch = \"vgg16_slim\"\nmodel.weights = \"drawings_v1\"\n[[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"classifier\"]\n"
    );
    fs::write(case.path(&toml), &good).unwrap();
    let bad = format!(
        "name = \"{ESCAPED}\"\n\"{ESCAPED}\" = 1\ndevice = \"{ESCAPED}\"\nseed = \"{ESCAPED}\" # {HOSTILE}\n\
         init_from = \"latest:\"\nextends = \"{ESCAPED}\"\nfetch.mirror = \"{ESCAPED}\"\n[[phase]]\nname = \"{ESCAPED}\"\n"
    );
    fs::write(case.path("bad.toml"), bad).unwrap();
    fs::write(case.path("torn.toml"), format!("a = {HOSTILE}\n")).unwrap();
    let sweep = format!("base = \"{ESCAPED}.toml\"\n[axes]\n\"{ESCAPED}\" = [\"{ESCAPED}\"]\n");
    fs::write(case.path("sweep.toml"), sweep).unwrap();
    let sweep =
        format!("base = \"good.toml\"\n[axes]\ndata.root = [\"{ESCAPED}\", \"b{ESCAPED}\"]\n");
    fs::write(case.path("roots.toml"), sweep).unwrap();
    fs::write(case.path("good.toml"), good).unwrap();
    for name in ["a", "b"] {
        hostile_run(&case, &format!("{name}{HOSTILE}"));
    }
    let (run, other) = (format!("runs/a{HOSTILE}"), format!("runs/b{HOSTILE}"));
    let (set, name, root) = (
        format!("{HOSTILE}={HOSTILE}"),
        format!("name={HOSTILE}"),
        format!("data.root={HOSTILE}"),
    );
    let (folder, mirror) = (format!("new{HOSTILE}"), format!("ftp://{HOSTILE}"));
    let sample = ["sample-data", &folder, "--per-class", "1"];
    for command in ["train", "plan", "check", "config", "sweep", "fetch"] {
        let files = [
            &toml,
            "bad.toml",
            "torn.toml",
            "sweep.toml",
            "roots.toml",
            HOSTILE,
        ];
        for file in files {
            check(&case, &[command, file]);
        }
    }
    for command in ["train", "plan", "check", "config", "sweep"] {
        for set in [&set, &name, &root] {
            check(&case, &[command, "good.toml", "--set", set]);
        }
    }
    let mut all: Vec<Vec<&str>> = vec![
        vec!["config", &toml, "--origin", "--set", &root],
        vec!["evaluate", &run, "--split", HOSTILE],
        vec!["predict", &run, HOSTILE],
        vec!["predict", &run, HOSTILE, "-o", HOSTILE, "--top", HOSTILE],
        vec!["predict", &run, HOSTILE, "-o", HOSTILE, "--force"],
        vec!["predict", &run, HOSTILE, "--embeddings", HOSTILE],
        vec!["export", &run, HOSTILE, "--only", HOSTILE],
        vec!["export", &run, "out/m.onnx", "--card", "--force"],
        vec!["compare", &run, &other],
        vec!["compare", &run, &other, "--csv"],
        vec!["compare", &run, &other, "--markdown"],
        vec!["compare", &run, &other, "-o", HOSTILE],
        vec!["report", &run],
        vec!["report", &run, &other],
        vec!["report", &run, "-o", HOSTILE],
        vec!["list"],
        vec!["list", "--csv"],
        vec!["list", "--runs-dir", HOSTILE, "--name", HOSTILE],
        vec!["cache", "--dir", HOSTILE],
        vec!["cache", "verify", "--dir", HOSTILE],
        vec!["cache", "prune", "--dir", HOSTILE, "--max-gib", HOSTILE],
        vec!["fetch"],
        vec!["fetch", "--to", HOSTILE],
        vec!["fetch", "vgg16", "--mirror", &mirror],
        vec!["init", HOSTILE, "--root", HOSTILE],
        vec!["schema", HOSTILE],
        vec!["completions", HOSTILE],
        sample.to_vec(),
        sample.to_vec(),
        vec!["sample-data", HOSTILE, "--task", HOSTILE],
        vec![HOSTILE],
        vec!["--json", HOSTILE],
        vec!["train", "--flag", HOSTILE],
        vec!["help", HOSTILE],
    ];
    for word in [&run, HOSTILE, "latest:\u{1b}\u{9b}"] {
        let commands = ["resume", "evaluate", "show", "report", "rm"];
        all.push(vec!["predict", word, "data"]);
        all.push(vec!["explain", word, "data", "-o", "maps"]);
        all.extend(commands.map(|command| vec![command, word]));
        all.push(vec!["export", word, "a.safetensors"]);
    }
    for args in &all {
        check(&case, args);
        let with_json = [&["--json"], args.as_slice()].concat();
        check(&case, &with_json);
    }
    check(&case, &["rm", "--yes", &run, &other]);
}

#[test]
fn neither_do_images_and_variables() {
    let case = Case::empty();
    case.ok(&["sample-data", "photos", "--per-class", "1"]);
    let good = format!(
        "name = \"a\"\ndata.root = \"{ESCAPED}\"\nmodel.arch = \"vgg16_slim\"\nmodel.weights = \"drawings_v1\"\n[[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"classifier\"]\n"
    );
    fs::write(case.path("good.toml"), good).unwrap();
    let entries = fs::read_dir(case.path("photos")).unwrap();
    let mut folders = entries.map(|entry| entry.unwrap().path());
    let class = folders.find(|path| path.is_dir()).unwrap();
    fs::rename(&class, class.with_file_name(HOSTILE)).unwrap();
    fs::write(
        case.path("photos")
            .join(HOSTILE)
            .join(format!("{HOSTILE}.jpg")),
        "none",
    )
    .unwrap();
    for command in ["plan", "check", "train"] {
        check(&case, &[command, "good.toml", "--set", "data.root=photos"]);
    }
    for name in [format!("RUNNER_{HOSTILE}"), "RUNNER_NAME".to_owned()] {
        let args = ["config", "good.toml"];
        let output = case.command(&args).env(name, HOSTILE).output().unwrap();
        check_is_harmless(&args, &output);
    }
}

#[test]
fn a_config_with_controls_reads_back_as_it_was() {
    let case = Case::empty();
    let text = format!(
        "name = \"a\"\ndata.root = \"/{ESCAPED}\"\n[[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"classifier\"]\n"
    );
    fs::write(case.path("a.toml"), &text).unwrap();
    let table: toml::Table = case.ok(&["config", "a.toml"]).parse().unwrap();
    let expected: toml::Table = text.parse().unwrap();
    assert_eq!(table["data"]["root"], expected["data"]["root"]);
}

#[test]
fn a_sweep_runs_in_a_folder_whose_name_is_not_utf_8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let case = Case::new("");
    let folder = case.path("").join(OsStr::from_bytes(b"f\xff"));
    if fs::create_dir(&folder).is_err() {
        // This file system takes no such name.
        return;
    }
    for name in ["data", "small.toml"] {
        fs::rename(case.path(name), folder.join(name)).unwrap();
    }
    let sweep = "base = \"small.toml\"\n[set]\nphase.features24.epochs = 1\n[axes]\nphase.head.epochs = [1]\n";
    fs::write(folder.join("one.toml"), sweep).unwrap();
    let run = |args: &[&str]| {
        let output = case.command(args).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["sweep", "one.toml"]);
    let list = json(&run(&["sweep", "one.toml", "--dry-run", "--json"]));
    assert_eq!(list["trials"][0]["epochs"], 2);
    let trained = run(&["small.toml", "--set", "phase.head.epochs=1", "--quiet"]);
    run(&[
        "resume",
        trained.trim(),
        "--set",
        "phase.features24.epochs=3",
    ]);
}

/// A script that leaves a mark.
fn script(path: &Path, mark: &Path) {
    fs::write(path, format!("#!/bin/sh\ntouch '{}'\n", mark.display())).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_run_starts_no_program_of_the_repository_it_stands_in() {
    let case = Case::new("");
    let mark = case.path("mark");
    script(&case.path("git"), &mark);
    for folder in [".git/objects", ".git/refs/heads"] {
        fs::create_dir_all(case.path(folder)).unwrap();
    }
    let commit = "0123456789abcdef0123456789abcdef01234567";
    for (file, text) in [
        (".git/HEAD", "ref: refs/heads/main\n".to_owned()),
        (".git/refs/heads/main", format!("{commit}\n")),
        (
            ".git/config",
            format!(
                "[core]\nrepositoryformatversion = 0\nfsmonitor = {}\n",
                case.path("git").display()
            ),
        ),
    ] {
        fs::write(case.path(file), text).unwrap();
    }
    // An empty entry is the working directory.
    let path = format!(":{}", std::env::var("PATH").unwrap_or_default());
    let args = ["small.toml", "--set", "phase.head.epochs=1"];
    let output = case.command(&args).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!mark.exists());
    let run = case.only_run();
    let manifest = read_toml(&run.join("manifest.toml"));
    assert_eq!(manifest["git_commit"].as_str(), Some(commit));
    // Older versions recorded more.
    let older = read(&run.join("manifest.toml")) + "git_dirty = true\n";
    fs::write(run.join("manifest.toml"), older).unwrap();
    let shown = case.json(&["show", run.to_str().unwrap()]);
    assert_eq!(shown["manifest"]["git_commit"], commit);
}
