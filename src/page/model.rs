//! The plain values that pages are made of. Whoever makes a page fills them; nothing here reads a file.

use crate::{
    data::split::Part,
    rundir::{
        records::{ClassScores, EpochRow, ResumeChange},
        times::Times,
    },
    text::table::Table,
};

/// Everything that the page of one run shows.
#[derive(Default)]
pub(crate) struct RunReport {
    /// The name of the run directory.
    pub(crate) name: String,
    /// What was trained on what, in a line.
    pub(crate) subtitle: String,
    pub(crate) state: RunState,
    pub(crate) classes: Vec<String>,
    pub(crate) headline: Headline,
    pub(crate) epochs: Vec<EpochRow>,
    pub(crate) best_epoch: Option<usize>,
    /// The predictions of the best epoch on the validation images, and then on the test images.
    pub(crate) answers: Vec<Answer>,
    /// The scores by class on the validation images, and on the test images.
    pub(crate) valid_classes: Vec<ClassScores>,
    pub(crate) test_classes: Vec<ClassScores>,
    pub(crate) gallery: Gallery,
    pub(crate) data: DataFacts,
    pub(crate) groups: Vec<GroupRow>,
    pub(crate) settings: Settings,
    pub(crate) lineage: Lineage,
    /// The time of each part of the run; `None` until it is finished.
    pub(crate) times: Option<Times>,
    pub(crate) bottleneck: String,
}

#[derive(Default)]
pub(crate) struct RunState {
    /// `finished`, `running`, `interrupted`, `failed`, `killed` or `unknown`.
    pub(crate) name: String,
    pub(crate) reason: String,
    /// `3/10`
    pub(crate) epochs: String,
    pub(crate) is_slim: bool,
    pub(crate) damages: Vec<String>,
    /// What the user can do about it.
    pub(crate) help: String,
}

#[derive(Default)]
pub(crate) struct Headline {
    pub(crate) valid: Option<PartScore>,
    pub(crate) test: Option<PartScore>,
    /// The accuracy of always predicting the most frequent class of the validation images, and this class.
    pub(crate) baseline: Option<(f64, String)>,
    /// Names with values: macro F1, trainable parameters and the like.
    pub(crate) tiles: Vec<(String, String)>,
    pub(crate) facts: Vec<(String, String)>,
}

/// The scores on one part of the split. Accuracies are fractions of 1.
pub(crate) struct PartScore {
    pub(crate) accuracy: f64,
    /// The 95 % confidence interval.
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) loss: f64,
    pub(crate) n_images: usize,
}

/// A prediction. Classes are positions in the list of classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) file: String,
    pub(crate) truth: usize,
    pub(crate) predicted: usize,
    /// The probability of the predicted class.
    pub(crate) probability: f64,
    pub(crate) loss: f64,
    pub(crate) is_test: bool,
    /// Those of all classes; empty if the table does not have them.
    pub(crate) probabilities: Vec<f64>,
    /// The class that the image more likely belongs to than to its label.
    pub(crate) suspected: Option<usize>,
}

impl Answer {
    pub(crate) fn is_correct(&self) -> bool {
        self.truth == self.predicted
    }

    /// `valid` or `test`
    pub(crate) fn part(&self) -> &'static str {
        if self.is_test {
            Part::Test.name()
        } else {
            Part::Valid.name()
        }
    }
}

#[derive(Default)]
pub(crate) struct Gallery {
    /// In the order of the page.
    pub(crate) items: Vec<GalleryItem>,
    /// Why photos are absent or incomplete; empty if all are there.
    pub(crate) note: String,
}

pub(crate) struct GalleryItem {
    /// The position among the answers.
    pub(crate) answer: usize,
    /// A JPEG; `None` if the photo could not be read or the page would become too large.
    pub(crate) thumbnail: Option<Vec<u8>>,
    /// A JPEG of the same size that shows where the network looked.
    pub(crate) overlay: Option<Vec<u8>>,
}

#[derive(Default)]
pub(crate) struct DataFacts {
    /// The training, validation and test images of each class.
    pub(crate) counts: Vec<(String, [usize; 3])>,
    /// Files that could not be read, each with the reason.
    pub(crate) rejected: Vec<(String, String)>,
    pub(crate) n_ignored: usize,
    /// `None` if the photos were not read.
    pub(crate) duplicates: Option<Duplicates>,
    /// What the photos can no longer tell, for example because some have been deleted.
    pub(crate) note: String,
}

/// Groups of images that show the same.
#[derive(Default)]
pub(crate) struct Duplicates {
    /// Identical byte for byte.
    pub(crate) exact: Vec<Vec<DataFile>>,
    /// Nearly the same picture in different files.
    pub(crate) near: Vec<Vec<DataFile>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DataFile {
    pub(crate) file: String,
    pub(crate) class: String,
    pub(crate) part: String,
}

/// A row of `groups.csv`.
#[derive(serde::Deserialize)]
pub(crate) struct GroupRow {
    pub(crate) phase: String,
    pub(crate) name: String,
    pub(crate) tensors: usize,
    pub(crate) parameters: usize,
    pub(crate) trainable: bool,
    pub(crate) lr: f64,
    pub(crate) weight_decay: f64,
}

#[derive(Default)]
pub(crate) struct Settings {
    /// Key, value and default; `None` for keys without a default.
    pub(crate) from_defaults: Vec<(String, String, Option<String>)>,
    /// Key, value of this run and value of its parent. `None` without a parent that can be read.
    pub(crate) from_parent: Option<Vec<(String, String, String)>>,
    pub(crate) changes: Vec<ResumeChange>,
    pub(crate) source: String,
}

#[derive(Default)]
pub(crate) struct Lineage {
    /// This run, the run it started from, and so on; the last one started from weights.
    pub(crate) steps: Vec<LineageStep>,
    pub(crate) children: Vec<String>,
    /// Names with values: hashes, version, commit, command.
    pub(crate) facts: Vec<(String, String)>,
    /// The files of the run with their SHA-256.
    pub(crate) files: Vec<(String, String)>,
}

pub(crate) struct LineageStep {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) hash: String,
}

/// Everything that the page of several runs shows.
pub(crate) struct ComparisonReport {
    pub(crate) title: String,
    pub(crate) runs: Table,
    pub(crate) reasons: String,
    pub(crate) cautions: Vec<String>,
    pub(crate) differences: Table,
    pub(crate) pairs: Option<(String, Table)>,
    /// The label of each run and its epochs, counted on a common axis.
    pub(crate) curves: Vec<RunCurve>,
}

pub(crate) struct RunCurve {
    pub(crate) label: String,
    pub(crate) epochs: Vec<EpochRow>,
    /// The epochs before the first one, on the common axis.
    pub(crate) offset: usize,
    pub(crate) best_epoch: Option<usize>,
}

/// Everything that the page of a sweep shows.
#[derive(Default)]
pub(crate) struct SweepReport {
    pub(crate) name: String,
    pub(crate) axes: Vec<String>,
    /// Best first; those without a score last.
    pub(crate) trials: Vec<TrialRow>,
    /// Whether the score is the accuracy rather than the loss.
    pub(crate) is_accuracy: bool,
    pub(crate) curves: Vec<RunCurve>,
    pub(crate) source: String,
}

pub(crate) struct TrialRow {
    pub(crate) number: String,
    pub(crate) state: String,
    /// The value of each axis, as the leaderboard has it.
    pub(crate) values: Vec<String>,
    pub(crate) best_epoch: Option<usize>,
    pub(crate) accuracy: Option<f64>,
    pub(crate) loss: Option<f64>,
    /// The 95 % interval of the accuracy.
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) epochs: usize,
    pub(crate) seconds: Option<f64>,
    pub(crate) run: String,
    pub(crate) reason: String,
}

impl TrialRow {
    pub(crate) fn score(&self, is_accuracy: bool) -> Option<f64> {
        let score = if is_accuracy {
            self.accuracy
        } else {
            self.loss
        };
        score.filter(|it| it.is_finite())
    }
}
