//! `runner export`: the files that other programs read, what the command says, and the model card.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    program::{Case, read},
    python::{python_with, script},
    voice::{self, Transcript},
};

/// Runs a script that must succeed; its answer is printed.
#[expect(
    clippy::print_stderr,
    reason = "the measured differences are worth reading"
)]
fn run_script(python: &Path, name: &str, args: &[&Path]) {
    eprint!("{}", script(python, name, args));
}

/// An experiment on drawings that trains every batch norm from random parameters.
fn experiment(arch: &str, trainable: &str, size: [usize; 2]) -> String {
    format!(
        "name = \"{arch}\"\ndata = {{ root = \"data\", batch_size = 4 }}\nsplit.valid = 0.25\n\
         transforms.resize = {size:?}\ncache.mode = \"off\"\n\
         model = {{ arch = \"{arch}\", weights = \"none\" }}\n\
         [[phase]]\nname = \"all\"\nepochs = 1\ntrainable = [\"{trainable}\"]\nlr = 1e-4\n"
    )
}

/// Sides that are no multiple of anything, so that pools reach over the edge and average windows of several sizes.
const FAMILIES: [(&str, &str, [usize; 2]); 8] = [
    ("vgg11", "features", [70, 101]),
    ("vgg11_bn", "features", [70, 101]),
    ("resnet18", "all", [70, 101]),
    ("resnext50_32x4d", "all", [70, 101]),
    ("wide_resnet50_2", "layer4", [70, 101]),
    ("squeezenet1_0", "all", [70, 101]),
    ("squeezenet1_1", "all", [72, 66]),
    ("alexnet", "features", [70, 131]),
];

#[test]
fn every_family_computes_in_onnxruntime_what_it_computes_in_pytorch() {
    let name = "every_family_computes_in_onnxruntime_what_it_computes_in_pytorch";
    let modules = "onnx, onnxruntime, torch, torchvision, safetensors";
    let Some(python) = python_with(name, modules) else {
        return;
    };
    let case = Case::empty();
    case.ok(&["sample-data", "data", "--per-class", "8", "--no-broken"]);
    for (arch, trainable, size) in FAMILIES {
        let toml = format!("{arch}.toml");
        fs::write(case.path(&toml), experiment(arch, trainable, size)).unwrap();
        let run = case.ok(&[&toml]);
        let (onnx, tensors) = (case.path("m.onnx"), case.path("m.safetensors"));
        case.ok(&["export", &run, "m.safetensors", "--force"]);
        let is_small = fs::metadata(&tensors).unwrap().len() < 150_000_000;
        let (whole, half): (&[&str], &[&str]) = (&[], &["--half"]);
        for half in [whole, half] {
            // Half a gigabyte takes a while to write, and the nodes are those of the small networks.
            if !half.is_empty() && !is_small {
                continue;
            }
            case.ok(&[&["export", &run, "m.onnx", "--force", "--check"], half].concat());
            let flags = half.iter().map(Path::new);
            let args: Vec<&Path> = [onnx.as_path(), &tensors]
                .into_iter()
                .chain(flags)
                .collect();
            run_script(&python, "tests/fixtures/export/check_onnx.py", &args);
        }
        fs::remove_dir_all(case.path(&run)).unwrap();
    }
}

#[test]
fn the_examples_give_the_predictions_of_the_run() {
    let name = "the_examples_give_the_predictions_of_the_run";
    let modules = "onnxruntime, torch, torchvision, safetensors, PIL";
    let Some(python) = python_with(name, modules) else {
        return;
    };
    let case = Case::empty();
    case.ok(&["sample-data", "data", "--per-class", "10", "--no-broken"]);
    let squeezenet = experiment("squeezenet1_1", "all", [48, 48]);
    fs::write(case.path("a.toml"), &squeezenet).unwrap();
    let crop = "transforms = { shorter = 50, crop = 45, interpolation = \"bicubic\" }";
    let crop = squeezenet.replace("transforms.resize = [48, 48]", crop);
    fs::write(case.path("b.toml"), crop).unwrap();
    for toml in ["a.toml", "b.toml"] {
        let run = case.ok(&[toml]);
        for (script, file) in [
            ("docs/examples/predict_onnx.py", "m.onnx"),
            ("docs/examples/predict_torchvision.py", "m.safetensors"),
        ] {
            case.ok(&["export", &run, file, "--force"]);
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
            let args = [script, case.path(file), case.path(&run), case.path("data")];
            let args: Vec<&Path> = args.iter().map(PathBuf::as_path).collect();
            run_script(&python, "tests/fixtures/export/check_predictions.py", &args);
        }
    }
}

#[test]
fn an_onnx_export_is_checked_and_says_so() {
    let case = Case::new("");
    case.train(&[]);
    Transcript::new(&case)
        .run(&["export", "latest:small", "model.onnx"])
        .run(&[
            "export",
            "latest:small",
            "new/half.onnx",
            "--half",
            "--check",
            "3",
        ])
        .run(&["export", "latest:small", "unchecked.onnx", "--check", "0"])
        .is("export/onnx");
    let size = |name: &str| fs::metadata(case.path(name)).unwrap().len();
    let (whole, half) = (size("model.onnx"), size("new/half.onnx"));
    assert!(whole > 19 * half / 10 && whole < 2 * half, "{whole} {half}");
    let bytes = |name: &str| fs::read(case.path(name)).unwrap();
    assert!(bytes("model.onnx") == bytes("unchecked.onnx"));
    let answer = case.json(&["export", "latest:small", "model.onnx", "--force", "--check"]);
    assert_eq!(answer["format"], "onnx");
    assert_eq!(answer["check"]["images"], 5);
    assert_eq!(answer["check"]["changed"], 0);
}

#[test]
fn what_an_export_refuses() {
    let case = Case::new("");
    case.train(&[]);
    case.ok(&[
        "export",
        "latest:small",
        "out/model.onnx",
        "--card",
        "--check",
        "0",
    ]);
    let mut transcript = Transcript::new(&case);
    for more in [
        &["out/model.onnx"][..],
        &["out/model.onnx", "--card"],
        &["out/other.safetensors", "--card"],
        &["m.onnx", "--only", "features"],
        &["m.safetensors", "--half", "--check"],
        &["m.onnx", "--check", "many"],
        &["m.pb"],
        &["m"],
    ] {
        transcript.fails(&[&["export", "latest:small"], more].concat());
    }
    // Without images there is nothing to compare with, which matters only to who asks for it.
    fs::rename(case.path("data"), case.path("moved")).unwrap();
    transcript.fails(&["export", "latest:small", "m.onnx", "--check"]);
    assert!(!case.path("m.onnx").exists());
    transcript.run(&["export", "latest:small", "m.onnx"]);
    assert!(case.path("m.onnx").exists());
    transcript.is("export/refused");
}

#[test]
fn a_model_card_tells_what_the_model_is() {
    let case = Case::new("");
    case.train(&["--set", "split.test=0.2"]);
    for (file, snapshot) in [
        ("onnx/model.onnx", "export/card_onnx"),
        ("pytorch/model.safetensors", "export/card_safetensors"),
    ] {
        case.ok(&["export", "latest:small", file, "--card"]);
        let card = case.path(file).with_file_name("README.md");
        voice::check(snapshot, &read(&card));
    }
}
