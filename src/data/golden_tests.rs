//! Preprocessing against torchvision's numbers, where the shared data is there.

use std::{
    fs,
    io::{self, BufRead as _, Read as _},
    path::Path,
    time::{Duration, Instant},
};

use safetensors::SafeTensors;
use serde::Deserialize;

use super::{
    augment::View,
    decode::{DecodeOptions, RgbImage8, decode_rgb},
    index::scan,
    test_data,
    transform::{VERSION, preprocess},
};
use crate::{
    config::experiment::{Data, Geometry, ImageSize, Interpolation, Normalize, Transforms},
    console::talk_line,
    disk::hash::sha256_of_bytes,
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
        geometry: Geometry::Squash(ImageSize {
            height: 224,
            width: 224,
        }),
        interpolation: Interpolation::Bilinear,
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
        let expected = expected.data().as_chunks().0.iter();
        let expected: Vec<f32> = expected.map(|&value| f32::from_le_bytes(value)).collect();
        check(&file, &out, &expected);
    }
}

/// The numbers must agree but for the rounding of sums in another order.
fn check(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let differences: Vec<f32> = differences.collect();
    let mean = differences.iter().sum::<f32>() / differences.len() as f32;
    let worst = differences.iter().copied().fold(0.0, f32::max);
    talk_line(&format!("{what}: mean {mean:.1e}, maximum {worst:.1e}"));
    assert!(
        mean <= 1e-5 && worst <= 5e-4,
        "{what}: mean {mean}, maximum {worst}"
    );
}

/// `tests/fixtures/transforms/make.py` describes the cases.
#[test]
fn every_geometry_and_interpolation_equals_torchvision() {
    #[derive(Deserialize)]
    struct Case {
        height: usize,
        width: usize,
        resize: Option<[usize; 2]>,
        shorter: Option<usize>,
        crop: Option<usize>,
        interpolation: Interpolation,
        values: Vec<f32>,
    }
    let cases = include_str!("../../tests/fixtures/transforms/transforms.json");
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
    assert_eq!(cases.len(), 40);
    for case in cases {
        let Case { height, width, .. } = case;
        let image = noise(height, width);
        let geometry = match (case.resize, case.shorter, case.crop) {
            (Some([height, width]), None, None) => Geometry::Squash(ImageSize { height, width }),
            (None, Some(shorter), Some(crop)) => Geometry::ShorterThenCrop { shorter, crop },
            other => panic!("{other:?}"),
        };
        let transforms = Transforms {
            geometry,
            interpolation: case.interpolation,
            ..imagenet()
        };
        let mut out = vec![f32::NAN; case.values.len()];
        preprocess(&image, &transforms, View::Whole, &mut out);
        check(
            &format!("{height} x {width}: {transforms}"),
            &out,
            &case.values,
        );
    }
}

/// Activations are cached under the version of the preprocessing, which must be raised before these bits change.
#[test]
fn a_plain_resize_keeps_its_bits() {
    let mut bytes = Vec::new();
    for [height, width] in [[40, 61], [9, 14], [300, 7]] {
        let mut out = vec![f32::NAN; 3 * 224 * 224];
        preprocess(&noise(height, width), &imagenet(), View::Whole, &mut out);
        bytes.extend(out.iter().flat_map(|value| value.to_le_bytes()));
    }
    let expected = "76b42eec72c8cdc5e81f7009ab9a6cbb751e1081278729a9479eeb545a770447";
    assert_eq!((sha256_of_bytes(&bytes).as_str(), VERSION), (expected, 3));
}

/// The image that `tests/fixtures/transforms/make.py` makes.
fn noise(height: usize, width: usize) -> RgbImage8 {
    let pixels = (0..3 * height * width).map(|at| (at * 7919 % 251) as u8);
    RgbImage8 {
        width,
        height,
        pixels: pixels.collect(),
    }
}

/// An output of `benches/reference.py`: a line with the path, kind, height and width, and then the numbers.
#[test]
#[ignore = "a measurement: `make pixels`"]
fn photos_against_a_reference_on_stdin() {
    let mut reference = io::stdin().lock();
    let (mut n_photos, mut n_equal, mut n_pixels, mut n_other) = (0_usize, 0, 0, 0);
    let (mut mean, mut worst) = (0.0, 0.0_f64);
    let (mut decoding, mut decoding_by_image) = (Duration::ZERO, Duration::ZERO);
    let mut line = String::new();
    while reference.read_line(&mut line).expect("it is text") > 0 {
        let fields: Vec<&str> = line.trim_end().split('\t').collect();
        let [path, kind, height, width] = fields[..] else {
            panic!("{line}");
        };
        let (height, width): (usize, usize) = (height.parse().unwrap(), width.parse().unwrap());
        let options = DecodeOptions::of(&data(Path::new("")));
        let bytes = fs::read(path).expect("it can be read");
        let started = Instant::now();
        let image = decode_rgb(&bytes, &options).unwrap_or_else(|e| panic!("{path}: {e}"));
        decoding += started.elapsed();
        // The `image` crate's own decoder, turn by turn, as the measure of speed.
        let started = Instant::now();
        image::load_from_memory_with_format(&bytes, image::ImageFormat::Jpeg)
            .unwrap_or_else(|e| panic!("{path}: {e}"));
        decoding_by_image += started.elapsed();
        let mut differences = vec![0.0; 3 * height * width];
        if kind == "pixels" {
            assert_eq!((image.height, image.width), (height, width), "{path}");
            let mut expected = vec![0; 3 * height * width];
            reference.read_exact(&mut expected).expect("it is whole");
            for (difference, (a, b)) in differences
                .iter_mut()
                .zip(image.pixels.iter().zip(&expected))
            {
                *difference = f64::from(a.abs_diff(*b));
            }
        } else {
            let mut found = vec![0.0; 3 * height * width];
            let geometry = match kind {
                "crop" | "weights" => Geometry::ShorterThenCrop {
                    shorter: 256,
                    crop: height,
                },
                _ => Geometry::Squash(ImageSize { height, width }),
            };
            let transforms = Transforms {
                geometry,
                ..imagenet()
            };
            preprocess(&image, &transforms, View::Whole, &mut found);
            for (difference, found) in differences.iter_mut().zip(found) {
                let mut expected = [0; 4];
                reference.read_exact(&mut expected).expect("it is whole");
                *difference = f64::from((found - f32::from_le_bytes(expected)).abs());
            }
        }
        n_photos += 1;
        n_equal += usize::from(differences.iter().all(|it| *it == 0.0));
        n_pixels += height * width;
        n_other += differences
            .chunks(3)
            .filter(|it| it.iter().any(|it| *it > 0.0))
            .count();
        mean += differences.iter().sum::<f64>() / differences.len() as f64;
        worst = differences.iter().copied().fold(worst, f64::max);
        line.clear();
    }
    mean /= n_photos as f64;
    let [decoding, by_image] =
        [decoding, decoding_by_image].map(|time| time.as_secs_f64() * 1e3 / n_photos as f64);
    talk_line(&format!(
        "{n_photos} photos, {n_equal} of them equal; {n_other} of {n_pixels} triples of numbers differ; \
         difference: mean {mean:.2e}, maximum {worst:.2e}; decoding takes {decoding:.2} ms, \
         by the `image` crate {by_image:.2} ms"
    ));
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
    let (mut decode, mut prepare) = (Duration::ZERO, Duration::ZERO);
    for bytes in &files {
        let started = Instant::now();
        let image = decode_rgb(bytes, &DecodeOptions::of(&data)).expect("it decodes");
        let decoded = Instant::now();
        preprocess(&image, &imagenet(), View::Whole, &mut out);
        decode += decoded - started;
        prepare += decoded.elapsed();
    }
    let per_photo = |total: Duration| total.as_secs_f64() * 1e3 / files.len() as f64;
    talk_line(&format!(
        "decode {:.2} ms, preprocess {:.2} ms per photo",
        per_photo(decode),
        per_photo(prepare)
    ));
}
