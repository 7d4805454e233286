//! Figures that consist of lines: curves, rays, grids and bends.

use std::f32::consts::TAU;

use super::{
    canvas::{Painting, Rgb},
    dice::Dice,
    outline::{self, Point},
};

pub(super) fn spiral(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let (turns, way) = (dice.between(2.0, 4.0), dice.pick(&[-1.0_f32, 1.0]));
    let start = dice.between(0.0, TAU);
    let points: Vec<Point> = (0..=120)
        .map(|step| {
            let share = step as f32 / 120.0;
            let angle = start + way * share * turns * TAU;
            (share * angle.cos(), share * angle.sin())
        })
        .collect();
    canvas.line(
        &outline::polyline(&points),
        colour,
        dice.between(0.06, 0.14),
    );
}

pub(super) fn rings(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let n_rings = dice.count(3, 5);
    let second = if dice.chance(0.5) {
        colour
    } else {
        colour.mix(Rgb::any(dice), 0.6)
    };
    for at in 1..=n_rings {
        let ring = outline::circle(0.0, 0.0, at as f32 / n_rings as f32);
        canvas.line(
            &ring,
            if at % 2 == 0 { colour } else { second },
            0.45 / n_rings as f32,
        );
    }
}

pub(super) fn wheel(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let (n_spokes, thickness) = (dice.count(5, 12), dice.between(0.05, 0.09));
    canvas.line(
        &outline::circle(0.0, 0.0, 0.9),
        colour,
        dice.between(0.1, 0.2),
    );
    let start = dice.between(0.0, TAU);
    for at in 0..n_spokes {
        let angle = start + TAU * at as f32 / n_spokes as f32;
        canvas.line(
            &outline::polyline(&[(0.0, 0.0), (0.9 * angle.cos(), 0.9 * angle.sin())]),
            colour,
            thickness,
        );
    }
    canvas.fill(&outline::circle(0.0, 0.0, dice.between(0.12, 0.22)), colour);
}

pub(super) fn ladder(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let (half, thickness) = (dice.between(0.3, 0.45), dice.between(0.07, 0.12));
    let taper = dice.between(0.75, 1.0);
    let n_rungs = dice.count(4, 7);
    for side in [-1.0, 1.0] {
        canvas.line(
            &outline::polyline(&[(side * half * taper, -1.1), (side * half, 1.1)]),
            colour,
            thickness,
        );
    }
    for at in 0..n_rungs {
        let y = -0.9 + 1.8 * at as f32 / (n_rungs - 1) as f32;
        canvas.line(
            &outline::polyline(&[(-half, y), (half, y)]),
            colour,
            thickness,
        );
    }
}

/// Draws a spider's web: rays and the threads between them.
pub(super) fn net(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let (n_rays, n_threads) = (dice.count(7, 10), dice.count(3, 5));
    let thickness = dice.between(0.03, 0.06);
    let lengths: Vec<f32> = (0..n_rays).map(|_| dice.between(0.8, 1.1)).collect();
    for (x, y) in outline::around(n_rays, |at| lengths[at]) {
        canvas.line(&outline::polyline(&[(0.0, 0.0), (x, y)]), colour, thickness);
    }
    for thread in 1..=n_threads {
        let share = thread as f32 / (n_threads as f32 + 0.4);
        canvas.line(
            &outline::polygon(&outline::around(n_rays, |at| lengths[at] * share)),
            colour,
            thickness,
        );
    }
}

pub(super) fn zigzag(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let (n_lines, n_bends, height) = (dice.count(1, 4), dice.count(4, 8), dice.between(0.12, 0.25));
    parallel(canvas, dice, colour, n_lines, |line_y| {
        let points: Vec<Point> = (0..=n_bends)
            .map(|at| {
                let y = if at % 2 == 0 { -height } else { height };
                (-1.1 + 2.2 * at as f32 / n_bends as f32, line_y + y)
            })
            .collect();
        outline::polyline(&points)
    });
}

pub(super) fn waves(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let (n_lines, n_bends, height) = (
        dice.count(2, 6),
        dice.between(1.5, 4.0),
        dice.between(0.1, 0.2),
    );
    parallel(canvas, dice, colour, n_lines, |line_y| {
        let points: Vec<Point> = (0..=80)
            .map(|at| {
                let share = at as f32 / 80.0;
                (
                    -1.1 + 2.2 * share,
                    line_y + height * (share * n_bends * TAU).sin(),
                )
            })
            .collect();
        outline::polyline(&points)
    });
}

fn parallel(
    canvas: &mut Painting,
    dice: &mut Dice,
    colour: Rgb,
    n_lines: usize,
    line: impl Fn(f32) -> outline::Outline,
) {
    let thickness = dice.between(0.05, 0.12);
    for at in 0..n_lines {
        let y = (at as f32 - (n_lines - 1) as f32 / 2.0) * 1.7 / n_lines as f32;
        canvas.line(&line(y), colour, thickness);
    }
}
