//! The defaults file line by line: keys, headers and the comments that explain them, which a TOML parser drops.
//! Pure; knows no particular key.

use std::collections::{BTreeMap, BTreeSet};

use super::walk::join;

/// One line. `code` is without the `# ` of a line that is commented out; `note` is the comment after it, or empty.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Blank,
    /// A comment that is not code, without its `#`.
    Prose(&'a str),
    /// `[path]` or `[[path]]`.
    Header {
        code: &'a str,
        path: &'a str,
        note: &'a str,
        is_active: bool,
    },
    /// `name = value`
    Key {
        code: &'a str,
        name: &'a str,
        note: &'a str,
        is_active: bool,
    },
}

pub(crate) fn lines(text: &str) -> Vec<Line<'_>> {
    text.lines().map(line).collect()
}

fn line(line: &str) -> Line<'_> {
    let Some(comment) = line.strip_prefix('#') else {
        return code(line, true).unwrap_or(Line::Blank);
    };
    let comment = comment.strip_prefix(' ').unwrap_or(comment);
    code(comment, false).unwrap_or(Line::Prose(comment))
}

fn code(text: &str, is_active: bool) -> Option<Line<'_>> {
    let (code, note) = split_note(text);
    if let Some(path) = code.strip_prefix('[')
        && code.ends_with(']')
    {
        return Some(Line::Header {
            code,
            path: path.trim_matches(['[', ']']),
            note,
            is_active,
        });
    }
    let (name, _) = code.split_once(" = ")?;
    let is_name = name
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    is_name.then_some(Line::Key {
        code,
        name,
        note,
        is_active,
    })
}

/// The code before a comment, and the comment. A `#` in quotes does not start one.
fn split_note(text: &str) -> (&str, &str) {
    let mut is_quoted = false;
    for (index, letter) in text.char_indices() {
        match letter {
            '"' => is_quoted = !is_quoted,
            '#' if !is_quoted => return (text[..index].trim_end(), text[index + 1..].trim()),
            _ => {}
        }
    }
    (text.trim_end(), "")
}

/// The path of the table that the comment after a `[kinds]` header names: `[[phase]]`, or words for the top.
pub(crate) fn home(note: &str) -> &str {
    match note.strip_prefix('[') {
        Some(path) => path
            .trim_start_matches('[')
            .split(']')
            .next()
            .unwrap_or_default(),
        None => "",
    }
}

/// By key, the kinds that take it: `sgd` and `rmsprop` for `optimizer.momentum`. Keys that all kinds take are absent.
pub(crate) fn kinds_of_keys(defaults: &str) -> BTreeMap<String, Vec<String>> {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut kinds_of_keys: BTreeMap<String, (&str, Vec<String>)> = BTreeMap::new();
    let mut general = BTreeSet::new();
    let (mut section, mut kind) = ("", "");
    for line in lines(defaults) {
        match line {
            Line::Header { path, note, .. } => {
                if let Some(name) = path.strip_prefix("kinds.") {
                    (section, kind) = (home(note), name);
                    kinds.entry(section).or_default().push(name);
                } else {
                    (section, kind) = (path, "");
                }
            }
            Line::Key {
                name,
                is_active: true,
                ..
            } if kind.is_empty() => {
                general.insert(join(section, name));
            }
            Line::Key {
                name,
                is_active: true,
                ..
            } => {
                let of_key = kinds_of_keys.entry(join(section, name));
                of_key
                    .or_insert((section, Vec::new()))
                    .1
                    .push(kind.to_owned());
            }
            Line::Blank | Line::Prose(_) | Line::Key { .. } => {}
        }
    }
    kinds_of_keys
        .into_iter()
        .filter(|(key, (section, of_key))| {
            !general.contains(key) && of_key.len() < kinds[section].len()
        })
        .map(|(key, (_, of_key))| (key, of_key))
        .collect()
}

/// A comment for readers who do not see the defaults file.
pub(crate) fn from_afar(comment: &str) -> String {
    let end = comment
        .find("[kinds")
        .and_then(|start| Some(start + comment[start..].find(']')? + 1));
    match end {
        Some(end) => {
            let (before, after) = comment.split_at(end);
            let after = after.strip_prefix(" below").unwrap_or(after);
            format!("{before} of `runner config --defaults`{after}")
        }
        None => comment.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_from_prose_even_where_it_is_commented_out() {
        let text =
            "# Threads; fresh = 1.\n# lr = \"a#b\"   # the note\n\n[data]\n# [[phase]]  # more";
        let key = Line::Key {
            code: "lr = \"a#b\"",
            name: "lr",
            note: "the note",
            is_active: false,
        };
        let header = |code, path, note, is_active| Line::Header {
            code,
            path,
            note,
            is_active,
        };
        let expected = [
            Line::Prose("Threads; fresh = 1."),
            key,
            Line::Blank,
            header("[data]", "data", "", true),
            header("[[phase]]", "phase", "more", false),
        ];
        assert_eq!(lines(text), expected);
    }

    #[test]
    fn the_kinds_are_found_from_afar() {
        let check = |comment, expected: &str| assert_eq!(from_afar(comment), expected);
        check(
            "is in [kinds] below.",
            "is in [kinds] of `runner config --defaults`.",
        );
        check(
            "see [kinds.phase]",
            "see [kinds.phase] of `runner config --defaults`",
        );
        check("see [data]", "see [data]");
    }
}
