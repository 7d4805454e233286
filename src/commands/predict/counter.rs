//! Counts the files beside the predictions, for the time that is left: finding all of them first would delay the first row.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use super::PredictArgs;
use crate::{
    console::Console,
    inference::files::{self, ClassFolders, ListFormat, STDIN},
};

pub(super) struct Counter {
    /// Whether the number of files will be known; a list on stdin can be read only once.
    has_number: bool,
    n_files: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Counter {
    /// Starts to count, unless nobody sees the number.
    pub(super) fn start(args: &PredictArgs, console: &Console) -> Self {
        let has_list = args.paths.iter().any(|path| path.as_os_str() == STDIN);
        let counter = Self {
            has_number: !has_list,
            n_files: Arc::default(),
            stop: Arc::default(),
        };
        if has_list || !console.has_bars() {
            return counter;
        }
        let (n_files, stop) = (Arc::clone(&counter.n_files), Arc::clone(&counter.stop));
        let found = files::find(&args.paths, ListFormat::Lines, &ClassFolders::new(&[]));
        // Without this thread, the bar shows no time left.
        let _ = thread::Builder::new()
            .name("runner-count".to_owned())
            .spawn(move || {
                let mut n_found = 0;
                for _ in found.take_while(|_| !stop.load(Ordering::Relaxed)) {
                    n_found += 1;
                    n_files.store(n_found, Ordering::Relaxed);
                }
            });
        counter
    }

    /// The number of files that were found so far; `None` if they are not counted.
    pub(super) fn n_files(&self) -> Option<usize> {
        let n_files = self.n_files.load(Ordering::Relaxed);
        self.has_number.then_some(n_files)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
