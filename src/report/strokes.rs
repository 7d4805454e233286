//! The looks of lines: colour, mark and dashes, chosen so that no two are alike even in grey. Knows nothing about what they show.

use std::f64::consts::TAU;

use super::{
    ink::{BLUE, Color, INK, PAPER, VERMILION, stroke},
    sheet::Sheet,
};

/// The colours of Okabe and Ito, without the yellow, which is hardly visible on white.
pub(super) const COLOURS: [Color; 7] = [
    BLUE,
    VERMILION,
    Color(0, 158, 115),
    Color(204, 121, 167),
    Color(230, 159, 0),
    Color(86, 180, 233),
    INK,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Circle,
    Square,
    Triangle,
    Diamond,
    FallingTriangle,
    Star,
    Plus,
}

const MARKS: [Mark; 7] = [
    Mark::Circle,
    Mark::Square,
    Mark::Triangle,
    Mark::Diamond,
    Mark::FallingTriangle,
    Mark::Star,
    Mark::Plus,
];

/// The lengths of dashes and gaps in turn, in pixels; an empty list is a solid line.
const DASHES: [&[f64]; 4] = [&[], &[8.0, 4.0], &[2.5, 3.5], &[9.0, 3.0, 2.5, 3.0]];

#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) colour: Color,
    mark: Mark,
    is_hollow: bool,
    dashes: &'static [f64],
}

/// The look of line number `at`. After each round of colours the dashes change and the marks shift by one.
pub(super) fn look(at: usize) -> Look {
    let round = at / COLOURS.len();
    Look {
        colour: COLOURS[at % COLOURS.len()],
        mark: MARKS[(at + round) % MARKS.len()],
        is_hollow: round % 2 == 1,
        dashes: DASHES[round % DASHES.len()],
    }
}

/// A solid line with circles.
pub(super) fn plain(colour: Color) -> Look {
    Look {
        colour,
        mark: Mark::Circle,
        is_hollow: false,
        dashes: DASHES[0],
    }
}

/// The colour mixed with the paper; `share` is the share of the colour.
pub(super) fn pale(colour: Color, share: f64) -> Color {
    let mixed = |own: u8, paper: u8| {
        (f64::from(own) * share + f64::from(paper) * (1.0 - share)).round() as u8
    };
    Color(
        mixed(colour.0, PAPER.0),
        mixed(colour.1, PAPER.1),
        mixed(colour.2, PAPER.2),
    )
}

impl Look {
    pub(super) fn line(self, sheet: &Sheet, points: &[(f64, f64)], width: f64) {
        if self.dashes.is_empty() {
            return sheet.line(points, stroke(self.colour, width));
        }
        for dash in dashed(points, self.dashes) {
            sheet.line(&dash, stroke(self.colour, width));
        }
    }

    /// Draws a mark that looks about as large as a circle of that radius, with a white rim that sets it off from what is below.
    pub(super) fn mark(self, sheet: &Sheet, at: (f64, f64), radius: f64) {
        self.shape(sheet, at, radius + 1.0, PAPER);
        self.shape(sheet, at, radius, self.colour);
        if self.is_hollow {
            self.shape(sheet, at, radius * 0.52, PAPER);
        }
    }

    fn shape(self, sheet: &Sheet, at: (f64, f64), radius: f64, colour: Color) {
        let up = -TAU / 4.0;
        let corners = match self.mark {
            Mark::Circle => return sheet.dot(at, radius, colour.filled()),
            Mark::Square => ring(at, &[radius * 1.3], 4, TAU / 8.0),
            Mark::Triangle => ring(at, &[radius * 1.45], 3, up),
            Mark::Diamond => ring(at, &[radius * 1.4], 4, up),
            Mark::FallingTriangle => ring(at, &[radius * 1.45], 3, -up),
            Mark::Star => ring(at, &[radius * 1.7, radius * 0.75], 10, up),
            Mark::Plus => plus(at, radius * 1.4, radius * 0.5),
        };
        sheet.polygon(&corners, colour);
    }
}

/// The corners of a polygon around a centre; the radii are used in turn.
fn ring((x, y): (f64, f64), radii: &[f64], n_corners: usize, from: f64) -> Vec<(f64, f64)> {
    (0..n_corners)
        .map(|at| {
            let angle = from + TAU * at as f64 / n_corners as f64;
            let radius = radii[at % radii.len()];
            (x + radius * angle.cos(), y + radius * angle.sin())
        })
        .collect()
}

fn plus((x, y): (f64, f64), arm: f64, half: f64) -> Vec<(f64, f64)> {
    let corners = [
        (-half, -arm),
        (half, -arm),
        (half, -half),
        (arm, -half),
        (arm, half),
        (half, half),
        (half, arm),
        (-half, arm),
        (-half, half),
        (-arm, half),
        (-arm, -half),
        (-half, -half),
    ];
    corners
        .into_iter()
        .map(|(right, down)| (x + right, y + down))
        .collect()
}

/// The dashes of a line; the pattern continues around corners.
fn dashed(points: &[(f64, f64)], pattern: &[f64]) -> Vec<Vec<(f64, f64)>> {
    let mut dashes = Vec::new();
    let (mut step, mut left) = (0, pattern[0]);
    let mut dash: Vec<(f64, f64)> = points.first().copied().into_iter().collect();
    for pair in points.windows(2) {
        let [(from_x, from_y), (to_x, to_y)] = [pair[0], pair[1]];
        let length = (to_x - from_x).hypot(to_y - from_y);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let share = done / length;
            let at = (
                from_x + (to_x - from_x) * share,
                from_y + (to_y - from_y) * share,
            );
            let is_drawn = step % 2 == 0;
            if is_drawn {
                dash.push(at);
                dashes.push(std::mem::take(&mut dash));
            } else {
                dash = vec![at];
            }
            step = (step + 1) % pattern.len();
            left = pattern[step];
        }
        left -= length - done;
        if step % 2 == 0 {
            dash.push((to_x, to_y));
        }
    }
    if dash.len() > 1 {
        dashes.push(dash);
    }
    dashes
}
