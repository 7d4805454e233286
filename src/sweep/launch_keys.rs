//! `[launcher]`: where trials run and how many at once. Whether Slurm takes what is asked of it is `slurm`'s.

use std::num::NonZeroUsize;

use serde::Deserialize;

use super::definition::{LauncherKind, LauncherSettings};
use crate::config::{
    schema::{Key, KeyKind, key},
    walk::Walk,
};

pub(super) static LAUNCHER: &[Key] = &[
    key(
        "kind",
        KeyKind::Choice("launcher", || LauncherKind::NAMES.to_vec()),
    ),
    key(
        "max_parallel",
        KeyKind::Count {
            min: 1,
            max: 10_000,
        },
    ),
    key("max_attempts", KeyKind::Count { min: 1, max: 1000 }),
    key("gpus", KeyKind::CountList { min: 0, max: 1023 }),
];

/// `[launcher]` as merged with its defaults.
#[derive(Deserialize)]
pub(super) struct RawLauncher {
    kind: LauncherKind,
    max_parallel: Option<NonZeroUsize>,
    max_attempts: NonZeroUsize,
    #[serde(default)]
    gpus: Vec<usize>,
}

pub(super) fn launcher(walk: &mut Walk<'_>, raw: RawLauncher) -> Option<LauncherSettings> {
    let mut numbers = raw.gpus.clone();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.len() < raw.gpus.len() {
        let help = "list each GPU once; `max_parallel` may be larger than the number of GPUs";
        walk.origins
            .report("launcher.gpus", "the same GPU is listed twice", help);
    }
    if walk.origins.is_set("launcher.gpus") && raw.gpus.is_empty() {
        let help = "list GPUs by their numbers, for example [0, 1], or remove the key";
        walk.origins
            .report("launcher.gpus", "`gpus` is empty", help);
    }
    if walk.origins.is_broken("launcher") {
        return None;
    }
    Some(LauncherSettings {
        kind: raw.kind,
        max_parallel: raw.max_parallel,
        max_attempts: raw.max_attempts,
        gpus: raw.gpus,
    })
}
