//! Preprocessing against torchvision's numbers, where the shared data is there.

use std::{fs, path::Path, time::Instant};

use safetensors::SafeTensors;

use super::{
    augment::View,
    decode::{DecodeOptions, decode_rgb},
    index::scan,
    test_data,
    transform::preprocess,
};
use crate::{
    config::experiment::{Data, ImageSize, Normalize, Transforms},
    console::talk_line,
    test_support::shared,
};

fn data(root: &Path) -> Data {
    Data {
        max_pixels: 100_000_000,
        max_rejected_fraction: 0.0,
        ..test_data(root)
    }
}

fn imagenet() -> Transforms {
    Transforms {
        resize: ImageSize {
            height: 224,
            width: 224,
        },
        normalize: Normalize {
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        },
    }
}

#[test]
fn preprocessing_equals_torchvision() {
    let Some(shared) = shared("preprocessing_equals_torchvision", "") else {
        return;
    };
    let bytes = fs::read(shared.join("golden/preprocess.safetensors")).expect("it can be read");
    let golden = SafeTensors::deserialize(&bytes).expect("it is a safetensors file");
    let data = data(&shared.join("pets"));
    for (file, expected) in golden.tensors() {
        let mut out = vec![0.0_f32; 3 * 224 * 224];
        let bytes = fs::read(data.root.join(&file)).expect("it is there");
        let image = decode_rgb(&bytes, &DecodeOptions::of(&data)).expect("it decodes");
        preprocess(&image, &imagenet(), View::Whole, &mut out);
        let expected = expected
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|&value| f32::from_le_bytes(value));
        let differences: Vec<f32> = out
            .iter()
            .zip(expected)
            .map(|(a, b)| (a - b).abs())
            .collect();
        let mean = differences.iter().sum::<f32>() / differences.len() as f32;
        let worst = differences.iter().copied().fold(0.0, f32::max);
        talk_line(&format!("{file}: mean {mean:.5}, maximum {worst:.4}"));
        assert!(
            mean <= 0.005 && worst <= 0.1,
            "{file}: mean {mean}, maximum {worst}"
        );
    }
}

#[test]
fn the_photos_are_all_readable_and_remembered() {
    let Some(shared) = shared("the_photos_are_all_readable_and_remembered", "") else {
        return;
    };
    let data = data(&shared.join("pets"));
    let memory = tempfile::tempdir().expect("a folder can be made");
    let started = Instant::now();
    let cold = scan(&data, Some(memory.path()), &|_, _| ()).expect("it scans");
    let cold_time = started.elapsed();
    let started = Instant::now();
    let warm = scan(&data, Some(memory.path()), &|_, _| ()).expect("it scans");
    talk_line(&format!(
        "scan: cold {cold_time:?}, remembered {:?}",
        started.elapsed()
    ));
    assert_eq!(cold.classes, ["Cat", "Dog"]);
    assert_eq!(cold.class_counts(), [400, 400]);
    assert!(cold.rejected.is_empty());
    assert_eq!((cold.n_read, warm.n_read), (800, 0));
    assert_eq!((cold.images, cold.hash), (warm.images, warm.hash));
}

#[test]
#[ignore = "a measurement: run it alone, with --release"]
fn milliseconds_per_photo_on_one_core() {
    let Some(shared) = shared("milliseconds_per_photo_on_one_core", "") else {
        return;
    };
    let data = data(&shared.join("pets"));
    let files: Vec<_> = (0..200)
        .map(|i| fs::read(data.root.join(format!("Dog/{i}.jpg"))).expect("it can be read"))
        .collect();
    let mut out = vec![0.0_f32; 3 * 224 * 224];
    let per_photo = |started: Instant| started.elapsed().as_secs_f64() * 1e3 / files.len() as f64;
    let started = Instant::now();
    let images: Vec<_> = files
        .iter()
        .map(|bytes| decode_rgb(bytes, &DecodeOptions::of(&data)).expect("it decodes"))
        .collect();
    let decode = per_photo(started);
    let started = Instant::now();
    for image in &images {
        preprocess(image, &imagenet(), View::Whole, &mut out);
    }
    talk_line(&format!(
        "decode {decode:.2} ms, preprocess {:.2} ms per photo",
        per_photo(started)
    ));
}
