//! The class that is positive where two sides are compared: in curves, and in sensitivity and specificity at a threshold.

use crate::{
    error::{Error, Result},
    scores::{
        curves::Ranked,
        operating_point::{EVEN, OperatingPoint},
    },
};

/// The position of the positive class, and the threshold of its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Positive {
    pub(super) class: usize,
    pub(super) threshold: f64,
}

/// The positive class that the options ask for. Without `--positive` it is the last of two classes, as in scikit-learn, and none
/// of more.
pub(super) fn chosen(
    classes: &[String],
    name: Option<&str>,
    threshold: Option<f64>,
) -> Result<Option<Positive>> {
    if let Some(threshold) = threshold.filter(|it| !(0.0..=1.0).contains(it)) {
        let text = format!("invalid value `{threshold}` for `--threshold`: not a probability");
        return Err(Error::usage(text).help("use a number from 0 to 1"));
    }
    let listed = || {
        let names: Vec<String> = classes.iter().map(|name| format!("`{name}`")).collect();
        format!("the classes are {}", names.join(", "))
    };
    let class = match name {
        Some(name) => {
            let class = classes.iter().position(|class| class == name);
            Some(class.ok_or_else(|| {
                let text = format!("unknown class `{name}` for `--positive`");
                Error::usage(text).help(listed())
            })?)
        }
        None if classes.len() == 2 => Some(1),
        None if threshold.is_some() => {
            let text = format!(
                "`--threshold` needs a positive class, and the run has {} classes",
                classes.len()
            );
            let error =
                Error::usage(text).help("add `--positive CLASS` to compare it with all others");
            return Err(error.help(listed()));
        }
        None => None,
    };
    Ok(class.map(|class| Positive {
        class,
        threshold: threshold.unwrap_or(EVEN),
    }))
}

impl Positive {
    pub(super) fn point(self, classes: &[String], ranked: &Ranked) -> OperatingPoint {
        OperatingPoint::new(&classes[self.class], self.threshold, ranked)
    }
}
