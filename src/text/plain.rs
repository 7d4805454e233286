//! Makes text from elsewhere safe for a terminal: spells out characters that control the terminal or the text direction, and masks
//! secrets in URLs. Pure.

use std::{borrow::Cow, ops::Range};

/// The replacement of secrets.
const MASK: &str = "***";

/// Characters that end a URL in a text. White space ends it too, and a single quote if the URL began after one.
const QUOTES: [char; 4] = ['"', '`', '<', '>'];

/// Punctuation that more often follows a URL than belongs to it.
const CLOSING: [char; 9] = ['.', ',', ';', ':', '!', ')', ']', '}', '\''];

/// Masks secrets and spells out control characters.
pub(crate) fn for_people(text: &str) -> Cow<'_, str> {
    match masked(text) {
        Cow::Borrowed(text) => harmless(text),
        Cow::Owned(text) => Cow::Owned(harmless(&text).into_owned()),
    }
}

/// Like [`for_people`], for a name or value in one line or cell: line breaks and tabs are spelled out as well.
pub(crate) fn for_a_line(text: &str) -> Cow<'_, str> {
    let is_out_of_place = |letter| is_harmful(letter) || matches!(letter, '\n' | '\t' | '\r');
    match masked(text) {
        text if !text.contains(is_out_of_place) => text,
        text => Cow::Owned(spelled_out(&text, is_out_of_place)),
    }
}

/// Spells out characters that control the terminal or the text direction, such as `\u{1b}`.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    // Only a carriage return before a line feed is harmless; others would move the cursor back over the line.
    let lines: Vec<String> = text
        .split("\r\n")
        .map(|line| spelled_out(line, is_harmful))
        .collect();
    Cow::Owned(lines.join("\r\n"))
}

/// Whether a character is a control character (C0, DEL or C1) other than line feed and tab, or a control of bidirectional text.
pub(crate) fn is_harmful(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\t')
        || matches!(
            letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

fn spelled_out(text: &str, is_wanted: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_wanted(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// A word of a shell's command line, in quotes if it needs them.
pub(crate) fn for_the_shell(word: &str) -> Cow<'_, str> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/:=+,@%".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

/// Masks secrets in URLs: user names and passwords before the host, and the values of queries. A URL begins after `://`, or as the
/// value of a key or flag named `mirror`.
pub(crate) fn masked(text: &str) -> Cow<'_, str> {
    without(text, secrets(text))
}

/// Like [`masked`], for a text that is one URL as a whole, whatever it looks like.
pub(crate) fn masked_address(text: &str) -> Cow<'_, str> {
    let start = text.find("://").map_or(0, |length| length + 3);
    let mut secrets = Vec::new();
    secrets_of(&text[start..], start, &mut secrets);
    without(text, secrets)
}

fn without(text: &str, secrets: Vec<Range<usize>>) -> Cow<'_, str> {
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut shown, mut end) = (String::with_capacity(text.len()), 0);
    for secret in secrets {
        shown.push_str(&text[end..secret.start]);
        shown.push_str(MASK);
        end = secret.end;
    }
    Cow::Owned(shown + &text[end..])
}

/// Maps a span in `text` to the corresponding span in `for_people(text)`.
pub(crate) fn span_for_people(text: &str, span: &Range<usize>) -> Range<usize> {
    let secrets = secrets(text);
    let moved = |place: usize| {
        let mut n_bytes = 0;
        let mut end = 0;
        for secret in &secrets {
            if place <= secret.start {
                break;
            }
            n_bytes += harmless(&text[end..secret.start]).len() + MASK.len();
            end = secret.end;
        }
        // A position inside a secret maps to the end of its mask.
        n_bytes + harmless(text.get(end..place).unwrap_or_default()).len()
    };
    moved(span.start)..moved(span.end)
}

/// The secrets in `text`, in order and without overlaps.
fn secrets(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = if bytes[at..].starts_with(b"://") {
            Some(at + 3)
        } else if bytes[at..].len() > 6 && bytes[at..at + 6].eq_ignore_ascii_case(b"mirror") {
            value_behind(text, at + 6)
        } else {
            None
        };
        let Some(start) = start else {
            at += 1;
            continue;
        };
        let end = end_of_address(text, start, quote_before(text, start));
        // A value that is a whole URL is found again after its `://`.
        if text[start..end].contains("://") {
            at += 1;
        } else {
            secrets_of(&text[start..end], start, &mut found);
            at = end.max(at + 1);
        }
    }
    found
}

/// The start of the value of the key or flag that ends at `at`, such as `mirror = "` and `--mirror `.
fn value_behind(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let behind_name = rest.trim_start_matches(['"', '\'']);
    let behind_sign = behind_name.trim_start_matches([' ', '\t', '=']);
    (behind_sign.len() < behind_name.len())
        .then(|| text.len() - behind_sign.trim_start_matches(['"', '\'']).len())
}

/// Whether the URL whose host begins at `start` begins after a single quote.
fn quote_before(text: &str, start: usize) -> bool {
    let is_of_a_scheme = |letter: char| letter.is_ascii_alphanumeric() || "+.-:/".contains(letter);
    text[..start]
        .trim_end_matches(is_of_a_scheme)
        .ends_with('\'')
}

fn end_of_address(text: &str, start: usize, is_quoted: bool) -> usize {
    let ends = |letter: char| {
        letter.is_whitespace() || QUOTES.contains(&letter) || (is_quoted && letter == '\'')
    };
    text[start..]
        .find(ends)
        .map_or(text.len(), |length| start + length)
}

/// Finds the secrets of a URL without its scheme that begins at `offset`.
fn secrets_of(address: &str, offset: usize, found: &mut Vec<Range<usize>>) {
    let authority_end = address.find(['/', '?', '#', '\\']);
    let authority = &address[..authority_end.unwrap_or(address.len())];
    let is_host = match authority.rsplit_once(':') {
        None => true,
        Some((_, port)) => port.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit()),
    };
    // A password may contain a `/` or `?` that was not escaped as `%2F` or `%3F`.
    let at_sign = match authority.rfind('@') {
        None if !is_host => address.rfind('@'),
        at_sign => at_sign,
    };
    if let Some(at_sign) = at_sign.filter(|at_sign| *at_sign > 0) {
        found.push(offset..offset + at_sign);
    }
    let after = at_sign.unwrap_or(0);
    let Some(query) = address[after..].find(['?', '#']) else {
        return;
    };
    let mut start = after + query + 1;
    let end = address.trim_end_matches(CLOSING).len();
    while start < end {
        let length = address[start..end].find(['&', ';', '#', '?']);
        let part_end = length.map_or(end, |length| start + length);
        let name = address[start..part_end].find('=');
        let value = name.map_or(start, |length| start + length + 1);
        if value < part_end {
            found.push(offset + value..offset + part_end);
        }
        start = part_end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_spelled_out() {
        let check = |text: &str, expected: &str| {
            assert_eq!(for_people(text), expected);
            assert_eq!(for_people(expected), expected);
        };
        check(
            "Ca\u{1b}[31mt\u{7}, a\rb, \u{9b}2J, \u{202e}txt.exe",
            "Ca\\u{1b}[31mt\\u{7}, a\\rb, \\u{9b}2J, \\u{202e}txt.exe",
        );
        check(
            "\u{61c}\u{200e}\u{200f}\u{2066}\u{7f}",
            "\\u{61c}\\u{200e}\\u{200f}\\u{2066}\\u{7f}",
        );
        check("ネコ\tand\nmore\r\nlines", "ネコ\tand\nmore\r\nlines");
        assert_eq!(for_a_line("a\nb\tc\r\n"), "a\\nb\\tc\\r\\n");
    }

    #[test]
    fn an_address_shows_no_password_and_no_token() {
        let check = |text: &str, expected: &str| {
            assert_eq!(masked(text), expected);
            assert_eq!(masked(expected), expected, "masking again changes nothing");
        };
        check("https://me:secret@a.org/b@c", "https://***@a.org/b@c");
        check("https://token@a.org", "https://***@a.org");
        check("https://me:se@cret@a.org", "https://***@a.org");
        check("https://me:se/cr?et@a.org/b", "https://***@a.org/b");
        check(
            "http://a.org:80/b, http://[::1]:80/c",
            "http://a.org:80/b, http://[::1]:80/c",
        );
        check(
            "https://a.org/b?token=abc&x=1#frag: not found",
            "https://a.org/b?token=***&x=***#***: not found",
        );
        check("https://a.org/b?abc", "https://a.org/b?***");
        assert_eq!(masked_address("me:a secret@a.org/b"), "***@a.org/b");
        assert_eq!(
            masked_address("https://me:a secret@a.org"),
            "https://***@a.org"
        );
        check(
            "model.pth, a:b@c.jpg, Cat/x?y=z.jpg",
            "model.pth, a:b@c.jpg, Cat/x?y=z.jpg",
        );
    }

    #[test]
    fn the_text_around_an_address_stays() {
        let check = |text: &str, expected: &str| assert_eq!(masked(text), expected);
        check(
            "fetch = { mirror = \"https://a:b@c.org/?t=u\" } # \"x\"",
            "fetch = { mirror = \"https://***@c.org/?t=***\" } # \"x\"",
        );
        check(
            "mirror = 'https://a:it@c.org/?t=u'",
            "mirror = 'https://***@c.org/?t=***'",
        );
        check(
            "RUNNER_FETCH__MIRROR=a:b@c.org",
            "RUNNER_FETCH__MIRROR=***@c.org",
        );
        check("--mirror a:b@c.org x@y", "--mirror ***@c.org x@y");
        check("\"mirror\" = \"a:b@c.org\"", "\"mirror\" = \"***@c.org\"");
        check(
            "try another source with `--mirror URL`, or",
            "try another source with `--mirror URL`, or",
        );
        check("a mirrored a@b", "a mirrored a@b");
    }

    #[test]
    fn a_span_moves_with_its_text() {
        let check = |text: &str, part: &str, expected: &str| {
            let start = text.find(part).unwrap();
            let span = span_for_people(text, &(start..start + part.len()));
            assert_eq!(&for_people(text)[span], expected);
        };
        let text = "a = '\u{1b}' # https://a:b@c.org/x";
        check(text, "a = ", "a = ");
        check(text, "'\u{1b}'", "'\\u{1b}'");
        check(text, "c.org", "c.org");
        check(text, "https://a:b@c.org/x", "https://***@c.org/x");
        check(text, "a:b", "***");
    }
}
