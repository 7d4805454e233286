//! Reading sweep files, good and bad.

use super::{define, with_files};
use crate::sweep::{
    DEFAULTS,
    definition::{Definition, Method, Search, Setting, Values},
    file::read,
};

fn keys_and_values(definition: &Definition) -> String {
    let axes: Vec<String> = definition
        .axes
        .iter()
        .map(|axis| match &axis.values {
            Values::Choices(choices) => {
                let values: Vec<String> =
                    choices.iter().map(|(value, _)| value.to_string()).collect();
                format!("{} in {}", axis.key, values.join(" "))
            }
            values => format!("{} in {values:?}", axis.key),
        })
        .collect();
    let fixed: Vec<String> = definition.fixed.iter().map(Setting::as_set).collect();
    [fixed, axes].concat().join("; ")
}

#[track_caller]
fn reads(text: &str, expected: &str) {
    match define(text) {
        Ok(definition) => assert_eq!(keys_and_values(&definition), expected),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_defaults_are_those_of_the_defaults_file() {
    let definition = define("[axes]\n\"optimizer.lr\" = [0.1]").unwrap();
    assert_eq!(definition.method, Method::Grid);
    assert_eq!(definition.launcher.n_at_once(), 1);
    assert_eq!(definition.search, Search::Full);
    assert_eq!(definition.name, "lr");
    let random =
        define("method = \"random\"\nmax_trials = 3\n[axes]\noptimizer.lr = [0.1]").unwrap();
    assert_eq!(
        random.method,
        Method::Random {
            n_trials: 3,
            seed: 42
        }
    );
    let keys: toml::Table = DEFAULTS.parse().unwrap();
    assert_eq!(keys.len(), 4);
}

#[test]
fn nested_dotted_and_quoted_keys_are_the_same() {
    let expected =
        r#"data.batch_size=8; optimizer.lr in 0.1 0.2; phase.head.schedule.kind in "step""#;
    reads(
        "[set]\n\"data.batch_size\" = 8\n[axes]\n\"optimizer.lr\" = [0.1, 0.2]\n\"phase.head.schedule.kind\" = [\"step\"]",
        expected,
    );
    reads(
        "[set]\ndata.batch_size = 8\n[axes]\noptimizer.lr = [0.1, 0.2]\nphase.head.schedule.kind = [\"step\"]",
        expected,
    );
    reads(
        "[set.data]\nbatch_size = 8\n[axes.optimizer]\nlr = [0.1, 0.2]\n[axes.phase.head.schedule]\nkind = [\"step\"]",
        expected,
    );
    reads(
        "set = { data = { batch_size = 8 } }\naxes = { optimizer = { lr = [0.1, 0.2] }, \"phase.head\" = { schedule.kind = { choice = [\"step\"] } } }",
        expected,
    );
}

#[test]
fn each_distribution_is_read() {
    reads(
        "method = \"random\"\nmax_trials = 2\n[axes]\noptimizer.lr = { log_uniform = [1e-5, 1] }\n\
         model.dropout = { uniform = [0, 0.5] }\ndata.batch_size = { uniform = [4, 8] }",
        "optimizer.lr in LogUniform { low: 1e-5, high: 1.0 }; model.dropout in Uniform { low: 0.0, high: 0.5 }; \
         data.batch_size in UniformInteger { low: 4, high: 8 }",
    );
}

#[test]
fn factors_keep_their_order_and_tables_may_be_choices() {
    reads(
        "[set]\nphase.all.lr_factors = { \"features\" = 0.1, \"all\" = 0.5 }\n[axes]\n\
         optimizer = [{ kind = \"sgd\", lr = 0.1 }]",
        "phase.all.lr_factors=[[\"features\", 0.1], [\"all\", 0.5]]; optimizer in { kind = \"sgd\", lr = 0.1 }",
    );
}

#[test]
fn a_missing_base_and_missing_axes_are_reported_together() {
    let error = with_files("", |file| read(file, "")).unwrap_err();
    let expected = r#"
error: missing key `base`
  --> lr.toml
help: add base = "experiment.toml", the experiment to vary; `base` is relative to the sweep file

error: missing key `axes`
  --> lr.toml
help: add [axes] with the keys that vary, for example optimizer.lr = [1e-4, 1e-3]

2 problems in lr.toml
"#;
    assert_eq!(error, expected.trim());
}

#[test]
fn a_base_that_is_not_there_names_one_that_is() {
    let text = "base = \"bse.toml\"\n[axes]\noptimizer.lr = [1]";
    let error = with_files(text, |file| read(file, text)).unwrap_err();
    assert!(
        error.contains("the file `bse.toml` does not exist\n  --> lr.toml:1:8\n"),
        "{error}"
    );
    assert!(
        error.contains("help: did you mean `base.toml`? `base` is relative to the sweep file"),
        "{error}"
    );
}
