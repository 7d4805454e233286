//! Reads a run for its page: predictions, scores, photos, and whatever else the run directory has.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Write as _,
};

use super::{facts, heat_maps, photos, photos::Photos};
use crate::{
    console::Console,
    page::{
        self,
        model::{
            Answer, DataFacts, Gallery, GalleryItem, Headline, PartScore, RunReport, RunState,
        },
    },
    rundir::records::{self, ClassScores, SplitRow},
    runs::{self, RunView},
    scores::{
        confusion::{Confusion, macro_average},
        label_issues,
        statistics::wilson,
    },
    text::{
        moment,
        table::counted,
        table::{bytes, duration},
    },
};

/// The size that the page of a usual run stays below, with some room for what the photos leave.
const MOST_BYTES: usize = 2_900_000;

/// The page of a run, and the number of photos on it.
pub(super) fn page(view: &RunView, has_photos: bool, console: &Console) -> (String, usize) {
    let (mut report, rows) = report(view);
    let order = page::chosen(&report.answers);
    let items = order.into_iter().map(|answer| GalleryItem {
        answer,
        thumbnail: None,
        overlay: None,
    });
    report.gallery.items = items.collect();
    let wanted = report
        .gallery
        .items
        .iter()
        .map(|item| report.answers[item.answer].file.as_str());
    let wanted: HashSet<&str> = wanted.collect();
    let mut found = if has_photos {
        Photos::read(view, &rows, &wanted, console)
    } else {
        Photos::absent("The page was made without photos (--no-photos).")
    };
    report.data.duplicates = found.duplicates.take();
    report.data.note.clone_from(&found.note);
    report.gallery.note = found.note;
    let room = MOST_BYTES.saturating_sub(page::run(&report).len());
    add_photos(view, &mut report, &found.thumbnails, room, console);
    let n_photos = report
        .gallery
        .items
        .iter()
        .filter(|item| item.thumbnail.is_some())
        .count();
    (page::run(&report), n_photos)
}

/// Puts photos into the gallery, the first ones first, until the page is full.
fn add_photos(
    view: &RunView,
    report: &mut RunReport,
    thumbnails: &HashMap<String, Vec<u8>>,
    room: usize,
    console: &Console,
) {
    let Gallery { items, note } = &mut report.gallery;
    let answers = &report.answers;
    let has_photo = |item: &&mut GalleryItem| thumbnails.contains_key(&answers[item.answer].file);
    let mut pictured: Vec<&mut GalleryItem> = items.iter_mut().filter(has_photo).collect();
    let files = pictured
        .iter()
        .map(|item| answers[item.answer].file.as_str());
    let files: Vec<&str> = files.take(heat_maps::MOST).collect();
    let maps = heat_maps::heat_maps(view, &files, console).unwrap_or_default();
    let mut overlays = maps
        .into_iter()
        .map(|map| map.as_ref().and_then(photos::jpeg));
    let (mut n_bytes, mut n_left_out) = (0, 0);
    for item in &mut pictured {
        let thumbnail = &thumbnails[&answers[item.answer].file];
        let overlay = overlays.next().flatten();
        // Base64 makes four letters of three bytes; the rest is the element around it.
        let size = |bytes: &[u8]| bytes.len().div_ceil(3) * 4 + 120;
        let needed = size(thumbnail) + overlay.as_deref().map_or(0, size);
        if n_bytes + needed > room {
            n_left_out += 1;
            continue;
        }
        n_bytes += needed;
        item.thumbnail = Some(thumbnail.clone());
        item.overlay = overlay;
    }
    if n_left_out > 0 {
        let photos = counted(n_left_out, "photo");
        let _ = write!(note, " {photos} left out to keep the page small.");
    }
}

/// Everything but the photos.
fn report(view: &RunView) -> (RunReport, Vec<SplitRow>) {
    let rows = view.split_rows();
    let predictions = view.probabilities();
    let classes = classes(view, &predictions);
    let answers = answers(&classes, predictions);
    let scores = |is_test: bool, of_summary: &[ClassScores]| {
        let part = answers.iter().filter(|it| it.is_test == is_test);
        let pairs: Vec<(usize, usize)> = part.map(|it| (it.truth, it.predicted)).collect();
        if pairs.is_empty() {
            of_summary.to_vec()
        } else {
            Confusion::of_numbers(&classes, pairs).scores()
        }
    };
    let summary = view.summary.as_ref();
    let test = summary.and_then(|summary| summary.test.as_ref());
    let valid_classes = scores(false, summary.map_or(&[], |summary| &summary.classes));
    let test_classes = scores(true, test.map_or(&[], |test| &test.classes));
    let data = data(view, &classes, &rows);
    let report = RunReport {
        name: view.id(),
        subtitle: facts::subtitle(view),
        state: state(view),
        headline: headline(view, &answers, &data.counts, &valid_classes),
        epochs: view.rows.clone(),
        best_epoch: view.best().map(|row| row.epoch),
        valid_classes,
        test_classes,
        gallery: Gallery::default(),
        data,
        groups: records::read_csv_so_far(&view.dir.groups_csv()),
        settings: facts::settings(view),
        lineage: facts::lineage(view),
        times: summary
            .map(|summary| summary.times)
            .filter(|times| times.total() > 0.0),
        bottleneck: summary
            .map(|summary| summary.bottleneck.clone())
            .unwrap_or_default(),
        classes,
        answers,
    };
    (report, rows)
}

/// The classes of the manifest; for a copy without one, those that the predictions name.
fn classes(view: &RunView, predictions: &[(records::PredictionRow, Vec<f64>)]) -> Vec<String> {
    if !view.manifest.classes.is_empty() {
        return view.manifest.classes.clone();
    }
    let named = predictions
        .iter()
        .flat_map(|(row, _)| [&row.class, &row.predicted]);
    let named: BTreeSet<&String> = named.collect();
    named.into_iter().cloned().collect()
}

fn answers(
    classes: &[String],
    predictions: Vec<(records::PredictionRow, Vec<f64>)>,
) -> Vec<Answer> {
    let numbers: HashMap<&str, usize> = classes
        .iter()
        .enumerate()
        .map(|(number, class)| (class.as_str(), number))
        .collect();
    let mut answers: Vec<Answer> = predictions
        .into_iter()
        .filter_map(|(row, mut probabilities)| {
            // Those of other classes than these, as in a copy without a manifest, cannot be assigned.
            if probabilities.len() != classes.len() {
                probabilities.clear();
            }
            Some(Answer {
                truth: *numbers.get(row.class.as_str())?,
                predicted: *numbers.get(row.predicted.as_str())?,
                probability: row.probability,
                loss: f64::from(row.loss),
                is_test: row.split == "test",
                file: row.file,
                probabilities,
                suspected: None,
            })
        })
        .collect();
    for is_test in [false, true] {
        // The thresholds of the rule belong to one set of images.
        let part = |it: &&Answer| it.is_test == is_test;
        let images = answers
            .iter()
            .filter(part)
            .map(|it| (it.truth, &it.probabilities[..]));
        let suspects = label_issues::suspects(images, classes.len());
        let of_part = answers.iter_mut().filter(|it| it.is_test == is_test);
        for (answer, suspect) in of_part.zip(suspects) {
            answer.suspected = suspect;
        }
    }
    answers
}

fn state(view: &RunView) -> RunState {
    let place = view.path().display();
    let help = if !view.damages.is_empty() {
        format!("Run `runner verify {place}` to check every file.")
    } else if matches!(
        view.state,
        runs::RunState::Interrupted | runs::RunState::Failed | runs::RunState::Killed
    ) && view.is_resumable()
    {
        format!("To resume, run `runner resume {place}`.")
    } else {
        String::new()
    };
    RunState {
        name: view.state_name().to_owned(),
        reason: view.reason.clone(),
        epochs: view.epochs(),
        is_slim: view.is_slim,
        damages: view.all_damages(),
        help,
    }
}

fn headline(
    view: &RunView,
    answers: &[Answer],
    counts: &[(String, [usize; 3])],
    scores: &[ClassScores],
) -> Headline {
    let n_of = |is_test: bool, recorded: usize| match answers
        .iter()
        .filter(|it| it.is_test == is_test)
        .count()
    {
        0 => recorded,
        n => n,
    };
    let score = |accuracy: f64, loss: f64, n_images: usize| PartScore {
        accuracy,
        interval: (n_images > 0 && accuracy.is_finite())
            .then(|| wilson((accuracy * n_images as f64).round() as usize, n_images)),
        loss,
        n_images,
    };
    let manifest = &view.manifest;
    let best = view.best();
    let summary = view.summary.as_ref();
    let test = summary.and_then(|summary| summary.test.as_ref());
    let mut tiles = Vec::new();
    let mut tile = |label: &str, value: Option<String>| {
        tiles.extend(value.map(|value| (label.to_owned(), value)));
    };
    tile(
        "macro F1",
        macro_average(scores).f1.map(|f1| format!("{f1:.4}")),
    );
    tile(
        "validation loss",
        best.map(|row| format!("{:.4}", row.valid_loss)),
    );
    tile(
        "best epoch",
        best.map(|row| format!("{} of {}", row.epoch, view.rows.len())),
    );
    tile(
        "time",
        Some(duration(view.seconds())).filter(|_| !view.rows.is_empty()),
    );
    tile(
        "trainable parameters",
        view.last().map(|row| millions(row.trainable_params)),
    );
    tile(
        "peak memory",
        summary
            .and_then(|summary| summary.peak_memory_bytes)
            .map(bytes),
    );
    Headline {
        valid: best.map(|row| {
            score(
                row.valid_accuracy,
                row.valid_loss,
                n_of(false, manifest.n_valid),
            )
        }),
        test: test.map(|test| score(test.accuracy, test.loss, n_of(true, manifest.n_test))),
        baseline: baseline(counts),
        tiles,
        facts: facts::of_run(view),
    }
}

/// `14.7 M`, or the number itself if it is small.
fn millions(n: usize) -> String {
    if n >= 1_000_000 {
        format!("{:.1} M", n as f64 / 1e6)
    } else {
        crate::plan::with_commas(n)
    }
}

/// The accuracy of always predicting the most frequent class of the validation images, as in `evaluate`, and that class.
fn baseline(counts: &[(String, [usize; 3])]) -> Option<(f64, String)> {
    // Of equally frequent classes the first one, so that the answer is always the same.
    let (class, [_, n_correct, _]) = counts.iter().rev().max_by_key(|(_, it)| it[1])?;
    let n_valid: usize = counts.iter().map(|(_, it)| it[1]).sum();
    (n_valid > 0).then(|| (*n_correct as f64 / n_valid as f64, class.clone()))
}

fn data(view: &RunView, classes: &[String], rows: &[SplitRow]) -> DataFacts {
    let mut counts: HashMap<&str, [usize; 3]> = HashMap::new();
    for row in rows {
        let at = ["train", "valid", "test"]
            .iter()
            .position(|part| *part == row.split);
        if let Some(at) = at {
            counts.entry(&row.class).or_default()[at] += 1;
        }
    }
    let listed: Vec<(String, String)> = records::read_csv_so_far(&view.dir.rejected_csv());
    let (ignored, rejected): (Vec<_>, Vec<_>) = listed
        .into_iter()
        .partition(|(_, reason)| reason.starts_with("ignored: "));
    DataFacts {
        counts: classes
            .iter()
            .filter(|_| !rows.is_empty())
            .map(|class| {
                (
                    class.clone(),
                    counts.get(class.as_str()).copied().unwrap_or_default(),
                )
            })
            .collect(),
        rejected,
        n_ignored: ignored.len(),
        duplicates: None,
        note: String::new(),
    }
}

/// `2026-11-29 08:01:27`
pub(super) fn started(view: &RunView) -> Option<String> {
    (!view.manifest.started.is_empty()).then(|| moment::shown(&view.manifest.started))
}
