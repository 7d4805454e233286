//! Draws sample images for a first run without any download. The same options give the same bytes.

mod canvas;
mod coat;
mod dice;
mod encode;
mod faces;
mod features;
mod forms;
mod objects;
mod outline;
mod scene;
mod shapes;
mod strokes;
#[cfg(test)]
mod tests;
mod textures;

use std::{fs, io, path::Path};

use image::{ImageError, RgbImage};
use rayon::prelude::*;

use crate::{
    disk::files,
    error::{Error, Result},
};
use dice::Dice;
use faces::Animal;
use shapes::Figure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Task {
    /// Faces of cats and dogs, to fine-tune on.
    Pets,
    /// Figures and textures of many classes, to pretrain a small network on.
    Shapes,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) task: Task,
    pub(crate) per_class: usize,
    pub(crate) seed: u64,
    /// Whether to add files that are not readable images.
    pub(crate) broken: bool,
}

/// The number of files and classes that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DrawnSummary {
    /// Number of all files, broken ones included.
    pub(crate) files: usize,
    /// Number of files that cannot be decoded.
    pub(crate) broken: usize,
    pub(crate) classes: usize,
}

#[derive(Clone, Copy)]
enum Subject {
    Pet(Animal),
    Figure(Figure),
}

struct Class {
    name: &'static str,
    subject: Subject,
}

/// The index of the picture that broken files are made from; no class has so many.
const ODDITY_INDEX: usize = usize::MAX;

/// Writes the sample images into an empty folder. `progress` is called with the number of pictures done and in total.
pub(crate) fn write(
    dir: &Path,
    options: &Options,
    progress: &dyn Fn(usize, usize),
) -> Result<DrawnSummary> {
    refuse_unless_empty(dir)?;
    let classes = options.task.classes();
    for class in &classes {
        let class_dir = dir.join(class.name);
        fs::create_dir_all(&class_dir).map_err(Error::io("create", &class_dir))?;
    }
    let n_pictures = classes.len() * options.per_class;
    write_pictures(dir, options, &classes, progress)?;
    let mut summary = DrawnSummary {
        files: n_pictures,
        broken: 0,
        classes: classes.len(),
    };
    if options.broken {
        for class in &classes {
            write_oddities(&dir.join(class.name), options, class, &mut summary)?;
        }
    }
    let mark = dir.join(MARK);
    let text = "These pictures were drawn by `runner sample-data`.\n";
    files::write_unflushed(&mark, text.as_bytes()).map_err(Error::io("write", &mark))?;
    Ok(summary)
}

/// The file that marks a folder of sample images. It is hidden, so that no scan lists it.
const MARK: &str = ".runner-sample-data";

/// Whether the images in a folder were drawn by this program.
pub(crate) fn drew(dir: &Path) -> bool {
    dir.join(MARK).exists()
}

fn refuse_unless_empty(dir: &Path) -> Result<()> {
    let refused = |fact: &str| {
        Err(Error::usage(format!("`{}` {fact}", dir.display()))
            .at(dir)
            .help("choose a folder that does not exist yet, or an empty one"))
    };
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => refused("is not empty"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            refused("is a file, not a folder")
        }
        Err(error) => Err(Error::io("list", dir)(error)),
    }
}

/// Draws and writes the pictures on all threads. Only the calling thread reports progress, because `progress` need not be `Sync`.
fn write_pictures(
    dir: &Path,
    options: &Options,
    classes: &[Class],
    progress: &dyn Fn(usize, usize),
) -> Result<()> {
    let n_pictures = classes.len() * options.per_class;
    // Slices are small enough for steady progress and large enough to keep every thread busy.
    let slice_len = (rayon::current_num_threads() * 8).max(32);
    progress(0, n_pictures);
    for start in (0..n_pictures).step_by(slice_len) {
        let end = n_pictures.min(start + slice_len);
        (start..end).into_par_iter().try_for_each(|at| {
            // Alternating between the classes keeps the folder usable if writing is interrupted.
            let (class, index) = (&classes[at % classes.len()], at / classes.len());
            write_picture(&dir.join(class.name), options, class, index)
        })?;
        progress(end, n_pictures);
    }
    Ok(())
}

fn write_picture(class_dir: &Path, options: &Options, class: &Class, index: usize) -> Result<()> {
    let mut dice = options.dice(class, index);
    let picture = class.subject.draw(&mut dice);
    let encoded = encode::any(picture, &mut dice).map_err(|error| unencoded(class_dir, error))?;
    let path = class_dir.join(format!("{index}.{}", encoded.extension));
    files::write_unflushed(&path, &encoded.bytes).map_err(Error::io("write", &path))
}

fn write_oddities(
    class_dir: &Path,
    options: &Options,
    class: &Class,
    summary: &mut DrawnSummary,
) -> Result<()> {
    let picture = class.subject.draw(&mut options.dice(class, ODDITY_INDEX));
    for oddity in encode::oddities(picture).map_err(|error| unencoded(class_dir, error))? {
        let path = class_dir.join(oddity.name);
        files::write_unflushed(&path, &oddity.bytes).map_err(Error::io("write", &path))?;
        summary.files += 1;
        summary.broken += usize::from(!oddity.is_picture);
    }
    Ok(())
}

fn unencoded(class_dir: &Path, error: ImageError) -> Error {
    Error::io("encode a picture for", class_dir)(io::Error::other(error))
}

impl Options {
    fn dice(&self, class: &Class, index: usize) -> Dice {
        Dice::new(self.seed, self.task.name(), class.name, index)
    }
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Self::Pets => "pets",
            Self::Shapes => "shapes",
        }
    }

    fn classes(self) -> Vec<Class> {
        match self {
            Self::Pets => [("Cat", Animal::Cat), ("Dog", Animal::Dog)]
                .map(|(name, animal)| Class {
                    name,
                    subject: Subject::Pet(animal),
                })
                .into(),
            Self::Shapes => Figure::ALL
                .iter()
                .map(|&(name, shape)| Class {
                    name,
                    subject: Subject::Figure(shape),
                })
                .collect(),
        }
    }
}

impl Subject {
    fn draw(self, dice: &mut Dice) -> RgbImage {
        match self {
            Self::Pet(animal) => faces::draw(animal, dice),
            Self::Figure(shape) => shapes::draw(shape, dice),
        }
    }
}
