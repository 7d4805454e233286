//! Opens a page in the user's browser.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::error::{Error, Result};

/// The program that opens files on this system, and the words before the file.
const OPENER: (&str, &[&str]) = if cfg!(target_os = "macos") {
    ("open", &[])
} else if cfg!(windows) {
    // `start` takes its first argument in quotes for the title of a window.
    ("cmd", &["/C", "start", ""])
} else {
    ("xdg-open", &[])
};

/// Fails if there is no screen to open a page on, before the page is made.
pub(super) fn check() -> Result<()> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let needs_display = cfg!(all(unix, not(target_os = "macos")));
    if needs_display && !is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY") {
        return Err(Error::usage("`--open` needs a graphical session, and there is none here")
            .fact("neither DISPLAY nor WAYLAND_DISPLAY is set")
            .help("leave out `--open`, and copy the file to a computer with a browser: it needs no other file"));
    }
    Ok(())
}

pub(super) fn open(page: &Path) -> Result<()> {
    let (program, words) = OPENER;
    let failed = |fact: String| {
        Error::usage(format!("cannot open `{}`", page.display()))
            .fact(fact)
            .help("open the file in a browser yourself")
    };
    let status = Command::new(program)
        .args(words)
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| failed(format!("`{program}` could not be started: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(format!("`{program}` failed: {status}")))
    }
}
