//! Targets for files that this program wrote and reads again to continue them.

use super::{Scratch, guarded};
use crate::{
    inference::{
        partial::{Job, PartialTable},
        table::TableFormat,
    },
    tensorboard::{EventFiles, Scalars},
};

/// Fuzzes an unfinished table of predictions, read as CSV and as JSON lines.
pub fn predictions(bytes: &[u8]) {
    guarded(|| {
        let folder = Scratch::new();
        folder.write("table.partial", bytes);
        let opened = PartialTable::open(&folder.path().join("table"), &Job::new());
        let Ok(Some(table)) = opened else {
            return;
        };
        for format in [TableFormat::Csv, TableFormat::Jsonl] {
            let Ok(rows) = table.rows(format) else {
                continue;
            };
            let ends = rows.map_while(|row| row.ok().map(|row| row.end));
            let ends: Vec<u64> = ends.collect();
            assert!(ends.is_sorted(), "a row ends before another one");
            let last = ends.last().copied().unwrap_or(0);
            assert!(last <= bytes.len() as u64, "a row ends behind the file");
        }
    });
}

/// Fuzzes an event file for TensorBoard that is continued.
pub fn events(bytes: &[u8]) {
    guarded(|| {
        let folder = Scratch::new();
        let file = folder.write("events.out.tfevents.0.runner", bytes);
        let write = || {
            let mut files = EventFiles::open(folder.path().to_owned(), 0, "a = 1").ok()?;
            let values = &[("loss", 0.5)];
            let scalars = Scalars {
                phase: "",
                step: 1,
                values,
            };
            files.add(&scalars).and_then(|()| files.flush()).ok()?;
            std::fs::read(&file).ok()
        };
        let (first, second) = (write(), write());
        assert!(first == second, "what was written is written again");
    });
}
