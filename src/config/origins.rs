//! The layer that set each key. Knows the form of keys, not their meaning.
//!
//! In this module a key is a path such as `phase[0].trainable[1]`; users see `phase.head.trainable`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use crate::error::{Diagnostic, Source, SourceSpan};

/// Where every key was last set, and which keys cannot be trusted.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    places: BTreeMap<String, SourceSpan>,
    /// Keys that already have a problem. What follows from them is not reported again.
    broken: BTreeSet<String>,
    /// The names of the phases by position; `None` for a phase without one.
    pub(crate) phase_names: Vec<Option<String>>,
    /// The file that a missing key would have to be added to.
    pub(crate) subject: Arc<Source>,
    pub(crate) problems: Vec<Diagnostic>,
}

impl Origins {
    pub(crate) fn new(subject: Arc<Source>) -> Self {
        Self {
            places: BTreeMap::new(),
            broken: BTreeSet::new(),
            phase_names: Vec::new(),
            subject,
            problems: Vec::new(),
        }
    }

    /// Notes where a key was set. A key that is set again loses the places of what it held before.
    pub(crate) fn set(&mut self, path: &str, place: SourceSpan) {
        // The elements of a key directly follow it in the order of strings, so that the search is short: an experiment may
        // have twenty thousand phases.
        let places = self.places.range(elements(path));
        let places: Vec<String> = places.map(|(key, _)| key.clone()).collect();
        for key in places {
            self.places.remove(&key);
        }
        self.broken.remove(path);
        let broken = self.broken.range(elements(path));
        let broken: Vec<String> = broken.cloned().collect();
        for key in broken {
            self.broken.remove(&key);
        }
        self.places.insert(path.to_owned(), place);
    }

    /// The place of a key, or else of the table that it would be in, or else the file.
    pub(crate) fn place(&self, path: &str) -> SourceSpan {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path)
                && !place.source.is_defaults
            {
                return place.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => break,
            }
        }
        SourceSpan {
            source: Arc::clone(&self.subject),
            span: None,
        }
    }

    /// The place where this very key was set, defaults included.
    pub(crate) fn exact(&self, path: &str) -> Option<&SourceSpan> {
        self.places.get(path)
    }

    /// Whether anything but the defaults set this key.
    pub(crate) fn is_set(&self, path: &str) -> bool {
        self.places
            .get(path)
            .is_some_and(|place| !place.source.is_defaults)
    }

    /// Whether `--set` or a variable set this key.
    pub(crate) fn is_override(&self, path: &str) -> bool {
        let place = self.places.get(path);
        place.is_some_and(|place| !place.source.is_defaults && place.source.text.is_none())
    }

    /// The keys that `--set` or a variable set, as `--set` takes them.
    pub(crate) fn overrides(&self) -> Vec<String> {
        let keys = self.places.keys().filter(|key| self.is_override(key));
        keys.map(|key| self.label(key)).collect()
    }

    /// The key as `--set` takes it.
    pub(crate) fn label(&self, path: &str) -> String {
        let mut label = path.to_owned();
        if let Some(rest) = path.strip_prefix("phase[")
            && let Some((index, rest)) = rest.split_once(']')
            && let Ok(index) = index.parse::<usize>()
            && let Some(Some(name)) = self.phase_names.get(index)
            && is_phase_name(name)
        {
            label = format!("phase.{name}{rest}");
        }
        match label.rfind('[') {
            // `trainable[1]` is not a key, but `phase[1]` is the best label for a phase without a name.
            Some(start) if label.ends_with(']') && !label.starts_with("phase[") => {
                label.truncate(start);
                label
            }
            _ => label,
        }
    }

    pub(crate) fn mark_broken(&mut self, path: &str) {
        self.broken.insert(path.to_owned());
    }

    /// Whether this key, something in it or a table around it has a problem already.
    pub(crate) fn is_broken(&self, path: &str) -> bool {
        let mut around = path.match_indices(['.', '[']);
        self.broken.contains(path)
            || around.any(|(end, _)| self.broken.contains(&path[..end]))
            || self.broken.range(elements(path)).next().is_some()
    }

    /// Reports a problem with a key at the place where the key was set.
    pub(crate) fn report(
        &mut self,
        path: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report_at(self.place(path), path, message, Some(help.into()));
    }

    pub(crate) fn report_at(
        &mut self,
        place: SourceSpan,
        path: &str,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.mark_broken(path);
        let key = Some(self.label(path));
        self.problems
            .push(Diagnostic::of_key(place, key, message, help));
    }

    /// Reports a missing key, unless another problem explains why it is missing.
    pub(crate) fn report_missing(&mut self, path: &str, help: impl Into<String>) {
        if !self.is_broken(path) {
            let message = format!("missing key `{}`", self.label(path));
            self.report(path, message, help);
        }
    }

    /// Reports a key that the user set although it has no effect.
    pub(crate) fn report_inert(&mut self, path: &str, why: &str, help: impl Into<String>) {
        if self.is_set(path) {
            let message = format!("`{}` has no effect {why}", self.label(path));
            self.report(path, message, help);
        }
    }

    /// Reports a key that `--set` or a variable set although it has no effect. In a file it may be meant for files that extend it.
    pub(crate) fn report_inert_override(&mut self, path: &str, why: &str, help: impl Into<String>) {
        if self.is_override(path) {
            self.report_inert(path, why, help);
        }
    }
}

/// Whether `--set phase.NAME.epochs=3` can use this name of a phase.
pub(crate) fn is_phase_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_'))
}

/// The range of strings that begin with `path[`: the elements of a key and what is in them.
fn elements(path: &str) -> Range<String> {
    // `\` is the character after `[`.
    format!("{path}[")..format!("{path}\\")
}
