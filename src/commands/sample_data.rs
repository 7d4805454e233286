//! `runner sample-data DIR`: generates a data set of drawings to try runner on.

use std::path::Path;

use serde_json::json;

use crate::console::Console;
use crate::{
    error::Result,
    sample_data::{self, Options},
};

pub(crate) fn sample_data(dir: &Path, options: &Options, console: &Console) -> Result<()> {
    let summary = sample_data::write(dir, options, &|n_done, n_files| {
        console.scanned(n_done, n_files);
    });
    console.scan_ends();
    let summary = summary?;
    let text = format!(
        "{}: {} drawings in {} classes, {} of them corrupt",
        dir.display(),
        summary.files,
        summary.classes,
        summary.broken
    );
    console.note(&text);
    console.answer(
        "drawn",
        json!({ "dir": dir.to_string_lossy(), "files": summary.files, "broken": summary.broken }),
        &dir.display().to_string(),
    );
    Ok(())
}
