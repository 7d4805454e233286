//! Images that are identical byte for byte. In two classes they contradict each other; in two parts of the split they leak
//! training data into the evaluation. Only exact copies count: a photo that was re-encoded is a different image.

use std::collections::HashMap;

use super::{
    index::{DatasetIndex, ImageEntry},
    split::SplitTable,
};
use crate::disk::hash::Sha256Hash;

/// Number of files that a line names before it only counts the rest.
const MAX_NAMED: usize = 4;

/// Finds, for each image, the first one with the same bytes, unless that is the image itself.
pub(crate) fn firsts(images: &[ImageEntry]) -> Vec<Option<usize>> {
    let mut seen: HashMap<&Sha256Hash, usize> = HashMap::with_capacity(images.len());
    images
        .iter()
        .enumerate()
        .map(|(at, image)| {
            let first = *seen.entry(&image.content_hash).or_insert(at);
            (first != at).then_some(first)
        })
        .collect()
}

/// Puts images with the same bytes into one group, and merges it with the groups that these images already belong to.
pub(crate) fn join_groups(images: &mut [ImageEntry]) {
    // Union-find: every image points to an earlier one of its group, and the first image of a group to itself.
    let mut parents: Vec<usize> = (0..images.len()).collect();
    let mut of_group: HashMap<usize, usize> = HashMap::new();
    let firsts = firsts(images);
    let mut is_grouped = vec![false; images.len()];
    for (at, image) in images.iter().enumerate() {
        let same_group = image
            .group
            .map(|group| *of_group.entry(group).or_insert(at));
        for other in [firsts[at], same_group].into_iter().flatten() {
            let (a, b) = (root_of(&mut parents, at), root_of(&mut parents, other));
            parents[a.max(b)] = a.min(b);
            is_grouped[at] = true;
            is_grouped[other] = true;
        }
    }
    for at in 0..images.len() {
        images[at].group = is_grouped[at].then(|| root_of(&mut parents, at));
    }
}

fn root_of(parents: &mut [usize], mut at: usize) -> usize {
    while parents[at] != at {
        parents[at] = parents[parents[at]];
        at = parents[at];
    }
    at
}

/// Describes the duplicates that lie in different classes or parts of the split, one group per line.
pub(crate) fn problems(index: &DatasetIndex, split: &SplitTable) -> Vec<String> {
    let mut copies: Vec<Vec<usize>> = Vec::new();
    let mut of_first: HashMap<usize, usize> = HashMap::new();
    for (at, first) in firsts(&index.images).into_iter().enumerate() {
        if let Some(first) = first {
            let place = *of_first.entry(first).or_insert_with(|| {
                copies.push(vec![first]);
                copies.len() - 1
            });
            copies[place].push(at);
        }
    }
    let differ = |group: &[usize], of: &dyn Fn(usize) -> usize| {
        group.iter().any(|image| of(*image) != of(group[0]))
    };
    let class = |image: usize| index.images[image].class;
    let part = |image: usize| split.parts[image] as usize;
    let line = |group: &Vec<usize>| {
        let what = match (differ(group, &class), differ(group, &part)) {
            (true, true) => "in different classes and parts of the split",
            (true, false) => "in different classes",
            (false, true) => "in different parts of the split",
            (false, false) => return None,
        };
        let names: Vec<String> = group
            .iter()
            .take(MAX_NAMED)
            .map(|image| {
                format!(
                    "{} ({})",
                    index.images[*image].file,
                    split.parts[*image].name()
                )
            })
            .collect();
        let more = match group.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        Some(format!(
            "{}{more}: identical images {what}",
            names.join(", ")
        ))
    };
    copies.iter().filter_map(line).collect()
}
