//! Rows of measurements, and their table in Markdown. Pure.

use std::fmt::Write as _;

/// A row of the table. The first series is ours, the others are PyTorch's.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) series: Vec<Vec<f64>>,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, n_series: usize) -> Self {
        Self {
            what: what.into(),
            unit,
            series: vec![Vec::new(); n_series],
        }
    }

    pub(crate) fn add(&mut self, series: usize, value: f64) {
        self.series[series].push(value);
    }
}

/// The median; NaN for no values.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values {
        [] => f64::NAN,
        _ if values.len() % 2 == 1 => values[values.len() / 2],
        _ => f64::midpoint(values[values.len() / 2 - 1], values[values.len() / 2]),
    }
}

/// The table in Markdown. The last columns divide each of the series `ratios_of` by ours.
pub(crate) fn markdown(columns: &[&str], rows: &[Row], ratios_of: &[usize]) -> String {
    let mut text = format!("| | {} |", columns.join(" | "));
    for of in ratios_of {
        let _ = write!(text, " {} / {} |", columns[*of], columns[0]);
    }
    let n_columns = columns.len() + ratios_of.len();
    let _ = writeln!(text, "\n|---|{}", "---:|".repeat(n_columns));
    for row in rows {
        let _ = write!(text, "| {}, {} |", row.what, row.unit);
        for series in &row.series {
            let _ = write!(text, " {} |", cell(series));
        }
        for of in ratios_of {
            let (ours, theirs) = (middle(&row.series[0]), middle(&row.series[*of]));
            let ratio = theirs / ours;
            let ratio = if ratio.is_finite() {
                format!("{ratio:.2}")
            } else {
                "-".to_owned()
            };
            let _ = write!(text, " {ratio} |");
        }
        text.push('\n');
    }
    text
}

fn middle(values: &[f64]) -> f64 {
    median(&mut values.to_vec())
}

/// The median, and the range if there are several values.
fn cell(values: &[f64]) -> String {
    let mut values: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .collect();
    let median = median(&mut values);
    match values.as_slice() {
        [] => "-".to_owned(),
        [only] => digits(*only),
        [least, .., most] => format!(
            "{} ({} to {})",
            digits(median),
            digits(*least),
            digits(*most)
        ),
    }
}

/// The value with three significant digits.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
