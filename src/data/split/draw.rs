//! Draws a random split: which images are held out, in whole groups, and how many of each class.

use std::collections::HashMap;

use super::Part;
use crate::{data::index::DatasetIndex, random};

/// The fractions of the images for `valid` and for `test`.
type Fractions = (f64, f64);

/// Shuffles `images` and assigns those at the end to valid and test. The others keep their part.
pub(super) fn random(
    images: &[usize],
    (valid, test): Fractions,
    seed: u64,
    index: &DatasetIndex,
    parts: &mut [Part],
) {
    let mut units = units(images, index);
    random::shuffle(&mut units, &mut random::rng(seed, "split", &[]));
    cut(&units, counts(images.len(), valid, test), parts);
}

/// Splits each class by itself, so that all parts have the same share of it. A group counts toward the class of its first image.
pub(super) fn stratified(
    (valid, test): Fractions,
    seed: u64,
    index: &DatasetIndex,
    parts: &mut [Part],
) {
    let all: Vec<usize> = (0..parts.len()).collect();
    let mut of_class: Vec<Vec<Vec<usize>>> = vec![Vec::new(); index.classes.len()];
    for unit in units(&all, index) {
        of_class[index.images[unit[0]].class].push(unit);
    }
    let sizes: Vec<usize> = of_class
        .iter()
        .map(|units| units.iter().map(Vec::len).sum())
        .collect();
    // Ties between classes are broken at random, so that the first classes are not favoured.
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    random::shuffle(&mut order, &mut random::rng(seed, "split ties", &[]));
    let (n_train, n_valid) = counts(all.len(), valid, test);
    let train = apportion(&sizes, n_train, 1, &order);
    let held_out: Vec<usize> = sizes
        .iter()
        .zip(&train)
        .map(|(n, taken)| n - taken)
        .collect();
    let valid = apportion(&held_out, n_valid, 0, &order);
    for (class, mut units) in of_class.into_iter().enumerate() {
        random::shuffle(&mut units, &mut random::rng(seed, "split", &[class as u64]));
        cut(&units, (train[class], valid[class]), parts);
    }
}

/// The units that are assigned as a whole, in the order of `images`: each group, and each image without a group.
fn units(images: &[usize], index: &DatasetIndex) -> Vec<Vec<usize>> {
    let mut units: Vec<Vec<usize>> = Vec::with_capacity(images.len());
    let mut of_group: HashMap<usize, usize> = HashMap::new();
    for &image in images {
        match index.images[image].group {
            Some(group) => {
                let unit = *of_group.entry(group).or_insert(units.len());
                match units.get_mut(unit) {
                    Some(unit) => unit.push(image),
                    None => units.push(vec![image]),
                }
            }
            None => units.push(vec![image]),
        }
    }
    units
}

/// Leaves the first `n_train` images in training, assigns the next `n_valid` to valid and the rest to test. A unit that crosses
/// a boundary goes where its first image falls.
fn cut(units: &[Vec<usize>], (n_train, n_valid): (usize, usize), parts: &mut [Part]) {
    let mut n_before = 0;
    for unit in units {
        if n_before >= n_train {
            let part = if n_before < n_train + n_valid {
                Part::Valid
            } else {
                Part::Test
            };
            for &image in unit {
                parts[image] = part;
            }
        }
        n_before += unit.len();
    }
}

/// Computes the numbers of train and valid images; the rest is for test.
///
/// Train gets `floor(fraction * n)`, like `int(0.8 * n)` in scripts that call torch's `random_split`.
pub(super) fn counts(n: usize, valid: f64, test: f64) -> (usize, usize) {
    let train = (1.0 - valid - test) * n as f64;
    // 1 - 0.7 - 0.2 is a little below 0.1 in floats, and `floor` would drop an image that the user asked for.
    let is_whole = (train - train.round()).abs() < 1e-6;
    let n_train = if is_whole {
        train.round()
    } else {
        train.floor()
    };
    let n_train = (n_train.max(0.0) as usize).min(n);
    let n_rest = n - n_train;
    if test == 0.0 {
        return (n_train, n_rest);
    }
    let n_valid = (n_rest as f64 * valid / (valid + test)).round() as usize;
    (n_train, n_valid.min(n_rest))
}

/// Divides `total` in proportion to `sizes` by the method of largest remainders, as in scikit-learn's
/// `StratifiedShuffleSplit`: the sum is `total` exactly. Each share is at least `least`, where size and total allow it, and
/// never more than the size; of equal remainders the first in `order` is rounded up.
pub(super) fn apportion(
    sizes: &[usize],
    total: usize,
    least: usize,
    order: &[usize],
) -> Vec<usize> {
    let n: usize = sizes.iter().sum();
    let total = total.min(n);
    // Integers keep equal remainders equal; rounding errors of floats would break these ties arbitrarily.
    let quota = |class: usize| (sizes[class] as u128) * (total as u128);
    let mut shares: Vec<usize> = (0..sizes.len())
        .map(|class| (quota(class) / n.max(1) as u128) as usize)
        .collect();
    let mut by_remainder = order.to_vec();
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(quota(class) % n.max(1) as u128));
    let n_left = total - shares.iter().sum::<usize>();
    for &class in by_remainder.iter().take(n_left) {
        shares[class] += 1;
    }
    // A class below `least` takes from the class that has the most.
    for &class in order {
        while shares[class] < least.min(sizes[class]) {
            let Some(&giver) = order
                .iter()
                .max_by_key(|&&other| shares[other])
                .filter(|&&other| shares[other] > least)
            else {
                return shares;
            };
            shares[giver] -= 1;
            shares[class] += 1;
        }
    }
    shares
}
