//! Class activation maps of photos, by the model of a run.

use std::sync::Arc;

use super::open::OpenedRun;
use crate::{
    config::experiment::{Geometry, ImageSize, Transforms},
    data::{
        augment::View,
        decode::{DecodeOptions, RgbImage8},
        transform,
    },
    device,
    error::Result,
    explain::{HeatMap, Method, overlay},
    model::attribution::Attribution,
    train::{answers::probabilities, evaluate::argmax},
};

/// Photos that go through the network together. No result depends on it.
pub(crate) const BATCH: usize = 16;

/// The model of a run, cut at its last map.
pub(crate) struct Explainer {
    attribution: Attribution,
    transforms: Transforms,
    pub(crate) decoding: DecodeOptions,
    /// The class names, in the order of the probabilities.
    pub(crate) classes: Vec<String>,
}

/// What the model makes of a photo, and why.
pub(crate) struct Explained {
    /// The part of the photo that the network saw, at the size at which it did.
    pub(crate) view: RgbImage8,
    pub(crate) predicted: usize,
    /// The probability of each class.
    pub(crate) probabilities: Vec<f64>,
    /// For each class that was asked for, its map over the view.
    pub(crate) overlays: Vec<(usize, RgbImage8)>,
}

impl Explainer {
    pub(crate) fn new(run: OpenedRun) -> Result<Self> {
        let device = device::open(run.experiment.device)?;
        let classes = run.manifest.classes;
        let paper = Arc::new(run.experiment.paper(classes.len()));
        Ok(Self {
            attribution: Attribution::new(&paper, run.checkpoint.state, &device),
            decoding: DecodeOptions::of(&run.experiment.data),
            transforms: run.experiment.transforms,
            classes,
        })
    }

    /// Whether a view shows the whole photo, with its sides stretched to those of the network's input.
    pub(crate) fn sees_all(&self) -> bool {
        matches!(self.transforms.geometry, Geometry::Squash(_))
    }

    /// A photo as the network takes it, `[3, height, width]`: much smaller than the decoded photo, so that a batch takes little memory.
    pub(crate) fn preprocessed(&self, photo: &RgbImage8) -> Vec<f32> {
        let ImageSize { height, width } = self.transforms.size();
        let mut values = vec![0.0; 3 * height * width];
        transform::preprocess(photo, &self.transforms, View::Whole, &mut values);
        values
    }

    /// Explains a batch of preprocessed photos. `wanted` chooses the classes for each photo, by its place in the batch and the
    /// predicted class.
    pub(crate) fn explain(
        &self,
        photos: &[Vec<f32>],
        method: Method,
        wanted: impl Fn(usize, usize) -> Vec<usize>,
    ) -> Vec<Explained> {
        let ImageSize { height, width } = self.transforms.size();
        let views = photos
            .iter()
            .map(|values| transform::displayed(values, &self.transforms));
        let views: Vec<RgbImage8> = views.collect();
        let last = self.attribution.last_maps(photos.concat());
        let views = views.into_iter().zip(&last.logits);
        let explained = views.map(|(view, logits)| Explained {
            view,
            predicted: argmax(logits),
            probabilities: probabilities(logits),
            overlays: Vec::new(),
        });
        let mut explained: Vec<Explained> = explained.collect();
        let classes = explained.iter().enumerate();
        let classes = classes.map(|(at, it)| wanted(at, it.predicted));
        let classes: Vec<Vec<usize>> = classes.collect();
        let n_rounds = classes.iter().map(Vec::len).max().unwrap_or(0);
        let [_, rows, columns] = last.shape;
        let n_in_map: usize = last.shape.iter().product();
        for round in 0..n_rounds {
            // Photos that have no further class go along with any, because a batch is computed as a whole.
            let class = |classes: &Vec<usize>| classes.get(round).copied().unwrap_or(0);
            let of_round: Vec<usize> = classes.iter().map(class).collect();
            let gradients = self.attribution.gradients(&last.activations, &of_round);
            let maps = last.activations.chunks_exact(n_in_map);
            let maps = maps.zip(gradients.chunks_exact(n_in_map));
            for ((explained, classes), (activations, gradients)) in
                explained.iter_mut().zip(&classes).zip(maps)
            {
                let Some(class) = classes.get(round) else {
                    continue;
                };
                let map = HeatMap::new(method, activations, gradients, [rows, columns]);
                let map = map.resized(height, width);
                let pixels = overlay(&explained.view.pixels, &map);
                let picture = RgbImage8 {
                    width,
                    height,
                    pixels,
                };
                explained.overlays.push((*class, picture));
            }
        }
        explained
    }
}
