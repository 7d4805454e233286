//! Weights by name: what is downloaded for an experiment, and under which names.

use std::fs;

use crate::{
    program::Case,
    server::{ScriptedReply, Server},
};

/// The path that `runner fetch` asks a server for, which does not have it.
fn requested(case: &Case, name: &str) -> String {
    let server = Server::start(vec![ScriptedReply::Status(404)]);
    let mut command = case.command(&["fetch", name, "--mirror", &server.url("")]);
    // The library does not exempt this machine from a proxy.
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    server.requests()[0].path.clone()
}

#[test]
fn weights_are_downloaded_by_the_name_in_the_experiment_or_in_full() {
    let case = Case::empty();
    let experiment = |weights: &str| {
        format!(
            "data.root = \"pictures\"\nmodel = {{ arch = \"resnet50\", {weights} }}\n[[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"fc\"]\n"
        )
    };
    fs::write(case.path("v1.toml"), experiment("")).unwrap();
    let second = experiment("weights = \"imagenet1k_v2\"");
    fs::write(case.path("v2.toml"), second).unwrap();
    for (name, expected) in [
        ("resnet50", "/resnet50-0676ba61.pth"),
        ("resnet50/imagenet1k_v1", "/resnet50-0676ba61.pth"),
        ("resnet50/imagenet1k_v2", "/resnet50-11ad3fa6.pth"),
        ("v1.toml", "/resnet50-0676ba61.pth"),
        ("v2.toml", "/resnet50-11ad3fa6.pth"),
        ("vgg16_features", "/vgg16_features-amdegroot-88682ab5.pth"),
    ] {
        assert_eq!(requested(&case, name), expected, "{name}");
    }
}

#[test]
fn what_can_be_downloaded_has_the_figures_of_the_models() {
    let case = Case::empty();
    let list = |command: &str, key: &str| -> Vec<serde_json::Value> {
        let json = case.ok(&["--json", command]);
        let mut lines = json.lines();
        let line: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        line[key].as_array().unwrap().clone()
    };
    let (models, items) = (list("models", "models"), list("fetch", "items"));
    let embedded = models.iter().filter(|model| model["state"] == "embedded");
    assert_eq!(embedded.count(), 1);
    let downloads = models.iter().filter(|model| model["state"] != "embedded");
    assert!(downloads.eq(&items[1..]));
    let second = |model: &&serde_json::Value| model["name"] == "resnet50/imagenet1k_v2";
    let model = models.iter().find(second).unwrap();
    assert_eq!(model["parameters"], 25_557_032);
    assert_eq!(model["top1"], 80.858);
    assert_eq!(model["bytes"], 102_540_417);
    assert_eq!(model["is_here"], false);
}
