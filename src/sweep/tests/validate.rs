//! Trials as experiments, and mistakes that only those show.

use std::{fs, path::Path};

use super::{BASE, define, expand, resolve};
use crate::sweep::{
    DEFAULTS,
    file::read,
    trials::trials,
    validate::{experiments, sets_of},
};

/// What each trial's resolved experiment says of a key such as `optimizer.lr`, phases by number.
fn said(text: &str, sets: &[&str], key: &str) -> Vec<String> {
    let experiments = resolve(text, sets).unwrap_or_else(|error| panic!("{error}"));
    let find = |table: &toml::Table| {
        let value = toml::Value::Table(table.clone());
        let found = key
            .split('.')
            .fold(&value, |inner, word| match word.parse::<usize>() {
                Ok(index) => &inner[index],
                Err(_) => &inner[word],
            });
        found.to_string()
    };
    experiments.iter().map(|it| find(&it.resolved)).collect()
}

/// `text` follows the line with `base`.
#[track_caller]
fn refuses(text: &str, sets: &[&str], expected: &str) {
    let error = resolve(text, sets).map(|it| it.len()).unwrap_err();
    let expected = expected.trim_start_matches('\n').trim_end();
    assert_eq!(error.trim_end(), expected, "\n{error}");
}

#[test]
fn each_trial_is_an_experiment_with_its_own_name() {
    let text = "[axes]\noptimizer.lr = [0.1, 1e-5]";
    let experiments = resolve(text, &[]).unwrap();
    let names: Vec<&str> = experiments
        .iter()
        .map(|it| it.experiment.name.as_str())
        .collect();
    assert_eq!(names, ["lr-lr_0.1", "lr-lr_1e-5"]);
    assert!(experiments.iter().all(|it| *it.source == *BASE));
    assert_eq!(said(text, &[], "phase.1.lr"), ["0.1", "0.00001"]);
}

#[test]
fn every_type_of_value_arrives_as_it_was_written() {
    let trainable =
        "[axes]\nphase.all.trainable = [[\"classifier\"], [\"classifier\", \"features[24:]\"]]";
    assert_eq!(
        said(trainable, &[], "phase.1.trainable"),
        ["[\"classifier\"]", "[\"classifier\", \"features[24:]\"]"]
    );
    let factors = "[axes]\nphase.all.lr_factors = [{ \"features\" = 0.1, \"all\" = 0.5 }]";
    assert_eq!(
        said(factors, &[], "phase.1.lr_factors"),
        ["[[\"features\", 0.1], [\"all\", 0.5]]"]
    );
    let phases = "[axes]\nphase = [[{ name = \"a\", epochs = 2, trainable = [\"all\"], \
        lr_factors = { \"features\" = 0.1, \"all\" = 0.5 } }]]";
    assert_eq!(
        said(phases, &[], "phase.0.lr_factors"),
        ["[[\"features\", 0.1], [\"all\", 0.5]]"]
    );
    let coupled = "[axes]\noptimizer = [{ kind = \"sgd\", momentum = 0.9 }, { kind = \"adam\" }]";
    assert_eq!(
        said(coupled, &[], "optimizer.kind"),
        ["\"sgd\"", "\"adam\""]
    );
    let drawn = "method = \"random\"\nmax_trials = 3\n[axes]\noptimizer.lr = { log_uniform = [1e-6, 1e-4] }";
    let written: Vec<f64> = expand(drawn)
        .iter()
        .map(|trial| trial.settings[0].value.as_float().unwrap())
        .collect();
    let read: Vec<f64> = resolve(drawn, &[])
        .unwrap()
        .iter()
        .map(|it| it.experiment.optimizer.lr)
        .collect();
    assert_eq!(written, read);
}

#[test]
fn trials_keep_their_best_model_unless_somebody_says_otherwise() {
    let text = "[axes]\noptimizer.lr = [0.1]";
    let kept = |text: &str, sets: &[&str]| said(text, sets, "checkpoints.keep");
    assert_eq!(kept(text, &[]), ["\"best\""]);
    assert_eq!(kept(text, &["checkpoints.keep=all"]), ["\"all\""]);
    let all = "[set]\ncheckpoints.keep = \"all\"\n";
    assert_eq!(kept(&format!("{all}{text}"), &[]), ["\"all\""]);
    let axis = "[axes]\ncheckpoints.keep = [\"all\", \"best\"]";
    assert_eq!(kept(axis, &[]), ["\"all\"", "\"best\""]);
    let trial = &resolve(text, &[]).unwrap()[0];
    let origin = trial.origins.iter().find(|row| row.0 == "checkpoints.keep");
    assert_eq!(origin.unwrap().2, "defaults of sweeps");
}

#[test]
fn arguments_win_over_set_and_axes_over_both() {
    let text = "[set]\ndata.batch_size = 4\ndata.workers = 1\n[axes]\noptimizer.lr = [0.1]";
    assert_eq!(said(text, &["data.batch_size=9"], "data.batch_size"), ["9"]);
    assert_eq!(said(text, &["data.batch_size=9"], "data.workers"), ["1"]);
    let definition = define(text).unwrap();
    let trial = &trials(&definition)[0];
    let expected = [
        "data.batch_size=4",
        "data.workers=1",
        "seed=1",
        "optimizer.lr=0.1",
    ];
    assert_eq!(
        sets_of(&definition, trial, &["seed=1".to_owned()]),
        expected
    );
}

#[test]
fn the_examples_of_the_defaults_file_are_right() {
    let examples = |wanted: &str| -> String {
        let lines = DEFAULTS.lines().filter_map(|line| line.strip_prefix("# "));
        let lines: Vec<&str> = lines.filter(|line| line.starts_with(wanted)).collect();
        lines.join("\n") + "\n"
    };
    assert_eq!(examples("phase.head.epochs = ").lines().count(), 1);
    let set = examples("phase.head.epochs = ");
    let random = "method = \"random\"\nmax_trials = 4\n";
    for (line, method) in examples("optimizer.lr = ").lines().zip(["", random]) {
        resolve(&format!("{method}[set]\n{set}[axes]\n{line}"), &[]).unwrap();
    }
    let rest = examples("training.") + &examples("data.");
    resolve(&format!("{random}[axes]\n{rest}"), &[]).unwrap();
}

#[test]
fn a_wrong_value_is_shown_where_it_stands_and_once() {
    refuses(
        "[axes]\noptimizer.lr = [0.1, -1]\nmodel.dropout = [0.1, 0.2]",
        &[],
        r"
error: expected a number above 0, found `-1`
  --> lr.toml:3:22
  |
3 | optimizer.lr = [0.1, -1]
  |                      ^^ optimizer.lr

1 problem in lr.toml
",
    );
}

#[test]
fn an_unknown_key_is_shown_once() {
    refuses(
        "[axes]\noptimizer.lrr = [0.1, 0.2]\n[set]\noptimizer.epz = 3",
        &[],
        r"
error: unknown key `lrr`
  --> lr.toml:3:11
  |
3 | optimizer.lrr = [0.1, 0.2]
  |           ^^^ optimizer.lrr
help: did you mean `lr`? the keys of [optimizer] are `kind`, `lr`, `weight_decay`, `betas`, `eps`, `momentum`, `dampening`, `nesterov`, `alpha` and `centered`

error: unknown key `epz`
  --> lr.toml:5:11
  |
5 | optimizer.epz = 3
  |           ^^^ optimizer.epz
help: did you mean `eps`? the keys of [optimizer] are `kind`, `lr`, `weight_decay`, `betas`, `eps`, `momentum`, `dampening`, `nesterov`, `alpha` and `centered`

2 problems in lr.toml
",
    );
}

#[test]
fn an_unknown_phase_is_shown_once() {
    refuses(
        "[axes]\nphase.haed.lr = [0.1, 0.2]",
        &[],
        r"
error: unknown phase `haed`
  --> lr.toml:3:12
  |
3 | phase.haed.lr = [0.1, 0.2]
  |            ^^ phase.haed.lr
help: did you mean `head`? the phases are `head` and `all`

1 problem in lr.toml
",
    );
}

#[test]
fn mistakes_of_different_trials_are_shown_together() {
    refuses(
        r#"[set]
training.metric = "accuracy"
[axes]
phase.all.trainable = [["clasifier"], ["all"]]
data.batch_size = [0, 8]"#,
        &[],
        r#"
error: unknown metric `accuracy`
  --> lr.toml:3:19
  |
3 | training.metric = "accuracy"
  |                   ^^^^^^^^^^ training.metric
help: expected one of `valid_accuracy`, `valid_loss`, `valid_macro_f1` or `valid_auc`

error: `clasifier` selects no parameters
  --> lr.toml:5:24
  |
5 | phase.all.trainable = [["clasifier"], ["all"]]
  |                        ^^^^^^^^^^^^^ phase.all.trainable
help: vgg16 has features[0..=30] (parameters at 0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28) and classifier[0..=6] (parameters at 0, 3, 6)

error: expected an integer from 1 to 1000000, found `0`
  --> lr.toml:6:20
  |
6 | data.batch_size = [0, 8]
  |                    ^ data.batch_size

3 problems in lr.toml
"#,
    );
}

#[test]
fn a_bad_draw_is_shown_once() {
    refuses(
        r#"method = "random"
max_trials = 9
[axes]
optimizer.lr = { uniform = [-2.0, -1.0] }"#,
        &[],
        r"
error: expected a number above 0, found `-1.767`
  --> lr.toml:5:16
  |
5 | optimizer.lr = { uniform = [-2.0, -1.0] }
  |                ^^^^^^^^^^^^^^^^^^^^^^^^^^ optimizer.lr

1 problem in lr.toml
",
    );
}

#[test]
fn arguments_may_not_touch_an_axis_or_the_name() {
    refuses(
        "[axes]\noptimizer.lr = [0.1]",
        &["optimizer.lr=3", "name=x"],
        r"
error: `optimizer.lr` is an axis of the sweep
  --> --set optimizer.lr=3
help: remove it, or move the key from [axes] of lr.toml to [set]

error: `name` cannot be set in a sweep: each trial has its own name
  --> --set name=x
help: remove it, or set `name` in lr.toml

2 problems in lr.toml
",
    );
}

#[test]
fn mistakes_of_arguments_stay_theirs() {
    refuses(
        "[set]\ndata.batch_size = 0\n[axes]\noptimizer.lr = [0.1]",
        &["data.batch_size=0", "data.workers=x"],
        r#"
error: expected an integer from 1 to 1000000, found `0`
  --> --set data.batch_size=0

error: expected an integer, found string `"x"`
  --> --set data.workers=x

2 problems in lr.toml
"#,
    );
}

#[test]
fn an_axis_without_effect_is_found() {
    refuses(
        "[set]\nphase.head.lr = 1\nphase.all.lr = 1\n[axes]\ndata.batch_size = [8, 16]\noptimizer.lr = [0.1, 0.2]",
        &[],
        r"
error: `optimizer.lr` has no effect because every phase has its own `lr`
  --> lr.toml:7:11
  |
7 | optimizer.lr = [0.1, 0.2]
  |           ^^
help: set it for a phase: `--set phase.head.lr=..`

1 problem in lr.toml
",
    );
}

#[test]
fn a_fact_names_the_sweep_file_for_its_settings() {
    refuses(
        r#"[axes]
optimizer.kind = ["adam", "sgd"]
optimizer.momentum = [0.5]
"#,
        &[],
        r#"
error: `optimizer.momentum` has no effect with kind = "adam", from lr.toml:3
  --> lr.toml:4:23
  |
4 | optimizer.momentum = [0.5]
  |                       ^^^
help: remove it, or set kind to `sgd` or `rmsprop`; options of `adam`: `betas` and `eps`

1 problem in lr.toml
"#,
    );
}

#[test]
fn what_the_base_lacks_is_said_of_the_base() {
    refuses(
        "[axes]\nsplit.method = [\"random\", \"file\"]",
        &[],
        r"
error: missing key `split.file`
  --> base.toml
help: set `file` to a table with the columns file,class,split, for example the split.csv of a run

1 problem in lr.toml
",
    );
}

#[test]
fn an_argument_that_repeats_a_setting_is_blamed_alone() {
    let text = "[set]\ndata.batch_size = 0\n[axes]\noptimizer.lr = [0.1]";
    let error = resolve(text, &["data.batch_size=0"])
        .map(|it| it.len())
        .unwrap_err();
    assert!(error.contains("  --> --set data.batch_size=0\n"), "{error}");
    assert!(error.ends_with("1 problem in lr.toml"), "{error}");
}

/// The first 7 of 30 draws are the 7 draws, names included.
#[test]
fn raising_max_trials_keeps_the_names_of_the_earlier_ones() {
    let trials = |n| {
        expand(&format!(
            "method = \"random\"\nmax_trials = {n}\n[axes]\nx = {{ uniform = [0.0, 1.0] }}"
        ))
    };
    let names = |n: usize| trials(n).into_iter().map(|it| it.name).collect::<Vec<_>>();
    assert_eq!(names(7), names(30)[..7]);
}

#[test]
fn shipped_sweeps_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/sweeps");
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let definition = read(&file, &fs::read_to_string(&file).unwrap()).unwrap();
        let trials = trials(&definition);
        let experiments = experiments(&definition, &trials, &[], &[]).unwrap();
        assert!(experiments.len() > 1, "{}", file.display());
    }
}
