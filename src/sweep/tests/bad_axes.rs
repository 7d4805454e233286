//! Bad `[set]` and `[axes]`, each with all that is said of it.

use super::refuses;

#[test]
fn a_list_must_not_be_empty() {
    refuses(
        "[axes]\noptimizer.lr = []",
        r"
error: `optimizer.lr` has no values
  --> lr.toml:3:16
  |
3 | optimizer.lr = []
  |                ^^
help: list the values, for example [1e-4, 1e-3], or draw them: { log_uniform = [1e-5, 1e-2] }

1 problem in lr.toml
",
    );
}

#[test]
fn a_choice_must_not_repeat() {
    refuses(
        "[axes]\noptimizer.lr = [1e-3, 0.1, 0.001]",
        r"
error: duplicate value `0.001`
  --> lr.toml:3:28
  |
3 | optimizer.lr = [1e-3, 0.1, 0.001]
  |                            ^^^^^ optimizer.lr
help: remove one of the two

1 problem in lr.toml
",
    );
}

#[test]
fn a_grid_draws_nothing() {
    refuses(
        "[axes]\noptimizer.lr = { log_uniform = [1e-5, 1e-2] }",
        r#"
error: an interval needs method = "random" or "sobol", but the method is "grid"
  --> lr.toml:3:16
  |
3 | optimizer.lr = { log_uniform = [1e-5, 1e-2] }
  |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ optimizer.lr
help: set method = "random", or list the values, for example [1e-4, 1e-3]

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
error: the lower end `1.0` is above the upper end `0.5`
  --> lr.toml:5:28
  |
5 | optimizer.lr = { uniform = [1, 0.5] }
  |                            ^^^^^^^^ optimizer.lr
help: swap them

error: both ends are `0.5`
  --> lr.toml:6:29
  |
6 | model.dropout = { uniform = [0.5, 0.5] }
  |                             ^^^^^^^^^^ model.dropout
help: move a value that does not vary to [set]

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
error: `log_uniform` must start above 0, but starts at `0.0`
  --> lr.toml:5:32
  |
5 | optimizer.lr = { log_uniform = [0, 0.5] }
  |                                ^^^^^^^^ optimizer.lr
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
error: expected a finite number, found `nan`
  --> lr.toml:5:17
  |
5 | model.dropout = nan
  |                 ^^^ model.dropout

error: expected a finite number, found `inf`
  --> lr.toml:7:32
  |
7 | optimizer.lr = { uniform = [0, inf] }
  |                                ^^^ optimizer.lr

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
error: `optimizer.lr` is both set and an axis
  --> lr.toml:3:11
  |
3 | optimizer.lr = 1
  |           ^^
help: remove it from [set] or from [axes]

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
error: `name` cannot be set in a sweep: each trial gets its own name
  --> lr.toml:3:1
  |
3 | name = "x"
  | ^^^^
help: remove it, or set `name` at the top of the file, which the names of trials start with

error: `extends` cannot be set in a sweep: it belongs in an experiment file
  --> lr.toml:4:1
  |
4 | extends = "y.toml"
  | ^^^^^^^
help: remove it; `base` names the experiment to vary

error: `runs_dir` cannot be set in a sweep: all trials are in the sweep's directory
  --> lr.toml:6:1
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
error: unknown distribution `loguniform`
  --> lr.toml:5:18
  |
5 | optimizer.lr = { loguniform = [1, 2] }
  |                  ^^^^^^^^^^ optimizer.lr
help: did you mean `log_uniform`? expected `choice`, `uniform` or `log_uniform`

error: `uniform` needs two numbers
  --> lr.toml:6:29
  |
6 | model.dropout = { uniform = [0.1] }
  |                             ^^^^^ model.dropout
help: write { uniform = [lowest, highest] }

error: expected one distribution, found `uniform` and `choice`
  --> lr.toml:7:17
  |
7 | optimizer.eps = { uniform = [1, 2], choice = [3] }
  |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ optimizer.eps
help: list the values, for example [1e-4, 1e-3], or draw them: { log_uniform = [1e-5, 1e-2] }

error: expected an array of values, found integer `3`
  --> lr.toml:8:16
  |
8 | data.workers = 3
  |                ^ data.workers
help: list the values, for example [1e-4, 1e-3], or draw them: { log_uniform = [1e-5, 1e-2] }; move a value that does not vary to [set]

error: expected an array of two numbers, found integer `3`
  --> lr.toml:9:31
  |
9 | data.batch_size = { uniform = 3 }
  |                               ^ data.batch_size
help: write { uniform = [1, 2] }, for example

5 problems in lr.toml
",
    );
}

#[test]
fn axes_must_hold_keys() {
    refuses(
        "[axes.optimizer]",
        r"
error: `axes` has no keys
  --> lr.toml:2:2
  |
2 | [axes.optimizer]
  |  ^^^^
help: add [axes] with the keys that vary, for example optimizer.lr = [1e-4, 1e-3]

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
error: duplicate key `optimizer.lr`
  --> lr.toml:4:11
  |
4 | optimizer.lr = [2]
  |           ^^
help: remove one of the two

1 problem in lr.toml
",
    );
}
