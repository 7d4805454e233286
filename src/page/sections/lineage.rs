//! Where the model comes from: its parents down to the published weights, with the hashes that identify each of them.

use maud::html;

use crate::page::{
    frame::{self, Section, name},
    model::RunReport,
};

pub(crate) fn section(report: &RunReport) -> Option<Section> {
    let lineage = &report.lineage;
    if lineage.steps.is_empty() && lineage.facts.is_empty() {
        return None;
    }
    let body = html! {
        ol {
            @for step in &lineage.steps {
                li {
                    b { (name(&step.name)) } " " (name(&step.what))
                    @if !step.hash.is_empty() { div.mono.note { (name(&step.hash)) } }
                }
            }
        }
        @if !lineage.children.is_empty() {
            h3 { "Runs that started from this one" }
            ul { @for child in &lineage.children { li { (name(child)) } } }
        }
        h3 { "Origin" }
        (frame::facts(&lineage.facts, false))
        @if !lineage.files.is_empty() {
            details {
                summary { "SHA-256 of the files of the run" }
                div.scroll {
                    table {
                        thead { tr { th scope="col" { "file" } th scope="col" { "SHA-256" } } }
                        tbody { @for (file, hash) in &lineage.files { tr { td { (name(file)) } td.mono { (name(hash)) } } } }
                    }
                }
            }
        }
    };
    Some(Section::new("lineage", "Lineage", "Lineage", body))
}
