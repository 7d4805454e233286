//! Outlines as paths in unit coordinates: the figure fills about -1..1, y points down. Knows nothing of colour.

use std::f32::consts::{PI, TAU};

use tiny_skia::{Path, PathBuilder, Rect, Transform};

pub(super) type Point = (f32, f32);

/// The path of an outline. `None` is a path without extent, which draws nothing.
pub(super) type Outline = Option<Path>;

pub(super) fn polygon(points: &[Point]) -> Outline {
    joined(points, true)
}

pub(super) fn polyline(points: &[Point]) -> Outline {
    joined(points, false)
}

fn joined(points: &[Point], close: bool) -> Outline {
    let mut path = PathBuilder::new();
    for (at, &(x, y)) in points.iter().enumerate() {
        if at == 0 {
            path.move_to(x, y);
        } else {
            path.line_to(x, y);
        }
    }
    if close {
        path.close();
    }
    path.finish()
}

/// A smooth closed curve through the points (Catmull-Rom).
pub(super) fn smooth(points: &[Point]) -> Outline {
    let n_points = points.len();
    if n_points < 3 {
        return None;
    }
    let mut path = PathBuilder::new();
    path.move_to(points[0].0, points[0].1);
    for at in 0..n_points {
        let (before, from) = (points[(at + n_points - 1) % n_points], points[at]);
        let (to, after) = (points[(at + 1) % n_points], points[(at + 2) % n_points]);
        path.cubic_to(
            from.0 + (to.0 - before.0) / 6.0,
            from.1 + (to.1 - before.1) / 6.0,
            to.0 - (after.0 - from.0) / 6.0,
            to.1 - (after.1 - from.1) / 6.0,
            to.0,
            to.1,
        );
    }
    path.close();
    path.finish()
}

pub(super) fn ellipse(x: f32, y: f32, radius_x: f32, radius_y: f32) -> Outline {
    Rect::from_ltrb(x - radius_x, y - radius_y, x + radius_x, y + radius_y)
        .and_then(PathBuilder::from_oval)
}

pub(super) fn circle(x: f32, y: f32, radius: f32) -> Outline {
    ellipse(x, y, radius, radius)
}

pub(super) fn rectangle(left: f32, top: f32, right: f32, bottom: f32) -> Outline {
    Rect::from_ltrb(left, top, right, bottom).map(PathBuilder::from_rect)
}

/// A curve from `from` to `to` that is pulled towards `pull`.
pub(super) fn bow(from: Point, pull: Point, to: Point) -> Outline {
    let mut path = PathBuilder::new();
    path.move_to(from.0, from.1);
    path.quad_to(pull.0, pull.1, to.0, to.1);
    path.finish()
}

/// A pointed lens between two points that extends by `width` to each side of the line between them.
pub(super) fn lens(from: Point, to: Point, width: f32) -> Outline {
    let (across_x, across_y) = (to.1 - from.1, from.0 - to.0);
    let length = across_x.hypot(across_y).max(1e-6);
    let (side_x, side_y) = (
        across_x / length * width * 2.0,
        across_y / length * width * 2.0,
    );
    let (middle_x, middle_y) = (f32::midpoint(from.0, to.0), f32::midpoint(from.1, to.1));
    let mut path = PathBuilder::new();
    path.move_to(from.0, from.1);
    path.quad_to(middle_x + side_x, middle_y + side_y, to.0, to.1);
    path.quad_to(middle_x - side_x, middle_y - side_y, from.0, from.1);
    path.close();
    path.finish()
}

/// Points around a circle, each at the radius that the caller chooses. The first one is at the top.
pub(super) fn around(n_points: usize, radius: impl Fn(usize) -> f32) -> Vec<Point> {
    (0..n_points)
        .map(|at| {
            let angle = TAU * at as f32 / n_points as f32 - PI / 2.0;
            (radius(at) * angle.cos(), radius(at) * angle.sin())
        })
        .collect()
}

pub(super) fn moved(outline: Outline, x: f32, y: f32) -> Outline {
    outline.and_then(|path| path.transform(Transform::from_translate(x, y)))
}

pub(super) fn turned(outline: Outline, degrees: f32) -> Outline {
    outline.and_then(|path| path.transform(Transform::from_rotate(degrees)))
}

/// Joins outlines into one, for a mask or a shape with holes.
pub(super) fn together(outlines: impl IntoIterator<Item = Outline>) -> Outline {
    let mut path = PathBuilder::new();
    for outline in outlines.into_iter().flatten() {
        path.push_path(&outline);
    }
    path.finish()
}
