//! Agreement between true and predicted classes beyond what chance would give. Pure.

use super::classification::Margins;

/// Cohen's kappa, `(p_o - p_e) / (1 - p_e)`: the accuracy `p_o`, compared with the accuracy `p_e` of guesses that are as frequent
/// as the predictions. Undefined without images, and if one class is the only one on both sides.
///
/// Cohen, A Coefficient of Agreement for Nominal Scales, 1960; scikit-learn's `cohen_kappa_score`.
pub(crate) fn cohen_kappa(margins: &Margins) -> Option<f64> {
    let (n, n_correct) = (margins.n_images() as f64, margins.n_correct() as f64);
    // In units of n², so that no share is rounded.
    let by_chance = expected(margins);
    let room = n * n - by_chance;
    (room > 0.0).then(|| (n_correct * n - by_chance) / room)
}

/// Matthews' correlation coefficient for any number of classes, -1 to 1. Undefined if all images are of one class or got one
/// prediction, where scikit-learn's `matthews_corrcoef` returns 0.
///
/// `R_K` of Gorodkin, Comparing Two K-Category Assignments by a K-Category Correlation Coefficient, 2004.
pub(crate) fn matthews(margins: &Margins) -> Option<f64> {
    let (n, n_correct) = (margins.n_images() as f64, margins.n_correct() as f64);
    let squares = |counts: &[usize]| counts.iter().map(|n| (*n as f64).powi(2)).sum::<f64>();
    let spread = |counts: &[usize]| n * n - squares(counts);
    let product = spread(&margins.support) * spread(&margins.predicted);
    (product > 0.0).then(|| (n_correct * n - expected(margins)) / product.sqrt())
}

/// The sum of `support * predicted` over the classes.
fn expected(margins: &Margins) -> f64 {
    let pairs = margins.support.iter().zip(&margins.predicted);
    pairs.map(|(a, b)| *a as f64 * *b as f64).sum()
}
