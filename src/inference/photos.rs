//! Reads the files to predict: from a path to the pixels that the network takes, or to cached activations.

use std::{io, sync::Arc};

use super::{files::InputFile, open::TrainedModel};
use crate::{
    cache::{ItemKey, Lookup, Store},
    config::experiment::Transforms,
    data::{
        augment::View,
        claims,
        decode::{DecodeOptions, RgbImage8, decode_rgb},
        photo, transform,
    },
    disk::hash::Sha256Hash,
    error::Result,
    train::activations,
};

/// What became of a file.
pub(crate) enum Loaded {
    /// It was found in a folder and does not claim to be an image.
    Skipped,
    /// It cannot be read, for this reason: a predicate whose subject is the file.
    Unreadable(String),
    /// Preprocessed pixels `[3, height, width]`, and the key of the activations in the cache, if there is one.
    Pixels(Vec<f32>, Option<ItemKey>),
    /// The activations after the frozen layers, from the cache.
    Activations(Vec<f32>),
}

/// Decodes and preprocesses files as the run did for validation.
pub(crate) struct PhotoReader {
    decoding: DecodeOptions,
    transforms: Transforms,
    n_pixels: usize,
    store: Option<Arc<Store>>,
}

impl PhotoReader {
    /// Looks up activations in `store`, which must be the entry of the model's recipe.
    pub(crate) fn new(model: &TrainedModel, store: Option<Arc<Store>>) -> Self {
        Self {
            decoding: model.decoding(),
            transforms: model.transforms().clone(),
            n_pixels: model.predictor.n_pixels(),
            store,
        }
    }

    /// Fails only if the cache does; a problem of the file is a result.
    pub(crate) fn load(&self, file: &InputFile) -> Result<Loaded> {
        let bytes = match read(file, self.decoding.max_pixels) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Loaded::Skipped),
            Err(reason) => return Ok(Loaded::Unreadable(reason)),
        };
        let mut key = None;
        if let Some(store) = &self.store {
            let found = activations::content_key(&Sha256Hash::of(&bytes), View::Whole);
            let mut values = vec![0.0; store.n_values()];
            if store.get(&found, &mut values)? == Lookup::Sound {
                return Ok(Loaded::Activations(values));
            }
            key = Some(found);
        }
        Ok(match decode_rgb(&bytes, &self.decoding) {
            Err(reason) => Loaded::Unreadable(reason.to_string()),
            Ok(image) => {
                let mut pixels = vec![0.0; self.n_pixels];
                transform::preprocess(&image, &self.transforms, View::Whole, &mut pixels);
                Loaded::Pixels(pixels, key)
            }
        })
    }
}

/// A decoded file; `None` if it is skipped. An error is the reason: a predicate whose subject is the file.
pub(crate) fn decoded(
    file: &InputFile,
    options: &DecodeOptions,
) -> std::result::Result<Option<RgbImage8>, String> {
    let Some(bytes) = read(file, options.max_pixels)? else {
        return Ok(None);
    };
    let image = decode_rgb(&bytes, options).map_err(|reason| reason.to_string())?;
    Ok(Some(image))
}

/// The bytes of a file; `None` if it was found in a folder and does not claim to be an image.
fn read(file: &InputFile, max_pixels: u64) -> std::result::Result<Option<Vec<u8>>, String> {
    if let Some(problem) = &file.problem {
        return Err(problem.clone());
    }
    let (opened, metadata) = photo::open(&file.path).map_err(|error| unreadable(&error))?;
    let is_skipped = || claims::by_content(&opened).map(|claims| !claims);
    if file.may_be_skipped() && is_skipped().map_err(|error| unreadable(&error))? {
        return Ok(None);
    }
    if let Some(reason) = photo::too_large(metadata.len(), max_pixels) {
        return Err(reason);
    }
    match photo::read_exactly(opened, metadata.len()) {
        Ok(Some(bytes)) => Ok(Some(bytes)),
        Ok(None) => Err("changed while it was read".to_owned()),
        Err(error) => Err(unreadable(&error)),
    }
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}
