//! The pictures decode, show what they should, and survive odd values.

use image::{Rgb, RgbImage};

use super::{
    CurvePoint, Numbers, Tile, Title, columns, confusion, curves,
    ink::{BLUE, VERMILION},
    photo_grid,
    photos::{RIGHT, WRONG},
    text,
};

pub(super) fn decoded(png: &[u8]) -> RgbImage {
    assert!(png.starts_with(b"\x89PNG"));
    image::load_from_memory(png).unwrap().into_rgb8()
}

pub(super) fn count(picture: &RgbImage, colour: super::ink::Color) -> usize {
    picture
        .pixels()
        .filter(|pixel| **pixel == Rgb([colour.0, colour.1, colour.2]))
        .count()
}

fn row(epoch: usize, phase: &str, value: f64) -> CurvePoint {
    CurvePoint {
        epoch,
        phase: phase.into(),
        train_loss: value,
        train_accuracy: value,
        valid_loss: value / 2.0,
        valid_accuracy: value / 2.0,
        metric: None,
        lr: 1e-3,
    }
}

fn check_curves(rows: &[CurvePoint]) -> RgbImage {
    let picture = decoded(&curves(rows, rows.first().map(|row| row.epoch)).unwrap());
    assert_eq!(picture.dimensions(), (1280, 500));
    picture
}

const PHOTO: [u8; 3 * 4 * 2] = [90; 24];

fn tile<'a>(predicted: &'a str, truth: &'a str) -> Tile<'a> {
    Tile {
        rgb: &PHOTO,
        width: 4,
        height: 2,
        title: Title::Prediction {
            predicted,
            probability: 0.97,
            truth,
        },
        caption: "Cat/a photo with a name that is much longer than the photo is wide.jpg",
    }
}

fn check_grid(tiles: &[Tile]) -> RgbImage {
    let tiles: Vec<Option<Tile>> = tiles.iter().copied().map(Some).collect();
    let grid = photo_grid(
        ("Sample predictions", "1 of 2"),
        &tiles,
        columns(tiles.len()),
    );
    decoded(&grid.unwrap())
}

fn check_confusion(n_classes: usize, name: &str) {
    let classes: Vec<String> = (0..n_classes).map(|at| format!("{name}{at}")).collect();
    let matrix: Vec<Vec<usize>> = (0..n_classes)
        .map(|row| (0..n_classes).map(|at| row * at * 1000).collect())
        .collect();
    let shares = confusion(&matrix, &classes, Numbers::Shares, "test images").unwrap();
    let picture = confusion(&matrix, &classes, Numbers::Counts, "test images").unwrap();
    let picture = decoded(&picture);
    assert_eq!(picture.dimensions(), decoded(&shares).dimensions());
    assert!(picture.width() >= 400 && picture.height() > 100);
}

#[test]
fn curves_show_both_series() {
    let rows: Vec<_> = (1..=9)
        .map(|epoch| {
            row(
                epoch,
                if epoch < 5 { "head" } else { "all" },
                0.1 * epoch as f64,
            )
        })
        .collect();
    let picture = check_curves(&rows);
    assert!(count(&picture, BLUE) > 500 && count(&picture, VERMILION) > 500);
}

#[test]
fn curves_take_any_number_of_epochs() {
    check_curves(&[]);
    check_curves(&[row(1, "head", 0.5)]);
    let many: Vec<_> = (1..=500)
        .map(|epoch| row(epoch, "head", 1.0 / epoch as f64))
        .collect();
    check_curves(&many);
    let phase_each: Vec<_> = (1..=120)
        .map(|epoch| row(epoch, &format!("phase {epoch}"), 0.5))
        .collect();
    check_curves(&phase_each);
}

#[test]
fn values_that_are_no_numbers_leave_a_gap() {
    check_curves(&[row(1, "head", f64::NAN), row(2, "head", f64::INFINITY)]);
    let picture = check_curves(&[
        row(1, "head", 0.9),
        row(2, "head", f64::NEG_INFINITY),
        row(3, "head", 0.8),
    ]);
    assert!(count(&picture, BLUE) > 0);
}

#[test]
fn curves_take_extreme_values() {
    check_curves(&[row(1, "head", 1e300), row(2, "head", -1e300)]);
    check_curves(&[row(1, "head", 0.0), row(2, "head", 0.0)]);
    check_curves(&[row(1, "head", 1e-300), row(1_000_000, "", 1e-12)]);
    // A run that went on from a checkpoint may repeat or go back.
    check_curves(&[row(5, "head", 0.5), row(2, "head", 0.4), row(2, "all", 0.4)]);
}

#[test]
fn titles_are_green_where_right_and_red_where_wrong() {
    let right = check_grid(&[tile("Cat", "Cat")]);
    assert!(count(&right, RIGHT) > 10 && count(&right, WRONG) == 0);
    let wrong = check_grid(&[tile("Dog", "Cat")]);
    assert!(count(&wrong, WRONG) > 10 && count(&wrong, RIGHT) == 0);
}

#[test]
fn the_photo_is_letterboxed() {
    let picture = check_grid(&[tile("Cat", "Cat")]);
    // 216 pixels wide and, at two to one, 108 high.
    assert_eq!(count(&picture, super::ink::Color(90, 90, 90)), 216 * 108);
}

#[test]
fn sixteen_tiles_make_four_rows_of_four() {
    let picture = check_grid(&[tile("Cat", "Dog"); 16]);
    assert_eq!(picture.dimensions(), (4 * 236 + 20, 58 + 4 * 308));
    check_grid(&[tile("Cat", "Dog"); 70]);
}

#[test]
fn odd_tiles_do_no_harm() {
    check_grid(&[]);
    let long = "x".repeat(500);
    check_grid(&[
        tile(&long, &long),
        tile("", ""),
        tile("ネコ", "😀\n\0"),
        tile("שלום", "e\u{301}"),
    ]);
    for (rgb, width, height) in [
        (&PHOTO[..3], 4, 2),
        (&PHOTO[..], 0, 0),
        (&PHOTO[..], 8, 1),
        (&[], u32::MAX, u32::MAX),
    ] {
        check_grid(&[Tile {
            rgb,
            width,
            height,
            title: Title::Prediction {
                predicted: "Cat",
                probability: f64::NAN,
                truth: "Cat",
            },
            ..tile("Cat", "Cat")
        }]);
    }
}

#[test]
fn an_empty_place_keeps_its_room() {
    let tile = tile("Cat", "Cat");
    let plain = Tile {
        title: Title::Plain("cat", "epoch 1"),
        ..tile
    };
    let grid = photo_grid(("Views", ""), &[Some(tile), None, Some(plain)], 2).unwrap();
    let picture = decoded(&grid);
    assert_eq!(picture.dimensions(), (2 * 236 + 20, 58 + 2 * 308));
    assert_eq!(
        count(&picture, super::ink::Color(90, 90, 90)),
        2 * 216 * 108
    );
}

#[test]
fn confusion_takes_any_number_of_classes() {
    for n_classes in [0, 1, 2, 7, 35, 50, 51, 300] {
        check_confusion(n_classes, "class ");
    }
    check_confusion(3, "un nom de classe beaucoup trop long pour la marge ");
    check_confusion(3, "ネコ");
}

#[test]
fn a_matrix_smaller_than_its_classes_counts_as_zeros() {
    let classes = ["Cat".to_owned(), "Dog".to_owned()];
    for numbers in [Numbers::Counts, Numbers::Shares] {
        decoded(&confusion(&[vec![3]], &classes, numbers, "test images").unwrap());
        decoded(&confusion(&[], &classes, numbers, "test images").unwrap());
    }
}

#[test]
fn a_long_name_is_cut_to_its_room() {
    let short = text::shortened("american_staffordshire_terrier", 14.0, 100.0).unwrap();
    assert!(short.ends_with('…') && short.starts_with("amer"), "{short}");
    assert!(text::width(&short, 14.0).unwrap() <= 100.0);
    assert_eq!(text::shortened("Katze", 14.0, 100.0).unwrap(), "Katze");
    assert_eq!(text::shortened("Katze", 14.0, 1.0).unwrap(), "");
}

#[test]
fn a_file_name_is_cut_in_its_middle() {
    let short = text::elided("american_staffordshire_terrier/183.jpg", 14.0, 120.0).unwrap();
    assert!(
        short.starts_with("amer") && short.ends_with("183.jpg"),
        "{short}"
    );
    assert!(text::width(&short, 14.0).unwrap() <= 120.0);
    assert_eq!(text::elided("a.jpg", 14.0, 120.0).unwrap(), "a.jpg");
    assert_eq!(text::elided("a.jpg", 14.0, 1.0).unwrap(), "");
}

#[test]
fn the_metric_of_a_run_has_a_line_of_its_own_beside_accuracy() {
    let rows = |metric: fn(f64) -> Option<(&'static str, f64)>| {
        let rows = (1..=6).map(|epoch| CurvePoint {
            metric: metric(0.6 + 0.05 * f64::from(epoch)),
            ..row(epoch as usize, "head", 0.9)
        });
        check_curves(&rows.collect::<Vec<_>>())
    };
    let green = super::strokes::look(2).colour;
    assert_eq!(count(&rows(|_| None), green), 0);
    assert!(count(&rows(|value| Some(("macro F1", value))), green) > 200);
    // A value that is not a number leaves a gap.
    rows(|_| Some(("AUC", f64::NAN)));
}

#[test]
fn a_training_point_shows_where_it_meets_the_validation_point() {
    let both = CurvePoint {
        valid_loss: 0.5,
        valid_accuracy: 0.5,
        ..row(1, "head", 0.5)
    };
    let apart = check_curves(&[row(1, "head", 0.5)]);
    let picture = check_curves(&[both]);
    // The edges of a mark fall between other pixels in another place; a hidden mark would lack about 80.
    let n_hidden = count(&apart, BLUE).abs_diff(count(&picture, BLUE));
    assert!(n_hidden < 20, "{n_hidden}");
    assert!(count(&picture, VERMILION) > 100);
}
