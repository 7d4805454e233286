//! From an experiment file to everything that is decided before the first step: images, split, plan and initial parameters.
//! Writes nothing but the cached scan of the images.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
};

use super::{data_report, fetch, notices};
use crate::{
    config::{
        self, Loaded,
        experiment::{Data, Experiment, InitFrom, Metric},
    },
    console::Console,
    data::{
        index::{self, DatasetIndex},
        split::{Part, SplitTable},
    },
    disk::user_dirs,
    error::{Error, Result},
    fetch::catalog,
    model::{families::Arch, start::StartState, weights},
    plan::Plan,
    rundir::{RunDir, recipe, records::Parent},
    text::{plain::for_a_line, table::counted},
    train::{activations, checkpoint},
};

/// An experiment file with its overrides, as the user typed them.
pub(crate) struct ExperimentRequest {
    pub(crate) file: PathBuf,
    pub(crate) sets: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

pub(crate) struct Prepared {
    pub(crate) loaded: Loaded,
    pub(crate) index: Arc<DatasetIndex>,
    pub(crate) split: SplitTable,
    pub(crate) plan: Plan,
    pub(crate) parent: Option<RunDir>,
}

/// The parameters before the first step, and where they come from.
pub(crate) struct Initial {
    pub(crate) state: StartState,
    pub(crate) weights: String,
    pub(crate) weights_sha256: String,
    pub(crate) fresh_parameters: Vec<String>,
    pub(crate) parent: Option<Parent>,
}

/// Reads the experiment, then the images. Reading images can take minutes, so an invalid file fails before that.
pub(crate) fn prepare(request: &ExperimentRequest, console: &Console) -> Result<Prepared> {
    let loaded = config::read(&request.file, &request.sets, &request.env)?;
    prepare_with(
        loaded,
        &mut |data| scan(data, console).map(Arc::new),
        console,
    )
}

/// Like [`prepare`], for an experiment that has been read, with `index` to look at its images.
pub(crate) fn prepare_with(
    loaded: Loaded,
    index: &mut dyn FnMut(&Data) -> Result<Arc<DatasetIndex>>,
    console: &Console,
) -> Result<Prepared> {
    let experiment = &loaded.experiment;
    let parent = parent(experiment)?;
    check_presence(experiment, parent.is_none())?;
    let index = index(&experiment.data)?;
    let split = split(experiment, parent.as_ref(), &index, console)?;
    data_report::tell(&loaded, &index, &split, console)?;
    check_metric(experiment, &split, &index)?;
    let method = experiment.split.in_force(index.own_split.is_some());
    notices::doubtful_settings(experiment, &index, &split, console);
    notices::unmeasured_classes(&method, &split, &index, console);
    let plan = Plan::new(
        experiment,
        index.classes.len(),
        split.images(Part::Train).len(),
    );
    activations::check(experiment, &plan)?;
    Ok(Prepared {
        loaded,
        index,
        split,
        plan,
        parent,
    })
}

/// Fails if the metric would be undefined in every epoch: an area under a ROC curve compares images of two classes.
fn check_metric(experiment: &Experiment, split: &SplitTable, index: &DatasetIndex) -> Result<()> {
    let images = split.images(Part::Valid).into_iter();
    let classes: HashSet<usize> = images.map(|image| index.images[image].class).collect();
    if experiment.training.metric != Metric::ValidAuc || classes.len() > 1 {
        return Ok(());
    }
    Err(Error::data(format!(
        "`training.metric = \"{}\"` needs validation images of at least two classes, found {}",
        Metric::ValidAuc.name(),
        classes.len()
    ))
    .at(&index.root)
    .help(
        "set `split.method = \"stratified\"` to split each class separately, or use another metric",
    ))
}

/// The images of an experiment and their split, for commands that need no weights.
pub(crate) fn images(
    experiment: &Experiment,
    console: &Console,
) -> Result<(Arc<DatasetIndex>, SplitTable)> {
    let parent = parent(experiment)?;
    check_presence(experiment, false)?;
    let index = Arc::new(scan(&experiment.data, console)?);
    let split = split(experiment, parent.as_ref(), &index, console)?;
    Ok((index, split))
}

fn split(
    experiment: &Experiment,
    parent: Option<&RunDir>,
    index: &DatasetIndex,
    console: &Console,
) -> Result<SplitTable> {
    match parent {
        Some(parent) => inherited_split(parent, experiment, index, console),
        None => SplitTable::new(&experiment.split, experiment.seed, index),
    }
}

/// Fails if images or weights are missing. Both are reported together, because downloading either takes a while.
fn check_presence(experiment: &Experiment, needs_weights: bool) -> Result<()> {
    let root = &experiment.data.root;
    let images = match catalog::archive_that_makes(root) {
        Some((name, folder)) if fetch::is_free(root) => Err(Error::data(format!(
            "there are no images in `{}` yet",
            root.display()
        ))
        .at(root)
        .help(format!(
            "run `runner fetch {name}{}` to download them",
            catalog::option_to(folder)
        ))),
        Some(_) | None => index::check_root(root),
    };
    let weights = if needs_weights {
        weights::check_presence(&experiment.model)
    } else {
        Ok(())
    };
    match (images, weights) {
        (Err(images), Err(weights)) => Err(images.and(weights)),
        (images, weights) => images.and(weights),
    }
}

/// The run that the experiment starts from.
pub(crate) fn parent(experiment: &Experiment) -> Result<Option<RunDir>> {
    match &experiment.init_from {
        None => Ok(None),
        Some(InitFrom::Run(path)) => RunDir::open(path).map(Some),
        Some(InitFrom::Latest(name)) => RunDir::latest(&experiment.runs_dir, name).map(Some),
    }
}

/// The canonical path of a run that another one starts from.
pub(crate) fn path_of(parent: &RunDir) -> Result<String> {
    let path = fs::canonicalize(parent.path()).map_err(Error::io("find", parent.path()))?;
    config::path_text(if path.to_str().is_some() {
        &path
    } else {
        parent.path()
    })
}

/// Scans the images, and caches the result in the user's cache directory.
pub(crate) fn scan(data: &Data, console: &Console) -> Result<DatasetIndex> {
    let index = index::scan(data, user_dirs::cache().as_deref(), &|n_done, n_files| {
        console.scanned(n_done, n_files);
    });
    console.scan_ends();
    let index = index?;
    tell(&index, console);
    Ok(index)
}

/// Like [`scan`], for images that a model with these classes is to be tested on.
pub(super) fn scan_known(
    data: &Data,
    classes: &[String],
    console: &Console,
) -> Result<DatasetIndex> {
    let memory = user_dirs::cache();
    let index = index::scan_known(data, classes, memory.as_deref(), &|n_done, n_files| {
        console.scanned(n_done, n_files);
    });
    console.scan_ends();
    let index = index?;
    tell(&index, console);
    Ok(index)
}

/// Notes what a scan has found.
fn tell(index: &DatasetIndex, console: &Console) {
    console.note(&describe(index));
    if let Some(pair) = alike(&index.classes) {
        console.note(&pair);
    }
    if let Some(doubt) = &index.doubt {
        console.note(doubt);
    }
    if let Some(problem) = &index.memory_problem {
        console.note(&format!(
            "cannot cache the scan of the images, so the next run scans them again: {problem}"
        ));
    }
}

fn describe(index: &DatasetIndex) -> String {
    let counts = index.class_counts();
    let classes: Vec<String> = index
        .classes
        .iter()
        .zip(counts)
        .map(|(class, n)| format!("{class} {n}"))
        .collect();
    let classes = if classes.len() > 12 {
        format!("{} classes", classes.len())
    } else {
        for_a_line(&classes.join(", ")).into_owned()
    };
    let mut text = format!(
        "{}: {} images ({classes})",
        index.root.display(),
        index.images.len()
    );
    for (files, what) in [(&index.rejected, "rejected"), (&index.ignored, "ignored")] {
        match files.len() {
            0 => {}
            1 => {
                let _ = write!(text, ", 1 file {what}");
            }
            n => {
                let _ = write!(text, ", {n} files {what}");
            }
        }
    }
    text
}

/// A warning about two classes that a case-insensitive file system would merge.
fn alike(classes: &[String]) -> Option<String> {
    let mut seen = HashMap::new();
    classes.iter().find_map(|class| {
        let other = seen.insert(class.to_lowercase(), class)?;
        Some(format!(
            "warning: the classes `{other}` and `{class}` differ only in case; if they are the same class, merge their folders"
        ))
    })
}

/// The split of the parent, so that no image it trained on is used for validation. Another split must be asked for.
fn inherited_split(
    parent: &RunDir,
    experiment: &Experiment,
    index: &DatasetIndex,
    console: &Console,
) -> Result<SplitTable> {
    if experiment.allow_other_split {
        let split = SplitTable::new(&experiment.split, experiment.seed, index)?;
        console.note(&leaks(parent, &split, index));
        return Ok(split);
    }
    let parents = recipe::experiment(parent, &[])?.experiment;
    let has_own = index.own_split.is_some();
    if parents.split.in_force(has_own) != experiment.split.in_force(has_own) {
        let text = "the split differs from that of the run in `init_from`, so images that the run trained on would be held out";
        return Err(Error::data(text)
            .at(parent.path())
            .fact(format!("split of the run: {}", parents.split))
            .fact(format!("split of this experiment: {}", experiment.split))
            .help("remove [split] from the experiment to use the split of the run")
            .help("or set `allow_other_split = true`"));
    }
    read_split(parent, index)
}

/// The split of a run as it was written. Fails if the file has changed, because held-out images could be trained on.
pub(crate) fn read_split(run_dir: &RunDir, index: &DatasetIndex) -> Result<SplitTable> {
    let path = recipe::sound(run_dir, recipe::SPLIT, &recipe::manifest(run_dir)?)?;
    let file = File::open(&path).map_err(Error::io("open", &path))?;
    let split = SplitTable::read_csv(file, &path, index)?;
    let manifest = recipe::manifest(run_dir)?;
    if split.hash(index) != manifest.split_sha256 {
        return Err(Error::data("the split has changed since the run started")
            .at(path)
            .help("restore the file from a backup, or start a new run"));
    }
    Ok(split)
}

/// A warning that says how many training images of the parent are now held out.
fn leaks(parent: &RunDir, split: &SplitTable, index: &DatasetIndex) -> String {
    let place = parent.path().display();
    let Ok(parents) = read_split(parent, index) else {
        return format!(
            "warning: cannot apply the split of {place} to these images, so some held-out images may be ones that it trained on"
        );
    };
    let pairs = parents.parts.iter().zip(&split.parts);
    let n = pairs
        .filter(|(old, new)| **old == Part::Train && **new != Part::Train)
        .count();
    format!(
        "warning: {} that {place} trained on {} held out now",
        counted(n, "image"),
        if n == 1 { "is" } else { "are" }
    )
}

/// The parameters before the first step: from the best checkpoint of the parent, or from the weights.
pub(crate) fn initial(prepared: &Prepared) -> Result<Initial> {
    let experiment = &prepared.loaded.experiment;
    let Some(parent) = &prepared.parent else {
        let loaded = weights::load(
            &experiment.model,
            prepared.index.classes.len(),
            experiment.seed,
        )?;
        return Ok(Initial {
            state: loaded.state,
            weights: loaded.source,
            weights_sha256: loaded.sha256.unwrap_or_default(),
            fresh_parameters: loaded.fresh,
            parent: None,
        });
    };
    let parents = recipe::experiment(parent, &[])?.experiment;
    let manifest = recipe::manifest(parent)?;
    if parents.model.arch != experiment.model.arch || manifest.classes != prepared.index.classes {
        return Err(mismatch(
            parent,
            (parents.model.arch, &manifest.classes),
            (experiment.model.arch, &prepared.index.classes),
        ));
    }
    let arch = experiment.model.arch;
    let best = checkpoint::read_best(parent, &arch.tensors(manifest.classes.len()))?;
    let epoch = best.epoch;
    // The manifest gets an absolute path, because the run may be resumed from another working directory.
    Ok(Initial {
        state: best.state.into(),
        weights: format!(
            "{}, best checkpoint (epoch {epoch})",
            parent.path().display()
        ),
        weights_sha256: best.model_sha256.clone(),
        fresh_parameters: Vec::new(),
        parent: Some(Parent {
            run: config::path_text(parent.path())?,
            epoch,
            model_sha256: best.model_sha256,
        }),
    })
}

/// An error that says in what the model of `parent` differs from that of the experiment.
fn mismatch(parent: &RunDir, theirs: (Arch, &[String]), ours: (Arch, &[String])) -> Error {
    let mut facts = Vec::new();
    if theirs.0 != ours.0 {
        let (theirs, ours) = (theirs.0.name(), ours.0.name());
        facts.push(format!(
            "the run has architecture `{theirs}`, this experiment `{ours}`"
        ));
    }
    let only = |of: &[String], other: &[String]| {
        let classes = of.iter().filter(|class| !other.contains(class));
        let classes: Vec<String> = classes.map(|class| format!("`{class}`")).collect();
        (!classes.is_empty()).then(|| classes.join(", "))
    };
    let (theirs, ours) = (theirs.1, ours.1);
    facts.extend(only(theirs, ours).map(|names| format!("classes only in the run: {names}")));
    let of_ours = only(ours, theirs);
    facts.extend(of_ours.map(|names| format!("classes only in this experiment: {names}")));
    if facts.is_empty() {
        facts.push("the classes are in another order".to_owned());
    }
    let error = Error::data("the run in `init_from` has another model than this experiment");
    error.at(parent.path()).facts(facts)
}
