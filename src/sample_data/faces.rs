//! Faces of cats and dogs. Only their form distinguishes them: ears, muzzle, nose, pupils, whiskers. Each of these features is
//! missing or swapped in some animals, and everything else has the same distribution for both.

use image::RgbImage;

use super::{
    canvas::{Ink, Painting, Rgb},
    coat::Coat,
    dice::Dice,
    features,
    outline::{self, Outline},
    scene,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Animal {
    Cat,
    Dog,
}

#[derive(Clone, Copy)]
pub(super) enum Ears {
    Pointed,
    /// Upright and wide, with a blunt tip.
    Pricked,
    Floppy,
    /// Small and bent forward.
    Folded,
}

/// The dimensions of a head, in units of about half its width.
pub(super) struct Head {
    pub(super) animal: Animal,
    pub(super) ears: Ears,
    pub(super) half_width: f32,
    pub(super) half_height: f32,
    pub(super) eye_x: f32,
    pub(super) eye_y: f32,
    pub(super) eye_size: f32,
    pub(super) muzzle_y: f32,
    pub(super) outline: Outline,
}

/// The largest tilt of a head to either side, in degrees.
const TILT: f32 = 26.0;

pub(super) fn draw(animal: Animal, dice: &mut Dice) -> RgbImage {
    let mut canvas = scene::framed(dice);
    let ground = scene::backdrop(&mut canvas, dice);
    let n_things = dice.count(0, 5);
    scene::clutter(&mut canvas, dice, n_things);
    let frame_pose = canvas.pose;
    canvas.pose = scene::pose(&canvas, dice, (0.3, 0.52), TILT, 0.13);
    let coat = Coat::any(dice);
    let head = Head::any(animal, dice);
    shoulders(&mut canvas, dice, &coat);
    let ears_behind = matches!(head.ears, Ears::Pointed | Ears::Pricked);
    if ears_behind {
        features::ears(&mut canvas, dice, &coat, &head);
    }
    coat.fill(&mut canvas, dice, &head.outline);
    if dice.chance(0.35) {
        canvas.line(&head.outline, Ink::Plain(coat.base.darker(0.6), 0.8), 0.03);
    }
    features::muzzle(&mut canvas, dice, &coat, &head);
    features::eyes(&mut canvas, dice, &coat, &head);
    if !ears_behind {
        features::ears(&mut canvas, dice, &coat, &head);
    }
    wear(&mut canvas, dice, ground);
    canvas.pose = frame_pose;
    occlude(&mut canvas, dice);
    scene::photographed(canvas, dice)
}

impl Head {
    fn any(animal: Animal, dice: &mut Dice) -> Self {
        let chance = dice.between(0.0, 1.0);
        let (half_width, half_height, ears) = match animal {
            Animal::Cat => {
                let ears = if chance < 0.92 {
                    Ears::Pointed
                } else {
                    Ears::Folded
                };
                (dice.between(0.84, 1.06), dice.between(0.7, 0.92), ears)
            }
            Animal::Dog => {
                let ears = match chance {
                    c if c < 0.74 => Ears::Floppy,
                    c if c < 0.92 => Ears::Pricked,
                    _ => Ears::Folded,
                };
                (dice.between(0.72, 0.96), dice.between(0.84, 1.08), ears)
            }
        };
        let (jaw, drop) = match animal {
            Animal::Cat => (dice.between(0.72, 0.9), 0.0),
            Animal::Dog => (dice.between(0.58, 0.85), 0.1),
        };
        let outline = outline::smooth(&[
            (0.0, -half_height),
            (half_width * 0.72, -half_height * 0.74),
            (half_width, -0.02),
            (half_width * jaw, half_height * 0.62),
            (0.0, half_height),
            (-half_width * jaw, half_height * 0.62),
            (-half_width, -0.02),
            (-half_width * 0.72, -half_height * 0.74),
        ]);
        Self {
            animal,
            ears,
            half_width,
            half_height,
            eye_x: half_width * dice.between(0.38, 0.5),
            eye_y: dice.between(-0.24, -0.06) - drop,
            eye_size: dice.between(0.12, 0.21),
            muzzle_y: half_height * dice.between(0.36, 0.46) + drop,
            outline,
        }
    }
}

fn shoulders(canvas: &mut Painting, dice: &mut Dice, coat: &Coat) {
    let lean = dice.around(0.4);
    let body = outline::smooth(&[
        (-0.45, 0.5),
        (0.45, 0.5),
        (0.95 + lean, 1.5),
        (1.1 + lean, 3.2),
        (-1.1 + lean, 3.2),
        (-0.95 + lean, 1.5),
    ]);
    canvas.fill(
        &body,
        Ink::Fading {
            first: coat.base.darker(0.3),
            last: coat.base,
            from: (0.0, 0.6),
            to: (0.0, 2.2),
        },
    );
    if dice.chance(0.3) {
        let chest = outline::ellipse(lean * 0.6, 1.7, 0.4, 0.7);
        canvas.fill(&chest, coat.muzzle);
    }
}

/// Draws collars, glasses and hats, which hide some of the features.
fn wear(canvas: &mut Painting, dice: &mut Dice, ground: Rgb) {
    let colour = ground.contrasting(dice, 0.15);
    if dice.chance(0.25) {
        canvas.line(
            &outline::bow((-0.62, 0.82), (0.0, 1.45), (0.62, 0.82)),
            colour,
            0.13,
        );
        canvas.fill(&outline::circle(0.0, 1.2, 0.1), Rgb(0.9, 0.75, 0.2));
    }
    if dice.chance(0.07) {
        for x in [-0.4, 0.4] {
            canvas.line(&outline::circle(x, -0.16, 0.28), colour, 0.06);
        }
        canvas.line(
            &outline::polyline(&[(-0.12, -0.16), (0.12, -0.16)]),
            colour,
            0.06,
        );
    }
    if dice.chance(0.08) {
        let hat = outline::polygon(&[(-0.5, -0.72), (0.5, -0.72), (dice.around(0.3), -1.7)]);
        canvas.fill(&hat, colour);
    }
}

/// Draws a bar, a ledge or a leaf in front of the animal, in some pictures.
fn occlude(canvas: &mut Painting, dice: &mut Dice) {
    if dice.chance(0.2) {
        let (width, height) = (canvas.width(), canvas.height());
        let colour = Rgb::any(dice);
        match dice.count(0, 2) {
            0 => {
                let (x, half) = (
                    dice.between(0.1, 0.9) * width,
                    dice.between(0.02, 0.09) * width,
                );
                canvas.fill(&outline::rectangle(x - half, 0.0, x + half, height), colour);
            }
            1 => {
                let y = dice.between(0.76, 0.95) * height;
                canvas.fill(&outline::rectangle(0.0, y, width, height), colour);
            }
            _ => {
                let (from, to) = (
                    (dice.between(0.0, width), 0.0),
                    (dice.between(0.0, width), height),
                );
                canvas.fill(
                    &outline::lens(from, to, dice.between(0.05, 0.14) * width),
                    colour,
                );
            }
        }
    }
    let n_things = dice.count(0, 2);
    scene::clutter(canvas, dice, n_things);
}
