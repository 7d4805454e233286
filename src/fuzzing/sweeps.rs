//! The target for the files in a sweep's directory, which processes on several machines write.

use std::fs;

use super::{Scratch, guarded};
use crate::sweep::{
    directory::SweepDir,
    live,
    slurm::{ledger::Ledger, queue::Queue},
    standing,
    view::SweepView,
};

/// The files of a sweep's directory, and what Slurm says of its tasks. An input has their contents in this order, separated by zero
/// bytes.
const FILES: [&str; 9] = [
    "search.toml",
    "trials.csv",
    "rungs/1/a.toml",
    "rungs/1/b.toml",
    "rungs/1/a.promoted",
    "trials/a/failure.toml",
    "trials/a/claim.toml",
    "submissions.jsonl",
    "squeue",
];

/// Fuzzes the directory of a sweep as `runner sweep` and `runner trial` read it.
pub fn trials(bytes: &[u8]) {
    guarded(|| {
        let folder = Scratch::new();
        for name in ["rungs/1", "rungs/3", "trials/a", "submissions"] {
            fs::create_dir_all(folder.path().join(name)).expect("temporary folders can be made");
        }
        folder.write("sweep.toml", b"");
        folder.write("rungs/3/b.promoted", b"");
        folder.write("submissions/1.txt", b"a\nb\n");
        for (name, content) in FILES.iter().zip(bytes.split(|byte| *byte == 0)) {
            if !content.is_empty() {
                folder.write(name, content);
            }
        }
        let ledger = Ledger::of(folder.path());
        let _ = ledger.read();
        let _ = ledger.tasks();
        let squeue = fs::read_to_string(folder.path().join("squeue")).unwrap_or_default();
        let _ = Queue::parse(&squeue).alive().count();
        let Some(dir) = SweepDir::at(folder.path()) else {
            return;
        };
        let _ = dir.trial("a").failure();
        let Ok(mut view) = SweepView::open("sweep", dir) else {
            return;
        };
        view.find_runs();
        view.look_at_rungs();
        view.judge_from_outside(&crate::sweep::outside::Tasks::default());
        let _ = standing::counts(&view.standings);
        let _ = live::live(&view.standings, view.metric, 1, (20, 80));
        let _ = view.demoted();
        let _ = view.promote();
        let _ = view.write(false);
    });
}
