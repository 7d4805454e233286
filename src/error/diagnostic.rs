//! One problem: what is wrong, where, and what to do about it.

use std::{fmt, path::PathBuf};

use serde_json::{Value, json};

use super::source::SourceSpan;

/// The file, the line in it, the argument or the variable that a problem is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path(PathBuf),
    Source(SourceSpan),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Source(span) => write!(f, "{span}"),
        }
    }
}

/// One problem. Its message is a clause that can be read without the place: "the file has no column `class`".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    pub(crate) message: String,
    pub(crate) place: Option<Place>,
    /// The full key as `--set` takes it.
    pub(crate) key: Option<String>,
    /// Details, one per line: the files or values that the message is about.
    pub(crate) facts: Vec<String>,
    /// Instructions on what to type or to look at, one per line.
    pub(crate) help: Vec<String>,
}

impl Diagnostic {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
            key: None,
            facts: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Makes a problem with a setting, from the place where it is written and its full key.
    pub(crate) fn of_key(
        span: SourceSpan,
        key: Option<String>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Self {
        Self {
            place: Some(Place::Source(span)),
            key,
            help: help.into_iter().collect(),
            ..Self::new(message)
        }
    }

    /// The file, variable or argument that the problem is in, as the user wrote it.
    pub(crate) fn source_label(&self) -> Option<&String> {
        match self.place.as_ref()? {
            Place::Source(span) => Some(&span.source.label),
            Place::Path(_) => None,
        }
    }

    /// The place, unless the message already contains it.
    pub(super) fn place_to_show(&self) -> Option<String> {
        let place = self.place.as_ref()?.to_string();
        (!self.message.contains(&format!("`{place}`"))).then_some(place)
    }

    /// The key, unless the message already contains it.
    pub(super) fn key_to_show(&self) -> Option<&str> {
        let key = self.key.as_deref()?;
        (!self.message.contains(&format!("`{key}`"))).then_some(key)
    }

    pub(super) fn to_json(&self) -> Value {
        let lines = |lines: &[String]| (!lines.is_empty()).then(|| lines.join("\n"));
        let message = [std::slice::from_ref(&self.message), &self.facts].concat();
        json!({
            "message": message.join("\n"),
            "place": self.place.as_ref().map(Place::to_string),
            "key": self.key,
            "help": lines(&self.help),
        })
    }
}

/// Formats the problem for use within other text, such as a note: `PLACE: MESSAGE`, then facts and help on separate lines.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place_to_show() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)?;
        for fact in &self.facts {
            write!(f, "\n  {fact}")?;
        }
        for help in &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}
