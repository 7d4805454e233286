//! HTML pages of runs, comparisons and sweeps: one file each, without any request to a network. Pure, from the plain values of
//! `model.rs` to a text; reads no files and knows no run directories.
//!
//! Everything is escaped by `maud`, names also by `text/plain.rs`. The page is complete without its script, which adds filters,
//! sorting, zoom and the threshold slider.

mod frame;
mod gallery;
pub(crate) mod model;
mod sections;
mod svg;
#[cfg(test)]
mod tests;

pub(crate) use self::gallery::chosen;
use self::{
    frame::Section,
    model::{ComparisonReport, RunReport, SweepReport},
};

/// The sections of the page of a run, in order. A section that has nothing to show is left out.
const OF_RUN: &[fn(&RunReport) -> Option<Section>] = &[
    sections::headline::section,
    sections::curves::of_run,
    sections::confusion::section,
    gallery::section,
    sections::classes::section,
    sections::calibration::section,
    sections::data::section,
    sections::groups::section,
    sections::settings::section,
    sections::lineage::section,
    sections::times::section,
];

/// The sections of the page of several runs.
const OF_COMPARISON: &[fn(&ComparisonReport) -> Option<Section>] = &[
    sections::comparison::runs,
    sections::comparison::curves,
    sections::comparison::tests,
    sections::comparison::differences,
];

/// The sections of the page of a sweep.
const OF_SWEEP: &[fn(&SweepReport) -> Option<Section>] = &[
    sections::sweep::leaderboard,
    sections::sweep::coordinates,
    sections::sweep::axes,
    sections::sweep::curves,
    sections::sweep::source,
];

pub(crate) fn run(report: &RunReport) -> String {
    let parts: Vec<Section> = OF_RUN.iter().filter_map(|of| of(report)).collect();
    let banner = sections::headline::banner(&report.state);
    frame::page(&report.name, &report.subtitle, &banner, &parts)
}

pub(crate) fn comparison(report: &ComparisonReport) -> String {
    let parts: Vec<Section> = OF_COMPARISON.iter().filter_map(|of| of(report)).collect();
    let banner = sections::comparison::banner(report);
    frame::page("Comparison of runs", &report.title, &banner, &parts)
}

pub(crate) fn sweep(report: &SweepReport) -> String {
    let parts: Vec<Section> = OF_SWEEP.iter().filter_map(|of| of(report)).collect();
    let (title, subtitle) = sections::sweep::title(report);
    frame::page(&title, &subtitle, &maud::html! {}, &parts)
}
