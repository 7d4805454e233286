//! What a class activation map is made of: the last map of a network before its final pooling, and the gradient of a logit with
//! respect to it.

use std::sync::Arc;

use burn::{
    module::Module as _,
    tensor::{Device, Int, Tensor, TensorData},
};

use super::{front::Front, network::Network, paper::Paper, state::StateDict};

/// A network cut in two at its last map.
pub(crate) struct Attribution {
    front: Front,
    /// The whole network on a device that records gradients, with dropout off and running statistics in batch norms.
    network: Network,
    n_front_steps: usize,
    device: Device,
}

/// The last maps of a batch, and what the network makes of them.
pub(crate) struct LastMaps {
    /// `[n, channels, height, width]`.
    pub(crate) activations: Vec<f32>,
    /// `[channels, height, width]`.
    pub(crate) shape: [usize; 3],
    /// The logits of each image.
    pub(crate) logits: Vec<Vec<f32>>,
}

impl Attribution {
    /// `state` is complete; `device` does not record gradients.
    pub(crate) fn new(paper: &Arc<Paper>, state: StateDict, device: &Device) -> Self {
        let recording = device.clone().autodiff();
        let network = Network::from_state(Arc::clone(paper), 0.0, state, &recording);
        let network = network.with_trainable(&[], false);
        let n_front_steps = paper.last_map();
        Self {
            front: Front::new(network.valid().front(n_front_steps), device),
            network,
            n_front_steps,
            device: recording,
        }
    }

    /// Pixels `[n, 3, height, width]`.
    pub(crate) fn last_maps(&self, pixels: Vec<f32>) -> LastMaps {
        let shape = self.shape();
        let activations = self.front.run(pixels);
        let input = self.tensor(activations.clone());
        let logits = values(self.network.forward_from(self.n_front_steps, input));
        let n_images = activations.len() / shape.iter().product::<usize>();
        let n_classes = logits.len() / n_images.max(1);
        LastMaps {
            activations,
            shape,
            logits: logits
                .chunks(n_classes.max(1))
                .map(<[f32]>::to_vec)
                .collect(),
        }
    }

    /// The gradients of the logit of one class of each image with respect to `activations`, in the same order.
    pub(crate) fn gradients(&self, activations: &[f32], classes: &[usize]) -> Vec<f32> {
        let input = self.tensor(activations.to_vec()).require_grad();
        let logits = self.network.forward_from(self.n_front_steps, input.clone());
        let numbers = classes.iter().map(|class| *class as i32).collect();
        let data = TensorData::new(numbers, [classes.len(), 1]);
        let chosen = logits.gather(1, Tensor::<2, Int>::from_data(data, &self.device));
        // No image affects the logits of another one, so the gradient of the sum is that of each logit.
        let gradients = chosen.sum().backward();
        let gradient = input.grad(&gradients);
        values(gradient.expect("the logits depend on the last map"))
    }

    fn shape(&self) -> [usize; 3] {
        let shape = self.network.paper().shape(self.n_front_steps);
        <[usize; 3]>::try_from(shape).expect("the last map has channels, rows and columns")
    }

    fn tensor(&self, activations: Vec<f32>) -> Tensor<4> {
        let [channels, height, width] = self.shape();
        let n_images = activations.len() / (channels * height * width);
        let shape = [n_images, channels, height, width];
        Tensor::from_data(TensorData::new(activations, shape), &self.device)
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data().try_into_vec();
    data.expect("the network computes in f32")
}
