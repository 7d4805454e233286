//! The VGG family as a Burn module, which is built from a state dict in host memory and converted back to one. Layers keep
//! torchvision's indices.

use std::ops::Range;

use burn::{
    module::{Module, Param, ParamGroup, ParamId, RunningState},
    nn::{
        Dropout, DropoutConfig, Linear, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, TensorData, activation::relu, module as ops, ops::MaxPoolOptions},
};

use super::{
    batch_norm::BatchNorm2d,
    conv,
    host::to_host,
    layout::{Arch, ClassifierLayer, FeatureLayer, POOLED_SIDE, TensorSpec},
    linear,
    state::{HostTensor, StateDict},
    transpose::transposed,
};
use crate::kernels::program::{self, Program, ProgramStep};

/// A VGG network: `features`, average pooling to 7x7, `classifier`. Input `[n, 3, height, width]`, output logits `[n, classes]`.
#[derive(Module, Debug)]
pub(crate) struct Vgg {
    features: Vec<Feature>,
    classifier: Vec<Classifier>,
}

#[derive(Module, Debug)]
enum Feature {
    Conv(Conv2d),
    BatchNorm(BatchNorm2d),
    Relu(Relu),
    MaxPool(MaxPool),
}

#[derive(Module, Debug)]
enum Classifier {
    Linear(Linear),
    Relu(Relu),
    Dropout(Dropout),
}

#[derive(Module, Debug)]
pub(crate) struct Relu;

/// 2x2 max pooling with stride 2.
#[derive(Module, Debug)]
pub(crate) struct MaxPool;

impl Feature {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(layer) => conv::forward(layer, input),
            Self::BatchNorm(norm) => norm.forward(input),
            Self::Relu(Relu) => relu(input),
            Self::MaxPool(MaxPool) => ops::max_pool2d(input, MaxPoolOptions::new([2, 2])),
        }
    }
}

impl Classifier {
    /// Takes and returns `[n, values]`.
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Linear(layer) => linear::forward(layer, input),
            Self::Relu(Relu) => relu(input),
            Self::Dropout(dropout) => dropout.forward(input),
        }
    }
}

/// Average pooling to 7x7, flattened to `[n, values, 1, 1]`.
fn pooled(features: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = features.dims();
    let pooled = if (height, width) == (POOLED_SIDE, POOLED_SIDE) {
        features
    } else {
        ops::adaptive_avg_pool2d(features, [POOLED_SIDE, POOLED_SIDE])
    };
    pooled.flatten::<2>(1, 3).unsqueeze_dims(&[2, 3])
}

impl Vgg {
    /// Builds the model from a complete state dict on a device that records gradients; every parameter requires them.
    /// A parameter's id is its position in the state dict, so that an optimizer's state finds its parameter again in another
    /// process.
    ///
    /// Panics if the state dict lacks a tensor of `arch`; `weights::load` returns only complete ones.
    pub(crate) fn from_state(
        arch: Arch,
        n_classes: usize,
        dropout: f64,
        mut state: StateDict,
        device: &Device,
    ) -> Self {
        let specs = arch.tensors(n_classes);
        let mut source = StateSource {
            specs: &specs,
            state: &mut state,
            device,
        };
        let features = arch.features().into_iter().enumerate();
        let features = features
            .map(|(index, layer)| source.feature(index, layer))
            .collect();
        let classifier = arch.classifier(n_classes).into_iter().enumerate();
        let classifier = classifier
            .map(|(index, layer)| source.classifier(index, layer, dropout))
            .collect();
        Self {
            features,
            classifier,
        }
    }

    /// All parameters and buffers, in PyTorch's shapes.
    pub(crate) fn state(&self) -> StateDict {
        self.state_of(|_| true)
    }

    /// The parameters and buffers whose path is wanted; the others are not copied from the device.
    pub(crate) fn state_of(&self, is_wanted: impl Fn(&str) -> bool) -> StateDict {
        let mut state = StateDict::new();
        let mut put = |path: String, tensor: &dyn Fn() -> HostTensor| {
            if is_wanted(&path) {
                state.insert(path, tensor());
            }
        };
        for (index, layer) in self.features.iter().enumerate() {
            let path = |name: &str| format!("features.{index}.{name}");
            match layer {
                Feature::Conv(conv) => {
                    put(path("weight"), &|| to_host(conv.weight.val()));
                    if let Some(bias) = &conv.bias {
                        put(path("bias"), &|| to_host(bias.val()));
                    }
                }
                Feature::BatchNorm(norm) => {
                    put(path("weight"), &|| to_host(norm.weight.val()));
                    put(path("bias"), &|| to_host(norm.bias.val()));
                    put(path("running_mean"), &|| {
                        to_host(norm.running_mean.value_sync())
                    });
                    put(path("running_var"), &|| {
                        to_host(norm.running_var.value_sync())
                    });
                }
                Feature::Relu(_) | Feature::MaxPool(_) => {}
            }
        }
        for (index, layer) in self.classifier.iter().enumerate() {
            let path = |name: &str| format!("classifier.{index}.{name}");
            match layer {
                Classifier::Linear(linear) => {
                    // Burn keeps `[in, out]`, PyTorch `[out, in]`.
                    put(path("weight"), &|| {
                        transposed(&to_host(linear.weight.val()))
                    });
                    if let Some(bias) = &linear.bias {
                        put(path("bias"), &|| to_host(bias.val()));
                    }
                }
                Classifier::Relu(_) | Classifier::Dropout(_) => {}
            }
        }
        state
    }

    /// The number of layers of a forward pass: `features`, the pooling, `classifier`.
    pub(crate) fn n_layers(&self) -> usize {
        self.features.len() + 1 + self.classifier.len()
    }

    /// Maps pixels `[n, 3, height, width]` to logits `[n, classes]`.
    #[cfg(test)]
    pub(crate) fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        self.forward_from(0, input)
    }

    /// The logits, given the output of the first `n_done` layers.
    pub(crate) fn forward_from(&self, n_done: usize, input: Tensor<4>) -> Tensor<2> {
        self.forward_layers(n_done..self.n_layers(), input)
            .flatten(1, 3)
    }

    /// Runs consecutive layers of a forward pass. After the pooling tensors are `[n, values, 1, 1]`.
    pub(crate) fn forward_layers(&self, layers: Range<usize>, input: Tensor<4>) -> Tensor<4> {
        layers.fold(input, |x, index| {
            let classifier = index.checked_sub(self.features.len());
            match classifier.map(|index| index.checked_sub(1)) {
                None => self.features[index].forward(x),
                Some(None) => pooled(x),
                Some(Some(index)) => {
                    let x = self.classifier[index].forward(x.flatten(1, 3));
                    x.unsqueeze_dims(&[2, 3])
                }
            }
        })
    }

    /// The first layers of a forward pass, as a module of their own.
    pub(crate) fn front(&self, n_layers: usize) -> Self {
        let n_features = self.features.len().min(n_layers);
        let n_classifier = n_layers.saturating_sub(self.features.len() + 1);
        Self {
            features: self.features[..n_features].to_vec(),
            classifier: self.classifier[..n_classifier].to_vec(),
        }
    }

    /// The features as a program of CPU kernels, and how many layers they are. Batch norm uses its running statistics.
    pub(crate) fn program(&self) -> (Program, usize) {
        let layers = self.features.iter().map(|layer| match layer {
            Feature::Conv(conv) => {
                let weight = to_host(conv.weight.val());
                let bias = conv.bias.as_ref();
                program::Layer::Conv {
                    out_channels: weight.shape[0],
                    in_channels: weight.shape[1],
                    weight: weight.values,
                    side: 3,
                    stride: 1,
                    padding: 1,
                    groups: 1,
                    bias: bias.map(|bias| to_host(bias.val()).values),
                }
            }
            Feature::BatchNorm(norm) => norm.as_layer(),
            Feature::Relu(Relu) => program::Layer::Relu,
            Feature::MaxPool(MaxPool) => program::Layer::MaxPool {
                side: 2,
                stride: 2,
                padding: 0,
                ceil: false,
            },
        });
        let steps = layers.enumerate().map(|(index, layer)| ProgramStep {
            layer,
            inputs: vec![index],
        });
        (Program::new(3, steps.collect()), self.features.len())
    }

    /// Sets PyTorch's `requires_grad` for exactly the parameters in `trainable`. Dropout stays active. A batch norm without trainable
    /// parameters updates its running statistics only if `frozen_batch_norm_trains`.
    pub(crate) fn with_trainable(
        self,
        trainable: &[String],
        frozen_batch_norm_trains: bool,
        specs: &[TensorSpec],
    ) -> Self {
        let ids = specs
            .iter()
            .enumerate()
            .filter(|(_, spec)| trainable.contains(&spec.path));
        let group = ParamGroup::from_ids(ids.map(|(index, _)| param_id(index)).collect());
        let mut model = self.no_grad().set_require_grad_group(group, true);
        for (index, layer) in model.features.iter_mut().enumerate() {
            if let Feature::BatchNorm(norm) = layer {
                let prefix = format!("features.{index}.");
                let is_trained = trainable.iter().any(|path| path.starts_with(&prefix));
                norm.training = Param::from_bool(is_trained || frozen_batch_norm_trains);
            }
        }
        model
    }
}

/// The id of the parameter at `index` of the state dict.
pub(crate) fn param_id(index: usize) -> ParamId {
    ParamId::from(index as u64)
}

/// Takes tensors out of a state dict to build layers from them.
struct StateSource<'a> {
    specs: &'a [TensorSpec],
    state: &'a mut StateDict,
    device: &'a Device,
}

impl StateSource<'_> {
    fn take(&mut self, path: &str) -> (ParamId, HostTensor) {
        let index = self
            .specs
            .iter()
            .position(|spec| spec.path == path)
            .expect("the layout names every parameter");
        let tensor = self
            .state
            .remove(path)
            .expect("weights::load returns complete state dicts");
        (param_id(index), tensor)
    }

    fn param<const D: usize>(&mut self, path: &str) -> Param<Tensor<D>> {
        let (id, tensor) = self.take(path);
        Param::initialized(id, to_device(tensor, self.device).require_grad())
    }

    fn running(&mut self, path: &str) -> RunningState<Tensor<1>> {
        let (id, tensor) = self.take(path);
        RunningState::with_id(id, to_device(tensor, self.device))
    }

    fn feature(&mut self, index: usize, layer: FeatureLayer) -> Feature {
        let path = |name| format!("features.{index}.{name}");
        match layer {
            FeatureLayer::Conv {
                in_channels,
                out_channels,
            } => {
                let config = Conv2dConfig::new([in_channels, out_channels], [3, 3]);
                let conv = config
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                    .init(self.device);
                let (weight, bias) = (self.param(&path("weight")), self.param(&path("bias")));
                Feature::Conv(Conv2d {
                    weight,
                    bias: Some(bias),
                    ..conv
                })
            }
            FeatureLayer::BatchNorm { .. } => Feature::BatchNorm(BatchNorm2d {
                weight: self.param(&path("weight")),
                bias: self.param(&path("bias")),
                running_mean: self.running(&path("running_mean")),
                running_var: self.running(&path("running_var")),
                training: Param::from_bool(true),
            }),
            FeatureLayer::Relu => Feature::Relu(Relu),
            FeatureLayer::MaxPool => Feature::MaxPool(MaxPool),
        }
    }

    fn classifier(&mut self, index: usize, layer: ClassifierLayer, dropout: f64) -> Classifier {
        match layer {
            ClassifierLayer::Linear { .. } => {
                let (id, weight) = self.take(&format!("classifier.{index}.weight"));
                let weight = to_device(transposed(&weight), self.device).require_grad();
                let bias = self.param(&format!("classifier.{index}.bias"));
                Classifier::Linear(Linear {
                    weight: Param::initialized(id, weight),
                    bias: Some(bias),
                })
            }
            ClassifierLayer::Relu => Classifier::Relu(Relu),
            ClassifierLayer::Dropout => Classifier::Dropout(DropoutConfig::new(dropout).init()),
        }
    }
}

fn to_device<const D: usize>(tensor: HostTensor, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(tensor.values, tensor.shape), device)
}
