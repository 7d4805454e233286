//! Tables for terminals and for Markdown, from cells that are text, and numbers formatted as cells. Pure.

use std::borrow::Cow;

use indicatif::DecimalBytes;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::text::plain::for_a_line;

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

pub(crate) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            columns: columns
                .iter()
                .map(|(name, align)| (for_a_line(name).into_owned(), *align))
                .collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn column(&mut self, name: &str, align: Align) {
        self.columns.push((for_a_line(name).into_owned(), align));
    }

    /// Adds a row, which must have as many cells as there are columns.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        // Done before columns are measured, because spelling out makes text wider.
        let cells = cells.into_iter().map(|cell| match for_a_line(&cell) {
            Cow::Borrowed(_) => cell,
            Cow::Owned(shown) => shown,
        });
        self.rows.push(cells.collect());
    }

    pub(crate) fn columns(&self) -> &[(String, Align)] {
        &self.columns
    }

    pub(crate) fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// The width of the widest line.
    pub(crate) fn width(&self) -> usize {
        self.text().lines().map(width).max().unwrap_or_default()
    }

    /// Makes the table at most `to` columns wide: drops the columns in `names`, the last one first, and then shortens the cells of
    /// the column `shrinking` in the middle.
    pub(crate) fn fit(&mut self, to: Option<usize>, names: &[&str], shrinking: &str) {
        let Some(to) = to else { return };
        for name in names.iter().rev() {
            if self.width() > to {
                self.drop_column(name);
            }
        }
        let excess = self.width().saturating_sub(to);
        let column = self.columns.iter().position(|(name, _)| name == shrinking);
        let Some(at) = column.filter(|_| excess > 0) else {
            return;
        };
        let widest = self.rows.iter().map(|row| width(&row[at])).max();
        let room = widest.unwrap_or_default().saturating_sub(excess).max(12);
        for row in &mut self.rows {
            row[at] = shortened(&row[at], room);
        }
    }

    fn drop_column(&mut self, name: &str) {
        if let Some(at) = self.columns.iter().position(|(found, _)| found == name) {
            self.columns.remove(at);
            for row in &mut self.rows {
                row.remove(at);
            }
        }
    }

    /// Formats the table for a terminal, with the header first and columns two spaces apart.
    pub(crate) fn text(&self) -> String {
        let header = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| lines.iter().map(|line| width(&line[at])).max())
            .map(Option::unwrap_or_default)
            .collect();
        let mut text = String::new();
        for line in lines {
            let cells: Vec<String> = line
                .iter()
                .zip(&widths)
                .zip(&self.columns)
                .map(|((cell, width), (_, align))| padded(cell, *width, *align))
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    /// Formats the table as GitHub-flavored Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let header = self
            .columns
            .iter()
            .map(|(name, _)| markdown_text(name))
            .collect();
        let rule = self.columns.iter().map(|(_, align)| match align {
            Align::Left => "---".to_owned(),
            Align::Right => "---:".to_owned(),
        });
        let mut text = line(header) + &line(rule.collect());
        for row in &self.rows {
            text.push_str(&line(row.iter().map(|cell| markdown_text(cell)).collect()));
        }
        text
    }
}

/// The number of terminal columns of a text. East Asian letters and emoji take two.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

pub(crate) fn letter_width(letter: char) -> usize {
    letter.width().unwrap_or(0)
}

/// Shortens a text to at most `to` columns in the middle, because both ends of a run's name are informative.
pub(crate) fn shortened(text: &str, to: usize) -> String {
    if width(text) <= to || to < 5 {
        return text.to_owned();
    }
    let room = to - 2;
    let start = fitting(text.chars(), room / 2);
    let end = fitting(text.chars().rev(), room - room / 2);
    let end: String = end.chars().rev().collect();
    format!("{start}..{end}")
}

fn fitting(letters: impl Iterator<Item = char>, room: usize) -> String {
    let mut used = 0;
    letters
        .take_while(|letter| {
            used += letter_width(*letter);
            used <= room
        })
        .collect()
}

fn padded(cell: &str, to: usize, align: Align) -> String {
    let room = " ".repeat(to - width(cell));
    match align {
        Align::Left => format!("{cell}{room}"),
        Align::Right => format!("{room}{cell}"),
    }
}

/// Escapes a text for Markdown and the HTML in it. A line break becomes a space.
pub(crate) fn markdown_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\n' => escaped.push(' '),
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '~' => escaped.extend(['\\', letter]),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// Formats a number in plain or scientific notation, whichever is shorter: `0.5`, `1e-5`.
pub(crate) fn short_number(number: f64) -> String {
    let (plain, scientific) = (number.to_string(), format!("{number:e}"));
    if scientific.len() < plain.len() {
        scientific
    } else {
        plain
    }
}

/// The cell, or `-` if there is nothing to show.
pub(crate) fn shown(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}

/// Formats a size in binary units: `1.9 GiB`, `35 MiB`.
pub(crate) fn bytes(n_bytes: u64) -> String {
    let mib = n_bytes as f64 / f64::from(1 << 20);
    if mib >= 1024.0 {
        format!("{:.1} GiB", mib / 1024.0)
    } else {
        format!("{mib:.0} MiB")
    }
}

/// Formats the size of a published file in decimal units, like its publisher: `824.89 MB`.
pub(crate) fn size(n_bytes: u64) -> String {
    DecimalBytes(n_bytes).to_string()
}

/// Formats a fraction in percent: `98.12 %`.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.2} %", fraction * 100.0)
}

/// Formats a count with its noun: `1 epoch`, `2 epochs`.
pub(crate) fn counted(n: usize, noun: &str) -> String {
    let ending = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{ending}")
}

/// Formats a duration: `41s`, `4m05`, `1h02m`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    if hours > 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m{:02}", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("run", Align::Left), ("time", Align::Right)]);
        table.row(vec!["a".to_owned(), "4m05".to_owned()]);
        table.row(vec!["long|er".to_owned(), "1s".to_owned()]);
        assert_eq!(
            table.text(),
            "run      time\na        4m05\nlong|er    1s\n"
        );
        assert_eq!(
            table.markdown(),
            "| run | time |\n| --- | ---: |\n| a | 4m05 |\n| long\\|er | 1s |\n"
        );
    }

    #[test]
    fn cells_steer_neither_a_terminal_nor_a_page() {
        let mut table = Table::new(&[("run", Align::Left), ("", Align::Left)]);
        table.row(vec!["a\u{1b}[2J\nb".to_owned(), "c".to_owned()]);
        assert_eq!(table.text(), "run\na\\u{1b}[2J\\nb  c\n");
        assert_eq!(
            markdown_text("<b>a_b</b> & *c* [d](e) `f` ~g~ \\|\nh"),
            "&lt;b&gt;a\\_b&lt;/b&gt; &amp; \\*c\\* \\[d\\](e) \\`f\\` \\~g\\~ \\\\\\| h"
        );
    }

    #[test]
    fn wide_letters_take_two_columns() {
        let mut table = Table::new(&[("run", Align::Left), ("time", Align::Left)]);
        table.row(vec!["ネコ".to_owned(), "1s".to_owned()]);
        table.row(vec!["abcd".to_owned(), "1s".to_owned()]);
        assert_eq!(table.text(), "run   time\nネコ  1s\nabcd  1s\n");
    }

    #[test]
    fn what_does_not_fit_loses_columns_and_then_the_middle_of_names() {
        let table = |to: Option<usize>| {
            let columns = ["run", "state", "loss"].map(|name| (name, Align::Left));
            let mut table = Table::new(&columns);
            let cells = ["20261124-011314-small", "finished", "0.5"];
            table.row(cells.map(str::to_owned).to_vec());
            table.fit(to, &["state", "loss"], "run");
            table.text()
        };
        assert!(table(None).contains("20261124-011314-small  finished  0.5"));
        assert!(table(Some(33)).ends_with("20261124-011314-small  finished\n"));
        assert!(table(Some(25)).ends_with("\n20261124-011314-small\n"));
        assert!(table(Some(15)).ends_with("\n202611..4-small\n"));
    }

    #[test]
    fn durations_are_short() {
        let shown: Vec<String> = [0.4, 59.6, 245.0, 3_720.0].map(duration).to_vec();
        assert_eq!(shown, ["0s", "1m00", "4m05", "1h02m"]);
    }
}
