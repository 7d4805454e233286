//! `runner explain RUN PATH..`: draws where a trained network looked, photo by photo, and all of them on one sheet.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use serde::Serialize;
use serde_json::json;

use crate::{
    commands::{args::Overrides, context::Context},
    console::Console,
    data::decode::RgbImage8,
    disk::{cells, files::write_atomic},
    error::{Diagnostic, Error, Kind, Result},
    explain::Method,
    inference::{
        OpenedRun,
        explainer::{BATCH, Explained, Explainer},
        files::{ClassFolders, InputFile, ListFormat, find},
        photos::decoded,
    },
    report::{self, Tile, Title},
    rundir::RunDir,
    system::stop,
    text::{suggest::nearest, table::counted},
    train::checkpoint::Which,
};

/// The most photos on the sheet.
const MOST_ON_SHEET: usize = 24;
/// The longest part of a photo's name that goes into the name of a picture, in characters.
const MOST_LETTERS: usize = 80;

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// Run directory, or latest:NAME
    pub(crate) run: String,
    /// Photos, folders, patterns, or `-` for a list on stdin
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Folder to write to
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// How the gradients weight the activations
    #[arg(long, value_enum, default_value = "grad-cam")]
    pub(crate) method: Method,
    /// Explain this class instead of the predicted and the true one; repeatable
    #[arg(long = "class", value_name = "CLASS")]
    pub(crate) classes: Vec<String>,
    /// Checkpoint to explain
    #[arg(long, value_enum, default_value = "best")]
    pub(crate) checkpoint: Which,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

/// A row of `explanations.csv`.
#[derive(Serialize)]
struct Row {
    file: String,
    /// The class that the map is for.
    class: String,
    /// The probability of that class.
    probability: f64,
    predicted: String,
    /// Empty where it is unknown.
    true_class: String,
    picture: String,
}

/// What has been written so far.
struct Folder<'a> {
    path: &'a Path,
    names: HashSet<String>,
    rows: Vec<Row>,
    /// The first photos, which the sheet shows.
    shown: Vec<(InputFile, Explained)>,
    n_done: usize,
}

pub(crate) fn run(args: &ExplainArgs, cx: &Context) -> Result<()> {
    let (console, sets) = (&cx.console, &args.overrides.sets);
    let found = cx.run_dir(&args.run)?;
    let run_dir = RunDir::open(found.path())?;
    let opened = OpenedRun::read(&run_dir, args.checkpoint, sets, "explain", console)?;
    let chosen = chosen_classes(&args.classes, &opened.manifest.classes)?;
    let explainer = Explainer::new(opened)?;
    fs::create_dir_all(&args.output).map_err(Error::io("create", &args.output))?;
    let mut folder = Folder {
        path: &args.output,
        names: HashSet::new(),
        rows: Vec::new(),
        shown: Vec::new(),
        n_done: 0,
    };
    let stop = stop::on_signals();
    let mut n_failed = 0;
    let folders = ClassFolders::new(&explainer.classes);
    let mut files = find(&args.paths, ListFormat::Lines, &folders);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::interrupted());
        }
        let (mut batch, mut photos) = (Vec::new(), Vec::new());
        for file in files.by_ref() {
            match decoded(&file, &explainer.decoding) {
                Ok(Some(photo)) => {
                    photos.push(explainer.preprocessed(&photo));
                    batch.push(file);
                }
                Ok(None) => {}
                Err(reason) => {
                    n_failed += 1;
                    console.note(&format!("skipped `{}`: {reason}", file.name));
                }
            }
            if batch.len() == BATCH {
                break;
            }
        }
        if batch.is_empty() {
            break;
        }
        let wanted = |at: usize, predicted: usize| {
            if chosen.is_empty() {
                let truth = batch[at].true_class.filter(|truth| *truth != predicted);
                std::iter::once(predicted).chain(truth).collect()
            } else {
                chosen.clone()
            }
        };
        let answers = explainer.explain(&photos, args.method, wanted);
        for (file, answer) in batch.iter().zip(answers) {
            folder.add(file, answer, &explainer.classes)?;
        }
    }
    conclude(&folder, args, console, &explainer.classes, n_failed)
}

/// The classes that `--class` names, as numbers.
fn chosen_classes(names: &[String], classes: &[String]) -> Result<Vec<usize>> {
    let number = |name: &String| {
        let number = classes.iter().position(|class| class == name);
        number.ok_or_else(|| {
            let error = Error::usage(format!("the run has no class `{name}`"));
            let known: Vec<&str> = classes.iter().map(String::as_str).collect();
            match nearest(name, &known) {
                Some(other) => error.help(format!("did you mean `{other}`?")),
                None => error.help(format!("its classes are {}", classes.join(", "))),
            }
        })
    };
    names.iter().map(number).collect()
}

impl Folder<'_> {
    fn add(&mut self, file: &InputFile, explained: Explained, classes: &[String]) -> Result<()> {
        let predicted = explained.predicted;
        for (class, overlay) in &explained.overlays {
            let name = self.free_name(&file.path, &classes[*class]);
            write_png(overlay, &self.path.join(&name))?;
            self.rows.push(Row {
                file: file.name.clone(),
                class: classes[*class].clone(),
                probability: explained.probabilities[*class],
                predicted: classes[predicted].clone(),
                true_class: file
                    .true_class
                    .map_or_else(String::new, |it| classes[it].clone()),
                picture: name,
            });
        }
        self.n_done += 1;
        if self.shown.len() < MOST_ON_SHEET {
            self.shown.push((file.clone(), explained));
        }
        Ok(())
    }

    /// `cat.12-Cat.png`, with a number behind it if another photo has that name.
    fn free_name(&mut self, photo: &Path, class: &str) -> String {
        let stem = photo.file_stem().unwrap_or_default().to_string_lossy();
        let is_plain = |letter: char| letter.is_alphanumeric() || "._-".contains(letter);
        let plain = |text: &str| -> String {
            let letters = text.chars().take(MOST_LETTERS);
            letters
                .map(|letter| if is_plain(letter) { letter } else { '_' })
                .collect()
        };
        let base = format!("{}-{}", plain(&stem), plain(class));
        let numbered = (2..).map(|number| format!("{base}-{number}.png"));
        let mut names = std::iter::once(format!("{base}.png")).chain(numbered);
        let free = names.find(|name| !self.names.contains(name));
        let free = free.unwrap_or_default();
        self.names.insert(free.clone());
        free
    }
}

fn conclude(
    folder: &Folder,
    args: &ExplainArgs,
    console: &Console,
    classes: &[String],
    n_failed: usize,
) -> Result<()> {
    let n_done = folder.n_done;
    if n_done == 0 && n_failed == 0 {
        return Err(Error::usage("no photos found").help("name photos, or folders that hold some"));
    }
    if n_done > 0 {
        let table = cells::to_csv(true, &folder.rows).map_err(cells::into_io);
        let path = folder.path.join("explanations.csv");
        let table = table.map_err(Error::io("write", &path))?;
        write_atomic(&path, &table)?;
        write_atomic(&folder.path.join("sheet.png"), &sheet(folder, classes)?)?;
        let fields = json!({
            "dir": args.output.to_string_lossy(), "photos": n_done, "skipped": n_failed,
            "method": args.method,
        });
        console.answer("explained", fields, &args.output.display().to_string());
    }
    if n_failed > 0 {
        let message = format!(
            "{n_failed} of {} could not be read",
            counted(n_done + n_failed, "photo")
        );
        return Err(Error::new(Kind::Io, vec![Diagnostic::new(message)]));
    }
    Ok(())
}

/// All photos in rows: what the network saw, then the maps of its classes.
fn sheet(folder: &Folder, classes: &[String]) -> Result<Vec<u8>> {
    let shown = &folder.shown;
    let n_maps = shown.iter().map(|(_, it)| it.overlays.len()).max();
    let n_in_group = n_maps.unwrap_or(0) + 1;
    let names: Vec<Vec<(String, String)>> = shown
        .iter()
        .map(|(_, explained)| {
            let of_maps = explained.overlays.iter().map(|(class, _)| {
                let percent = explained.probabilities[*class] * 100.0;
                (classes[*class].clone(), format!("{percent:.1} %"))
            });
            of_maps.collect()
        })
        .collect();
    let mut tiles = Vec::new();
    for ((file, explained), names) in shown.iter().zip(&names) {
        let (probabilities, predicted) = (&explained.probabilities, explained.predicted);
        let title = match file.true_class {
            Some(truth) => Title::Prediction {
                predicted: &classes[predicted],
                probability: probabilities[predicted],
                truth: &classes[truth],
            },
            None => Title::Plain(&classes[predicted], "predicted"),
        };
        tiles.push(Some(tile(&explained.view, title, &file.name)));
        for ((_, overlay), (class, percent)) in explained.overlays.iter().zip(names) {
            tiles.push(Some(tile(overlay, Title::Plain(class, percent), "")));
        }
        let n_left = n_in_group - 1 - explained.overlays.len();
        tiles.extend(std::iter::repeat_n(None, n_left));
    }
    let note = if shown.len() < folder.n_done {
        format!("{} of {} photos", shown.len(), folder.n_done)
    } else {
        counted(shown.len(), "photo")
    };
    let n_groups = if shown.len() > 2 { 2 } else { 1 };
    report::photo_grid(
        ("Where the network looked", &note),
        &tiles,
        n_in_group * n_groups,
    )
}

fn tile<'a>(picture: &'a RgbImage8, title: Title<'a>, caption: &'a str) -> Tile<'a> {
    Tile {
        rgb: &picture.pixels,
        width: picture.width as u32,
        height: picture.height as u32,
        title,
        caption,
    }
}

fn write_png(picture: &RgbImage8, path: &Path) -> Result<()> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    write_atomic(path, &report::png_of(&picture.pixels, width, height)?)
}
