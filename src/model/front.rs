//! The frozen first steps of a network: from pixels to the input of the trained layers. On the CPU they run as one
//! program of kernels that keeps its own layout and fuses layers; on other devices Burn runs them.

use burn::tensor::{Device, Tensor, TensorData};

use super::network::Network;
use crate::{
    device,
    kernels::program::{Program, release_buffers},
};

pub(crate) struct Front {
    /// The network cut off after its last frozen step, without gradients and with dropout off.
    network: Network,
    /// The kernels for the first of these steps, and how many steps they replace; `None` on other devices.
    program: Option<(Program, usize)>,
    device: Device,
}

impl Front {
    /// `network` is a network cut off after its frozen steps, without gradients.
    pub(crate) fn new(network: Network, device: &Device) -> Self {
        let program = device::is_cpu(device).then(|| network.program());
        Self {
            network,
            program,
            device: device.clone(),
        }
    }

    /// Maps pixels `[n, 3, height, width]` to the output of the last frozen step, image by image.
    pub(crate) fn run(&self, pixels: Vec<f32>) -> Vec<f32> {
        let [channels, height, width] = self.network.paper().pixels;
        let n = pixels.len() / (channels * height * width);
        let n_steps = self.network.n_steps();
        let (values, shape, n_done) = match &self.program {
            Some((program, n_done)) => {
                let done = program.forward(&pixels, n, height, width);
                (
                    done.values,
                    [n, done.channels, done.height, done.width],
                    *n_done,
                )
            }
            None => (pixels, [n, channels, height, width], 0),
        };
        if n_done == n_steps {
            return values;
        }
        let values = Tensor::<4>::from_data(TensorData::new(values, shape), &self.device);
        self.network
            .forward_steps(n_done..n_steps, values)
            .into_data()
            .try_into_vec()
            .expect("the network computes in f32")
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        release_buffers();
    }
}
