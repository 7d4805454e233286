//! What is wrong with an experiment, where it was written, and how that is shown.
//! Knows neither the keys nor what they mean.

use std::{
    fmt::{self, Write as _},
    ops::Range,
    sync::Arc,
};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Each takes a walk through the whole text, and a file of another kind has one in every line.
const MOST_SHOWN: usize = 50;

/// One place that keys can come from: a file, a variable, an argument.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The path as the user wrote it, `--set optimizer.lr=1e-4`, or `RUNNER_OPTIMIZER__LR=1e-4`.
    pub(crate) label: String,
    /// Files have a text to quote from.
    pub(crate) text: Option<String>,
    /// Layers above have higher ranks; problems are shown in this order.
    pub(crate) rank: usize,
    pub(crate) is_defaults: bool,
}

/// A source and, in a file, the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) source: Arc<Source>,
    pub(crate) span: Option<Range<usize>>,
}

impl Place {
    /// Line and column, both from 1, the column in characters.
    fn line_and_column(&self) -> Option<(usize, usize)> {
        let (text, span) = (self.source.text.as_ref()?, self.span.as_ref()?);
        let before = text.get(..span.start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        Some((line, before[line_start..].chars().count() + 1))
    }

    /// `file:line`, or the source alone where it has no lines.
    pub(crate) fn short(&self) -> String {
        match self.line_and_column() {
            Some((line, _)) => format!("{}:{line}", self.source.label),
            None => self.source.label.clone(),
        }
    }

    /// Sorts problems: files first, each from top to bottom.
    fn order(&self) -> (usize, usize) {
        let start = self.span.as_ref().map_or(usize::MAX, |span| span.start);
        (self.source.rank, start)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line_and_column() {
            Some((line, column)) => write!(f, "{}:{line}:{column}", self.source.label),
            None => write!(f, "{}", self.source.label),
        }
    }
}

/// One mistake: where, which key, what is wrong, what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) place: Place,
    /// The full key as `--set` takes it; absent where the file is no TOML.
    pub(crate) key: Option<String>,
    pub(crate) fact: String,
    pub(crate) help: Option<String>,
}

impl Problem {
    fn render(&self, renderer: &Renderer) -> String {
        let mut text = format!("{}: ", self.place);
        if let Some(key) = &self.key {
            text.push_str(key);
            text.push_str(": ");
        }
        text.push_str(&self.fact);
        text.push('\n');
        if let (Some(source), Some(span)) = (&self.place.source.text, &self.place.span) {
            text.push_str(&excerpt(source, span, renderer));
            text.push('\n');
        }
        if let Some(help) = &self.help {
            text.push_str("help: ");
            text.push_str(help);
            text.push('\n');
        }
        text
    }
}

fn excerpt(source: &str, span: &Range<usize>, renderer: &Renderer) -> String {
    // A value over many lines is recognised by its first one.
    let end = source
        .get(span.clone())
        .and_then(|quoted| quoted.find(['\r', '\n']))
        .map_or(span.end, |length| span.start + length);
    let snippet = Snippet::source(source)
        .line_start(1)
        .fold(true)
        .annotation(AnnotationKind::Primary.span(span.start..end));
    renderer.render(&[Group::with_level(Level::ERROR).element(snippet)])
}

/// Everything that is wrong with one experiment; never empty.
#[derive(Debug)]
pub(crate) struct Problems {
    /// The file that was asked for.
    subject: String,
    problems: Vec<Problem>,
}

impl Problems {
    pub(crate) fn new(subject: String, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place.order());
        problems.dedup();
        Self { subject, problems }
    }

    /// For a sweep, which shows the problems of all its trials as its own.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// The text for a terminal; colours only in the excerpts.
    pub(crate) fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut text = String::new();
        for problem in self.problems.iter().take(MOST_SHOWN) {
            text.push_str(&problem.render(&renderer));
            text.push('\n');
        }
        let n_problems = self.problems.len();
        if n_problems > MOST_SHOWN {
            let _ = writeln!(text, "and {} more\n", n_problems - MOST_SHOWN);
        }
        let noun = if n_problems == 1 {
            "problem"
        } else {
            "problems"
        };
        format!("{text}{n_problems} {noun} in {}", self.subject)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// The candidate that is most like `word`, if one is like it at all.
pub(crate) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .iter()
        .map(|candidate| (strsim::jaro_winkler(&word, candidate), *candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// `a, b and c`, each in back-ticks.
pub(crate) fn list<T: AsRef<str>>(words: &[T], last: &str) -> String {
    let quoted: Vec<String> = words
        .iter()
        .map(|word| format!("`{}`", word.as_ref()))
        .collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [init @ .., end] => format!("{} {last} {end}", init.join(", ")),
    }
}
