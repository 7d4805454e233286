//! Experiment files, right and wrong, as `runner config` sees them. Knows only the binary and its files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::voice::{check, check_in};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn bad_configs() -> PathBuf {
    repository().join("tests/fixtures/bad_configs")
}

/// `runner config ..` with no variables but these.
fn config(directory: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RUNNER_")) {
        command.env_remove(name);
    }
    command
        .arg("config")
        .args(args)
        .envs(env.iter().copied())
        .env("NO_COLOR", "1")
        .current_dir(directory)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The resolved experiment of a file that must be right.
fn resolved(directory: &Path, args: &[&str], env: &[(&str, &str)]) -> toml::Table {
    let output = config(directory, args, env);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output).parse().unwrap()
}

/// Words behind `# args:` or `# env:` in the first lines of a fixture.
fn words<'a>(text: &'a str, what: &str) -> Vec<&'a str> {
    text.lines()
        .take_while(|line| line.starts_with('#'))
        .filter_map(|line| line.strip_prefix(what))
        .flat_map(str::split_whitespace)
        .collect()
}

/// A directory with an experiment that is right, and whatever else a test writes.
struct Case {
    directory: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let case = Self { directory };
        case.write(
            "base.toml",
            "[data]\nroot = \"photos\"\n[optimizer]\nlr = 2e-3\n\
             [[phase]]\nname = \"head\"\nepochs = 3\ntrainable = [\"classifier\"]\n\
             [[phase]]\nname = \"top\"\nepochs = 2\ntrainable = [\"all\"]\n",
        );
        case
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

#[test]
fn every_bad_config_is_refused_with_its_exact_text() {
    let directory = bad_configs();
    let mut names: Vec<String> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|it| it == "toml"))
        .collect();
    names.sort();
    assert!(names.len() >= 28, "fixtures are missing: {names:?}");
    for name in names {
        let text = fs::read_to_string(directory.join(&name)).unwrap();
        let mut args = vec![name.as_str()];
        args.extend(words(&text, "# args:"));
        let env: Vec<(&str, &str)> = words(&text, "# env:")
            .into_iter()
            .map(|pair| pair.split_once('=').unwrap())
            .collect();
        let output = config(&directory, &args, &env);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let stem = name.trim_end_matches(".toml");
        check_in("../fixtures/bad_configs", stem, &stderr(&output));
    }
}

#[test]
fn a_missing_file_names_the_nearest_one() {
    let output = config(&repository().join("configs"), &["headonly.toml"], &[]);
    assert_eq!(output.status.code(), Some(2));
    check("config/the_nearest_file", &stderr(&output));
}

#[test]
fn shipped_configs_are_right() {
    for entry in fs::read_dir(repository().join("configs")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            resolved(repository(), &[path.to_str().unwrap()], &[]);
        }
    }
}

#[test]
fn a_resolved_file_resolves_to_itself_anywhere() {
    let case = Case::new();
    let full = "extends = \"base.toml\"\ninit_from = \"runs/a\"\ndevice = \"cuda:1\"\n\
        [split]\nmethod = \"file\"\nfile = \"split.csv\"\n\
        [transforms]\nresize = [96, 128]\nnormalize = \"custom\"\nmean = [0.1, 0.2, 0.3]\nstd = [0.3, 0.2, 0.1]\n\
        [model]\narch = \"vgg16_bn\"\nweights = \"w/a.pth\"\nfresh = [\"classifier[6]\"]\nfrozen_batch_norm = \"train\"\n\
        [optimizer]\nkind = \"sgd\"\nmomentum = 0.9\nnesterov = true\n\
        [schedule]\nkind = \"cosine\"\nwarmup_epochs = 0.5\n\
        [training]\nclip_grad_norm = 1\n[early_stopping]\npatience = 2\n\
        [[phase]]\nname = \"a\"\nepochs = 2\ntrainable = [\"all\"]\n\
        lr_factors = { \"features\" = 0.1, \"classifier\" = 0.5, \"classifier[6]\" = 1 }\n\
        [phase.schedule]\nkind = \"step\"\nstep_epochs = 1\n\
        [[phase]]\nname = \"b\"\nepochs = 2\ntrainable = [\"all\"]\nkeep_optimizer = true\n";
    case.write("full.toml", full);
    for name in ["base.toml", "full.toml"] {
        let first = resolved(case.path(), &[name], &[]);
        case.write("resolved.toml", &first.to_string());
        let file = case.path().join("resolved.toml");
        let second = resolved(repository(), &[file.to_str().unwrap()], &[]);
        assert_eq!(first, second, "{name}");
    }
}

#[test]
fn set_beats_the_environment_beats_the_file_beats_what_it_extends() {
    let case = Case::new();
    case.write(
        "mine.toml",
        "extends = \"base.toml\"\n[optimizer]\nlr = 3e-3\n",
    );
    let lr = |args: &[&str], env: &[(&str, &str)]| {
        resolved(case.path(), args, env)["optimizer"]["lr"]
            .as_float()
            .unwrap()
    };
    let env = [("RUNNER_OPTIMIZER__LR", "4e-3")];
    assert_eq!(lr(&["base.toml"], &[]).to_bits(), 2e-3_f64.to_bits());
    assert_eq!(lr(&["mine.toml"], &[]).to_bits(), 3e-3_f64.to_bits());
    assert_eq!(lr(&["mine.toml"], &env).to_bits(), 4e-3_f64.to_bits());
    let set = ["mine.toml", "--set", "optimizer.lr=1"];
    assert_eq!(lr(&set, &env).to_bits(), 1_f64.to_bits());
}

#[test]
fn a_phase_is_set_by_its_name_and_the_others_stay() {
    let case = Case::new();
    let args = [
        "base.toml",
        "--set",
        "phase.top.epochs=7",
        "--set",
        "phase.top.schedule.kind=cosine",
    ];
    let table = resolved(case.path(), &args, &[("RUNNER_PHASE__HEAD__LR", "0.5")]);
    let phases = table["phase"].as_array().unwrap();
    assert_eq!(phases[0]["epochs"].as_integer(), Some(3));
    assert_eq!(phases[0]["lr"].as_float(), Some(0.5));
    assert_eq!(phases[1]["epochs"].as_integer(), Some(7));
    assert_eq!(phases[1]["schedule"]["kind"].as_str(), Some("cosine"));
}

#[test]
fn arrays_are_replaced_whole_and_tables_merge() {
    let case = Case::new();
    let mine = "extends = \"base.toml\"\n[data]\nbatch_size = 4\n\
        [[phase]]\nname = \"only\"\nepochs = 1\ntrainable = [\"classifier[6]\"]\n";
    case.write("mine.toml", mine);
    let table = resolved(case.path(), &["mine.toml"], &[]);
    assert_eq!(table["phase"].as_array().unwrap().len(), 1);
    assert_eq!(table["data"]["batch_size"].as_integer(), Some(4));
    let root = table["data"]["root"].as_str().unwrap();
    assert!(Path::new(root).ends_with("photos"));
}

#[test]
fn the_file_names_the_run_unless_it_says_otherwise() {
    let case = Case::new();
    assert_eq!(
        resolved(case.path(), &["base.toml"], &[])["name"].as_str(),
        Some("base")
    );
    let args = ["base.toml", "--set", "name=2024"];
    assert_eq!(
        resolved(case.path(), &args, &[])["name"].as_str(),
        Some("2024")
    );
}

#[test]
fn origin_names_the_layer_of_each_key() {
    let case = Case::new();
    let args = ["base.toml", "--origin", "--json", "--set", "seed=7"];
    let output = config(case.path(), &args, &[("RUNNER_DATA__WORKERS", "2")]);
    let answer: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let keys = answer["keys"].as_array().unwrap();
    for (key, value, origin) in [
        ("seed", "7", "--set seed=7"),
        ("data.workers", "2", "RUNNER_DATA__WORKERS=2"),
        ("data.batch_size", "16", "defaults"),
        ("phase.head.epochs", "3", "base.toml:7"),
        ("phase.head.lr", "0.002", "base.toml:4"),
    ] {
        let found = keys.iter().find(|it| it["key"] == key).unwrap();
        assert_eq!(found["value"], value, "{key}");
        assert_eq!(found["origin"], origin, "{key}");
    }
}

#[test]
fn the_defaults_are_a_template() {
    let defaults = stdout(&config(repository(), &["--defaults"], &[]));
    let case = Case::new();
    let text = defaults
        .replace("# root = ", "root = ")
        .replace("# [[phase]] ", "[[phase]] ");
    // The commented phase has a key that its first one may not have.
    let text = text
        .replace("# name = \"head\"", "name = \"head\"")
        .replace("# epochs = 10", "epochs = 10")
        .replace("# trainable = [", "trainable = [");
    case.write("copy.toml", &text);
    resolved(case.path(), &["copy.toml"], &[]);
}
