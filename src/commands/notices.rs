//! Warnings about experiments that are valid, but may not give what their author expects.

use crate::{
    config::experiment::{Experiment, Split, Weights},
    console::Console,
    data::{
        index::DatasetIndex,
        split::{Part, SplitTable},
    },
    model::families::Source,
    sample_data,
    text::plain::for_a_line,
};

/// The number of class names that a warning lists.
const MOST_NAMES: usize = 5;

/// Warns of classes without validation or test images, whose recall cannot be measured.
pub(super) fn unmeasured_classes(
    method: &Split,
    split: &SplitTable,
    index: &DatasetIndex,
    console: &Console,
) {
    for part in [Part::Valid, Part::Test] {
        let classes = classes_without(part, split, index);
        if classes.is_empty() || classes.len() == index.classes.len() {
            continue;
        }
        let help = match method {
            Split::Random { .. } => {
                "; set `split.method = \"stratified\"` to split each class separately"
            }
            Split::Auto { .. } | Split::Stratified { .. } | Split::File(_) => "",
        };
        console.note(&format!(
            "warning: no {} images in {} ({}), so the {} recall is undefined there{help}",
            name(part),
            counted_classes(classes.len()),
            listed(&classes),
            name(part)
        ));
    }
}

/// Warns of settings that are valid, but rarely intended for these images.
pub(super) fn doubtful_settings(
    experiment: &Experiment,
    index: &DatasetIndex,
    split: &SplitTable,
    console: &Console,
) {
    let n_train = split.images(Part::Train).len();
    let batch_size = experiment.data.batch_size.get();
    if batch_size > n_train {
        console.note(&format!(
            "warning: `data.batch_size = {batch_size}` exceeds the number of training images ({n_train}), so an epoch is a single step"
        ));
    }
    let is_embedded = match experiment.model.weights {
        Weights::Known(published) => matches!(published.source, Source::Embedded(_)),
        Weights::File(_) | Weights::None => false,
    };
    if is_embedded && !sample_data::drew(&index.root) {
        console.note(
            "warning: the weights `drawings_v1` were trained on the drawings of `runner sample-data`, and on photos they are \
             barely better than random ones; use `imagenet1k_v1` instead (`runner fetch vgg16`)",
        );
    }
}

fn classes_without<'a>(part: Part, split: &SplitTable, index: &'a DatasetIndex) -> Vec<&'a str> {
    let mut has_image = vec![false; index.classes.len()];
    for image in split.images(part) {
        has_image[index.images[image].class] = true;
    }
    let classes = index.classes.iter().zip(has_image);
    classes
        .filter(|(_, has_image)| !has_image)
        .map(|(class, _)| class.as_str())
        .collect()
}

pub(super) fn name(part: Part) -> &'static str {
    match part {
        Part::Train => "training",
        Part::Valid => "validation",
        Part::Test => "test",
    }
}

fn counted_classes(n: usize) -> String {
    if n == 1 {
        "1 class".to_owned()
    } else {
        format!("{n} classes")
    }
}

fn listed(classes: &[&str]) -> String {
    let names = classes.iter().take(MOST_NAMES);
    let names: Vec<String> = names
        .map(|name| format!("`{}`", for_a_line(name)))
        .collect();
    let rest = classes.len().saturating_sub(MOST_NAMES);
    let more = if rest > 0 {
        format!(", and {rest} more")
    } else {
        String::new()
    };
    names.join(", ") + &more
}
