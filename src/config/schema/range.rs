//! Intervals that numbers live in. Pure.

/// An interval of finite numbers.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    low: End,
    high: End,
}

#[derive(Clone, Copy)]
pub(crate) enum End {
    Free,
    Included(f64),
    Excluded(f64),
}

impl Range {
    pub(super) const ANY: Self = Self {
        low: End::Free,
        high: End::Free,
    };
    pub(crate) const POSITIVE: Self = Self {
        low: End::Excluded(0.0),
        high: End::Free,
    };
    pub(super) const NOT_NEGATIVE: Self = Self {
        low: End::Included(0.0),
        high: End::Free,
    };
    /// `0.0..=1.0`
    pub(super) const FRACTION: Self = Self {
        low: End::Included(0.0),
        high: End::Included(1.0),
    };
    /// `0.0..1.0`
    pub(super) const BELOW_ONE: Self = Self {
        low: End::Included(0.0),
        high: End::Excluded(1.0),
    };
    /// Between 0 and 1, without both.
    pub(super) const PART: Self = Self {
        low: End::Excluded(0.0),
        high: End::Excluded(1.0),
    };
    /// Above 0, up to 1.
    pub(super) const SHRINKING: Self = Self {
        low: End::Excluded(0.0),
        high: End::Included(1.0),
    };

    pub(crate) fn contains(self, value: f64) -> bool {
        let above = match self.low {
            End::Free => true,
            End::Included(low) => value >= low,
            End::Excluded(low) => value > low,
        };
        let below = match self.high {
            End::Free => true,
            End::Included(high) => value <= high,
            End::Excluded(high) => value < high,
        };
        above && below && value.is_finite()
    }

    /// Whether `value` stays in the range when it is rounded to an `f32`, with full precision. Otherwise a step could divide by a
    /// number that has become 0, or multiply with one that has become infinite.
    pub(crate) fn contains_single(self, value: f64) -> bool {
        let single = value as f32;
        (single.is_normal() || value == 0.0) && self.contains(f64::from(single))
    }

    /// The lower and the upper end.
    pub(crate) fn ends(self) -> (End, End) {
        (self.low, self.high)
    }

    /// The range as it follows "a number": `above 0 and below 1`.
    pub(crate) fn words(self) -> String {
        let low = match self.low {
            End::Free => None,
            End::Included(low) => Some(format!("of at least {low}")),
            End::Excluded(low) => Some(format!("above {low}")),
        };
        let high = match self.high {
            End::Free => None,
            End::Included(high) => Some(format!("at most {high}")),
            End::Excluded(high) => Some(format!("below {high}")),
        };
        match (low, high) {
            (Some(low), Some(high)) => format!("{low} and {high}"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => "of any size".to_owned(),
        }
    }
}
