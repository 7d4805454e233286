//! How well the outputs of an exported file agree with those of the checkpoint. Pure.

use std::fmt;

use serde::Serialize;

use crate::train::evaluate::argmax;

/// The largest difference of logits that rounding explains, as a fraction of their range or of the largest of them.
const ROUNDING: f32 = 1e-4;
/// The same for weights that were rounded to 16 bits.
const ROUNDING_OF_HALVES: f32 = 5e-2;

/// The comparison of two networks on the same images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Agreement {
    pub(crate) images: usize,
    /// The largest difference between two logits; NaN if one of them is not finite.
    pub(crate) largest_difference: f32,
    /// The largest logit minus the smallest.
    pub(crate) range: f32,
    /// The largest absolute logit: an untrained network gives nearly the same logits for all images, rounded as numbers of their size.
    #[serde(skip)]
    largest: f32,
    /// The images for which another class has the highest probability.
    pub(crate) changed: usize,
    /// Those of them for which rounding cannot be the reason, because the two classes are no tie.
    #[serde(skip)]
    wrong: usize,
}

impl Agreement {
    /// Compares the logits of the checkpoint with the logits and probabilities of the file, image by image.
    pub(crate) fn of(ours: &[Vec<f32>], theirs: &[[Vec<f32>; 2]]) -> Self {
        let pairs = || ours.iter().zip(theirs);
        let differences = pairs().flat_map(|(ours, [logits, probabilities])| {
            let differences = ours
                .iter()
                .zip(logits)
                .map(|(ours, theirs)| (ours - theirs).abs());
            // A probability that is not finite is as wrong as a logit.
            differences.chain(probabilities.iter().map(|probability| probability * 0.0))
        });
        // `f32::max` would ignore NaN.
        let largest_difference = differences.fold(0.0, |largest: f32, difference| {
            if largest.is_nan() || difference <= largest {
                largest
            } else {
                difference
            }
        });
        let (mut changed, mut wrong) = (0, 0);
        for (ours, [_, probabilities]) in pairs() {
            let (class, other) = (argmax(ours), argmax(probabilities));
            if class != other {
                changed += 1;
                let is_tie = ours[class] - ours[other] <= 2.0 * largest_difference;
                wrong += usize::from(!is_tie);
            }
        }
        let logits = || ours.iter().flatten().copied();
        let highest = logits().fold(f32::NEG_INFINITY, f32::max);
        let lowest = logits().fold(f32::INFINITY, f32::min);
        Self {
            images: ours.len(),
            largest_difference,
            range: highest - lowest,
            largest: highest.abs().max(lowest.abs()),
            changed,
            wrong,
        }
    }

    /// Why the file is not what it should be; `None` if rounding explains all differences.
    pub(crate) fn problem(&self, is_half: bool) -> Option<String> {
        let most = if is_half {
            ROUNDING_OF_HALVES
        } else {
            ROUNDING
        };
        // False for NaN.
        let is_close = self.largest_difference <= most * self.range.max(self.largest);
        (!is_close || self.wrong > 0).then(|| self.to_string())
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "logits differ by at most {:.1e} (of a range of {:.2}), and ",
            self.largest_difference, self.range
        )?;
        match self.changed {
            0 => out.write_str("no prediction changes"),
            1 => out.write_str("1 prediction changes"),
            n_changed => write!(out, "{n_changed} predictions change"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theirs(rows: &[[f32; 2]]) -> Vec<[Vec<f32>; 2]> {
        // The softmax keeps the order, which is all that is asked of the probabilities.
        rows.iter()
            .map(|row| [row.to_vec(), row.to_vec()])
            .collect()
    }

    #[test]
    fn rounding_is_no_problem_and_a_changed_answer_is_one() {
        let ours = [vec![4.0, -6.0], vec![1.0, 2.0]];
        let same = Agreement::of(&ours, &theirs(&[[4.0, -6.0], [1.0, 2.000_5]]));
        assert_eq!((same.images, same.changed, same.range), (2, 0, 10.0));
        assert!((same.largest_difference - 5e-4).abs() < 1e-6);
        assert_eq!(same.problem(false), None);
        let far = Agreement::of(&ours, &theirs(&[[4.0, -6.1], [1.0, 2.0]]));
        assert!(far.problem(false).is_some());
        assert_eq!(far.problem(true), None);
        let turned = Agreement::of(&ours, &theirs(&[[4.0, -6.0], [2.0, 1.0]]));
        assert_eq!(turned.changed, 1);
        assert!(turned.problem(true).is_some());
    }

    #[test]
    fn a_tie_may_be_broken_otherwise() {
        let ours = [vec![1.0, 1.000_01], vec![-5.0, 5.0]];
        let agreement = Agreement::of(&ours, &theirs(&[[1.000_02, 1.0], [-5.0, 5.0]]));
        assert_eq!((agreement.changed, agreement.problem(false)), (1, None));
    }

    #[test]
    fn logits_that_are_all_alike_are_rounded_as_numbers_of_their_size() {
        let ours = [vec![8.0, 8.000_001], vec![8.0, 8.0]];
        let agreement = Agreement::of(&ours, &theirs(&[[8.000_002, 8.0], [8.0, 8.0]]));
        assert_eq!(agreement.problem(false), None);
        let zeros = [vec![0.0, 0.0]];
        assert_eq!(
            Agreement::of(&zeros, &theirs(&[[0.0, 0.0]])).problem(false),
            None
        );
    }

    #[test]
    fn nothing_agrees_with_what_is_not_a_number() {
        let ours = [vec![1.0, 2.0], vec![3.0, 4.0]];
        for bad in [f32::NAN, f32::INFINITY] {
            let logits = Agreement::of(&ours, &theirs(&[[1.0, bad], [3.0, 4.0]]));
            assert!(logits.problem(true).is_some());
            let mut outputs = theirs(&[[1.0, 2.0], [3.0, 4.0]]);
            outputs[0][1][0] = bad;
            assert!(Agreement::of(&ours, &outputs).problem(true).is_some());
        }
    }
}
