//! The parameter groups of each phase: what was trained, and how fast.

use maud::html;

use crate::{
    page::{
        frame::{Section, name},
        model::RunReport,
    },
    plan::with_commas,
    text::table::short_number,
};

pub(crate) fn section(report: &RunReport) -> Option<Section> {
    if report.groups.is_empty() {
        return None;
    }
    let body = html! {
        div.scroll {
            table {
                thead { tr {
                    th scope="col" { "phase" } th scope="col" { "group" }
                    @for column in ["tensors", "parameters"] { th.n scope="col" { (column) } }
                    th scope="col" { "trained" }
                    @for column in ["learning rate", "weight decay"] { th.n scope="col" { (column) } }
                } }
                tbody {
                    @for group in &report.groups {
                        tr {
                            td { (name(&group.phase)) } td { (name(&group.name)) }
                            td.n { (group.tensors) } td.n { (with_commas(group.parameters)) }
                            td { (if group.trainable { "yes" } else { "frozen" }) }
                            td.n { (if group.trainable { short_number(group.lr) } else { "-".to_owned() }) }
                            td.n { (if group.trainable { short_number(group.weight_decay) } else { "-".to_owned() }) }
                        }
                    }
                }
            }
        }
    };
    Some(Section::new(
        "groups",
        "Parameters",
        "Parameter groups",
        body,
    ))
}
