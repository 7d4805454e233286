//! `runner samples CONFIG`: draws a labelled sheet of the training images, as they are or as the network will see them.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use image::RgbImage;
use serde_json::json;

use super::prepare;
use crate::{
    commands::{args::ExperimentArgs, context::Context},
    config::{self, experiment::Experiment},
    data::{
        decode::{self, DecodeOptions},
        index::DatasetIndex,
        source::{ImageSource as _, Item, Photos, explained},
        split::Part,
        transform,
    },
    disk::files::write_atomic,
    error::{Error, Result},
    report::{self, Tile, Title},
    text::table::counted,
};

#[derive(Debug, clap::Args)]
pub(crate) struct SamplesArgs {
    #[command(flatten)]
    pub(crate) experiment: ExperimentArgs,
    /// PNG file to write
    #[arg(long, short, value_name = "FILE.png", default_value = "samples.png")]
    pub(crate) output: PathBuf,
    /// Show what the network will see: cropped, resized and augmented, in several epochs
    #[arg(long)]
    pub(crate) augmented: bool,
    /// Number of images
    #[arg(long, value_name = "N", default_value = "16")]
    pub(crate) images: NonZeroUsize,
    /// Number of epochs to show each image in
    #[arg(long, value_name = "N", default_value = "4", requires = "augmented")]
    pub(crate) epochs: NonZeroUsize,
}

/// One photo of the sheet.
struct Sample<'a> {
    photo: RgbImage,
    class: &'a str,
    /// The epoch in which the network sees it; empty for an image as it is.
    view: String,
    file: &'a str,
}

pub(crate) fn run(args: &SamplesArgs, cx: &Context) -> Result<()> {
    check_extension(&args.output)?;
    let request = cx.request(&args.experiment);
    let loaded = config::read(&request.file, &request.sets, &request.env)?;
    let experiment = &loaded.experiment;
    let (index, split) = prepare::images(experiment, &cx.console)?;
    let train = split.images(Part::Train);
    let chosen = spread(&by_class(&train, &index), args.images.get());
    let n_epochs = match (args.augmented, experiment.augment.is_random()) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => args.epochs.get(),
    };
    let samples = if args.augmented {
        as_seen(experiment, &index, &chosen, n_epochs)?
    } else {
        as_they_are(experiment, &index, &chosen)?
    };
    let (n, of) = (chosen.len(), counted(train.len(), "training image"));
    let heading = match n_epochs {
        0 => "Training images".to_owned(),
        1 => "As the network sees them, without augmentation".to_owned(),
        n => format!("As the network sees them in the first {n} epochs"),
    };
    let note = format!("{n} of {of}");
    let picture = draw((&heading, &note), &samples, n_epochs)?;
    write_atomic(&args.output, &picture)?;
    let fields = json!({
        "file": args.output.to_string_lossy(), "images": n, "epochs": n_epochs,
    });
    let text = args.output.display().to_string();
    cx.console.answer("samples", fields, &text);
    Ok(())
}

fn check_extension(file: &Path) -> Result<()> {
    if file
        .extension()
        .is_some_and(|it| it.eq_ignore_ascii_case("png"))
    {
        return Ok(());
    }
    let text = format!("`{}` does not end in `.png`", file.display());
    Err(Error::usage(text).help(format!("use `{}`", file.with_extension("png").display())))
}

/// The images of each class that has any.
fn by_class(images: &[usize], index: &DatasetIndex) -> Vec<Vec<usize>> {
    let mut classes = vec![Vec::new(); index.classes.len()];
    for image in images {
        classes[index.images[*image].class].push(*image);
    }
    classes.retain(|class| !class.is_empty());
    classes
}

/// `n` of the images, as many of each class as of the others, and evenly spread within it; in the order of the classes.
fn spread(classes: &[Vec<usize>], n: usize) -> Vec<usize> {
    let mut taken = vec![0; classes.len()];
    let n_images: usize = classes.iter().map(Vec::len).sum();
    let mut n_left = n.min(n_images);
    while n_left > 0 {
        for (taken, class) in taken.iter_mut().zip(classes) {
            if *taken < class.len() && n_left > 0 {
                *taken += 1;
                n_left -= 1;
            }
        }
    }
    let classes = classes.iter().zip(taken);
    let chosen = classes.flat_map(|(class, n)| (0..n).map(move |at| class[at * class.len() / n]));
    chosen.collect()
}

fn as_they_are<'a>(
    experiment: &Experiment,
    index: &'a DatasetIndex,
    chosen: &[usize],
) -> Result<Vec<Sample<'a>>> {
    let options = DecodeOptions::of(&experiment.data);
    let sample = |at: &usize| {
        let image = &index.images[*at];
        let path = index.root.join(&image.file);
        let bytes = index
            .read_photo(image)
            .map_err(|problem| explained(&index.root, &image.file, problem))?;
        let decoded = decode::decode_rgb(&bytes, &options)
            .map_err(|reason| Error::data(format!("the image {reason}")).at(&path))?;
        let (width, height) = (decoded.width as u32, decoded.height as u32);
        let photo = report::letterboxed(&decoded.pixels, width, height);
        Ok(Sample {
            photo: photo.ok_or_else(|| Error::data("the image has no pixels").at(&path))?,
            class: &index.classes[image.class],
            view: String::new(),
            file: &image.file,
        })
    };
    chosen.iter().map(sample).collect()
}

/// The views of each image in the first epochs of the first phase, one after the other.
fn as_seen<'a>(
    experiment: &Experiment,
    index: &'a Arc<DatasetIndex>,
    chosen: &[usize],
    n_epochs: usize,
) -> Result<Vec<Sample<'a>>> {
    let photos = Photos {
        index: Arc::clone(index),
        data: experiment.data.clone(),
        transforms: experiment.transforms.clone(),
    };
    let mut samples = Vec::new();
    for at in chosen {
        let image = &index.images[*at];
        for epoch in 0..n_epochs {
            let item = Item::in_epoch(experiment, 0, epoch, *at);
            let mut values = vec![0.0; photos.n_values()];
            photos.load(&item, &mut values)?;
            let seen = transform::displayed(&values, &experiment.transforms);
            let (width, height) = (seen.width as u32, seen.height as u32);
            let photo = report::letterboxed(&seen.pixels, width, height);
            samples.push(Sample {
                photo: photo.ok_or_else(|| Error::data("the image has no pixels"))?,
                class: &index.classes[image.class],
                view: if n_epochs == 1 {
                    String::new()
                } else {
                    format!("epoch {}", epoch + 1)
                },
                file: &image.file,
            });
        }
    }
    Ok(samples)
}

fn draw(heading: (&str, &str), samples: &[Sample], n_epochs: usize) -> Result<Vec<u8>> {
    let tiles = samples.iter().map(|sample| {
        Some(Tile {
            rgb: sample.photo.as_raw(),
            width: sample.photo.width(),
            height: sample.photo.height(),
            title: Title::Plain(sample.class, &sample.view),
            caption: sample.file,
        })
    });
    let tiles: Vec<Option<Tile>> = tiles.collect();
    // The views of an image stay in one row, and short rows of them share it.
    let n_columns = match n_epochs {
        0 | 1 => report::columns(tiles.len()),
        2..=4 if tiles.len() > n_epochs => 2 * n_epochs,
        n => n,
    };
    report::photo_grid(heading, &tiles, n_columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_share() {
        let classes = [vec![0, 1, 2, 3, 4, 5], vec![6], vec![7, 8, 9]];
        assert_eq!(spread(&classes, 6), [0, 2, 4, 6, 7, 8]);
        assert_eq!(spread(&classes, 2), [0, 6]);
        assert_eq!(spread(&classes, 99).len(), 10);
    }
}
