//! The road from an experiment file to everything that is decided before the first step. Reads; writes nothing but
//! the memory of the scan.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
};

use super::{data_report, fetch, notices};
use crate::{
    config::{
        self, Loaded,
        experiment::{Data, Experiment, InitFrom},
    },
    console::Console,
    data::{
        index::{self, DatasetIndex},
        split::{Part, SplitTable},
    },
    error::{Error, Result},
    fetch::catalog,
    model::{state::StateDict, weights},
    plan::Plan,
    rundir::{RunDir, recipe, records::Parent},
    text::plain::for_a_line,
    train::{activations, checkpoint},
};

/// An experiment as the user typed it.
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

/// Initial parameters and where they came from.
pub(crate) struct Initial {
    pub(crate) state: StateDict,
    pub(crate) weights: String,
    pub(crate) weights_sha256: String,
    pub(crate) fresh_parameters: Vec<String>,
    pub(crate) parent: Option<Parent>,
}

/// Reads the experiment, then the images. No image is read before the file is right.
pub(crate) fn prepare(request: &ExperimentRequest, console: &Console) -> Result<Prepared> {
    let loaded = config::read(&request.file, &request.sets, &request.env)?;
    prepare_with(
        loaded,
        &mut |data| scan(data, console).map(Arc::new),
        console,
    )
}

/// The same of an experiment that has been read, on images as `index` knows them.
pub(crate) fn prepare_with(
    loaded: Loaded,
    index: &mut dyn FnMut(&Data) -> Result<Arc<DatasetIndex>>,
    console: &Console,
) -> Result<Prepared> {
    let experiment = &loaded.experiment;
    let parent = parent(experiment)?;
    check_presence(experiment, parent.is_some())?;
    let index = index(&experiment.data)?;
    let split = match &parent {
        Some(parent) => inherited_split(parent, experiment, &index, console)?,
        None => SplitTable::new(&experiment.split, experiment.seed, &index)?,
    };
    data_report::tell(&loaded, &index, &split, console)?;
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

/// Missing images and missing weights are said together: to fetch them takes a while.
fn check_presence(experiment: &Experiment, has_parent: bool) -> Result<()> {
    let root = &experiment.data.root;
    let images = match catalog::archive_that_makes(root) {
        Some((name, folder)) if fetch::is_free(root) => Err(Error::data(format!(
            "{}: there are no images yet\nhelp: `runner fetch {name}{}` downloads them",
            root.display(),
            catalog::option_to(folder)
        ))),
        Some(_) | None => index::check_root(root),
    };
    let weights = if has_parent {
        Ok(())
    } else {
        weights::check_presence(&experiment.model)
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

/// The place of a run that another one starts from, with all links followed.
pub(crate) fn path_of(parent: &RunDir) -> Result<String> {
    let path = fs::canonicalize(parent.path()).map_err(Error::io("find", parent.path()))?;
    config::path_text(if path.to_str().is_some() {
        &path
    } else {
        parent.path()
    })
}

/// Scans the images, remembering the result in the user's cache directory.
pub(crate) fn scan(data: &Data, console: &Console) -> Result<DatasetIndex> {
    let index = index::scan(
        data,
        activations::user_dir().as_deref(),
        &|n_done, n_files| {
            console.scanned(n_done, n_files);
        },
    );
    console.scan_ends();
    let index = index?;
    console.note(&describe(&index));
    if let Some(pair) = alike(&index.classes) {
        console.note(&pair);
    }
    if let Some(doubt) = &index.doubt {
        console.note(doubt);
    }
    if let Some(problem) = &index.memory_problem {
        console.note(&format!("the scan could not be remembered: {problem}"));
    }
    Ok(index)
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

/// Two classes that a file system of another kind would take for one.
fn alike(classes: &[String]) -> Option<String> {
    let mut seen = HashMap::new();
    classes.iter().find_map(|class| {
        let other = seen.insert(class.to_lowercase(), class)?;
        Some(format!(
            "classes `{other}` and `{class}` differ only in upper and lower case; are they one?"
        ))
    })
}

/// The parent's very split, so that no image it trained on is validated on. Another one is refused unless asked for.
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
        return Err(Error::data(format!(
            "init_from: {} was split with {}, this experiment asks for {}; images it trained on would be validated on\n\
             help: take [split] out to use its split, or set `allow_other_split = true`",
            parent.path().display(),
            parents.split,
            experiment.split
        )));
    }
    read_split(parent, index)
}

/// The split of a run as it was written; a changed one would validate on images that were trained on.
pub(crate) fn read_split(run_dir: &RunDir, index: &DatasetIndex) -> Result<SplitTable> {
    let path = recipe::sound(run_dir, recipe::SPLIT, &recipe::manifest(run_dir)?)?;
    let file = File::open(&path).map_err(Error::io("open", &path))?;
    let split = SplitTable::read_csv(file, &path, index)?;
    let manifest = recipe::manifest(run_dir)?;
    if split.hash(index) != manifest.split_sha256 {
        return Err(Error::data(format!(
            "{}: is not the split that the run began with\n\
             help: restore the file from a copy, or begin a new run",
            path.display()
        )));
    }
    Ok(split)
}

/// How many images the parent trained on are now held out.
fn leaks(parent: &RunDir, split: &SplitTable, index: &DatasetIndex) -> String {
    let place = parent.path().display();
    let Ok(parents) = read_split(parent, index) else {
        return format!("warning: the images are not those of {place}");
    };
    let pairs = parents.parts.iter().zip(&split.parts);
    let n = pairs
        .filter(|(old, new)| **old == Part::Train && **new != Part::Train)
        .count();
    format!("warning: {n} images that {place} trained on are held out now")
}

/// The parameters before the first step: of the parent's best checkpoint, or of the weights.
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
        return Err(Error::data(format!(
            "init_from: {} has a {} for {:?}, this experiment needs a {} for {:?}",
            parent.path().display(),
            parents.model.arch.name(),
            manifest.classes,
            experiment.model.arch.name(),
            prepared.index.classes
        )));
    }
    let arch = experiment.model.arch;
    let best = checkpoint::read_best(parent, &arch.tensors(manifest.classes.len()))?;
    let epoch = best.epoch;
    // The child may be resumed from another directory.
    Ok(Initial {
        state: best.state,
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
