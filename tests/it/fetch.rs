//! `runner fetch` as its users meet it, from a server that mistreats them. Its parts have tests of their own beside them.

use std::{fs, path::Path, process::Command};

use crate::{
    program::Case,
    server::{ScriptedReply, Served, Server},
};

/// Searched for so that its SHA-256 begins with 8a719046, as that of `vgg11-8a719046.pth` must.
const WEIGHTS: &[u8] = b"stands for vgg11's weights: 000001002a38839c\n";
const FILE: &str = "cache/torch/hub/checkpoints/vgg11-8a719046.pth";

fn command(case: &Case, args: &[&str]) -> Command {
    let mut command = case.command(args);
    // The library does not exempt this machine from a proxy.
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

/// Exit code, stdout and stderr of a fetch with the server as its mirror.
fn fetch(case: &Case, server: &Server, name: &str) -> (Option<i32>, String, String) {
    let output = command(case, &["fetch", name, "--mirror", &server.url("/files/")])
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
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
    let (code, stdout, stderr) = fetch(&case, &server, "vgg11");
    assert_eq!(code, Some(0), "{stderr}");
    assert!(Path::new(stdout.trim()).ends_with(FILE), "{stdout}");
    assert_eq!(fs::read(case.path(FILE)).unwrap(), WEIGHTS);
    let requests = server.requests();
    assert_eq!(requests[1].header("range"), Some("bytes=20-"));
    assert_eq!(requests[1].path, "/files/vgg11-8a719046.pth");
    let (code, _, stderr) = fetch(&case, &server, "vgg11");
    assert_eq!((code, server.requests().len()), (Some(0), 2));
    assert!(stderr.contains("already downloaded"), "{stderr}");
    // Size and terms are told before anything comes.
    let stderr = fetch(&case, &server, "vgg13").2;
    let announced = stderr.lines().next().unwrap_or_default();
    assert!(announced.contains("532.20 MB; terms: BSD"), "{stderr}");
}

#[test]
fn a_redirect_is_followed_and_a_wrong_file_is_not_kept() {
    let case = Case::empty();
    let server = Server::start(vec![
        ScriptedReply::Redirect("/elsewhere".to_owned()),
        ScriptedReply::File(Served::new(b"not these weights at all")),
    ]);
    let (code, _, stderr) = fetch(&case, &server, "vgg11");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("8a719046"), "{stderr}");
    assert!(!case.path(FILE).exists());
    let left = fs::read_dir(case.path("cache/torch/hub/checkpoints")).unwrap();
    assert_eq!(left.count(), 0, "{stderr}");
}

#[test]
fn an_archive_of_the_wrong_size_is_refused_before_it_is_here() {
    let case = Case::empty();
    let server = Server::start(vec![ScriptedReply::File(Served::new(b"PK and so on"))]);
    let (code, _, stderr) = fetch(&case, &server, "cats-vs-dogs");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("824887076"), "{stderr}");
    assert!(!case.path("data/PetImages").exists());
}

#[cfg(unix)]
#[test]
fn what_is_in_the_way_of_the_images_does_not_pass_for_them() {
    let case = Case::empty();
    fs::create_dir(case.path("data")).unwrap();
    std::os::unix::fs::symlink("nowhere", case.path("data/PetImages")).unwrap();
    let server = Server::start(vec![ScriptedReply::Status(404)]);
    let (code, _, stderr) = fetch(&case, &server, "cats-vs-dogs");
    assert!(stderr.contains("a broken link is in the way"), "{stderr}");
    assert_eq!((code, server.requests().len()), (Some(3), 0), "{stderr}");
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
    let output = command(&case, &["fetch", "mine.toml"]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(fs::read(case.path(FILE)).unwrap(), WEIGHTS);
    let elsewhere = Server::start(vec![ScriptedReply::Status(404)]);
    let output = command(&case, &["fetch", "vgg13", "--json"])
        .env("RUNNER_FETCH__MIRROR", elsewhere.url(""))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("404") && stderr.contains("--mirror"),
        "{stderr}"
    );
    assert_eq!(elsewhere.requests()[0].path, "/vgg13-19584684.pth");
}

#[test]
fn what_is_missing_is_said_at_once_with_what_to_type() {
    let case = Case::empty();
    let experiment = "data.root = \"photos/PetImages\"\n[[phase]]\nname = \"head\"\nepochs = 1\ntrainable = [\"classifier\"]\n";
    fs::write(case.path("mine.toml"), experiment).unwrap();
    let error = case.fails(3, &["mine.toml"]);
    for words in [
        "`runner fetch cats-vs-dogs --to photos`",
        "`runner fetch vgg16`",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    // An empty folder is as good as none.
    fs::create_dir_all(case.path("photos/PetImages")).unwrap();
    let error = case.fails(3, &["mine.toml"]);
    assert!(error.contains("--to photos"), "{error}");
}

#[test]
fn what_there_is_can_be_listed_and_a_slip_is_understood() {
    let case = Case::empty();
    let list = case.ok(&["fetch"]);
    let cats = list.lines().find(|line| line.starts_with("cats-vs-dogs"));
    assert!(
        cats.is_some_and(|line| line.contains("824.89 MB")),
        "{list}"
    );
    assert!(list.contains("imagenet1k_features"), "{list}");
    let error = case.fails(2, &["fetch", "cats_vs_dogs"]);
    assert!(error.contains("did you mean `cats-vs-dogs`?"), "{error}");
    let error = case.fails(2, &["fetch", "vgg16", "--to", "here"]);
    assert!(error.contains("TORCH_HOME"), "{error}");
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
    let (code, _, stderr) = fetch(&case, &server, "sweep.toml");
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(server.requests()[0].path, "/files/vgg11-8a719046.pth");
}
