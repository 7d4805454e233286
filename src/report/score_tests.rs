//! The plots of an evaluation show every curve, and survive odd values.

use super::{
    MarkedPoint, ReliabilityBin, ScoreCurve,
    ink::BLUE,
    precision_recall, reliability, roc,
    strokes::COLOURS,
    sweep::OTHERS,
    tests::{count, decoded},
};

fn curve(at: usize, n: usize) -> ScoreCurve {
    let shape = 2.0 + at as f64 / n as f64 * 6.0;
    let points = (0..=40).map(|step| {
        let x = f64::from(step) / 40.0;
        (x, 1.0 - (1.0 - x).powf(shape))
    });
    ScoreCurve {
        label: format!("class {at}: area {:.3}", shape / (shape + 1.0)),
        score: shape / (shape + 1.0),
        points: points.collect(),
    }
}

fn curves(n: usize) -> Vec<ScoreCurve> {
    (0..n).map(|at| curve(at, n)).collect()
}

#[test]
fn up_to_seven_curves_have_a_colour_each_and_of_more_those_with_the_lowest_scores() {
    let one = decoded(&roc(&curves(1), None, "160 valid images").unwrap());
    assert!(count(&one, BLUE) > 500);
    let seven = decoded(&roc(&curves(7), None, "160 valid images").unwrap());
    for colour in COLOURS {
        assert!(count(&seven, colour) > 200, "{colour:?}");
    }
    assert_eq!(count(&seven, OTHERS), 0);
    let many = decoded(&precision_recall(&curves(40), None, None, "all").unwrap());
    // The legend says what the pale curves are.
    assert!(count(&many, OTHERS) > 20);
    assert!(count(&many, BLUE) > 200);
}

#[test]
fn a_threshold_is_marked_wherever_it_lies() {
    let without = decoded(&roc(&curves(1), None, "images").unwrap());
    for at in [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.4, 0.3)] {
        let point = MarkedPoint {
            at,
            label: "threshold 0.5".to_owned(),
        };
        let marked = decoded(&roc(&curves(1), Some(&point), "images").unwrap());
        assert_ne!(marked, without, "{at:?}");
        decoded(&precision_recall(&curves(1), Some(0.01), Some(&point), "images").unwrap());
    }
}

#[test]
fn curves_without_points_and_names_that_are_too_long_are_drawn_as_well() {
    let mut odd = curves(9);
    odd[0].points.clear();
    odd[1].points.truncate(1);
    odd[2].label = "a class with a name that fits no legend ".repeat(9);
    let images = "images of a folder whose name fits no heading ".repeat(9);
    decoded(&roc(&odd, None, &images).unwrap());
    decoded(&precision_recall(&odd, Some(0.0), None, &images).unwrap());
}

#[test]
fn every_bin_of_a_calibration_plot_has_a_mark() {
    let bin = |at: usize, images: usize, accuracy: f64| ReliabilityBin {
        low: at as f64 / 15.0,
        high: (at + 1) as f64 / 15.0,
        images,
        confidence: (at as f64 + 0.5) / 15.0,
        accuracy,
        interval: ((accuracy - 0.1).max(0.0), (accuracy + 0.1).min(1.0)),
    };
    let all: Vec<ReliabilityBin> = (0..15).map(|at| bin(at, 1 + at * at, 0.9)).collect();
    let few = decoded(&reliability(&all[7..9], "error 1 %", "images").unwrap());
    let many = decoded(&reliability(&all, "error 1 %", "images").unwrap());
    assert!(count(&many, BLUE) > 2 * count(&few, BLUE));
    let extremes = [bin(0, 1, 0.0), bin(14, 1_000_000, 1.0)];
    decoded(&reliability(&extremes, "error 1 %", "images").unwrap());
    decoded(&reliability(&[], "", "").unwrap());
}
