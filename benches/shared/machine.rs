//! The description of the machine in a table of measurements, and the file that the table is written to.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The name of the processor, and the number of cores that this process may use.
pub(crate) fn processor() -> String {
    let model = fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let n_cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{model}, {n_cores} cores")
}

/// `runner 0.1.0 (commit), rustc 1.95.0`
pub(crate) fn versions() -> String {
    let commit = first_line("git", &["rev-parse", "--short", "HEAD"]);
    let rustc = first_line("rustc", &["--version"]);
    let commit = commit.map_or_else(String::new, |commit| format!(" ({commit})"));
    let runner = format!("runner {}{commit}", env!("CARGO_PKG_VERSION"));
    rustc.map_or(runner.clone(), |rustc| format!("{runner}, {rustc}"))
}

/// The command that was typed, without the path of the binary.
pub(crate) fn command(bench: &str) -> String {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(" -- {}", words.join(" "))
    };
    format!("cargo bench --bench {bench}{words}")
}

pub(crate) fn today() -> String {
    chrono::Local::now().format("%Y-%m-%d").to_string()
}

/// `benches/results/<date>-<kind>.md`, unless another file was requested.
pub(crate) fn result_path(asked: Option<PathBuf>, kind: &str) -> PathBuf {
    asked.unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("benches/results")
            .join(format!("{}-{kind}.md", today()))
    })
}

/// Prints the table and writes it to the file.
pub(crate) fn publish(text: &str, path: &Path) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)?;
    println!("{text}");
    eprintln!("written to {}", path.display());
    Ok(())
}

fn first_line(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next()?.trim().to_owned();
    output.status.success().then_some(line)
}
