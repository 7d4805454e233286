//! The defaults file as lines: keys, headers and the comments that explain them, which a TOML parser drops.
//! Pure; knows no particular key.

/// One line; `code` is without the `# ` of a line that is commented out, `note` is the comment behind it or empty.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Blank,
    /// A comment that is no code, without its `#`.
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

/// The code before a comment, and the comment; a `#` in quotes begins none.
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

/// A comment for readers who do not have the defaults file before them.
pub(crate) fn from_afar(comment: &str) -> String {
    let end = comment
        .find("[kinds")
        .and_then(|start| Some(start + comment[start..].find(']')? + 1));
    match end {
        Some(end) => {
            let (before, behind) = comment.split_at(end);
            let behind = behind.strip_prefix(" below").unwrap_or(behind);
            format!("{before} of `runner config --defaults`{behind}")
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
            "stands in [kinds] below.",
            "stands in [kinds] of `runner config --defaults`.",
        );
        check(
            "see [kinds.phase]",
            "see [kinds.phase] of `runner config --defaults`",
        );
        check("see [data]", "see [data]");
    }
}
