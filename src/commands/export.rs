//! `runner export RUN FILE`: a checkpoint's parameters as one safetensors file that PyTorch reads.

use std::path::Path;

use serde_json::json;

use crate::{
    console::Console,
    error::{Error, Result},
    files,
    model::{select::Selector, state},
    recipe,
    rundir::RunDir,
    train::checkpoint::{self, Which},
};

pub(crate) fn export(
    run: &Path,
    file: &Path,
    which: Which,
    only: &[String],
    console: &Console,
) -> Result<()> {
    let run_dir = RunDir::open(run)?;
    let arch = recipe::experiment(&run_dir, &[])?.experiment.model.arch;
    let selectors: std::result::Result<Vec<Selector>, String> =
        only.iter().map(|text| Selector::parse(text)).collect();
    let selectors = selectors.map_err(|fact| Error::Usage(format!("--only: {fact}")))?;
    if file.exists() {
        return Err(Error::Usage(format!(
            "{}: exists already\nhelp: name a new file",
            file.display()
        )));
    }
    let manifest = recipe::manifest(&run_dir)?;
    let specs = arch.tensors(manifest.classes.len());
    let checkpoint = checkpoint::read(&run_dir, which, &specs)?
        .ok_or_else(|| checkpoint::absent(&run_dir, which))?;
    checkpoint.tell_damages(console);
    let mut state = checkpoint.state;
    if !selectors.is_empty() {
        state.retain(|path, _| {
            selectors
                .iter()
                .any(|selector| selector.matches(path, arch))
        });
    }
    if state.is_empty() {
        return Err(Error::Usage(format!(
            "--only: matches no parameter of `{}`",
            arch.name()
        )));
    }
    if let Some(folder) = file.parent() {
        files::clear_litter(folder, files::STALE);
    }
    state::write_safetensors(&state, file)?;
    let text = format!("{}", file.display());
    console.note(&format!(
        "{} tensors of the {} checkpoint",
        state.len(),
        which.name()
    ));
    console.answer(
        "exported",
        json!({ "file": file.to_string_lossy(), "tensors": state.len() }),
        &text,
    );
    Ok(())
}
