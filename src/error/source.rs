//! The sources of settings: files with their text, environment variables and arguments. Knows neither keys nor their meaning.

use std::{fmt, ops::Range, sync::Arc};

/// A source of settings: a file, an environment variable, or an argument.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The path as the user wrote it, `--set optimizer.lr=1e-4`, or `RUNNER_OPTIMIZER__LR=1e-4`.
    pub(crate) label: String,
    /// The text of the file, to quote from; `None` for other sources.
    pub(crate) text: Option<String>,
    /// The byte at which each line of the text begins. Computed once, because every key of a file asks for its line.
    line_starts: Vec<usize>,
    /// The order in which problems are shown: later layers have higher ranks.
    pub(crate) rank: usize,
    pub(crate) is_defaults: bool,
}

impl Source {
    pub(crate) fn new(label: &str, text: Option<&str>, rank: usize, is_defaults: bool) -> Self {
        let newlines = text.unwrap_or_default().match_indices('\n');
        Self {
            label: label.to_owned(),
            text: text.map(str::to_owned),
            line_starts: std::iter::once(0)
                .chain(newlines.map(|(at, _)| at + 1))
                .collect(),
            rank,
            is_defaults,
        }
    }
}

/// A source and, in a file, the range of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceSpan {
    pub(crate) source: Arc<Source>,
    pub(crate) span: Option<Range<usize>>,
}

impl SourceSpan {
    /// The number of the line, from 1, and the byte at which it begins.
    pub(super) fn line(&self) -> Option<(usize, usize)> {
        let (_, span) = (self.source.text.as_ref()?, self.span.as_ref()?);
        let starts = &self.source.line_starts;
        let line = starts.partition_point(|start| *start <= span.start);
        Some((line, *starts.get(line.checked_sub(1)?)?))
    }

    /// Line and column, both from 1, the column in characters.
    fn line_and_column(&self) -> Option<(usize, usize)> {
        let (text, span) = (self.source.text.as_ref()?, self.span.as_ref()?);
        let (line, start) = self.line()?;
        Some((line, text.get(start..span.start)?.chars().count() + 1))
    }

    /// Formats the place as `file:line`, or as the source alone if it has no lines.
    pub(crate) fn short(&self) -> String {
        match self.line() {
            Some((line, _)) => format!("{}:{line}", self.source.label),
            None => self.source.label.clone(),
        }
    }

    /// The key to sort problems by: first by layer, then within a file from top to bottom.
    pub(super) fn order(&self) -> (usize, usize) {
        let start = self.span.as_ref().map_or(usize::MAX, |span| span.start);
        (self.source.rank, start)
    }
}

impl fmt::Display for SourceSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line_and_column() {
            Some((line, column)) => write!(f, "{}:{line}:{column}", self.source.label),
            None => write!(f, "{}", self.source.label),
        }
    }
}
