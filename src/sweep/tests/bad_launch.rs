//! Bad keys of how a sweep searches and where it runs, each with all that is said of it.

use super::refuses;

#[test]
fn keys_of_asha_have_no_effect_on_a_full_search() {
    refuses(
        "[search]\neta = 4\nmin_epochs = 2\nmax_epochs = 8\n[axes]\noptimizer.lr = [1]",
        r#"
error: `search.eta` has no effect without kind = "asha"
  --> lr.toml:3:7
  |
3 | eta = 4
  |       ^
help: remove it, or set kind = "asha"

error: `search.min_epochs` has no effect without kind = "asha"
  --> lr.toml:4:14
  |
4 | min_epochs = 2
  |              ^
help: remove it, or set kind = "asha"

error: `search.max_epochs` has no effect without kind = "asha"
  --> lr.toml:5:14
  |
5 | max_epochs = 8
  |              ^
help: remove it, or set kind = "asha"

3 problems in lr.toml
"#,
    );
}

#[test]
fn a_rung_takes_one_in_two_at_most_and_comes_before_the_end() {
    refuses(
        "[search]\nkind = \"asha\"\neta = 1\nmax_epochs = 1\n[axes]\noptimizer.lr = [1]",
        r"
error: expected an integer from 2 to 100, found `1`
  --> lr.toml:4:7
  |
4 | eta = 1
  |       ^ search.eta

error: expected an integer of at least 2, found `1`
  --> lr.toml:5:14
  |
5 | max_epochs = 1
  |              ^ search.max_epochs

2 problems in lr.toml
",
    );
    refuses(
        "[search]\nkind = \"asha\"\nmin_epochs = 3\nmax_epochs = 3\n[axes]\noptimizer.lr = [1]",
        r"
error: `max_epochs` is 3, but a trial trains 3 before it is compared
  --> lr.toml:5:14
  |
5 | max_epochs = 3
  |              ^ search.max_epochs
help: raise `max_epochs`, or lower `min_epochs`

1 problem in lr.toml
",
    );
}

#[test]
fn gpus_are_listed_once_and_given_by_slurm_in_a_cluster() {
    refuses(
        "launcher.gpus = [3, 0, 3]\n[axes]\noptimizer.lr = [1]",
        r"
error: the same GPU is listed twice
  --> lr.toml:2:17
  |
2 | launcher.gpus = [3, 0, 3]
  |                 ^^^^^^^^^ launcher.gpus
help: list each GPU once; `max_parallel` may be larger than the number of GPUs

1 problem in lr.toml
",
    );
    refuses(
        "launcher.gpus = []\n[axes]\noptimizer.lr = [1]",
        r"
error: `gpus` is empty
  --> lr.toml:2:17
  |
2 | launcher.gpus = []
  |                 ^^ launcher.gpus
help: list GPUs by their numbers, for example [0, 1], or remove the key

1 problem in lr.toml
",
    );
    refuses(
        "launcher = { kind = \"slurm\", gpus = [1] }\n[axes]\noptimizer.lr = [1]",
        r#"
error: `launcher.gpus` has no effect with kind = "slurm", which gives each trial its GPUs
  --> lr.toml:2:37
  |
2 | launcher = { kind = "slurm", gpus = [1] }
  |                                     ^^^
help: remove it, and set gres = "gpu:1" in [launcher.slurm]

1 problem in lr.toml
"#,
    );
}

#[test]
fn numbers_of_trials_attempts_and_gib_are_above_zero() {
    refuses(
        "max_gib = 0\n[launcher]\nmax_parallel = 0\nmax_attempts = 0\n[axes]\noptimizer.lr = [1]",
        r"
error: expected a number above 0, found `0`
  --> lr.toml:2:11
  |
2 | max_gib = 0
  |           ^ max_gib

error: expected an integer from 1 to 10000, found `0`
  --> lr.toml:4:16
  |
4 | max_parallel = 0
  |                ^ launcher.max_parallel

error: expected an integer from 1 to 1000, found `0`
  --> lr.toml:5:16
  |
5 | max_attempts = 0
  |                ^ launcher.max_attempts

3 problems in lr.toml
",
    );
}

#[test]
fn what_slurm_cannot_do_is_told_before_it_is_asked() {
    refuses(
        "[launcher.slurm]\ntime = \"00:02:00\"\nextra = [\"--array=1-3\", \"--mem=4G\"]\n[axes]\noptimizer.lr = [1]",
        r#"
error: a time limit of 120 seconds is too short for `warn_s = 120`
  --> lr.toml:3:8
  |
3 | time = "00:02:00"
  |        ^^^^^^^^^^ launcher.slurm.time
help: use at least 240 seconds, or lower `warn_s`: the limit must be 120 seconds above it

error: `--array` cannot be set in `extra`: a sweep sets it itself or does not work with it
  --> lr.toml:4:9
  |
4 | extra = ["--array=1-3", "--mem=4G"]
  |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^ launcher.slurm.extra
help: remove it; this concerns `--array`, `--chdir`, `--clusters`, `--error`, `--job-name`, `--no-requeue`, `--open-mode`, `--output`, `--parsable`, `--requeue`, `--signal`, `--test-only`, `--wait` and `--wrap`

error: `--mem` cannot be set in `extra`
  --> lr.toml:4:9
  |
4 | extra = ["--array=1-3", "--mem=4G"]
  |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^ launcher.slurm.extra
help: use the key `mem` of [launcher.slurm]

3 problems in lr.toml
"#,
    );
}
