//! `last` has the best model up to its moment, wherever that was until then, and a slim one has no optimizer.

use std::{path::PathBuf, sync::Arc};

use super::{
    Base, Best, Snapshot, Which, is_slim, read, save_last, slim, slimmed, stored::BestFiles, write,
};
use crate::{
    config::experiment::OptimizerKind,
    data::{index::DatasetIndex, split::Part},
    disk::sealed::FileRecord,
    model::{
        families::Arch,
        network::Network,
        paper::{Paper, TensorSpec},
        parameters::{Parameter, ParameterCopy},
        state::{self, StateDict},
        weights,
    },
    rundir::RunDir,
    scores::ranking::Candidate,
    test_support::{experiment, test_device},
    train::{
        answers::Answers,
        optimizer::{Moment, ParameterState, States},
        progress::Progress,
    },
};

const BASE: Base = Base { sha256: None };

fn paper() -> Paper {
    Arch::find("vgg16_slim").unwrap().paper(2, 32, 32)
}

fn network(seed: u64) -> Network {
    let experiment = experiment(
        "data.root = \".\"\n[model]\narch = \"vgg16_slim\"\nweights = \"none\"\n\
         [[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"all\"]",
    );
    let state = weights::load(&experiment.model, 2, seed).unwrap().state;
    let device = test_device().autodiff();
    Network::from_state(Arc::new(paper()), 0.5, state, &device)
}

fn index() -> DatasetIndex {
    DatasetIndex {
        root: PathBuf::new(),
        classes: vec!["a".to_owned(), "b".to_owned()],
        images: Vec::new(),
        rejected: Vec::new(),
        ignored: Vec::new(),
        own_split: None,
        doubt: None,
        hash: String::new(),
        n_read: 0,
        memory: None,
        memory_problem: None,
    }
}

fn answers(index: &DatasetIndex) -> Answers<'_> {
    Answers {
        predictions: &[],
        part: Part::Valid,
        index,
    }
}

fn progress(epoch: usize, best: usize) -> Progress {
    Progress {
        epoch,
        best: Some(Candidate {
            epoch: best,
            value: 0.5,
            loss: 0.5,
        }),
        ..Progress::default()
    }
}

/// A run directory in which checkpoints can be written.
struct Place {
    run_dir: RunDir,
    specs: Vec<TensorSpec>,
    _folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::bare(folder.path());
        std::fs::create_dir(run_dir.checkpoints()).unwrap();
        Self {
            run_dir,
            specs: paper().tensors,
            _folder: folder,
        }
    }

    fn save(
        &self,
        network: &Network,
        optimizer: Option<&States>,
        progress: &Progress,
        best: Option<Best>,
    ) -> Option<BestFiles> {
        let parameters: Vec<Parameter> = network.parameters().collect();
        let snapshot = Snapshot {
            base: &BASE,
            parameters: &parameters,
            optimizer,
            kind: OptimizerKind::Lion { betas: [0.9, 0.99] },
            specs: &self.specs,
            progress,
            metrics: b"epoch\n",
            steps: FileRecord::of_bytes("steps.csv", b""),
        };
        save_last(&self.run_dir, &snapshot, best).unwrap()
    }

    fn state(&self, file: &str) -> StateDict {
        state::read(&self.run_dir.checkpoints().join(file)).unwrap()
    }

    fn epoch(&self, which: Which) -> usize {
        let found = read(&self.run_dir, which, &self.specs).unwrap();
        found.unwrap().epoch
    }

    fn has(&self, file: &str) -> bool {
        self.run_dir.checkpoints().join(file).exists()
    }
}

/// The state of an optimizer that has trained the first tensor.
fn moments(specs: &[TensorSpec]) -> States {
    let state = ParameterState {
        step: 3,
        moments: vec![Moment::Host(vec![0.25; specs[0].n_elements()])],
    };
    States::from([(0, state)])
}

#[test]
fn a_best_model_that_is_held_is_written_as_it_was_with_the_next_last() {
    let (place, index) = (Place::new(), index());
    let [first, best, later] = [1, 2, 3].map(network);
    let states = moments(&place.specs);
    let new = Some(Best::New(answers(&index)));
    place
        .save(&first, Some(&states), &progress(1, 1), new)
        .unwrap();
    assert_eq!(place.state("best/model.safetensors"), first.state());
    // Epoch 2 is better, and is held while epoch 3 trains; a process that is killed now leaves the first two as they are.
    let copies: Vec<ParameterCopy> = best.parameters().map(|it| it.copied()).collect();
    assert_eq!((place.epoch(Which::Best), place.epoch(Which::Last)), (1, 1));
    let at = progress(3, 2);
    let held = Best::Held {
        parameters: &copies,
        epoch: at.best.as_ref(),
        answers: answers(&index),
    };
    let files = place.save(&later, Some(&states), &at, Some(held)).unwrap();
    for file in ["best/model.safetensors", "last/best.safetensors"] {
        assert_eq!(place.state(file), best.state(), "{file}");
    }
    assert_eq!(place.state("last/model.safetensors"), later.state());
    assert_eq!((place.epoch(Which::Best), place.epoch(Which::Last)), (2, 3));
    // From then on it is in its place.
    let stored = Some(Best::Stored(files));
    place
        .save(&later, Some(&states), &progress(4, 2), stored)
        .unwrap();
    assert_eq!(place.state("last/best.safetensors"), best.state());
    assert!(place.has("previous-last") && !is_slim(&place.run_dir));
    let last = read(&place.run_dir, Which::Last, &place.specs)
        .unwrap()
        .unwrap();
    let kind = OptimizerKind::Lion { betas: [0.9, 0.99] };
    let read = last.optimizer_states(kind, &place.specs).unwrap();
    assert_eq!(read[&0].step, 3);
    assert_eq!(read[&0].moments[0].values(), states[&0].moments[0].values());
}

#[test]
fn a_run_ends_slim_without_its_optimizer_having_been_written() {
    let (place, index) = (Place::new(), index());
    let [first, last] = [1, 2].map(network);
    let states = moments(&place.specs);
    let new = || Some(Best::New(answers(&index)));
    place.save(&first, Some(&states), &progress(1, 1), new());
    assert!(place.has("last/optimizer.safetensors"));
    let best = place.save(&last, None, &progress(2, 2), new());
    assert!(is_slim(&place.run_dir) && !place.has("last/optimizer.safetensors"));
    // Until the run is finished, the checkpoint before it is what to fall back on.
    assert!(place.has("previous-last/optimizer.safetensors") && best.is_some());
    slim(&place.run_dir).unwrap();
    assert!(!place.has("previous-last") && place.has("last/best.safetensors"));
    assert_eq!(place.state("last/model.safetensors"), last.state());
    let error = slimmed(&place.run_dir).to_string();
    assert!(
        error.contains("`init_from = ") && error.contains("checkpoints.keep"),
        "{error}"
    );
}

#[test]
fn a_best_model_can_be_written_on_its_own() {
    let (place, index) = (Place::new(), index());
    let network = network(1);
    let named = network.parameters().map(|it| (it.path().to_owned(), it));
    let epoch = progress(5, 5).best;
    write::save_best(
        &place.run_dir,
        &BASE,
        epoch.as_ref(),
        named,
        &answers(&index),
    )
    .unwrap();
    assert_eq!(place.state("best/model.safetensors"), network.state());
    assert_eq!(place.epoch(Which::Best), 5);
    assert!(!place.has("last") && !place.has("new-best"));
}
