//! Pictures of figures to pretrain on: simple `forms`, `objects` of several parts, `strokes`, and `textures`. No faces.

use image::RgbImage;

use super::{
    canvas::{Ink, Painting, Rgb},
    dice::Dice,
    forms, objects,
    outline::{self, Outline},
    scene, strokes, textures,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
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

impl Figure {
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

/// The largest rotation of a figure to either side, in degrees.
const TURN: f32 = 30.0;

pub(super) fn draw(shape: Figure, dice: &mut Dice) -> RgbImage {
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

fn figure(canvas: &mut Painting, dice: &mut Dice, shape: Figure, colour: Rgb) {
    match shape {
        Figure::Arrow => drawn(canvas, dice, colour, forms::arrow),
        Figure::Bricks => textures::bricks(canvas, dice, colour),
        Figure::Butterfly => objects::butterfly(canvas, dice, colour),
        Figure::Checkerboard => textures::checkerboard(canvas, dice, colour),
        Figure::Cloud => drawn(canvas, dice, colour, forms::cloud),
        Figure::Crescent => drawn(canvas, dice, colour, forms::crescent),
        Figure::Cross => drawn(canvas, dice, colour, forms::cross),
        Figure::Cup => objects::cup(canvas, dice, colour),
        Figure::Dots => textures::dots(canvas, dice, colour),
        Figure::Drop => drawn(canvas, dice, colour, forms::teardrop),
        Figure::Fish => objects::fish(canvas, dice, colour),
        Figure::Flower => objects::flower(canvas, dice, colour),
        Figure::Gear => objects::gear(canvas, dice, colour),
        Figure::Heart => drawn(canvas, dice, colour, forms::heart),
        Figure::Hexagon => solid(
            canvas,
            dice,
            colour,
            &outline::polygon(&outline::around(6, |_| 0.95)),
        ),
        Figure::House => objects::house(canvas, dice, colour),
        Figure::Key => objects::key(canvas, dice, colour),
        Figure::Ladder => strokes::ladder(canvas, dice, colour),
        Figure::Leaf => objects::leaf(canvas, dice, colour),
        Figure::Lightning => drawn(canvas, dice, colour, forms::lightning),
        Figure::Mushroom => objects::mushroom(canvas, dice, colour),
        Figure::Net => strokes::net(canvas, dice, colour),
        Figure::Rings => strokes::rings(canvas, dice, colour),
        Figure::Scales => textures::scales(canvas, dice, colour),
        Figure::Spiral => strokes::spiral(canvas, dice, colour),
        Figure::Star => drawn(canvas, dice, colour, forms::star),
        Figure::StripesLevel => textures::stripes(canvas, dice, colour, 0.0),
        Figure::StripesRising => textures::stripes(canvas, dice, colour, -45.0),
        Figure::StripesUpright => textures::stripes(canvas, dice, colour, 90.0),
        Figure::Tree => objects::tree(canvas, dice, colour),
        Figure::Triangle => drawn(canvas, dice, colour, forms::triangle),
        Figure::Umbrella => objects::umbrella(canvas, dice, colour),
        Figure::Waves => strokes::waves(canvas, dice, colour),
        Figure::Wheel => strokes::wheel(canvas, dice, colour),
        Figure::Zigzag => strokes::zigzag(canvas, dice, colour),
    }
}

fn drawn(canvas: &mut Painting, dice: &mut Dice, colour: Rgb, form: fn(&mut Dice) -> Outline) {
    let outline = form(dice);
    solid(canvas, dice, colour, &outline);
}

/// Fills an outline in a random way that leaves its form recognizable.
pub(super) fn solid(canvas: &mut Painting, dice: &mut Dice, colour: Rgb, figure: &Outline) {
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
