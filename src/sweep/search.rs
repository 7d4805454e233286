//! `[search]`: whether every trial trains all of its epochs, or bad ones stop early.

use serde::Deserialize;

use super::definition::{AshaSettings, Search};
use crate::config::{
    schema::{Key, KeyKind, MAX, key},
    walk::Walk,
};

pub(super) static SEARCH: &[Key] = &[
    key(
        "kind",
        KeyKind::Choice("search", || SearchName::NAMES.to_vec()),
    ),
    key("eta", KeyKind::Count { min: 2, max: 100 }),
    key("min_epochs", KeyKind::Count { min: 1, max: MAX }),
    key("max_epochs", KeyKind::Count { min: 2, max: MAX }),
];

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SearchName {
    Full,
    Asha,
}

impl SearchName {
    const NAMES: [&str; 2] = ["full", "asha"];
}

/// `[search]` as merged with its defaults.
#[derive(Deserialize)]
pub(super) struct RawSearch {
    kind: SearchName,
    eta: usize,
    min_epochs: usize,
    max_epochs: Option<usize>,
}

/// The search with its own keys.
pub(super) fn search(walk: &mut Walk<'_>, raw: &RawSearch) -> Option<Search> {
    if walk.origins.is_broken("search.kind") {
        return None;
    }
    match raw.kind {
        SearchName::Full => {
            for name in ["eta", "min_epochs", "max_epochs"] {
                let path = format!("search.{name}");
                let why = "without kind = \"asha\"";
                let help = "remove it, or set kind = \"asha\"";
                if !walk.origins.is_broken(&path) {
                    walk.origins.report_inert(&path, why, help);
                }
            }
            Some(Search::Full)
        }
        SearchName::Asha => {
            if let Some(most) = raw.max_epochs
                && most <= raw.min_epochs
                && !walk.origins.is_broken("search")
            {
                let message = format!(
                    "`max_epochs` is {most}, but a trial trains {} before it is compared",
                    raw.min_epochs
                );
                let help = "raise `max_epochs`, or lower `min_epochs`";
                walk.origins.report("search.max_epochs", message, help);
            }
            let place = match raw.max_epochs {
                Some(_) => walk.origins.place("search.max_epochs"),
                None => walk.origins.place("search.kind"),
            };
            Some(Search::Asha(AshaSettings {
                eta: raw.eta,
                min_epochs: raw.min_epochs,
                max_epochs: raw.max_epochs,
                span: place.span.unwrap_or_default(),
            }))
        }
    }
}
