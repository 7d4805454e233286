//! Figures that consist of one outline, with varying proportions. Knows nothing of colour.

use std::f32::consts::TAU;

use tiny_skia::PathBuilder;

use super::{
    dice::Dice,
    outline::{self, Outline},
};

pub(super) fn star(dice: &mut Dice) -> Outline {
    let (n_tips, inner) = (dice.count(5, 7), dice.between(0.36, 0.5));
    outline::polygon(&outline::around(2 * n_tips, |at| {
        if at % 2 == 0 { 1.0 } else { inner }
    }))
}

pub(super) fn heart(dice: &mut Dice) -> Outline {
    let (notch, shoulder) = (dice.between(-0.5, -0.3), dice.between(-0.85, -0.7));
    let mut path = PathBuilder::new();
    path.move_to(0.0, 0.95);
    path.cubic_to(-1.5, 0.05, -0.85, shoulder * 1.45, 0.0, notch);
    path.cubic_to(0.85, shoulder * 1.45, 1.5, 0.05, 0.0, 0.95);
    path.close();
    path.finish()
}

pub(super) fn crescent(dice: &mut Dice) -> Outline {
    let pull = dice.between(0.1, 0.5);
    let mut path = PathBuilder::new();
    path.move_to(0.35, -0.95);
    path.cubic_to(-1.35, -0.9, -1.35, 0.9, 0.35, 0.95);
    path.cubic_to(-pull - 0.2, 0.55, -pull - 0.2, -0.55, 0.35, -0.95);
    path.close();
    path.finish()
}

pub(super) fn teardrop(dice: &mut Dice) -> Outline {
    let width = dice.between(0.8, 1.15);
    let mut path = PathBuilder::new();
    path.move_to(0.0, -1.0);
    path.cubic_to(0.2, -0.4, width, 0.0, width * 0.7, 0.5);
    path.cubic_to(width * 0.5, 1.05, -width * 0.5, 1.05, -width * 0.7, 0.5);
    path.cubic_to(-width, 0.0, -0.2, -0.4, 0.0, -1.0);
    path.close();
    path.finish()
}

pub(super) fn arrow(dice: &mut Dice) -> Outline {
    let (shaft, head) = (dice.between(0.12, 0.28), dice.between(0.45, 0.75));
    let shape = [
        (-1.0, -shaft),
        (0.1, -shaft),
        (0.1, -head),
        (1.0, 0.0),
        (0.1, head),
        (0.1, shaft),
        (-1.0, shaft),
    ];
    outline::turned(
        outline::polygon(&shape),
        dice.pick(&[0.0, 90.0, 180.0, 270.0]),
    )
}

pub(super) fn cross(dice: &mut Dice) -> Outline {
    let arm = dice.between(0.18, 0.36);
    let corner = [
        (-arm, -1.0),
        (arm, -1.0),
        (arm, -arm),
        (1.0, -arm),
        (1.0, arm),
        (arm, arm),
    ];
    let other = corner.map(|(x, y)| (-x, -y));
    outline::polygon(&[corner, other].concat())
}

pub(super) fn lightning(dice: &mut Dice) -> Outline {
    let lean = dice.between(0.0, 0.25);
    outline::polygon(&[
        (0.3 + lean, -1.0),
        (-0.6, 0.15),
        (-0.08, 0.15),
        (-0.4, 1.0),
        (0.6, -0.25),
        (0.08, -0.25),
    ])
}

pub(super) fn triangle(dice: &mut Dice) -> Outline {
    outline::polygon(&[(dice.around(0.5), -0.95), (0.95, 0.8), (-0.95, 0.8)])
}

pub(super) fn cloud(dice: &mut Dice) -> Outline {
    let lumps: [(f32, f32, f32); 5] = [
        (-0.72, 0.12, 0.3),
        (-0.36, -0.14, 0.38),
        (0.06, -0.26, 0.46),
        (0.42, -0.08, 0.38),
        (0.76, 0.14, 0.28),
    ]
    .map(|(x, y, radius)| (x, y + dice.around(0.08), radius * dice.between(0.85, 1.1)));
    // One closed outline, so that holes and lines treat the lumps as a whole.
    let bumps = outline::around(48, |at| {
        let angle = TAU * at as f32 / 48.0 - TAU / 4.0;
        let (x, y) = (angle.cos(), angle.sin());
        (1..=100)
            .map(|step| step as f32 * 0.014)
            .filter(|reach| {
                y * reach < 0.36
                    && lumps
                        .iter()
                        .any(|lump| (x * reach - lump.0).hypot(y * reach - lump.1) < lump.2)
            })
            .fold(0.2, f32::max)
    });
    outline::polygon(&bumps)
}
