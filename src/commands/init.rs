//! `runner init`: a first experiment file, with every key that could be set, and the schema that editors check it with.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    config,
    console::Console,
    error::{Error, Result},
    files::write_atomic,
};

const EXPERIMENT: &str = "experiment.toml";

pub(crate) fn init(folder: &Path, root: &str, console: &Console) -> Result<()> {
    let (experiment, schema) = (folder.join(EXPERIMENT), folder.join(config::SCHEMA_FILE));
    if experiment.exists() {
        return Err(Error::Usage(format!(
            "{}: is there already\nhelp: `runner config --defaults` prints every key; or name another folder",
            experiment.display()
        )));
    }
    fs::create_dir_all(folder).map_err(Error::io("creating", folder))?;
    write_atomic(&schema, config::json_schema().as_bytes())?;
    write_atomic(&experiment, config::template(root).as_bytes())?;
    let place = experiment.display();
    console.note(&format!(
        "to go on: runner check {place}, then runner {place}"
    ));
    console.answer(
        "init",
        json!({ "experiment": experiment, "schema": schema }),
        &place.to_string(),
    );
    Ok(())
}
