//! Figures to pretrain on: simple `forms`, `objects` of parts, line `strokes`, surface `textures`. No faces.

use image::RgbImage;

use super::{
    canvas::{Canvas, Ink, Rgb},
    dice::Dice,
    forms, objects,
    outline::{self, Outline},
    scene, strokes, textures,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Arrow,
    Bricks,
    Butterfly,
    Checkerboard,
    Cloud,
    Crescent,
    Cross,
    Cup,
    Dots,
    Drop,
    Fish,
    Flower,
    Gear,
    Heart,
    Hexagon,
    House,
    Key,
    Ladder,
    Leaf,
    Lightning,
    Mushroom,
    Net,
    Rings,
    Scales,
    Spiral,
    Star,
    StripesLevel,
    StripesRising,
    StripesUpright,
    Tree,
    Triangle,
    Umbrella,
    Waves,
    Wheel,
    Zigzag,
}

impl Shape {
    pub(super) const ALL: [(&'static str, Self); 35] = [
        ("arrow", Self::Arrow),
        ("bricks", Self::Bricks),
        ("butterfly", Self::Butterfly),
        ("checkerboard", Self::Checkerboard),
        ("cloud", Self::Cloud),
        ("crescent", Self::Crescent),
        ("cross", Self::Cross),
        ("cup", Self::Cup),
        ("dots", Self::Dots),
        ("drop", Self::Drop),
        ("fish", Self::Fish),
        ("flower", Self::Flower),
        ("gear", Self::Gear),
        ("heart", Self::Heart),
        ("hexagon", Self::Hexagon),
        ("house", Self::House),
        ("key", Self::Key),
        ("ladder", Self::Ladder),
        ("leaf", Self::Leaf),
        ("lightning", Self::Lightning),
        ("mushroom", Self::Mushroom),
        ("net", Self::Net),
        ("rings", Self::Rings),
        ("scales", Self::Scales),
        ("spiral", Self::Spiral),
        ("star", Self::Star),
        ("stripes-level", Self::StripesLevel),
        ("stripes-rising", Self::StripesRising),
        ("stripes-upright", Self::StripesUpright),
        ("tree", Self::Tree),
        ("triangle", Self::Triangle),
        ("umbrella", Self::Umbrella),
        ("waves", Self::Waves),
        ("wheel", Self::Wheel),
        ("zigzag", Self::Zigzag),
    ];
}

/// Degrees that a figure turns to either side.
const TURN: f32 = 30.0;

pub(super) fn draw(shape: Shape, dice: &mut Dice) -> RgbImage {
    let mut canvas = scene::framed(dice);
    let ground = scene::backdrop(&mut canvas, dice);
    let n_things = dice.count(0, 5);
    scene::clutter(&mut canvas, dice, n_things);
    let frame_pose = canvas.pose;
    let colour = ground.contrasting(dice, 0.25);
    let n_figures = if dice.chance(0.12) {
        dice.count(2, 3)
    } else {
        1
    };
    for _ in 0..n_figures {
        let (size, drift) = if n_figures == 1 {
            ((0.3, 0.5), 0.12)
        } else {
            ((0.16, 0.26), 0.34)
        };
        canvas.pose = scene::pose(&canvas, dice, size, TURN, drift);
        figure(&mut canvas, dice, shape, colour);
    }
    canvas.pose = frame_pose;
    let n_things = dice.count(0, 1);
    scene::clutter(&mut canvas, dice, n_things);
    scene::photographed(canvas, dice)
}

fn figure(canvas: &mut Canvas, dice: &mut Dice, shape: Shape, colour: Rgb) {
    match shape {
        Shape::Arrow => drawn(canvas, dice, colour, forms::arrow),
        Shape::Bricks => textures::bricks(canvas, dice, colour),
        Shape::Butterfly => objects::butterfly(canvas, dice, colour),
        Shape::Checkerboard => textures::checkerboard(canvas, dice, colour),
        Shape::Cloud => drawn(canvas, dice, colour, forms::cloud),
        Shape::Crescent => drawn(canvas, dice, colour, forms::crescent),
        Shape::Cross => drawn(canvas, dice, colour, forms::cross),
        Shape::Cup => objects::cup(canvas, dice, colour),
        Shape::Dots => textures::dots(canvas, dice, colour),
        Shape::Drop => drawn(canvas, dice, colour, forms::teardrop),
        Shape::Fish => objects::fish(canvas, dice, colour),
        Shape::Flower => objects::flower(canvas, dice, colour),
        Shape::Gear => objects::gear(canvas, dice, colour),
        Shape::Heart => drawn(canvas, dice, colour, forms::heart),
        Shape::Hexagon => solid(
            canvas,
            dice,
            colour,
            &outline::polygon(&outline::around(6, |_| 0.95)),
        ),
        Shape::House => objects::house(canvas, dice, colour),
        Shape::Key => objects::key(canvas, dice, colour),
        Shape::Ladder => strokes::ladder(canvas, dice, colour),
        Shape::Leaf => objects::leaf(canvas, dice, colour),
        Shape::Lightning => drawn(canvas, dice, colour, forms::lightning),
        Shape::Mushroom => objects::mushroom(canvas, dice, colour),
        Shape::Net => strokes::net(canvas, dice, colour),
        Shape::Rings => strokes::rings(canvas, dice, colour),
        Shape::Scales => textures::scales(canvas, dice, colour),
        Shape::Spiral => strokes::spiral(canvas, dice, colour),
        Shape::Star => drawn(canvas, dice, colour, forms::star),
        Shape::StripesLevel => textures::stripes(canvas, dice, colour, 0.0),
        Shape::StripesRising => textures::stripes(canvas, dice, colour, -45.0),
        Shape::StripesUpright => textures::stripes(canvas, dice, colour, 90.0),
        Shape::Tree => objects::tree(canvas, dice, colour),
        Shape::Triangle => drawn(canvas, dice, colour, forms::triangle),
        Shape::Umbrella => objects::umbrella(canvas, dice, colour),
        Shape::Waves => strokes::waves(canvas, dice, colour),
        Shape::Wheel => strokes::wheel(canvas, dice, colour),
        Shape::Zigzag => strokes::zigzag(canvas, dice, colour),
    }
}

fn drawn(canvas: &mut Canvas, dice: &mut Dice, colour: Rgb, form: fn(&mut Dice) -> Outline) {
    let outline = form(dice);
    solid(canvas, dice, colour, &outline);
}

/// One outline, filled in one of the ways that leave its form readable.
pub(super) fn solid(canvas: &mut Canvas, dice: &mut Dice, colour: Rgb, figure: &Outline) {
    match dice.count(0, 5) {
        0 | 1 => canvas.fill_with_holes(figure, colour),
        2 => {
            let last = colour.mix(Rgb::any(dice), 0.5);
            canvas.fill_with_holes(
                figure,
                Ink::Fading {
                    first: colour,
                    last,
                    from: (dice.around(0.5), -1.0),
                    to: (0.0, 1.0),
                },
            );
        }
        3 => canvas.line(figure, colour, dice.between(0.06, 0.14)),
        4 => {
            canvas.fill_with_holes(figure, colour);
            canvas.line(
                figure,
                colour.contrasting(dice, 0.3),
                dice.between(0.05, 0.1),
            );
        }
        _ => {
            canvas.fill_with_holes(figure, colour);
            canvas.clip(figure);
            let second = colour.mix(Rgb::any(dice), 0.6);
            textures::sprinkle(canvas, dice, second);
            canvas.unclip();
        }
    }
}
