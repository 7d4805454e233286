//! Which device computes: the only file that knows the backends compiled in.

use burn::tensor::Device;

use crate::{
    config::experiment::DeviceChoice,
    error::{Error, Result},
};

/// Makes tensors that Burn places by itself land on the CPU, which is there on every host. Must run before anything
/// else touches Burn or starts a thread.
pub(crate) fn prepare_process() {
    // Burn restores optimizer state on its default device first; with CUDA compiled in, that is a GPU, and a panic
    // on a host without a driver.
    #[cfg(feature = "cuda")]
    #[expect(unsafe_code, reason = "no other thread runs yet")]
    unsafe {
        std::env::set_var("BURN_DEVICE", "flex");
    }
}

/// Sets the number of computing threads; 0 is one per core. Only the first call of a process has an effect.
pub(crate) fn set_threads(n_threads: usize) {
    // Fails only if the pool exists already, which then serves as well.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build_global();
}

/// Opens the device, which must exist. Gradients are recorded on `.autodiff()` of it.
pub(crate) fn open(choice: DeviceChoice) -> Result<Device> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::flex()),
        DeviceChoice::Auto if n_cuda_devices() == 0 => Ok(Device::flex()),
        DeviceChoice::Auto => cuda(0),
        DeviceChoice::Cuda(index) => cuda(index),
    }
}

/// Whether tensors of this device, with gradients or without, lie in host memory.
pub(crate) fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// What decides about the last digits of a result: the same text means the same digits.
pub(crate) fn backend(choice: DeviceChoice) -> String {
    match name(choice).as_str() {
        "cpu" => format!("cpu {:?}", pulp::Arch::new()).to_lowercase(),
        _ => "cuda".to_owned(),
    }
}

/// The name to print and to record: `cpu`, `cuda:0`.
pub(crate) fn name(choice: DeviceChoice) -> String {
    match choice {
        DeviceChoice::Cpu => "cpu".to_owned(),
        DeviceChoice::Auto if n_cuda_devices() == 0 => "cpu".to_owned(),
        DeviceChoice::Auto => "cuda:0".to_owned(),
        DeviceChoice::Cuda(index) => format!("cuda:{index}"),
    }
}

#[cfg(feature = "cuda")]
fn n_cuda_devices() -> usize {
    Device::enumerate(burn::tensor::DeviceType::Cuda).len()
}

#[cfg(not(feature = "cuda"))]
fn n_cuda_devices() -> usize {
    0
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device> {
    let n_devices = n_cuda_devices();
    if index < n_devices {
        return Ok(Device::cuda(index));
    }
    Err(Error::device(format!(
        "device `cuda:{index}` is not there: {n_devices} CUDA devices were found\nhelp: `nvidia-smi -L` lists them; `--set device=cpu` goes without"
    )))
}

#[cfg(not(feature = "cuda"))]
fn cuda(index: usize) -> Result<Device> {
    Err(Error::device(format!(
        "device `cuda:{index}` is not in this build\nhelp: build with `cargo install --path . --features cuda`, or use `--set device=cpu`"
    )))
}
