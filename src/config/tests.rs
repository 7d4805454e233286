//! The embedded defaults, the table of keys and `RawConfig` say the same.

use std::{collections::BTreeMap, fs};

use super::{
    DEFAULTS, defaults, read,
    schema::{self, Key, KeyKind},
};

const BASE: &str = "[data]\nroot = \"photos\"\n[[phase]]\nname = \"a\"\nepochs = 3\ntrainable = [\"all\"]\n\
    [[phase]]\nname = \"b\"\nepochs = 3\ntrainable = [\"all\"]\n";

/// The resolved experiment of `BASE` with these keys set, as text.
fn resolve(sets: &[&str]) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("base.toml");
    fs::write(&file, BASE).unwrap();
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    match read(&file, &sets, &[]) {
        Ok(loaded) => Ok(loaded.shown().unwrap().to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Every key that is no table, with its kind, phases as `phase.b`.
fn leaves(path: &str, keys: &'static [Key]) -> Vec<(String, &'static KeyKind)> {
    let mut leaves = Vec::new();
    for key in keys {
        let path = super::walk::join(path, key.name);
        match &key.kind {
            KeyKind::Table(keys) => leaves.extend(self::leaves(&path, keys)),
            KeyKind::Tables(keys) => leaves.extend(self::leaves(&format!("{path}.b"), keys)),
            kind => leaves.push((path, kind)),
        }
    }
    leaves
}

/// What a key needs beside it to have a meaning.
fn companions(key: &str) -> Vec<&'static str> {
    match key {
        "allow_other_split" => vec!["init_from=latest:x"],
        "split.file" => vec!["split.method=file"],
        "split.method" => vec!["split.test=0.1"],
        "transforms.mean" => vec!["transforms.normalize=custom", "transforms.std=[1, 1, 1]"],
        "transforms.std" => vec!["transforms.normalize=custom", "transforms.mean=[0, 0, 0]"],
        "transforms.shorter" => vec!["transforms.crop=64"],
        "transforms.crop" => vec!["transforms.shorter=256"],
        "model.frozen_batch_norm" => vec!["model.arch=vgg16_bn"],
        "optimizer.momentum" | "optimizer.alpha" | "optimizer.centered" => {
            vec!["optimizer.kind=rmsprop"]
        }
        "optimizer.dampening" | "optimizer.nesterov" => {
            vec!["optimizer.kind=sgd", "optimizer.momentum=0.5"]
        }
        "augment.variants" => vec!["augment.horizontal_flip=0.5"],
        "early_stopping.min_delta" => vec!["early_stopping.patience=2"],
        _ if key.ends_with("step_epochs") || key.ends_with("gamma") => {
            vec!["schedule.kind=step", "phase.b.schedule.kind=step"]
        }
        _ if key.ends_with("min_factor") => {
            vec!["schedule.kind=cosine", "phase.b.schedule.kind=cosine"]
        }
        _ => Vec::new(),
    }
}

/// A value that is right and is no default.
fn another_value(key: &str, kind: &KeyKind) -> String {
    match key {
        "device" => return "cpu".to_owned(),
        "training.checkpoint_every" => return "1h".to_owned(),
        "fetch.mirror" => return "https://example.org".to_owned(),
        "init_from" => return "latest:x".to_owned(),
        "model.weights" => return "a/b.pth".to_owned(),
        "model.weights_sha256" => return "0123456789".to_owned(),
        "transforms.normalize" => return "none".to_owned(),
        "transforms.shorter" | "transforms.crop" => return "96".to_owned(),
        "split.method" => return "stratified".to_owned(),
        "data.class_pattern" => return "^(a|b)".to_owned(),
        _ => {}
    }
    match kind {
        KeyKind::Text => "other".to_owned(),
        KeyKind::Flag => "true".to_owned(),
        KeyKind::Count { .. } => "2".to_owned(),
        KeyKind::Number(_) => "0.25".to_owned(),
        KeyKind::Choice(_, choices) => (*choices().last().unwrap()).to_owned(),
        KeyKind::Texts => "[\"classifier\"]".to_owned(),
        KeyKind::CountList { .. } => "[1]".to_owned(),
        KeyKind::Counts { .. } => "[64, 96]".to_owned(),
        KeyKind::Numbers { len, .. } => format!("{:?}", vec![0.5; *len]),
        KeyKind::Factors(_) => "{ \"classifier\" = 0.5 }".to_owned(),
        KeyKind::Table(_) | KeyKind::Tables(_) | KeyKind::Settings => {
            unreachable!("leaves() has none")
        }
    }
}

#[test]
fn every_key_has_an_effect() {
    for (key, kind) in leaves("", schema::TOP) {
        if key == "extends" {
            continue;
        }
        let mut sets = companions(&key);
        if key == "model.arch" {
            sets.push("model.weights=none");
        }
        let before = resolve(&sets).unwrap_or_default();
        let set = format!("{key}={}", another_value(&key, kind));
        sets.push(&set);
        let after = resolve(&sets).unwrap_or_else(|error| panic!("{sets:?}: {error}"));
        assert_ne!(before, after, "{sets:?}");
    }
}

#[test]
fn every_choice_of_the_table_is_understood() {
    for (key, kind) in leaves("", schema::TOP) {
        if let KeyKind::Choice(_, choices) = kind {
            for choice in choices() {
                let set = format!("{key}={choice}");
                let error = resolve(&[&set]).err().unwrap_or_default();
                assert!(!error.contains("unknown variant"), "{set}: {error}");
            }
        }
    }
}

/// Kinds take their numbers from PyTorch's constructors.
#[test]
fn the_defaults_parse_and_are_those_of_pytorch() {
    let kinds = defaults().kinds;
    let number = |kind: &str, key: &str| kinds.optimizers[kind][key].as_float();
    assert_eq!(number("adamw", "weight_decay"), Some(0.01));
    assert_eq!(number("rmsprop", "alpha"), Some(0.99));
    for (name, text) in [("adam", "eps = 0.00000001"), ("sgd", "momentum = 0.0")] {
        let resolved = resolve(&[&format!("optimizer.kind={name}")]).unwrap();
        assert!(resolved.contains(text), "{resolved}");
    }
}

#[test]
fn every_key_of_the_defaults_is_known_and_every_key_is_documented_there() {
    let keys: BTreeMap<String, &KeyKind> = leaves("", schema::TOP).into_iter().collect();
    let table: toml::Table = DEFAULTS.parse().unwrap();
    for (section, value) in &table {
        let Some(inner) = value.as_table().filter(|_| section != "kinds") else {
            continue;
        };
        for key in inner.keys() {
            assert!(
                keys.contains_key(&format!("{section}.{key}")),
                "{section}.{key}"
            );
        }
    }
    for key in keys.keys() {
        let name = key.rsplit('.').next().unwrap();
        let is_there = DEFAULTS.lines().any(|line| {
            line.trim_start_matches("# ")
                .starts_with(&format!("{name} ="))
        });
        assert!(is_there, "{key} is not in the defaults file");
    }
}

#[test]
fn factors_keep_their_order() {
    let factors = "phase.b.lr_factors={ \"features\" = 0.1, \"all\" = 0.5, \"classifier\" = 1 }";
    let text = resolve(&[factors]).unwrap();
    let expected = r#"lr_factors = [["features", 0.1], ["all", 0.5], ["classifier", 1.0]]"#;
    assert!(text.contains(expected), "{text}");
}

#[test]
fn numbers_must_survive_the_32_bits_that_a_run_computes_with() {
    for set in [
        "optimizer.eps=1e-320",
        "optimizer.eps=1e-40",
        "optimizer.lr=1e39",
        "optimizer.weight_decay=1e-50",
        "optimizer.betas=[0.9, 0.9999999999]",
        "training.clip_grad_norm=1e300",
        "transforms.normalize=\"custom\"\ntransforms.mean=[0, 0, 0]\ntransforms.std=[1e-300, 1, 1]",
        "transforms.normalize=\"custom\"\ntransforms.mean=[0, 0, -1e39]\ntransforms.std=[1, 1, 1]",
    ] {
        let sets: Vec<&str> = set.lines().collect();
        let error = resolve(&sets).unwrap_err();
        assert!(error.contains("in 32-bit"), "{set}: {error}");
    }
    for set in [
        "optimizer.eps=1e-30",
        "optimizer.weight_decay=0",
        "optimizer.lr=1e38",
    ] {
        resolve(&[set]).unwrap();
    }
    let factors = [
        "optimizer.lr=1e-30",
        "phase.b.lr_factors={ \"features\" = 1e-30 }",
    ];
    let error = resolve(&factors).unwrap_err();
    assert!(error.contains("gives a learning rate of"), "{error}");
}

/// The `[transforms]` of the resolved experiment, without the normalization.
fn transforms(sets: &[&str]) -> String {
    let text = resolve(sets).unwrap();
    let (_, table) = text.split_once("[transforms]\n").unwrap();
    let lines = table
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with("normalize"));
    lines.collect::<Vec<_>>().join(", ")
}

#[test]
fn a_preset_is_resolved_to_the_transforms_that_it_stands_for() {
    let by_hand = [
        "transforms.shorter=256",
        "transforms.crop=224",
        "transforms.interpolation=bilinear",
    ];
    let preset = ["transforms.preset=weights"];
    assert_eq!(resolve(&preset), resolve(&by_hand));
    assert_eq!(
        transforms(&preset),
        "crop = 224, interpolation = \"bilinear\", shorter = 256"
    );
    let of_caffe = [preset[0], "model.weights=imagenet1k_features"];
    let text = resolve(&of_caffe).unwrap();
    let mean = "mean = [0.48235, 0.45882, 0.40784]";
    assert!(
        text.contains(mean) && text.contains("std = [0.003921569,"),
        "{text}"
    );
}

#[test]
fn an_override_replaces_the_geometry_of_the_file() {
    let check = |file: &str, sets: &[&str], expected: &str| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("base.toml");
        fs::write(&path, format!("{BASE}[transforms]\n{file}\n")).unwrap();
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        let loaded = read(&path, &sets, &[]).unwrap();
        assert_eq!(
            loaded.experiment.transforms.to_string(),
            expected,
            "{file} {sets:?}"
        );
    };
    let crop = "resize the shorter side to 300, center crop 200 x 200, bilinear";
    let (resize, cropped) = ("resize = [64, 96]", "shorter = 300\ncrop = 200");
    check(resize, &[], "resize to 64 x 96, bilinear");
    check(cropped, &[], crop);
    check(
        resize,
        &["transforms.shorter=300", "transforms.crop=200"],
        crop,
    );
    let squash = ["transforms.resize=[64, 96]"];
    check(cropped, &squash, "resize to 64 x 96, bilinear");
    let larger = crop.replace("300", "256");
    check(cropped, &["transforms.shorter=256"], &larger);
    let bicubic = "resize = [64, 96]\ninterpolation = \"bicubic\"";
    check(bicubic, &[], "resize to 64 x 96, bicubic");
    let preset = "resize the shorter side to 256, center crop 224 x 224, bilinear";
    check(bicubic, &["transforms.preset=weights"], preset);
}

#[test]
fn twenty_thousand_phases_take_no_longer_than_their_number() {
    // In time that grows with the square of the number this took minutes.
    const N: usize = 20_000;
    let phases =
        (0..N).map(|n| format!("[[phase]]\nname = \"p{n}\"\nepochs = 3\ntrainable = [\"all\"]\n"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("many.toml");
    fs::write(
        &file,
        format!("data.root = \"photos\"\n{}", phases.collect::<String>()),
    )
    .unwrap();
    let loaded = read(&file, &[], &[]).unwrap();
    assert_eq!(loaded.experiment.phases.len(), N);
}

#[test]
fn the_file_of_a_trial_wins_over_the_defaults_of_sweeps() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("base.toml");
    let keep = |own: &str| {
        fs::write(&file, format!("{own}{BASE}")).unwrap();
        let loaded = super::read_trial(&file, &[], &[]).unwrap();
        let mut rows = loaded.origins.into_iter();
        let (_, value, origin) = rows.find(|(key, ..)| key == "checkpoints.keep").unwrap();
        (value, origin.rsplit('/').next().unwrap().to_owned())
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(keep(""), pair("\"best\"", "defaults of sweeps"));
    let own = "checkpoints.keep = \"all\"\n";
    assert_eq!(keep(own), pair("\"all\"", "base.toml:1"));
}
