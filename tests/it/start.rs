//! What a newcomer types first: `init`, `schema`, `completions`.

use std::{fs, path::Path};

use crate::program::{Case, read};

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
    assert!(run.contains("-experiment"), "{run}");
    let error = case.fails(2, &["init", "mine"]);
    assert!(error.contains("is there already"), "{error}");
}

#[test]
fn the_shipped_schema_is_the_program_s_and_every_experiment_names_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let case = Case::empty();
    // After a change of keys: runner schema > configs/experiment.schema.json
    assert_eq!(
        read(&root.join("configs/experiment.schema.json")),
        case.ok(&["schema"]) + "\n"
    );
    for folder in ["configs", "configs/assets"] {
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
