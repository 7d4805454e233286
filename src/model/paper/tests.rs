//! Every architecture against what torchvision says of it.

use std::collections::HashSet;

use super::{Head, Paper};
use crate::model::families::Arch;

fn paper(arch: &str) -> Paper {
    Arch::find(arch).unwrap().paper(1000, 224, 224)
}

/// Floating-point entries of the state dict, entries that are learnt, their values, and millions of multiplications at 224 x 224.
/// Source: torchvision 0.29.2.
const FACTS: [(&str, usize, usize, usize, f64); 21] = [
    ("vgg11", 22, 22, 132_863_336, 7609.1),
    ("vgg13", 26, 26, 133_047_848, 11308.5),
    ("vgg16", 32, 32, 138_357_544, 15470.3),
    ("vgg19", 38, 38, 143_667_240, 19632.1),
    ("vgg11_bn", 54, 38, 132_868_840, 7609.1),
    ("vgg13_bn", 66, 46, 133_053_736, 11308.5),
    ("vgg16_bn", 84, 58, 138_365_992, 15470.3),
    ("vgg19_bn", 102, 70, 143_678_248, 19632.1),
    ("resnet18", 102, 62, 11_689_512, 1814.1),
    ("resnet34", 182, 110, 21_797_672, 3663.8),
    ("resnet50", 267, 161, 25_557_032, 4089.2),
    ("resnet101", 522, 314, 44_549_160, 7801.4),
    ("resnet152", 777, 467, 60_192_808, 11513.6),
    ("resnext50_32x4d", 267, 161, 25_028_904, 4230.5),
    ("resnext101_32x8d", 522, 314, 88_791_336, 16414.0),
    ("resnext101_64x4d", 522, 314, 83_455_272, 15460.3),
    ("wide_resnet50_2", 267, 161, 68_883_240, 11398.0),
    ("wide_resnet101_2", 522, 314, 126_886_696, 22753.1),
    ("squeezenet1_0", 52, 52, 1_248_424, 818.9),
    ("squeezenet1_1", 52, 52, 1_235_496, 349.2),
    ("alexnet", 16, 16, 61_100_840, 714.2),
];

#[test]
fn every_architecture_has_torchvision_s_parameters_and_multiplications() {
    for (arch, n_tensors, n_learnt, n_values, millions) in FACTS {
        let paper = paper(arch);
        assert_eq!(paper.tensors.len(), n_tensors, "{arch}");
        assert_eq!(paper.parameters().count(), n_learnt, "{arch}");
        let values = paper.parameters().map(super::TensorSpec::n_elements);
        assert_eq!(values.sum::<usize>(), n_values, "{arch}");
        let counted = paper.multiplications(paper.steps.len()) as f64 / 1e6;
        assert!((counted - millions).abs() < 0.06, "{arch}: {counted}");
    }
    let known: HashSet<&str> = FACTS.iter().map(|facts| facts.0).collect();
    for arch in Arch::all() {
        assert!(
            known.contains(arch.name()) || arch.name() == "vgg16_slim",
            "{}",
            arch.name()
        );
    }
}

#[test]
fn heads_are_the_layers_that_pytorch_s_users_replace() {
    for (arch, path, in_features) in [
        ("vgg16", "classifier.6", 4096),
        ("resnet18", "fc", 512),
        ("resnet50", "fc", 2048),
        ("squeezenet1_1", "classifier.1", 512),
    ] {
        let path = path.to_owned();
        assert_eq!(paper(arch).head(), Head { path, in_features }, "{arch}");
    }
}

#[test]
fn stages_have_torchvision_s_shapes_and_multiplications() {
    let check = |arch: &str, module: &str, shape: &[usize], millions: f64| {
        let paper = paper(arch);
        let mut steps = paper.steps.iter();
        let last = steps.rposition(|step| super::is_in(&step.module, module));
        let n_steps = last.unwrap() + 1;
        assert_eq!(paper.shape(n_steps), shape, "{arch} {module}");
        let counted = paper.multiplications(n_steps) as f64 / 1e6;
        assert!(
            (counted - millions).abs() < 0.06,
            "{arch} {module}: {counted}"
        );
    };
    check("resnet18", "maxpool", &[64, 56, 56], 118.0);
    check("resnet18", "layer2", &[128, 28, 28], 991.5);
    check("resnet50", "layer3", &[1024, 14, 14], 3277.9);
    check("resnet50", "layer4", &[2048, 7, 7], 4087.1);
    check("resnet50", "avgpool", &[2048], 4087.1);
    check("resnext50_32x4d", "layer4", &[2048, 7, 7], 4228.4);
    check("squeezenet1_0", "features.2", &[96, 54, 54], 167.7);
    check("squeezenet1_0", "features.12", &[512, 13, 13], 732.4);
    check("squeezenet1_1", "features.5", &[128, 27, 27], 92.5);
    check("squeezenet1_1", "classifier", &[1000], 349.2);
}

#[test]
fn windows_that_are_only_partly_inside_count_with_ceil_mode() {
    // At 200 pixels the windows do not fill the maps: 97, 48.5, 24.
    let arch = Arch::find("squeezenet1_0").unwrap();
    let paper = arch.paper(2, 200, 200);
    let side = |module: &str| {
        let mut steps = paper.steps.iter();
        steps.find(|step| step.module == module).unwrap().shape[1]
    };
    let sides = ["features.0", "features.2", "features.6", "features.11"].map(side);
    assert_eq!(sides, [97, 48, 24, 12]);
}

#[test]
fn cuts_are_where_one_value_is_all_that_goes_on() {
    for (arch, n_cuts, n_steps) in [
        ("vgg16", 40, 39),
        ("resnet18", 23, 68),
        ("resnet50", 39, 174),
    ] {
        let paper = paper(arch);
        assert_eq!(paper.steps.len(), n_steps, "{arch}");
        let cuts = (0..=n_steps).filter(|n_steps| paper.is_cut(*n_steps));
        assert_eq!(cuts.count(), n_cuts, "{arch}");
    }
}

#[test]
fn no_two_cuts_of_a_network_have_the_same_name() {
    for arch in Arch::all() {
        let paper = arch.paper(2, 224, 224);
        let mut names = HashSet::new();
        for n_steps in (0..=paper.steps.len()).filter(|n_steps| paper.is_cut(*n_steps)) {
            let name = paper.prefix_name(n_steps);
            assert!(names.insert(name.clone()), "{}: {name}", arch.name());
        }
    }
}

#[test]
fn cuts_are_named_in_pytorch_s_words() {
    let check = |arch: &str, module: &str, expected: &str| {
        let paper = paper(arch);
        let mut steps = paper.steps.iter();
        let first = steps.position(|step| super::is_in(&step.module, module));
        let n_steps = paper.cut_before(first.unwrap());
        assert_eq!(paper.prefix_name(n_steps), expected, "{arch} {module}");
    };
    check("vgg16", "features", "features[:0]");
    check("resnet50", "conv1", "nothing");
    check("resnet50", "bn1", "conv1");
    check("resnet50", "layer1", "conv1 to maxpool");
    check("resnet50", "layer4", "conv1 to layer3");
    check("resnet50", "layer4.0.downsample", "conv1 to layer3");
    check("resnet50", "layer4.2", "conv1 to layer4[:2]");
    check("resnet50", "fc", "conv1 to pooling");
    check(
        "squeezenet1_1",
        "features.4.expand3x3",
        "features up to features.4.squeeze_activation",
    );
    check("squeezenet1_1", "classifier", "features");
    check(
        "squeezenet1_1",
        "classifier.1",
        "features and classifier[:1]",
    );
}

#[test]
fn every_paper_reads_only_what_is_before() {
    for arch in Arch::all() {
        let paper = arch.names();
        for (index, step) in paper.steps.iter().enumerate() {
            assert!(step.inputs.iter().all(|value| *value <= index));
        }
        let readers = paper.last_readers();
        let unread = readers[..paper.steps.len()]
            .iter()
            .position(Option::is_none);
        assert_eq!(unread, None, "{}: a value is never read", arch.name());
        let paths: HashSet<&str> = paper
            .tensors
            .iter()
            .map(|spec| spec.path.as_str())
            .collect();
        assert_eq!(paths.len(), paper.tensors.len(), "{}", arch.name());
    }
}
