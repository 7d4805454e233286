//! `-o DIR`: the scores as tables, the predictions, and plots. `evaluation.json` is written last, so that a folder with it is
//! complete.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Outcome, tables};
use crate::{
    disk::files::write_atomic,
    error::{Error, Result},
    report::{self, MarkedPoint, Numbers, ReliabilityBin, ScoreCurve},
    rundir::{recipe, records},
    scores::{
        curves::Ranked,
        evaluation::{ClassEvaluation, Estimate},
        statistics::wilson,
    },
    train::evaluate,
};

const JSON: &str = "evaluation.json";
const ROC: &str = "roc.png";
const PRECISION_RECALL: &str = "precision_recall.png";
const CALIBRATION: &str = "calibration.png";
const THRESHOLDS: &str = "thresholds.csv";

/// Fails if the folder has files that are not those of an earlier evaluation: a run, for example, has a `predictions.csv` as well.
pub(super) fn check(folder: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("open", folder)(error)),
    };
    let is_ours = folder.join(JSON).is_file() && !recipe::is_run(folder);
    if is_ours || entries.count() == 0 {
        return Ok(());
    }
    Err(Error::usage(format!(
        "the folder `{}` has other files than those of an evaluation",
        folder.display()
    ))
    .at(folder)
    .help("use a new folder"))
}

pub(super) fn write(outcome: &Outcome, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let path = |name: &str| folder.join(name);
    // From here on the folder is incomplete, and must not pass for the previous evaluation.
    remove(&path(JSON))?;
    records::write_csv(&path("scores.csv"), tables::scores(outcome))?;
    records::write_csv(&path("classes.csv"), tables::classes(outcome))?;
    let confusion = evaluate::confusion(outcome.predictions, outcome.classes());
    records::write_csv(&path("confusion.csv"), confusion.table())?;
    records::write_csv(&path("confused.csv"), tables::confused(outcome))?;
    records::write_csv(&path("calibration.csv"), &outcome.evaluation.calibration)?;
    outcome.answers().save(&path("predictions.csv"))?;
    let images = outcome.images_in_words();
    let picture = report::confusion(
        &confusion.counts,
        confusion.classes,
        Numbers::Shares,
        &images_without_count(outcome),
    )?;
    write_atomic(&path("confusion.png"), &picture)?;
    plots(outcome, &images, &path)?;
    let positive = outcome.positive;
    let ranked = positive.and_then(|positive| outcome.ranked(positive.class));
    match ranked {
        Some(ranked) => {
            let rows = tables::thresholds(&ranked.steps());
            records::write_csv(&path(THRESHOLDS), rows)?;
        }
        None => remove(&path(THRESHOLDS))?,
    }
    let mut text = serde_json::to_vec_pretty(&outcome.fields()).map_err(|error| {
        let error = io::Error::other(error);
        Error::io("write", path(JSON))(error)
    })?;
    text.push(b'\n');
    write_atomic(&path(JSON), &text)
}

/// `validation images`, `images of photos/new`
fn images_without_count(outcome: &Outcome) -> String {
    let images = outcome.images_in_words();
    let rest = images.split_once(' ').map(|(_, rest)| rest.to_owned());
    rest.unwrap_or(images)
}

/// Draws the curves that are defined; those of an earlier evaluation must not stay where they are not.
fn plots(outcome: &Outcome, images: &str, path: &impl Fn(&str) -> PathBuf) -> Result<()> {
    let roc = curves(outcome, "area", |class| class.roc_auc, roc_points);
    let precision_recall = curves(
        outcome,
        "average precision",
        |class| class.average_precision,
        recall_points,
    );
    let point = outcome.point.as_ref();
    let marked = point.and_then(|point| {
        let (sensitivity, specificity) = (point.sensitivity?.value, point.specificity?.value);
        Some(MarkedPoint {
            at: (1.0 - specificity, sensitivity),
            label: format!("threshold {}", point.threshold),
        })
    });
    if roc.is_empty() {
        remove(&path(ROC))?;
    } else {
        let picture = report::roc(&roc, marked.as_ref(), images)?;
        write_atomic(&path(ROC), &picture)?;
    }
    let marked = point.and_then(|point| {
        let precision = point.positive_predictive_value?.value;
        Some(MarkedPoint {
            at: (point.sensitivity?.value, precision),
            label: format!("threshold {}", point.threshold),
        })
    });
    let share = point.map(|point| {
        let n_positives = point.true_positives + point.false_negatives;
        n_positives as f64 / outcome.evaluation.images as f64
    });
    if precision_recall.is_empty() {
        remove(&path(PRECISION_RECALL))?;
    } else {
        let picture = report::precision_recall(&precision_recall, share, marked.as_ref(), images)?;
        write_atomic(&path(PRECISION_RECALL), &picture)?;
    }
    let bins: Vec<ReliabilityBin> = bins(outcome);
    let Some(error) = outcome.evaluation.calibration_error else {
        return remove(&path(CALIBRATION));
    };
    let fact = format!("expected calibration error {:.2} %", error * 100.0);
    let picture = report::reliability(&bins, &fact, images)?;
    write_atomic(&path(CALIBRATION), &picture)
}

/// The curve of the positive class, or of every class; without those that are undefined.
fn curves(
    outcome: &Outcome,
    name: &str,
    score: impl Fn(&ClassEvaluation) -> Option<Estimate>,
    points: impl Fn(&Ranked) -> Vec<(f64, f64)>,
) -> Vec<ScoreCurve> {
    let classes = outcome.evaluation.class.iter().enumerate();
    let chosen = classes.filter(|(at, _)| {
        outcome
            .positive
            .is_none_or(|positive| positive.class == *at)
    });
    let curves = chosen.filter_map(|(at, class)| {
        let estimate = score(class)?;
        let interval = estimate.low.zip(estimate.high);
        let interval = interval.filter(|_| outcome.positive.is_some());
        let interval = interval.map_or_else(String::new, |(low, high)| {
            format!(" (95 % CI {low:.3} to {high:.3})")
        });
        Some(ScoreCurve {
            label: format!("{}: {name} {:.3}{interval}", class.name, estimate.value),
            score: estimate.value,
            points: thinned(points(&outcome.ranked(at)?)),
        })
    });
    curves.collect()
}

/// Leaves out points that are closer to the one before than a pixel: a curve may have one for each of a million images.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    const PIXEL: f64 = 1.0 / 2000.0;
    let last = points.len().saturating_sub(1);
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for (at, (x, y)) in points.into_iter().enumerate() {
        let is_near = |(other_x, other_y): &(f64, f64)| {
            (x - other_x).abs() < PIXEL && (y - other_y).abs() < PIXEL
        };
        if at == last || !kept.last().is_some_and(is_near) {
            kept.push((x, y));
        }
    }
    kept
}

/// False and true positive rate, from the threshold above all probabilities down.
fn roc_points(ranked: &Ranked) -> Vec<(f64, f64)> {
    let steps = ranked.steps();
    let points = steps.iter().filter_map(|step| {
        let specificity = step.outcome.specificity()?;
        Some((1.0 - specificity, step.outcome.sensitivity()?))
    });
    std::iter::once((0.0, 0.0)).chain(points).collect()
}

/// Recall and precision.
fn recall_points(ranked: &Ranked) -> Vec<(f64, f64)> {
    let steps = ranked.steps();
    let points = steps
        .iter()
        .filter_map(|step| Some((step.outcome.sensitivity()?, step.outcome.precision()?)));
    points.collect()
}

fn bins(outcome: &Outcome) -> Vec<ReliabilityBin> {
    let bins = outcome.evaluation.calibration.iter();
    let bins = bins.filter_map(|bin| {
        let (confidence, accuracy) = (bin.confidence?, bin.accuracy?);
        let n_correct = (accuracy * bin.images as f64).round() as usize;
        Some(ReliabilityBin {
            low: bin.low,
            high: bin.high,
            images: bin.images,
            confidence,
            accuracy,
            interval: wilson(n_correct, bin.images),
        })
    });
    bins.collect()
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
