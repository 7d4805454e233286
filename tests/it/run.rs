//! A whole run: what it leaves, what it repeats, and what it says.

use std::fs;

use crate::{
    program::{Case, column, metrics, read, read_toml, weights},
    voice::Transcript,
};

#[test]
fn a_run_leaves_every_file_and_its_directory_on_stdout() {
    let case = Case::new("");
    let run = case.train(&[]);
    let mut files: Vec<String> = fs::read_dir(&run)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = [
        "checkpoints",
        "confusion.csv",
        "confusion.png",
        "curves.png",
        "groups.csv",
        "manifest.toml",
        "metrics.csv",
        "mistakes.png",
        "predictions.csv",
        "predictions.png",
        "rejected.csv",
        "resolved.toml",
        "run.log",
        "source.toml",
        "split.csv",
        "status.toml",
        "steps.csv",
        "summary.toml",
    ];
    assert_eq!(files, expected);
    assert_eq!(
        read(&run.join("source.toml")),
        read(&case.path("small.toml"))
    );
    assert_eq!(
        read_toml(&run.join("status.toml"))["state"].as_str(),
        Some("finished")
    );
    assert_eq!(column(&run, "epoch"), ["1", "2", "3", "4"]);
    assert_eq!(
        column(&run, "phase"),
        ["head", "head", "features24", "features24"]
    );
    assert_eq!(column(&run, "images"), ["15"; 4]);
    // 15 images in batches of 4 are 4 steps an epoch.
    assert_eq!(read(&run.join("steps.csv")).lines().count(), 1 + 16);
    assert_eq!(read(&run.join("predictions.csv")).lines().count(), 1 + 5);
    assert_eq!(read(&run.join("split.csv")).lines().count(), 1 + 20);
    assert_eq!(read(&run.join("rejected.csv")), "file,reason\n");
    for file in ["checkpoints/best", "checkpoints/last"] {
        for part in ["model.safetensors", "state.toml"] {
            assert!(run.join(file).join(part).is_file(), "{file}/{part}");
        }
    }
    // Of the optimizer's state only going on has need.
    let optimizer = |which: &str| {
        run.join("checkpoints")
            .join(which)
            .join("optimizer.safetensors")
    };
    assert!(optimizer("last").is_file() && !optimizer("best").exists());
}

#[test]
fn the_resolved_file_repeats_the_run_at_any_number_of_workers() {
    let case = Case::new("");
    let first = case.train(&[]);
    let resolved = first.join("resolved.toml");
    let second = case.path(&case.ok(&[resolved.to_str().unwrap(), "--set", "data.workers=3"]));
    assert_ne!(first, second);
    assert_eq!(metrics(&first), metrics(&second));
    assert_eq!(
        read(&first.join("steps.csv")),
        read(&second.join("steps.csv"))
    );
    assert_eq!(weights(&first, "last"), weights(&second, "last"));
    let other = case.train(&["--set", "seed=43"]);
    assert_ne!(metrics(&first), metrics(&other));
}

#[test]
fn evaluate_gives_the_number_of_the_best_epoch() {
    let case = Case::new("");
    let run = case.train(&["--set", "split.test=0.2"]);
    let answer = case.json(&["evaluate", "latest:small"]);
    let summary = read_toml(&run.join("summary.toml"));
    assert_eq!(
        answer["loss"].as_f64(),
        summary["best"]["valid_loss"].as_float()
    );
    assert_eq!(
        answer["accuracy"].as_f64(),
        summary["best"]["valid_accuracy"].as_float()
    );
    let answer = case.json(&["evaluate", run.to_str().unwrap(), "--split", "test"]);
    assert_eq!(answer["loss"].as_f64(), summary["test"]["loss"].as_float());
}

#[test]
fn init_from_goes_on_with_the_best_checkpoint_and_its_split() {
    let case = Case::new("");
    let parent = case.train(&["--set", "phase.features24.epochs=1"]);
    let text = read(&case.path("small.toml")).replace(
        "name = \"small\"",
        "name = \"child\"\ninit_from = \"latest:small\"",
    );
    fs::write(case.path("child.toml"), text).unwrap();
    // Another seed would split otherwise.
    let child = case.path(&case.ok(&["child.toml", "--set", "seed=7"]));
    assert_eq!(
        read(&parent.join("split.csv")),
        read(&child.join("split.csv"))
    );
    let manifest = read_toml(&child.join("manifest.toml"));
    assert!(parent.ends_with(manifest["parent"]["run"].as_str().unwrap()));
    let other = [
        "child.toml",
        "--set",
        "split.valid=0.5",
        "--set",
        "name=other",
    ];
    Transcript::new(&case)
        .fails(&other)
        .run(&[&other[..], &["--set", "allow_other_split=true"]].concat())
        .is("run/another_split_than_the_parent");
    case.fails(2, &["child.toml", "--set", "init_from=latest:nobody"]);
}

#[test]
fn export_writes_the_chosen_parameters_under_torchvision_s_names() {
    let case = Case::new("");
    let run = case.train(&[]);
    case.ok(&[
        "export",
        run.to_str().unwrap(),
        "features.safetensors",
        "--only",
        "features",
    ]);
    let bytes = fs::read(case.path("features.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 26);
    assert_eq!(
        file.tensor("features.0.weight").unwrap().shape(),
        [8, 3, 3, 3]
    );
    let run = run.to_str().unwrap();
    case.says(
        "run/export_over_a_file",
        &["export", run, "features.safetensors"],
    );
    case.ok(&["export", run, "features.safetensors", "--force"]);
    assert!(fs::read(case.path("features.safetensors")).unwrap().len() > bytes.len());
}

#[test]
fn export_refuses_formats_that_it_does_not_write() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run = run.to_str().unwrap();
    let mut transcript = Transcript::new(&case);
    for name in ["model.pth", "model.pt", "model.SAFETENSORS", "model"] {
        transcript.fails(&["export", run, name]);
        assert!(!case.path(name).exists());
    }
    transcript.is("run/export_formats");
}

#[test]
fn an_export_says_how_the_model_is_used() {
    let case = Case::new("");
    let run = case.train(&[]);
    let export = |name: &str| {
        case.ok(&["export", run.to_str().unwrap(), name]);
        fs::read(case.path(name)).unwrap()
    };
    let bytes = export("model.safetensors");
    assert!(bytes == export("again.safetensors"));
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    let manifest = read_toml(&run.join("manifest.toml"));
    let summary = read_toml(&run.join("summary.toml"));
    let epoch = summary["best"]["epoch"].to_string();
    for (key, value) in [
        ("format", "pt"),
        ("arch", "vgg16_slim"),
        ("classes", r#"["Cat","Dog"]"#),
        ("input_size", "[32,32]"),
        ("mean", "[0.485,0.456,0.406]"),
        ("std", "[0.229,0.224,0.225]"),
        ("resize", "stretch to input_size, bilinear, antialiased"),
        ("interpolation", "bilinear"),
        ("runner_version", env!("CARGO_PKG_VERSION")),
        ("run", run.file_name().unwrap().to_str().unwrap()),
        ("checkpoint", "best"),
        ("epoch", &epoch),
        (
            "weights_sha256",
            manifest["weights_sha256"].as_str().unwrap(),
        ),
    ] {
        assert_eq!(metadata[key], value, "{key}");
    }
    assert_eq!(metadata["model_sha256"].len(), 64);
}

#[test]
fn early_stopping_ends_the_phase() {
    let case = Case::new("");
    // Nothing improves on a rate of nothing.
    let run = case.train(&[
        "--set",
        "early_stopping.patience=1",
        "--set",
        "phase.head.epochs=6",
        "--set",
        "phase.head.lr=1e-30",
    ]);
    assert_eq!(column(&run, "phase")[..3], ["head", "head", "features24"]);
    let summary = read_toml(&run.join("summary.toml"));
    assert_eq!(
        summary["stopped_early"].as_array().unwrap()[0].as_str(),
        Some("head")
    );
}

#[test]
fn json_is_one_object_per_line_and_quiet_is_the_answer_alone() {
    let case = Case::new("");
    let output = case.run(&["small.toml", "--json"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let events: Vec<serde_json::Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        events
            .iter()
            .filter(|event| event["event"] == "epoch")
            .count(),
        4
    );
    assert_eq!(events.last().unwrap()["event"], "finished");
    assert!(output.stderr.is_empty());
    let output = case.run(&["--quiet", "small.toml"]);
    assert!(output.stderr.is_empty());
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
}

#[test]
fn plan_and_check_train_nothing() {
    let case = Case::new("");
    case.says(
        "run/a_plan_with_a_cosine",
        &["plan", "small.toml", "--set", "schedule.kind=cosine"],
    );
    let ready = case.json(&["check", "small.toml"]);
    let counts = ["n_train", "n_valid", "n_test"].map(|key| ready[key].as_u64());
    assert_eq!(counts, [Some(15), Some(5), Some(0)]);
    assert!(!case.path("runs").exists());
}

#[test]
fn a_loss_that_is_no_number_fails_the_run() {
    let case = Case::new("");
    case.fails(1, &["small.toml", "--set", "phase.head.lr=1e30"]);
    let run = case.only_run();
    let status = read_toml(&run.join("status.toml"));
    assert_eq!(status["state"].as_str(), Some("failed"));
    assert!(!run.join("summary.toml").exists());
}

#[test]
fn what_is_not_there_is_an_error_with_a_code() {
    let case = Case::new("");
    let weights = ["model.arch=vgg16", "model.weights=imagenet1k_v1"];
    let weights = weights.map(|set| ["--set", set]).concat();
    case.fails(3, &[&["small.toml"], &weights[..]].concat());
    case.fails(3, &["small.toml", "--set", "data.root=nowhere"]);
    case.fails(2, &["no_such.toml"]);
    case.fails(1, &["evaluate", "data"]);
    case.fails(1, &["small.toml", "--set", "device=cuda:7"]);
    case.fails(2, &["--nonsense"]);
    case.fails(2, &[]);
}

#[test]
fn keep_optimizer_goes_on_with_the_moments_of_the_phase_before() {
    let case = Case::new("");
    let fresh = case.train(&[]);
    let kept = case.train(&["--set", "phase.features24.keep_optimizer=true"]);
    let row =
        |run: &std::path::Path, index: usize| metrics(run).lines().nth(index).unwrap().to_owned();
    // The head phase is the same; the step after it is not, since Adam remembers.
    assert_eq!(row(&fresh, 2), row(&kept, 2));
    assert_ne!(row(&fresh, 3), row(&kept, 3));
}

#[test]
fn lr_factors_scale_the_rate_of_what_they_select() {
    let case = Case::new("");
    let factors = "phase.head.lr_factors={ \"classifier[0]\" = 1e-30 }";
    let after = |n_epochs: &str| {
        let epochs = format!("phase.head.epochs={n_epochs}");
        let more = [
            "--set",
            factors,
            "--set",
            &epochs,
            "--set",
            "phase.features24.trainable=[\"features[28]\"]",
        ];
        let run = case.train(&more);
        let layer = |name: &str| {
            let file = format!("{name}-{n_epochs}.safetensors");
            // Biases start at zero, which even so small a rate moves.
            let only = format!("classifier.{name}.weight");
            case.ok(&[
                "export",
                run.to_str().unwrap(),
                &file,
                "--only",
                &only,
                "--checkpoint",
                "last",
            ]);
            let bytes = fs::read(case.path(&file)).unwrap();
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            tensors.tensor(&only).unwrap().data().to_vec()
        };
        (layer("0"), layer("3"))
    };
    let (one, two) = (after("1"), after("2"));
    assert!(one.0 == two.0, "classifier[0] has moved");
    assert!(one.1 != two.1, "classifier[3] has not");
}
