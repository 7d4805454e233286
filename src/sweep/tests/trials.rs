//! Grids, draws and names.

use std::collections::HashSet;

use toml::Value;

use super::{define, expand};
use crate::sweep::{
    definition::Setting,
    trials::{Trial, axis_labels, trials},
};

fn sets(trial: &Trial) -> String {
    let sets: Vec<String> = trial.settings.iter().map(Setting::as_set).collect();
    sets.join(" ")
}

fn random(n: usize, axes: &str) -> Vec<String> {
    drawn("random", n, axes)
}

fn drawn(method: &str, n: usize, axes: &str) -> Vec<String> {
    let text = format!("method = \"{method}\"\nmax_trials = {n}\n[axes]\n{axes}");
    expand(&text).iter().map(sets).collect()
}

/// Every draw of one axis as a number.
fn numbers(n: usize, values: &str) -> Vec<f64> {
    let drawn = random(n, &format!("x = {values}"));
    drawn.iter().map(|set| set[2..].parse().unwrap()).collect()
}

#[track_caller]
fn names(text: &str, expected: &[&str]) {
    let names: Vec<String> = expand(text).into_iter().map(|trial| trial.name).collect();
    assert_eq!(names, expected);
}

#[track_caller]
fn labels(axes: &str, expected: &[&str]) {
    let definition = define(&format!("[axes]\n{axes}")).unwrap();
    let axis_labels = axis_labels(&definition);
    let labels: Vec<String> = trials(&definition)
        .iter()
        .map(|it| it.label(&axis_labels))
        .collect();
    assert_eq!(labels, expected);
}

#[test]
fn the_last_axis_of_a_grid_is_the_fastest() {
    let trials = expand("[axes]\noptimizer.lr = [0.1, 1e-5]\ndata.batch_size = [8, 16]");
    let found: Vec<(usize, String)> = trials.iter().map(|it| (it.number, sets(it))).collect();
    let expected = [
        "optimizer.lr=0.1 data.batch_size=8",
        "optimizer.lr=0.1 data.batch_size=16",
        "optimizer.lr=1e-5 data.batch_size=8",
        "optimizer.lr=1e-5 data.batch_size=16",
    ];
    let expected: Vec<(usize, String)> = (1..).zip(expected.map(str::to_owned)).collect();
    assert_eq!(found, expected);
}

#[test]
fn axes_keep_the_order_of_the_file() {
    let trials = expand("[axes]\nz = [1]\na = [2]\nm = [3]");
    assert_eq!(sets(&trials[0]), "z=1 a=2 m=3");
    let apart = expand("[axes]\noptimizer.lr = [1]\ndata.root = [\"a\"]\noptimizer.eps = [2]");
    assert_eq!(
        sets(&apart[0]),
        "optimizer.lr=1 data.root=\"a\" optimizer.eps=2"
    );
}

const MIXED: &str = "optimizer.lr = { log_uniform = [1e-5, 1e-2] }\nmodel.dropout = { uniform = [0.0, 0.5] }\n\
    data.batch_size = { uniform = [4, 8] }\noptimizer.kind = [\"adam\", \"sgd\"]";

#[test]
fn draws_stay_what_they_are() {
    let expected = [
        "optimizer.lr=4.992e-5 model.dropout=0.2629 data.batch_size=8 optimizer.kind=\"sgd\"",
        "optimizer.lr=0.002603 model.dropout=0.09731 data.batch_size=7 optimizer.kind=\"adam\"",
        "optimizer.lr=0.00871 model.dropout=0.3884 data.batch_size=7 optimizer.kind=\"adam\"",
    ];
    assert_eq!(random(3, MIXED), expected);
}

#[test]
fn sobol_draws_stay_what_they_are() {
    let expected = [
        "optimizer.lr=0.007292 model.dropout=0.4153 data.batch_size=5 optimizer.kind=\"sgd\"",
        "optimizer.lr=2.839e-5 model.dropout=0.102 data.batch_size=8 optimizer.kind=\"adam\"",
        "optimizer.lr=0.001084 model.dropout=0.1711 data.batch_size=7 optimizer.kind=\"adam\"",
    ];
    assert_eq!(drawn("sobol", 3, MIXED), expected);
}

#[test]
fn more_trials_keep_the_earlier_ones() {
    for method in ["random", "sobol"] {
        let many = drawn(method, 40, MIXED);
        assert_eq!(drawn(method, 7, MIXED), many[..7]);
        let few_values = "a = [1, 2, 3]\nb = { uniform = [1, 5] }";
        let all = drawn(method, 15, few_values);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 15);
        for n in 1..15 {
            assert_eq!(drawn(method, n, few_values), all[..n]);
        }
    }
}

#[test]
fn sobol_draws_have_a_value_in_each_part_of_every_axis() {
    let axes =
        "a = { uniform = [0, 31] }\nb = { log_uniform = [1.0, 4294967296.0] }\nc = [1, 2, 3, 4]";
    let drawn = drawn("sobol", 32, axes);
    let values = |key: &str| -> Vec<f64> {
        let values = drawn.iter().map(|set| {
            let own = set.split(' ').find_map(|word| word.strip_prefix(key));
            own.and_then(|value| value.strip_prefix('=')?.parse().ok())
        });
        values.collect::<Option<_>>().unwrap()
    };
    let parts = |values: &[f64], n_parts: usize| {
        let mut counts = vec![0; n_parts];
        for value in values {
            counts[*value as usize] += 1;
        }
        counts
    };
    assert_eq!(parts(&values("a"), 32), [1; 32]);
    let exponents: Vec<f64> = values("b").iter().map(|value| value.log2()).collect();
    assert_eq!(parts(&exponents, 32), [1; 32]);
    let choices: Vec<f64> = values("c").iter().map(|choice| choice - 1.0).collect();
    assert_eq!(parts(&choices, 4), [8; 4]);
}

#[test]
fn another_seed_draws_others() {
    let seeded = |seed| {
        let text = format!("method = \"random\"\nmax_trials = 4\nseed = {seed}\n[axes]\n{MIXED}");
        expand(&text).iter().map(sets).collect::<Vec<_>>()
    };
    assert_ne!(seeded(1), seeded(2));
}

#[test]
fn no_two_draws_are_the_same_and_choices_run_out() {
    let drawn = random(100, "a = [1, 2, 3]\nb = { uniform = [1, 5] }");
    assert_eq!(drawn.len(), 15);
    assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 15);
}

#[test]
fn an_interval_of_few_legible_numbers_ends() {
    let drawn = numbers(50, "{ uniform = [1.0, 1.0021] }");
    assert!(drawn.len() <= 4, "{drawn:?}");
    assert!(
        drawn.iter().all(|value| (1.0..=1.0021).contains(value)),
        "{drawn:?}"
    );
}

#[test]
fn uniform_draws_fill_their_interval_and_stay_inside() {
    let drawn = numbers(2000, "{ uniform = [0.12345, 0.2] }");
    assert!(drawn.iter().all(|value| (0.12345..=0.2).contains(value)));
    let wide = numbers(2000, "{ uniform = [0.1, 0.9] }");
    let mean = wide.iter().sum::<f64>() / wide.len() as f64;
    assert!((mean - 0.5).abs() < 0.02, "{mean}");
}

#[test]
fn log_uniform_draws_each_order_of_magnitude_alike() {
    let drawn = numbers(3000, "{ log_uniform = [1e-5, 1e-2] }");
    assert!(drawn.iter().all(|value| (1e-5..=1e-2).contains(value)));
    for (low, high) in [(1e-5, 1e-4), (1e-4, 1e-3), (1e-3, 1e-2)] {
        let share = drawn.iter().filter(|it| (low..high).contains(*it)).count();
        assert!((900..1100).contains(&share), "{low}: {share}");
    }
}

#[test]
fn drawn_numbers_have_four_digits() {
    for set in random(200, "x = { log_uniform = [1e-6, 10] }") {
        let digits = set[2..].split('e').next().unwrap().replace('.', "");
        assert!(
            digits.trim_start_matches('0').trim_end_matches('0').len() <= 4,
            "{set}"
        );
    }
}

#[test]
fn whole_numbers_reach_both_ends() {
    let mut drawn = numbers(9, "{ uniform = [-3, 5] }");
    drawn.sort_by(f64::total_cmp);
    assert_eq!(drawn, [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let all = format!("{{ uniform = [{}, {}] }}", i64::MIN, i64::MAX);
    assert_eq!(numbers(5, &all).len(), 5);
}

#[test]
fn names_say_the_values() {
    names(
        "[axes]\noptimizer.lr = [0.001, 1e-5]",
        &["lr-lr_1e-3", "lr-lr_1e-5"],
    );
    names(
        "name = \"unfreeze\"\n[axes]\nphase.all.trainable = [[\"classifier\", \"features[24:]\"], []]",
        &[
            "unfreeze-trainable_classifier_features24",
            "unfreeze-trainable_empty",
        ],
    );
    names(
        "[axes]\noptimizer = [{ kind = \"sgd\", lr = 0.1 }]",
        &["lr-optimizer_kind_sgd_lr_0.1"],
    );
}

#[test]
fn names_that_would_be_the_same_or_too_long_end_in_digits_of_their_own() {
    let text = "[axes]\nphase.all.trainable = [[\"features[:24]\"], [\"features[24:]\"]]";
    names(
        text,
        &[
            "lr-trainable_features24",
            "lr-trainable_features24-071a4eb4",
        ],
    );
    let long = "classifier".repeat(10);
    let found = expand(&format!("[axes]\nx = [\"{long}\", \"{long}a\"]"));
    assert!(found.iter().all(|trial| trial.name.len() == 80));
    assert_ne!(found[0].name, found[1].name);
}

#[test]
fn labels_are_short_where_that_is_clear() {
    labels(
        "optimizer.lr = [0.1]\nmodel.dropout = [0.5]",
        &["lr=0.1 dropout=0.5"],
    );
    labels(
        "optimizer.lr = [0.1]\nphase.head.lr = [1e-5]",
        &["optimizer.lr=0.1 head.lr=1e-5"],
    );
    labels(
        "phase.all.trainable = [[\"classifier\", \"features[24:]\"]]",
        &["trainable=classifier, features[24:]"],
    );
}

#[test]
fn what_as_set_writes_reads_back() {
    let values = [
        Value::from(1e-5),
        Value::from(0.1 + 0.2),
        Value::from(1e300),
        Value::from(-7),
        Value::from("a \"quoted\" \\ text\nof two lines\u{7f}"),
        Value::from(vec![
            Value::from("classifier"),
            Value::from("features[24:]"),
        ]),
        Value::from(toml::Table::from_iter([(
            "a b".to_owned(),
            Value::from(true),
        )])),
    ];
    for value in values {
        let setting = Setting {
            key: "k".to_owned(),
            value,
            key_span: 0..0,
            span: 0..0,
        };
        let set = setting.as_set();
        assert!(!set.contains('\n'), "{set}");
        let table: toml::Table = set.parse().unwrap_or_else(|error| panic!("{set}: {error}"));
        assert_eq!(table["k"], setting.value);
    }
}
