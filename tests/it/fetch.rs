//! `runner fetch` as its users meet it, from a server that mistreats them. Its parts have tests of their own beside them.

use std::{fs, path::Path, process::Output};

use crate::{
    program::Case,
    server::{ScriptedReply, Served, Server},
    voice::Transcript,
};

/// Searched for so that its SHA-256 begins with 8a719046, as that of `vgg11-8a719046.pth` must.
const WEIGHTS: &[u8] = b"stands for vgg11's weights: 000001002a38839c\n";
const FILE: &str = "cache/torch/hub/checkpoints/vgg11-8a719046.pth";

/// A fetch with the server as its mirror.
fn fetch(case: &Case, server: &Server, name: &str) -> Output {
    case.run(&["fetch", name, "--mirror", &server.url("/files/")])
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let case = Case::empty();
    let broken = Served {
        break_after: Some(20),
        ..Served::new(WEIGHTS)
    };
    let server = Server::start(vec![
        ScriptedReply::File(broken),
        ScriptedReply::File(Served::new(WEIGHTS)),
    ]);
    let output = fetch(&case, &server, "vgg11");
    let stdout = str::from_utf8(&output.stdout).unwrap();
    assert!(Path::new(stdout.trim()).ends_with(FILE), "{output:?}");
    assert_eq!(fs::read(case.path(FILE)).unwrap(), WEIGHTS);
    let requests = server.requests();
    assert_eq!(requests[1].header("range"), Some("bytes=20-"));
    assert_eq!(requests[1].path, "/files/vgg11-8a719046.pth");
    let again = fetch(&case, &server, "vgg11");
    assert_eq!(server.requests().len(), 2);
    // Size and terms are told before anything comes.
    let other = fetch(&case, &server, "vgg13");
    Transcript::new(&case)
        .output("runner fetch vgg11", &output)
        .output("runner fetch vgg11", &again)
        .output("runner fetch vgg13", &other)
        .is("fetch/twice");
}

#[test]
fn a_redirect_is_followed_and_a_wrong_file_is_not_kept() {
    let case = Case::empty();
    let server = Server::start(vec![
        ScriptedReply::Redirect("/elsewhere".to_owned()),
        ScriptedReply::File(Served::new(b"not these weights at all")),
    ]);
    let output = fetch(&case, &server, "vgg11");
    Transcript::new(&case)
        .output("runner fetch vgg11", &output)
        .is("fetch/a_wrong_file");
    assert!(!case.path(FILE).exists());
    let left = fs::read_dir(case.path("cache/torch/hub/checkpoints")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn an_archive_of_the_wrong_size_is_refused_before_it_is_here() {
    let case = Case::empty();
    let server = Server::start(vec![ScriptedReply::File(Served::new(b"PK and so on"))]);
    let output = fetch(&case, &server, "cats-vs-dogs");
    Transcript::new(&case)
        .output("runner fetch cats-vs-dogs", &output)
        .is("fetch/a_wrong_size");
    assert!(!case.path("data/PetImages").exists());
}

#[cfg(unix)]
#[test]
fn what_is_in_the_way_of_the_images_does_not_pass_for_them() {
    let case = Case::empty();
    fs::create_dir(case.path("data")).unwrap();
    std::os::unix::fs::symlink("nowhere", case.path("data/PetImages")).unwrap();
    let server = Server::start(vec![ScriptedReply::Status(404)]);
    let output = fetch(&case, &server, "cats-vs-dogs");
    assert_eq!(server.requests().len(), 0);
    Transcript::new(&case)
        .output("runner fetch cats-vs-dogs", &output)
        .is("fetch/a_link_in_the_way");
}

#[test]
fn an_experiment_says_what_it_needs_and_where_from() {
    let case = Case::empty();
    let server = Server::start(vec![ScriptedReply::File(Served::new(WEIGHTS))]);
    let experiment = format!(
        "data.root = \"pictures\"\nmodel.arch = \"vgg11\"\nfetch.mirror = \"{}\"\n[[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"classifier\"]\n",
        server.url("")
    );
    fs::write(case.path("mine.toml"), experiment).unwrap();
    case.ok(&["fetch", "mine.toml"]);
    assert_eq!(fs::read(case.path(FILE)).unwrap(), WEIGHTS);
    let elsewhere = Server::start(vec![ScriptedReply::Status(404)]);
    let output = case
        .command(&["fetch", "vgg13"])
        .env("RUNNER_FETCH__MIRROR", elsewhere.url(""))
        .output()
        .unwrap();
    Transcript::new(&case)
        .output("runner fetch vgg13", &output)
        .is("fetch/nothing_there");
    assert_eq!(elsewhere.requests()[0].path, "/vgg13-19584684.pth");
}

#[test]
fn what_is_missing_is_said_at_once_with_what_to_type() {
    let case = Case::empty();
    let experiment = "data.root = \"photos/PetImages\"\n[[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"classifier\"]\n";
    fs::write(case.path("mine.toml"), experiment).unwrap();
    let mut transcript = Transcript::new(&case);
    transcript.fails(&["mine.toml"]);
    // An empty folder is as good as none.
    fs::create_dir_all(case.path("photos/PetImages")).unwrap();
    transcript.fails(&["mine.toml"]).is("fetch/what_is_missing");
}

#[test]
fn what_there_is_can_be_listed_and_a_slip_is_understood() {
    let case = Case::empty();
    let items = case.json(&["fetch"])["items"].clone();
    let items = items.as_array().unwrap();
    assert_eq!(items[0]["name"], "cats-vs-dogs");
    assert_eq!(items[0]["bytes"], 824_887_076);
    assert!(
        items
            .iter()
            .any(|item| item["name"] == "vgg16/imagenet1k_features")
    );
    Transcript::new(&case)
        .fails(&["fetch", "cats_vs_dogs"])
        .fails(&["fetch", "vgg16", "--to", "here"])
        .is("fetch/slips");
    assert!(!case.path("cache").exists());
}

#[test]
fn a_sweep_file_stands_for_what_its_trials_need() {
    let case = Case::empty();
    let server = Server::start(vec![ScriptedReply::Status(404)]);
    let experiment = "data.root = \"pictures\"\n[[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"classifier\"]\n";
    fs::write(case.path("mine.toml"), experiment).unwrap();
    let sweep = "base = \"mine.toml\"\n[axes]\nmodel.arch = [\"vgg11\", \"vgg13\"]\n";
    fs::write(case.path("sweep.toml"), sweep).unwrap();
    let output = fetch(&case, &server, "sweep.toml");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(server.requests()[0].path, "/files/vgg11-8a719046.pth");
}
