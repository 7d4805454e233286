//! Python for tests that read results with other programs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A Python that can import these modules: `RUNNER_TEST_PYTHON`, or else `python3`. Says that `test` is skipped if there is none.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn python_with(test: &str, modules: &str) -> Option<PathBuf> {
    let python = std::env::var_os("RUNNER_TEST_PYTHON");
    let python = python.map_or_else(|| "python3".into(), PathBuf::from);
    let mut command = Command::new(&python);
    let output = command.args(["-c", &format!("import {modules}")]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let python = python.display();
    eprintln!("{test}: skipped: `{python}` cannot import {modules} (set RUNNER_TEST_PYTHON)");
    None
}

/// What a script of the repository prints; it must succeed.
pub(crate) fn script(python: &Path, script: &str, args: &[&Path]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let output = Command::new(python).arg(script).args(args).output();
    let output = output.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}
