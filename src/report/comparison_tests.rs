//! The pictures that compare runs show every run, and survive odd values.

use image::RgbImage;

use super::{
    AxisValue, CurvePoint, RunCurve, Score, TrialPoint,
    ink::VERMILION,
    overlay,
    setting::{setting, short_labels},
    strokes::{COLOURS, look},
    sweep,
    sweep::OTHERS,
    terminal_plot,
    tests::{count, decoded},
};

/// A course that a real run could take; `at` tells the runs apart.
fn point(at: usize, epoch: usize, n_epochs: usize) -> CurvePoint {
    let wobble = ((at * 7 + epoch * 5) % 11) as f64 / 11.0 - 0.5;
    let share = 1.0 - (-(epoch as f64) / (n_epochs as f64) * (2.0 + at as f64 * 0.17)).exp();
    let accuracy = 0.55 + 0.38 * share + 0.02 * wobble;
    CurvePoint {
        epoch,
        phase: if epoch <= 3 { "head" } else { "finetune" }.into(),
        train_loss: 1.1 - 0.95 * share,
        train_accuracy: (accuracy + 0.04 * share - 0.01).min(1.0),
        valid_loss: 1.0 - 0.7 * share + 0.05 * wobble,
        valid_accuracy: accuracy,
        metric: None,
        lr: 1e-3,
    }
}

fn run(at: usize, n_epochs: usize) -> RunCurve {
    RunCurve {
        label: format!("2026-11-{:02}-vgg16-head-then-finetune-{at}", at + 1),
        rows: (1..=n_epochs)
            .map(|epoch| point(at, epoch, n_epochs))
            .collect(),
        best_epoch: Some(n_epochs.saturating_sub(at % 3)),
        goes_on_from: None,
    }
}

fn check_overlay(curves: &[RunCurve]) -> RgbImage {
    let picture = decoded(&overlay(curves).unwrap());
    assert_eq!(picture.width(), 1280);
    picture
}

fn trial(label: &str, values: Vec<AxisValue>, score: Option<f64>) -> TrialPoint {
    let reached = score.unwrap_or(0.4);
    TrialPoint {
        label: label.into(),
        values,
        score,
        is_best: false,
        interval: score.map(|score| (score - 0.03, (score + 0.02).min(1.0))),
        curve: (1..=6)
            .map(|epoch| (epoch, reached - 0.3 / (epoch * epoch) as f64))
            .map(|(epoch, value)| (epoch, value + 0.3 / 36.0))
            .collect(),
    }
}

fn numbered(n_trials: usize) -> Vec<TrialPoint> {
    (0..n_trials)
        .map(|at| {
            let lr = [1e-4, 1e-3, 1e-2][at % 3];
            let score = [0.86, 0.93, 0.71][at % 3] + (at / 3) as f64 * 0.008;
            trial(
                &format!("lr={lr:e}, seed={}", at / 3),
                vec![AxisValue::Number(lr)],
                Some(score),
            )
        })
        .collect()
}

fn check_sweep(axes: &[&str], trials: &[TrialPoint]) -> RgbImage {
    let axes: Vec<String> = axes.iter().map(|axis| (*axis).to_owned()).collect();
    for score in [Score::Accuracy, Score::Loss, Score::MacroF1, Score::Auc] {
        decoded(&sweep("a sweep", &axes, trials, &[], score).unwrap());
    }
    decoded(&sweep("a sweep", &axes, trials, &[], Score::Accuracy).unwrap())
}

fn tick_labels(values: &[f64]) -> Vec<String> {
    let values: Vec<AxisValue> = values.iter().copied().map(AxisValue::Number).collect();
    let values: Vec<Option<&AxisValue>> = values.iter().map(Some).collect();
    let setting = setting("lr", &values, 270.0).unwrap();
    let ticks = setting.across.ticks.into_iter();
    ticks.map(|tick| tick.lines.concat()).collect()
}

#[test]
fn an_overlay_shows_each_run_in_its_colour() {
    let runs: Vec<RunCurve> = (0..7).map(|at| run(at, 8)).collect();
    let picture = check_overlay(&runs);
    for colour in COLOURS {
        assert!(count(&picture, colour) > 200, "{colour:?}");
    }
    let two = check_overlay(&runs[..2]);
    assert_eq!(count(&two, COLOURS[2]), 0);
}

#[test]
fn the_best_of_many_runs_stand_out_from_the_rest() {
    let runs = |n_runs: usize| -> Vec<RunCurve> { (0..n_runs).map(|at| run(at, 8)).collect() };
    assert_eq!(count(&check_overlay(&runs(12)), OTHERS), 0);
    let picture = check_overlay(&runs(30));
    assert!(count(&picture, OTHERS) > 500);
    for colour in COLOURS {
        assert!(count(&picture, colour) > 200, "{colour:?}");
    }
}

#[test]
fn a_run_that_goes_on_from_another_is_joined_to_it() {
    let mut child = run(1, 4);
    for row in &mut child.rows {
        row.epoch += 5;
    }
    let apart = check_overlay(&[run(0, 5), child.clone()]);
    child.goes_on_from = Some((0, 5));
    let pale = super::strokes::pale(COLOURS[1], 0.45);
    let joined = check_overlay(&[run(0, 5), child.clone()]);
    assert!(count(&joined, pale) > count(&apart, pale) + 20);
    child.goes_on_from = Some((9, 5));
    check_overlay(&[run(0, 5), child.clone()]);
    child.goes_on_from = Some((0, 77));
    check_overlay(&[run(0, 5), child]);
}

#[test]
fn no_two_of_many_runs_look_alike() {
    let looks: Vec<String> = (0..28).map(|at| format!("{:?}", look(at))).collect();
    let mut distinct = looks.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), looks.len());
}

#[test]
fn the_legend_makes_an_overlay_higher_up_to_a_dozen_runs() {
    let height = |n_runs: usize| {
        let runs: Vec<RunCurve> = (0..n_runs).map(|at| run(at, 8)).collect();
        check_overlay(&runs).height()
    };
    assert!(height(2) < height(12));
    assert!(height(14) == height(40));
}

#[test]
fn an_overlay_takes_runs_without_epochs_and_values_that_are_no_numbers() {
    check_overlay(&[]);
    check_overlay(&[run(0, 0)]);
    check_overlay(&[run(0, 0), run(1, 1), run(2, 500)]);
    let mut odd = run(0, 4);
    odd.label = "ネコ\n".repeat(100);
    odd.rows[1].valid_loss = f64::NAN;
    odd.rows[2].train_accuracy = f64::INFINITY;
    check_overlay(&[odd.clone()]);
    for row in &mut odd.rows {
        row.valid_loss = f64::NAN;
        row.valid_accuracy = f64::NAN;
    }
    check_overlay(&[odd, run(1, 3)]);
}

#[test]
fn a_small_sweep_has_a_colour_for_each_trial() {
    let picture = check_sweep(&["lr"], &numbered(3));
    for colour in &COLOURS[..3] {
        assert!(count(&picture, *colour) > 100, "{colour:?}");
    }
    assert_eq!(count(&picture, OTHERS), 0);
}

#[test]
fn a_large_sweep_sets_the_best_against_the_rest() {
    let picture = check_sweep(&["lr"], &numbered(9));
    assert!(count(&picture, OTHERS) > 500);
    assert!(count(&picture, VERMILION) > 100);
    assert_eq!(count(&picture, COLOURS[2]), 0);
}

#[test]
fn a_sweep_grows_with_its_axes_up_to_six() {
    let size = |n_axes: usize| {
        let axes = vec!["optimizer.lr"; n_axes];
        let value = || AxisValue::Number(0.1);
        let trials = [trial(
            "a",
            (0..n_axes).map(|_| value()).collect(),
            Some(0.9),
        )];
        check_sweep(&axes, &trials).dimensions()
    };
    assert_eq!(size(0).0, 560);
    assert_eq!(size(1).0, 560 + 360);
    assert_eq!((size(2).0, size(4).0), (560 + 2 * 360, 560 + 2 * 360));
    assert!(size(4).1 > size(2).1);
    assert_eq!(size(6), size(9));
}

#[test]
fn a_sweep_takes_failed_trials_and_odd_values() {
    check_sweep(&[], &[]);
    check_sweep(
        &["lr"],
        &[trial("failed", vec![AxisValue::Number(0.1)], None)],
    );
    let odd = |value: AxisValue, score: f64| TrialPoint {
        interval: Some((f64::NAN, f64::INFINITY)),
        curve: vec![(1, f64::NAN), (2, score), (2, score)],
        ..trial("", vec![value], Some(score))
    };
    check_sweep(
        &["lr", "no trial has this one"],
        &[
            odd(AxisValue::Number(f64::NAN), 0.5),
            odd(AxisValue::Number(-1e300), 0.5),
            odd(AxisValue::Number(1e300), f64::NAN),
        ],
    );
    check_sweep(
        &["layers"],
        &[
            odd(AxisValue::Word(String::new()), 0.5),
            odd(AxisValue::Word("ネコ".repeat(99)), 1e300),
            odd(AxisValue::Number(3.0), -1e300),
        ],
    );
}

#[test]
fn few_values_are_the_ticks_themselves() {
    assert_eq!(
        tick_labels(&[1e-2, 1e-4, 1e-3, 1e-3]),
        ["1e-4", "1e-3", "1e-2"]
    );
    assert_eq!(tick_labels(&[0.0, 0.2, 0.5]), ["0", "0.2", "0.5"]);
    assert_eq!(tick_labels(&[16.0, 32.0, 64.0]), ["16", "32", "64"]);
    assert_eq!(tick_labels(&[0.3]), ["0.3"]);
}

#[test]
fn many_or_uneven_values_get_round_ticks() {
    assert_eq!(
        tick_labels(&[1.234_567_8e-4, 0.071_234_5]),
        ["1e-4", "1e-3", "1e-2", "1e-1"]
    );
    let even: Vec<f64> = (0..20).map(|at| f64::from(at) * 0.026_315).collect();
    assert_eq!(tick_labels(&even), ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
    assert_eq!(short_labels(&[0.1 + 0.2]), ["0.3"]);
}

#[test]
fn a_terminal_plot_draws_letters_and_the_way_between() {
    let series = [
        ('t', vec![(1, 0.60), (2, 0.80), (3, 0.90)]),
        ('v', vec![(1, 0.65), (2, 0.80), (3, 0.85)]),
    ];
    let expected = "\
accuracy
100 % ┤
      │                      ······t
 80 % ┤           ···*·············v
      │    ·······
 60 % ┤*···
      │
 40 % ┤
      └┬─────────────┬─────────────┬
epoch  1             2             3";
    assert_eq!(terminal_plot("accuracy", &series, 36, 10, true), expected);
}

#[test]
fn a_value_that_is_no_number_interrupts_the_way() {
    let series = [('a', vec![(1, 0.5), (2, f64::NAN), (3, 0.5), (4, 0.5)])];
    let expected = "\
loss
0.5005 ┤
       │
0.5000 ┤a                    a·········a
       │
0.4995 ┤
       └┬─────────┬──────────┬─────────┬
epoch   1         2          3         4";
    assert_eq!(terminal_plot("loss", &series, 40, 9, false), expected);
}

#[test]
fn a_plot_without_numbers_says_so() {
    let expected = "loss\n(no values yet)";
    assert_eq!(terminal_plot("loss", &[], 40, 9, false), expected);
    let series = [('a', vec![(1, f64::NAN), (2, f64::INFINITY)])];
    assert_eq!(terminal_plot("loss", &series, 40, 9, false), expected);
}

#[test]
fn one_point_stands_in_the_middle() {
    let expected = "\
accuracy
100 % ┤         v
      │
 98 % ┤
      └─────────┬──────────
epoch           3";
    let series = [('v', vec![(3, 1.0)])];
    assert_eq!(terminal_plot("accuracy", &series, 27, 6, true), expected);
}

#[test]
fn no_terminal_plot_is_wider_than_its_width_or_ends_a_line_in_a_space() {
    let many = (1..=5000)
        .map(|epoch| (epoch, 1.0 / epoch as f64))
        .collect();
    let series = [
        vec![('t', many)],
        vec![('v', vec![(7, 0.25), (8, -0.0), (9, 1e300)])],
        vec![('v', vec![(1, f64::MAX), (1_000_000_000, f64::MIN)])],
        vec![('v', vec![(2, 1e-320), (1, 0.0), (2, 0.0)])],
        vec![('v', vec![(usize::MAX, 0.1), (0, 0.2)])],
    ];
    for series in &series {
        for width in (0..30).chain([80, 200]) {
            for (height, as_percent) in [(0, true), (5, false), (24, true)] {
                let plot = terminal_plot("the accuracy ", series, width, height, as_percent);
                assert!(plot.lines().count() <= height.max(5));
                for line in plot.lines() {
                    assert!(line.chars().count() <= width, "{width}: {plot}");
                    assert_eq!(line, line.trim_end());
                }
            }
        }
    }
}

#[test]
fn many_words_are_written_upwards() {
    let height = |n_words: usize| {
        let trials: Vec<TrialPoint> = (0..n_words)
            .map(|at| {
                let word = AxisValue::Word(format!("features[{at}:], classifier"));
                trial("a", vec![word], Some(0.9))
            })
            .collect();
        check_sweep(&["trainable"], &trials).height()
    };
    assert!(height(9) > height(1) + 50);
    assert_eq!(height(60), height(90));
}

#[test]
fn of_equal_trials_the_one_that_is_named_is_the_best() {
    let axis = |number: f64| vec![AxisValue::Number(number)];
    let mut trials = [
        trial("first", axis(0.1), Some(0.8)),
        trial("second", axis(0.2), Some(0.8)),
    ];
    let first = check_sweep(&["lr"], &trials);
    trials[1].is_best = true;
    let second = check_sweep(&["lr"], &trials);
    assert!(first != second, "the mark stayed where it was");
}

#[test]
fn draws_from_an_interval_stand_on_a_linear_axis() {
    let axis = |numbers: &[f64]| {
        let values: Vec<AxisValue> = numbers.iter().map(|it| AxisValue::Number(*it)).collect();
        let values: Vec<Option<&AxisValue>> = values.iter().map(Some).collect();
        let setting = super::setting::setting("x", &values, 300.0).unwrap();
        setting.places[0]
    };
    assert_eq!(axis(&[0.004, 0.05, 0.12, 0.18, 0.29]), Some(0.004));
    assert_eq!(axis(&[1e-4, 3e-4, 1e-3]), Some(-4.0));
    assert_eq!(axis(&[1e-4, 1e-1]), Some(-4.0));
}
