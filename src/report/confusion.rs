//! The picture of a confusion matrix: rows are the true classes, columns the predicted ones, shaded by the share of the row.

use super::{
    ink::{Color, FAINT_INK, HAIR, INK, PAPER, stroke},
    sheet::{self, Align, Sheet},
    text,
};
use crate::error::Result;

const HEAD: f64 = 66.0;
const MARGIN: f64 = 22.0;
/// The room next to an axis for its title, in pixels.
const AXIS_TITLE: f64 = 26.0;
/// The most pixels that a class name gets.
const NAME_ROOM: f64 = 170.0;
/// The largest side of the matrix, in pixels, as long as cells are above their smallest size.
const MATRIX: f64 = 900.0;
const MAX_CELL: f64 = 84.0;
/// The smallest cell in which a number is legible, in pixels.
const NUMBERED_CELL: f64 = 24.0;
const NUMBERED_CLASSES: usize = 50;
const FOOT: f64 = 50.0;
const MIN_WIDTH: f64 = 440.0;

/// The positions and sizes of all parts of the picture, in pixels.
struct ConfusionLayout {
    cell: f64,
    left: f64,
    top: f64,
    side: f64,
    name_size: f64,
    is_numbered: bool,
    width: f64,
}

/// What the numbers in the cells are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Images.
    Counts,
    /// Percentages of the images of the true class.
    Shares,
}

/// Draws a confusion matrix; `images` names the images, for example `validation images`.
pub(crate) fn confusion(
    matrix: &[Vec<usize>],
    classes: &[String],
    numbers: Numbers,
    images: &str,
) -> Result<Vec<u8>> {
    let layout = ConfusionLayout::new(classes)?;
    let height = layout.top + layout.side + FOOT + MARGIN;
    let picture = sheet::painted(layout.width.ceil() as u32, height.ceil() as u32, |sheet| {
        heading(sheet, matrix, numbers, images, &layout)?;
        names(sheet, classes, &layout)?;
        for row in 0..classes.len() {
            cells(sheet, matrix, numbers, row, &layout)?;
        }
        let (right, bottom) = (layout.left + layout.side, layout.top + layout.side);
        sheet.rectangle(
            (layout.left, layout.top),
            (right, bottom),
            stroke(FAINT_INK, 1.0),
        );
        shades(sheet, &layout)
    })?;
    sheet::png(&picture)
}

impl ConfusionLayout {
    fn new(classes: &[String]) -> Result<Self> {
        let n_classes = classes.len().max(1) as f64;
        let is_numbered = classes.len() <= NUMBERED_CLASSES;
        let smallest = if is_numbered { NUMBERED_CELL } else { 2.0 };
        // Whole pixels, so that all cells have the same size.
        let cell = (MATRIX / n_classes).floor().clamp(smallest, MAX_CELL);
        let name_size = (cell * 0.6).clamp(11.0, 15.0);
        let mut longest = 30.0_f64;
        for name in classes {
            longest = longest.max(text::width(name, name_size)?.min(NAME_ROOM));
        }
        let left = MARGIN + AXIS_TITLE + longest + 10.0;
        let side = cell * n_classes;
        let width = (left + side + MARGIN).max(MIN_WIDTH);
        Ok(Self {
            cell,
            left,
            top: HEAD + AXIS_TITLE + longest + 10.0,
            side,
            name_size,
            is_numbered,
            width,
        })
    }
}

fn count(matrix: &[Vec<usize>], row: usize, column: usize) -> usize {
    matrix
        .get(row)
        .and_then(|counts| counts.get(column))
        .copied()
        .unwrap_or(0)
}

fn heading(
    sheet: &Sheet,
    matrix: &[Vec<usize>],
    numbers: Numbers,
    images: &str,
    layout: &ConfusionLayout,
) -> Result<()> {
    let n_images: usize = matrix.iter().flatten().sum();
    let n_right: usize = (0..matrix.len()).map(|at| count(matrix, at, at)).sum();
    let title = match numbers {
        Numbers::Counts => "Confusion matrix",
        Numbers::Shares => "Confusion matrix in percent",
    };
    sheet.text(title, (MARGIN, 26.0), 22.0, Align::Left, INK)?;
    let fact = if n_images == 0 {
        format!("no {images}")
    } else {
        format!(
            "{n_right} of {n_images} {images} correct, {}",
            text::percent(n_right as f64 / n_images as f64, 1)
        )
    };
    sheet.text(&fact, (MARGIN, 52.0), 14.0, Align::Left, FAINT_INK)?;
    let (middle_x, middle_y) = (
        layout.left + layout.side / 2.0,
        layout.top + layout.side / 2.0,
    );
    sheet.text(
        "predicted",
        (middle_x, HEAD + AXIS_TITLE / 2.0),
        14.0,
        Align::Middle,
        FAINT_INK,
    )?;
    sheet.upright(
        "true",
        (MARGIN + 8.0, middle_y),
        14.0,
        Align::Middle,
        FAINT_INK,
    )
}

fn names(sheet: &Sheet, classes: &[String], layout: &ConfusionLayout) -> Result<()> {
    // If cells are smaller than letters, only some of the classes are named.
    let every = ((layout.name_size + 1.0) / layout.cell).ceil().max(1.0) as usize;
    for (at, name) in classes.iter().enumerate().step_by(every) {
        let name = text::shortened(name, layout.name_size, NAME_ROOM)?;
        let middle = (at as f64 + 0.5) * layout.cell;
        sheet.text(
            &name,
            (layout.left - 8.0, layout.top + middle),
            layout.name_size,
            Align::Right,
            INK,
        )?;
        if text::width(&name, layout.name_size)? <= layout.cell - 6.0 {
            let at = (layout.left + middle, layout.top - 14.0);
            sheet.text(&name, at, layout.name_size, Align::Middle, INK)?;
        } else {
            sheet.upright(
                &name,
                (layout.left + middle, layout.top - 8.0),
                layout.name_size,
                Align::Left,
                INK,
            )?;
        }
    }
    Ok(())
}

fn cells(
    sheet: &Sheet,
    matrix: &[Vec<usize>],
    numbers: Numbers,
    row: usize,
    layout: &ConfusionLayout,
) -> Result<()> {
    let n_classes = (layout.side / layout.cell).round() as usize;
    let n_row: usize = (0..n_classes)
        .map(|column| count(matrix, row, column))
        .sum();
    let top = layout.top + row as f64 * layout.cell;
    for column in 0..n_classes {
        let n_images = count(matrix, row, column);
        let share = if n_row == 0 {
            0.0
        } else {
            n_images as f64 / n_row as f64
        };
        let left = layout.left + column as f64 * layout.cell;
        let (near, far) = ((left, top), (left + layout.cell, top + layout.cell));
        sheet.rectangle(near, far, shade(share).filled());
        if layout.cell >= 8.0 {
            sheet.rectangle(near, far, stroke(HAIR, 1.0));
        }
        if layout.is_numbered && n_images > 0 {
            let colour = if share > 0.5 { PAPER } else { INK };
            number(
                sheet,
                &shown(n_images, share, numbers, layout)?,
                (left + layout.cell / 2.0, top + layout.cell / 2.0),
                colour,
                layout,
            )?;
        }
    }
    Ok(())
}

fn number(
    sheet: &Sheet,
    shown: &str,
    at: (f64, f64),
    colour: Color,
    layout: &ConfusionLayout,
) -> Result<()> {
    let room = layout.cell - 3.0;
    let size = number_size(layout);
    let size = size.min(size * room / text::width(shown, size)?.max(1.0));
    sheet.text(shown, at, size, Align::Middle, colour)
}

fn number_size(layout: &ConfusionLayout) -> f64 {
    (layout.cell * 0.42).clamp(11.0, 20.0)
}

/// The text of a cell with at least one image.
fn shown(
    n_images: usize,
    share: f64,
    numbers: Numbers,
    layout: &ConfusionLayout,
) -> Result<String> {
    let counts = n_images.to_string();
    let is_wide = text::width(&counts, number_size(layout))? > layout.cell - 3.0;
    Ok(match numbers {
        Numbers::Counts if is_wide && n_images >= 1000 => format!("{}k", n_images / 1000),
        Numbers::Counts => counts,
        // Neither a single mistake nor a single correct answer may seem to be none.
        Numbers::Shares if share < 0.005 => "<1".to_owned(),
        Numbers::Shares if share > 0.995 && share < 1.0 => ">99".to_owned(),
        Numbers::Shares => format!("{:.0}", share * 100.0),
    })
}

/// The colour of a share, from white to dark blue. The square root keeps rare mistakes visible.
fn shade(share: f64) -> Color {
    let share = share.clamp(0.0, 1.0).sqrt();
    let part = |light: f64, dark: f64| (light + (dark - light) * share).round() as u8;
    Color(part(255.0, 8.0), part(255.0, 72.0), part(255.0, 135.0))
}

fn shades(sheet: &Sheet, layout: &ConfusionLayout) -> Result<()> {
    const STEPS: usize = 60;
    const BAR: f64 = 120.0;
    let y = layout.top + layout.side + 34.0;
    let label = "share of the true class";
    // Aligned with the matrix if there is room, else with the margin.
    let right = (layout.width - MARGIN).min((layout.left + layout.side).max(MARGIN + 380.0));
    let bar_right = right - text::width("100 %", 12.0)? - 6.0;
    let bar_left = bar_right - BAR;
    for step in 0..STEPS {
        let left = bar_left + BAR * step as f64 / STEPS as f64;
        let right = left + BAR / STEPS as f64;
        sheet.rectangle(
            (left, y - 6.0),
            (right, y + 6.0),
            shade(step as f64 / (STEPS - 1) as f64).filled(),
        );
    }
    sheet.rectangle(
        (bar_left, y - 6.0),
        (bar_right, y + 6.0),
        stroke(FAINT_INK, 1.0),
    );
    sheet.text("100 %", (right, y), 12.0, Align::Right, FAINT_INK)?;
    let zero = bar_left - 6.0;
    sheet.text("0 %", (zero, y), 12.0, Align::Right, FAINT_INK)?;
    let before = zero - text::width("0 %", 12.0)? - 10.0;
    sheet.text(label, (before, y), 12.0, Align::Right, FAINT_INK)
}
