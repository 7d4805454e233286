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
    pub(super) const POSITIVE: Self = Self {
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
    /// Neither 0 nor 1.
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

    /// Whether `value` is still in the range once it is rounded to an `f32`, and keeps its precision there: what becomes 0 is
    /// divided by, and what becomes infinite is multiplied with.
    pub(crate) fn contains_single(self, value: f64) -> bool {
        let single = value as f32;
        (single.is_normal() || value == 0.0) && self.contains(f64::from(single))
    }

    /// Lower and upper end.
    pub(crate) fn ends(self) -> (End, End) {
        (self.low, self.high)
    }

    /// `above 0 and below 1`
    pub(crate) fn words(self) -> String {
        let low = match self.low {
            End::Free => None,
            End::Included(low) => Some(format!("at least {low}")),
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
            (None, None) => "a finite number".to_owned(),
        }
    }
}
