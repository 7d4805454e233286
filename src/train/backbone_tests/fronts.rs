//! Frozen layers of whole networks: that an image's bits do not depend on its batch, and how long they take.

use std::{env, sync::Arc, time::Instant};

use burn::module::Module as _;

use super::generator;
use crate::{
    console::talk_line,
    model::{families::Arch, front::Front, network::Network},
    test_support::test_device,
};

/// The images of a batch, each with the same bits in a batch of any size and with any number of threads.
pub(super) fn check_bits(arch: &str, side: usize) {
    let arch = Arch::find(arch).unwrap();
    let paper = Arc::new(arch.paper(2, side, side));
    let state = generator::state(&paper, &generator::Scales::new());
    let device = test_device();
    let network = Network::from_state(Arc::clone(&paper), 0.0, state, &device.autodiff());
    let front = Front::new(network.valid().front(paper.backbone()), &test_device());
    let pixels = generator::images(16, side);
    let n_values = pixels.len() / 16;
    let run = |n_images: usize, n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
        let pool = pool.build().unwrap();
        let chunks = pixels.chunks(n_images * n_values);
        let values = chunks.flat_map(|chunk| pool.install(|| front.run(chunk.to_vec())));
        values.map(f32::to_bits).collect::<Vec<u32>>()
    };
    let expected = run(16, 2);
    for (n_images, n_threads) in [(1, 1), (1, 2), (3, 1), (3, 2), (16, 1)] {
        let same = run(n_images, n_threads) == expected;
        assert!(
            same,
            "{}: {n_images} images, {n_threads} threads",
            arch.name()
        );
    }
}

/// Milliseconds an image of the frozen layers in front of the head, in batches of 16, for the architectures in `RUNNER_BENCH_ARCHS`.
#[test]
#[ignore = "a measurement: `make bench-fronts` runs it beside PyTorch and ONNX Runtime"]
fn milliseconds_of_fronts() {
    let archs = env::var("RUNNER_BENCH_ARCHS").unwrap_or_else(|_| "resnet18".to_owned());
    let pixels = generator::images(16, 224);
    for arch in archs.split(',') {
        let arch = Arch::find(arch).unwrap();
        let paper = Arc::new(arch.paper(2, 224, 224));
        let state = generator::state(&paper, &generator::Scales::new());
        let device = test_device().autodiff();
        let network = Network::from_state(Arc::clone(&paper), 0.0, state, &device).valid();
        let front = Front::new(network.front(paper.backbone()), &test_device());
        front.run(pixels.clone());
        let mut times: Vec<f64> = Vec::new();
        for _ in 0..7 {
            let started = Instant::now();
            front.run(pixels.clone());
            times.push(started.elapsed().as_secs_f64() * 1e3 / 16.0);
        }
        times.sort_by(f64::total_cmp);
        talk_line(&format!("front {} {:.3}", arch.name(), times[3]));
    }
}
