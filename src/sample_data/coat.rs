//! Coats: colours and patterns that cats and dogs share, so that neither gives the class away.

use super::{
    canvas::{Ink, Painting, Rgb},
    dice::Dice,
    outline::{self, Outline, Point},
};

#[derive(Clone, Copy)]
enum Pattern {
    Plain,
    Stripes,
    Patches,
    Blaze,
    Speckles,
    Shaded,
}

pub(super) struct Coat {
    pub(super) base: Rgb,
    pub(super) second: Rgb,
    pub(super) ears: Rgb,
    pub(super) muzzle: Rgb,
    pattern: Pattern,
}

const BLACK: Rgb = Rgb(0.13, 0.12, 0.13);
const WHITE: Rgb = Rgb(0.93, 0.91, 0.88);
const GREY: Rgb = Rgb(0.5, 0.51, 0.54);
const SILVER: Rgb = Rgb(0.72, 0.72, 0.73);
const GINGER: Rgb = Rgb(0.86, 0.52, 0.22);
const GOLD: Rgb = Rgb(0.85, 0.68, 0.42);
const CREAM: Rgb = Rgb(0.93, 0.86, 0.72);
const TAN: Rgb = Rgb(0.71, 0.53, 0.36);
const BROWN: Rgb = Rgb(0.42, 0.27, 0.17);
const FURS: [Rgb; 9] = [BLACK, WHITE, GREY, SILVER, GINGER, GOLD, CREAM, TAN, BROWN];

impl Coat {
    pub(super) fn any(dice: &mut Dice) -> Self {
        let fur = dice.pick(&FURS);
        let base = fur.mix(Rgb::any(dice), dice.between(0.0, 0.12));
        let other = dice.pick(&FURS).mix(Rgb::any(dice), 0.08);
        let second = if dice.chance(0.45) {
            base.darker(dice.between(0.3, 0.6))
        } else {
            other
        };
        let pattern = dice.pick(&[
            Pattern::Plain,
            Pattern::Plain,
            Pattern::Stripes,
            Pattern::Patches,
            Pattern::Blaze,
            Pattern::Speckles,
            Pattern::Shaded,
        ]);
        let ears = if dice.chance(0.35) {
            second
        } else {
            base.darker(dice.between(0.0, 0.18))
        };
        let muzzle = if dice.chance(0.5) {
            base.lighter(dice.between(0.2, 0.6))
        } else {
            base.darker(dice.between(0.0, 0.15))
        };
        Self {
            base,
            second,
            ears,
            muzzle,
            pattern,
        }
    }

    /// Fills an outline with the coat, and clips the pattern to it.
    pub(super) fn fill(&self, canvas: &mut Painting, dice: &mut Dice, skin: &Outline) {
        let light = self.base.lighter(0.12);
        canvas.fill(
            skin,
            Ink::Fading {
                first: light,
                last: self.base.darker(0.18),
                from: (-0.3, -1.0),
                to: (0.3, 1.0),
            },
        );
        canvas.clip(skin);
        match self.pattern {
            Pattern::Plain => {}
            Pattern::Stripes => self.stripes(canvas, dice),
            Pattern::Patches => self.patches(canvas, dice),
            Pattern::Blaze => self.blaze(canvas, dice),
            Pattern::Speckles => self.speckles(canvas, dice),
            Pattern::Shaded => self.shade(canvas),
        }
        canvas.unclip();
    }

    fn stripes(&self, canvas: &mut Painting, dice: &mut Dice) {
        for x in [-0.28, 0.0, 0.28] {
            let tip = (x * 0.6 + dice.around(0.04), -0.34 + dice.around(0.08));
            canvas.fill(&outline::lens((x * 1.3, -1.1), tip, 0.07), self.second);
        }
        for (side, y) in [-1.0, 1.0]
            .into_iter()
            .flat_map(|side| [-0.05, 0.22, 0.48].map(|y| (side, y)))
        {
            let tip: Point = (side * (0.58 + dice.around(0.06)), y * 0.8 + 0.04);
            canvas.fill(
                &outline::lens((side * 1.2, y - 0.12), tip, 0.055),
                self.second,
            );
        }
    }

    fn patches(&self, canvas: &mut Painting, dice: &mut Dice) {
        for _ in 0..dice.count(2, 4) {
            let (x, y) = (dice.around(0.8), dice.around(0.8));
            let size = dice.between(0.25, 0.55);
            let radii: [f32; 7] = std::array::from_fn(|_| size * dice.between(0.7, 1.3));
            let edge = outline::around(radii.len(), |at| radii[at]);
            canvas.fill(&outline::moved(outline::smooth(&edge), x, y), self.second);
        }
    }

    fn blaze(&self, canvas: &mut Painting, dice: &mut Dice) {
        let width = dice.between(0.1, 0.24);
        let blaze = outline::smooth(&[
            (-width * 0.5, -1.2),
            (width * 0.5, -1.2),
            (width, 0.1),
            (0.6, 0.75),
            (0.0, 1.2),
            (-0.6, 0.75),
            (-width, 0.1),
        ]);
        canvas.fill(
            &blaze,
            if self.base.luminance() > 0.7 {
                self.second
            } else {
                WHITE
            },
        );
    }

    fn speckles(&self, canvas: &mut Painting, dice: &mut Dice) {
        for _ in 0..dice.count(12, 40) {
            let spot = outline::ellipse(
                dice.around(1.0),
                dice.around(1.0),
                dice.between(0.02, 0.09),
                dice.between(0.02, 0.08),
            );
            canvas.fill(&spot, self.second);
        }
    }

    fn shade(&self, canvas: &mut Painting) {
        let saddle = outline::ellipse(0.0, -0.85, 0.95, 0.6);
        canvas.fill(&saddle, Ink::Plain(self.second, 0.7));
        canvas.fill(
            &outline::ellipse(0.0, 0.75, 0.6, 0.4),
            Ink::Plain(self.muzzle, 0.6),
        );
    }
}
