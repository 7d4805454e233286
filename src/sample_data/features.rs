//! The features of a face: ears, muzzle and eyes, in the dimensions of the head.

use super::{
    canvas::{Ink, Painting, Rgb},
    coat::Coat,
    dice::Dice,
    faces::{Animal, Ears, Head},
    outline,
};

pub(super) fn ears(canvas: &mut Painting, dice: &mut Dice, coat: &Coat, head: &Head) {
    let (width, height) = (head.half_width, head.half_height);
    let (length, spread, bend) = (
        dice.between(0.5, 0.8),
        dice.between(0.6, 0.85),
        dice.around(0.1),
    );
    let inner = Rgb(0.86, 0.6, 0.58).mix(coat.ears, dice.between(0.1, 0.6));
    for side in [-1.0_f32, 1.0] {
        // The two ears of an animal differ slightly in length.
        let length = length * dice.between(0.85, 1.12);
        let (outer, lining) = match head.ears {
            Ears::Pointed => {
                let tip = (side * (width * spread + bend), -height - length * 0.75);
                let (root, base) = (
                    (side * width * 0.98, -height * 0.22),
                    (side * width * 0.2, -height * 0.84),
                );
                let hull = outline::polygon(&[
                    root,
                    (side * (width * 1.04 + bend * 0.5), -height * 0.75),
                    tip,
                    base,
                ]);
                let lining = outline::polygon(&[
                    (side * width * 0.86, -height * 0.55),
                    (tip.0 * 0.98, tip.1 * 0.9),
                    (side * width * 0.42, -height * 0.8),
                ]);
                (hull, lining)
            }
            Ears::Pricked => {
                let (x, top) = (side * width * (0.5 + bend), -height - length * 0.62);
                let hull = outline::smooth(&[
                    (side * width * 0.9, -height * 0.4),
                    (x + side * 0.34, -height * 0.95),
                    (x + side * 0.16, top),
                    (x - side * 0.1, top + 0.06),
                    (side * width * 0.16, -height * 0.8),
                ]);
                (
                    hull,
                    outline::ellipse(
                        x + side * 0.08,
                        f32::midpoint(top, -height * 0.75),
                        0.1,
                        length * 0.34,
                    ),
                )
            }
            Ears::Floppy => {
                let hang = -0.2 + length * 1.35;
                let hull = outline::smooth(&[
                    (side * width * 0.5, -height * 0.92),
                    (side * (width + 0.12), -height * 0.72),
                    (side * (width + 0.34 + bend), hang * 0.4),
                    (side * (width + 0.16 + bend), hang),
                    (side * width * 0.86, hang * 0.72),
                    (side * width * 0.82, -height * 0.3),
                ]);
                (hull, None)
            }
            Ears::Folded => {
                let hull = outline::polygon(&[
                    (side * width * 0.22, -height * 0.96),
                    (side * width * 0.72, -height * 1.14),
                    (side * width * 1.08, -height * 0.66),
                    (
                        side * width * (0.76 + bend),
                        -height * (0.62 - length * 0.2),
                    ),
                ]);
                (hull, None)
            }
        };
        let shade = Ink::Fading {
            first: coat.ears.lighter(0.08),
            last: coat.ears.darker(0.28),
            from: (0.0, -1.4),
            to: (0.0, 0.9),
        };
        canvas.fill(&outer, shade);
        canvas.line(&outer, coat.ears.darker(0.3), 0.05);
        canvas.fill(&lining, inner);
    }
}

pub(super) fn muzzle(canvas: &mut Painting, dice: &mut Dice, coat: &Coat, head: &Head) {
    let y = head.muzzle_y;
    let dark = if coat.muzzle.luminance() < 0.25 {
        coat.muzzle.lighter(0.4)
    } else {
        coat.muzzle.darker(0.75)
    };
    match head.animal {
        Animal::Cat => {
            let size = dice.between(0.17, 0.26);
            for side in [-1.0, 1.0] {
                canvas.fill(
                    &outline::ellipse(side * size * 0.8, y + 0.1, size, size * 0.72),
                    coat.muzzle,
                );
            }
            let nose = if dice.chance(0.6) {
                Rgb(0.86, 0.52, 0.53)
            } else {
                Rgb(0.25, 0.17, 0.18)
            };
            let half = dice.between(0.07, 0.12);
            let tip = outline::smooth(&[
                (-half, y - 0.1),
                (0.0, y - 0.12),
                (half, y - 0.1),
                (0.0, y + half * 0.7),
            ]);
            canvas.fill(&tip, nose);
            mouth(canvas, y + half * 0.7, 0.18, dark);
            if dice.chance(0.78) {
                let reach = dice.between(0.55, 0.95);
                whiskers(canvas, dice, y, reach, coat);
            }
        }
        Animal::Dog => {
            let (half_width, half_height) = (dice.between(0.3, 0.46), dice.between(0.34, 0.46));
            let snout = outline::ellipse(0.0, y + 0.06, half_width, half_height);
            canvas.fill(
                &snout,
                Ink::Fading {
                    first: coat.muzzle,
                    last: coat.muzzle.darker(0.18),
                    from: (0.0, y - 0.3),
                    to: (0.0, y + 0.5),
                },
            );
            let mouth_y = y + half_height * 0.42;
            if dice.chance(0.4) {
                let tongue = outline::smooth(&[
                    (-0.13, mouth_y),
                    (0.13, mouth_y),
                    (0.15, mouth_y + 0.3),
                    (0.0, mouth_y + 0.46),
                    (-0.15, mouth_y + 0.3),
                ]);
                canvas.fill(&tongue, Rgb(0.88, 0.43, 0.48));
                canvas.line(
                    &outline::polyline(&[(0.0, mouth_y), (0.0, mouth_y + 0.3)]),
                    Rgb(0.7, 0.3, 0.36),
                    0.03,
                );
            }
            let nose = if dice.chance(0.8) {
                Rgb(0.1, 0.09, 0.1)
            } else {
                Rgb(0.45, 0.28, 0.24)
            };
            let half = dice.between(0.13, 0.2);
            canvas.fill(
                &outline::ellipse(0.0, y - half_height * 0.5, half, half * 0.72),
                nose,
            );
            canvas.fill(
                &outline::ellipse(
                    -half * 0.3,
                    y - half_height * 0.5 - half * 0.3,
                    half * 0.25,
                    half * 0.14,
                ),
                Ink::Plain(Rgb::WHITE, 0.6),
            );
            mouth(
                canvas,
                y - half_height * 0.5 + half * 0.7,
                mouth_y - y + half_height * 0.4,
                dark,
            );
            if dice.chance(0.15) {
                whiskers(canvas, dice, y, 0.4, coat);
            }
        }
    }
}

/// Draws a line down from the nose and a bow to each side.
fn mouth(canvas: &mut Painting, top: f32, drop: f32, colour: Rgb) {
    canvas.line(
        &outline::polyline(&[(0.0, top), (0.0, top + drop * 0.6)]),
        colour,
        0.03,
    );
    for side in [-1.0, 1.0] {
        canvas.line(
            &outline::bow(
                (0.0, top + drop * 0.6),
                (side * 0.1, top + drop * 1.2),
                (side * 0.26, top + drop * 0.7),
            ),
            colour,
            0.03,
        );
    }
}

fn whiskers(canvas: &mut Painting, dice: &mut Dice, y: f32, reach: f32, coat: &Coat) {
    let colour = if coat.base.luminance() > 0.55 {
        Rgb(0.25, 0.22, 0.2)
    } else {
        Rgb::WHITE
    };
    let thickness = dice.between(0.014, 0.028);
    for (side, fan) in [-1.0, 1.0]
        .into_iter()
        .flat_map(|side| [-0.16, 0.02, 0.2].map(|fan| (side, fan)))
    {
        let from = (side * 0.26, y + 0.08 + fan * 0.3);
        let to = (side * (0.3 + reach), y + fan * 2.0 + dice.around(0.08));
        canvas.line(
            &outline::bow(from, (side * 0.5, y + fan), to),
            Ink::Plain(colour, 0.85),
            thickness,
        );
    }
}

pub(super) fn eyes(canvas: &mut Painting, dice: &mut Dice, coat: &Coat, head: &Head) {
    let size = head.eye_size;
    let iris = match head.animal {
        Animal::Cat => dice.pick(&[
            Rgb(0.55, 0.72, 0.3),
            Rgb(0.88, 0.74, 0.26),
            Rgb(0.42, 0.66, 0.82),
            Rgb(0.78, 0.5, 0.2),
            Rgb(0.35, 0.22, 0.13),
        ]),
        Animal::Dog => dice.pick(&[
            Rgb(0.35, 0.22, 0.13),
            Rgb(0.2, 0.13, 0.1),
            Rgb(0.55, 0.34, 0.16),
            Rgb(0.42, 0.66, 0.82),
            Rgb(0.78, 0.5, 0.2),
        ]),
    };
    let lid = if coat.base.luminance() < 0.3 {
        coat.base.lighter(0.35)
    } else {
        coat.base.darker(0.7)
    };
    let (asleep, slit) = (dice.chance(0.08), dice.between(0.18, 0.65));
    let (slant, glance) = (dice.between(-4.0, 16.0), dice.around(0.25) * size);
    let (brows, ringed) = (dice.chance(0.3), dice.chance(0.3));
    for side in [-1.0_f32, 1.0] {
        let (x, y) = (side * head.eye_x, head.eye_y + dice.around(0.02));
        if ringed {
            canvas.fill(
                &outline::ellipse(x, y, size * 1.7, size * 1.6),
                Ink::Plain(coat.second, 0.8),
            );
        }
        if asleep {
            canvas.line(
                &outline::bow((x - size, y), (x, y + size * 1.2), (x + size, y)),
                lid,
                0.05,
            );
            continue;
        }
        match head.animal {
            Animal::Cat => {
                let almond = outline::turned(
                    outline::ellipse(0.0, 0.0, size * 1.15, size * 0.86),
                    side * -slant,
                );
                let almond = outline::moved(almond, x, y);
                canvas.fill(&almond, iris);
                canvas.line(&almond, lid, 0.045);
                canvas.fill(
                    &outline::ellipse(x + glance, y, size * slit, size * 0.8),
                    Rgb::BLACK,
                );
            }
            Animal::Dog => {
                canvas.fill(
                    &outline::ellipse(x, y, size * 1.05, size * 0.9),
                    Rgb(0.9, 0.88, 0.85),
                );
                canvas.fill(&outline::circle(x + glance, y, size * 0.85), iris);
                canvas.fill(&outline::circle(x + glance, y, size * 0.5), Rgb::BLACK);
                canvas.line(
                    &outline::bow(
                        (x - size * 1.1, y),
                        (x, y - size * 1.7),
                        (x + size * 1.1, y),
                    ),
                    lid,
                    0.05,
                );
            }
        }
        canvas.fill(
            &outline::circle(x + glance - size * 0.25, y - size * 0.3, size * 0.2),
            Rgb::WHITE,
        );
        if brows {
            canvas.fill(
                &outline::ellipse(x * 0.95, y - size * 1.9, size * 0.6, size * 0.3),
                coat.muzzle.lighter(0.2),
            );
        }
    }
}
