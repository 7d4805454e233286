//! The images: how many there are of each class, which could not be read, and which are there twice.

use maud::{Markup, html};

use crate::{
    data::fingerprint::MOST_BITS,
    page::{
        frame::{Section, name},
        model::{DataFacts, DataFile, Duplicates, RunReport},
        svg::bar,
    },
    text::table::counted,
};

/// The rows of a list before it only counts the rest.
const MOST_ROWS: usize = 100;
/// The files of a group of duplicates that are named.
const MOST_FILES: usize = 6;

pub(crate) fn section(report: &RunReport) -> Option<Section> {
    let data = &report.data;
    if data.counts.is_empty() && data.rejected.is_empty() {
        return None;
    }
    let body = html! {
        (counts(data))
        (rejected(data))
        h3 { "Duplicates" }
        @match &data.duplicates {
            Some(found) => (duplicates(found)),
            None => p { "The photos were not read, so duplicates are unknown." },
        }
        @if !data.note.is_empty() { p.note { (name(&data.note)) } }
    };
    Some(Section::new("data", "Data", "Data", body))
}

fn counts(data: &DataFacts) -> Markup {
    let total = |counts: &[usize; 3]| counts.iter().sum::<usize>();
    let largest = data
        .counts
        .iter()
        .map(|(_, it)| total(it))
        .max()
        .unwrap_or(0);
    let smallest = data
        .counts
        .iter()
        .map(|(_, it)| total(it))
        .min()
        .unwrap_or(0);
    let n_all: usize = data.counts.iter().map(|(_, it)| total(it)).sum();
    html! {
        p {
            (counted(n_all, "image")) " of " (data.counts.len()) " classes. "
            @if smallest > 0 && largest > smallest {
                "The largest class has " (format!("{:.1}", largest as f64 / smallest as f64)) " times the images of the smallest."
            } @else if largest == smallest {
                "All classes have the same number of images."
            }
        }
        details open[data.counts.len() <= 12] {
            summary { "Images by class and split" }
            div.scroll {
                table.sortable {
                    thead { tr {
                        th scope="col" aria-sort="none" { "class" }
                        @for column in ["train", "valid", "test", "all"] { th.n scope="col" aria-sort="none" data-first="descending" { (column) } }
                    } }
                    tbody {
                        @for (class, it) in &data.counts {
                            tr {
                                th scope="row" { (name(class)) }
                                @for n in it { td.n { (n) } }
                                td.n data-v=(total(it)) { (total(it)) (bar(total(it) as f64 / largest.max(1) as f64)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn rejected(data: &DataFacts) -> Markup {
    html! {
        h3 { "Files that are not used" }
        @if data.rejected.is_empty() {
            p { "Every image could be read." }
        } @else {
            p { (counted(data.rejected.len(), "image")) " could not be read and " (if data.rejected.len() == 1 { "was" } else { "were" }) " left out." }
            details open[data.rejected.len() <= 8] {
                summary { "Rejected files" }
                div.scroll { table {
                    thead { tr { th scope="col" { "file" } th scope="col" { "reason" } } }
                    tbody {
                        @for (file, reason) in data.rejected.iter().take(MOST_ROWS) {
                            tr { td.mono { (name(file)) } td { (name(reason)) } }
                        }
                    }
                } }
                (more(data.rejected.len()))
            }
        }
        @if data.n_ignored > 0 {
            p.note { (counted(data.n_ignored, "other file")) " that are not images or belong to no class; see `rejected.csv`." }
        }
    }
}

fn more(n: usize) -> Markup {
    html! { @if n > MOST_ROWS { p.note { "and " (n - MOST_ROWS) " more" } } }
}

/// Whether the files of a group are in different parts of the split: some were trained on, others measure the training.
pub(crate) fn is_leak(group: &[DataFile]) -> bool {
    group.iter().any(|file| file.part != group[0].part)
}

fn is_contradiction(group: &[DataFile]) -> bool {
    group.iter().any(|file| file.class != group[0].class)
}

fn duplicates(found: &Duplicates) -> Markup {
    let leaks = |groups: &[Vec<DataFile>]| groups.iter().filter(|it| is_leak(it)).count();
    let (exact, near) = (leaks(&found.exact), leaks(&found.near));
    html! {
        p {
            (counted(found.exact.len(), "group")) " of identical files, " (counted(found.near.len(), "group")) " of nearly identical pictures. "
            @if exact + near > 0 {
                b { (exact + near) " of these " (if exact + near == 1 { "lies" } else { "lie" }) " in different parts of the split" } ", so images that the run was trained on also measure it: its scores are too high. "
                @if exact > 0 { "Set `data.duplicates = \"together\"` to keep identical files in one part. " }
            } @else {
                "None of them lies in different parts of the split."
            }
        }
        (group_table("Identical files", &found.exact))
        (group_table("Nearly identical pictures", &found.near))
        p.note { "Pictures are nearly identical if at most " (MOST_BITS) " of the 64 bits of their difference hashes (dHash) differ: copies that were saved again, resized or made brighter. Look at them before you delete anything." }
    }
}

fn group_table(title: &str, groups: &[Vec<DataFile>]) -> Markup {
    if groups.is_empty() {
        return html! {};
    }
    let mut sorted: Vec<&Vec<DataFile>> = groups.iter().collect();
    sorted.sort_by_key(|group| (!is_leak(group), !is_contradiction(group)));
    html! {
        details open[groups.len() <= 10] {
            summary { (title) " (" (groups.len()) ")" }
            div.scroll {
                table {
                    thead { tr { th scope="col" { "files" } th scope="col" { "problem" } } }
                    tbody {
                        @for group in sorted.into_iter().take(MOST_ROWS) {
                            tr {
                                td {
                                    @for file in group.iter().take(MOST_FILES) {
                                        div { span.mono { (name(&file.file)) } " (" (name(&file.class)) ", " (name(&file.part)) ")" }
                                    }
                                    @if group.len() > MOST_FILES { div { "and " (group.len() - MOST_FILES) " more" } }
                                }
                                td { (problem(group)) }
                            }
                        }
                    }
                }
            }
            (more(groups.len()))
        }
    }
}

fn problem(group: &[DataFile]) -> &'static str {
    match (is_leak(group), is_contradiction(group)) {
        (true, true) => "leak between parts of the split; different classes",
        (true, false) => "leak between parts of the split",
        (false, true) => "different classes",
        (false, false) => "none",
    }
}
