//! Where runs start on the common axis of epochs: a run that continues another starts where that one ended. Pure.

use crate::runs::RunView;

/// The run that another one started from, if both are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) run: usize,
    /// The epoch of the parent, as the parent counts.
    pub(super) epoch: usize,
}

pub(super) fn origins(views: &[RunView]) -> Vec<Option<Origin>> {
    views
        .iter()
        .map(|view| {
            let epoch = view.manifest.parent.as_ref()?.epoch;
            let run = views.iter().position(|other| view.goes_on_from(other))?;
            Some(Origin { run, epoch })
        })
        .collect()
}

/// The number of epochs that led to each run: those of its parent, and so on.
pub(super) fn offsets(origins: &[Option<Origin>]) -> Vec<usize> {
    (0..origins.len())
        .map(|at| {
            let (mut offset, mut next) = (0_usize, origins[at]);
            // A damaged manifest can name a run as its own ancestor, so the walk is bounded.
            for _ in 0..origins.len() {
                let Some(origin) = next else { break };
                offset = offset.saturating_add(origin.epoch.min(MOST_EPOCHS));
                next = origins.get(origin.run).copied().flatten();
            }
            offset
        })
        .collect()
}

/// An upper bound that no run reaches; it keeps a damaged manifest from overflowing the axis.
const MOST_EPOCHS: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origins: &[Option<(usize, usize)>], expected: &[usize]) {
        let origins: Vec<Option<Origin>> = origins
            .iter()
            .map(|origin| origin.map(|(run, epoch)| Origin { run, epoch }))
            .collect();
        assert_eq!(offsets(&origins), expected);
    }

    #[test]
    fn a_run_begins_where_those_before_it_ended() {
        check(&[None, None], &[0, 0]);
        check(&[None, Some((0, 5)), Some((1, 3))], &[0, 5, 8]);
        check(&[Some((1, 5)), None], &[5, 0]);
        // In a circle nobody is first, and nobody waits for it.
        check(&[Some((0, 2))], &[2]);
    }
}
