//! Tables for a terminal and for Markdown, from cells that are text already. Pure.

/// How a column stands.
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
                .map(|(name, align)| ((*name).to_owned(), *align))
                .collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn column(&mut self, name: &str, align: Align) {
        self.columns.push((name.to_owned(), align));
    }

    /// A row of as many cells as there are columns.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Columns two spaces apart, the header first, a line end behind each line.
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

    /// As GitHub reads it.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let header = self.columns.iter().map(|(name, _)| escaped(name)).collect();
        let rule = self.columns.iter().map(|(_, align)| match align {
            Align::Left => "---".to_owned(),
            Align::Right => "---:".to_owned(),
        });
        let mut text = line(header) + &line(rule.collect());
        for row in &self.rows {
            text.push_str(&line(row.iter().map(|cell| escaped(cell)).collect()));
        }
        text
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

fn padded(cell: &str, to: usize, align: Align) -> String {
    let room = " ".repeat(to - width(cell));
    match align {
        Align::Left => format!("{cell}{room}"),
        Align::Right => format!("{room}{cell}"),
    }
}

fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|").replace('\n', " ")
}

/// `1e-3` and `0.5`: whichever way is shorter.
pub(crate) fn short_number(number: f64) -> String {
    let (plain, scientific) = (number.to_string(), format!("{number:e}"));
    if scientific.len() < plain.len() {
        scientific
    } else {
        plain
    }
}

/// `-` where there is nothing to show.
pub(crate) fn shown(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}

/// `98.12 %`
/// `1.9 GiB`, `35 MiB`
pub(crate) fn bytes(n_bytes: u64) -> String {
    let mib = n_bytes as f64 / f64::from(1 << 20);
    if mib >= 1024.0 {
        format!("{:.1} GiB", mib / 1024.0)
    } else {
        format!("{mib:.0} MiB")
    }
}

pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.2} %", fraction * 100.0)
}

/// `41s`, `4m05`, `1h02m`
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
    fn durations_are_short() {
        let shown: Vec<String> = [0.4, 59.6, 245.0, 3_720.0].map(duration).to_vec();
        assert_eq!(shown, ["0s", "1m00", "4m05", "1h02m"]);
    }
}
