//! What a newcomer types first: `init`, `schema`, `completions`.

use std::{fs, path::Path};

use crate::{
    program::{Case, read},
    voice::Transcript,
};

#[test]
fn init_writes_an_experiment_that_runs_and_never_over_one_that_is_there() {
    let case = Case::new("");
    let file = case.ok(&["init", "mine", "--root", "data"]);
    assert_eq!(file, "mine/experiment.toml");
    assert!(read(&case.path(&file)).starts_with("#:schema ./experiment.schema.json\n"));
    assert_eq!(
        read(&case.path("mine/experiment.schema.json")),
        case.ok(&["schema"]) + "\n"
    );
    let small = [
        "model.arch=vgg16_slim",
        "model.weights=drawings_v1",
        "transforms.resize=[32, 32]",
        "phase.head.epochs=1",
    ];
    let sets = small.iter().flat_map(|set| ["--set", set]);
    let args: Vec<&str> = std::iter::once(file.as_str()).chain(sets).collect();
    let run = case.ok(&args);
    assert!(run.ends_with("-experiment"), "{run}");
    case.fails(2, &["init", "mine"]);
}

#[test]
fn init_finds_classes_in_its_folder_and_overwrites_nothing_of_others() {
    let case = Case::new("");
    let experiment = |file: &str| read(&case.path(file)).parse::<toml::Table>().unwrap();
    let root = |file: &str| {
        experiment(file)["data"]["root"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // Nothing is written among the images.
    assert_eq!(case.ok(&["init", "data"]), "experiment.toml");
    assert_eq!(root("experiment.toml"), "data");
    let mut transcript = Transcript::new(&case);
    transcript.fails(&["init", "data/sub", "--root", "data"]);
    fs::remove_file(case.path("experiment.toml")).unwrap();
    assert_eq!(case.ok(&["init"]), "experiment.toml");
    assert_eq!(root("experiment.toml"), "data/PetImages");
    fs::create_dir(case.path("other")).unwrap();
    let foreign = case.path("other/experiment.schema.json");
    fs::write(&foreign, "{ \"title\": \"mine\" }").unwrap();
    transcript
        .fails(&["init", "other"])
        .is("start/files_of_others");
    assert!(!case.path("other/experiment.toml").exists());
    // One of another version is brought up to date.
    fs::write(&foreign, "{ \"title\": \"runner experiment\" }").unwrap();
    case.ok(&["init", "other"]);
    assert_eq!(read(&foreign), case.ok(&["schema"]) + "\n");
}

#[test]
fn the_shipped_schemas_are_the_program_s_and_every_experiment_and_sweep_names_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let case = Case::empty();
    // After a change of keys: runner schema > configs/experiment.schema.json
    assert_eq!(
        read(&root.join("configs/experiment.schema.json")),
        case.ok(&["schema"]) + "\n"
    );
    // After a change of keys: runner schema --sweep > configs/sweep.schema.json
    assert_eq!(
        read(&root.join("configs/sweep.schema.json")),
        case.ok(&["schema", "--sweep"]) + "\n"
    );
    for folder in ["configs", "configs/assets", "configs/sweeps"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let text = read(&path);
                let schema = text
                    .lines()
                    .next()
                    .unwrap()
                    .strip_prefix("#:schema ")
                    .unwrap();
                assert!(
                    path.parent().unwrap().join(schema).is_file(),
                    "{}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn every_shell_gets_completions() {
    let case = Case::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            case.ok(&["completions", shell]).contains("sweep"),
            "{shell}"
        );
    }
}

#[test]
fn a_shell_completes_runs_and_keys() {
    let case = Case::new("");
    let run = case.train(&[]);
    let runs = case.ok(&["words", "runs"]);
    let name = run.file_name().unwrap().to_str().unwrap();
    assert_eq!(runs.lines().collect::<Vec<_>>(), [name, "latest:small"]);
    let keys = case.ok(&["words", "keys"]);
    assert!(keys.lines().any(|key| key == "optimizer.lr="), "{keys}");
    assert!(
        case.ok(&["completions", "bash"])
            .contains("_runner_with_words")
    );
    let page = case.ok(&["man"]);
    assert!(page.contains("RUNNER EVALUATE"), "{page}");
}
