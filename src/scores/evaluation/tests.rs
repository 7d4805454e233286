//! Every score against scikit-learn's, also of resamples, whose images count several times.

use serde_json::Value;

use super::*;
use crate::scores::curves::CurveStep;

const CASES: [(&str, &str); 11] = [
    (
        "two",
        include_str!("../../../tests/fixtures/scores/two.json"),
    ),
    (
        "two_tied",
        include_str!("../../../tests/fixtures/scores/two_tied.json"),
    ),
    (
        "two_one_class",
        include_str!("../../../tests/fixtures/scores/two_one_class.json"),
    ),
    (
        "two_constant",
        include_str!("../../../tests/fixtures/scores/two_constant.json"),
    ),
    (
        "two_all_correct",
        include_str!("../../../tests/fixtures/scores/two_all_correct.json"),
    ),
    (
        "five",
        include_str!("../../../tests/fixtures/scores/five.json"),
    ),
    (
        "five_tied",
        include_str!("../../../tests/fixtures/scores/five_tied.json"),
    ),
    (
        "five_absent",
        include_str!("../../../tests/fixtures/scores/five_absent.json"),
    ),
    (
        "five_never_predicted",
        include_str!("../../../tests/fixtures/scores/five_never_predicted.json"),
    ),
    (
        "five_neither",
        include_str!("../../../tests/fixtures/scores/five_neither.json"),
    ),
    (
        "five_all_wrong",
        include_str!("../../../tests/fixtures/scores/five_all_wrong.json"),
    ),
];

struct Golden {
    targets: Vec<usize>,
    predicted: Vec<usize>,
    probabilities: Vec<Vec<f64>>,
    weights: Vec<u32>,
    case: Value,
}

impl Golden {
    fn read(text: &str) -> Self {
        let case: Value = serde_json::from_str(text).unwrap();
        let list = |name: &str| serde_json::from_value(case[name].clone()).unwrap();
        Self {
            targets: list("targets"),
            predicted: list("predicted"),
            probabilities: serde_json::from_value(case["probabilities"].clone()).unwrap(),
            weights: serde_json::from_value(case["weights"].clone()).unwrap(),
            case,
        }
    }

    fn n_classes(&self) -> usize {
        self.probabilities[0].len()
    }

    fn evaluated(&self) -> Evaluation {
        let classes = names(self.n_classes());
        Evaluation::new(
            &classes,
            &self.targets,
            &self.predicted,
            &self.probabilities,
        )
    }
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|at| format!("class {at}")).collect()
}

#[track_caller]
fn assert_close(found: Option<f64>, expected: &Value, what: &str) {
    let is_close = match (found, expected.as_f64()) {
        (Some(found), Some(expected)) => {
            (found - expected).abs() <= 1e-12 * expected.abs().max(1.0)
        }
        (found, expected) => found == expected,
    };
    assert!(is_close, "{what}: {found:?} is not {expected}");
}

#[test]
fn scores_are_those_of_scikit_learn() {
    for (name, text) in CASES {
        let golden = Golden::read(text);
        let found = golden.evaluated();
        let expected = &golden.case["scores"];
        let value = |estimate: Option<Estimate>| estimate.map(|it| it.value);
        let (of_all, weighted) = (found.macro_average, found.weighted_average);
        for (score, found) in [
            ("accuracy", value(found.accuracy)),
            ("macro_precision", value(of_all.precision)),
            ("macro_recall", value(of_all.recall)),
            ("macro_f1", value(of_all.f1)),
            ("macro_roc_auc", value(of_all.roc_auc)),
            ("macro_average_precision", value(of_all.average_precision)),
            ("weighted_precision", value(weighted.precision)),
            ("weighted_recall", value(weighted.recall)),
            ("weighted_f1", value(weighted.f1)),
            ("weighted_roc_auc", value(weighted.roc_auc)),
            (
                "weighted_average_precision",
                value(weighted.average_precision),
            ),
            ("log_loss", value(found.log_loss)),
            ("brier_score", value(found.brier_score)),
            ("calibration_error", found.calibration_error),
            ("cohen_kappa", value(found.cohen_kappa)),
            ("matthews", value(found.matthews)),
        ] {
            assert_close(found, &expected[score], &format!("{name}: {score}"));
        }
        for (at, class) in found.class.iter().enumerate() {
            for (score, found) in [
                ("precision", value(class.precision)),
                ("recall", value(class.recall)),
                ("f1", value(class.f1)),
                ("support", Some(class.images as f64)),
                ("roc_auc", value(class.roc_auc)),
                ("average_precision", value(class.average_precision)),
            ] {
                assert_close(
                    found,
                    &expected[score][at],
                    &format!("{name}: {score} of {at}"),
                );
            }
        }
        assert_eq!(found.calibration.len(), calibration::N_BINS);
        for (at, bin) in found.calibration.iter().enumerate() {
            let expected = &expected["calibration"][at];
            assert_eq!(
                Some(bin.images as u64),
                expected[0].as_u64(),
                "{name}: bin {at}"
            );
            assert_close(bin.confidence, &expected[1], name);
            assert_close(bin.accuracy, &expected[2], name);
        }
    }
}

#[test]
fn scores_of_resamples_are_those_of_scikit_learn_with_weights() {
    for (name, text) in CASES {
        let golden = Golden::read(text);
        let Golden {
            targets,
            predicted,
            probabilities,
            weights,
            ..
        } = &golden;
        let mut answers = Answers::new(golden.n_classes(), targets, predicted, probabilities);
        let found = answers.scores(weights, true);
        // Of very many images and classes, the ranks are not kept.
        answers.ranked.clear();
        assert_eq!(answers.scores(weights, true), found);
        let mut found = found.into_iter();
        let expected = &golden.case["weighted"];
        let mut check = |score: &str, expected: &Value| {
            assert_close(found.next().unwrap(), expected, &format!("{name}: {score}"));
        };
        for score in [
            "cohen_kappa",
            "matthews",
            "log_loss",
            "brier_score",
            "macro_precision",
            "macro_recall",
            "macro_f1",
            "weighted_precision",
            "weighted_f1",
        ] {
            check(score, &expected[score]);
        }
        for class in 0..golden.n_classes() {
            check("f1", &expected["f1"][class]);
        }
        for score in [
            "macro_roc_auc",
            "macro_average_precision",
            "weighted_roc_auc",
            "weighted_average_precision",
        ] {
            check(score, &expected[score]);
        }
        for class in 0..golden.n_classes() {
            check("roc_auc", &expected["roc_auc"][class]);
            check("average_precision", &expected["average_precision"][class]);
        }
        assert_eq!(found.next(), None);
        let error = calibration::expected_error(&answers.bins(weights));
        assert_close(error, &expected["calibration_error"], name);
    }
}

#[test]
fn curves_are_those_of_scikit_learn() {
    let mut n_curves = 0;
    for (name, text) in CASES {
        let golden = Golden::read(text);
        let curves = &golden.case["curves"];
        let Some(class) = curves["class"].as_u64() else {
            continue;
        };
        n_curves += 1;
        let ranked = Ranked::new(class as usize, &golden.targets, &golden.probabilities);
        let steps = ranked.steps();
        // scikit-learn begins the first curve above every threshold.
        let roc = &curves["roc"].as_array().unwrap()[1..];
        let precision_recall = curves["precision_recall"].as_array().unwrap();
        assert_eq!(
            [roc.len(), precision_recall.len()],
            [steps.len(); 2],
            "{name}"
        );
        for (CurveStep { threshold, outcome }, (roc, point)) in
            steps.iter().zip(roc.iter().zip(precision_recall))
        {
            let false_positive_rate = outcome.specificity().map(|it| 1.0 - it);
            assert_close(false_positive_rate, &roc[0], name);
            assert_close(outcome.sensitivity(), &roc[1], name);
            assert_close(Some(*threshold), &roc[2], name);
            assert_close(outcome.precision(), &point[0], name);
            assert_close(outcome.sensitivity(), &point[1], name);
            assert_eq!(ranked.at(*threshold), *outcome);
        }
        let area = macro_roc_auc(golden.n_classes(), &golden.targets, &golden.probabilities);
        assert_close(area, &golden.case["scores"]["macro_roc_auc"], name);
    }
    assert_eq!(n_curves, 4);
}

#[test]
fn intervals_enclose_the_score_and_are_the_same_with_any_number_of_threads() {
    let golden = Golden::read(CASES[5].1);
    let found = golden.evaluated();
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    assert_eq!(one.install(|| golden.evaluated()), found);
    let of_classes = found.class.iter();
    let of_classes = of_classes.flat_map(|it| {
        [
            it.precision,
            it.recall,
            it.f1,
            it.roc_auc,
            it.average_precision,
        ]
    });
    let averages = [found.macro_average, found.weighted_average];
    let averages = averages.into_iter().flat_map(|it| {
        [
            it.precision,
            it.recall,
            it.f1,
            it.roc_auc,
            it.average_precision,
        ]
    });
    let others = [
        found.accuracy,
        found.log_loss,
        found.brier_score,
        found.cohen_kappa,
        found.matthews,
    ];
    for estimate in of_classes.chain(averages).chain(others) {
        let Estimate { value, low, high } = estimate.unwrap();
        let (low, high) = (low.unwrap(), high.unwrap());
        assert!(low < value && value < high, "{low} {value} {high}");
    }
    // Wilson's, for 53 of 80.
    let accuracy = found.accuracy.unwrap();
    assert_eq!(accuracy.low.zip(accuracy.high), Some(wilson(53, 80)));
}

#[test]
fn scores_without_probabilities_or_images_are_absent() {
    let classes = names(2);
    let found = Evaluation::new(&classes, &[0, 1, 1], &[0, 1, 0], &[]);
    assert_eq!((found.images, found.correct), (3, 2));
    assert!(found.macro_average.f1.is_some() && found.cohen_kappa.is_some());
    assert_eq!((found.log_loss, found.brier_score), (None, None));
    assert_eq!(
        (found.macro_average.roc_auc, found.class[1].roc_auc),
        (None, None)
    );
    assert_eq!(
        (found.calibration_error, found.calibration.len()),
        (None, 0)
    );
    let not_finite = vec![vec![0.5, 0.5], vec![f64::NAN, 0.5], vec![0.5, 0.5]];
    assert_eq!(
        Evaluation::new(&classes, &[0, 1, 1], &[0, 1, 0], &not_finite),
        found
    );
    let none = Evaluation::new(&classes, &[], &[], &[]);
    assert_eq!(
        (none.images, none.accuracy, none.baseline_accuracy),
        (0, None, None)
    );
    assert_eq!((none.cohen_kappa, none.macro_average.f1), (None, None));
}

#[test]
fn the_most_confused_pairs_come_first_and_the_most_frequent_class_is_the_baseline() {
    let targets = [0, 0, 0, 0, 1, 1, 1, 2, 2];
    let predicted = [0, 1, 1, 2, 1, 0, 0, 1, 1];
    let found = Evaluation::new(&names(3), &targets, &predicted, &[]);
    let pairs = found.most_confused.iter();
    let pairs: Vec<(&str, &str, usize)> = pairs
        .map(|it| (it.class.as_str(), it.predicted.as_str(), it.images))
        .collect();
    // Two each; the rarer the class, the larger the share.
    let expected = [
        ("class 2", "class 1", 2),
        ("class 1", "class 0", 2),
        ("class 0", "class 1", 2),
        ("class 0", "class 2", 1),
    ];
    assert_eq!(pairs, expected);
    assert_eq!(found.majority_class.as_deref(), Some("class 0"));
    assert_eq!(found.baseline_accuracy, Some(4.0 / 9.0));
}
