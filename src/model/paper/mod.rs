//! Networks on paper: one list of steps over numbered values, with the names and shapes of all parameters. Whatever needs to know a
//! network (shapes, multiplications, the Burn module, frozen layers, memory) is one loop over these steps with one exhaustive
//! `match`. Pure; knows no tensors, files or Burn.

mod builder;
mod cut;
mod geometry;
mod modules;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub(crate) use self::{
    builder::{Builder, LayerInit, PIXELS},
    geometry::{Kernel, MaxPool},
    modules::Module,
};

/// A value of a forward pass: 0 is the pixels, `k` is the output of step `k - 1`.
pub(crate) type Value = usize;

/// A network: every value that a forward pass computes, in order.
#[derive(Debug)]
pub(crate) struct Paper {
    pub(crate) steps: Vec<Step>,
    /// The state dict, in the order of the steps. A tensor's position is the id of its parameter in Burn.
    pub(crate) tensors: Vec<TensorSpec>,
    /// The modules as PyTorch nests them, for selectors.
    pub(crate) root: Module,
    /// `[channels, height, width]` of one image.
    pub(crate) pixels: [usize; 3],
}

/// One operation of a forward pass. Value `n + 1` is the output of step `n`.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<Value>,
    /// The path of PyTorch's module that computes it, such as `layer4.1.conv2`; the enclosing module for operations that are not
    /// modules, such as the addition of a shortcut.
    pub(crate) module: String,
    /// The shape of the output for one image: `[channels, height, width]`, or `[values]`.
    pub(crate) shape: Vec<usize>,
    /// Its parameters and buffers in [`Paper::tensors`].
    pub(crate) tensors: Range<usize>,
}

/// What a step computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    Conv(Kernel),
    BatchNorm(Norm),
    Linear,
    Relu,
    MaxPool(MaxPool),
    /// Average pooling to `side` x `side`, flattened to values as by `torch.flatten(x, 1)`.
    AdaptivePool {
        side: usize,
    },
    Dropout,
    /// The sum of two values.
    Add,
    /// Several values, one after the other along the channels.
    Concat,
}

/// The constants of `torch.nn.BatchNorm2d`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Norm {
    pub(crate) eps: f64,
    /// The share of the batch in the new running statistics.
    pub(crate) momentum: f64,
}

/// One tensor of the state dict, under torchvision's name (`features.0.weight`), in PyTorch's shape.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorSpec {
    pub(crate) path: String,
    pub(crate) shape: Vec<usize>,
    /// Running statistics are buffers: saved and loaded, never trained.
    pub(crate) is_buffer: bool,
    /// Whether Burn keeps it as `[in, out]`, PyTorch as `[out, in]`.
    pub(crate) is_turned: bool,
    pub(crate) init: Init,
}

/// How torchvision initialises a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Init {
    Zeros,
    Ones,
    Normal {
        std: f64,
    },
    /// `kaiming_normal_` with fan out and the gain of ReLU.
    KaimingNormalFanOut,
    /// `kaiming_uniform_` with fan in and the gain of ReLU.
    KaimingUniformFanIn,
    /// Uniform within plus or minus `1/sqrt(fan_in)`: PyTorch's own initialisation of weights and biases.
    Uniform {
        fan_in: usize,
    },
}

/// The last layer, which is replaced for the user's classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// `classifier.6` in VGG, `fc` in ResNet.
    pub(crate) path: String,
    pub(crate) in_features: usize,
}

/// The constants that torchvision uses for nearly every batch norm: PyTorch's defaults.
pub(crate) const BATCH_NORM: Norm = Norm {
    eps: 1e-5,
    momentum: 0.1,
};

impl TensorSpec {
    pub(crate) fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether this is a tensor of the module `path`, or of a module in it.
    pub(crate) fn is_in(&self, path: &str) -> bool {
        is_in(&self.path, path)
    }
}

/// Whether `path` is `module` or in it: `layer4.1.bn2.weight` is in `layer4.1`.
pub(crate) fn is_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A shape as messages show it: `[512, 25088]`.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", sides.join(", "))
}

impl Op {
    /// The name of the operation in texts, where a step is not a module of its own.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conv(_) => "convolution",
            Self::BatchNorm(_) => "batch norm",
            Self::Linear => "linear",
            Self::Relu => "relu",
            Self::MaxPool(_) => "max pooling",
            Self::AdaptivePool { .. } => "pooling",
            Self::Dropout => "dropout",
            Self::Add => "addition",
            Self::Concat => "concatenation",
        }
    }
}

impl Paper {
    /// The shape of a value for one image: `[channels, height, width]`, or `[values]`.
    pub(crate) fn shape(&self, value: Value) -> &[usize] {
        match value.checked_sub(1) {
            Some(step) => &self.steps[step].shape,
            None => &self.pixels,
        }
    }

    /// The number of multiplications that the first `n_steps` steps take for one image.
    pub(crate) fn multiplications(&self, n_steps: usize) -> usize {
        let steps = self.steps[..n_steps].iter();
        steps.map(|step| self.multiplications_of(step)).sum()
    }

    fn multiplications_of(&self, step: &Step) -> usize {
        let n_outputs: usize = step.shape.iter().product();
        match step.op {
            Op::Conv(Kernel { side, groups, .. }) => {
                let in_channels = self.shape(step.inputs[0])[0];
                n_outputs * in_channels / groups * side * side
            }
            Op::Linear => n_outputs * self.shape(step.inputs[0])[0],
            Op::BatchNorm(_)
            | Op::Relu
            | Op::MaxPool(_)
            | Op::AdaptivePool { .. }
            | Op::Dropout
            | Op::Add
            | Op::Concat => 0,
        }
    }

    /// The layer that is replaced for the user's classes: the last one with parameters.
    pub(crate) fn head(&self) -> Head {
        let mut steps = self.steps.iter().rev();
        let step = steps
            .find(|step| !step.tensors.is_empty())
            .expect("every network has a head with parameters");
        Head {
            path: step.module.clone(),
            in_features: self.shape(step.inputs[0])[0],
        }
    }

    pub(crate) fn has_batch_norm(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step.op, Op::BatchNorm(_)))
    }

    /// The tensors that can be trained.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &TensorSpec> {
        self.tensors.iter().filter(|spec| !spec.is_buffer)
    }

    /// The step that a tensor of the state dict belongs to; `None` if there is no such tensor.
    pub(crate) fn step_of(&self, path: &str) -> Option<usize> {
        let index = self.tensors.iter().position(|spec| spec.path == path)?;
        let mut steps = self.steps.iter();
        steps.position(|step| step.tensors.contains(&index))
    }

    /// For each value, the number of the last step that reads it; the output of the network is read by nobody.
    pub(crate) fn last_readers(&self) -> Vec<Option<usize>> {
        let mut last = vec![None; self.steps.len() + 1];
        for (index, step) in self.steps.iter().enumerate() {
            for value in &step.inputs {
                last[*value] = Some(index);
            }
        }
        last
    }
}
