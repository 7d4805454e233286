//! One file per subcommand, and what subcommands share: `prepare` does everything that comes before training, `conclude`
//! everything that comes after it.

pub(crate) mod args;
pub(crate) mod cache;
mod changes;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod conclude;
pub(crate) mod config;
pub(crate) mod context;
mod data_report;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod fetch;
mod fit;
mod images;
pub(crate) mod init;
pub(crate) mod list;
pub(crate) mod models;
mod notices;
mod pictures;
pub(crate) mod plan;
mod plan_cache;
pub(crate) mod predict;
pub(crate) mod prepare;
mod preprocessing;
pub(crate) mod report;
pub(crate) mod resume;
pub(crate) mod rm;
pub(crate) mod sample_data;
pub(crate) mod samples;
pub(crate) mod schema;
pub(crate) mod shell;
pub(crate) mod show;
pub(crate) mod slim;
mod space;
pub(crate) mod sweep;
pub(crate) mod train;
pub(crate) mod trial;
pub(crate) mod verify;
pub(crate) mod words;

use crate::text::table::width;

/// `line` with a line end, broken between words where it is longer than the terminal; what follows is indented by `indent`.
/// Words are never broken, so that paths can be copied.
fn wrapped(line: &str, columns: Option<usize>, indent: usize) -> String {
    let Some(columns) = columns.filter(|columns| width(line) > *columns) else {
        return format!("{line}\n");
    };
    let start = line.len() - line.trim_start().len();
    let (mut text, mut current) = (String::new(), line[..start].to_owned());
    for word in line[start..].split_inclusive(' ') {
        let is_full = width(&current) + width(word.trim_end()) > columns;
        // A line of nothing but its indentation has no room to gain.
        if is_full && !current.trim().is_empty() {
            text.push_str(current.trim_end());
            text.push('\n');
            current = " ".repeat(indent);
        }
        // Spaces that align columns would be a gap at the start of a line.
        if word != " " || !current.trim().is_empty() {
            current.push_str(word);
        }
    }
    text + current.trim_end() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_between_words() {
        let line = "images      10 train, 5 valid; cat, dog";
        assert_eq!(wrapped(line, None, 12), format!("{line}\n"));
        assert_eq!(wrapped(line, Some(39), 12), format!("{line}\n"));
        assert_eq!(
            wrapped(line, Some(27), 12),
            "images      10 train, 5\n            valid; cat, dog\n"
        );
        // A word that fits nowhere gets a line, and is not broken.
        assert_eq!(
            wrapped("  a long/path b", Some(6), 4),
            "  a\n    long/path\n    b\n"
        );
    }
}
