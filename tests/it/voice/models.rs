//! The choice of a model, and names that no model has.

use std::fs;

use super::Transcript;
use crate::program::Case;

#[test]
fn the_models_and_what_is_there_of_them() {
    let case = Case::empty();
    let folder = case.path("cache/torch/hub/checkpoints");
    fs::create_dir_all(&folder).unwrap();
    let file = fs::File::create(folder.join("resnet50-11ad3fa6.pth")).unwrap();
    file.set_len(102_540_417).unwrap();
    fs::write(folder.join("vgg11-8a719046.pth"), "cut short").unwrap();
    Transcript::new(&case)
        .run(&["models"])
        .run(&["models", "resnet50"])
        .run(&["models", "resnet50/imagenet1k_v2"])
        .run(&["fetch", "vgg16_slim"])
        .is("models");
}

#[test]
fn names_that_no_model_has() {
    let case = Case::empty();
    Transcript::new(&case)
        .fails(&["models", "resnt50"])
        .fails(&["models", "?"])
        .fails(&["fetch", "resnt50"])
        .fails(&["fetch", "resnt50/imagenet1k_v2"])
        .fails(&["fetch", "resnet50/imagenet1k_v3"])
        .fails(&["fetch", "vgg16_slim/imagenet1k_v1"])
        .fails(&["fetch", "?"])
        .is("errors_of_models");
}
