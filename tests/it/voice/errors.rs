//! What commands say when something is wrong, by what they were asked to do.

use std::{fs, path::Path};

use super::Transcript;
use crate::{
    program::{Case, SMALL, read},
    runs::text,
    sweep::RATES,
};

fn write(case: &Case, name: &str, text: &str) {
    let path = case.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn words_that_the_command_line_does_not_know() {
    let case = Case::new("");
    Transcript::new(&case)
        .fails(&["trian", "small.toml"])
        .fails(&["small.tml"])
        .fails(&["data"])
        .fails(&["config"])
        .fails(&["list", "--sort", "size"])
        .fails(&["small.toml", "--quiet", "--json"])
        .fails(&["small.toml", "--set", "optimizer.lr"])
        .fails(&["small.toml", "--set", "optimizer.learning_rate=1"])
        .fails(&["small.toml", "--set", "phase.tail.lr=1"])
        .fails(&["small.toml", "--set", "device=cuda:7"])
        .is("errors_of_the_command_line");
}

#[test]
fn images_that_cannot_be_used() {
    let case = Case::new("");
    write(&case, "empty/readme.txt", "nothing");
    write(&case, "one/Cat/a.jpg", "no image");
    write(&case, "deep/images/Cat/a.jpg", "no image");
    write(&case, "deep/images/Dog/a.jpg", "no image");
    write(&case, "broken/Cat/a.jpg", "no image");
    write(&case, "broken/Dog/a.jpg", "");
    write(&case, "flat/cat.1.jpg", "no image");
    write(&case, "flat/dog.1.jpg", "no image");
    write(&case, "labels.csv", "id,breed\n1,cat\n");
    write(
        &case,
        "missing.csv",
        "file,class\nCat/absent.jpg,Cat\nDog/absent.jpg,Dog\n",
    );
    write(
        &case,
        "split.csv",
        "file,class,split\nCat/absent.jpg,Cat,train\nCat/absent.jpg,Cat,dev\n",
    );
    let check = |root: &'static str| ["check", "small.toml", "--set", root];
    let mut transcript = Transcript::new(&case);
    for root in [
        "absent",
        "empty",
        "one",
        "deep",
        "broken",
        "flat",
        "small.toml",
    ] {
        transcript.fails(&check(&*format!("data.root={root}").leak()));
    }
    transcript
        .fails(&check("data.manifest=absent.csv"))
        .fails(&check("data.manifest=labels.csv"))
        .fails(&check("data.manifest=missing.csv"))
        .fails(&[
            "check",
            "small.toml",
            "--set",
            "data.root=flat",
            "--set",
            "data.class_pattern=(cat)|(dog)",
        ])
        .fails(&[
            "check",
            "small.toml",
            "--set",
            "data.root=flat",
            "--set",
            "data.class_pattern=^(bird)",
        ])
        .fails(&[
            "check",
            "small.toml",
            "--set",
            "split.method=file",
            "--set",
            "split.file=split.csv",
        ])
        .is("errors_of_images");
}

#[test]
fn copies_that_the_experiment_forbids() {
    let case = Case::new("");
    let mut files: Vec<_> = fs::read_dir(case.path("data/Cat"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    fs::copy(&files[0], case.path("data/Dog/copy.jpg")).unwrap();
    Transcript::new(&case)
        .fails(&["check", "small.toml", "--set", "data.duplicates=error"])
        .run(&["check", "small.toml"])
        .is("errors_of_copies");
}

#[test]
fn weights_that_cannot_be_used() {
    let case = Case::new("");
    write(&case, "torn.pth", "no weights");
    write(&case, "torn.safetensors", "no weights");
    write(
        &case,
        "other.toml",
        &SMALL.replace("drawings_v1", "other.safetensors"),
    );
    case.train(&[]);
    case.ok(&["export", "latest:small", "other.safetensors"]);
    let check = |weights: &'static str| ["check", "small.toml", "--set", weights];
    Transcript::new(&case)
        .fails(&check("model.weights=./absent.pth"))
        .fails(&check("model.weights=torn.pth"))
        .fails(&check("model.weights=torn.safetensors"))
        .fails(&check("model.weights=imagenet1k_v1"))
        .fails(&["check", "other.toml", "--set", "model.arch=vgg11"])
        .fails(&[
            "check",
            "small.toml",
            "--set",
            "model.arch=vgg16",
            "--set",
            "model.weights=imagenet1k_v1",
            "--set",
            "data.root=absent",
        ])
        .is("errors_of_weights");
}

#[test]
fn runs_that_cannot_be_used() {
    let case = Case::new("");
    let run = case.train(&[]);
    let bare = case.train(&["--set", "name=bare"]);
    fs::remove_dir_all(bare.join("checkpoints")).unwrap();
    let damaged = case.train(&["--set", "name=damaged"]);
    let model = damaged.join("checkpoints/best/model.safetensors");
    fs::write(&model, b"damaged").unwrap();
    let slim = case.train(&["--set", "name=slim"]);
    case.ok(&["slim", text(&slim)]);
    fs::create_dir(case.path("folder")).unwrap();
    Transcript::new(&case)
        .fails(&["show", "nothing"])
        .fails(&["show", "latest:smal"])
        .fails(&["show", "folder"])
        .fails(&["show", "runs/*"])
        .fails(&["compare", text(&run)])
        .fails(&["compare", "latest:small", "latest:bare", "-o", "curves.svg"])
        .fails(&["evaluate", "latest:damaged"])
        .fails(&["verify", "latest:damaged"])
        .fails(&["evaluate", "latest:bare"])
        .fails(&["evaluate", "latest:small", "--split", "test"])
        .fails(&["evaluate", "latest:small", "--set", "split.valid=0.5"])
        .fails(&["resume", "latest:small"])
        .fails(&["resume", "latest:slim"])
        .fails(&[
            "resume",
            "latest:small",
            "--set",
            "optimizer.lr=1",
            "--set",
            "data.batch_size=2",
        ])
        .fails(&["rm", "folder", "--yes"])
        .fails(&["rm", "latest:small"])
        .fails(&["export", "latest:small", "model.pb"])
        .fails(&["export", "latest:small", "small.toml"])
        .fails(&[
            "export",
            "latest:small",
            "m.safetensors",
            "--only",
            "layer4",
        ])
        .fails(&["list", "--runs-dir", "nowhere"])
        .is("errors_of_runs");
    change_an_image(&case);
    Transcript::new(&case)
        .fails(&["evaluate", "latest:small"])
        .fails(&[
            "resume",
            "latest:small",
            "--set",
            "phase.features24.epochs=3",
        ])
        .is("errors_of_changed_images");
}

/// Another image under the name of one that runs know.
fn change_an_image(case: &Case) {
    let mut files: Vec<_> = fs::read_dir(case.path("data/Cat"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    fs::copy(&files[0], &files[1]).unwrap();
}

#[test]
fn training_that_does_not_work_out() {
    let case = Case::new("");
    Transcript::new(&case)
        .fails(&[
            "small.toml",
            "--set",
            "phase.head.lr=1e30",
            "--set",
            "name=diverges",
        ])
        .fails(&[
            "small.toml",
            "--set",
            "cache.mode=require",
            "--set",
            "augment.horizontal_flip=0.5",
        ])
        .fails(&["small.toml", "--set", "init_from=latest:nothing"])
        .is("errors_of_training");
}

#[test]
fn sweeps_that_cannot_start() {
    let case = Case::new("");
    write(&case, "rates.toml", RATES);
    write(
        &case,
        "bad.toml",
        "base = \"absent.toml\"\ntrails = 3\n[axes]\nphase.head.lr = [1e-3, \"x\"]\n",
    );
    write(&case, "twins.toml", &RATES.replace("1e-2", "0.001"));
    Transcript::new(&case)
        .fails(&["sweep", "bad.toml"])
        .fails(&["sweep", "twins.toml"])
        .fails(&["sweep", "small.toml"])
        .fails(&["rates.toml"])
        .fails(&["sweep", "rates.toml", "--set", "phase.head.lr=1"])
        .fails(&["sweep", "rates.toml", "--set", "data.root=absent"])
        .is("errors_of_sweeps");
}

#[test]
fn files_that_are_in_the_way_or_not_there() {
    let case = Case::new("");
    case.ok(&["init", "mine", "--root", "data"]);
    Transcript::new(&case)
        .fails(&["init", "mine", "--root", "data"])
        .fails(&["sample-data", "data"])
        .fails(&["sample-data", "small.toml"])
        .fails(&["fetch", "resnt50"])
        .fails(&["fetch", "vgg11", "--to", "here"])
        .fails(&["fetch", "vgg11", "--mirror", "not a url"])
        .fails(&["fetch", "vgg11", "--mirror", "http://127.0.0.1:9/"])
        .fails(&["small.toml", "--set", "runs_dir=small.toml"])
        .is("errors_of_files");
    assert!(read(Path::new(&case.path("small.toml"))).contains("small"));
}

#[test]
fn runs_that_a_comparison_cannot_find() {
    let case = Case::new("");
    let run = case.train(&[]);
    let mut nearly = run.file_name().unwrap().to_str().unwrap().to_owned();
    nearly.pop();
    Transcript::new(&case)
        .fails(&["compare", text(&run)])
        .fails(&["compare", text(&run), &format!("{}/", text(&run))])
        .fails(&["compare", text(&run), "latest:nobody"])
        .fails(&["compare", text(&run), "runs/x*"])
        .fails(&["compare", text(&run), &nearly])
        .fails(&["compare", text(&run), "small.toml"])
        .fails(&["compare", text(&run), "data"])
        .is("errors_of_compare");
}
