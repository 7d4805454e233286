//! Loss and accuracy by epoch, with the phases.

use maud::html;

use crate::{
    page::{
        frame::Section,
        model::RunReport,
        svg::curves::{Band, Chart, Series, chart},
    },
    rundir::records::EpochRow,
};

pub(crate) fn of_run(report: &RunReport) -> Option<Section> {
    let rows = &report.epochs;
    if rows.is_empty() {
        return None;
    }
    let best = report.best_epoch;
    let best = best.and_then(|epoch| rows.iter().position(|row| row.epoch == epoch));
    let line = |name: &str, color, value: fn(&EpochRow) -> f64, best: Option<usize>| Series {
        name: name.to_owned(),
        color,
        is_dashed: name == "training",
        points: rows.iter().map(|row| (row.epoch, value(row))).collect(),
        best,
    };
    let panel = |id: &str, title: &str, is_percent, series| {
        chart(&Chart {
            id: id.to_owned(),
            title: title.to_owned(),
            is_percent,
            series,
            bands: bands(rows),
        })
    };
    let accuracy = vec![
        line("validation", 0, |row| row.valid_accuracy, best),
        line("training", 1, |row| row.train_accuracy, None),
    ];
    let loss = vec![
        line("validation", 0, |row| row.valid_loss, best),
        line("training", 1, |row| row.train_loss, None),
    ];
    let rate = vec![line("learning rate", 2, |row| row.lr, None)];
    let rates_differ = rows
        .iter()
        .any(|row| row.lr.to_bits() != rows[0].lr.to_bits());
    let body = html! {
        div.charts {
            (panel("chart-accuracy", "Accuracy", true, accuracy))
            (panel("chart-loss", "Loss", false, loss))
            @if rates_differ {
                (panel("chart-rate", "Learning rate of the first parameter group", false, rate))
            }
        }
        p.note {
            "A ring marks the best epoch. Training values are means over the epoch, with augmentation and dropout active, so they can be worse than validation values. "
            span.needs-script { "With the keyboard: arrows move along the epochs, + and - zoom, Escape shows all." }
        }
        details {
            summary { "Values by epoch" }
            div.scroll {
                table {
                    thead { tr {
                        th scope="col" { "epoch" } th scope="col" { "phase" }
                        @for name in ["train loss", "train accuracy", "valid loss", "valid accuracy", "learning rate", "seconds"] { th.n scope="col" { (name) } }
                    } }
                    tbody {
                        @for row in rows {
                            tr .lit[Some(row.epoch) == best.map(|at| rows[at].epoch)] {
                                td { (row.epoch) } td { (crate::page::frame::name(&row.phase)) }
                                td.n { (format!("{:.4}", row.train_loss)) }
                                td.n { (crate::text::table::percent(row.train_accuracy)) }
                                td.n { (format!("{:.4}", row.valid_loss)) }
                                td.n { (crate::text::table::percent(row.valid_accuracy)) }
                                td.n { (crate::text::table::short_number(row.lr)) }
                                td.n { (format!("{:.1}", row.seconds)) }
                            }
                        }
                    }
                }
            }
        }
    };
    Some(Section::new("curves", "Curves", "Learning curves", body))
}

/// The phases, each from the middle before its first epoch to the middle behind its last one.
fn bands(rows: &[EpochRow]) -> Vec<Band> {
    let phases = rows.chunk_by(|a, b| a.phase == b.phase);
    let bands = phases.map(|phase| Band {
        from: phase[0].epoch as f64 - 0.5,
        to: phase[phase.len() - 1].epoch as f64 + 0.5,
        name: phase[0].phase.clone(),
    });
    bands.collect()
}
