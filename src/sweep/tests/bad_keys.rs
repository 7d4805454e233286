//! Bad keys of the sweep itself, each with all that is said of it.

use super::refuses;

#[test]
fn a_seed_has_no_effect_on_a_grid() {
    refuses(
        "seed = 7\n[axes]\noptimizer.lr = [1]",
        r#"
lr.toml:2:8: seed: has no effect with method = "grid"
  |
2 | seed = 7
  |        ^
help: remove it, or set method = "random"

1 problem in lr.toml
"#,
    );
}

#[test]
fn a_random_sweep_needs_an_end() {
    refuses(
        r#"method = "random"
[axes]
optimizer.lr = [1]"#,
        r#"
lr.toml: max_trials: is required
help: add max_trials = 20: method = "random" has no end of its own

1 problem in lr.toml
"#,
    );
}

#[test]
fn a_grid_may_be_too_large() {
    refuses(
        "max_trials = 5\n[axes]\noptimizer.lr = [1, 2]\nmodel.dropout = [0.1, 0.2, 0.3]",
        r#"
lr.toml:2:14: max_trials: must be at least 6, the trials of the grid, is `5`
  |
2 | max_trials = 5
  |              ^
help: raise it, or set method = "random" to draw 5 of them

1 problem in lr.toml
"#,
    );
}

#[test]
fn a_grid_without_a_limit_has_one() {
    refuses(
        "[axes]\na = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\nb = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\nc = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\nd = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\ne = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n",
        r#"
lr.toml:2:1: axes: make a grid of 100000 trials, more than 10000
  |
2 | [axes]
  | ^^^^^^
help: set method = "random" and max_trials to draw some of them

1 problem in lr.toml
"#,
    );
}

#[test]
fn unknown_keys_name_the_near_ones() {
    refuses(
        r#"methd = "grid"
ax = 1
"optimizer.lr" = [1]
[axis]
optimizer.lr = [1]"#,
        r#"
lr.toml:2:1: methd: unknown key
  |
2 | methd = "grid"
  | ^^^^^
help: did you mean `method`? a sweep takes `name`, `base`, `method`, `max_trials`, `seed`, `parallel`, `set` and `axes`

lr.toml:3:1: ax: unknown key
  |
3 | ax = 1
  | ^^
help: did you mean `axes`? a sweep takes `name`, `base`, `method`, `max_trials`, `seed`, `parallel`, `set` and `axes`

lr.toml:4:1: optimizer.lr: unknown key
  |
4 | "optimizer.lr" = [1]
  | ^^^^^^^^^^^^^^
help: `optimizer.lr` belongs in [set] or [axes]

lr.toml:5:2: axis: unknown key
  |
5 | [axis]
  |  ^^^^
help: did you mean `axes`? a sweep takes `name`, `base`, `method`, `max_trials`, `seed`, `parallel`, `set` and `axes`

4 problems in lr.toml
"#,
    );
}

#[test]
fn types_are_checked() {
    refuses(
        r#"name = 3
method = "gird"
parallel = 0
max_trials = 1.5
set = 1
axes = []"#,
        r#"
lr.toml:2:8: name: must be a text in quotes, is the whole number `3`
  |
2 | name = 3
  |        ^

lr.toml:3:10: method: does not know `gird`
  |
3 | method = "gird"
  |          ^^^^^^
help: did you mean `grid`? there are `grid` and `random`

lr.toml:4:12: parallel: must be from 1 to 1024, is `0`
  |
4 | parallel = 0
  |            ^

lr.toml:5:14: max_trials: must be a whole number, is the number `1.5`
  |
5 | max_trials = 1.5
  |              ^^^

lr.toml:6:7: set: must be a table, is the whole number `1`
  |
6 | set = 1
  |       ^

lr.toml:7:8: axes: must be a table, is an array
  |
7 | axes = []
  |        ^^

6 problems in lr.toml
"#,
    );
}

#[test]
fn names_are_plain() {
    refuses(
        r#"name = "a/b"
[axes]
optimizer.lr = [2]"#,
        r#"
lr.toml:2:8: name: cannot name a directory: `a/b`
  |
2 | name = "a/b"
  |        ^^^^^
help: a name begins with a letter or digit and has only letters, digits, `-`, `_` and `.`, at most 100

1 problem in lr.toml
"#,
    );
}

#[test]
fn syntax_errors_come_alone() {
    refuses(
        "axes = [\nseed = 1",
        r"
lr.toml:3:1: is not valid TOML: string values must be quoted, expected literal string
  |
3 | seed = 1
  | ^^^^

lr.toml:3:6: is not valid TOML: unexpected `=` in array, expected value, `]`
  |
3 | seed = 1
  |      ^

lr.toml:3:8: is not valid TOML: missing comma between array elements, expected `,`
  |
3 | seed = 1
  |        ^

lr.toml:3:9: is not valid TOML: unclosed array, expected `]`
  |
3 | seed = 1
  |         ^

4 problems in lr.toml
",
    );
}
