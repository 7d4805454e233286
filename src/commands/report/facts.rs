//! What a run is, what was chosen for it, and where it comes from.

use std::{fs, path::Path};

use super::gather::started;
use crate::{
    page::model::{Lineage, LineageStep, Settings},
    rundir::{RunDir, records},
    runs::{
        RunView,
        compare::{differences, from_defaults},
    },
    text::{plain::masked, table::duration},
};

/// The ancestors that are followed: a damaged manifest can name a run as its own ancestor.
const MOST_ANCESTORS: usize = 30;

/// `vgg16 on 640 images of 2 classes, started 2026-11-29 08:01:27`
pub(super) fn subtitle(view: &RunView) -> String {
    let manifest = &view.manifest;
    let mut words = Vec::new();
    if let Some(arch) = text_of(view, "model", "arch") {
        words.push(arch);
    }
    if manifest.n_train > 0 {
        let (n, n_classes) = (manifest.n_train, manifest.classes.len());
        words.push(format!("trained on {n} images of {n_classes} classes"));
    }
    words.extend(started(view).map(|it| format!("started {it}")));
    words.join(", ")
}

fn text_of(view: &RunView, table: &str, key: &str) -> Option<String> {
    let value = view.resolved.get(table)?.get(key)?;
    Some(
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
    )
}

/// The facts below the headline.
pub(super) fn of_run(view: &RunView) -> Vec<(String, String)> {
    let manifest = &view.manifest;
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut fact = |label: &str, value: String| {
        if !value.is_empty() {
            facts.push((label.to_owned(), value));
        }
    };
    fact("experiment", manifest.name.clone());
    fact(
        "state",
        format!("{}, {} epochs", view.state_name(), view.epochs()),
    );
    if view.has_manifest {
        let (train, valid, test) = (manifest.n_train, manifest.n_valid, manifest.n_test);
        fact(
            "images",
            format!("{train} train, {valid} valid, {test} test"),
        );
    }
    fact("data", text_of(view, "data", "root").unwrap_or_default());
    fact(
        "architecture",
        text_of(view, "model", "arch").unwrap_or_default(),
    );
    fact("weights", manifest.weights.clone());
    if view.has_manifest {
        fact(
            "device",
            format!("{}, {} threads", manifest.device, manifest.threads),
        );
    }
    fact(
        "time",
        format!(
            "{} for {} epochs",
            duration(view.seconds()),
            view.rows.len()
        ),
    );
    let stopped = view
        .summary
        .as_ref()
        .map(|summary| summary.stopped_early.join(", "));
    fact("stopped early", stopped.unwrap_or_default());
    facts
}

pub(super) fn settings(view: &RunView) -> Settings {
    let from_parent = view
        .parent()
        .and_then(|parent| RunView::read(RunDir::bare(&parent)).ok());
    let from_parent = from_parent
        .filter(|parent| !parent.resolved.is_empty())
        .map(|parent| {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            differences(&[&view.resolved, &parent.resolved])
                .into_iter()
                .map(|it| (it.key, shown(&it.values[0]), shown(&it.values[1])))
                .collect()
        });
    Settings {
        from_defaults: from_defaults(&view.resolved),
        from_parent,
        changes: records::read_csv_so_far(&view.dir.changes_csv()),
        source: masked(&fs::read_to_string(view.dir.source_toml()).unwrap_or_default())
            .into_owned(),
    }
}

pub(super) fn lineage(view: &RunView) -> Lineage {
    let manifest = &view.manifest;
    let mut facts = Vec::new();
    let mut fact = |label: &str, value: &str| {
        if !value.is_empty() {
            facts.push((label.to_owned(), value.to_owned()));
        }
    };
    fact("run directory", &view.path().display().to_string());
    fact("started", &started(view).unwrap_or_default());
    fact("command", &manifest.command.join(" "));
    fact("runner", &manifest.runner_version);
    fact("git commit", &manifest.git_commit);
    fact("machine", &format!("{} {}", manifest.host, manifest.os));
    fact("SHA-256 of the data", &manifest.data_sha256);
    fact("SHA-256 of the split", &manifest.split_sha256);
    fact("SHA-256 of the weights", &manifest.weights_sha256);
    fact("fresh parameters", &manifest.fresh_parameters.join(", "));
    let children = view.dir.noted_children();
    let files = view
        .summary
        .iter()
        .flat_map(|summary| &summary.files)
        .chain(&manifest.files);
    Lineage {
        steps: if view.has_manifest {
            steps(view)
        } else {
            Vec::new()
        },
        children: children
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        facts,
        files: files
            .map(|file| (file.name.clone(), file.sha256.clone()))
            .collect(),
    }
}

/// This run, the run it started from, and so on, down to the weights.
fn steps(view: &RunView) -> Vec<LineageStep> {
    let mut steps = vec![LineageStep {
        name: view.id(),
        what: "(this run)".to_owned(),
        hash: String::new(),
    }];
    let mut manifest = view.manifest.clone();
    for _ in 0..MOST_ANCESTORS {
        let Some(parent) = manifest.parent.take() else {
            break;
        };
        let found = RunView::read(RunDir::bare(Path::new(&parent.run)))
            .ok()
            .filter(|it| it.has_manifest);
        let place = Path::new(&parent.run);
        let name = place
            .file_name()
            .unwrap_or(place.as_os_str())
            .to_string_lossy()
            .into_owned();
        let lost = if found.is_none() {
            ", which is no longer at its place"
        } else {
            ""
        };
        steps.push(LineageStep {
            name,
            what: format!("after epoch {}{lost}", parent.epoch),
            hash: format!("model {}", parent.model_sha256),
        });
        match found {
            Some(view) => manifest = view.manifest,
            None => return steps,
        }
    }
    let weights = match manifest.weights.as_str() {
        "" => "random weights".to_owned(),
        weights => weights.to_owned(),
    };
    steps.push(LineageStep {
        name: weights,
        what: "(initial weights)".to_owned(),
        hash: manifest.weights_sha256.clone(),
    });
    steps
}
