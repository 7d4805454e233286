//! ONNX files in another runtime, and the structure of a file.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use super::{OnnxModel, runtime::Runtime};
use crate::{
    config::experiment::Normalize,
    model::{
        families::Arch,
        init,
        paper::{Builder, Kernel, MaxPool, PIXELS, Paper},
        state::StateDict,
    },
    test_support::logits,
};

const NORMALIZE: Normalize = Normalize {
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
};

/// Values between -1 and 1 that look random.
fn noise(n_values: usize, salt: usize) -> Vec<f32> {
    let noise = |at: usize| ((at * 7919 + salt * 104_729) % 2003) as f32 / 1001.0 - 1.0;
    (0..n_values).map(noise).collect()
}

/// Fresh parameters, and statistics of batch norm that are not those of an untrained network.
fn state(paper: &Paper) -> StateDict {
    let specs = paper.tensors.iter().enumerate();
    let tensors = specs.map(|(index, spec)| {
        let mut tensor = init::fresh(spec, 1).tensor();
        if spec.shape.len() == 1 {
            let values = noise(spec.n_elements(), index).into_iter();
            tensor.values = match spec.path.rsplit('.').next() {
                Some("running_var") => values.map(|value| 1.0 + 0.5 * value).collect(),
                Some("weight") => values.map(|value| 1.0 + 0.2 * value).collect(),
                _ => values.map(|value| 0.1 * value).collect(),
            };
        }
        (spec.path.clone(), tensor)
    });
    tensors.collect()
}

fn write(paper: &Paper, state: &StateDict, is_half: bool, path: &Path) {
    let metadata = BTreeMap::from([("arch", "a".to_owned()), ("classes", "[\"ä\"]".to_owned())]);
    let model = OnnxModel {
        name: "network",
        paper,
        state,
        normalize: NORMALIZE,
        metadata: &metadata,
        is_half,
    };
    let n_bytes = model.write(path).unwrap();
    assert_eq!(fs::metadata(path).unwrap().len(), n_bytes);
}

/// Compares files with 32 and 16 bits with the network they are made of, on two images of noise.
fn check(name: &str, paper: Paper) {
    let paper = Arc::new(paper);
    let state = state(&paper);
    let [channels, height, width] = paper.pixels;
    let shape = [2, channels, height, width];
    let noise = noise(shape.iter().product(), 5).into_iter();
    let pixels: Vec<f32> = noise.map(|value| value / 2.0 + 0.5).collect();
    let normalized = pixels.iter().enumerate().map(|(at, value)| {
        let channel = at / (height * width) % channels;
        (value - NORMALIZE.mean[channel]) / NORMALIZE.std[channel]
    });
    let expected = logits(&paper, state.clone(), normalized.collect());
    let largest = expected.iter().fold(0.0_f32, |most, it| most.max(it.abs()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for (is_half, most) in [(false, 1e-4), (true, 2e-2)] {
        write(&paper, &state, is_half, &path);
        let outputs = Runtime::load(&path).unwrap().run(&pixels, shape).unwrap();
        let found: Vec<f32> = outputs
            .iter()
            .flat_map(|[logits, _]| logits.clone())
            .collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        let pairs = found.iter().zip(&expected);
        let difference = pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(
            difference <= most * largest,
            "{name}: {difference} of {largest}"
        );
        for [_, probabilities] in outputs {
            let sum: f32 = probabilities.iter().sum();
            assert!((sum - 1.0).abs() < 1e-5, "{name}: {sum}");
        }
    }
}

#[test]
fn every_family_computes_the_same_in_another_runtime() {
    for (name, height, width) in [
        ("vgg16_slim", 45, 70),
        ("resnet18", 45, 70),
        ("resnext50_32x4d", 33, 40),
        ("squeezenet1_0", 45, 70),
        ("squeezenet1_1", 46, 71),
        ("alexnet", 70, 130),
    ] {
        check(name, Arch::find(name).unwrap().paper(3, height, width));
    }
}

/// A small network whose maps of `height` x `width` are averaged to `side` x `side`.
fn pooled(height: usize, width: usize, side: usize) -> Paper {
    let mut b = Builder::new(height, width);
    let x = b.conv_bias("conv", PIXELS, 4, Kernel::new(3));
    let x = b.adaptive_pool("avgpool", x, side);
    b.linear("fc", x, 3);
    b.finish()
}

#[test]
fn images_of_any_size_are_averaged_as_by_pytorch() {
    // The size itself, windows of one size, and windows of several sizes or of less than a pixel's width.
    for (height, width) in [(3, 3), (6, 9), (7, 5), (2, 8), (1, 1)] {
        check(&format!("{height} x {width}"), pooled(height, width, 3));
    }
    check("1 x 1 of 5 x 4", pooled(5, 4, 1));
}

#[test]
fn values_are_used_again_where_branches_part_and_join() {
    let mut b = Builder::new(9, 12);
    let x = b.conv("conv", PIXELS, 4, Kernel::new(5).stride(2));
    let x = b.batch_norm("bn", x);
    let y = b.relu("relu", x);
    let y = b.conv_bias("grouped", y, 4, Kernel::new(3).groups(2));
    let y = b.add(x, y);
    let y = b.relu("relu", y);
    let z = b.concat(&[x, y]);
    let z = b.dropout("dropout", z);
    let z = b.max_pool("pool", z, MaxPool::new(3, 2).ceil());
    b.adaptive_pool("avgpool", z, 1);
    check("branches", b.finish());
}

/// A field of a message: its number, and its bytes or its integer.
enum Field<'a> {
    Integer(u64),
    Bytes(&'a [u8]),
}

/// Reads the fields of a message.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let n_bytes = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let (number, rest) = bytes.split_at(n_bytes);
        *bytes = rest;
        let digits = number.iter().rev();
        digits.fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Integer(varint(&mut bytes)),
            kind @ (2 | 5) => {
                let n_bytes = if kind == 2 { varint(&mut bytes) } else { 4 };
                let (field, rest) = bytes.split_at(n_bytes as usize);
                bytes = rest;
                Field::Bytes(field)
            }
            kind => panic!("ONNX files have no wire type {kind}"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

/// The bytes of all fields with this number.
fn all(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    let found = fields(bytes).into_iter().filter(|(it, _)| *it == number);
    let found = found.map(|(_, field)| match field {
        Field::Bytes(bytes) => bytes,
        Field::Integer(value) => panic!("field {number} is the integer {value}"),
    });
    found.collect()
}

fn texts(bytes: &[u8], number: u64) -> Vec<&str> {
    let found = all(bytes, number).into_iter();
    found
        .map(|bytes| std::str::from_utf8(bytes).unwrap())
        .collect()
}

#[test]
fn a_file_has_named_nodes_and_tensors_and_the_same_bytes_each_time() {
    let paper = Arch::find("squeezenet1_1").unwrap().paper(3, 46, 71);
    let state = state(&paper);
    let folder = tempfile::tempdir().unwrap();
    let bytes = |name: &str, is_half| {
        let path = folder.path().join(name);
        write(&paper, &state, is_half, &path);
        fs::read(path).unwrap()
    };
    let file = bytes("a.onnx", false);
    assert!(file == bytes("b.onnx", false));
    let numbers: Vec<u64> = fields(&file).iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 2, 3, 7, 8, 14, 14]);
    assert!(matches!(fields(&file)[0].1, Field::Integer(8)));
    let entries = all(&file, 14).into_iter();
    let entries: Vec<[&str; 2]> = entries
        .map(|it| [texts(it, 1)[0], texts(it, 2)[0]])
        .collect();
    assert_eq!(entries, [["arch", "a"], ["classes", "[\"ä\"]"]]);

    let graph = all(&file, 7)[0];
    let tensors: Vec<&str> = all(graph, 5)
        .into_iter()
        .map(|it| texts(it, 8)[0])
        .collect();
    let parameters = paper.tensors.iter().map(|spec| spec.path.as_str());
    let constants = ["normalize.mean", "normalize.std"];
    assert_eq!(
        tensors,
        constants.into_iter().chain(parameters).collect::<Vec<_>>()
    );
    let nodes = all(graph, 1);
    let names: Vec<&str> = nodes.iter().map(|node| texts(node, 3)[0]).collect();
    assert_eq!(names[2..5], ["features.0", "features.1", "features.2"]);
    assert!(names.contains(&"features.3.concat") && !names.contains(&"classifier.0"));
    // Each node reads what was there before it.
    let mut known: Vec<&str> = tensors;
    known.push("image");
    for node in &nodes {
        for input in texts(node, 1) {
            assert!(known.contains(&input), "{input}");
        }
        known.extend(texts(node, 2));
    }
    assert_eq!(known[known.len() - 2..], ["logits", "probabilities"]);
    let n_values: usize = state.values().map(|tensor| tensor.values.len()).sum();
    let (whole, half) = (file.len(), bytes("half.onnx", true).len());
    assert!(whole > 4 * n_values && whole < 4 * n_values + 20_000);
    assert!(half > 2 * n_values && half < 2 * n_values + 30_000);
}

#[test]
fn a_tensor_that_sixteen_bits_cannot_hold_stays_as_it_is() {
    let mut b = Builder::new(4, 4);
    let x = b.adaptive_pool("avgpool", PIXELS, 1);
    b.linear("fc", x, 2);
    let paper = Arc::new(b.finish());
    let mut state = state(&paper);
    if let Some(weight) = state.get_mut("fc.weight") {
        weight.values[0] = 1e6;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    write(&paper, &state, true, &path);
    let pixels = vec![1.0; 3 * 16];
    let outputs = Runtime::load(&path)
        .unwrap()
        .run(&pixels, [1, 3, 4, 4])
        .unwrap();
    let [logits, _] = &outputs[0];
    assert!(logits[0] > 2e6 && logits[0].is_finite(), "{logits:?}");
}
