//! Bad `[set]` and `[axes]`, each with all that is said of it.

use super::refuses;

#[test]
fn a_list_must_not_be_empty() {
    refuses(
        "[axes]\noptimizer.lr = []",
        r"
lr.toml:3:16: optimizer.lr: has no values
  |
3 | optimizer.lr = []
  |                ^^
help: write a list such as [1e-4, 1e-3], or { log_uniform = [1e-5, 1e-2] }; a value that does not vary belongs in [set]

1 problem in lr.toml
",
    );
}

#[test]
fn a_choice_must_not_repeat() {
    refuses(
        "[axes]\noptimizer.lr = [1e-3, 0.1, 0.001]",
        r"
lr.toml:3:28: optimizer.lr: has the value `0.001` twice
  |
3 | optimizer.lr = [1e-3, 0.1, 0.001]
  |                            ^^^^^
help: each value is tried once: keep one

1 problem in lr.toml
",
    );
}

#[test]
fn a_grid_draws_nothing() {
    refuses(
        "[axes]\noptimizer.lr = { log_uniform = [1e-5, 1e-2] }",
        r#"
lr.toml:3:16: optimizer.lr: cannot be drawn with method = "grid"
  |
3 | optimizer.lr = { log_uniform = [1e-5, 1e-2] }
  |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
help: set method = "random", or write a list such as [1e-4, 1e-3]

1 problem in lr.toml
"#,
    );
}

#[test]
fn an_interval_must_rise() {
    refuses(
        r#"method = "random"
max_trials = 3
[axes]
optimizer.lr = { uniform = [1, 0.5] }
model.dropout = { uniform = [0.5, 0.5] }"#,
        r"
lr.toml:5:28: optimizer.lr: the lower end `1.0` must be below the higher end `0.5`
  |
5 | optimizer.lr = { uniform = [1, 0.5] }
  |                            ^^^^^^^^
help: swap them

lr.toml:6:29: model.dropout: the lower end `0.5` must be below the higher end `0.5`
  |
6 | model.dropout = { uniform = [0.5, 0.5] }
  |                             ^^^^^^^^^^
help: a value that does not vary belongs in [set]

2 problems in lr.toml
",
    );
}

#[test]
fn log_uniform_begins_above_0() {
    refuses(
        r#"method = "random"
max_trials = 3
[axes]
optimizer.lr = { log_uniform = [0, 0.5] }"#,
        r"
lr.toml:5:32: optimizer.lr: `log_uniform` must begin above 0, begins at `0.0`
  |
5 | optimizer.lr = { log_uniform = [0, 0.5] }
  |                                ^^^^^^^^
help: use `uniform` for values that may be 0 or less

1 problem in lr.toml
",
    );
}

#[test]
fn numbers_must_be_finite() {
    refuses(
        r#"method = "random"
max_trials = 3
[set]
model.dropout = nan
[axes]
optimizer.lr = { uniform = [0, inf] }"#,
        r"
lr.toml:5:17: model.dropout: must be a finite number, is `nan`
  |
5 | model.dropout = nan
  |                 ^^^

lr.toml:7:32: optimizer.lr: must be a finite number, is `inf`
  |
7 | optimizer.lr = { uniform = [0, inf] }
  |                                ^^^

2 problems in lr.toml
",
    );
}

#[test]
fn a_key_is_set_or_varies() {
    refuses(
        r#"[set]
optimizer.lr = 1
[axes]
"optimizer.lr" = [1, 2]"#,
        r"
lr.toml:3:11: optimizer.lr: is an axis too
  |
3 | optimizer.lr = 1
  |           ^^
help: what varies has no fixed value: remove it from [set] or from [axes]

1 problem in lr.toml
",
    );
}

#[test]
fn name_runs_dir_and_extends_are_refused() {
    refuses(
        r#"[set]
name = "x"
extends = "y.toml"
[axes]
runs_dir = ["a", "b"]"#,
        r#"
lr.toml:3:1: name: cannot be set in a sweep: each trial has a name of its own
  |
3 | name = "x"
  | ^^^^
help: remove it; `name` at the top of the file names the sweep, and with it the trials

lr.toml:4:1: extends: can only be set in an experiment file
  |
4 | extends = "y.toml"
  | ^^^^^^^
help: remove it; `base` names the experiment that varies

lr.toml:6:1: runs_dir: cannot be set in a sweep: all trials stand in the sweep's own directory
  |
6 | runs_dir = ["a", "b"]
  | ^^^^^^^^
help: remove it

3 problems in lr.toml
"#,
    );
}

#[test]
fn distributions_are_known_by_name() {
    refuses(
        r#"method = "random"
max_trials = 3
[axes]
optimizer.lr = { loguniform = [1, 2] }
model.dropout = { uniform = [0.1] }
optimizer.eps = { uniform = [1, 2], choice = [3] }
data.workers = 3
data.batch_size = { uniform = 3 }"#,
        r"
lr.toml:5:18: optimizer.lr: does not know the distribution `loguniform`
  |
5 | optimizer.lr = { loguniform = [1, 2] }
  |                  ^^^^^^^^^^
help: did you mean `log_uniform`? there are `choice`, `uniform` and `log_uniform`

lr.toml:6:29: model.dropout: `uniform` must have two numbers
  |
6 | model.dropout = { uniform = [0.1] }
  |                             ^^^^^
help: write { uniform = [lowest, highest] }

lr.toml:7:17: optimizer.eps: must have one distribution, has `uniform` and `choice`
  |
7 | optimizer.eps = { uniform = [1, 2], choice = [3] }
  |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
help: write a list such as [1e-4, 1e-3], or { log_uniform = [1e-5, 1e-2] }; a value that does not vary belongs in [set]

lr.toml:8:16: data.workers: must be a list of values, is the whole number `3`
  |
8 | data.workers = 3
  |                ^
help: write a list such as [1e-4, 1e-3], or { log_uniform = [1e-5, 1e-2] }; a value that does not vary belongs in [set]

lr.toml:9:31: data.batch_size: must be two numbers, is the whole number `3`
  |
9 | data.batch_size = { uniform = 3 }
  |                               ^
help: write { uniform = [1, 2] }

5 problems in lr.toml
",
    );
}

#[test]
fn axes_must_hold_keys() {
    refuses(
        "[axes.optimizer]",
        r"
lr.toml:2:2: axes: has no keys
  |
2 | [axes.optimizer]
  |  ^^^^
help: add [axes] with what varies, such as optimizer.lr = [1e-4, 1e-3]

1 problem in lr.toml
",
    );
}

#[test]
fn a_key_must_be_given_once() {
    refuses(
        r#"[axes]
"optimizer.lr" = [1]
optimizer.lr = [2]"#,
        r"
lr.toml:4:11: optimizer.lr: is given twice
  |
4 | optimizer.lr = [2]
  |           ^^
help: keep one of the two

1 problem in lr.toml
",
    );
}
