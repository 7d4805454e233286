//! Writes networks on paper in PyTorch's words: a family of architectures is a function that calls this builder.

use super::{BATCH_NORM, Init, Kernel, MaxPool, Module, Norm, Op, Paper, Step, TensorSpec, Value};

/// The initialisation of a new layer's weight and bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LayerInit {
    /// PyTorch's own: uniform within plus or minus `1/sqrt(fan_in)`, weight and bias
    /// (`Conv2d.reset_parameters`, `Linear.reset_parameters`).
    PyTorch,
    /// The weight as given, the bias 0.
    Weight(Init),
}

/// Builds a [`Paper`] step by step. Methods that add a layer take its name in the current module and the value that it reads, and
/// return the value that it gives.
pub(crate) struct Builder {
    paper: Paper,
    /// The path of the current module.
    path: String,
    conv_init: LayerInit,
    linear_init: LayerInit,
}

/// The pixels of an image.
pub(crate) const PIXELS: Value = 0;

impl Builder {
    /// A network for images of `height` x `width`.
    pub(crate) fn new(height: usize, width: usize) -> Self {
        Self {
            paper: Paper {
                steps: Vec::new(),
                tensors: Vec::new(),
                root: Module::default(),
                pixels: [3, height, width],
            },
            path: String::new(),
            conv_init: LayerInit::PyTorch,
            linear_init: LayerInit::PyTorch,
        }
    }

    pub(crate) fn finish(self) -> Paper {
        self.paper
    }

    /// Sets how the convolutions after it are initialised; PyTorch's own initialisation by default.
    pub(crate) fn conv_init(&mut self, init: LayerInit) {
        self.conv_init = init;
    }

    /// Sets how the fully connected layers after it are initialised; PyTorch's own initialisation by default.
    pub(crate) fn linear_init(&mut self, init: LayerInit) {
        self.linear_init = init;
    }

    /// The number of channels of a value.
    pub(crate) fn channels(&self, x: Value) -> usize {
        self.paper.shape(x)[0]
    }

    /// What `build` adds is in the module `name`, which cannot be indexed.
    pub(crate) fn module<T>(
        &mut self,
        name: impl std::fmt::Display,
        build: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let length = self.path.len();
        self.path = self.join(&name.to_string());
        self.paper.root.make(&self.path);
        let result = build(self);
        self.path.truncate(length);
        result
    }

    /// What `build` adds is in the `torch.nn.Sequential` `name`, which has `length` members.
    pub(crate) fn sequence<T>(
        &mut self,
        name: impl std::fmt::Display,
        length: usize,
        build: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.module(name, |b| {
            b.paper.root.make(&b.path).sequence = Some(length);
            build(b)
        })
    }

    /// A convolution without bias.
    pub(crate) fn conv(
        &mut self,
        name: impl std::fmt::Display,
        x: Value,
        out_channels: usize,
        kernel: Kernel,
    ) -> Value {
        self.any_conv(&name.to_string(), x, out_channels, kernel, false)
    }

    pub(crate) fn conv_bias(
        &mut self,
        name: impl std::fmt::Display,
        x: Value,
        out_channels: usize,
        kernel: Kernel,
    ) -> Value {
        self.any_conv(&name.to_string(), x, out_channels, kernel, true)
    }

    fn any_conv(
        &mut self,
        name: &str,
        x: Value,
        out_channels: usize,
        kernel: Kernel,
        has_bias: bool,
    ) -> Value {
        let (height, width) = self.sides(x);
        let in_channels = self.channels(x) / kernel.groups;
        let weight = vec![out_channels, in_channels, kernel.side, kernel.side];
        let fan_in = in_channels * kernel.side * kernel.side;
        let tensors = layer_tensors(weight, fan_in, has_bias, self.conv_init);
        let shape = vec![out_channels, kernel.after(height), kernel.after(width)];
        self.layer(Op::Conv(kernel), name, x, shape, tensors)
    }

    /// A batch norm with PyTorch's constants.
    pub(crate) fn batch_norm(&mut self, name: impl std::fmt::Display, x: Value) -> Value {
        self.batch_norm_with(name, x, BATCH_NORM)
    }

    pub(crate) fn batch_norm_with(
        &mut self,
        name: impl std::fmt::Display,
        x: Value,
        norm: Norm,
    ) -> Value {
        let shape = self.paper.shape(x).to_vec();
        let channels = vec![shape[0]];
        let tensor = |name, is_buffer, init| Tensor {
            name,
            shape: channels.clone(),
            is_buffer,
            is_turned: false,
            init,
        };
        let tensors = vec![
            tensor("weight", false, Init::Ones),
            tensor("bias", false, Init::Zeros),
            tensor("running_mean", true, Init::Zeros),
            tensor("running_var", true, Init::Ones),
        ];
        self.layer(Op::BatchNorm(norm), &name.to_string(), x, shape, tensors)
    }

    /// A fully connected layer with bias.
    pub(crate) fn linear(
        &mut self,
        name: impl std::fmt::Display,
        x: Value,
        out_features: usize,
    ) -> Value {
        let in_features = self.channels(x);
        let weight = vec![out_features, in_features];
        let mut tensors = layer_tensors(weight, in_features, true, self.linear_init);
        tensors[0].is_turned = true;
        let shape = vec![out_features];
        self.layer(Op::Linear, &name.to_string(), x, shape, tensors)
    }

    pub(crate) fn relu(&mut self, name: impl std::fmt::Display, x: Value) -> Value {
        self.same_shape(Op::Relu, name, x)
    }

    pub(crate) fn dropout(&mut self, name: impl std::fmt::Display, x: Value) -> Value {
        self.same_shape(Op::Dropout, name, x)
    }

    pub(crate) fn max_pool(
        &mut self,
        name: impl std::fmt::Display,
        x: Value,
        pool: MaxPool,
    ) -> Value {
        let (height, width) = self.sides(x);
        let shape = vec![self.channels(x), pool.after(height), pool.after(width)];
        self.layer(Op::MaxPool(pool), &name.to_string(), x, shape, Vec::new())
    }

    /// Average pooling to `side` x `side`, and flattening.
    pub(crate) fn adaptive_pool(
        &mut self,
        name: impl std::fmt::Display,
        x: Value,
        side: usize,
    ) -> Value {
        let shape = vec![self.channels(x) * side * side];
        let op = Op::AdaptivePool { side };
        self.layer(op, &name.to_string(), x, shape, Vec::new())
    }

    /// The sum of two values of the same shape.
    pub(crate) fn add(&mut self, a: Value, b: Value) -> Value {
        let shape = self.paper.shape(a).to_vec();
        debug_assert_eq!(shape, self.paper.shape(b), "both terms of {}", self.path);
        self.push(Op::Add, self.path.clone(), vec![a, b], shape, Vec::new())
    }

    /// Values one after the other along the channels.
    pub(crate) fn concat(&mut self, values: &[Value]) -> Value {
        let mut shape = self.paper.shape(values[0]).to_vec();
        shape[0] = values.iter().map(|value| self.channels(*value)).sum();
        let inputs = values.to_vec();
        self.push(Op::Concat, self.path.clone(), inputs, shape, Vec::new())
    }

    fn same_shape(&mut self, op: Op, name: impl std::fmt::Display, x: Value) -> Value {
        let shape = self.paper.shape(x).to_vec();
        self.layer(op, &name.to_string(), x, shape, Vec::new())
    }

    /// Adds a module of its own that reads one value.
    fn layer(
        &mut self,
        op: Op,
        name: &str,
        x: Value,
        shape: Vec<usize>,
        tensors: Vec<Tensor>,
    ) -> Value {
        let module = self.join(name);
        self.paper.root.make(&module);
        self.push(op, module, vec![x], shape, tensors)
    }

    fn push(
        &mut self,
        op: Op,
        module: String,
        inputs: Vec<Value>,
        shape: Vec<usize>,
        tensors: Vec<Tensor>,
    ) -> Value {
        let first = self.paper.tensors.len();
        let tensors = tensors.into_iter().map(|tensor| TensorSpec {
            path: format!("{module}.{}", tensor.name),
            shape: tensor.shape,
            is_buffer: tensor.is_buffer,
            is_turned: tensor.is_turned,
            init: tensor.init,
        });
        self.paper.tensors.extend(tensors);
        self.paper.steps.push(Step {
            op,
            inputs,
            module,
            shape,
            tensors: first..self.paper.tensors.len(),
        });
        self.paper.steps.len()
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Height and width; values after a pooling are maps of one pixel, as for SqueezeNet's last convolution.
    fn sides(&self, x: Value) -> (usize, usize) {
        match self.paper.shape(x) {
            [_, height, width] => (*height, *width),
            _ => (1, 1),
        }
    }
}

/// A tensor of the layer that is being added.
struct Tensor {
    name: &'static str,
    shape: Vec<usize>,
    is_buffer: bool,
    is_turned: bool,
    init: Init,
}

fn layer_tensors(
    weight: Vec<usize>,
    fan_in: usize,
    has_bias: bool,
    init: LayerInit,
) -> Vec<Tensor> {
    let (weight_init, bias_init) = match init {
        LayerInit::PyTorch => (Init::Uniform { fan_in }, Init::Uniform { fan_in }),
        LayerInit::Weight(init) => (init, Init::Zeros),
    };
    let tensor = |name, shape, init| Tensor {
        name,
        shape,
        is_buffer: false,
        is_turned: false,
        init,
    };
    let bias = has_bias.then(|| tensor("bias", vec![weight[0]], bias_init));
    std::iter::once(tensor("weight", weight, weight_init))
        .chain(bias)
        .collect()
}
