//! Sheets of training images.

use std::fs;

use crate::{
    program::{Case, png_size},
    voice::Transcript,
};

#[test]
fn samples_are_drawn_without_weights_as_they_are_and_as_the_network_sees_them() {
    let case = Case::new("");
    let missing = ["--set", "model.weights=\"missing.pth\""];
    let samples = |args: &[&str]| {
        let words = ["samples", "small.toml"];
        case.ok(&[&words, &missing[..], args].concat())
    };
    let column = 216 + 20;
    assert_eq!(samples(&["--images", "4"]).trim(), "samples.png");
    assert_eq!(png_size(&case.path("samples.png")).0, 4 * column + 20);
    let plain = fs::read(case.path("samples.png")).unwrap();

    samples(&["--images", "4", "--augmented"]);
    let seen = fs::read(case.path("samples.png")).unwrap();
    assert_ne!(plain, seen);

    // Three epochs of an image beside those of another one.
    let flips = ["--set", "augment.horizontal_flip=0.5"];
    let more = [
        "--images",
        "4",
        "--augmented",
        "--epochs",
        "3",
        "-o",
        "seen.png",
    ];
    let answer = samples(&[&flips[..], &more[..], &["--json"]].concat());
    assert!(answer.contains(r#""epochs":3"#), "{answer}");
    assert_eq!(png_size(&case.path("seen.png")).0, 6 * column + 20);
    let flipped = fs::read(case.path("seen.png")).unwrap();
    samples(&[&flips[..], &more[..]].concat());
    assert_eq!(flipped, fs::read(case.path("seen.png")).unwrap());
}

#[test]
fn only_what_has_an_effect_is_accepted() {
    let case = Case::new("");
    Transcript::new(&case)
        .fails(&["samples", "small.toml", "-o", "sheet.jpg"])
        .fails(&["samples", "small.toml", "--epochs", "3"])
        .fails(&["samples", "small.toml", "--images", "0"])
        .is("errors_of_samples");
}
