//! Passwords and tokens in addresses: they are in no answer, no message and no file that a run or sweep leaves.

use std::{fs, path::Path, process::Output};

use crate::program::{Case, read, read_toml};

const PASSWORD: &str = "hunter2";
const TOKEN: &str = "s3cret";
const MIRROR: &str = "https://me:hunter2@example.org/files?token=s3cret";

fn has_secret(bytes: &[u8]) -> bool {
    let holds = |secret: &str| {
        bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes())
    };
    holds(PASSWORD) || holds(TOKEN)
}

fn check(args: &[&str], output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!has_secret(text.as_bytes()), "{args:?}: {text}");
    text.into_owned()
}

fn check_files(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check_files(&path);
        } else {
            let bytes = fs::read(&path).unwrap();
            assert!(!has_secret(&bytes), "{}", path.display());
        }
    }
}

#[test]
fn a_run_keeps_no_secret_of_the_mirror() {
    let case = Case::new("");
    let small = read(&case.path("small.toml"));
    let text = format!("fetch.mirror = \"{MIRROR}\" # was {MIRROR}\n{small}");
    fs::write(case.path("small.toml"), &text).unwrap();
    let set = format!("fetch.mirror={MIRROR}");
    let args = ["small.toml", "--set", &set, "--set", "phase.head.epochs=1"];
    let output = case
        .command(&args)
        .env("RUNNER_FETCH__MIRROR", MIRROR)
        .output()
        .unwrap();
    check(&args, &output);
    assert!(output.status.success(), "{output:?}");
    let run = case.only_run();
    check_files(&case.path("runs"));
    let source = read(&run.join("source.toml"));
    assert_eq!(source.lines().count(), text.lines().count());
    assert!(
        source.starts_with("fetch.mirror = \"https://***@example.org/files?token=***\""),
        "{source}"
    );
    let resolved = read(&run.join("resolved.toml"));
    assert!(!resolved.contains("mirror"), "{resolved}");
    // A run of an older version recorded the mirror, and goes on.
    let older = format!("{resolved}\n[fetch]\nmirror = \"{MIRROR}\"\n");
    fs::write(run.join("resolved.toml"), older).unwrap();
    let manifest =
        read(&run.join("manifest.toml")).replace("\"small.toml\"", &format!("\"{set}\""));
    fs::write(run.join("manifest.toml"), manifest).unwrap();
    let place = run.to_str().unwrap().to_owned();
    for args in [
        vec!["show", &place],
        vec!["show", &place, "--json"],
        vec!["compare", &place, &place],
        vec![
            "resume",
            &place,
            "--set",
            "phase.features24.epochs=3",
            "--set",
            &set,
        ],
    ] {
        check(&args, &case.run(&args));
    }
    assert_eq!(read_toml(&run.join("resolved.toml")).get("fetch"), None);
    let changes = read(&run.join("changes.csv"));
    assert!(
        changes.contains("features24.epochs") && !changes.contains("mirror"),
        "{changes}"
    );
}

#[test]
fn what_is_said_of_a_mirror_masks_its_secrets() {
    let case = Case::empty();
    let set = format!("fetch.mirror={MIRROR}");
    let bare = "fetch.mirror=me:hunter2@example.org";
    let good = "data.root = \"photos\"\n[[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"classifier\"]\n";
    fs::write(case.path("good.toml"), good).unwrap();
    fs::write(
        case.path("bad.toml"),
        format!("fetch.mirror = \"me:{PASSWORD}@example.org\"\n{good}"),
    )
    .unwrap();
    fs::write(
        case.path("torn.toml"),
        format!("fetch.mirror = \"{MIRROR}\\q\"\n"),
    )
    .unwrap();
    let sweep = format!("base = \"good.toml\"\n[axes]\nfetch.mirror = [\"{MIRROR}\"]\n");
    fs::write(case.path("sweep.toml"), sweep).unwrap();
    let url = "http://me:hunter2@127.0.0.1:9/files?token=s3cret";
    for args in [
        vec!["config", "good.toml", "--set", &set],
        vec!["config", "good.toml", "--set", &set, "--origin"],
        vec!["config", "good.toml", "--set", bare],
        vec!["config", "bad.toml"],
        vec!["config", "torn.toml"],
        vec!["sweep", "sweep.toml"],
        vec![
            "fetch",
            "vgg16",
            "--mirror",
            "ftp://me:hunter2@example.org?token=s3cret",
        ],
        vec!["fetch", "vgg16", "--mirror", "me:hunter2@example.org"],
        vec!["fetch", url],
        vec!["list", url],
    ] {
        let text = check(&args, &case.run(&args));
        assert!(text.contains("***"), "{args:?}: {text}");
    }
    let origin = case
        .command(&["config", "good.toml", "--origin"])
        .env("RUNNER_FETCH__MIRROR", MIRROR)
        .output()
        .unwrap();
    let text = check(&[], &origin);
    assert!(
        text.contains("# RUNNER_FETCH__MIRROR=https://***@example.org/files?token=***"),
        "{text}"
    );
}

#[test]
fn a_sweep_keeps_no_secret_of_the_mirror() {
    let case = Case::new("");
    let sweep = format!(
        "base = \"small.toml\"\n[set]\nfetch.mirror = \"{MIRROR}\"\nphase.features24.epochs = 1\n[axes]\nphase.head.epochs = [1]\n"
    );
    fs::write(case.path("one.toml"), sweep).unwrap();
    let set = format!("fetch.mirror={MIRROR}");
    let args = ["sweep", "one.toml", "--set", &set];
    let output = case.run(&args);
    check(&args, &output);
    assert!(output.status.success(), "{output:?}");
    check_files(&case.path("runs"));
    // With another mirror it is the same sweep, and there is nothing left to do.
    let list = case.json(&["sweep", "one.toml", "--dry-run"]);
    assert_eq!(list["trials"][0]["epochs"], 2);
}
