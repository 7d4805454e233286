//! The frozen first layers of a network: from pixels to what the others see. On the CPU the convolutions run as one chain
//! that keeps its own layout and fuses what follows them; elsewhere Burn runs them.

use burn::tensor::{Device, Tensor, TensorData};

use super::{layout::POOLED_SIDE, vgg::Vgg};
use crate::{
    config::experiment::ImageSize,
    device,
    kernels::chain::{Chain, release_buffers},
};

pub(crate) struct Front {
    /// Without gradients, dropout off, cut behind the last frozen layer.
    layers: Vgg,
    n_layers: usize,
    /// Does the first of them.
    chain: Option<(Chain, usize)>,
    size: ImageSize,
    device: Device,
}

impl Front {
    /// `layers` is the model cut off behind its `n_layers` frozen layers, without gradients.
    pub(crate) fn new(layers: Vgg, n_layers: usize, size: ImageSize, device: &Device) -> Self {
        let chain = device::is_cpu(device).then(|| layers.chain());
        Self {
            layers,
            n_layers,
            chain,
            size,
            device: device.clone(),
        }
    }

    /// `[n, 3, height, width]` to what the last layer gives, image by image.
    pub(crate) fn run(&self, pixels: Vec<f32>) -> Vec<f32> {
        let ImageSize { height, width } = self.size;
        let n = pixels.len() / (3 * height * width);
        let n_layers = self.n_layers;
        let (values, shape, n_done) = match &self.chain {
            Some((chain, n_done)) => {
                let done = chain.forward(&pixels, n, height, width);
                (
                    done.values,
                    [n, done.channels, done.height, done.width],
                    *n_done,
                )
            }
            None => (pixels, [n, 3, height, width], 0),
        };
        // Pooling to the size that is there already is none.
        let is_pooled = shape[2..] == [POOLED_SIDE, POOLED_SIDE];
        if n_done == n_layers || (is_pooled && n_done + 1 == n_layers) {
            return values;
        }
        let values = Tensor::<4>::from_data(TensorData::new(values, shape), &self.device);
        self.layers
            .forward_layers(n_done..n_layers, values)
            .into_data()
            .try_into_vec()
            .expect("the model computes in f32")
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        release_buffers();
    }
}
