//! Surfaces: patterns that fill a patch of the picture, in unit coordinates.

use super::{
    canvas::{Painting, Rgb},
    dice::Dice,
    outline::{self, Outline},
};

/// Half the side of the area over which a pattern is drawn before it is clipped to the patch.
const REACH: f32 = 1.5;

/// Paints a ground and a pattern on it, clipped to a patch of random form.
fn on_patch(
    canvas: &mut Painting,
    dice: &mut Dice,
    ground: Rgb,
    pattern: impl FnOnce(&mut Painting, &mut Dice),
) {
    let patch: Outline = match dice.count(0, 2) {
        0 => outline::rectangle(-1.1, -1.1, 1.1, 1.1),
        1 => outline::circle(0.0, 0.0, 1.15),
        _ => {
            let radii: [f32; 9] = std::array::from_fn(|_| dice.between(0.85, 1.35));
            outline::smooth(&outline::around(radii.len(), |at| radii[at]))
        }
    };
    canvas.clip(&patch);
    canvas.fill(&patch, ground);
    pattern(canvas, dice);
    canvas.unclip();
}

fn steps(step: f32) -> impl Iterator<Item = f32> {
    (0..=(2.0 * REACH / step) as usize).map(move |at| at as f32 * step - REACH)
}

pub(super) fn stripes(canvas: &mut Painting, dice: &mut Dice, colour: Rgb, degrees: f32) {
    let ground = colour.contrasting(dice, 0.25);
    let (step, share, wobble) = (
        dice.between(0.16, 0.5),
        dice.between(0.3, 0.6),
        dice.around(9.0),
    );
    on_patch(canvas, dice, ground, |canvas, _| {
        for y in steps(step) {
            let stripe = outline::rectangle(-2.0, y, 2.0, y + step * share);
            canvas.fill(&outline::turned(stripe, degrees + wobble), colour);
        }
    });
}

pub(super) fn checkerboard(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let ground = colour.contrasting(dice, 0.25);
    let step = dice.between(0.2, 0.55);
    on_patch(canvas, dice, ground, |canvas, _| {
        for (row, y) in steps(step).enumerate() {
            for x in steps(step).skip(row % 2).step_by(2) {
                canvas.fill(&outline::rectangle(x, y, x + step, y + step), colour);
            }
        }
    });
}

pub(super) fn dots(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let ground = colour.contrasting(dice, 0.25);
    let (step, share, shift) = (
        dice.between(0.25, 0.5),
        dice.between(0.2, 0.4),
        dice.pick(&[0.0, 0.5]),
    );
    on_patch(canvas, dice, ground, |canvas, _| {
        for (row, y) in steps(step).enumerate() {
            for x in steps(step) {
                let x = x + if row % 2 == 0 { 0.0 } else { shift * step };
                canvas.fill(&outline::circle(x, y, step * share), colour);
            }
        }
    });
}

pub(super) fn bricks(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let mortar = colour.contrasting(dice, 0.2);
    let (step, gap) = (dice.between(0.22, 0.4), dice.between(0.03, 0.06));
    on_patch(canvas, dice, mortar, |canvas, dice| {
        for (row, y) in steps(step).enumerate() {
            for x in steps(step * 2.2) {
                let x = x - if row % 2 == 0 { 0.0 } else { step * 1.1 };
                let brick =
                    outline::rectangle(x + gap, y + gap, x + step * 2.2 - gap, y + step - gap);
                canvas.fill(&brick, colour.mix(Rgb::any(dice), 0.12));
            }
        }
    });
}

/// Draws rows of overlapping round tiles.
pub(super) fn scales(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let edge = colour.contrasting(dice, 0.25);
    let step = dice.between(0.28, 0.5);
    on_patch(canvas, dice, colour, |canvas, dice| {
        // Drawn from the bottom up, so that each row overlaps the one below it.
        let rows: Vec<f32> = steps(step * 0.5).collect();
        for (row, &y) in rows.iter().enumerate().rev() {
            for x in steps(step) {
                let tile = outline::circle(
                    x + if row % 2 == 0 { 0.0 } else { step * 0.5 },
                    y,
                    step * 0.5,
                );
                canvas.fill(&tile, colour.mix(Rgb::any(dice), 0.1));
                canvas.line(&tile, edge, step * 0.08);
            }
        }
    });
}

/// Draws a sparse pattern over the area within the clip.
pub(super) fn sprinkle(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let step = dice.between(0.18, 0.35);
    if dice.chance(0.5) {
        let degrees = dice.between(0.0, 180.0);
        for y in steps(step) {
            canvas.fill(
                &outline::turned(outline::rectangle(-2.0, y, 2.0, y + step * 0.4), degrees),
                colour,
            );
        }
        return;
    }
    for y in steps(step) {
        for x in steps(step) {
            canvas.fill(&outline::circle(x, y, step * 0.25), colour);
        }
    }
}
