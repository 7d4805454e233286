//! The settings that were chosen: those that differ from the defaults, from the parent run, and those changed on the way.

use maud::html;

use crate::page::{
    frame::{Section, name},
    model::RunReport,
};

pub(crate) fn section(report: &RunReport) -> Option<Section> {
    let settings = &report.settings;
    if settings.from_defaults.is_empty() && settings.source.is_empty() {
        return None;
    }
    let body = html! {
        p.note { "Settings that differ from the defaults, or have none. All others have their default values." }
        div.scroll {
            table {
                thead { tr { th scope="col" { "key" } th scope="col" { "value" } th scope="col" { "default" } } }
                tbody {
                    @for (key, value, default) in &settings.from_defaults {
                        tr { td.mono.v { (name(key)) } td.mono { (name(value)) } td.mono.note { (default.as_deref().map_or_else(|| "-".to_owned(), name)) } }
                    }
                }
            }
        }
        @if let Some(differences) = &settings.from_parent {
            h3 { "Differences from the parent run" }
            @if differences.is_empty() {
                p { "The parent run has the same settings." }
            } @else {
                div.scroll {
                    table {
                        thead { tr { th scope="col" { "key" } th scope="col" { "this run" } th scope="col" { "parent" } } }
                        tbody {
                            @for (key, ours, theirs) in differences {
                                tr { td.mono.v { (name(key)) } td.mono { (name(ours)) } td.mono { (name(theirs)) } }
                            }
                        }
                    }
                }
            }
        }
        @if !settings.changes.is_empty() {
            h3 { "Changes on resuming" }
            table {
                thead { tr { th.n scope="col" { "after epoch" } th scope="col" { "key" } th scope="col" { "from" } th scope="col" { "to" } } }
                tbody {
                    @for change in &settings.changes {
                        tr { td.n { (change.epoch) } td.mono.v { (name(&change.key)) } td.mono { (name(&change.from)) } td.mono { (name(&change.to)) } }
                    }
                }
            }
        }
        @if !settings.source.trim().is_empty() {
            details {
                summary { "The experiment file" }
                pre.scroll.mono { (lines(&settings.source)) }
            }
        }
    };
    Some(Section::new("settings", "Settings", "Settings", body))
}

/// A text of several lines, with its control characters spelled out.
pub(crate) fn lines(text: &str) -> String {
    crate::text::plain::for_people(text).into_owned()
}
