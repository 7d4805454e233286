//! All scores of a classifier's answers on a set of images, with 95 % confidence intervals. Pure: knows no runs and no files.

use rayon::prelude::*;
use serde::Serialize;

use super::{
    agreement, bootstrap,
    calibration::{self, CalibrationBin},
    classification::{Margins, PrecisionRecall, macro_mean, ratio, weighted_mean},
    curves::Ranked,
    statistics::wilson,
};

/// With more images times classes than this, ROC-AUC and average precision get no intervals, whose resamples would take minutes.
const MOST_CELLS_TO_RESAMPLE: usize = 2_000_000;
/// The most pairs of classes in [`Evaluation::most_confused`].
const MOST_PAIRS: usize = 10;

/// A score and its 95 % confidence interval, if there is one: Wilson's for proportions, the bootstrap's for other scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}

/// Everything that the answers of a classifier say about it. A score that is undefined is absent; see its formula for when.
/// Scores of probabilities are absent as well if there are no probabilities, or if they are not all finite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Evaluation {
    pub(crate) images: usize,
    pub(crate) correct: usize,
    pub(crate) accuracy: Option<Estimate>,
    /// The most frequent class among the images.
    pub(crate) majority_class: Option<String>,
    /// The accuracy of always predicting `majority_class`.
    pub(crate) baseline_accuracy: Option<f64>,
    /// Means over the classes for which a score is defined.
    pub(crate) macro_average: Averages,
    /// Likewise, weighted by the images of each class.
    pub(crate) weighted_average: Averages,
    /// In nats.
    pub(crate) log_loss: Option<Estimate>,
    pub(crate) brier_score: Option<Estimate>,
    /// Without an interval: the error of a resample is too large on average.
    pub(crate) calibration_error: Option<f64>,
    pub(crate) cohen_kappa: Option<Estimate>,
    pub(crate) matthews: Option<Estimate>,
    /// In the order of the classes.
    pub(crate) class: Vec<ClassEvaluation>,
    /// A row per true class, a column per predicted class. Not serialized: for a thousand classes it is larger than all the rest.
    #[serde(skip)]
    pub(crate) confusion: Vec<Vec<usize>>,
    /// Pairs of a true and another predicted class, most frequent first.
    pub(crate) most_confused: Vec<ConfusedPair>,
    /// The bins of `calibration_error`, by rising confidence; empty without probabilities.
    pub(crate) calibration: Vec<CalibrationBin>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ClassEvaluation {
    pub(crate) name: String,
    pub(crate) images: usize,
    pub(crate) predicted: usize,
    pub(crate) precision: Option<Estimate>,
    pub(crate) recall: Option<Estimate>,
    pub(crate) f1: Option<Estimate>,
    /// The class against all others, as in `average_precision`.
    pub(crate) roc_auc: Option<Estimate>,
    pub(crate) average_precision: Option<Estimate>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Averages {
    pub(crate) precision: Option<Estimate>,
    pub(crate) recall: Option<Estimate>,
    pub(crate) f1: Option<Estimate>,
    pub(crate) roc_auc: Option<Estimate>,
    pub(crate) average_precision: Option<Estimate>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ConfusedPair {
    pub(crate) class: String,
    pub(crate) predicted: String,
    pub(crate) images: usize,
    /// The share of the images of `class`.
    pub(crate) share: f64,
}

/// The answers, in a form that resamples can be scored from.
struct Answers<'a> {
    n_classes: usize,
    targets: &'a [usize],
    predicted: &'a [usize],
    probabilities: &'a [Vec<f64>],
    log_losses: Vec<f64>,
    brier_scores: Vec<f64>,
    /// One per class; empty without probabilities, and if they would take gigabytes.
    ranked: Vec<Ranked>,
}

impl Evaluation {
    /// Evaluates answers on images, one entry each in `targets`, `predicted` and `probabilities`. The first two hold positions in
    /// `classes`; each row of the last holds one probability per class. `probabilities` may be empty.
    pub(crate) fn new(
        classes: &[String],
        targets: &[usize],
        predicted: &[usize],
        probabilities: &[Vec<f64>],
    ) -> Self {
        let answers = Answers::new(classes.len(), targets, predicted, probabilities);
        let n = targets.len();
        let once = vec![1; n];
        let margins = answers.margins(&once);
        let with_curves = !answers.ranked.is_empty();
        let values = answers.scores(&once, true);
        let mut intervals = bootstrap::intervals(n, |times| answers.scores(times, with_curves));
        // Without resampled curves, theirs are missing at the end.
        intervals.resize(values.len(), None);
        let mut estimates = values.into_iter().zip(intervals).map(|(value, interval)| {
            value.map(|value| Estimate {
                value,
                low: interval.map(|(low, _)| low),
                high: interval.map(|(_, high)| high),
            })
        });
        let mut next = || estimates.next().flatten();
        let accuracy = proportion(margins.n_correct(), margins.n_images());
        let (cohen_kappa, matthews, log_loss, brier_score) = (next(), next(), next(), next());
        let mut macro_average = Averages {
            precision: next(),
            recall: next(),
            f1: next(),
            ..Averages::default()
        };
        let mut weighted_average = Averages {
            precision: next(),
            // The recalls weighted by support are the accuracy, which is a proportion.
            recall: accuracy,
            f1: next(),
            ..Averages::default()
        };
        let mut class: Vec<ClassEvaluation> = classes
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let (correct, images) = (margins.correct[at], margins.support[at]);
                ClassEvaluation {
                    name: name.clone(),
                    images,
                    predicted: margins.predicted[at],
                    precision: proportion(correct, margins.predicted[at]),
                    recall: proportion(correct, images),
                    f1: next(),
                    roc_auc: None,
                    average_precision: None,
                }
            })
            .collect();
        for average in [&mut macro_average, &mut weighted_average] {
            (average.roc_auc, average.average_precision) = (next(), next());
        }
        for class in &mut class {
            (class.roc_auc, class.average_precision) = (next(), next());
        }
        let majority = margins.majority();
        let confusion = counts(classes.len(), targets, predicted);
        let calibration = answers.bins(&once);
        Self {
            images: n,
            correct: margins.n_correct(),
            accuracy,
            majority_class: majority.map(|(class, _)| classes[class].clone()),
            baseline_accuracy: majority.map(|(_, share)| share),
            macro_average,
            weighted_average,
            log_loss,
            brier_score,
            calibration_error: calibration::expected_error(&calibration),
            cohen_kappa,
            matthews,
            class,
            most_confused: most_confused(classes, &confusion),
            confusion,
            calibration,
        }
    }
}

impl<'a> Answers<'a> {
    fn new(
        n_classes: usize,
        targets: &'a [usize],
        predicted: &'a [usize],
        probabilities: &'a [Vec<f64>],
    ) -> Self {
        let is_usable = probabilities.len() == targets.len()
            && probabilities.iter().all(|row| {
                row.len() == n_classes && row.iter().all(|probability| probability.is_finite())
            });
        let probabilities = if is_usable { probabilities } else { &[] };
        let is_small = targets.len() * n_classes <= MOST_CELLS_TO_RESAMPLE;
        let n_ranked = if is_small && !probabilities.is_empty() {
            n_classes
        } else {
            0
        };
        let ranked = (0..n_ranked).into_par_iter();
        Self {
            n_classes,
            targets,
            predicted,
            probabilities,
            log_losses: calibration::log_losses(targets, probabilities),
            brier_scores: calibration::brier_scores(targets, probabilities),
            ranked: ranked
                .map(|class| Ranked::new(class, targets, probabilities))
                .collect(),
        }
    }

    fn margins(&self, times: &[u32]) -> Margins {
        let answers = self.targets.iter().zip(self.predicted).zip(times);
        let answers = answers.map(|((target, answer), n)| (*target, *answer, *n as usize));
        Margins::count(self.n_classes, answers)
    }

    fn bins(&self, times: &[u32]) -> Vec<CalibrationBin> {
        if self.probabilities.is_empty() {
            return Vec::new();
        }
        let answers = self.targets.iter().zip(self.predicted);
        let answers = answers.zip(self.probabilities).zip(times);
        calibration::bins(answers.map(|(((target, predicted), row), times)| {
            (row[*predicted], target == predicted, *times as usize)
        }))
    }

    /// The ROC-AUC and the average precision of each class; empty without probabilities.
    fn areas(&self, times: &[u32]) -> (Vec<Option<f64>>, Vec<Option<f64>>) {
        let both = |it: &Ranked| (it.roc_auc(times), it.average_precision(times));
        if !self.ranked.is_empty() || self.probabilities.is_empty() {
            return self.ranked.iter().map(both).unzip();
        }
        let classes = (0..self.n_classes).into_par_iter();
        let both = |class| both(&Ranked::new(class, self.targets, self.probabilities));
        classes.map(both).unzip()
    }

    /// The scores that have intervals by the bootstrap, in the order in which [`Evaluation::new`] takes them: kappa, Matthews'
    /// coefficient, log loss, Brier score; macro precision, recall, F1; weighted precision, F1; the F1 of each class. With
    /// `with_curves` also ROC-AUC and average precision: macro, weighted, of each class.
    fn scores(&self, times: &[u32], with_curves: bool) -> Vec<Option<f64>> {
        let margins = self.margins(times);
        let classes = margins.all_scores();
        let list = |score: fn(&PrecisionRecall) -> Option<f64>| -> Vec<Option<f64>> {
            classes.iter().map(score).collect()
        };
        let precisions = list(|it| it.precision);
        let recalls = list(|it| it.recall);
        let f1s = list(|it| it.f1);
        let mean = |values: &[f64]| {
            let is_known = !self.probabilities.is_empty();
            is_known.then(|| calibration::mean(values, times)).flatten()
        };
        let average = |values: &[Option<f64>]| macro_mean(values.iter().copied());
        let weighted = |values: &[Option<f64>]| weighted_mean(values, &margins.support);
        let mut scores = vec![
            agreement::cohen_kappa(&margins),
            agreement::matthews(&margins),
            mean(&self.log_losses),
            mean(&self.brier_scores),
            average(&precisions),
            average(&recalls),
            average(&f1s),
            weighted(&precisions),
            weighted(&f1s),
        ];
        scores.extend(&f1s);
        if with_curves {
            let (areas, precisions) = self.areas(times);
            for average in [
                &average as &dyn Fn(&[Option<f64>]) -> Option<f64>,
                &weighted,
            ] {
                scores.extend([average(&areas), average(&precisions)]);
            }
            for (area, precision) in areas.into_iter().zip(precisions) {
                scores.extend([area, precision]);
            }
        }
        scores
    }
}

/// The macro average of the ROC-AUC of each class against the others; undefined if all images are of one class.
pub(crate) fn macro_roc_auc(
    n_classes: usize,
    targets: &[usize],
    probabilities: &[Vec<f64>],
) -> Option<f64> {
    let once = vec![1; targets.len()];
    let areas = (0..n_classes).into_par_iter();
    let areas: Vec<Option<f64>> = areas
        .map(|class| Ranked::new(class, targets, probabilities).roc_auc(&once))
        .collect();
    macro_mean(areas)
}

/// A share with Wilson's interval.
pub(crate) fn proportion(part: usize, whole: usize) -> Option<Estimate> {
    let value = ratio(part, whole)?;
    let (low, high) = wilson(part, whole);
    Some(Estimate {
        value,
        low: Some(low),
        high: Some(high),
    })
}

fn counts(n_classes: usize, targets: &[usize], predicted: &[usize]) -> Vec<Vec<usize>> {
    let mut counts = vec![vec![0; n_classes]; n_classes];
    for (target, answer) in targets.iter().zip(predicted) {
        counts[*target][*answer] += 1;
    }
    counts
}

fn most_confused(classes: &[String], confusion: &[Vec<usize>]) -> Vec<ConfusedPair> {
    let mut pairs = Vec::new();
    for (target, row) in confusion.iter().enumerate() {
        let n_images: usize = row.iter().sum();
        let others = row.iter().enumerate();
        let others = others.filter(|(answer, n)| *answer != target && **n > 0);
        pairs.extend(others.map(|(answer, n)| ConfusedPair {
            class: classes[target].clone(),
            predicted: classes[answer].clone(),
            images: *n,
            share: *n as f64 / n_images as f64,
        }));
    }
    // Of equally frequent pairs, those of rarer classes matter more; a stable sort keeps the order of the classes after that.
    pairs.sort_by(|a, b| b.images.cmp(&a.images).then(b.share.total_cmp(&a.share)));
    pairs.truncate(MOST_PAIRS);
    pairs
}

#[cfg(test)]
mod tests;
