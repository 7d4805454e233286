//! The recipe: the files that define a run, such as its experiment and its split. They could not be recomputed, so each is in
//! the run directory twice, and is read from whichever copy is intact.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    config::{self, Loaded},
    console::Console,
    disk::{
        files::write_atomic,
        sealed::{self, FileRecord, Sealed},
    },
    error::{Error, Result},
    rundir::{
        RunDir,
        records::{FORMAT, Manifest},
    },
};

// The manifest and the resolved experiment carry their own seals; the manifest has records of the other files.
const MANIFEST: &str = "manifest.toml";
const RESOLVED: &str = "resolved.toml";
pub(crate) const SOURCE: &str = "source.toml";
pub(crate) const SPLIT: &str = "split.csv";
pub(crate) const REJECTED: &str = "rejected.csv";
const ALL: [&str; 5] = [MANIFEST, RESOLVED, SOURCE, SPLIT, REJECTED];

/// Writes one of the files and its copy.
pub(crate) fn write(run_dir: &RunDir, name: &str, bytes: &[u8]) -> Result<FileRecord> {
    // The copy comes first, because a directory with a manifest counts as a run, and must then be complete.
    let copy = copy(run_dir, name);
    if let Some(folder) = copy.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    write_atomic(&copy, bytes)?;
    write_atomic(&run_dir.path().join(name), bytes)?;
    Ok(FileRecord::of_bytes(name, bytes))
}

/// Writes the resolved experiment, which has every key.
pub(crate) fn write_resolved(run_dir: &RunDir, resolved: &toml::Table) -> Result<()> {
    let text = crate::rundir::records::toml_text(&run_dir.resolved_toml(), resolved)?;
    write(run_dir, RESOLVED, sealed::seal(&text).as_bytes()).map(drop)
}

/// Writes the manifest, which makes the directory a run.
pub(crate) fn write_manifest(run_dir: &RunDir, manifest: &Manifest) -> Result<()> {
    let text = crate::rundir::records::toml_text(&run_dir.manifest_toml(), manifest)?;
    write(run_dir, MANIFEST, sealed::seal(&text).as_bytes()).map(drop)
}

/// Whether the directory has a manifest, intact or not.
pub(crate) fn is_run(path: &Path) -> bool {
    let run_dir = RunDir::bare(path);
    run_dir.manifest_toml().is_file() || copy(&run_dir, MANIFEST).is_file()
}

pub(crate) fn manifest(run_dir: &RunDir) -> Result<Manifest> {
    read_manifest(&run_dir.manifest_toml())
        .or_else(|error| read_manifest(&copy(run_dir, MANIFEST)).map_err(|_| error))
}

fn read_manifest(path: &Path) -> Result<Manifest> {
    let manifest: Manifest = sealed::read_toml(path, Sealed::Maybe)?;
    if manifest.format == FORMAT {
        return sealed::read_toml(path, Sealed::Always);
    }
    Ok(manifest)
}

/// The resolved experiment of a run, with the overrides of `sets`.
pub(crate) fn experiment(run_dir: &RunDir, sets: &[String]) -> Result<Loaded> {
    let path = sound(run_dir, RESOLVED, &manifest(run_dir)?)?;
    config::read(&path, sets, &[])
}

/// The resolved experiment of a run as a table.
pub(crate) fn resolved(run_dir: &RunDir, manifest: &Manifest) -> Result<toml::Table> {
    crate::rundir::records::read_toml(&sound(run_dir, RESOLVED, manifest)?)
}

/// The path at which one of the files is intact: its own, or that of its copy.
pub(crate) fn sound(run_dir: &RunDir, name: &str, manifest: &Manifest) -> Result<PathBuf> {
    let path = run_dir.path().join(name);
    check(&path, manifest).map(|()| path).or_else(|error| {
        let copy = copy(run_dir, name);
        check(&copy, manifest).map(|()| copy).map_err(|_| error)
    })
}

/// Fails if a file of the recipe is not as it was written.
fn check(path: &Path, manifest: &Manifest) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = path.parent().unwrap_or(Path::new("."));
    match name.as_ref() {
        MANIFEST => read_manifest(path).map(drop),
        RESOLVED => {
            let sealed = if manifest.format == FORMAT {
                Sealed::Always
            } else {
                Sealed::Maybe
            };
            sealed::read_toml::<toml::Table>(path, sealed).map(drop)
        }
        name => {
            let record = manifest.files.iter().find(|file| file.name == name);
            record.map_or(Ok(()), |record| record.check(folder))
        }
    }
}

/// All files of the recipe and their copies, each with its problem, if it has one.
pub(crate) fn examine(run_dir: &RunDir) -> Result<Vec<(PathBuf, Option<Error>)>> {
    let manifest = manifest(run_dir)?;
    let places = ALL.iter().flat_map(|name| {
        let copy = copy(run_dir, name);
        // Earlier versions wrote no copies.
        let copy = (manifest.format == FORMAT).then_some(copy);
        std::iter::once(run_dir.path().join(name)).chain(copy)
    });
    Ok(places
        .map(|path| {
            let problem = check(&path, &manifest).err();
            (path, problem)
        })
        .collect())
}

/// Restores every damaged file from its copy, and every damaged copy from its file.
pub(crate) fn repair(run_dir: &RunDir, console: &Console) -> Result<()> {
    let manifest = manifest(run_dir)?;
    for name in ALL {
        let (path, copy) = (run_dir.path().join(name), copy(run_dir, name));
        let (of_file, of_copy) = (check(&path, &manifest), check(&copy, &manifest));
        let read = |path: &Path| fs::read(path).map_err(Error::io("read", path));
        match (of_file, of_copy) {
            (Ok(()), Ok(())) => {}
            (Ok(()), Err(_)) => {
                write(run_dir, name, &read(&path)?)?;
            }
            (Err(problem), Ok(())) => {
                write(run_dir, name, &read(&copy)?)?;
                console.note(&format!("{problem}; restored the file from its copy"));
            }
            // Training needs neither of these files.
            (Err(problem), Err(_)) if [SOURCE, REJECTED].contains(&name) => {
                console.note(&format!("{problem}; its copy is damaged as well"));
            }
            (Err(problem), Err(_)) => return Err(problem),
        }
    }
    Ok(())
}

fn copy(run_dir: &RunDir, name: &str) -> PathBuf {
    run_dir.checkpoints().join("recipe").join(name)
}
