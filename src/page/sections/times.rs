//! Where the time of the run went.

use maud::html;

use crate::{
    page::{
        frame::{Section, name},
        model::RunReport,
        svg::bar,
    },
    text::table::duration,
};

pub(crate) fn section(report: &RunReport) -> Option<Section> {
    let times = report.times.as_ref()?;
    let total = times.total();
    let body = html! {
        p { (duration(total)) " in all. " (name(&report.bottleneck)) "." }
        table {
            thead { tr { th scope="col" { "part" } th.n scope="col" { "time" } th.n scope="col" { "share" } } }
            tbody {
                @for (part, seconds, _) in times.parts() {
                    @let share = seconds / total.max(f64::EPSILON);
                    tr {
                        td { (part) }
                        td.n { (duration(seconds)) }
                        td.n { (format!("{:.0} %", share * 100.0)) (bar(share)) }
                    }
                }
            }
        }
    };
    Some(Section::new("times", "Time", "Where the time went", body))
}
