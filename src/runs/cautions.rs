//! Caveats of a comparison: why the numbers of runs may not be comparable although their experiments are. One line for all runs
//! with the same caveat. Reads only the runs' own tables.

use std::collections::HashSet;

use super::{RunView, compare::CorrectShare, view::RunSplit};
use crate::{rundir::records::Manifest, text::table::percent};

/// Accuracies that differ by less are equal: rounding errors are smaller, and one image makes more.
const SAME_ACCURACY: f64 = 1e-6;

/// The caveats, in the order of the runs; `shares` come from the runs' predictions.
pub(crate) fn cautions(
    runs: &[RunView],
    letters: &[String],
    shares: &[Option<CorrectShare>],
) -> Vec<String> {
    let mut cautions = Vec::new();
    let unknown = letters_of(runs, letters, |run| !run.has_manifest);
    if !unknown.is_empty() {
        cautions.push(format!(
            "{}: no manifest.toml, so data, split and weights are unknown",
            joined(&unknown)
        ));
    }
    let known: Vec<Known> = runs
        .iter()
        .zip(letters)
        .filter(|(run, _)| run.has_manifest)
        .map(|(run, letter)| Known { run, letter })
        .collect();
    let differing = |of: fn(&Manifest) -> String| others(&known, of).into_iter();
    cautions.extend(differing(|m| m.classes.join("\0")).map(|other| classes(&other)));
    cautions.extend(differing(|m| m.data_sha256.clone()).map(|other| data(&other)));
    cautions.extend(differing(|m| m.split_sha256.clone()).filter_map(|other| split(&other)));
    cautions.extend(differing(|m| m.weights_sha256.clone()).map(|other| weights(&other)));
    cautions.extend(known.iter().filter_map(|child| leaks(&known, child)));
    for (run, letter) in runs.iter().zip(letters) {
        let damages = run.all_damages().into_iter();
        cautions.extend(damages.map(|damage| format!("{letter}: {damage}")));
    }
    cautions.extend(stale(runs, letters, shares));
    cautions
}

/// A run with a manifest.
#[derive(Clone, Copy)]
struct Known<'a> {
    run: &'a RunView,
    letter: &'a str,
}

/// Runs that agree with one another, but not with the first run.
struct Other<'a> {
    first: Known<'a>,
    /// One of these runs.
    run: Known<'a>,
    letters: String,
}

fn others<'a>(runs: &[Known<'a>], of: fn(&Manifest) -> String) -> Vec<Other<'a>> {
    let mut groups: Vec<(String, Vec<Known>)> = Vec::new();
    for run in runs {
        let value = of(&run.run.manifest);
        match groups.iter_mut().find(|(known, _)| *known == value) {
            Some((_, members)) => members.push(*run),
            None => groups.push((value, vec![*run])),
        }
    }
    let others = groups.iter().skip(1);
    others
        .map(|(_, members)| {
            let letters: Vec<&str> = members.iter().map(|run| run.letter).collect();
            Other {
                first: runs[0],
                run: members[0],
                letters: joined(&letters),
            }
        })
        .collect()
}

fn classes(other: &Other) -> String {
    let Other {
        first,
        run,
        letters,
    } = other;
    let (a, b) = (&first.run.manifest.classes, &run.run.manifest.classes);
    let from = first.letter;
    format!(
        "classes: {from} has {}; {letters} has {}",
        a.join(", "),
        b.join(", ")
    )
}

fn data(other: &Other) -> String {
    let Other {
        first,
        run,
        letters,
    } = other;
    let splits = (first.run.split(), run.run.split());
    let (a, b) = (all(&splits.0), all(&splits.1));
    let from = first.letter;
    let (n_more, n_fewer) = (b.difference(&a).count(), a.difference(&b).count());
    if a.is_empty() || b.is_empty() {
        format!("data: {letters} and {from} use different images; they are paired by file name")
    } else if n_more + n_fewer == 0 {
        format!(
            "data: the {} files of {letters} have the same names as those of {from} but different contents; they are paired anyway",
            b.len()
        )
    } else {
        format!(
            "data: {n_more} of the {} images of {letters} are not in {from}, and {n_fewer} of the {} images of {from} are not in {letters}",
            b.len(),
            a.len()
        )
    }
}

fn split(other: &Other) -> Option<String> {
    let Other {
        first,
        run,
        letters,
    } = other;
    let (a, b) = (first.run.split(), run.run.split());
    let from = first.letter;
    if a.valid.is_empty() || b.valid.is_empty() {
        return Some(format!("split: {letters} and {from} use different splits"));
    }
    let n_both = a.valid.intersection(&b.valid).count();
    if n_both == a.valid.len() && n_both == b.valid.len() {
        let (n, m) = (a.train.len(), b.train.len());
        // Other images are reported as a caveat of the data already.
        let has_same_data = first.run.manifest.data_sha256 == run.run.manifest.data_sha256;
        return has_same_data.then(|| {
            format!("split: all runs validate on the same {n_both} images, but {from} trains on {n} images and {letters} on {m}")
        });
    }
    let n_trained = b.valid.intersection(&a.train).count();
    Some(format!(
        "split: of the {} validation images of {letters}, {n_both} are also validation images of {from} (which has {}), and {from} trained on {n_trained}",
        b.valid.len(),
        a.valid.len()
    ))
}

fn weights(other: &Other) -> String {
    let Other {
        first,
        run,
        letters,
    } = other;
    let from = first.letter;
    if let Some(parent) = &run.run.manifest.parent
        && run.run.goes_on_from(first.run)
    {
        let epoch = parent.epoch;
        return format!("weights: {letters} started from {from}, epoch {epoch}");
    }
    if let Some(parent) = &first.run.manifest.parent
        && first.run.goes_on_from(run.run)
    {
        let epoch = parent.epoch;
        return format!("weights: {from} started from {}, epoch {epoch}", run.letter);
    }
    let source = |run: &Known| match run.run.manifest.weights.as_str() {
        "" => "none".to_owned(),
        weights => weights.to_owned(),
    };
    format!(
        "weights: {letters} started with {}, {from} with {}",
        source(run),
        source(first)
    )
}

/// Reports validation images that the parent run was trained on.
fn leaks(runs: &[Known], child: &Known) -> Option<String> {
    let parent = runs.iter().find(|run| child.run.goes_on_from(run.run))?;
    if parent.run.manifest.split_sha256 == child.run.manifest.split_sha256 {
        return None;
    }
    let (learnt, measured) = (parent.run.split().train, child.run.split().valid);
    let n_leaked = measured.intersection(&learnt).count();
    (n_leaked > 0).then(|| {
        format!(
            "leak: {} validates on {n_leaked} images that its parent {} was trained on; its scores are inflated",
            child.letter, parent.letter
        )
    })
}

/// Reports runs whose predictions are not from their best epoch, for example while a finished run trains for more epochs.
fn stale(runs: &[RunView], letters: &[String], shares: &[Option<CorrectShare>]) -> Option<String> {
    let stale: Vec<String> = runs
        .iter()
        .zip(letters)
        .zip(shares)
        .filter_map(|((run, letter), share)| {
            let (predicted, best) = ((*share)?.accuracy(), run.best()?.valid_accuracy);
            let is_stale = (predicted - best).abs() > SAME_ACCURACY;
            is_stale.then(|| format!("{letter} ({} for {})", percent(predicted), percent(best)))
        })
        .collect();
    let names: Vec<&str> = stale.iter().map(String::as_str).collect();
    (!stale.is_empty()).then(|| {
        format!(
            "predictions: not from the best epoch, so the comparison by image uses another epoch: {}",
            joined(&names)
        )
    })
}

fn all(split: &RunSplit) -> HashSet<&String> {
    let parts = split.train.iter().chain(&split.valid);
    parts.chain(&split.test).collect()
}

fn letters_of<'a>(
    runs: &[RunView],
    letters: &'a [String],
    is_wanted: impl Fn(&RunView) -> bool,
) -> Vec<&'a str> {
    let both = runs.iter().zip(letters);
    both.filter(|(run, _)| is_wanted(run))
        .map(|(_, letter)| letter.as_str())
        .collect()
}

/// `B`, `B and C`, `B, C and D`
fn joined(letters: &[&str]) -> String {
    match letters {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}
