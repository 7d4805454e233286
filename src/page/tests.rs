//! Whole pages of made-up values.

use super::model::{
    Answer, DataFacts, DataFile, Duplicates, GalleryItem, GroupRow, PartScore, RunReport,
    SweepReport, TrialRow,
};
use crate::{
    rundir::{records::EpochRow, times::Times},
    scores::confusion::Confusion,
};

const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\"'&\u{1b}[2J\u{202e}\u{2028}";

fn epoch(epoch: usize) -> EpochRow {
    EpochRow {
        epoch,
        phase: if epoch < 3 { "head" } else { "all" }.to_owned(),
        train_loss: 1.0 / epoch as f64,
        train_accuracy: 0.8,
        valid_loss: 1.1 / epoch as f64,
        valid_accuracy: 0.9,
        lr: 1e-3 / epoch as f64,
        trainable_params: 1000,
        images: 100,
        seconds: 1.5,
        images_per_second: 60.0,
        waiting_seconds: 0.1,
        frozen_seconds: 0.1,
        valid_seconds: 0.1,
        valid_macro_f1: None,
        valid_auc: None,
    }
}

/// A run with every section, of `n_classes` classes named after `name`.
fn report(name: &str, n_classes: usize) -> RunReport {
    let classes: Vec<String> = (0..n_classes).map(|at| format!("{name}{at}")).collect();
    let answers: Vec<Answer> = (0..4 * n_classes)
        .map(|at| {
            let (truth, predicted) = (at % n_classes, (at + at / n_classes % 2) % n_classes);
            let mut probabilities = vec![0.1 / n_classes as f64; n_classes];
            probabilities[predicted] = 0.9;
            Answer {
                file: format!("{name}/{at}.jpg"),
                truth,
                predicted,
                probability: 0.9,
                loss: at as f64 / 10.0,
                is_test: at % 4 == 3,
                probabilities,
                suspected: (truth != predicted && at % 3 == 0).then_some(predicted),
            }
        })
        .collect();
    let pairs = answers.iter().map(|it| (it.truth, it.predicted));
    let scores = Confusion::of_numbers(&classes, pairs).scores();
    let file = |part: &str| DataFile {
        file: format!("{name}.jpg"),
        class: name.to_owned(),
        part: part.to_owned(),
    };
    let mut report = RunReport {
        name: name.to_owned(),
        subtitle: name.to_owned(),
        epochs: (1..=4).map(epoch).collect(),
        best_epoch: Some(4),
        valid_classes: scores.clone(),
        test_classes: scores,
        data: DataFacts {
            counts: classes
                .iter()
                .map(|class| (class.clone(), [4, 2, 1]))
                .collect(),
            rejected: vec![(name.to_owned(), "is truncated".to_owned())],
            n_ignored: 1,
            duplicates: Some(Duplicates {
                exact: vec![vec![file("train"), file("valid")]],
                near: vec![vec![file("train"), file("train")]],
            }),
            note: name.to_owned(),
        },
        groups: vec![GroupRow {
            phase: name.to_owned(),
            name: name.to_owned(),
            tensors: 2,
            parameters: 1000,
            trainable: true,
            lr: 1e-3,
            weight_decay: 0.0,
        }],
        times: Some(Times {
            training: 3.0,
            ..Times::default()
        }),
        classes,
        ..RunReport::default()
    };
    report.state.name = "failed".to_owned();
    report.state.reason = name.to_owned();
    report.headline.valid = Some(PartScore {
        accuracy: 0.9,
        interval: Some((0.8, 0.95)),
        loss: 0.3,
        n_images: 8,
    });
    report.headline.baseline = Some((0.5, name.to_owned()));
    report.headline.facts = vec![("experiment".to_owned(), name.to_owned())];
    report.settings.from_defaults = vec![(name.to_owned(), name.to_owned(), None)];
    report.settings.source = name.to_owned();
    report.lineage.facts = vec![("command".to_owned(), name.to_owned())];
    let item = |answer| GalleryItem {
        answer,
        thumbnail: Some(vec![1, 2, 3]),
        overlay: (answer == 0).then(|| vec![4]),
    };
    report.gallery.items = super::chosen(&answers).into_iter().map(item).collect();
    report.answers = answers;
    report
}

/// Everything in the page that is neither text nor a style or script of its own.
fn check_is_safe(html: &str) {
    for harmful in [
        "</script><img",
        "<img src=x",
        "onerror=alert(1)>\"",
        "\u{1b}",
        "\u{202e}",
    ] {
        assert!(!html.contains(harmful), "{harmful:?}");
    }
    for values in html.split("application/json").skip(1) {
        let values = values.split("</script>").next().unwrap();
        assert!(!values.contains(['<', '&', '\u{2028}']), "{values}");
    }
    let style = include_str!("assets/page.css");
    let script = include_str!("assets/page.js");
    let rest = html.replace(style, "").replace(script, "");
    for address in ["http://", "https://", "src=\"//"] {
        assert!(!html.contains(address), "{address}");
    }
    // The script has references within the page alone.
    assert!(!style.contains("url(") && !rest.contains("url(") && !script.contains("@import"));
    // The policy forbids both.
    assert!(!rest.contains(" style=\"") && !rest.contains(" onclick="));
}

#[test]
fn a_full_report_has_every_section_and_escapes_names() {
    for n_classes in [2, 3, 40] {
        let html = super::run(&report(HOSTILE, n_classes));
        check_is_safe(&html);
        for id in [
            "overview",
            "curves",
            "confusion",
            "gallery",
            "classes",
            "calibration",
            "data",
            "groups",
            "settings",
            "lineage",
            "times",
        ] {
            assert!(html.contains(&format!("<section id=\"{id}\"")), "{id}");
            assert!(html.contains(&format!("href=\"#{id}\"")), "{id}");
        }
        assert!(html.contains("&lt;/script&gt;&lt;img"));
        assert!(html.contains("perhaps mislabeled") && html.contains("leak between parts"));
        assert!(html.contains("where the network looked"));
    }
}

#[test]
fn what_is_unknown_is_left_out() {
    let empty = RunReport::default();
    let html = super::run(&empty);
    assert!(html.contains("No epoch is complete yet"));
    assert_eq!(html.matches("<section").count(), 1);
    let mut report = report("class", 2);
    report.answers.clear();
    report.gallery.items.clear();
    report.epochs.clear();
    let html = super::run(&report);
    for id in ["curves", "confusion", "gallery", "calibration"] {
        assert!(!html.contains(&format!("id=\"{id}\"")), "{id}");
    }
}

#[test]
fn values_that_are_no_numbers_do_not_break_charts() {
    let mut report = report("class", 2);
    report.epochs[1].valid_loss = f64::NAN;
    report.epochs[2].train_loss = f64::INFINITY;
    let html = super::run(&report);
    for drawing in html.split("<svg").skip(1) {
        let drawing = drawing.split("</svg>").next().unwrap();
        assert!(
            !drawing.contains("NaN") && !drawing.contains("inf"),
            "{drawing}"
        );
    }
    let loss = html.split("data-chart=\"chart-loss\"").nth(1).unwrap();
    assert!(loss.contains("[2,null]") && loss.contains("[3,null]"));
}

#[test]
fn the_policy_names_the_style_and_the_script() {
    let html = super::run(&RunReport::default());
    let policy = html
        .split("content=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(
        policy.starts_with("default-src 'none'; img-src data:;"),
        "{policy}"
    );
    assert_eq!(policy.matches("'sha256-").count(), 2);
    assert!(!policy.contains("unsafe"));
}

#[test]
fn the_gallery_has_suspects_first_and_images_of_every_cell() {
    let answer = |truth: usize, predicted: usize, loss: f64, suspected: Option<usize>| Answer {
        truth,
        predicted,
        loss,
        suspected,
        ..Answer::default()
    };
    let mut answers: Vec<Answer> = (0..1000)
        .map(|at| answer(0, 1, 10.0 + f64::from(at), None))
        .collect();
    answers.push(answer(1, 1, 0.01, None));
    answers.push(answer(1, 0, 3.0, Some(0)));
    answers.push(answer(0, 1, f64::NAN, None));
    let chosen = super::chosen(&answers);
    assert_eq!(chosen[..3], [1001, 1002, 999]);
    assert!(chosen.contains(&1000));
    assert!(chosen.len() < 250, "{}", chosen.len());
}

fn trial(number: usize, lr: &str, accuracy: Option<f64>) -> TrialRow {
    TrialRow {
        number: number.to_string(),
        state: HOSTILE.to_owned(),
        values: vec![lr.to_owned(), HOSTILE.to_owned()],
        best_epoch: Some(1),
        accuracy,
        loss: accuracy.map(|it| 1.0 - it),
        interval: accuracy.map(|it| (it - 0.1, it + 0.1)),
        epochs: 1,
        seconds: Some(3.0),
        run: HOSTILE.to_owned(),
        reason: HOSTILE.to_owned(),
    }
}

#[test]
fn a_sweep_has_a_line_and_a_dot_for_each_trial_with_a_score() {
    let report = SweepReport {
        name: HOSTILE.to_owned(),
        axes: vec!["optimizer.lr".to_owned(), HOSTILE.to_owned()],
        trials: vec![
            trial(2, "0.01", Some(0.9)),
            trial(1, "0.1", Some(0.8)),
            trial(3, "", None),
        ],
        is_accuracy: true,
        ..SweepReport::default()
    };
    let html = super::sweep(&report);
    check_is_safe(&html);
    assert_eq!(html.matches("<path class=\"trial").count(), 2);
    assert_eq!(html.matches("<circle class=\"dot").count(), 2 * 2);
    assert!(super::sweep(&SweepReport::default()).contains("Sweep"));
}

#[test]
fn every_name_in_the_page_is_there_once() {
    let html = super::run(&report("class", 2));
    let mut ids: Vec<&str> = html
        .split(" id=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    ids.sort_unstable();
    let n_ids = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), n_ids, "{ids:?}");
}
