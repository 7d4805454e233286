//! `runner sweep FILE --emit DIR`: writes the trials as folders and their commands as a table, for any scheduler to run them.

use std::{fmt::Write as _, path::Path};

use serde_json::json;

use super::SweepRequest;
use crate::{
    config,
    console::Console,
    disk::files::write_atomic,
    error::Result,
    sweep::{campaign::Campaign, definition::Definition, directory::SweepDir},
    text::{plain::for_the_shell, table::counted},
};

/// Writes the directory of a campaign that was planned there, and notes it in that of the sweep.
pub(super) fn emit(
    campaign: &Campaign,
    definition: &Definition,
    request: &SweepRequest,
    console: &Console,
) -> Result<()> {
    let view = &campaign.view;
    for (order, standing) in campaign.orders.iter().zip(&view.standings) {
        order.write(standing.run.as_ref())?;
    }
    let mut table = String::new();
    for at in campaign.turns.iter().copied() {
        let (number, folder) = (view.standings[at].number, campaign.orders[at].dir.path());
        let _ = writeln!(table, "{number}\t{}", command(folder)?);
    }
    write_atomic(&view.dir.tasks_tsv(), table.as_bytes())?;
    let home = super::status::directory(definition, request)?;
    note(&home, view.dir.path(), definition)?;
    let tasks = view.dir.tasks_tsv();
    let text = format!(
        "{} in {}\n{}",
        counted(campaign.orders.len(), "trial"),
        view.dir.path().display(),
        tasks.display()
    );
    let fields = json!({
        "sweep": view.dir.path().to_string_lossy(), "tasks": tasks.to_string_lossy(), "n_trials": campaign.orders.len(),
    });
    console.answer("emitted", fields, &text);
    Ok(())
}

/// The command that runs the trial in a folder, which is found on any machine that has the folder at the same place.
fn command(folder: &Path) -> Result<String> {
    let folder = config::path_text(folder)?;
    Ok(format!("runner trial {}", for_the_shell(&folder)))
}

/// Lets `runner sweep FILE --status` find the folder.
fn note(home: &SweepDir, dir: &Path, definition: &Definition) -> Result<()> {
    home.create()?;
    home.note_emitted(dir)?;
    let source = definition.source.text.as_deref().unwrap_or_default();
    let masked = crate::text::plain::masked(source);
    write_atomic(&home.sweep_toml(), masked.as_bytes())
}
