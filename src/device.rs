//! Opens the compute device. The only file that knows which backends are compiled in.

use burn::tensor::Device;

#[cfg(feature = "cuda")]
use crate::text::table::counted;
use crate::{
    config::experiment::DeviceChoice,
    error::{Error, Result},
};

/// Makes the CPU Burn's default device, because it exists on every host. Must run before anything else touches Burn or starts a
/// thread.
pub(crate) fn prepare_process() {
    // Burn restores optimizer state on its default device first; with CUDA compiled in, that is a GPU, and a panic
    // on a host without a driver.
    #[cfg(feature = "cuda")]
    #[expect(unsafe_code, reason = "no other thread runs yet")]
    // SAFETY: `main` calls this before it starts any thread, so nothing reads the environment at the same time.
    unsafe {
        std::env::set_var("BURN_DEVICE", "flex");
    }
}

/// Sets the number of compute threads; 0 means one per core. Only the first call in a process has an effect.
pub(crate) fn set_threads(n_threads: usize) {
    // Fails only if the thread pool exists already, which is then used as it is.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build_global();
}

/// Opens the device; fails if it does not exist. Gradients are recorded on its `.autodiff()`.
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

/// Identifies the code that computes results: the same text means the same results to the last digit.
pub(crate) fn backend(choice: DeviceChoice) -> String {
    match name(choice).as_str() {
        "cpu" => format!("cpu {:?}", pulp::Arch::new()).to_lowercase(),
        _ => "cuda".to_owned(),
    }
}

/// The name of the device to print and to record: `cpu`, `cuda:0`.
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
        "device `cuda:{index}` does not exist: found {}",
        counted(n_devices, "CUDA device")
    ))
    .help("run `nvidia-smi -L` to list the devices, or use `--set device=cpu`"))
}

#[cfg(not(feature = "cuda"))]
fn cuda(index: usize) -> Result<Device> {
    Err(Error::device(format!(
        "device `cuda:{index}` is not available: this build does not support CUDA"
    ))
    .help("build with `cargo install --path . --features cuda`, or use `--set device=cpu`"))
}
