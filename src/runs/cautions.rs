//! What besides the experiments keeps the numbers of runs from meaning the same: exactly that, and for runs alike in one
//! line. Reads nothing but the runs' own tables.

use std::collections::HashSet;

use super::{RunView, compare::Share, view::Split};
use crate::{rundir::records::Manifest, text::table::percent};

/// A rounding that no accuracy on a real number of images is off by.
const SAME_ACCURACY: f64 = 1e-6;

/// In the order of the runs; `shares` are what their predictions say.
pub(crate) fn cautions(
    runs: &[RunView],
    letters: &[String],
    shares: &[Option<Share>],
) -> Vec<String> {
    let mut cautions = Vec::new();
    let unknown = letters_of(runs, letters, |run| !run.has_manifest);
    if !unknown.is_empty() {
        cautions.push(format!(
            "{}: no manifest.toml says of what data, split and weights",
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

/// A run whose manifest tells what it began with.
#[derive(Clone, Copy)]
struct Known<'a> {
    run: &'a RunView,
    letter: &'a str,
}

/// Runs that are alike, but not like the first one.
struct Other<'a> {
    first: Known<'a>,
    /// One of them.
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
        "classes: {from} has {}, {letters} {}",
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
        format!(
            "data: the images of {letters} are not those of {from}; photos are paired by their names"
        )
    } else if n_more + n_fewer == 0 {
        format!(
            "data: the {} files of {letters} are called as those of {from}, but hold other images; they are paired all the same",
            b.len()
        )
    } else {
        format!(
            "data: {n_more} of the {} images of {letters} are none of {from}'s, and {n_fewer} of {from}'s {} are missing",
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
        return Some(format!("split: that of {letters} is not that of {from}"));
    }
    let n_both = a.valid.intersection(&b.valid).count();
    if n_both == a.valid.len() && n_both == b.valid.len() {
        let (n, m) = (a.train.len(), b.train.len());
        // That there are other images has been said.
        let has_same_data = first.run.manifest.data_sha256 == run.run.manifest.data_sha256;
        return has_same_data.then(|| {
            format!("split: all validate the same {n_both} images, but {from} trains on {n} and {letters} on {m}")
        });
    }
    let n_trained = b.valid.intersection(&a.train).count();
    Some(format!(
        "split: of the {} images that {letters} validated, {from} validated {n_both} too (of {}) and trained on {n_trained}",
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
        return format!("weights: {letters} goes on from {from}, epoch {epoch}");
    }
    if first.run.goes_on_from(run.run) {
        return format!("weights: {from} goes on from {}", run.letter);
    }
    let source = |run: &Known| match run.run.manifest.weights.as_str() {
        "" => "none".to_owned(),
        weights => weights.to_owned(),
    };
    format!(
        "weights: {letters} began with {}, {from} with {}",
        source(run),
        source(first)
    )
}

/// What a run measures must not be what the run before it learnt.
fn leaks(runs: &[Known], child: &Known) -> Option<String> {
    let parent = runs.iter().find(|run| child.run.goes_on_from(run.run))?;
    if parent.run.manifest.split_sha256 == child.run.manifest.split_sha256 {
        return None;
    }
    let (learnt, measured) = (parent.run.split().train, child.run.split().valid);
    let n_leaked = measured.intersection(&learnt).count();
    (n_leaked > 0).then(|| {
        format!(
            "leak: {} validates {n_leaked} images that {}, which it goes on from, trained on; its scores are too good",
            child.letter, parent.letter
        )
    })
}

/// As while a finished run goes on with more epochs.
fn stale(runs: &[RunView], letters: &[String], shares: &[Option<Share>]) -> Option<String> {
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
            "predictions: not of the best epoch, so photo by photo another one is compared: {}",
            joined(&names)
        )
    })
}

fn all(split: &Split) -> HashSet<&String> {
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
