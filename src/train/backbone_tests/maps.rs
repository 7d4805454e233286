//! Class activation maps against PyTorch's autograd; `tests/fixtures/explain/make_maps.py` wrote the numbers.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use serde::Deserialize;

use super::generator;
use crate::{
    explain::{HeatMap, Method},
    model::{attribution::Attribution, families::Arch},
    test_support::test_device,
    train::tests::relative_error,
};

#[derive(Deserialize)]
struct Golden {
    side: usize,
    images: usize,
    networks: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    shape: [usize; 3],
    scales: generator::Scales,
    logits: Vec<Vec<f32>>,
    classes: Vec<Maps>,
}

/// The maps of one class for each image.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Maps {
    grad_cam: Vec<Vec<f32>>,
    layer_cam: Vec<Vec<f32>>,
}

/// Pearson's coefficient.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let mean = |values: &[f32]| {
        let total: f64 = values.iter().copied().map(f64::from).sum();
        total / values.len() as f64
    };
    let (mean_a, mean_b) = (mean(a), mean(b));
    let [mut both, mut of_a, mut of_b] = [0.0; 3];
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(*a) - mean_a, f64::from(*b) - mean_b);
        both += a * b;
        of_a += a * a;
        of_b += b * b;
    }
    both / (of_a * of_b).sqrt()
}

#[test]
fn maps_are_those_of_pytorch() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/explain/maps.json");
    let golden: Golden = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    for (name, case) in &golden.networks {
        let n_classes = case.logits[0].len();
        let paper = Arch::find(name).unwrap();
        let paper = Arc::new(paper.paper(n_classes, golden.side, golden.side));
        let state = generator::state(&paper, &case.scales);
        let attribution = Attribution::new(&paper, state, &test_device());
        let last = attribution.last_maps(generator::images(golden.images, golden.side));
        assert_eq!(last.shape, case.shape, "{name}");
        let error = relative_error(&last.logits.concat(), &case.logits.concat());
        assert!(error < 1e-4, "{name}: {error:e}");
        for (class, expected) in case.classes.iter().enumerate() {
            let classes = vec![class; golden.images];
            let gradients = attribution.gradients(&last.activations, &classes);
            for (method, expected) in [
                (Method::GradCam, &expected.grad_cam),
                (Method::LayerCam, &expected.layer_cam),
            ] {
                check(name, method, &last.activations, &gradients, expected);
            }
        }
    }
}

fn check(
    name: &str,
    method: Method,
    activations: &[f32],
    gradients: &[f32],
    expected: &[Vec<f32>],
) {
    let n_values = activations.len() / expected.len();
    let images = activations.chunks(n_values).zip(gradients.chunks(n_values));
    for ((activations, gradients), expected) in images.zip(expected) {
        let side = expected.len().isqrt();
        let map = HeatMap::new(method, activations, gradients, [side, side]);
        if expected.iter().all(|value| *value == 0.0) {
            assert!(map.values.iter().all(|value| *value < 1e-5), "{name}");
            continue;
        }
        let error = relative_error(&map.values, expected);
        assert!(error < 1e-3, "{name} {method:?}: {error:e}");
        let correlation = correlation(&map.values, expected);
        assert!(correlation > 0.999, "{name} {method:?}: {correlation}");
    }
}
