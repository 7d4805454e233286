//! The table of predictions: its columns, its rows as CSV or JSON lines, and as text for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::{open::TrainedModel, predictions::Prediction};
use crate::{
    console::escaped,
    disk::cells::CsvWriter,
    error::{Error, Result},
    text::plain::for_a_line,
    train::{answers::probabilities, predictor::ranked},
};

/// The class of images whose most probable class is less probable than `--threshold`.
pub(crate) const UNKNOWN: &str = "unknown";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TableFormat {
    Csv,
    Jsonl,
}

impl TableFormat {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

/// What a table shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TableOptions {
    /// The number of most probable classes, at most all of them.
    pub(crate) top: usize,
    pub(crate) threshold: Option<f64>,
    /// Whether the true classes are shown that folders name.
    pub(crate) has_truth: bool,
}

/// A cell, of the same digits as in the tables of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    Text(String),
    Probability(f64),
    Loss(f32),
    Flag(bool),
    Empty,
}

/// One row, and what of it is counted.
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
    pub(crate) is_error: bool,
    pub(crate) is_unknown: bool,
    /// Whether the prediction is right, if the true class is known and the predicted one is not `unknown`.
    pub(crate) is_correct: Option<bool>,
}

impl TableOptions {
    pub(crate) fn columns(&self) -> Vec<String> {
        let mut columns = ["file", "class", "probability"].map(str::to_owned).to_vec();
        for rank in 2..=self.top {
            columns.extend([format!("class_{rank}"), format!("probability_{rank}")]);
        }
        if self.has_truth {
            columns.extend(["true_class", "correct", "loss"].map(str::to_owned));
        }
        columns.push("error".to_owned());
        columns
    }

    pub(crate) fn row(&self, prediction: &Prediction, model: &TrainedModel) -> Row {
        let classes = model.classes();
        let file = &prediction.file;
        let true_class = file.true_class.filter(|_| self.has_truth);
        let named = |class: usize| Cell::Text(classes[class].clone());
        let mut row = Row {
            cells: vec![Cell::Text(file.name.clone())],
            is_error: false,
            is_unknown: false,
            is_correct: None,
        };
        let truth = true_class.map_or(Cell::Empty, named);
        let answer = match &prediction.answer {
            Ok(answer) => answer,
            Err(reason) => {
                row.is_error = true;
                row.cells.resize(1 + 2 * self.top, Cell::Empty);
                if self.has_truth {
                    row.cells.extend([truth, Cell::Empty, Cell::Empty]);
                }
                row.cells.push(Cell::Text(reason.clone()));
                return row;
            }
        };
        let probabilities = probabilities(&answer.logits);
        let ranked = ranked(&answer.logits, self.top);
        for class in &ranked {
            row.cells.push(named(*class));
            row.cells.push(Cell::Probability(probabilities[*class]));
        }
        let first = ranked.first().copied().unwrap_or_default();
        // A probability that is not a number is not certain either.
        let is_certain = |threshold| probabilities[first] >= threshold;
        if self.threshold.is_none_or(is_certain) {
            row.is_correct = true_class.map(|class| class == first);
        } else {
            row.is_unknown = true;
            row.cells[1] = Cell::Text(UNKNOWN.to_owned());
        }
        if self.has_truth {
            let loss = answer.loss.filter(|_| true_class.is_some());
            row.cells.extend([
                truth,
                row.is_correct.map_or(Cell::Empty, Cell::Flag),
                loss.map_or(Cell::Empty, Cell::Loss),
            ]);
        }
        row.cells.push(Cell::Empty);
        row
    }
}

/// Rows as CSV, or the header.
pub(crate) fn to_csv<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = CsvWriter::new(&mut bytes);
    let written = writer.write(false, rows).and_then(|()| writer.finish());
    written.map_err(|error| Error::internal(format!("cannot write a row of CSV: {error}")))?;
    Ok(bytes)
}

/// Rows as JSON objects, one per line, with the columns in the order of the table. `event` is put in front, if there is one.
pub(crate) fn to_jsonl(columns: &[String], rows: &[Row], event: Option<&str>) -> String {
    let mut text = String::new();
    for row in rows {
        text.push('{');
        if let Some(event) = event {
            let _ = write!(text, "\"event\":\"{event}\",");
        }
        for (at, (column, cell)) in columns.iter().zip(&row.cells).enumerate() {
            let separator = if at == 0 { "" } else { "," };
            let cell = serde_json::to_string(cell).unwrap_or_else(|_| "null".to_owned());
            let _ = write!(text, "{separator}\"{column}\":{cell}");
        }
        text.push_str("}\n");
    }
    escaped(&text)
}

/// Rows for people: probability and class, for each rank, and the file.
pub(crate) fn to_text(rows: &[Row], options: &TableOptions, classes: &[String]) -> String {
    let longest = classes.iter().map(|class| class.chars().count()).max();
    let width = longest.unwrap_or(0).max(UNKNOWN.len());
    let mut text = String::new();
    for row in rows {
        let Some(Cell::Text(file)) = row.cells.first() else {
            continue;
        };
        for rank in 0..options.top {
            let _ = match (&row.cells[1 + 2 * rank], &row.cells[2 + 2 * rank]) {
                (Cell::Text(class), Cell::Probability(probability)) => {
                    let class = for_a_line(class);
                    write!(text, "{:>6.2} %  {class:width$}  ", probability * 100.0)
                }
                (..) if rank == 0 => write!(text, "{:>8}  {:width$}  ", "-", "error"),
                (..) => write!(text, "{:>8}  {:width$}  ", "", ""),
            };
        }
        text.push_str(&for_a_line(file));
        if let Some(Cell::Text(reason)) = row.cells.last().filter(|_| row.is_error) {
            let _ = write!(text, ": {}", for_a_line(reason));
        }
        if row.is_correct == Some(false) {
            text.push_str("  (wrong)");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: Vec<Cell>) -> Row {
        Row {
            cells,
            is_error: false,
            is_unknown: false,
            is_correct: None,
        }
    }

    #[test]
    fn columns_are_wide_and_end_with_the_error() {
        let options = TableOptions {
            top: 2,
            threshold: None,
            has_truth: true,
        };
        assert_eq!(
            options.columns().join(","),
            "file,class,probability,class_2,probability_2,true_class,correct,loss,error"
        );
    }

    #[test]
    fn both_formats_keep_numbers_and_hostile_names() {
        let cells = vec![
            Cell::Text("=a\"\n\u{202e}.jpg".to_owned()),
            Cell::Probability(0.1 + 0.2),
            Cell::Loss(1e-7),
            Cell::Flag(true),
            Cell::Empty,
        ];
        let columns = ["a", "b", "c", "d", "e"].map(str::to_owned);
        let rows = [row(cells)];
        let json = to_jsonl(&columns, &rows, Some("x"));
        assert_eq!(
            json,
            "{\"event\":\"x\",\"a\":\"=a\\\"\\n\\u202e.jpg\",\"b\":0.30000000000000004,\"c\":1e-7,\"d\":true,\"e\":null}\n"
        );
        let csv = to_csv(rows.iter().map(|row| &row.cells)).unwrap();
        let csv = String::from_utf8(csv).unwrap();
        assert_eq!(
            csv,
            "\"'=a\"\"\n\u{202e}.jpg\",0.30000000000000004,1e-7,true,\n"
        );
    }
}
