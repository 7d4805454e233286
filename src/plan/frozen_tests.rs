//! What the prefixes and parameters of the VGG family were before networks were described as lists of steps. Caches, checkpoints and
//! runs depend on these names and numbers, so this snapshot must never change.

use std::fmt::Write as _;

use crate::{disk::hash, plan::Plan, test_support::experiment};
use sha2::{Digest as _, Sha256};

const ARCHS: [&str; 9] = [
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "vgg11_bn",
    "vgg13_bn",
    "vgg16_bn",
    "vgg19_bn",
    "vgg16_slim",
];

const TRAINABLE: [&str; 10] = [
    "\"all\"",
    "\"classifier\"",
    "\"classifier[6]\"",
    "\"classifier[3:]\"",
    "\"classifier\", \"features[16:]\"",
    "\"features[10:17]\"",
    "\"features[-4:]\"",
    "\"features.0.bias\"",
    "\"classifier.3.weight\"",
    "\"features[5:8]\", \"classifier[-1]\"",
];

#[test]
fn prefixes_and_parameters_of_vgg_stay_as_they_were() {
    let mut text = String::new();
    for arch in ARCHS {
        for (keys, size) in [
            ("", "[224, 224]"),
            ("dropout = 0.0", "[200, 170]"),
            ("frozen_batch_norm = \"train\"", "[96, 64]"),
        ] {
            if keys.starts_with("frozen") && !arch.ends_with("_bn") {
                continue;
            }
            for trainable in TRAINABLE {
                let experiment = experiment(&format!(
                    "data.root = \".\"\ntransforms.resize = {size}\n[model]\narch = \"{arch}\"\n{keys}\nweights = \"none\"\n\
                     [[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [{trainable}]"
                ));
                let plan = Plan::new(&experiment, 2, 10);
                let planned = &plan.phases[0];
                let prefix = &planned.prefix;
                let size = experiment.transforms.size();
                let arch = experiment.model.arch;
                let tensors = plan.paper.tensors.iter();
                let held = tensors
                    .filter(|spec| prefix.holds(&spec.path, &plan.paper))
                    .count();
                writeln!(
                    text,
                    "{} {keys} {}x{} [{trainable}]: {} layers `{}` {:?}, {}; {} multiplications, {held} tensors; trains {} of {}",
                    arch.name(),
                    size.height,
                    size.width,
                    prefix.n_steps,
                    prefix.name,
                    prefix.shape,
                    prefix.end,
                    plan.paper.multiplications(prefix.n_steps),
                    planned.n_trainable_params,
                    plan.n_parameters,
                )
                .unwrap();
            }
        }
        let experiment = experiment(&format!(
            "data.root = \".\"\n[model]\narch = \"{arch}\"\nweights = \"none\"\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"all\"]"
        ));
        let mut hasher = Sha256::new();
        let specs = experiment.model.arch.tensors(3);
        for spec in &specs {
            hasher.update(format!(
                "{} {:?} {}\n",
                spec.path, spec.shape, spec.is_buffer
            ));
        }
        writeln!(
            text,
            "{arch}: {} tensors, {}",
            specs.len(),
            hash::hex(&hasher.finalize())
        )
        .unwrap();
    }
    insta::assert_snapshot!(text);
}
