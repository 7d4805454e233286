//! The parts that every picture has: a frame, a background, clutter, a pose, lighting and the flaws of a camera.

use image::{RgbImage, imageops};
use tiny_skia::Transform;

use super::{
    canvas::{Ink, Painting, Rgb},
    dice::Dice,
    outline::{self, Outline},
};

/// The range of the length of a side in pixels.
const SIDE: std::ops::RangeInclusive<usize> = 120..=320;
/// The largest ratio of the sides.
const WIDEST: f32 = 1.6;

#[derive(Clone, Copy)]
enum Backdrop {
    Flat,
    Fading,
    Stripes,
    Blobs,
    Checks,
    Room,
    Meadow,
}

pub(super) fn framed(dice: &mut Dice) -> Painting {
    let first = dice.count(*SIDE.start(), *SIDE.end());
    let ratio = dice.between(1.0 / WIDEST, WIDEST);
    let second = ((first as f32 * ratio) as usize).clamp(*SIDE.start(), *SIDE.end());
    Painting::new(first as u32, second as u32)
}

/// Paints the background over the whole picture, and returns a typical colour of it.
pub(super) fn backdrop(canvas: &mut Painting, dice: &mut Dice) -> Rgb {
    let (width, height) = (canvas.width(), canvas.height());
    let (first, last) = (Rgb::any(dice), Rgb::any(dice));
    // A background that reaches well beyond the frame covers its corners under any pose.
    let reach = width + height;
    let ground = outline::rectangle(-reach, -reach, 2.0 * reach, 2.0 * reach);
    canvas.fill(&ground, first);
    let kind = dice.pick(&[
        Backdrop::Flat,
        Backdrop::Fading,
        Backdrop::Fading,
        Backdrop::Stripes,
        Backdrop::Blobs,
        Backdrop::Blobs,
        Backdrop::Checks,
        Backdrop::Room,
        Backdrop::Room,
        Backdrop::Meadow,
        Backdrop::Meadow,
    ]);
    match kind {
        Backdrop::Flat => {}
        Backdrop::Fading => {
            let from = (dice.between(0.0, width), dice.between(-0.3, 0.3) * height);
            let to = (dice.between(0.0, width), dice.between(0.7, 1.3) * height);
            canvas.fill(
                &ground,
                Ink::Fading {
                    first,
                    last,
                    from,
                    to,
                },
            );
        }
        Backdrop::Stripes => stripes(canvas, dice, first.mix(last, 0.6)),
        Backdrop::Blobs => {
            for _ in 0..dice.count(6, 22) {
                let colour = first.mix(Rgb::any(dice), dice.between(0.1, 0.6));
                let (x, y) = (dice.between(0.0, width), dice.between(0.0, height));
                let (radius_x, radius_y) = (
                    dice.between(0.05, 0.35) * width,
                    dice.between(0.05, 0.35) * height,
                );
                canvas.fill(
                    &outline::ellipse(x, y, radius_x, radius_y),
                    Ink::Plain(colour, dice.between(0.3, 1.0)),
                );
            }
        }
        Backdrop::Checks => checks(canvas, dice, first.mix(last, 0.5)),
        Backdrop::Room => {
            let floor = dice.between(0.45, 0.85) * height;
            canvas.fill(&outline::rectangle(0.0, floor, width, height), last);
            canvas.fill(
                &outline::rectangle(0.0, floor - 4.0, width, floor),
                first.lighter(0.4),
            );
            for _ in 0..dice.count(0, 2) {
                let (x, y) = (
                    dice.between(0.0, 0.8) * width,
                    dice.between(0.0, 0.3) * height,
                );
                let frame = outline::rectangle(
                    x,
                    y,
                    x + dice.between(0.1, 0.3) * width,
                    y + dice.between(0.1, 0.3) * height,
                );
                canvas.fill(&frame, Rgb::any(dice));
                canvas.line(&frame, first.darker(0.5), 3.0);
            }
        }
        Backdrop::Meadow => meadow(canvas, dice),
    }
    first.mix(last, 0.3)
}

fn stripes(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let reach = canvas.width() + canvas.height();
    let step = dice.between(8.0, 50.0);
    let angle = dice.between(0.0, 180.0);
    let mut at = -reach;
    while at < reach {
        let stripe = outline::rectangle(-reach, at, reach, at + step * 0.5);
        let placed = outline::moved(
            outline::turned(stripe, angle),
            canvas.width() / 2.0,
            canvas.height() / 2.0,
        );
        canvas.fill(&placed, colour);
        at += step;
    }
}

fn checks(canvas: &mut Painting, dice: &mut Dice, colour: Rgb) {
    let step = dice.between(14.0, 60.0);
    let (n_columns, n_rows) = (
        (canvas.width() / step) as usize + 1,
        (canvas.height() / step) as usize + 1,
    );
    for (row, column) in (0..n_rows).flat_map(|row| (0..n_columns).map(move |column| (row, column)))
    {
        if (row + column) % 2 == 0 {
            let (left, top) = (column as f32 * step, row as f32 * step);
            canvas.fill(
                &outline::rectangle(left, top, left + step, top + step),
                colour,
            );
        }
    }
}

fn meadow(canvas: &mut Painting, dice: &mut Dice) {
    let (width, height) = (canvas.width(), canvas.height());
    let sky = Rgb::from_hsv(
        dice.between(0.5, 0.65),
        dice.between(0.1, 0.6),
        dice.between(0.5, 1.0),
    );
    let whole = outline::rectangle(0.0, 0.0, width, height);
    canvas.fill(
        &whole,
        Ink::Fading {
            first: sky,
            last: sky.lighter(0.6),
            from: (0.0, 0.0),
            to: (0.0, height),
        },
    );
    let grass = Rgb::from_hsv(
        dice.between(0.15, 0.4),
        dice.between(0.3, 0.8),
        dice.between(0.25, 0.7),
    );
    let horizon = dice.between(0.2, 0.8) * height;
    let hill = outline::ellipse(
        dice.between(0.0, width),
        horizon + height,
        width * 1.4,
        height,
    );
    canvas.fill(&hill, grass);
    for _ in 0..dice.count(20, 120) {
        let (x, y) = (
            dice.between(0.0, width),
            dice.between(horizon + height * 0.1, height * 1.1),
        );
        let tip = (
            x + dice.around(0.04) * width,
            y - dice.between(0.03, 0.12) * height,
        );
        let blade = outline::polyline(&[(x, y), tip]);
        let colour = grass.mix(
            if dice.chance(0.5) {
                Rgb::BLACK
            } else {
                Rgb(0.9, 0.9, 0.4)
            },
            0.3,
        );
        canvas.line(&blade, colour, dice.between(1.0, 3.0));
    }
}

/// Draws small random shapes, behind the subject or in front of it.
pub(super) fn clutter(canvas: &mut Painting, dice: &mut Dice, n_things: usize) {
    let (width, height) = (canvas.width(), canvas.height());
    let short_side = width.min(height);
    for _ in 0..n_things {
        let (x, y) = (dice.between(0.0, width), dice.between(0.0, height));
        let size = dice.between(0.03, 0.16) * short_side;
        let thing: Outline = match dice.count(0, 3) {
            0 => outline::circle(0.0, 0.0, size),
            1 => outline::rectangle(-size, -size * 0.6, size, size * 0.6),
            2 => outline::polygon(&[(-size, size), (size * 0.9, size * 0.7), (0.0, -size)]),
            _ => outline::bow((-size, 0.0), (0.0, size * 3.0), (size, size)),
        };
        let placed = outline::moved(outline::turned(thing, dice.between(0.0, 360.0)), x, y);
        let colour = Rgb::any(dice);
        if dice.chance(0.3) {
            canvas.line(&placed, colour, dice.between(1.5, 5.0));
        } else {
            canvas.fill(&placed, Ink::Plain(colour, dice.between(0.6, 1.0)));
        }
    }
}

/// A random pose for a figure of unit size. `size` is the range of its half width, relative to the shorter side; `turn` is the
/// largest rotation in degrees, and `drift` the largest offset from the center.
pub(super) fn pose(
    canvas: &Painting,
    dice: &mut Dice,
    size: (f32, f32),
    turn: f32,
    drift: f32,
) -> Transform {
    let short_side = canvas.width().min(canvas.height());
    let scale = dice.between(size.0, size.1) * short_side;
    let stretch = dice.between(0.86, 1.16);
    let x = canvas.width() * (0.5 + dice.around(drift));
    let y = canvas.height() * (0.5 + dice.around(drift));
    Transform::from_row(
        scale * stretch,
        dice.around(0.08) * scale,
        dice.around(0.12) * scale,
        scale / stretch,
        0.0,
        0.0,
    )
    .post_rotate(dice.around(turn))
    .post_translate(x, y)
}

/// Turns the painting into a photo: adds lighting, blur, exposure, tint and noise.
pub(super) fn photographed(canvas: Painting, dice: &mut Dice) -> RgbImage {
    let mut picture = canvas.into_image();
    if dice.chance(0.35) {
        picture = imageops::fast_blur(&picture, dice.between(0.4, 1.4));
    }
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let (lamp_x, lamp_y) = (dice.between(-0.3, 1.3), dice.between(-0.3, 1.3));
    let fall_off = if dice.chance(0.7) {
        dice.between(0.0, 0.5)
    } else {
        0.0
    };
    let gain = dice.between(0.8, 1.25);
    let contrast = dice.between(0.7, 1.15);
    let tint = [
        dice.between(0.88, 1.1),
        dice.between(0.92, 1.06),
        dice.between(0.85, 1.12),
    ];
    let noise = if dice.chance(0.6) {
        dice.between(1.0, 11.0)
    } else {
        0.0
    };
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let distance = (x as f32 / width - lamp_x).hypot(y as f32 / height - lamp_y);
        let light = gain * (1.0 - fall_off * distance.min(1.4) / 1.4);
        for (value, tint) in pixel.0.iter_mut().zip(tint) {
            let lit = ((f32::from(*value) - 128.0) * contrast + 128.0) * light * tint;
            *value = (lit
                + if noise > 0.0 {
                    noise * dice.bell()
                } else {
                    0.0
                })
            .round()
            .clamp(0.0, 255.0) as u8;
        }
    }
    picture
}
