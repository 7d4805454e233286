//! The parameters that a network starts with, before it is built: those that were read, and those that will be drawn. Knows no Burn.

use std::{collections::BTreeMap, panic, thread};

use super::{
    init::Draw,
    paper::TensorSpec,
    state::{HostTensor, StateDict},
    transpose::transposed,
};

/// A complete state dict, of which the matrices that start at random values are not drawn yet.
#[derive(Default)]
pub(crate) struct StartState {
    given: StateDict,
    draws: BTreeMap<String, Draw>,
    turning: Option<thread::JoinHandle<StateDict>>,
    turned: StateDict,
}

impl StartState {
    pub(super) fn give(&mut self, spec: &TensorSpec, tensor: HostTensor) {
        self.given.insert(spec.path.clone(), tensor);
    }

    /// Draws the tensor; a matrix that Burn keeps in another order is drawn in that order when it is asked for.
    pub(super) fn draw(&mut self, spec: &TensorSpec, draw: Draw) {
        if spec.is_turned {
            self.draws.insert(spec.path.clone(), draw);
        } else {
            self.give(spec, draw.tensor());
        }
    }

    /// Begins to bring matrices into Burn's order in the background.
    pub(crate) fn turn_ahead(&mut self, specs: &[TensorSpec]) {
        let mut matrices = Self::default();
        let turned = specs.iter().filter(|spec| spec.is_turned);
        let turned: Vec<TensorSpec> = turned.cloned().collect();
        for spec in &turned {
            if let Some(draw) = self.draws.remove(&spec.path) {
                matrices.draws.insert(spec.path.clone(), draw);
            } else if let Some(tensor) = self.given.remove(&spec.path) {
                matrices.give(spec, tensor);
            }
        }
        let work = move || {
            let take = |spec: TensorSpec| Some((spec.path.clone(), matrices.take(&spec)?));
            turned.into_iter().filter_map(take).collect()
        };
        self.turning = Some(thread::spawn(work));
    }

    /// Takes a tensor out, in the order that Burn keeps it in.
    pub(super) fn take(&mut self, spec: &TensorSpec) -> Option<HostTensor> {
        if !spec.is_turned {
            return self.given.remove(&spec.path);
        }
        if let Some(turning) = self.turning.take() {
            let turned = turning.join();
            self.turned = turned.unwrap_or_else(|payload| panic::resume_unwind(payload));
        }
        let turned = self.turned.remove(&spec.path);
        turned.or_else(|| match self.draws.remove(&spec.path) {
            Some(draw) => Some(draw.transposed()),
            None => self.given.remove(&spec.path).map(|it| transposed(&it)),
        })
    }

    /// All tensors in PyTorch's order. Not for a state whose matrices are being turned already.
    pub(crate) fn complete(self) -> StateDict {
        assert!(
            self.turning.is_none() && self.turned.is_empty(),
            "turned matrices are for the network alone"
        );
        let mut state = self.given;
        let draws = self.draws.into_iter();
        state.extend(draws.map(|(path, draw)| (path, draw.tensor())));
        state
    }
}

impl From<StateDict> for StartState {
    fn from(given: StateDict) -> Self {
        Self {
            given,
            ..Self::default()
        }
    }
}
