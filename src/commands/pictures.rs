//! The pictures of predictions at the end of a run: a sample of all predictions, and the worst mistakes.

use std::fmt::Display;

use image::RgbImage;

use crate::{
    data::decode::{self, DecodeOptions},
    disk::files::write_atomic,
    error::{Error, Result},
    report::{self, MOST_TILES, Tile, Title},
    rundir::records::PredictionRow,
    text::table::counted,
    train::Session,
};

/// Draws a sample of the predictions. It is spread over all rows, because these are sorted by class.
pub(super) fn draw_predictions(setup: &Session, rows: &[PredictionRow]) -> Result<()> {
    let n_tiles = rows.len().min(MOST_TILES);
    let chosen = (0..n_tiles).map(|tile| &rows[tile * rows.len() / n_tiles]);
    let n_right = rows.iter().filter(|row| is_right(row)).count();
    let n_rows = rows.len();
    let note = format!("{n_tiles} of {n_rows} images; {n_right} of {n_rows} correct");
    let picture = draw(setup, "Sample predictions", &note, chosen.collect())?;
    write_atomic(&setup.run_dir.predictions_png(), &picture)
}

/// Draws the wrong predictions with the highest losses; draws nothing if all predictions are correct.
pub(super) fn draw_mistakes(setup: &Session, rows: &[PredictionRow]) -> Result<()> {
    let mut wrong: Vec<&PredictionRow> = rows.iter().filter(|row| !is_right(row)).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.sort_by(|a, b| b.loss.total_cmp(&a.loss));
    let mistakes = counted(wrong.len(), "mistake");
    let note = if wrong.len() > MOST_TILES {
        format!("{MOST_TILES} of {mistakes}, highest loss first")
    } else {
        format!("{mistakes}, highest loss first")
    };
    wrong.truncate(MOST_TILES);
    let picture = draw(setup, "Mistakes", &note, wrong)?;
    write_atomic(&setup.run_dir.mistakes_png(), &picture)
}

fn is_right(row: &PredictionRow) -> bool {
    row.predicted == row.class
}

fn draw(setup: &Session, heading: &str, note: &str, rows: Vec<&PredictionRow>) -> Result<Vec<u8>> {
    let mut shown = Vec::new();
    for row in rows {
        // A photo may have been deleted since it was predicted, which must not fail the run.
        match open_photo(setup, row) {
            Ok(image) => shown.push((row, image)),
            Err(error) => setup
                .console
                .note(&format!("skipped an image in a picture: {error}")),
        }
    }
    let tiles = shown.iter().map(|(row, image)| {
        Some(Tile {
            rgb: image.as_raw(),
            width: image.width(),
            height: image.height(),
            title: Title::Prediction {
                predicted: &row.predicted,
                probability: row.probability,
                truth: &row.class,
            },
            caption: &row.file,
        })
    });
    let tiles: Vec<Option<Tile>> = tiles.collect();
    report::photo_grid((heading, note), &tiles, report::columns(tiles.len()))
}

/// A photo at the size of its tile, so that only one photo at a time is in memory at full size.
fn open_photo(setup: &Session, row: &PredictionRow) -> Result<RgbImage> {
    let index = &setup.index;
    let path = index.root.join(&row.file);
    let refused = |problem: &dyn Display| {
        Error::data(format!("cannot draw `{}`: {problem}", path.display())).at(&path)
    };
    let image = index.images.iter().find(|image| image.file == row.file);
    let image = image.ok_or_else(|| refused(&"the file is not in the data set"))?;
    let bytes = index
        .read_photo(image)
        .map_err(|problem| refused(&problem))?;
    let decoded = decode::decode_rgb(&bytes, &DecodeOptions::of(&setup.experiment.data));
    let photo = decoded.map_err(|problem| refused(&problem))?;
    let (width, height) = (photo.width as u32, photo.height as u32);
    let tile = report::letterboxed(&photo.pixels, width, height);
    tile.ok_or_else(|| refused(&"the image has no pixels"))
}
