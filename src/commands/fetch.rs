//! `runner fetch NAME..`: brings published images and weights to where experiments look for them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use serde_json::json;

use crate::{
    config,
    console::Console,
    error::{Error, Result},
    fetch::{
        catalog::{self, Item, Kind},
        download::{Fetched, download},
        unpack::{Limits, unpack},
    },
    model::weights,
    stop,
};

pub(crate) struct Request {
    /// Names of the catalog, and experiment files, which need what they need.
    pub(crate) names: Vec<String>,
    /// Where archives are unpacked.
    pub(crate) to: Option<PathBuf>,
    /// Where files lie under their names; instead of the experiment's, which is instead of the official places.
    pub(crate) mirror: Option<String>,
    pub(crate) keep_archive: bool,
    pub(crate) env: Vec<(String, String)>,
}

/// What an image archive may hold. Cats-and-Dogs has 25,000 photos of 35 kB.
const LIMITS: Limits = Limits {
    files: 1_000_000,
    bytes: 20 << 30,
    entry_bytes: 256 << 20,
    ratio: 50,
};

/// One thing to bring, and where to.
struct Errand {
    item: Item,
    to: PathBuf,
    mirror: Option<String>,
}

pub(crate) fn fetch(request: &Request, console: &Console) -> Result<()> {
    let mut errands = Vec::new();
    for name in &request.names {
        errands.extend(errands_of(name, request)?);
    }
    if errands.is_empty() {
        console.note("nothing to fetch: these experiments name no published weights or images");
    }
    let stop = stop::on_signals();
    for errand in &errands {
        let place = match errand.item.kind {
            Kind::Weights => fetch_file(errand, stop, console)?,
            Kind::Archive { folder } => {
                fetch_archive(errand, folder, request.keep_archive, stop, console)?
            }
        };
        let fields = json!({ "name": errand.item.name, "path": place });
        console.answer("fetched", fields, &place.display().to_string());
    }
    Ok(())
}

fn errands_of(name: &str, request: &Request) -> Result<Vec<Errand>> {
    let mirror = request.mirror.clone().or_else(|| variable(&request.env));
    let errand = |item: Item, to: Option<PathBuf>, mirror: Option<String>| Errand {
        to: match item.kind {
            Kind::Weights => weights::torch_checkpoints(),
            Kind::Archive { .. } => to.unwrap_or_else(|| PathBuf::from(catalog::ARCHIVES)),
        },
        item,
        mirror,
    };
    if let Some(item) = catalog::find(name) {
        return Ok(vec![errand(item, request.to.clone(), mirror)]);
    }
    if Path::new(name)
        .extension()
        .is_none_or(|extension| extension != "toml")
    {
        return Err(Error::Usage(format!(
            "`{name}`: is no name of something that can be fetched\nhelp: there are {}; an experiment file stands for what it needs",
            catalog::names()
        )));
    }
    let experiment = config::read(Path::new(name), &[], &request.env)?.experiment;
    let mirror = request.mirror.clone().or(experiment.mirror);
    let images = catalog::archive_that_makes(&experiment.data.root)
        .map(|(name, folder)| (name, request.to.clone().or(Some(folder.to_owned()))));
    let weights = weights::published(&experiment.model).map(|(name, _)| (name, None));
    Ok(images
        .into_iter()
        .chain(weights)
        .filter_map(|(name, to)| Some(errand(catalog::find(name)?, to, mirror.clone())))
        .collect())
}

/// The key `fetch.mirror` as a variable; experiments read it by themselves.
fn variable(env: &[(String, String)]) -> Option<String> {
    let variable = env.iter().find(|(name, _)| name == "RUNNER_FETCH__MIRROR");
    variable.map(|(_, value)| value.clone())
}

fn fetch_file(errand: &Errand, stop: &AtomicBool, console: &Console) -> Result<PathBuf> {
    let item = &errand.item;
    let place = errand.to.join(item.file);
    let url = match &errand.mirror {
        Some(mirror) => format!("{}/{}", mirror.trim_end_matches('/'), item.file),
        None => item.url.clone(),
    };
    fs::create_dir_all(&errand.to).map_err(Error::io("creating", &errand.to))?;
    console.transfer_starts(item.file);
    let fetched = download(
        &url,
        &place,
        item.sha256,
        item.bytes,
        &|done, total| console.transferred(done, total),
        stop,
    );
    console.transfer_ends();
    match interrupted(fetched, item.name, console)? {
        Fetched::AlreadyThere => console.note(&format!("{}: is there already", place.display())),
        Fetched::Downloaded => console.note(&format!("{url}: downloaded, its SHA-256 is right")),
    }
    Ok(place)
}

fn fetch_archive(
    errand: &Errand,
    folder: &str,
    keep_archive: bool,
    stop: &AtomicBool,
    console: &Console,
) -> Result<PathBuf> {
    let place = errand.to.join(folder);
    if place.exists() {
        console.note(&format!("{}: is there already", place.display()));
        return Ok(place);
    }
    let archive = fetch_file(errand, stop, console)?;
    console.transfer_starts(&format!("unpacking {}", errand.item.file));
    let unpacked = unpack(
        &archive,
        &errand.to,
        &LIMITS,
        &|done, total| console.transferred(done, Some(total)),
        stop,
    );
    console.transfer_ends();
    let unpacked = interrupted(unpacked, errand.item.name, console)?;
    console.note(&format!("{}: {} files", place.display(), unpacked.files));
    if !keep_archive {
        fs::remove_file(&archive).map_err(Error::io("removing", archive))?;
    }
    Ok(place)
}

fn interrupted<T>(result: Result<T>, name: &str, console: &Console) -> Result<T> {
    if matches!(result, Err(Error::Interrupted)) {
        console.note(&format!(
            "interrupted; the same `runner fetch {name}` goes on"
        ));
    }
    result
}
