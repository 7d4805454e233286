//! The stages of a run, from reading the parameters to testing the best checkpoint, and what is in memory in each of them. Pure.

use std::{
    collections::{BTreeMap, HashSet},
    num::NonZeroUsize,
};

use super::{
    Facts, Part, Sizes, Stage, Start, n_moments,
    steps::{Network, Peak},
};
use crate::{
    config::experiment::{CheckpointEvery, Experiment},
    data::loader::BATCHES_AHEAD,
    kernels::program::GROUP_VALUES,
    model::{
        paper::{Op, TensorSpec},
        transpose::ROWS_AT_ONCE,
    },
    plan::{Plan, PlannedPhase},
    train::{activations, checkpoint, fill::CPU_BATCH},
};

// What runs take beyond the sums, fitted to those of `make memory`. The small ones among them decide.

/// The program's code, its tables and the stack of one thread.
const PROGRAM: usize = 72 << 20;
/// What each further thread takes for its heap and its scratch buffers.
const THREAD: usize = 6 << 20;
/// Drawing and compressing the pictures of a run.
const CANVAS: usize = 20 << 20;
/// The share of photos that the allocator holds beyond them, in percent: decoding allocates in quick succession.
const HELD_IMAGES: usize = 30;
/// The most that it holds of what a training step has freed. Larger blocks are returned at once.
const HELD_IN_STEP: usize = 40 << 20;

const FLOAT: usize = size_of::<f32>();

/// A run while its stages are added up.
struct Run<'a> {
    experiment: &'a Experiment,
    plan: &'a Plan,
    facts: &'a Facts,
    /// The names of the tensors that checkpoints contain.
    stored: HashSet<&'a str>,
    peaks: BTreeMap<Stage, Sizes>,
}

/// Bytes by part.
type Parts<'a> = &'a [(Part, usize)];

/// The peak of each stage of a run.
pub(super) fn peaks(experiment: &Experiment, plan: &Plan, facts: &Facts) -> BTreeMap<Stage, Sizes> {
    let mut run = Run {
        experiment,
        plan,
        facts,
        stored: HashSet::new(),
        peaks: BTreeMap::new(),
    };
    run.start();
    let paths = plan.paper.tensors.iter().map(|spec| spec.path.as_str());
    run.stored = paths
        .filter(|path| checkpoint::holds(plan, 0, path))
        .collect();
    for (phase, planned) in plan.phases.iter().enumerate() {
        run.stored
            .extend(planned.trainable.iter().map(String::as_str));
        if facts.is_cpu {
            run.phase(phase);
        } else {
            run.beside_device(phase);
        }
    }
    run.conclude();
    run.peaks
}

impl Run<'_> {
    fn at(&mut self, stage: Stage, parts: Parts) {
        let Facts {
            n_threads,
            n_workers,
            ..
        } = self.facts;
        let mut sizes = Sizes::default();
        sizes[Part::Program as usize] = PROGRAM + THREAD * n_threads.max(n_workers);
        for (part, n_bytes) in parts {
            sizes[*part as usize] += n_bytes;
        }
        let in_step = sizes[Part::Activations as usize] + sizes[Part::Gradients as usize];
        let held_images = sizes[Part::Images as usize] * HELD_IMAGES / 100;
        sizes[Part::Freed as usize] = held_images + in_step.min(HELD_IN_STEP);
        let peak = self.peaks.entry(stage).or_default();
        if sizes.iter().sum::<usize>() > peak.iter().sum() {
            *peak = sizes;
        }
    }

    fn specs(&self) -> impl Iterator<Item = &TensorSpec> {
        self.plan.paper.tensors.iter()
    }

    fn parameters(&self) -> (Part, usize) {
        let n_values: usize = self.specs().map(TensorSpec::n_elements).sum();
        (Part::Parameters, n_values * FLOAT)
    }

    /// The largest tensor that is wanted.
    fn largest(&self, is_wanted: impl Fn(&TensorSpec) -> bool) -> usize {
        let wanted = self.specs().filter(|spec| is_wanted(spec));
        FLOAT * wanted.map(TensorSpec::n_elements).max().unwrap_or(0)
    }

    /// The optimizer's moments in a phase, with those that it keeps of the phases before.
    fn moments(&self, phase: usize) -> (Part, usize) {
        let phases = &self.plan.phases[..=phase];
        let is_fresh = |planned: &PlannedPhase| !planned.phase.keep_optimizer;
        let phases = &phases[phases.iter().rposition(is_fresh).unwrap_or(0)..];
        let trained = self.specs().filter(|spec| {
            let mut phases = phases.iter();
            phases.any(|planned| planned.trainable.contains(&spec.path))
        });
        let n_values: usize = trained.map(TensorSpec::n_elements).sum();
        let n_moments = n_moments(phases[phases.len() - 1].phase.optimizer.kind);
        (Part::Optimizer, FLOAT * n_moments * n_values)
    }

    /// The moments that may exist before the first step of a phase.
    fn carried(&self, phase: usize) -> (Part, usize) {
        if self.facts.start == Start::Resumed {
            return self.moments(phase);
        }
        match phase.checked_sub(1) {
            Some(before) if self.plan.phases[phase].phase.keep_optimizer => self.moments(before),
            _ => (Part::Optimizer, 0),
        }
    }

    /// The copy of the best model with its predictions, from the end of the first epoch of a phase to that of the last.
    fn held_best(&self, phase: usize) -> (Part, usize) {
        let every = self.experiment.training.checkpoint_every;
        let n_epochs = self.plan.phases[phase].phase.epochs;
        let is_written_at_once =
            every == CheckpointEvery::Epochs(NonZeroUsize::MIN) || n_epochs == NonZeroUsize::MIN;
        if !self.facts.holds_best || is_written_at_once {
            return (Part::Copies, 0);
        }
        let stored = self.specs();
        let stored = stored.filter(|spec| self.stored.contains(spec.path.as_str()));
        let n_values = stored.map(TensorSpec::n_elements).sum::<usize>();
        let n_logits = self.facts.n_valid * self.facts.n_classes;
        (Part::Copies, FLOAT * (n_values + n_logits))
    }

    fn start(&mut self) {
        let (parameters, largest) = (self.parameters(), self.largest(|_| true));
        let decoding = self.decoding(self.facts.n_threads);
        self.at(Stage::Loading, &[parameters, decoding]);
        // A tensor that is not `f32` in its file is converted.
        self.at(Stage::Loading, &[parameters, (Part::Copies, largest)]);
        let turned = (Part::Copies, self.largest(|spec| spec.is_turned));
        self.at(Stage::Building, &[parameters, turned]);
    }

    fn phase(&mut self, phase: usize) {
        let (paper, planned) = (&self.plan.paper, &self.plan.phases[phase]);
        let (training, prefix) = (&self.experiment.training, &planned.prefix);
        let is_cached = activations::obstacle(self.experiment, prefix).is_none();
        if is_cached && !self.facts.is_cache_full {
            let n = CPU_BATCH.get().min(self.facts.n_train);
            let state = [self.parameters(), self.carried(phase), self.pixels(n)];
            let work = [self.front(prefix.n_steps, n), self.images_ahead(n)].concat();
            self.at(Stage::Filling, &[&state[..], &work].concat());
        }
        let n = self.batch(self.facts.n_train);
        let mut held = vec![
            self.parameters(),
            self.moments(phase),
            self.held_best(phase),
        ];
        if is_cached {
            let n_values: usize = prefix.shape.iter().product();
            held.push(self.items_ahead(n, n_values));
        } else {
            held.extend([self.front(prefix.n_steps, n), self.images_ahead(n)].concat());
        }
        let trained = &planned.trainable;
        let pass = |trained: &[String]| {
            let network = Network::new(self.experiment, paper, n, trained);
            of_peak(network.pass(prefix.n_steps..paper.steps.len()))
        };
        let (learning, validating) = (pass(trained), pass(&[]));
        // The sum of the batches so far, and the squares of one gradient at a time.
        let gradients = FLOAT * planned.n_trainable_params;
        let summed = if training.accumulate.get() > 1 {
            gradients
        } else {
            0
        };
        let summed = [(Part::Gradients, summed)];
        self.at(Stage::Training, &[&held[..], &learning, &summed].concat());
        if training.clip_grad_norm.is_some() {
            let squared = gradients + self.largest(|spec| trained.contains(&spec.path));
            let clipping = [(Part::Gradients, squared)];
            self.at(Stage::Training, &[&held[..], &clipping].concat());
        }
        self.at(Stage::Validating, &[&held[..], &validating].concat());
        // Matrices are turned some rows at a time.
        let turned = self.specs().filter(|spec| spec.is_turned);
        let rows = turned.map(|spec| spec.shape[1] * ROWS_AT_ONCE).max();
        held.push((Part::Copies, FLOAT * rows.unwrap_or(0)));
        self.at(Stage::Saving, &held);
    }

    /// The host's side of a phase on a GPU: what is read, loaded ahead and written.
    fn beside_device(&mut self, phase: usize) {
        let n = self.batch(self.facts.n_train);
        let ahead = self.images_ahead(n);
        let best = self.held_best(phase);
        let step = [self.pixels(n), best];
        self.at(Stage::Training, &[&ahead[..], &step].concat());
        let copies = (Part::Copies, 2 * self.largest(|_| true));
        self.at(Stage::Saving, &[copies, best]);
    }

    /// The images of a batch, of so many.
    fn batch(&self, n_images: usize) -> usize {
        self.experiment.data.batch_size.get().min(n_images)
    }

    /// Frozen steps on the CPU's kernels: their filters, and the buffers that stay until they are released.
    fn front(&self, n_steps: usize, n: usize) -> [(Part, usize); 2] {
        let paper = &self.plan.paper;
        let network = Network::new(self.experiment, paper, n, &[]);
        let n_kernels = paper.backbone().min(n_steps);
        let steps = 0..n_kernels;
        let one = |value: usize| paper.shape(value).iter().product::<usize>();
        // The images of a group go through the steps between two poolings together.
        let largest = steps.clone().map(|index| {
            let inputs = paper.steps[index].inputs.iter().copied();
            inputs.map(one).sum::<usize>() + one(index + 1)
        });
        let largest = largest.max().unwrap_or(0);
        let group = (n * largest).min(GROUP_VALUES.max(largest));
        // The whole batch is stored before and after them.
        let is_stored = |value: &usize| {
            let step = value.checked_sub(1).map(|index| paper.steps[index].op);
            let is_pool = matches!(step, None | Some(Op::MaxPool(_) | Op::AdaptivePool { .. }));
            *value == n_kernels || is_pool && paper.is_cut(*value)
        };
        let stored = (0..=n_kernels).filter(is_stored);
        let mut stored: Vec<usize> = stored.map(|value| network.values(value)).collect();
        stored.sort_unstable();
        let stored: usize = stored.iter().rev().take(2).sum();
        let rest = network.pass(n_kernels..n_steps);
        let buffers = network.prepared(steps) + group + stored;
        [
            (Part::Kernels, FLOAT * (buffers + rest.buffers)),
            (Part::Activations, FLOAT * rest.activations),
        ]
    }

    fn n_pixel_values(&self) -> usize {
        self.plan.paper.pixels.iter().product()
    }

    fn pixels(&self, n: usize) -> (Part, usize) {
        (Part::Images, FLOAT * n * self.n_pixel_values())
    }

    fn images_ahead(&self, n: usize) -> [(Part, usize); 2] {
        let ahead = self.items_ahead(n, self.n_pixel_values());
        [ahead, self.decoding(self.facts.n_workers)]
    }

    /// The items that the loader has ready, and the batch that is made of some of them.
    fn items_ahead(&self, n: usize, n_values: usize) -> (Part, usize) {
        let n_items = n.saturating_mul(BATCHES_AHEAD).min(self.facts.n_train);
        (Part::Images, FLOAT * n_items * n_values)
    }

    /// Photos that are decoded at a time; the last known size stands for all others.
    fn decoding(&self, n_photos: usize) -> (Part, usize) {
        let photos = self.facts.photo_bytes;
        let sizes = photos.iter().chain(photos.last().into_iter().cycle());
        (Part::Images, sizes.take(n_photos).sum())
    }

    fn conclude(&mut self) {
        let canvas = (Part::Images, CANVAS);
        self.at(Stage::Drawing, &[canvas, self.decoding(1)]);
        if self.facts.n_test == 0 {
            return;
        }
        let n = self.batch(self.facts.n_test);
        let ahead = self.images_ahead(n);
        let mut parts = [&[self.parameters(), self.pixels(n)], &ahead[..]].concat();
        if self.facts.is_cpu {
            let paper = &self.plan.paper;
            let network = Network::new(self.experiment, paper, n, &[]);
            parts.extend(self.front(paper.backbone(), n));
            parts.extend(of_peak(network.pass(paper.backbone()..paper.steps.len())));
        }
        self.at(Stage::Testing, &parts);
    }
}

/// The memory that a phase takes on a GPU: parameters, moments, gradients and activations. Other uses are unknown, because nothing
/// was measured there.
pub(super) fn on_device(experiment: &Experiment, plan: &Plan, planned: &PlannedPhase) -> usize {
    let (n, paper) = (experiment.data.batch_size.get(), &plan.paper);
    let network = Network::new(experiment, paper, n, &planned.trainable);
    let parameters: usize = paper.tensors.iter().map(TensorSpec::n_elements).sum();
    let per_parameter = 1 + n_moments(planned.phase.optimizer.kind);
    let trained = planned.n_trainable_params * per_parameter;
    FLOAT * (parameters + trained + network.pass(0..paper.steps.len()).activations)
}

/// A pass in bytes.
fn of_peak(peak: Peak) -> [(Part, usize); 3] {
    [
        (Part::Activations, FLOAT * peak.activations),
        (Part::Gradients, FLOAT * peak.gradients),
        (Part::Kernels, FLOAT * peak.buffers),
    ]
}
