//! Formats errors for a terminal: the problem, its place with an excerpt of the source if there is one, facts and help.

use std::{fmt::Write as _, ops::Range};

use annotate_snippets::{
    AnnotationKind, Group, Level, Renderer, Snippet,
    renderer::{AnsiColor, Effects},
};

use super::{
    Error,
    diagnostic::{Diagnostic, Place},
    source::SourceSpan,
};
use crate::text::plain::{for_a_line, for_people, span_for_people};

/// The most problems that are shown: a file of the wrong kind has one in every line.
const MOST_SHOWN: usize = 50;
/// The word that each error begins with.
const ERROR: &str = "error";

/// Formats the error, without a final newline. Only excerpts and headings are colored, so that text from elsewhere cannot imitate
/// them.
pub(super) fn render(error: &Error, color: bool) -> String {
    let diagnostics = error.diagnostics();
    let mut text = String::new();
    for diagnostic in diagnostics.iter().take(MOST_SHOWN) {
        text.push_str(&one(diagnostic, color));
        if diagnostics.len() > 1 || error.subject().is_some() {
            text.push('\n');
        }
    }
    if diagnostics.len() > MOST_SHOWN {
        let _ = writeln!(text, "and {} more\n", diagnostics.len() - MOST_SHOWN);
    }
    if error.subject().is_some() {
        let _ = write!(text, "{}", for_a_line(&error.headline()));
    }
    text.truncate(text.trim_end().len());
    text
}

fn one(diagnostic: &Diagnostic, color: bool) -> String {
    let mut text = format!("{}: ", heading(ERROR, AnsiColor::BrightRed, color));
    let _ = writeln!(text, "{}", for_people(&diagnostic.message));
    match (&diagnostic.place, diagnostic.place_to_show()) {
        (Some(Place::Source(span)), Some(place)) => {
            let quoted = excerpt(span, diagnostic.key_to_show(), color);
            let key = match (diagnostic.key_to_show(), &quoted) {
                (Some(key), None) if !place.contains(key) => format!(" ({})", for_a_line(key)),
                _ => String::new(),
            };
            let _ = writeln!(text, "  --> {}{key}", for_a_line(&place));
            text.push_str(&quoted.unwrap_or_default());
        }
        (_, Some(place)) => {
            let _ = writeln!(text, "  --> {}", for_a_line(&place));
        }
        (_, None) => {}
    }
    for fact in &diagnostic.facts {
        let _ = writeln!(text, "  {}", for_people(fact));
    }
    for help in &diagnostic.help {
        let help = for_people(help);
        let _ = writeln!(
            text,
            "{}: {help}",
            heading("help", AnsiColor::BrightCyan, color)
        );
    }
    text
}

/// A rendered error without the heading that it begins with, to be shown within other text.
pub(crate) fn without_heading(rendered: &str) -> &str {
    let rest = rendered.strip_prefix(ERROR);
    rest.and_then(|rest| rest.strip_prefix(": "))
        .unwrap_or(rendered)
}

fn heading(word: &str, ink: AnsiColor, color: bool) -> String {
    if color {
        let style = ink.on_default().effects(Effects::BOLD);
        format!("{style}{word}{style:#}")
    } else {
        word.to_owned()
    }
}

/// Quotes the line in which the span begins, with the key under it.
fn excerpt(place: &SourceSpan, key: Option<&str>, color: bool) -> Option<String> {
    let source = place.source.text.as_ref()?;
    let (number, line_start) = place.line()?;
    let (line, span) = quoted(source, place.span.as_ref()?, line_start);
    let label = key.map(for_a_line);
    let mut annotation = AnnotationKind::Primary.span(span);
    if let Some(label) = &label {
        annotation = annotation.label(&**label);
    }
    let snippet = Snippet::source(&*line)
        .line_start(number)
        .fold(true)
        .annotation(annotation);
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let text = renderer.render(&[Group::with_level(Level::ERROR).element(snippet)]);
    Some(text + "\n")
}

/// The line as it is shown, and the span in it.
fn quoted(source: &str, span: &Range<usize>, line_start: usize) -> (String, Range<usize>) {
    // Of a value that spans several lines, only the first is quoted.
    let end = source
        .get(span.clone())
        .and_then(|quoted| quoted.find(['\r', '\n']))
        .map_or(span.end, |length| span.start + length);
    // The span is computed within the line alone, because spelling out characters before it moves it.
    let line = source.get(line_start..).unwrap_or_default();
    let line = line.split('\n').next().unwrap_or_default();
    let line = line.strip_suffix('\r').unwrap_or(line);
    let within = |place: usize| place.saturating_sub(line_start).min(line.len());
    let span = within(span.start)..within(end.max(span.start));
    let span = span_for_people(line, &span);
    (for_people(line).into_owned(), span)
}
