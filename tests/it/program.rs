//! How tests run the program: drawn pictures, a small experiment, and a command with its answer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A folder with pictures in `data` and an experiment in `small.toml`; runs land in `runs`.
pub(crate) struct Case {
    folder: tempfile::TempDir,
}

/// Head, then `features[24:]`, on 32 x 32 pixels: a run of a second or two.
pub(crate) const SMALL: &str = r#"
name = "small"
data.root = "data"
data.batch_size = 4
split = { valid = 0.25 }
transforms.resize = [32, 32]

[model]
arch = "vgg16_slim"
weights = "drawings_v1"

[[phase]]
name = "head"
epochs = 2
trainable = ["classifier"]

[[phase]]
name = "features24"
epochs = 2
trainable = ["classifier", "features[24:]"]
lr = 1e-4
"#;

impl Case {
    /// Nothing but a folder.
    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Ten drawings of each animal, `more` behind the small experiment.
    pub(crate) fn new(more: &str) -> Self {
        let case = Self::empty();
        case.ok(&["sample-data", "data", "--per-class", "10", "--no-broken"]);
        fs::write(case.path("small.toml"), format!("{SMALL}{more}")).unwrap();
        case
    }

    /// So many photographs of each animal in `photos`, from the shared data.
    pub(crate) fn photographs(&self, shared: &Path, per_class: usize) {
        for class in ["Cat", "Dog"] {
            let folder = self.path("photos").join(class);
            fs::create_dir_all(&folder).unwrap();
            for photo in 0..per_class {
                let name = format!("{photo}.jpg");
                let from = shared.join("pets").join(class).join(&name);
                fs::copy(from, folder.join(name)).unwrap();
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RUNNER_")) {
            command.env_remove(name);
        }
        self.isolate(&mut command);
        command.args(args);
        command
    }

    /// Starts in the case's folder, away from the caches, proxies and colors of this machine.
    fn isolate(&self, command: &mut Command) {
        command
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env_remove("TORCH_HOME");
        // Servers of tests are on this machine, which libraries do not exempt from a proxy.
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command.env_remove("CLICOLOR_FORCE").env("NO_COLOR", "1");
        command.current_dir(self.folder.path());
    }

    /// Runs the program with a limit of the shell's `ulimit`, such as `-v 600000`.
    #[cfg(unix)]
    pub(crate) fn run_limited(&self, limit: &str, args: &[&str]) -> Output {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"])
            .arg(env!("CARGO_BIN_EXE_runner"))
            .args(args);
        self.isolate(&mut shell);
        shell.output().unwrap()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs what must succeed; its stdout, trimmed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs what must fail with `code`; its stderr.
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        stderr
    }

    /// Runs what must succeed with `--json`; its answer, without the notes before it.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let answer = self.ok(&[args, &["--json"]].concat());
        let objects = answer
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let mut answers = objects.filter(|object| object["event"] != "note");
        answers.next_back().unwrap()
    }

    /// The directory of the only run there is.
    pub(crate) fn only_run(&self) -> PathBuf {
        let mut runs = fs::read_dir(self.path("runs")).unwrap();
        let run = runs.next().unwrap().unwrap().path();
        assert!(runs.next().is_none(), "there are several runs");
        run
    }

    /// Trains the small experiment; its run directory.
    pub(crate) fn train(&self, args: &[&str]) -> PathBuf {
        self.path(&self.ok(&[&["small.toml"], args].concat()))
    }
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The width and height in the header of a PNG file.
pub(crate) fn png_size(path: &Path) -> (u32, u32) {
    let bytes = fs::read(path).unwrap();
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

pub(crate) fn read_toml(path: &Path) -> toml::Table {
    read(path).parse().unwrap()
}

/// Edits a file that ends with its own hash, and seals it again.
pub(crate) fn edit_sealed(path: &Path, edit: impl Fn(&str) -> String) {
    use std::fmt::Write as _;

    use sha2::{Digest as _, Sha256};

    const SEAL: &str = "# SHA-256 of the lines above: ";
    let text = edit(read(path).split(SEAL).next().unwrap());
    let mut sealed = format!("{text}{SEAL}");
    for byte in Sha256::digest(text.as_bytes()) {
        write!(sealed, "{byte:02x}").unwrap();
    }
    fs::write(path, sealed + "\n").unwrap();
}

/// Leaves of a run what a copy without its checkpoints has: nothing that tells damage to its tables.
pub(crate) fn make_bare(run: &Path) {
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    fs::remove_file(run.join("summary.toml")).unwrap();
}

/// Makes a run one of an earlier version, whose manifest has no seal and no copy, and edits that.
pub(crate) fn edit_manifest(run: &Path, edit: impl Fn(&str) -> String) {
    let path = run.join("manifest.toml");
    let text = read(&path).replace("format = 2", "format = 1");
    let unsealed = text.lines().filter(|line| !line.starts_with("# SHA-256"));
    let unsealed: Vec<&str> = unsealed.collect();
    fs::write(path, edit(&unsealed.join("\n"))).unwrap();
    let _ = fs::remove_file(run.join("checkpoints/recipe/manifest.toml"));
}

/// `metrics.csv` without its timing columns.
pub(crate) fn metrics(run: &Path) -> String {
    let text = read(&run.join("metrics.csv"));
    let n_untimed = text.split(',').position(|name| name == "seconds").unwrap();
    let untimed = |line: &str| {
        let cells: Vec<&str> = line.split(',').take(n_untimed).collect();
        cells.join(",")
    };
    text.lines().map(untimed).collect::<Vec<_>>().join("\n")
}

/// A column of `metrics.csv`.
pub(crate) fn column(run: &Path, name: &str) -> Vec<String> {
    let text = read(&run.join("metrics.csv"));
    let mut rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let index = rows
        .next()
        .unwrap()
        .iter()
        .position(|header| *header == name)
        .unwrap();
    rows.map(|row| row[index].to_owned()).collect()
}

/// The bytes of a checkpoint's parameters.
pub(crate) fn weights(run: &Path, checkpoint: &str) -> Vec<u8> {
    fs::read(
        run.join("checkpoints")
            .join(checkpoint)
            .join("model.safetensors"),
    )
    .unwrap()
}

/// A file of the shared data, and the folder itself; says that `test` is skipped where they are not there.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn shared(test: &str, file: &str) -> Option<(PathBuf, PathBuf)> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data");
    let folder = std::env::var_os("RUNNER_TEST_SHARED_DATA");
    let folder = folder.map_or_else(|| default.into(), PathBuf::from);
    let path = folder.join(file);
    if !path.is_file() {
        eprintln!("{test}: skipped: {} is absent", path.display());
        return None;
    }
    Some((path, folder))
}
