//! Optimizers and gradient clipping against PyTorch's numbers and Burn's own optimizers.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use burn::{
    module::{Module, Param},
    optim::{
        AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, RmsPropConfig, SgdConfig,
        decay::WeightDecayConfig, momentum::MomentumConfig,
    },
    tensor::{Tensor, TensorData},
};
use serde::Deserialize;

use super::{Optimizer, ParameterState, States, StepGradients, by_tensors};
use crate::{
    config::experiment::{OptimizerKind, OptimizerSettings},
    test_support::{experiment, test_device},
    train::{
        gradients::clip_grad_norm,
        tests::{relative_error, values},
    },
};

#[derive(Module, Debug)]
struct Matrix {
    w: Param<Tensor<2>>,
}

#[derive(Deserialize)]
struct OptimizerGolden {
    start: Vec<Vec<f32>>,
    target: Vec<Vec<f32>>,
    lr: f64,
    cases: BTreeMap<String, OptimizerCase>,
}

#[derive(Deserialize)]
struct OptimizerCase {
    kind: String,
    options: serde_json::Map<String, serde_json::Value>,
    end: Vec<f32>,
}

fn matrix(rows: &[Vec<f32>]) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(
        TensorData::new(rows.concat(), shape),
        &test_device().autodiff(),
    )
}

fn start(golden: &OptimizerGolden) -> Matrix {
    Matrix {
        w: Param::from_tensor(matrix(&golden.start)),
    }
}

/// Burn's optimizer with the same numbers, if it has one.
fn burn_s_own(settings: &OptimizerSettings) -> Option<ModuleOptimizer> {
    let decay = settings.weight_decay as f32;
    let l2 = (decay > 0.0).then(|| WeightDecayConfig::new(decay));
    Some(match settings.kind {
        OptimizerKind::Adam { betas, eps } => AdamConfig::new()
            .with_beta_1(betas[0] as f32)
            .with_beta_2(betas[1] as f32)
            .with_epsilon(eps as f32)
            .with_weight_decay(l2)
            .init(),
        OptimizerKind::AdamW { betas, eps } => AdamWConfig::new()
            .with_beta_1(betas[0] as f32)
            .with_beta_2(betas[1] as f32)
            .with_epsilon(eps as f32)
            .with_weight_decay(decay)
            .init(),
        OptimizerKind::Sgd {
            momentum,
            dampening,
            nesterov,
        } => {
            let config = MomentumConfig::new()
                .with_momentum(momentum)
                .with_dampening(dampening)
                .with_nesterov(nesterov);
            SgdConfig::new()
                .with_momentum((momentum > 0.0).then_some(config))
                .with_weight_decay(l2)
                .init()
        }
        OptimizerKind::RmsProp {
            alpha,
            eps,
            momentum,
            centered,
        } => RmsPropConfig::new()
            .with_alpha(alpha as f32)
            .with_epsilon(eps as f32)
            .with_momentum(momentum as f32)
            .with_centered(centered)
            .with_weight_decay(l2)
            .init(),
        OptimizerKind::Lion { .. } => return None,
    })
}

#[test]
fn optimizers_step_as_pytorch_s_do() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/optimizers/optimizers.json");
    let golden: OptimizerGolden = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    for (name, case) in &golden.cases {
        let mut text =
            "data.root = \".\"\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"all\"]\n"
                .to_owned();
        let _ = write!(
            text,
            "[optimizer]\nkind = \"{}\"\nlr = {}\n",
            case.kind, golden.lr
        );
        for (key, value) in &case.options {
            let _ = writeln!(text, "{key} = {value}");
        }
        let settings = &experiment(&text).phases[0].optimizer;
        let (mut ours, mut burns) = (start(&golden), start(&golden));
        let mut optimizer = Optimizer::new(settings, States::new());
        let mut reference = burn_s_own(settings);
        let (mut in_tensors, mut state) =
            (start(&golden).w.val().inner(), ParameterState::default());
        for _ in 0..6 {
            let gradients = |module: &Matrix| {
                let loss = (module.w.val() - matrix(&golden.target)).square().sum();
                GradientsParams::from_grads(loss.backward(), module)
            };
            let step = StepGradients {
                whole: gradients(&ours),
                factored: BTreeMap::new(),
            };
            (ours, _) = optimizer.step(ours, step, |_| golden.lr, None);
            if let Some(reference) = &mut reference {
                let step = gradients(&burns);
                burns = reference.step(golden.lr, burns, step);
            }
            let gradient = (in_tensors.clone() - matrix(&golden.target).inner()) * 2.0;
            state.step += 1;
            in_tensors = by_tensors(settings, &mut state, golden.lr, in_tensors, gradient);
        }
        let (ours, burns) = (values(ours.w.val()), values(burns.w.val()));
        let in_tensors = values(in_tensors);
        let results = ours.iter().zip(&case.end);
        for (actual, expected) in results.chain(in_tensors.iter().zip(&case.end)) {
            assert!(
                (actual - expected).abs() <= 1e-6,
                "{name}: {actual}, expected {expected}"
            );
        }
        // Burn rounds the bias corrections to f32 first.
        if reference.is_some() {
            let error = relative_error(&ours, &burns);
            assert!(error <= 6e-6, "{name}: {error:e} from Burn's own");
        }
    }
}

#[test]
fn clipping_scales_all_gradients_by_one_factor() {
    let module = Matrix {
        w: Param::from_tensor(matrix(&[vec![3.0, 0.0], vec![0.0, 4.0]])),
    };
    let gradients =
        || GradientsParams::from_grads(module.w.val().square().sum().backward(), &module);
    let mut clipped = gradients();
    let norm = clip_grad_norm(&module, &mut clipped, 1.0);
    assert!((norm - 10.0).abs() < 1e-5);
    let clipped = values(clipped.get::<2>(module.w.id).unwrap());
    for (actual, expected) in clipped.iter().zip([0.6, 0.0, 0.0, 0.8]) {
        assert!((actual - expected).abs() < 1e-5, "{clipped:?}");
    }
    let mut small = gradients();
    clip_grad_norm(&module, &mut small, 100.0);
    assert_eq!(
        values(small.get::<2>(module.w.id).unwrap()),
        [6.0, 0.0, 0.0, 8.0]
    );
}
