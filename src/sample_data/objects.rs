//! Figures of several parts and colours: plants, animals without faces, buildings, tools.

use tiny_skia::PathBuilder;

use super::{
    canvas::{Ink, Painting, Rgb},
    dice::Dice,
    outline,
    shapes::solid,
};

pub(super) fn gear(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let (n_teeth, depth) = (dice.count(7, 12), dice.between(0.7, 0.82));
    let rim = outline::polygon(&outline::around(4 * n_teeth, |at| {
        if at % 4 < 2 { 1.0 } else { depth }
    }));
    let hole = outline::circle(0.0, 0.0, dice.between(0.2, 0.42));
    solid(canvas, dice, colour, &outline::together([rim, hole]));
}

pub(super) fn flower(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let n_petals = dice.count(5, 9);
    let (reach, width) = (dice.between(0.55, 0.62), dice.between(0.16, 0.26));
    if dice.chance(0.5) {
        canvas.line(
            &outline::bow((0.0, 0.0), (dice.around(0.6), 1.0), (0.1, 1.9)),
            Rgb(0.25, 0.5, 0.2),
            0.1,
        );
    }
    for at in 0..n_petals {
        let petal = outline::ellipse(reach, 0.0, 0.4, width);
        let petal = outline::turned(petal, 360.0 * at as f32 / n_petals as f32);
        canvas.fill(&petal, colour);
        canvas.line(&petal, colour.darker(0.35), 0.03);
    }
    canvas.fill(
        &outline::circle(0.0, 0.0, dice.between(0.2, 0.32)),
        colour.contrasting(dice, 0.2),
    );
}

pub(super) fn leaf(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let blade = outline::lens((-1.0, 0.4), (1.0, -0.5), dice.between(0.3, 0.5));
    canvas.fill(&blade, colour);
    let vein = colour.contrasting(dice, 0.15);
    canvas.line(&outline::polyline(&[(-1.3, 0.53), (1.0, -0.5)]), vein, 0.05);
    canvas.clip(&blade);
    for at in 0..5 {
        let (x, y) = (at as f32 * 0.35 - 0.75, 0.29 - at as f32 * 0.157);
        canvas.line(
            &outline::polyline(&[(x, y), (x + 0.5, y + 0.3)]),
            vein,
            0.03,
        );
        canvas.line(
            &outline::polyline(&[(x, y), (x + 0.15, y - 0.5)]),
            vein,
            0.03,
        );
    }
    canvas.unclip();
}

pub(super) fn fish(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let way = dice.pick(&[-1.0_f32, 1.0]);
    let tail = outline::polygon(&[
        (way * 0.45, 0.0),
        (way * 1.05, -0.5),
        (way * 0.9, 0.0),
        (way * 1.05, 0.5),
    ]);
    canvas.fill(&tail, colour.darker(0.2));
    let fin = outline::polygon(&[(way * -0.2, -0.3), (way * 0.35, -0.75), (way * 0.3, -0.2)]);
    canvas.fill(&fin, colour.darker(0.2));
    let body = outline::lens((-way, 0.0), (way * 0.75, 0.0), dice.between(0.36, 0.5));
    solid(canvas, dice, colour, &body);
    canvas.fill(
        &outline::circle(way * -0.6, -0.08, 0.09),
        colour.contrasting(dice, 0.3),
    );
}

pub(super) fn butterfly(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let (upper, lower) = (dice.between(0.38, 0.5), dice.between(0.26, 0.36));
    let (spot, lower_colour) = (
        colour.contrasting(dice, 0.2),
        colour.mix(Rgb::any(dice), 0.3),
    );
    for side in [-1.0_f32, 1.0] {
        canvas.fill(
            &outline::moved(
                outline::turned(
                    outline::ellipse(0.0, 0.0, upper * 1.2, upper * 0.85),
                    side * -35.0,
                ),
                side * 0.5,
                -0.35,
            ),
            colour,
        );
        canvas.fill(
            &outline::ellipse(side * 0.4, 0.42, lower, lower * 1.2),
            lower_colour,
        );
        canvas.fill(&outline::circle(side * 0.58, -0.4, 0.13), spot);
        canvas.line(
            &outline::bow((0.0, -0.5), (side * 0.1, -0.9), (side * 0.35, -1.0)),
            Rgb::BLACK,
            0.05,
        );
    }
    canvas.fill(&outline::ellipse(0.0, 0.05, 0.09, 0.65), Rgb::BLACK);
}

pub(super) fn house(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let (half, eaves) = (dice.between(0.6, 0.8), dice.between(-0.3, 0.05));
    let roof = colour.contrasting(dice, 0.15);
    canvas.fill(
        &outline::rectangle(half * 0.35, eaves - 0.75, half * 0.6, eaves),
        roof.darker(0.3),
    );
    canvas.fill(&outline::rectangle(-half, eaves, half, 0.9), colour);
    canvas.fill(
        &outline::polygon(&[(-half - 0.2, eaves), (0.0, -0.95), (half + 0.2, eaves)]),
        roof,
    );
    canvas.fill(&outline::rectangle(-0.15, 0.4, 0.15, 0.9), roof.darker(0.4));
    for x in [-half * 0.62, half * 0.62] {
        let window = outline::rectangle(x - 0.15, eaves + 0.15, x + 0.15, eaves + 0.45);
        canvas.fill(&window, Rgb(0.75, 0.85, 0.95));
        canvas.line(&window, roof, 0.04);
    }
}

pub(super) fn tree(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    canvas.fill(
        &outline::rectangle(-0.13, 0.1, 0.13, 1.0),
        Rgb(0.38, 0.26, 0.17).mix(colour, 0.2),
    );
    if dice.chance(0.5) {
        for at in 0..3 {
            let (top, half) = (at as f32 * 0.45 - 1.0, 0.4 + at as f32 * 0.2);
            let tier = outline::polygon(&[(0.0, top), (half, top + 0.75), (-half, top + 0.75)]);
            canvas.fill(&tier, colour.darker(at as f32 * 0.12));
        }
        return;
    }
    for _ in 0..9 {
        let crown = outline::circle(
            dice.around(0.45),
            -0.4 + dice.around(0.35),
            dice.between(0.25, 0.42),
        );
        canvas.fill(&crown, colour.darker(dice.between(0.0, 0.3)));
    }
}

pub(super) fn cup(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let (top, base) = (dice.between(0.55, 0.75), dice.between(0.4, 0.6));
    canvas.line(
        &outline::ellipse(top + 0.1, 0.0, 0.3, 0.34),
        colour.darker(0.15),
        0.13,
    );
    let side = outline::polygon(&[(-top, -0.6), (top, -0.6), (base, 0.8), (-base, 0.8)]);
    canvas.fill(
        &side,
        Ink::Fading {
            first: colour.lighter(0.2),
            last: colour.darker(0.2),
            from: (-0.6, 0.0),
            to: (0.6, 0.0),
        },
    );
    canvas.fill(
        &outline::ellipse(0.0, -0.6, top, 0.16),
        colour.contrasting(dice, 0.2),
    );
    canvas.line(&outline::ellipse(0.0, -0.6, top, 0.16), colour, 0.06);
}

pub(super) fn key(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let bow = dice.between(0.26, 0.36);
    canvas.line(&outline::circle(-0.6, 0.0, bow), colour, 0.15);
    canvas.line(
        &outline::polyline(&[(-0.6 + bow, 0.0), (0.95, 0.0)]),
        colour,
        0.14,
    );
    for at in 0..dice.count(2, 3) {
        let x = 0.9 - at as f32 * 0.24;
        canvas.line(
            &outline::polyline(&[(x, 0.0), (x, dice.between(0.25, 0.45))]),
            colour,
            0.13,
        );
    }
}

pub(super) fn mushroom(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let stalk = outline::smooth(&[(-0.2, -0.1), (0.2, -0.1), (0.28, 0.9), (-0.28, 0.9)]);
    canvas.fill(&stalk, Rgb::WHITE.mix(colour, 0.25));
    let cap = outline::smooth(&[
        (-0.95, 0.05),
        (-0.65, -0.6),
        (0.0, -0.9),
        (0.65, -0.6),
        (0.95, 0.05),
        (0.0, 0.18),
    ]);
    canvas.fill(&cap, colour);
    canvas.clip(&cap);
    let spot = colour.contrasting(dice, 0.25);
    for _ in 0..dice.count(4, 8) {
        canvas.fill(
            &outline::circle(
                dice.around(0.8),
                dice.between(-0.8, 0.0),
                dice.between(0.06, 0.15),
            ),
            spot,
        );
    }
    canvas.unclip();
}

pub(super) fn umbrella(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    canvas.line(
        &outline::polyline(&[(0.0, -0.9), (0.0, 0.75)]),
        colour.darker(0.4),
        0.07,
    );
    canvas.line(
        &outline::bow((0.0, 0.75), (0.02, 1.1), (0.3, 0.8)),
        colour.darker(0.4),
        0.07,
    );
    let dome = dice.between(1.2, 1.5);
    let mut path = PathBuilder::new();
    path.move_to(-1.0, 0.0);
    path.cubic_to(-0.9, -dome * 0.8, 0.9, -dome * 0.8, 1.0, 0.0);
    for x in [0.5_f32, 0.0, -0.5, -1.0] {
        path.quad_to(x + 0.25, -0.26, x, 0.0);
    }
    path.close();
    solid(canvas, dice, colour, &path.finish());
}
