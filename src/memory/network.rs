//! The memory that the layers of a network take on the CPU: forward, layer by layer, and backward with what the forward pass
//! kept. Mirrors `model::conv`, `model::linear` and Burn's operations. Pure.

use super::heap::{Block, Buffer, Heap, Part};
use crate::{
    config::experiment::{Experiment, FrozenBatchNorm},
    kernels::{gradients, sizes, tiles::TILE},
    model::layout::{ClassifierLayer, FeatureLayer},
};

/// A layer as it works on one image, in the order of a forward pass: `features`, the pooling, `classifier`.
pub(super) struct Layer {
    kind: Kind,
    /// The numbers of input and output values.
    inputs: usize,
    outputs: usize,
    /// Whether its parameters are trained.
    is_trained: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Conv {
        in_channels: usize,
        out_channels: usize,
    },
    /// Uses the statistics of the batch in training, else the running ones.
    BatchNorm {
        is_training: bool,
    },
    Relu,
    MaxPool,
    AveragePool,
    Linear,
    Dropout,
}

/// A layer in the autodiff graph, with what it keeps for its backward pass.
struct Node<'a> {
    layer: &'a Layer,
    /// The input first, then the rest.
    kept: Vec<Block>,
    /// Whether the layers before it need a gradient.
    passes_on: bool,
}

/// The blocks that a backward pass leaves.
pub(super) struct Left {
    pub(super) gradients: Vec<Block>,
    /// The inputs and output gradients of fully connected layers.
    pub(super) factors: Vec<Block>,
}

/// The number of partial sums in a fully connected layer's forward pass.
const LINEAR_PARTS: usize = 16;

/// The whole network of an experiment; `trainable` contains exact paths.
pub(super) fn layers(
    experiment: &Experiment,
    n_classes: usize,
    trainable: &[String],
) -> Vec<Layer> {
    let arch = experiment.model.arch;
    let size = experiment.transforms.size();
    let drifts = experiment.model.frozen_batch_norm == FrozenBatchNorm::Train;
    let is_trained = |section: &str, index: usize| {
        let prefix = format!("{section}.{index}.");
        trainable.iter().any(|path| path.starts_with(&prefix))
    };
    let n_values = |n_layers: usize| -> usize {
        arch.shape_after(n_layers, size.height, size.width)
            .iter()
            .product()
    };
    let mut layers = Vec::new();
    for (index, layer) in arch.features().into_iter().enumerate() {
        let is_trained = is_trained("features", index);
        let kind = match layer {
            FeatureLayer::Conv {
                in_channels,
                out_channels,
            } => Kind::Conv {
                in_channels,
                out_channels,
            },
            FeatureLayer::BatchNorm { .. } => Kind::BatchNorm {
                is_training: is_trained || drifts,
            },
            FeatureLayer::Relu => Kind::Relu,
            FeatureLayer::MaxPool => Kind::MaxPool,
        };
        layers.push(Layer {
            kind,
            inputs: n_values(index),
            outputs: n_values(index + 1),
            is_trained,
        });
    }
    let n_features = layers.len();
    let mut width = n_values(n_features + 1);
    layers.push(Layer {
        kind: Kind::AveragePool,
        inputs: n_values(n_features),
        outputs: width,
        is_trained: false,
    });
    for (index, layer) in arch.classifier(n_classes).into_iter().enumerate() {
        let inputs = width;
        let kind = match layer {
            ClassifierLayer::Linear { out_features, .. } => {
                width = out_features;
                Kind::Linear
            }
            ClassifierLayer::Relu => Kind::Relu,
            ClassifierLayer::Dropout => Kind::Dropout,
        };
        layers.push(Layer {
            kind,
            inputs,
            outputs: width,
            is_trained: is_trained("classifier", index),
        });
    }
    layers
}

/// A forward pass without gradients. Consumes the input and returns the output.
pub(super) fn evaluated(heap: &mut Heap, layers: &[Layer], n: usize, input: Block) -> Block {
    layers.iter().fold(input, |input, layer| match layer.kind {
        Kind::Relu | Kind::Dropout => input,
        _ if layer.does_nothing() => input,
        Kind::Conv { .. }
        | Kind::BatchNorm { .. }
        | Kind::MaxPool
        | Kind::AveragePool
        | Kind::Linear => {
            let output = layer.forward(heap, n);
            heap.free(input);
            output
        }
    })
}

/// The forward and backward passes of one batch. `is_whole` means that the gradients of fully connected layers are multiplied out.
pub(super) fn train(
    heap: &mut Heap,
    layers: &[Layer],
    n: usize,
    input: Block,
    is_whole: bool,
) -> Left {
    let mut nodes: Vec<Node> = Vec::new();
    let mut value = input;
    for layer in layers {
        let passes_on = !nodes.is_empty();
        let is_tracked = passes_on || layer.is_trained;
        if layer.does_nothing() || (!is_tracked && matches!(layer.kind, Kind::Relu)) {
            continue;
        }
        let output = layer.forward(heap, n);
        if is_tracked {
            let mut kept = vec![value];
            kept.extend(layer.kept_beside_input(heap, n));
            nodes.push(Node {
                layer,
                kept,
                passes_on,
            });
        } else {
            heap.free(value);
        }
        value = output;
    }
    let mut left = Left {
        gradients: Vec::new(),
        factors: Vec::new(),
    };
    let mut gradient = Some(value);
    while let Some(node) = nodes.pop() {
        let Some(output_gradient) = gradient.take() else {
            break;
        };
        gradient = node.backward(heap, n, output_gradient, is_whole, &mut left);
    }
    left
}

impl Layer {
    /// Whether this is a pooling to the size that its input already has.
    fn does_nothing(&self) -> bool {
        matches!(self.kind, Kind::AveragePool) && self.inputs == self.outputs
    }

    fn n_parameters(&self) -> usize {
        match self.kind {
            Kind::Conv {
                in_channels,
                out_channels,
            } => 9 * in_channels * out_channels,
            Kind::Linear => self.inputs * self.outputs,
            Kind::BatchNorm { .. }
            | Kind::Relu
            | Kind::MaxPool
            | Kind::AveragePool
            | Kind::Dropout => 0,
        }
    }

    /// Computes the output next to the input, with the temporary blocks that this takes.
    fn forward(&self, heap: &mut Heap, n: usize) -> Block {
        let (inputs, outputs) = (n * self.inputs, n * self.outputs);
        match self.kind {
            Kind::Conv {
                in_channels,
                out_channels,
            } => {
                let filters = filters(heap, in_channels, out_channels);
                // The input and the output with channels last.
                let moved = heap.floats(Part::Activations, inputs);
                let made = heap.floats(Part::Activations, outputs);
                grow_scratch(heap, outputs / out_channels, in_channels, out_channels);
                let output = heap.floats(Part::Activations, outputs);
                heap.free_all([made, moved, filters]);
                output
            }
            Kind::BatchNorm { is_training: true } => {
                // The deviations, their squares, and these transposed.
                let temporary = heap.many(Part::Activations, 3, inputs * size_of::<f32>());
                heap.free_all(temporary);
                heap.floats(Part::Activations, outputs)
            }
            Kind::BatchNorm { is_training: false } => {
                let temporary = heap.floats(Part::Activations, inputs);
                let output = heap.floats(Part::Activations, outputs);
                heap.free(temporary);
                output
            }
            Kind::Linear => {
                let parts = heap.many(Part::Activations, LINEAR_PARTS, outputs * size_of::<f32>());
                let output = heap.floats(Part::Activations, outputs);
                heap.free_all(parts);
                output
            }
            Kind::Relu | Kind::MaxPool | Kind::AveragePool | Kind::Dropout => {
                heap.floats(Part::Activations, outputs)
            }
        }
    }

    fn kept_beside_input(&self, heap: &mut Heap, n: usize) -> Option<Block> {
        let n_bytes = match self.kind {
            // The position of each maximum.
            Kind::MaxPool => n * self.outputs * size_of::<i64>(),
            Kind::Dropout => n * self.outputs * size_of::<f32>(),
            Kind::Conv { .. }
            | Kind::BatchNorm { .. }
            | Kind::Relu
            | Kind::AveragePool
            | Kind::Linear => return None,
        };
        Some(heap.alloc(Part::Activations, n_bytes))
    }
}

impl Node<'_> {
    /// Returns the gradient of the input, if it is needed.
    fn backward(
        self,
        heap: &mut Heap,
        n: usize,
        output_gradient: Block,
        is_whole: bool,
        left: &mut Left,
    ) -> Option<Block> {
        let Self {
            layer,
            kept,
            passes_on,
        } = self;
        let input_gradient = match layer.kind {
            Kind::Conv {
                in_channels,
                out_channels,
            } => {
                let n_pixels = n * layer.outputs / out_channels;
                let moved = heap.floats(Part::Activations, n * layer.outputs);
                let input_gradient = passes_on.then(|| {
                    let filters = filters(heap, out_channels, in_channels);
                    let made = heap.floats(Part::Activations, n * layer.inputs);
                    grow_scratch(heap, n_pixels, out_channels, in_channels);
                    heap.free(filters);
                    let gradient = heap.floats(Part::Activations, n * layer.inputs);
                    heap.free(made);
                    gradient
                });
                if layer.is_trained {
                    let input = heap.floats(Part::Activations, n * layer.inputs);
                    let (held, sums) = gradients::scratch(
                        n_pixels.div_ceil(TILE * TILE),
                        in_channels,
                        out_channels,
                    );
                    heap.grow(Buffer::Transformed, held);
                    heap.grow(Buffer::Products, sums);
                    left.gradients
                        .push(heap.floats(Part::Gradients, layer.n_parameters()));
                    heap.free(input);
                }
                heap.free(moved);
                input_gradient
            }
            Kind::Linear => {
                let input_gradient =
                    passes_on.then(|| heap.floats(Part::Activations, n * layer.inputs));
                if layer.is_trained && is_whole {
                    left.gradients
                        .push(heap.floats(Part::Gradients, layer.n_parameters()));
                } else if layer.is_trained {
                    left.factors.push(output_gradient);
                    left.factors.extend(kept);
                    return input_gradient;
                }
                input_gradient
            }
            Kind::BatchNorm { .. } => {
                // Normalised values, transposed gradients, their products, and the terms of the sum.
                let temporary =
                    heap.many(Part::Activations, 5, n * layer.inputs * size_of::<f32>());
                let gradient = heap.floats(Part::Activations, n * layer.inputs);
                heap.free_all(temporary);
                Some(gradient)
            }
            Kind::Relu | Kind::MaxPool | Kind::AveragePool | Kind::Dropout => {
                Some(heap.floats(Part::Activations, n * layer.inputs))
            }
        };
        heap.free(output_gradient);
        heap.free_all(kept);
        match input_gradient {
            Some(gradient) if !passes_on => {
                heap.free(gradient);
                None
            }
            gradient => gradient,
        }
    }
}

/// The weights of a convolution, transformed for its kernel.
pub(super) fn filters(heap: &mut Heap, in_channels: usize, out_channels: usize) -> Block {
    heap.floats(
        Part::Kernels,
        sizes::filter_values(in_channels, out_channels),
    )
}

/// Grows the scratch buffers for one call of a convolution.
pub(super) fn grow_scratch(
    heap: &mut Heap,
    n_pixels: usize,
    in_channels: usize,
    out_channels: usize,
) {
    let n_tiles = n_pixels.div_ceil(TILE * TILE);
    let scratch = sizes::shared_scratch(n_tiles, in_channels, out_channels);
    if let Some((transformed, products)) = scratch {
        heap.grow(Buffer::Transformed, transformed);
        heap.grow(Buffer::Products, products);
    }
}
