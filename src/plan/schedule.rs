//! Learning-rate schedules as functions from the step to a factor. Pure, so that a resumed run needs no state of a schedule.

use std::f64::consts::PI;

use crate::config::experiment::{Schedule, ScheduleKind};

/// The factor on the phase's learning rate at `step` (from 0) of `n_steps`.
///
/// The warm-up rises linearly, `(step + 1) / n_warmup_steps`. After it, `step` counts whole epochs like PyTorch's `StepLR`, and
/// `cosine` is `CosineAnnealingLR` stepped once per optimizer step, both counted from the end of the warm-up.
pub(crate) fn factor(
    schedule: &Schedule,
    step: usize,
    steps_per_epoch: usize,
    n_steps: usize,
) -> f64 {
    let n_warmup_steps = (schedule.warmup_epochs * steps_per_epoch as f64).round() as usize;
    if step < n_warmup_steps {
        return (step + 1) as f64 / n_warmup_steps as f64;
    }
    let step = step - n_warmup_steps;
    match schedule.kind {
        ScheduleKind::Constant => 1.0,
        ScheduleKind::Step { step_epochs, gamma } => {
            let n_drops = step / (step_epochs.get() * steps_per_epoch.max(1));
            gamma.powi(i32::try_from(n_drops).unwrap_or(i32::MAX))
        }
        ScheduleKind::Cosine { min_factor } => {
            let length = n_steps.saturating_sub(n_warmup_steps).max(1);
            let progress = step as f64 / length as f64;
            min_factor + (1.0 - min_factor) * f64::midpoint(1.0, (PI * progress).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn check(kind: ScheduleKind, warmup_epochs: f64, expected: &[f64]) {
        let schedule = Schedule {
            kind,
            warmup_epochs,
        };
        for (step, expected) in expected.iter().enumerate() {
            let actual = factor(&schedule, step, 2, 8);
            assert!(
                (actual - expected).abs() < 1e-12,
                "step {step}: {actual}, expected {expected}"
            );
        }
    }

    #[test]
    fn constant_stays_after_the_warm_up() {
        check(
            ScheduleKind::Constant,
            2.0,
            &[0.25, 0.5, 0.75, 1.0, 1.0, 1.0],
        );
    }

    #[test]
    fn step_drops_by_gamma_every_few_epochs() {
        let step_epochs = NonZeroUsize::new(2).unwrap();
        check(
            ScheduleKind::Step {
                step_epochs,
                gamma: 0.1,
            },
            0.0,
            &[1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1],
        );
    }

    #[test]
    fn cosine_starts_at_one_and_is_halfway_in_the_middle() {
        let kind = ScheduleKind::Cosine { min_factor: 0.2 };
        let schedule = Schedule {
            kind,
            warmup_epochs: 0.0,
        };
        assert!((factor(&schedule, 0, 2, 8) - 1.0).abs() < 1e-12);
        assert!((factor(&schedule, 4, 2, 8) - 0.6).abs() < 1e-12);
        assert!((factor(&schedule, 8, 2, 8) - 0.2).abs() < 1e-12);
    }
}
