//! What tests share: where the shared data is, the device they run on, and experiments made from text.

use std::{env, path::PathBuf, sync::Arc};

use burn::{module::Module as _, tensor::Device};

use crate::{
    config::{
        self,
        experiment::{DeviceChoice, Experiment},
    },
    console::talk_line,
    device,
    model::{front::Front, network::Network, paper::Paper, state::StateDict},
};

/// A path below the folder of photos, weights and golden numbers, or `None` after saying that it is absent.
pub(crate) fn shared(test: &str, path: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data");
    let folder =
        env::var_os("RUNNER_TEST_SHARED_DATA").map_or_else(|| default.into(), PathBuf::from);
    let path = folder.join(path);
    if path.exists() {
        return Some(path);
    }
    talk_line(&format!("{test}: skipped: {} is absent", path.display()));
    None
}

/// The CPU, or what `RUNNER_TEST_DEVICE` names.
pub(crate) fn test_device() -> Device {
    let choice = match env::var("RUNNER_TEST_DEVICE").as_deref() {
        Ok("cuda") => DeviceChoice::Cuda(0),
        _ => DeviceChoice::Cpu,
    };
    device::open(choice).unwrap()
}

pub(crate) fn experiment(text: &str) -> Experiment {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.toml");
    std::fs::write(&path, text).unwrap();
    config::read(&path, &[], &[]).unwrap().experiment
}

/// What a network computes for normalized pixels `[n, 3, height, width]`, image by image.
pub(crate) fn logits(paper: &Arc<Paper>, state: StateDict, pixels: Vec<f32>) -> Vec<f32> {
    let device = test_device();
    let recording = device.clone().autodiff();
    let network = Network::from_state(Arc::clone(paper), 0.5, state, &recording).valid();
    Front::new(network, &device).run(pixels)
}
