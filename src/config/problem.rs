//! What is wrong with an experiment, where it was written, and how that is shown.
//! Knows neither the keys nor what they mean.

use std::{
    fmt::{self, Write as _},
    ops::Range,
    sync::Arc,
};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::text::plain::{for_a_line, for_people, span_for_people};

/// A file of another kind has a problem in every line.
const MOST_SHOWN: usize = 50;

/// One place that keys can come from: a file, a variable, an argument.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The path as the user wrote it, `--set optimizer.lr=1e-4`, or `RUNNER_OPTIMIZER__LR=1e-4`.
    pub(crate) label: String,
    /// Files have a text to quote from.
    pub(crate) text: Option<String>,
    /// Where the lines of the text begin: each key of a file is asked for its line.
    line_starts: Vec<usize>,
    /// Layers above have higher ranks; problems are shown in this order.
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

/// A source and, in a file, the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) source: Arc<Source>,
    pub(crate) span: Option<Range<usize>>,
}

impl Place {
    /// From 1, with the byte that it begins at.
    fn line(&self) -> Option<(usize, usize)> {
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

    /// `file:line`, or the source alone where it has no lines.
    pub(crate) fn short(&self) -> String {
        match self.line() {
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
        // Each by itself: the excerpt may have colours, which would not survive.
        let mut text = format!("{}: ", for_a_line(&self.place.to_string()));
        if let Some(key) = &self.key {
            text.push_str(&for_a_line(key));
            text.push_str(": ");
        }
        text.push_str(&for_people(&self.fact));
        text.push('\n');
        if let (Some(source), Some(span), Some(line)) =
            (&self.place.source.text, &self.place.span, self.place.line())
        {
            text.push_str(&excerpt(source, span, line, renderer));
            text.push('\n');
        }
        if let Some(help) = &self.help {
            text.push_str("help: ");
            text.push_str(&for_people(help));
            text.push('\n');
        }
        text
    }
}

/// The line that the span begins in; `line` is its number and its first byte.
fn excerpt(
    source: &str,
    span: &Range<usize>,
    (number, line_start): (usize, usize),
    renderer: &Renderer,
) -> String {
    // A value over many lines is recognised by its first one.
    let end = source
        .get(span.clone())
        .and_then(|quoted| quoted.find(['\r', '\n']))
        .map_or(span.end, |length| span.start + length);
    // Nothing but the line: what is spelled out before a span moves it.
    let line = source.get(line_start..).unwrap_or_default();
    let line = line.split('\n').next().unwrap_or_default();
    let line = line.strip_suffix('\r').unwrap_or(line);
    let within = |place: usize| place.saturating_sub(line_start).min(line.len());
    let span = within(span.start)..within(end.max(span.start));
    let span = span_for_people(line, &span);
    let line = for_people(line);
    let snippet = Snippet::source(&*line)
        .line_start(number)
        .fold(true)
        .annotation(AnnotationKind::Primary.span(span));
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

    /// The file that was asked for.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        let problems = self.problems.iter().map(|problem| {
            serde_json::json!({
                "place": problem.place.to_string(), "key": problem.key, "message": problem.fact, "help": problem.help,
            })
        });
        problems.collect()
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
        format!("{text}{n_problems} {noun} in {}", for_a_line(&self.subject))
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
