//! A run on the CPU as a sequence of large allocations, from reading the parameters to testing the best checkpoint. Mirrors
//! `commands::train`, `train` and `commands::conclude`. Pure.

use super::{
    Facts, Start,
    front::Front,
    heap::{Block, Heap, Part, Stage},
    n_moments,
    network::{self, Layer},
};
use crate::{
    config::experiment::Experiment,
    data::loader::BATCHES_AHEAD,
    model::paper::TensorSpec,
    plan::{Plan, PlannedPhase, prefix::Prefix},
    train::{activations, fill::CPU_BATCH},
};

/// The memory for drawing and compressing the pictures of a run, as measured.
const CANVAS: usize = 20 << 20;

pub(super) struct Run<'a> {
    pub(super) heap: Heap,
    pub(super) experiment: &'a Experiment,
    pub(super) plan: &'a Plan,
    pub(super) specs: Vec<TensorSpec>,
    pub(super) facts: &'a Facts,
}

/// The source of a phase's batches.
enum Inputs<'a> {
    Cache,
    Front(Front<'a>),
    Pixels,
}

impl Run<'_> {
    /// Plays the whole run on the CPU.
    pub(super) fn play(&mut self) {
        let (mut parameters, mut moments) = self.load();
        self.build(&mut parameters);
        for planned in &self.plan.phases {
            if !planned.phase.keep_optimizer {
                self.heap.free_all(std::mem::take(&mut moments));
            }
            self.phase(planned, &mut moments);
        }
        self.heap.free_all(parameters);
        self.heap.free_all(moments);
        self.conclude();
    }

    /// Plays the host side of a run on a GPU: only what is read, loaded ahead and written takes host memory.
    pub(super) fn play_beside_device(&mut self) {
        let (mut parameters, moments) = self.load();
        self.build(&mut parameters);
        self.heap.free_all(parameters);
        self.heap.free_all(moments);
        let n = self.experiment.data.batch_size.get();
        self.heap.enter(Stage::Training);
        let ahead = self.images_ahead(n.min(self.facts.n_train));
        self.heap.enter(Stage::Saving);
        self.copy_state(|_| true);
        for planned in &self.plan.phases {
            let mut moments = Vec::new();
            self.add_moments(planned, &mut moments);
            self.heap.free_all(moments);
        }
        self.heap.free_all(ahead);
        self.conclude();
    }

    /// Loads the parameters, and for a resumed run the optimizer's moments.
    fn load(&mut self) -> (Vec<Block>, Vec<Block>) {
        self.heap.enter(Stage::Loading);
        self.decode(self.facts.n_threads);
        match self.facts.start {
            Start::Weights => return (self.read_weights(), Vec::new()),
            Start::Parent => return (self.read_checkpoint(), Vec::new()),
            Start::Resumed => {}
        }
        let parameters = self.read_checkpoint();
        let n_values = |planned: &&PlannedPhase| {
            n_moments(planned.phase.optimizer.kind) * planned.n_trainable_params
        };
        let mut moments = Vec::new();
        // Which phase the run resumes with is only known from the checkpoint, so the largest one counts.
        if let Some(planned) = self.plan.phases.iter().max_by_key(n_values) {
            let file = self.heap.floats(Part::Copies, n_values(&planned));
            self.add_moments(planned, &mut moments);
            self.heap.free(file);
        }
        (parameters, moments)
    }

    fn read_weights(&mut self) -> Vec<Block> {
        let Some(weights) = self.facts.weights else {
            let heap = &mut self.heap;
            let fresh = |spec: &TensorSpec| heap.floats(Part::Parameters, spec.n_elements());
            return self.specs.iter().map(fresh).collect();
        };
        let heap = &mut self.heap;
        let file = weights
            .is_read_whole
            .then(|| heap.alloc(Part::Copies, weights.n_bytes));
        let (mut n_read, mut parameters) = (0, Vec::new());
        for spec in &self.specs {
            let n_bytes = spec.n_elements() * size_of::<f32>();
            n_read += n_bytes;
            let is_in_file = n_read <= weights.n_bytes;
            let raw = (is_in_file && file.is_none()).then(|| heap.alloc(Part::Copies, n_bytes));
            parameters.push(heap.alloc(Part::Parameters, n_bytes));
            heap.free_all(raw);
        }
        heap.free_all(file);
        parameters
    }

    fn read_checkpoint(&mut self) -> Vec<Block> {
        let heap = &mut self.heap;
        let n_values: usize = self.specs.iter().map(TensorSpec::n_elements).sum();
        let file = heap.floats(Part::Copies, n_values);
        let read = |spec: &TensorSpec| heap.floats(Part::Parameters, spec.n_elements());
        let parameters = self.specs.iter().map(read).collect();
        heap.free(file);
        parameters
    }

    /// Transposes the matrices, one after the other.
    fn build(&mut self, parameters: &mut [Block]) {
        self.heap.enter(Stage::Building);
        for (spec, block) in self.specs.iter().zip(parameters) {
            if is_matrix(spec) {
                let turned = self.heap.floats(Part::Parameters, spec.n_elements());
                let read = std::mem::replace(block, turned);
                self.heap.free(read);
            }
        }
    }

    fn phase(&mut self, planned: &PlannedPhase, moments: &mut Vec<Block>) {
        let Experiment { data, training, .. } = self.experiment;
        let layers = network::layers(self.experiment, &self.plan.paper, &planned.trainable);
        let prefix = &planned.prefix;
        let n = data.batch_size.get().min(self.facts.n_train);
        let is_cached = activations::obstacle(self.experiment, prefix).is_none();
        if is_cached {
            self.fill(planned, &layers);
        }
        let inputs = match (is_cached, prefix.n_steps) {
            (true, _) => Inputs::Cache,
            (false, 0) => Inputs::Pixels,
            (false, _) => {
                self.heap.enter(Stage::Training);
                Inputs::Front(self.front(&layers, prefix))
            }
        };

        self.heap.enter(Stage::Training);
        let is_whole = training.accumulate.get() > 1 || training.clip_grad_norm.is_some();
        let ahead = self.ahead(&inputs, prefix, n);
        let learning = &layers[prefix.n_steps..];
        // The second batch of a step coexists with the gradients of the first, and the second step with the moments.
        for _ in 0..2 {
            let mut gradients = Vec::new();
            for _ in 0..training.accumulate.get().min(2) {
                let input = self.input(&inputs, prefix, n);
                let left = network::train(&mut self.heap, learning, n, input, is_whole);
                let older = std::mem::replace(&mut gradients, left.gradients);
                self.heap.free_all(older);
                self.heap.free_all(left.factors);
            }
            if training.clip_grad_norm.is_some() {
                self.square_largest(planned);
            }
            if moments.is_empty() {
                self.add_moments(planned, moments);
            }
            self.heap.free_all(gradients);
        }

        self.heap.enter(Stage::Validating);
        let input = self.input(&inputs, prefix, n);
        let output = network::evaluated(&mut self.heap, learning, n, input);
        self.heap.free(output);
        self.heap.free_all(ahead);
        self.save();
        if let Inputs::Front(front) = inputs {
            front.release(&mut self.heap);
        }
    }

    fn fill(&mut self, planned: &PlannedPhase, layers: &[Layer]) {
        self.heap.enter(Stage::Filling);
        let (paper, prefix) = (&self.plan.paper, &planned.prefix);
        self.copy_state(|spec| prefix.holds(&spec.path, paper));
        if self.facts.is_cache_full {
            return;
        }
        let n = CPU_BATCH.get().min(self.facts.n_train);
        let front = self.front(layers, prefix);
        let ahead = self.images_ahead(n);
        // The loader's batch, and the part of it that is not cached yet.
        let batch = self.pixels(n);
        let pixels = self.pixels(n);
        let values = front.run(&mut self.heap, n, pixels);
        self.heap.free_all([values, batch]);
        self.heap.free_all(ahead);
        front.release(&mut self.heap);
    }

    fn front<'a>(&mut self, layers: &'a [Layer], prefix: &Prefix) -> Front<'a>
    where
        Self: 'a,
    {
        Front::new(&mut self.heap, &self.plan.paper, layers, prefix.n_steps)
    }

    /// The input of the trained layers for one batch.
    fn input(&mut self, inputs: &Inputs, prefix: &Prefix, n: usize) -> Block {
        match inputs {
            Inputs::Cache => {
                let n_values: usize = prefix.shape.iter().product();
                self.heap.floats(Part::Activations, n * n_values)
            }
            Inputs::Pixels => self.pixels(n),
            Inputs::Front(front) => {
                let pixels = self.pixels(n);
                front.run(&mut self.heap, n, pixels)
            }
        }
    }

    fn pixels(&mut self, n: usize) -> Block {
        let n_values = n * self.n_pixel_values();
        self.heap.floats(Part::Images, n_values)
    }

    fn n_pixel_values(&self) -> usize {
        let size = self.experiment.transforms.size();
        3 * size.height * size.width
    }

    /// The batches that the loader has ready.
    fn ahead(&mut self, inputs: &Inputs, prefix: &Prefix, n: usize) -> Vec<Block> {
        match inputs {
            Inputs::Cache => {
                let n_values: usize = prefix.shape.iter().product();
                self.items_ahead(n, n_values)
            }
            Inputs::Front(_) | Inputs::Pixels => self.images_ahead(n),
        }
    }

    fn images_ahead(&mut self, n: usize) -> Vec<Block> {
        self.decode(self.facts.n_workers);
        let n_values = self.n_pixel_values();
        self.items_ahead(n, n_values)
    }

    fn items_ahead(&mut self, n: usize, n_values: usize) -> Vec<Block> {
        let n_items = n.saturating_mul(BATCHES_AHEAD).min(self.facts.n_train);
        self.heap
            .many(Part::Images, n_items, n_values * size_of::<f32>())
    }

    /// Decodes several photos at a time.
    fn decode(&mut self, n_photos: usize) {
        // The largest may be decoded at the same time; the last known size stands for all others.
        let [.., last] = self.facts.photo_bytes;
        let known = self.facts.photo_bytes.into_iter();
        let sizes = known.chain(std::iter::repeat(last)).take(n_photos);
        let blocks: Vec<Block> = sizes
            .flat_map(|n_bytes| self.heap.many(Part::Images, 1, n_bytes))
            .collect();
        self.heap.free_all(blocks);
    }

    fn add_moments(&mut self, planned: &PlannedPhase, moments: &mut Vec<Block>) {
        for spec in &self.specs {
            if planned.trainable.contains(&spec.path) {
                for _ in 0..n_moments(planned.phase.optimizer.kind) {
                    moments.push(self.heap.floats(Part::Optimizer, spec.n_elements()));
                }
            }
        }
    }

    /// Squares the gradients one at a time to compute their norm.
    fn square_largest(&mut self, planned: &PlannedPhase) {
        let trained = |spec: &&TensorSpec| planned.trainable.contains(&spec.path);
        let largest = self.specs.iter().filter(trained);
        let largest = largest.map(TensorSpec::n_elements).max().unwrap_or(0);
        let squares = self.heap.floats(Part::Gradients, largest);
        self.heap.free(squares);
    }

    fn save(&mut self) {
        self.heap.enter(Stage::Saving);
        self.copy_state(|_| true);
    }

    /// Copies the parameters in PyTorch's shapes: one copy of each, and a second one of the matrix that is being transposed.
    fn copy_state(&mut self, is_wanted: impl Fn(&TensorSpec) -> bool) {
        let mut copies = Vec::new();
        for spec in self.specs.iter().filter(|spec| is_wanted(spec)) {
            let mut copy = self.heap.floats(Part::Copies, spec.n_elements());
            if is_matrix(spec) {
                let turned = self.heap.floats(Part::Copies, spec.n_elements());
                self.heap.free(std::mem::replace(&mut copy, turned));
            }
            copies.push(copy);
        }
        self.heap.free_all(copies);
    }

    fn conclude(&mut self) {
        self.heap.enter(Stage::Drawing);
        let canvas = self.heap.alloc(Part::Images, CANVAS);
        self.heap.free(canvas);
        // Photos of the picture are decoded one after the other.
        self.decode(1);
        if self.facts.n_test == 0 {
            return;
        }
        self.heap.enter(Stage::Testing);
        let mut parameters = self.read_checkpoint();
        self.build(&mut parameters);
        self.heap.enter(Stage::Testing);
        let paper = &self.plan.paper;
        let layers = network::layers(self.experiment, paper, &[]);
        let n_steps = paper.backbone();
        let n = self.experiment.data.batch_size.get().min(self.facts.n_test);
        let front = Front::new(&mut self.heap, paper, &layers, n_steps);
        let ahead = self.images_ahead(n);
        let pixels = self.pixels(n);
        let values = front.run(&mut self.heap, n, pixels);
        let output = network::evaluated(&mut self.heap, &layers[n_steps..], n, values);
        self.heap.free(output);
        self.heap.free_all(ahead);
        front.release(&mut self.heap);
        self.heap.free_all(parameters);
    }
}

/// Whether this is the weight of a fully connected layer, which is transposed in memory.
fn is_matrix(spec: &TensorSpec) -> bool {
    spec.shape.len() == 2
}
