//! `runner fetch NAME..`: downloads published images and weights to where experiments look for them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use serde_json::{Value, json};

use crate::{
    commands::{
        context::Context,
        models::{self, ModelRow},
    },
    config::{self, experiment::Experiment},
    console::Console,
    error::{Error, Result},
    fetch::{
        catalog::{self, CatalogItem, DownloadKind},
        download::{DownloadRequest, Fetched, download},
        part, room,
        unpack::{Limits, unpack, was_cut_short},
    },
    model::{families::Arch, weights},
    sweep,
    system::stop,
    text::suggest::{list as list_of, nearest},
    text::table::{Align, Table, size},
};

#[derive(Debug, clap::Args)]
pub(crate) struct FetchArgs {
    /// What to download: a data set such as `cats-vs-dogs`; weights such as `resnet50` or `resnet50/imagenet1k_v2`; or an experiment or
    /// sweep file, to download what it needs
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[arg(long, value_name = "DIR", help = format!("Folder to unpack images into [default: {}]", catalog::ARCHIVES))]
    pub(crate) to: Option<PathBuf>,
    /// Base URL to download from instead of the official servers; file names are appended to it
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// Keep the archive after unpacking it
    #[arg(long)]
    pub(crate) keep_archive: bool,
}

/// The limits on image archives, against archives made to fill the disk. Cats-and-Dogs has 25,000 photos of 35 kB.
const LIMITS: Limits = Limits {
    files: 1_000_000,
    bytes: 20 << 30,
    entry_bytes: 256 << 20,
    ratio: 50,
};

/// One download and the folder that it goes to.
#[derive(PartialEq)]
struct Errand {
    item: CatalogItem,
    to: PathBuf,
    mirror: Option<String>,
}

impl Errand {
    fn new(item: CatalogItem, to: Option<PathBuf>, mirror: Option<String>) -> Self {
        let to = match item.kind {
            DownloadKind::Weights => weights::torch_checkpoints(),
            DownloadKind::Archive { .. } => to.unwrap_or_else(|| PathBuf::from(catalog::ARCHIVES)),
        };
        Self { item, to, mirror }
    }

    fn url(&self) -> String {
        match &self.mirror {
            Some(mirror) => {
                // The query of a mirror, such as an access token, goes after the file name.
                let (folder, query) = mirror.split_at(mirror.find('?').unwrap_or(mirror.len()));
                format!("{}/{}{query}", folder.trim_end_matches('/'), self.item.file)
            }
            None => self.item.url.clone(),
        }
    }

    /// The file or folder that exists once the download is complete.
    fn place(&self) -> PathBuf {
        match self.item.kind {
            DownloadKind::Weights => self.to.join(self.item.file),
            DownloadKind::Archive { folder } => self.to.join(folder),
        }
    }
}

pub(crate) fn run(args: &FetchArgs, cx: &Context) -> Result<()> {
    let (request, console) = (args, &cx.console);
    if request.names.is_empty() {
        list(request.to.as_deref(), console);
        return Ok(());
    }
    let mut errands: Vec<Errand> = Vec::new();
    for name in &request.names {
        for errand in errands_of(name, request, &cx.environment)? {
            if !errands.contains(&errand) {
                errands.push(errand);
            }
        }
    }
    let has_images = errands
        .iter()
        .any(|errand| errand.item.kind != DownloadKind::Weights);
    if request.to.is_some() && !errands.is_empty() && !has_images {
        return Err(
            Error::usage("`--to` applies to images only, and these are weights").help(format!(
                "set `TORCH_HOME` to save weights elsewhere than in {}",
                weights::torch_checkpoints().display()
            )),
        );
    }
    if errands.is_empty() {
        console.note(
            "nothing to download: no published images are needed, and the weights are built in, local or none",
        );
    }
    if errands.iter().any(|errand| errand.to.starts_with("~")) {
        return Err(
            Error::usage("cannot find the home directory to save weights in")
                .fact("`HOME` is unset, empty or a relative path")
                .help("set `TORCH_HOME` to an absolute path"),
        );
    }
    let stop = stop::on_signals();
    for errand in &errands {
        match errand.item.kind {
            DownloadKind::Weights => fetch_file(errand, stop, console)?,
            DownloadKind::Archive { .. } => {
                fetch_archive(errand, request.keep_archive, stop, console)?;
            }
        }
        let place = errand.place();
        let fields = json!({ "name": errand.item.name, "path": place.to_string_lossy() });
        console.answer("fetched", fields, &place.display().to_string());
    }
    Ok(())
}

/// Lists what can be downloaded, and what is downloaded already.
fn list(to: Option<&Path>, console: &Console) {
    let mut archives = Table::new(&[
        ("data set", Align::Left),
        ("size", Align::Right),
        ("downloaded", Align::Left),
        ("terms", Align::Left),
    ]);
    let mut items: Vec<Value> = Vec::new();
    for item in catalog::archives() {
        let errand = Errand::new(item, to.map(Path::to_owned), None);
        let (item, place, is_here) = (&errand.item, errand.place(), !is_free(&errand.place()));
        items.push(json!({
            "name": &item.name, "url": item.url, "bytes": item.about_bytes, "path": place.to_string_lossy(),
            "is_here": is_here,
            "terms": item.terms,
        }));
        let here = if is_here { "yes" } else { "" };
        archives.row(vec![
            item.name.clone(),
            size(item.about_bytes),
            here.to_owned(),
            item.terms.to_owned(),
        ]);
    }
    let models = models::rows(|_| true).filter(ModelRow::is_download);
    let models: Vec<ModelRow> = models.collect();
    items.extend(models.iter().map(ModelRow::fields));
    let mut models = models::table(&models);
    models::fit(&mut models);
    let text = format!(
        "{}\n{}terms of the weights: {}",
        archives.text(),
        models.text(),
        catalog::TERMS_OF_WEIGHTS
    );
    console.answer("published", json!({ "items": items }), &text);
    console.note(&format!(
        "`runner fetch NAME..` takes a data set, ARCHITECTURE or ARCHITECTURE/WEIGHTS; it saves weights in {} and images in {}",
        weights::torch_checkpoints().display(),
        to.unwrap_or(Path::new(catalog::ARCHIVES)).display()
    ));
}

fn errands_of(name: &str, request: &FetchArgs, env: &[(String, String)]) -> Result<Vec<Errand>> {
    if let Some(item) = catalog::find(name) {
        let mirror = request.mirror.clone().or_else(|| variable(env));
        return Ok(vec![Errand::new(item, request.to.clone(), mirror)]);
    }
    // Weights that are part of this binary.
    if Arch::find_weights(name).is_some() {
        return Ok(Vec::new());
    }
    let file = Path::new(name);
    if file.extension().is_none_or(|extension| extension != "toml") {
        return Err(unknown(name));
    }
    let experiments = experiments_of(file, env)?;
    Ok(experiments
        .iter()
        .flat_map(|experiment| needed_by(experiment, request))
        .collect())
}

fn unknown(name: &str) -> Error {
    if let Some((arch, weights)) = name.split_once('/')
        && let Some(arch) = Arch::find(arch)
    {
        let message = format!("`{}` has no weights `{weights}`", arch.name());
        let expected: Vec<String> = full_names(arch).collect();
        return Error::usage(message).help(format!("expected {}", list_of(&expected, "or")));
    }
    let archives = catalog::archives().into_iter().map(|item| item.name);
    let models = Arch::all().flat_map(|arch| full_names(arch).chain([arch.name().to_owned()]));
    let names: Vec<String> = archives.chain(models).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = Error::usage(format!("unknown download `{name}`"));
    let error = match nearest(name, &names) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error,
    };
    error.help(
        "run `runner fetch` to list the names, or pass an experiment or sweep file (ending in .toml)",
    )
}

/// The names of an architecture's weights, in full.
fn full_names(arch: Arch) -> impl Iterator<Item = String> {
    let weights = arch.weights().iter();
    weights.map(move |published| arch.name_with_weights(published))
}

/// The experiment of an experiment file, or the experiments of all trials of a sweep file.
fn experiments_of(file: &Path, env: &[(String, String)]) -> Result<Vec<Experiment>> {
    let text = config::layers::read_file(file)?;
    let is_sweep = text
        .parse::<toml::Table>()
        .is_ok_and(|table| table.contains_key("base"));
    let loaded = if is_sweep {
        let definition = sweep::file::read(file, &text)?;
        let trials = sweep::trials::trials(&definition);
        sweep::validate::experiments(&definition, &trials, &[], env)?
    } else {
        vec![config::from_text(file, text, &[], env)?]
    };
    Ok(loaded.into_iter().map(|loaded| loaded.experiment).collect())
}

fn needed_by(experiment: &Experiment, request: &FetchArgs) -> Vec<Errand> {
    let mirror = request.mirror.as_ref().or(experiment.mirror.as_ref());
    let images = catalog::archive_that_makes(&experiment.data.root)
        .map(|(name, folder)| (name, request.to.clone().or(Some(folder.to_owned()))));
    let weights = weights::published(&experiment.model).map(|(name, _)| (name, None));
    images
        .into_iter()
        .chain(weights)
        .filter_map(|(name, to)| Some(Errand::new(catalog::find(&name)?, to, mirror.cloned())))
        .collect()
}

/// The environment variable of the key `fetch.mirror`, for downloads by name; experiment files read it themselves.
fn variable(env: &[(String, String)]) -> Option<String> {
    let variable = env.iter().find(|(name, _)| name == "RUNNER_FETCH__MIRROR");
    variable.map(|(_, value)| value.clone())
}

fn fetch_file(errand: &Errand, stop: &AtomicBool, console: &Console) -> Result<()> {
    let (item, url, file) = (&errand.item, errand.url(), errand.to.join(errand.item.file));
    let order = DownloadRequest {
        url: &url,
        to: &file,
        sha256: item.sha256,
        bytes: item.bytes,
        at_most: item.at_most(),
    };
    if !file.exists() {
        let n_bytes_here = part::bytes_here(&file);
        room::check(
            &errand.to,
            item.bytes_with_contents().saturating_sub(n_bytes_here),
        )?;
        console.note(&announcement(&order, item, n_bytes_here));
    }
    fs::create_dir_all(&errand.to).map_err(Error::io("create", &errand.to))?;
    console.transfer_starts(item.file);
    let progress = |done, total| console.transferred(done, total);
    let fetched = download(&order, &progress, stop);
    console.transfer_ends();
    let fact = match interrupted(fetched, &item.name, console)? {
        Fetched::AlreadyThere => "already downloaded",
        Fetched::Downloaded => "downloaded",
    };
    let compared = compared(item.sha256);
    console.note(&format!("{}: {fact}; {compared}", file.display()));
    Ok(())
}

/// How much of the hash was compared with the published one.
fn compared(sha256: &str) -> String {
    match sha256.len() {
        0 => "not verified, because no SHA-256 is published".to_owned(),
        64 => "the SHA-256 matches".to_owned(),
        n_digits => format!("the first {n_digits} digits of the SHA-256 match"),
    }
}

/// The note before a download: source, size and license terms.
fn announcement(order: &DownloadRequest, item: &CatalogItem, n_bytes_here: u64) -> String {
    let here = match n_bytes_here {
        0 => String::new(),
        bytes => format!(" ({} downloaded already)", size(bytes)),
    };
    format!(
        "{}: {}{here}; terms: {}",
        order.place(),
        size(item.about_bytes),
        item.terms
    )
}

fn fetch_archive(
    errand: &Errand,
    keep_archive: bool,
    stop: &AtomicBool,
    console: &Console,
) -> Result<()> {
    let (place, archive) = (errand.place(), errand.to.join(errand.item.file));
    let is_half_moved = archive.exists() && was_cut_short(&archive, &errand.to);
    if !is_half_moved && !is_free(&place) {
        if !place.is_dir() {
            return Err(Error::data(format!(
                "cannot unpack to `{}`, because a file or a broken link is in the way",
                place.display()
            ))
            .at(place)
            .help("move it away, or choose another folder with `--to DIR`"));
        }
        console.note(&format!("{}: already downloaded", place.display()));
        if archive.exists() && !keep_archive {
            console.note(&format!(
                "{}: no longer needed, can be deleted",
                archive.display()
            ));
        }
        return Ok(());
    }
    fetch_file(errand, stop, console)?;
    // An empty folder makes room for the new one; one with files in it stays, and unpacking fails.
    let _ = fs::remove_dir(&place);
    console.transfer_starts(&format!("unpacking {}", errand.item.file));
    let unpacked = unpack(
        &archive,
        &errand.to,
        &LIMITS,
        &|done, total| console.transferred(done, Some(total)),
        stop,
    );
    console.transfer_ends();
    let unpacked = interrupted(unpacked, &errand.item.name, console)?;
    console.note(&format!(
        "{}: unpacked {} files",
        errand.to.display(),
        unpacked.files
    ));
    if !keep_archive {
        fs::remove_file(&archive).map_err(Error::io("remove", archive))?;
    }
    Ok(())
}

/// Whether the path does not exist, or is an empty folder.
pub(super) fn is_free(place: &Path) -> bool {
    match fs::read_dir(place) {
        Ok(mut entries) => entries.next().is_none(),
        // A broken link is not found either, but it is in the way.
        Err(error) => {
            error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(place).is_err()
        }
    }
}

fn interrupted<T>(result: Result<T>, name: &str, console: &Console) -> Result<T> {
    if result.as_ref().is_err_and(Error::is_interrupted) {
        console.note(&format!(
            "interrupted; to resume the download, run `runner fetch {name}` again"
        ));
    }
    result
}
