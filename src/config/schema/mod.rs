//! The table of keys: every key that an experiment may set, with its type, its range, and what a change of it means for a
//! run, a resumed run and a sweep. Defaults and explanations are in `defaults.toml`, which lists the same keys.
//! Pure; knows neither files nor what a key does. What two keys mean to each other is `resolve`'s.

mod range;
mod table;

use toml::{Table, Value};

pub(crate) use self::{
    range::{End, Range},
    table::{ARCHITECTURE, TOP},
};

/// One key of one table.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: KeyKind,
    pub(crate) effect: Effect,
    pub(crate) resume: Resume,
    pub(crate) recheck: Recheck,
    /// Whether the table is refused without it.
    pub(crate) is_required: bool,
    /// Whether the run that `init_from` names decides it instead.
    pub(crate) is_inherited: bool,
    /// Whether `runner evaluate --set` takes it.
    pub(crate) is_for_evaluation: bool,
}

/// The type of a key's value.
pub(crate) enum KeyKind {
    Text,
    Flag,
    /// An integer, both ends included.
    Count {
        min: u64,
        max: u64,
    },
    Number(Range),
    /// What the values are called, and the values.
    Choice(&'static str, fn() -> Vec<&'static str>),
    /// An array of strings.
    Texts,
    /// An array of integers of any length, both ends included.
    CountList {
        min: u64,
        max: u64,
    },
    /// An array of exactly `len` integers.
    Counts {
        len: usize,
        min: u64,
        max: u64,
    },
    /// An array of exactly `len` numbers.
    Numbers {
        len: usize,
        range: Range,
    },
    /// A table of selector to factor, in which the order counts; or an array of such pairs.
    Factors(Range),
    Table(&'static [Key]),
    /// `[[name]]`
    Tables(&'static [Key]),
    /// A table whose keys are those of an experiment, as `--set` takes them.
    Settings,
}

/// What another value of a key changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// What the run computes.
    Results,
    /// How fast, and with how much memory and disk, the run computes the same results.
    Work,
    /// What the run is called and where its directory is.
    Naming,
    /// Where files are downloaded from, which is no part of a run.
    Download,
    /// Which files the experiment is read from, which is over once it is read.
    Layering,
}

/// Whether `runner resume --set` may change a key of a run that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// No: what has been trained depends on it.
    Never,
    /// Yes, but not in phases that are over: only later steps depend on it.
    FromNowOn,
    /// Yes: results do not depend on it, or what it names is compared with the hashes in the manifest.
    Free,
    /// Only in each phase: a run that has begun has a value for every phase.
    InPhases,
}

/// What a sweep checks again before it starts a trial that has another value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recheck {
    Nothing,
    /// Images, split, device, memory and disk.
    Inputs,
    /// The same, and the weights.
    Weights,
}

pub(crate) const fn key(name: &'static str, kind: KeyKind) -> Key {
    Key {
        name,
        kind,
        effect: Effect::Results,
        resume: Resume::Never,
        recheck: Recheck::Nothing,
        is_required: false,
        is_inherited: false,
        is_for_evaluation: false,
    }
}

impl Key {
    const fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    const fn resume(mut self, resume: Resume) -> Self {
        self.resume = resume;
        self
    }

    const fn recheck(mut self, recheck: Recheck) -> Self {
        self.recheck = recheck;
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    const fn inherited(mut self) -> Self {
        self.is_inherited = true;
        self
    }

    const fn for_evaluation(mut self) -> Self {
        self.is_for_evaluation = true;
        self
    }

    /// Whether a sweep can set the key: it names and places its trials itself.
    pub(crate) fn is_for_sweeps(&self) -> bool {
        !matches!(self.effect, Effect::Naming | Effect::Layering)
    }
}

/// The largest integer of TOML.
pub(crate) const MAX: u64 = i64::MAX as u64;

pub(crate) fn find<'a>(keys: &'a [Key], name: &str) -> Option<&'a Key> {
    keys.iter().find(|key| key.name == name)
}

/// The keys of a table at the top.
pub(crate) fn keys_of(table: &str) -> &'static [Key] {
    match find(TOP, table).map(|key| &key.kind) {
        Some(KeyKind::Table(keys) | KeyKind::Tables(keys)) => keys,
        _ => &[],
    }
}

/// The names of the keys without which a table is refused.
pub(crate) fn required(keys: &[Key]) -> impl Iterator<Item = &'static str> {
    let required = keys.iter().filter(|key| key.is_required);
    required.map(|key| key.name)
}

/// The key that `--set` takes under this label: `optimizer.lr`, or `phase.head.lr` for any name of a phase.
pub(crate) fn by_label(label: &str) -> Option<&'static Key> {
    path_of(label)?.pop()
}

/// Whether `runner resume --set` may change the key with this label. A table decides for all of its keys, because the keys of
/// `[schedule]` are those of `[phase.schedule]` too.
pub(crate) fn resume_of(label: &str) -> Option<Resume> {
    let path = path_of(label)?;
    let mut found = path.iter().map(|key| key.resume);
    Some(
        found
            .find(|resume| *resume != Resume::Never)
            .unwrap_or(Resume::Never),
    )
}

/// The key with this label, after the tables that it is in.
fn path_of(label: &str) -> Option<Vec<&'static Key>> {
    let mut words = label.split('.');
    let mut keys = TOP;
    let mut path = Vec::new();
    while let Some(name) = words.next() {
        let key = find(keys, name)?;
        path.push(key);
        keys = match &key.kind {
            KeyKind::Table(inner) => inner,
            KeyKind::Tables(inner) => {
                // Any name names a phase, and a phase alone is no key.
                if words.next().is_some() && words.clone().next().is_none() {
                    return None;
                }
                inner
            }
            _ => &[],
        };
    }
    Some(path)
}

/// The labels of all wanted keys that hold a value, as `--set` takes them; phases go by `phase`.
pub(crate) fn labels(phase: &str, is_wanted: impl Fn(&Key) -> bool) -> Vec<String> {
    fn collect(
        path: &str,
        keys: &[Key],
        phase: &str,
        is_wanted: &dyn Fn(&Key) -> bool,
        labels: &mut Vec<String>,
    ) {
        for key in keys {
            let label = super::walk::join(path, key.name);
            match &key.kind {
                KeyKind::Table(inner) => collect(&label, inner, phase, is_wanted, labels),
                KeyKind::Tables(inner) => {
                    collect(&format!("{label}.{phase}"), inner, phase, is_wanted, labels);
                }
                _ if is_wanted(key) => labels.push(label),
                _ => {}
            }
        }
    }
    let mut labels = Vec::new();
    collect("", TOP, phase, &is_wanted, &mut labels);
    labels
}

/// The labels of all keys that `--set` takes, but for those of phases, whose names only an experiment knows.
pub(crate) fn names() -> Vec<String> {
    let mut names = labels("NAME", |key| key.effect != Effect::Layering);
    names.retain(|name| !name.starts_with("phase."));
    names
}

/// Removes the keys from a resolved experiment that `is_kept` refuses, and the tables that are empty then. A key that is not in
/// the table of keys, as another version may have written it, is `None`.
pub(crate) fn retain(experiment: &mut Table, is_kept: &dyn Fn(Option<&Key>) -> bool) {
    retain_in(experiment, TOP, is_kept);
}

fn retain_in(table: &mut Table, keys: &[Key], is_kept: &dyn Fn(Option<&Key>) -> bool) {
    table.retain(|name, value| {
        let key = find(keys, name);
        match (key.map(|key| &key.kind), value) {
            (Some(KeyKind::Table(keys)), Value::Table(inner)) => {
                retain_in(inner, keys, is_kept);
                !inner.is_empty()
            }
            (Some(KeyKind::Tables(keys)), Value::Array(tables)) => {
                for inner in tables.iter_mut().filter_map(Value::as_table_mut) {
                    retain_in(inner, keys, is_kept);
                }
                true
            }
            _ => is_kept(key),
        }
    });
}

/// The tables that have a key of this name, as headers: for keys that are in the wrong table.
pub(crate) fn homes(name: &str) -> Vec<String> {
    let mut homes = Vec::new();
    if find(TOP, name).is_some() {
        homes.push("the top of the file".to_owned());
    }
    for table in TOP {
        match &table.kind {
            KeyKind::Table(keys) if find(keys, name).is_some() => {
                homes.push(format!("[{}]", table.name));
            }
            KeyKind::Tables(keys) if find(keys, name).is_some() => {
                homes.push(format!("[[{}]]", table.name));
            }
            _ => {}
        }
    }
    homes
}

#[cfg(test)]
mod tests;
