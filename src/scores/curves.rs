//! Curves over all thresholds of one class against the rest, and the areas under them. Pure.
//!
//! An image is predicted to be of the class if the class's probability is at least the threshold. Images with equal
//! probabilities always fall on the same side, so they form one step of a curve.

/// The images of an evaluation, ordered by the probability of one class from high to low.
#[derive(Clone, Debug)]
pub(crate) struct Ranked(Vec<RankedImage>);

#[derive(Clone, Copy, Debug)]
struct RankedImage {
    image: u32,
    probability: f64,
    is_positive: bool,
    /// Whether the next image has a lower probability.
    ends_tie: bool,
}

/// What a threshold leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    pub(crate) true_positives: usize,
    pub(crate) false_positives: usize,
    pub(crate) false_negatives: usize,
    pub(crate) true_negatives: usize,
}

/// A distinct probability as threshold, and what it leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CurveStep {
    pub(crate) threshold: f64,
    pub(crate) outcome: Outcome,
}

impl Outcome {
    /// Recall of the class; undefined without images of it.
    pub(crate) fn sensitivity(self) -> Option<f64> {
        super::classification::ratio(self.true_positives, self.n_positives())
    }

    /// Recall of the rest; undefined without images of other classes.
    pub(crate) fn specificity(self) -> Option<f64> {
        super::classification::ratio(self.true_negatives, self.n_negatives())
    }

    /// Undefined if the class is never predicted.
    pub(crate) fn precision(self) -> Option<f64> {
        super::classification::ratio(self.true_positives, self.n_predicted())
    }

    pub(crate) fn n_positives(self) -> usize {
        self.true_positives + self.false_negatives
    }

    pub(crate) fn n_negatives(self) -> usize {
        self.false_positives + self.true_negatives
    }

    pub(crate) fn n_predicted(self) -> usize {
        self.true_positives + self.false_positives
    }
}

impl Ranked {
    /// Orders the images by the probability of `class`. `probabilities` has one finite number per class and image.
    pub(crate) fn new(class: usize, targets: &[usize], probabilities: &[Vec<f64>]) -> Self {
        let images = targets.iter().zip(probabilities).zip(0_u32..);
        let images = images.map(|((target, row), image)| RankedImage {
            image,
            probability: row[class],
            is_positive: *target == class,
            ends_tie: true,
        });
        let mut images: Vec<RankedImage> = images.collect();
        images.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        for at in 1..images.len() {
            images[at - 1].ends_tie = images[at].probability < images[at - 1].probability;
        }
        Self(images)
    }

    /// The area under the receiver operating characteristic: the probability that a random image of the class gets a higher
    /// probability than a random other image, where a tie counts half. Image `i` counts `times[i]` times. Undefined without
    /// images of the class or without others.
    ///
    /// Hanley and `McNeil`, The Meaning and Use of the Area under a Receiver Operating Characteristic (ROC) Curve, 1982;
    /// scikit-learn's `roc_auc_score`.
    pub(crate) fn roc_auc(&self, times: &[u32]) -> Option<f64> {
        // Pairs are counted in whole numbers, twice, so that a tie is one.
        let (mut twice, mut above, mut n_negatives) = (0_u64, 0_u64, 0_u64);
        let (mut tied_positives, mut tied_negatives) = (0_u64, 0_u64);
        for it in &self.0 {
            let n = u64::from(times[it.image as usize]);
            if it.is_positive {
                tied_positives += n;
            } else {
                tied_negatives += n;
            }
            if it.ends_tie {
                twice += (2 * above + tied_positives) * tied_negatives;
                above += tied_positives;
                n_negatives += tied_negatives;
                (tied_positives, tied_negatives) = (0, 0);
            }
        }
        let n_pairs = above * n_negatives;
        (n_pairs > 0).then(|| twice as f64 / (2 * n_pairs) as f64)
    }

    /// Average precision: the mean of the precisions at all thresholds, each weighted by the recall that it adds. Image `i` counts
    /// `times[i]` times. Undefined without images of the class.
    ///
    /// scikit-learn's `average_precision_score`; unlike the area under straight lines between the points, it is not too optimistic
    /// (Davis and Goadrich, The Relationship Between Precision-Recall and ROC Curves, 2006).
    pub(crate) fn average_precision(&self, times: &[u32]) -> Option<f64> {
        let positives = self.0.iter().filter(|it| it.is_positive);
        let n_positives: u64 = positives
            .map(|it| u64::from(times[it.image as usize]))
            .sum();
        if n_positives == 0 {
            return None;
        }
        let (mut sum, mut n_true, mut n_predicted, mut n_added) = (0.0, 0_u64, 0_u64, 0_u64);
        for it in &self.0 {
            let n = u64::from(times[it.image as usize]);
            n_predicted += n;
            n_added += if it.is_positive { n } else { 0 };
            if it.ends_tie && n_added > 0 {
                n_true += n_added;
                let precision = n_true as f64 / n_predicted as f64;
                sum += n_added as f64 / n_positives as f64 * precision;
                n_added = 0;
            }
        }
        Some(sum)
    }

    /// Every distinct probability as threshold, from high to low.
    pub(crate) fn steps(&self) -> Vec<CurveStep> {
        let n_positives = self.0.iter().filter(|it| it.is_positive).count();
        let n_negatives = self.0.len() - n_positives;
        let (mut true_positives, mut false_positives) = (0, 0);
        let mut steps = Vec::new();
        for it in &self.0 {
            if it.is_positive {
                true_positives += 1;
            } else {
                false_positives += 1;
            }
            if it.ends_tie {
                steps.push(CurveStep {
                    threshold: it.probability,
                    outcome: Outcome {
                        true_positives,
                        false_positives,
                        false_negatives: n_positives - true_positives,
                        true_negatives: n_negatives - false_positives,
                    },
                });
            }
        }
        steps
    }

    /// What one threshold leads to.
    pub(crate) fn at(&self, threshold: f64) -> Outcome {
        let mut outcome = Outcome::default();
        for it in &self.0 {
            let counter = match (it.is_positive, it.probability >= threshold) {
                (true, true) => &mut outcome.true_positives,
                (false, true) => &mut outcome.false_positives,
                (true, false) => &mut outcome.false_negatives,
                (false, false) => &mut outcome.true_negatives,
            };
            *counter += 1;
        }
        outcome
    }
}
