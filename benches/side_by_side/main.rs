//! Compares the program with PyTorch in alternating measurements: `make bench`, `make bench-gpu`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table goes to stdout, progress to stderr"
)]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser as _;
// Brings the program's allocator along, which is part of what is measured.
use runner as _;

mod bare_pass;
#[path = "../shared/child.rs"]
mod child;
mod cpu;
mod features;
mod gpu;
#[path = "../shared/machine.rs"]
mod machine;
mod options;
mod ours;
mod table;
mod torch;

use options::Options;
use torch::Torch;

/// The conditions that both sides are measured under.
pub(crate) struct Sitting<'a> {
    pub(crate) options: &'a Options,
    /// The folder that everything is written to.
    pub(crate) folder: &'a Path,
    /// The PyTorch process; `None` without PyTorch.
    pub(crate) torch: Option<Torch>,
    /// PyTorch's versions and device, or why there is none.
    pub(crate) torch_name: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse().settled();
    if options.features_forward {
        println!("{}", features::milliseconds_per_photo());
        return Ok(());
    }
    if options.bare_pass {
        println!("{}", bare_pass::milliseconds());
        return Ok(());
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (torch, torch_name) = match start_torch(&options) {
        Ok((torch, name)) => (Some(torch), name),
        Err(error) => (
            None,
            format!("no PyTorch in `{}` ({error})", options.python),
        ),
    };
    eprintln!("{torch_name}");
    let mut sitting = Sitting {
        options: &options,
        folder: folder.path(),
        torch,
        torch_name,
    };
    let (kind, text) = if options.is_gpu() {
        ("gpu", gpu::table(&mut sitting)?)
    } else {
        ("cpu", cpu::table(&mut sitting)?)
    };
    if let Some(torch) = sitting.torch {
        torch.end()?;
    }
    machine::publish(&text, &machine::result_path(options.out.clone(), kind))
}

fn start_torch(options: &Options) -> Result<(Torch, String), Box<dyn Error>> {
    let mut torch = Torch::start(&options.python, &[])?;
    let answer = torch.ask(&serde_json::json!({ "job": "hello", "device": options.device }))?;
    let word = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let name = format!("{} on {}", word("versions"), word("device"));
    Ok((torch, name))
}

/// The title, the machine, the versions and the command.
pub(crate) fn header(sitting: &Sitting, title: &str, remarks: &str) -> String {
    let options = sitting.options;
    format!(
        "# {title}, {}\n\n{remarks}\n\n{}; {} threads. {}; {}.\n`{}`\n\n",
        machine::today(),
        machine::processor(),
        options.threads,
        machine::versions(),
        sitting.torch_name,
        machine::command("side_by_side"),
    )
}

/// Makes a folder with the first `per_class` photos of each class of `root`.
pub(crate) fn subset(
    root: &Path,
    per_class: usize,
    folder: &Path,
) -> Result<PathBuf, Box<dyn Error>> {
    let target = folder.join("photos");
    for class in fs::read_dir(root)? {
        let class = class?;
        if !class.file_type()?.is_dir() {
            continue;
        }
        let mut files: Vec<PathBuf> = fs::read_dir(class.path())?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        let target = target.join(class.file_name());
        fs::create_dir_all(&target)?;
        for file in files.iter().take(per_class) {
            fs::copy(file, target.join(file.file_name().unwrap_or_default()))?;
        }
    }
    Ok(target)
}

/// Reads all files once, so that neither side has to read them from the disk.
pub(crate) fn warm_page_cache(path: &Path) -> Result<(), Box<dyn Error>> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            warm_page_cache(&entry?.path())?;
        }
    } else {
        std::io::copy(&mut fs::File::open(path)?, &mut std::io::sink())?;
    }
    Ok(())
}
