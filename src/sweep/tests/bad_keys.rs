//! Bad keys of the sweep itself, each with all that is said of it.

use super::refuses;

#[test]
fn a_seed_has_no_effect_on_a_grid() {
    refuses(
        "seed = 7\n[axes]\noptimizer.lr = [1]",
        r#"
error: `seed` has no effect with method = "grid"
  --> lr.toml:2:8
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
        r"
error: missing key `max_trials`
  --> lr.toml
help: add max_trials = 20, the number of trials to draw

1 problem in lr.toml
",
    );
}

#[test]
fn a_grid_may_be_too_large() {
    refuses(
        "max_trials = 5\n[axes]\noptimizer.lr = [1, 2]\nmodel.dropout = [0.1, 0.2, 0.3]",
        r#"
error: the grid has 6 trials, more than max_trials = 5
  --> lr.toml:2:14
  |
2 | max_trials = 5
  |              ^ max_trials
help: raise `max_trials`, or set method = "random" to draw 5 of them

1 problem in lr.toml
"#,
    );
}

#[test]
fn a_grid_without_a_limit_has_one() {
    refuses(
        "[axes]\na = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\nb = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\nc = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\nd = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\ne = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n",
        r#"
error: the grid has 100000 trials, more than 10000
  --> lr.toml:2:1
  |
2 | [axes]
  | ^^^^^^ axes
help: set method = "random" and `max_trials` to draw some of them

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
error: unknown key `methd`
  --> lr.toml:2:1
  |
2 | methd = "grid"
  | ^^^^^
help: did you mean `method`?

error: unknown key `ax`
  --> lr.toml:3:1
  |
3 | ax = 1
  | ^^
help: did you mean `axes`?

error: unknown key `optimizer.lr`
  --> lr.toml:4:1
  |
4 | "optimizer.lr" = [1]
  | ^^^^^^^^^^^^^^
help: `optimizer.lr` belongs in [set] or [axes]

error: unknown key `axis`
  --> lr.toml:5:2
  |
5 | [axis]
  |  ^^^^
help: did you mean `axes`?

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
error: expected a string, found integer `3`
  --> lr.toml:2:8
  |
2 | name = 3
  |        ^ name
help: write `name = "3"`

error: unknown method `gird`
  --> lr.toml:3:10
  |
3 | method = "gird"
  |          ^^^^^^ method
help: did you mean `grid`? expected one of `grid`, `random` or `sobol`

error: unknown key `parallel`
  --> lr.toml:4:1
  |
4 | parallel = 0
  | ^^^^^^^^
help: `parallel` belongs in [launcher], where it is `max_parallel`

error: expected an integer, found float `1.5`
  --> lr.toml:5:14
  |
5 | max_trials = 1.5
  |              ^^^ max_trials

error: expected a table, found integer `1`
  --> lr.toml:6:7
  |
6 | set = 1
  |       ^ set

error: expected a table, found an array
  --> lr.toml:7:8
  |
7 | axes = []
  |        ^^ axes

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
error: invalid sweep name `a/b`
  --> lr.toml:2:8
  |
2 | name = "a/b"
  |        ^^^^^ name
help: start the name with a letter or a digit, and use at most 100 letters, digits, `-`, `_` and `.`

1 problem in lr.toml
"#,
    );
}

#[test]
fn syntax_errors_come_alone() {
    refuses(
        "axes = [\nseed = 1",
        r"
error: invalid TOML: string values must be quoted, expected literal string
  --> lr.toml:3:1
  |
3 | seed = 1
  | ^^^^

error: invalid TOML: unexpected `=` in array, expected value, `]`
  --> lr.toml:3:6
  |
3 | seed = 1
  |      ^

error: invalid TOML: missing comma between array elements, expected `,`
  --> lr.toml:3:8
  |
3 | seed = 1
  |        ^

error: invalid TOML: unclosed array, expected `]`
  --> lr.toml:3:9
  |
3 | seed = 1
  |         ^

4 problems in lr.toml
",
    );
}
