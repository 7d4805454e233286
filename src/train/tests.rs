//! Forward, losses step by step, freezing against PyTorch's numbers. The golden files of the shared
//! data come from torch and torchvision; `make gpu-check` runs these tests on a GPU.

use std::{fs, sync::Arc, time::Instant};

use burn::{
    module::Module as _,
    tensor::{Tensor, TensorData},
};
use safetensors::SafeTensors;

use super::objective::Batch;
use crate::{
    console::talk_line,
    data::loader::HostBatch,
    model::{
        families::Arch,
        front::Front,
        network::Network,
        paper::Paper,
        state::{self, StateDict},
    },
    plan::Plan,
    test_support::{experiment, shared, test_device},
    train::{learner::Learner, optimizer::States},
};

fn vgg16() -> Arc<Paper> {
    Arc::new(Arch::find("vgg16").unwrap().paper(2, 224, 224))
}

fn floats(state: &StateDict, name: &str) -> Vec<f32> {
    state[name].values.clone()
}

fn tensor<const D: usize>(state: &StateDict, name: &str) -> Tensor<D> {
    let tensor = &state[name];
    Tensor::from_data(
        TensorData::new(tensor.values.clone(), tensor.shape.clone()),
        &test_device(),
    )
}

/// Norm of the difference over the norm.
pub(super) fn relative_error(actual: &[f32], expected: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values
            .map(|value| f64::from(value).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    let difference = norm(&mut actual.iter().zip(expected).map(|(a, b)| a - b));
    difference / norm(&mut expected.iter().copied())
}

pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

#[test]
fn vgg16_features_equal_torchvision() {
    let name = "vgg16_features_equal_torchvision";
    let (Some(golden), Some(weights)) = (
        shared(name, "golden/features.safetensors"),
        shared(name, "weights/vgg16_imagenet_features.pth"),
    ) else {
        return;
    };
    let text = format!(
        "data.root = \".\"\n[model]\nfresh = [\"classifier\"]\nweights = {weights:?}\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"all\"]"
    );
    let experiment = experiment(&text);
    let loaded = crate::model::weights::load(&experiment.model, 2, 1).unwrap();
    let model = Network::from_state(vgg16(), 0.5, loaded.state, &test_device().autodiff()).valid();
    let golden = state::read(&golden).unwrap();
    let expected = floats(&golden, "features_30");
    let layer_by_layer = values(model.forward_steps(0..31, tensor(&golden, "input")));
    let front = Front::new(model.front(31), &test_device());
    let as_program = front.run(floats(&golden, "input"));
    for (features, how) in [
        (layer_by_layer, "layer by layer"),
        (as_program, "as a program"),
    ] {
        let error = relative_error(&features, &expected);
        talk_line(&format!("{name}: {how}: relative error {error:.1e}"));
        assert!(error <= 5e-5, "{how}: relative error {error:e}");
    }
}

/// The head phase and the fine-tune phase of the golden trajectory, dropout off.
const TRAJECTORY: &str = r#"
data.root = "."
[model]
arch = "vgg16_slim"
weights = "none"
dropout = 0.0
[[phase]]
name = "head"
epochs = 12
trainable = ["classifier"]
[[phase]]
name = "features24"
epochs = 12
trainable = ["classifier", "features[24:]"]
lr = 1e-5
"#;

#[derive(Default)]
struct Trajectory {
    losses: Vec<Vec<f64>>,
    states: Vec<StateDict>,
    logits: Vec<f32>,
}

/// Trains on one batch, one step an epoch, `n_parts` accumulated batches a step.
fn train(
    config: &str,
    start: StateDict,
    pixels: &[f32],
    targets: &[usize],
    n_parts: usize,
) -> Trajectory {
    let experiment = experiment(&format!("{config}[training]\naccumulate = {n_parts}\n"));
    let plan = Plan::new(&experiment, 2, targets.len());
    let device = test_device().autodiff();
    let mut trajectory = Trajectory {
        states: vec![start.clone()],
        ..Trajectory::default()
    };
    let mut model = Network::from_state(
        Arc::new(experiment.paper(2)),
        experiment.model.dropout,
        start,
        &device,
    );
    let image_len = pixels.len() / targets.len();
    for planned in &plan.phases {
        let mut learner = Learner::new(&experiment, planned, model, 2, States::new());
        let mut losses = Vec::new();
        for step in 0..planned.phase.epochs.get() {
            let mut loss = 0.0;
            // Unequal parts: the step's mean must not depend on how it is cut.
            let cuts: Vec<usize> = (0..=n_parts)
                .map(|part| targets.len() * part * part / (n_parts * n_parts))
                .collect();
            for cut in cuts.windows(2) {
                let host = HostBatch {
                    values: pixels[cut[0] * image_len..cut[1] * image_len].to_vec(),
                    targets: targets[cut[0]..cut[1]].to_vec(),
                    items: Vec::new(),
                    missing: Vec::new(),
                };
                let batch = Batch::new(host, (0, &[3, 224, 224]), 0.0, targets.len(), &device);
                let result = learner.accumulate(batch, 0, &device);
                loss += result.losses.iter().copied().map(f64::from).sum::<f64>()
                    / targets.len() as f64;
            }
            losses.push(loss);
            let gradients = learner.take_gradients();
            learner = learner.step(gradients, planned, step, None);
        }
        trajectory.losses.push(losses);
        trajectory.states.push(learner.model().state());
        model = learner.into_parts().0;
    }
    let shape = [targets.len(), 3, 224, 224];
    let all = Tensor::from_data(TensorData::new(pixels.to_vec(), shape), &test_device());
    trajectory.logits = values(model.valid().forward(all));
    trajectory
}

/// Start, normalised pixels, targets and the golden numbers; `None` where the shared data is absent.
fn golden_trajectory(test: &str) -> Option<(StateDict, Vec<f32>, Vec<usize>, StateDict)> {
    let golden_path = shared(test, "golden/slim_trajectory.safetensors")?;
    let start = state::read(&shared(test, "golden/slim_vgg16.safetensors")?).unwrap();
    let bytes = fs::read(&golden_path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (mean, std) = ([0.485_f32, 0.456, 0.406], [0.229_f32, 0.224, 0.225]);
    let raw = file.tensor("pixels").unwrap();
    let normalise = |(index, value): (usize, &u8)| {
        let channel = index / (224 * 224) % 3;
        (f32::from(*value) / 255.0 - mean[channel]) / std[channel]
    };
    let pixels = raw.data().iter().enumerate().map(normalise).collect();
    let targets = file.tensor("targets").unwrap();
    let targets = targets
        .data()
        .as_chunks()
        .0
        .iter()
        .map(|chunk| i64::from_le_bytes(*chunk) as usize)
        .collect();
    Some((start, pixels, targets, state::read(&golden_path).unwrap()))
}

#[test]
fn both_phases_follow_pytorch_step_by_step() {
    let Some((start, pixels, targets, golden)) =
        golden_trajectory("both_phases_follow_pytorch_step_by_step")
    else {
        return;
    };
    let trajectory = train(TRAJECTORY, start, &pixels, &targets, 1);
    for (losses, name) in trajectory
        .losses
        .iter()
        .zip(["head_losses", "finetune_losses"])
    {
        for (step, (actual, expected)) in losses.iter().zip(floats(&golden, name)).enumerate() {
            assert!(
                (actual - f64::from(expected)).abs() <= 1e-4,
                "{name}[{step}]: {actual}, expected {expected}"
            );
        }
    }
    let worst = trajectory
        .logits
        .iter()
        .zip(floats(&golden, "final_logits"))
        .map(|(a, b)| (a - b).abs());
    assert!(worst.fold(0.0, f32::max) <= 1e-3);
    check_frozen(&trajectory);
}

/// Frozen tensors are the same bytes after a phase, trainable ones have changed.
fn check_frozen(trajectory: &Trajectory) {
    let trains_in_features24 = |path: &str| {
        let index = path
            .strip_prefix("features.")
            .and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        index.is_none_or(|index| index >= 24)
    };
    let (start, head, end) = (
        &trajectory.states[0],
        &trajectory.states[1],
        &trajectory.states[2],
    );
    for path in start.keys() {
        let is_classifier = path.starts_with("classifier.");
        assert_eq!(
            bits(start, path) != bits(head, path),
            is_classifier,
            "head: {path}"
        );
        assert_eq!(
            bits(head, path) != bits(end, path),
            trains_in_features24(path),
            "features24: {path}"
        );
    }
}

fn bits(state: &StateDict, path: &str) -> Vec<u32> {
    state[path]
        .values
        .iter()
        .map(|value| value.to_bits())
        .collect()
}

#[test]
fn accumulated_batches_equal_one_large_batch() {
    let Some((start, pixels, targets, _)) =
        golden_trajectory("accumulated_batches_equal_one_large_batch")
    else {
        return;
    };
    let whole = train(TRAJECTORY, start.clone(), &pixels, &targets, 1);
    let parts = train(TRAJECTORY, start, &pixels, &targets, 3);
    let worst = whole
        .logits
        .iter()
        .zip(&parts.logits)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst <= 1e-3, "{worst}");
}

/// A classifier step by itself, to hold beside the step times of a run.
#[test]
#[ignore = "a measurement: run it alone, with --release"]
fn milliseconds_of_a_classifier_step() {
    let text = "data.root = \".\"\n[model]\nweights = \"none\"\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"classifier\"]";
    let experiment = experiment(text);
    let state = crate::model::weights::load(&experiment.model, 2, 1)
        .unwrap()
        .state;
    let device = test_device().autodiff();
    let model = Network::from_state(vgg16(), 0.5, state, &device);
    let planned = &Plan::new(&experiment, 2, 16).phases[0];
    let mut learner = Learner::new(&experiment, planned, model, 2, States::new());
    let n_values: usize = planned.prefix.shape.iter().product();
    let (mut backward, mut update) = (Vec::new(), Vec::new());
    for step in 0..12 {
        let host = HostBatch {
            values: (0..16 * n_values).map(|i| (i % 7) as f32 * 0.1).collect(),
            targets: (0..16).map(|image| image % 2).collect(),
            items: Vec::new(),
            missing: Vec::new(),
        };
        let entry = (planned.prefix.n_steps, planned.prefix.shape.as_slice());
        let batch = Batch::new(host, entry, 0.0, 16, &device);
        let started = Instant::now();
        learner.accumulate(batch, step, &device);
        backward.push(started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        let gradients = learner.take_gradients();
        learner = learner.step(gradients, planned, 0, None);
        update.push(started.elapsed().as_secs_f64() * 1e3);
    }
    for (name, mut times) in [("forward and backward", backward), ("update", update)] {
        times.sort_by(f64::total_cmp);
        talk_line(&format!(
            "{name}: median {:.0} ms, least {:.0} ms",
            times[6], times[0]
        ));
    }
}
