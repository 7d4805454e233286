//! Python for tests that read results with other programs: `RUNNER_PYTHON`, or else `python3`.

use std::{ffi::OsString, process::Command};

/// An interpreter that has these modules; without one, says that the test is skipped.
pub(crate) fn python_with(test: &str, modules: &str) -> Option<OsString> {
    let python = std::env::var_os("RUNNER_PYTHON").unwrap_or_else(|| "python3".into());
    let imports = Command::new(&python)
        .args(["-c", &format!("import {modules}")])
        .output();
    if imports.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: {test} needs Python with {modules}; RUNNER_PYTHON names an interpreter");
    None
}

/// What a script in `tests/fixtures` prints; fails with its errors.
pub(crate) fn script(python: &OsString, file: &str, args: &[&std::path::Path]) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let output = Command::new(python)
        .arg(folder.join(file))
        .args(args)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{file}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}
