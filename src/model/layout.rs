//! Descriptions of the architectures: their layers, and the names and shapes of their parameters as in torchvision.
//! Pure; knows no tensors. `vgg.rs` builds what this file describes.

use serde::Serialize;

/// The architectures, by torchvision's names; `vgg16_slim` is VGG16 at one eighth of the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Arch {
    Vgg11,
    Vgg13,
    Vgg16,
    Vgg19,
    Vgg11Bn,
    Vgg13Bn,
    Vgg16Bn,
    Vgg19Bn,
    Vgg16Slim,
}

/// One entry of `features`, at its torchvision index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FeatureLayer {
    /// 3x3, stride 1, padding 1, with bias.
    Conv {
        in_channels: usize,
        out_channels: usize,
    },
    BatchNorm {
        channels: usize,
    },
    Relu,
    /// 2x2, stride 2.
    MaxPool,
}

/// One entry of `classifier`, at its torchvision index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassifierLayer {
    Linear {
        in_features: usize,
        out_features: usize,
    },
    Relu,
    Dropout,
}

/// One tensor of the state dict, under torchvision's name (`features.0.weight`), in PyTorch's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    pub(crate) path: String,
    pub(crate) shape: Vec<usize>,
    /// Running statistics are buffers: saved and loaded, never trained.
    pub(crate) is_buffer: bool,
}

impl TensorSpec {
    pub(crate) fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A shape as messages show it: `[512, 25088]`.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", sides.join(", "))
}

/// The side of the output of the adaptive average pooling between `features` and `classifier`.
pub(crate) const POOLED_SIDE: usize = 7;
/// The last layer, the one that is replaced for the user's classes.
pub(crate) const LAST_LAYER: &str = "classifier.6";

impl Arch {
    pub(crate) const ALL: [Self; 9] = [
        Self::Vgg11,
        Self::Vgg13,
        Self::Vgg16,
        Self::Vgg19,
        Self::Vgg11Bn,
        Self::Vgg13Bn,
        Self::Vgg16Bn,
        Self::Vgg19Bn,
        Self::Vgg16Slim,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Vgg11 => "vgg11",
            Self::Vgg13 => "vgg13",
            Self::Vgg16 => "vgg16",
            Self::Vgg19 => "vgg19",
            Self::Vgg11Bn => "vgg11_bn",
            Self::Vgg13Bn => "vgg13_bn",
            Self::Vgg16Bn => "vgg16_bn",
            Self::Vgg19Bn => "vgg19_bn",
            Self::Vgg16Slim => "vgg16_slim",
        }
    }

    pub(crate) fn has_batch_norm(self) -> bool {
        match self {
            Self::Vgg11Bn | Self::Vgg13Bn | Self::Vgg16Bn | Self::Vgg19Bn => true,
            Self::Vgg11 | Self::Vgg13 | Self::Vgg16 | Self::Vgg19 | Self::Vgg16Slim => false,
        }
    }

    /// Convolutions in each of the five blocks. Source: Simonyan & Zisserman 2014, table 1, columns A, B, D, E.
    fn block_depths(self) -> [usize; 5] {
        match self {
            Self::Vgg11 | Self::Vgg11Bn => [1, 1, 2, 2, 2],
            Self::Vgg13 | Self::Vgg13Bn => [2, 2, 2, 2, 2],
            Self::Vgg16 | Self::Vgg16Bn | Self::Vgg16Slim => [2, 2, 3, 3, 3],
            Self::Vgg19 | Self::Vgg19Bn => [2, 2, 4, 4, 4],
        }
    }

    fn block_widths(self) -> [usize; 5] {
        let full = [64, 128, 256, 512, 512];
        match self {
            Self::Vgg16Slim => full.map(|width| width / 8),
            _ => full,
        }
    }

    fn hidden_features(self) -> usize {
        match self {
            Self::Vgg16Slim => 512,
            _ => 4096,
        }
    }

    pub(crate) fn features(self) -> Vec<FeatureLayer> {
        let mut layers = Vec::new();
        let mut in_channels = 3;
        for (depth, width) in self.block_depths().into_iter().zip(self.block_widths()) {
            for _ in 0..depth {
                layers.push(FeatureLayer::Conv {
                    in_channels,
                    out_channels: width,
                });
                if self.has_batch_norm() {
                    layers.push(FeatureLayer::BatchNorm { channels: width });
                }
                layers.push(FeatureLayer::Relu);
                in_channels = width;
            }
            layers.push(FeatureLayer::MaxPool);
        }
        layers
    }

    pub(crate) fn classifier(self, n_classes: usize) -> [ClassifierLayer; 7] {
        let pooled = self.block_widths()[4] * POOLED_SIDE * POOLED_SIDE;
        let hidden = self.hidden_features();
        [
            ClassifierLayer::Linear {
                in_features: pooled,
                out_features: hidden,
            },
            ClassifierLayer::Relu,
            ClassifierLayer::Dropout,
            ClassifierLayer::Linear {
                in_features: hidden,
                out_features: hidden,
            },
            ClassifierLayer::Relu,
            ClassifierLayer::Dropout,
            ClassifierLayer::Linear {
                in_features: hidden,
                out_features: n_classes,
            },
        ]
    }

    /// The shape of one image after the first `n_layers` layers, counted through `features`, the pooling and `classifier`:
    /// `[channels, height, width]`, or `[values]` after the pooling.
    pub(crate) fn shape_after(self, n_layers: usize, height: usize, width: usize) -> Vec<usize> {
        let features = self.features();
        let mut shape = [3, height, width];
        for layer in features.iter().take(n_layers) {
            match layer {
                FeatureLayer::Conv { out_channels, .. } => shape[0] = *out_channels,
                FeatureLayer::MaxPool => shape = [shape[0], shape[1] / 2, shape[2] / 2],
                FeatureLayer::BatchNorm { .. } | FeatureLayer::Relu => {}
            }
        }
        let Some(n_classifier) = n_layers.checked_sub(features.len() + 1) else {
            return shape.to_vec();
        };
        let mut n_values = shape[0] * POOLED_SIDE * POOLED_SIDE;
        // The number of classes shapes the last layer only.
        for layer in self.classifier(1).into_iter().take(n_classifier) {
            if let ClassifierLayer::Linear { out_features, .. } = layer {
                n_values = out_features;
            }
        }
        vec![n_values]
    }

    /// The number of multiplications that the first `n_layers` layers take for one image.
    pub(crate) fn multiplications(self, n_layers: usize, height: usize, width: usize) -> usize {
        let features = self.features().into_iter().enumerate().take(n_layers);
        let convolutions = features.map(|(index, layer)| match layer {
            FeatureLayer::Conv { in_channels, .. } => {
                9 * in_channels
                    * self
                        .shape_after(index + 1, height, width)
                        .iter()
                        .product::<usize>()
            }
            FeatureLayer::BatchNorm { .. } | FeatureLayer::Relu | FeatureLayer::MaxPool => 0,
        });
        let n_classifier = n_layers.saturating_sub(self.features().len() + 1);
        let classifier = self.classifier(1).into_iter().take(n_classifier);
        let linear = classifier.map(|layer| match layer {
            ClassifierLayer::Linear {
                in_features,
                out_features,
            } => in_features * out_features,
            ClassifierLayer::Relu | ClassifierLayer::Dropout => 0,
        });
        convolutions.sum::<usize>() + linear.sum::<usize>()
    }

    /// The state dict, in order. The names do not depend on `n_classes`.
    pub(crate) fn tensors(self, n_classes: usize) -> Vec<TensorSpec> {
        let mut tensors = Vec::new();
        let mut push = |path: String, shape: Vec<usize>, is_buffer| {
            tensors.push(TensorSpec {
                path,
                shape,
                is_buffer,
            });
        };
        for (index, layer) in self.features().into_iter().enumerate() {
            match layer {
                FeatureLayer::Conv {
                    in_channels,
                    out_channels,
                } => {
                    push(
                        format!("features.{index}.weight"),
                        vec![out_channels, in_channels, 3, 3],
                        false,
                    );
                    push(format!("features.{index}.bias"), vec![out_channels], false);
                }
                FeatureLayer::BatchNorm { channels } => {
                    push(format!("features.{index}.weight"), vec![channels], false);
                    push(format!("features.{index}.bias"), vec![channels], false);
                    push(
                        format!("features.{index}.running_mean"),
                        vec![channels],
                        true,
                    );
                    push(
                        format!("features.{index}.running_var"),
                        vec![channels],
                        true,
                    );
                }
                FeatureLayer::Relu | FeatureLayer::MaxPool => {}
            }
        }
        for (index, layer) in self.classifier(n_classes).into_iter().enumerate() {
            match layer {
                ClassifierLayer::Linear {
                    in_features,
                    out_features,
                } => {
                    push(
                        format!("classifier.{index}.weight"),
                        vec![out_features, in_features],
                        false,
                    );
                    push(
                        format!("classifier.{index}.bias"),
                        vec![out_features],
                        false,
                    );
                }
                ClassifierLayer::Relu | ClassifierLayer::Dropout => {}
            }
        }
        tensors
    }

    /// The numbers of layers in `features` and in `classifier`, which bound the indices of selectors.
    pub(crate) fn n_layers(self) -> (usize, usize) {
        (self.features().len(), 7)
    }
}
