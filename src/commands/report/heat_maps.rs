//! Where the network looked: pictures that lie over the photos of the gallery.

use image::{
    RgbImage,
    imageops::{self, FilterType},
};

use super::photos::below;
use crate::{
    console::Console,
    data::decode::RgbImage8,
    explain::Method,
    inference::{
        OpenedRun,
        explainer::{BATCH, Explainer},
        files::InputFile,
        photos::decoded,
    },
    runs::RunView,
    train::checkpoint::Which,
};

/// The photos of the gallery that get a heat map: each takes a pass through the network, and room on the page.
pub(super) const MOST: usize = 48;

/// For each of these files, in order, the photo with the heat map of the predicted class; `None` for a photo that has none. `None`
/// altogether if the run has no checkpoint that can be read.
pub(super) fn heat_maps(
    view: &RunView,
    files: &[&str],
    console: &Console,
) -> Option<Vec<Option<RgbImage>>> {
    if files.is_empty() {
        return None;
    }
    let opened = OpenedRun::read(&view.dir, Which::Best, &[], "report", console).ok()?;
    let root = opened.experiment.data.root.clone();
    let explainer = Explainer::new(opened).ok()?;
    let read = |file: &&str| {
        let path = below(&root, file)?;
        let file = InputFile {
            path,
            ..InputFile::default()
        };
        decoded(&file, &explainer.decoding).ok()?
    };
    let mut maps = Vec::new();
    for files in files.chunks(BATCH) {
        let (mut places, mut photos) = (Vec::new(), Vec::new());
        for (place, photo) in files.iter().map(read).enumerate() {
            if let Some(photo) = photo {
                places.push((place, photo.width as u32, photo.height as u32));
                photos.push(explainer.preprocessed(&photo));
            }
        }
        let answers = explainer.explain(&photos, Method::GradCam, |_, predicted| vec![predicted]);
        let mut of_files = vec![None; files.len()];
        for ((place, width, height), answer) in places.into_iter().zip(answers) {
            let overlay = answer.overlays.into_iter().next();
            let picture = overlay.and_then(|(_, picture)| picture_of(picture));
            // A map of the whole photo has its shape, so that the two can take turns in one place.
            of_files[place] = picture.map(|picture| {
                if explainer.sees_all() {
                    in_shape(&picture, width, height)
                } else {
                    picture
                }
            });
        }
        maps.extend(of_files);
    }
    Some(maps)
}

fn picture_of(picture: RgbImage8) -> Option<RgbImage> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    RgbImage::from_raw(width, height, picture.pixels)
}

/// The picture with the proportions of the given sides; its longer side stays as long as it is.
fn in_shape(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let longer = f64::from(picture.width().max(picture.height()));
    let scale = longer / f64::from(width.max(height));
    let side = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).max(1);
    imageops::resize(picture, side(width), side(height), FilterType::Triangle)
}
