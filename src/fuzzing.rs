//! Everything that others may have written and this program reads, one function for each: whatever the bytes are, it comes
//! back. For libFuzzer (`fuzz/`) and for the tests beside this file; no part of the program.

mod directories;
mod documents;
mod outputs;
mod sweeps;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

pub use self::{
    directories::{cache, curves, records, scan_memory, unpack},
    documents::{config, image, pth, safetensors, split, sweep},
    outputs::{events, predictions},
    sweeps::trials,
};

#[cfg(test)]
type Target = (&'static str, fn(&[u8]));

/// By the names of their folders in `fuzz/corpus`.
#[cfg(test)]
const TARGETS: [Target; 14] = [
    ("cache", cache),
    ("config", config),
    ("curves", curves),
    ("events", events),
    ("image", image),
    ("predictions", predictions),
    ("pth", pth),
    ("records", records),
    ("safetensors", safetensors),
    ("scan_memory", scan_memory),
    ("split", split),
    ("sweep", sweep),
    ("trials", trials),
    ("unpack", unpack),
];

/// Ends the process on a panic that nothing in the program catches. Those it does catch are told of once for each place.
fn guarded(work: impl FnOnce()) {
    #[cfg(fuzzing)]
    hook::install();
    work();
}

#[cfg(fuzzing)]
mod hook {
    use std::{
        collections::HashSet,
        panic,
        sync::{Mutex, Once, PoisonError},
    };

    use crate::console::talk_line;

    static SEEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);

    /// libFuzzer's own hook ends the process before the program could catch anything; without it, only a panic that comes
    /// out of the target does.
    pub(super) fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            panic::set_hook(Box::new(|info| {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.get_or_insert_default().insert(place) {
                    talk_line(&format!("panic: {info}"));
                }
            }));
        });
    }
}

/// A folder that is gone when the input is done with.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("there is a place for temporary files"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, bytes).expect("temporary files can be written");
        path
    }
}
