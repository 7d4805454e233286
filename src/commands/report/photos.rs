//! The photos of a run, read again from where they were: thumbnails for the gallery, and what shows which of them are there twice.

use std::{
    collections::{HashMap, HashSet},
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use image::{ExtendedColorType, ImageBuffer, Rgb, RgbImage, codecs::jpeg::JpegEncoder, imageops};
use rayon::prelude::*;

use crate::{
    console::Console,
    data::{
        decode::{self, DecodeOptions, RgbImage8},
        fingerprint,
        index::{self, ImageEntry},
        photo,
    },
    disk::hash,
    page::model::{DataFile, Duplicates},
    rundir::{
        recipe,
        records::{Manifest, SplitRow},
    },
    runs::RunView,
    text::table::counted,
};

/// The longer side of a thumbnail, in pixels.
const SIDE: u32 = 160;
const JPEG_QUALITY: u8 = 72;

/// What was found in the photos.
#[derive(Default)]
pub(super) struct Photos {
    /// By file.
    pub(super) thumbnails: HashMap<String, Vec<u8>>,
    /// `None` if no photo could be read.
    pub(super) duplicates: Option<Duplicates>,
    /// What is missing, in a sentence; empty if nothing is.
    pub(super) note: String,
}

struct Found {
    sha256: String,
    n_bytes: u64,
    /// `None` if the file is not a readable image any more.
    fingerprint: Option<u64>,
    thumbnail: Option<Vec<u8>>,
}

impl Photos {
    /// Nothing, for a reason.
    pub(super) fn absent(note: impl Into<String>) -> Self {
        Self {
            note: note.into(),
            ..Self::default()
        }
    }

    /// Reads every photo of the split, and makes thumbnails of those in `wanted`.
    pub(super) fn read(
        view: &RunView,
        rows: &[SplitRow],
        wanted: &HashSet<&str>,
        console: &Console,
    ) -> Self {
        let Ok(loaded) = recipe::experiment(&view.dir, &[]) else {
            return Self::absent(
                "The run has no experiment that says where its photos are, so the page has none.",
            );
        };
        let data = &loaded.experiment.data;
        if !data.root.is_dir() {
            return Self::absent(format!(
                "The photos are not at {} (`data.root`), so the page has none.",
                data.root.display()
            ));
        }
        let options = DecodeOptions::of(data);
        let n_done = AtomicUsize::new(0);
        let found: Vec<Option<Found>> = rows
            .par_iter()
            .map(|row| {
                let found = look(
                    &data.root,
                    &row.file,
                    &options,
                    wanted.contains(row.file.as_str()),
                );
                console.scanned(n_done.fetch_add(1, Ordering::Relaxed) + 1, rows.len());
                found
            })
            .collect();
        console.scan_ends();
        let n_missing = found.iter().filter(|it| it.is_none()).count();
        if n_missing == rows.len() {
            return Self::absent(format!(
                "No photo of the run could be read below {} (`data.root`), so the page has none.",
                data.root.display()
            ));
        }
        let note = note(rows, &found, &view.manifest, n_missing);
        let duplicates = Some(duplicates(rows, &found));
        let thumbnails = rows.iter().zip(found);
        let thumbnails =
            thumbnails.filter_map(|(row, found)| Some((row.file.clone(), found?.thumbnail?)));
        Self {
            thumbnails: thumbnails.collect(),
            duplicates,
            note,
        }
    }
}

/// The path of a file below the root; `None` for a name that leads out of it, as only a forged run has one.
pub(super) fn below(root: &Path, file: &str) -> Option<PathBuf> {
    let is_plain = |part: Component| matches!(part, Component::Normal(_));
    let is_below = Path::new(file).components().all(is_plain);
    is_below.then(|| root.join(file))
}

fn look(root: &Path, file: &str, options: &DecodeOptions, is_wanted: bool) -> Option<Found> {
    let (opened, metadata) = photo::open(&below(root, file)?).ok()?;
    let bytes = photo::read_exactly(opened, metadata.len()).ok()??;
    let image = decode::decode_rgb(&bytes, options).ok();
    Some(Found {
        sha256: hash::sha256_of_bytes(&bytes),
        n_bytes: metadata.len(),
        fingerprint: image.as_ref().and_then(fingerprint::fingerprint),
        thumbnail: image.filter(|_| is_wanted).and_then(thumbnail),
    })
}

fn thumbnail(image: RgbImage8) -> Option<Vec<u8>> {
    let (width, height) = (image.width as u32, image.height as u32);
    jpeg(&ImageBuffer::<Rgb<u8>, _>::from_raw(
        width,
        height,
        image.pixels,
    )?)
}

/// The picture at the size of a thumbnail, as a JPEG.
pub(super) fn jpeg(image: &RgbImage) -> Option<Vec<u8>> {
    let longer = f64::from(image.width().max(image.height()).max(1));
    let scale = (f64::from(SIDE) / longer).min(1.0);
    let side = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).clamp(1, SIDE);
    let (width, height) = (side(image.width()), side(image.height()));
    let small = imageops::resize(image, width, height, imageops::FilterType::Triangle);
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    encoder
        .encode(small.as_raw(), width, height, ExtendedColorType::Rgb8)
        .ok()?;
    Some(bytes)
}

/// Whether photos are missing or are not those that the run used.
fn note(
    rows: &[SplitRow],
    found: &[Option<Found>],
    manifest: &Manifest,
    n_missing: usize,
) -> String {
    if n_missing > 0 {
        return format!(
            "{} of {} could not be read, so they have no picture and are not among the duplicates.",
            n_missing,
            counted(rows.len(), "photo")
        );
    }
    let class = |row: &SplitRow| {
        manifest
            .classes
            .iter()
            .position(|class| *class == row.class)
    };
    let entries: Option<Vec<ImageEntry>> = rows
        .iter()
        .zip(found)
        .map(|(row, found)| {
            let found = found.as_ref()?;
            Some(ImageEntry {
                file: row.file.clone(),
                class: class(row)?,
                part: None,
                group: None,
                bytes: found.n_bytes,
                content_hash: found.sha256.parse().ok()?,
            })
        })
        .collect();
    let is_same = |names_classes| {
        let hash = entries
            .as_ref()
            .map(|it| index::hash(&manifest.classes, it, names_classes));
        hash.is_some_and(|hash| hash == manifest.data_sha256)
    };
    if is_same(false) || is_same(true) {
        return String::new();
    }
    "The photos are not the same as when the run started: their hash differs from the one in manifest.toml.".to_owned()
}

fn duplicates(rows: &[SplitRow], found: &[Option<Found>]) -> Duplicates {
    let file = |at: &usize| {
        let SplitRow { file, class, split } = rows[*at].clone();
        DataFile {
            file,
            class,
            part: split,
        }
    };
    let mut of_hash: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, found) in found.iter().enumerate() {
        if let Some(found) = found {
            of_hash.entry(&found.sha256).or_default().push(at);
        }
    }
    let mut exact: Vec<Vec<usize>> = of_hash
        .into_values()
        .filter(|group| group.len() > 1)
        .collect();
    exact.sort_unstable();
    // Of identical files, only the first one is compared with others: the rest is reported above.
    let mut hashes: Vec<Option<u64>> = found.iter().map(|it| it.as_ref()?.fingerprint).collect();
    for copy in exact.iter().flat_map(|group| &group[1..]) {
        hashes[*copy] = None;
    }
    let files = |groups: Vec<Vec<usize>>| {
        groups
            .iter()
            .map(|group| group.iter().map(file).collect())
            .collect()
    };
    Duplicates {
        near: files(fingerprint::groups(&hashes)),
        exact: files(exact),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_out_of_the_data_folder() {
        let root = Path::new("data");
        assert!(below(root, "cats/1.jpg").is_some());
        for file in [
            "../secret.jpg",
            "/etc/secret.jpg",
            "cats/../../secret.jpg",
            "./1.jpg",
        ] {
            assert_eq!(below(root, file), None, "{file}");
        }
    }
}
