//! The frozen first layers of a network: from pixels to the input of the trained layers. On the CPU the features run as one
//! compiled program that keeps its own layout and fuses layers; on other devices Burn runs them.

use burn::tensor::{Device, Tensor, TensorData};

use super::{layout::POOLED_SIDE, vgg::Vgg};
use crate::{
    config::experiment::ImageSize,
    device,
    kernels::program::{Program, release_buffers},
};

pub(crate) struct Front {
    /// The model cut off after the last frozen layer, without gradients and with dropout off.
    layers: Vgg,
    n_layers: usize,
    /// The kernels for the first of these layers, and how many layers they replace; `None` on other devices.
    program: Option<(Program, usize)>,
    size: ImageSize,
    device: Device,
}

impl Front {
    /// `layers` is the model cut off after its `n_layers` frozen layers, without gradients.
    pub(crate) fn new(layers: Vgg, n_layers: usize, size: ImageSize, device: &Device) -> Self {
        let program = device::is_cpu(device).then(|| layers.program());
        Self {
            layers,
            n_layers,
            program,
            size,
            device: device.clone(),
        }
    }

    /// Maps pixels `[n, 3, height, width]` to the output of the last frozen layer, image by image.
    pub(crate) fn run(&self, pixels: Vec<f32>) -> Vec<f32> {
        let ImageSize { height, width } = self.size;
        let n = pixels.len() / (3 * height * width);
        let n_layers = self.n_layers;
        let (values, shape, n_done) = match &self.program {
            Some((program, n_done)) => {
                let done = program.forward(&pixels, n, height, width);
                (
                    done.values,
                    [n, done.channels, done.height, done.width],
                    *n_done,
                )
            }
            None => (pixels, [n, 3, height, width], 0),
        };
        // Pooling to the size that the values already have changes nothing.
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
