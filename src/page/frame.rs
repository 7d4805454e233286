//! The frame of a page: head, navigation and footer, and what sections share.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::text::{
    plain::for_a_line,
    table::{Align, Table},
};

const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");

/// A part of the page, to which the navigation leads.
pub(super) struct Section {
    /// The name in the page's address.
    pub(super) id: &'static str,
    /// The name in the navigation.
    pub(super) short: &'static str,
    pub(super) title: String,
    pub(super) body: Markup,
}

impl Section {
    pub(super) fn new(
        id: &'static str,
        short: &'static str,
        title: impl Into<String>,
        body: Markup,
    ) -> Self {
        Self {
            id,
            short,
            title: title.into(),
            body,
        }
    }
}

/// The whole document. Nothing can be loaded into it, and only its own style and script run: the policy names them by their hash.
pub(super) fn page(title: &str, subtitle: &str, banner: &Markup, parts: &[Section]) -> String {
    let policy = format!(
        "default-src 'none'; img-src data:; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (name(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    div {
                        h1 { (name(title)) }
                        p.subtitle { (name(subtitle)) }
                    }
                    button.theme.needs-script type="button" { "Dark theme" }
                }
                nav aria-label="Sections" {
                    ul {
                        @for part in parts {
                            li { a href={ "#" (part.id) } { (part.short) } }
                        }
                    }
                }
                main id="main" {
                    (banner)
                    @for part in parts {
                        section id=(part.id) aria-labelledby={ (part.id) "-title" } {
                            h2 id={ (part.id) "-title" } { (name(&part.title)) }
                            (part.body)
                        }
                    }
                }
                footer {
                    p { "Written by runner " (env!("CARGO_PKG_VERSION")) ". This file needs no network." }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    document.into_string()
}

/// The source of a style or script as a policy names it.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// A name or value from outside, with control characters spelled out and secrets in URLs masked. `maud` escapes the rest.
pub(super) fn name(text: &str) -> String {
    for_a_line(text).into_owned()
}

/// An image as the source of an `img`.
pub(super) fn jpeg(bytes: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes))
}

/// Values for the script. Nothing in them can end the element: JSON needs none of the letters that HTML looks for, because each
/// can be written as an escape.
pub(super) fn data(id: &str, value: &Value) -> Markup {
    let mut text = String::new();
    for letter in value.to_string().chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    html! { script type="application/json" id=(id) { (PreEscaped(text)) } }
}

/// A value in the fragment of an address.
pub(super) fn fragment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in name(text).bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The fragment that filters the gallery to one cell of a confusion matrix.
pub(super) fn filter(truth: &str, predicted: &str, is_test: bool) -> String {
    let part = if is_test { ",test" } else { "" };
    format!("#filter={},{}{part}", fragment(truth), fragment(predicted))
}

/// A table that the script can sort if `is_sortable`.
pub(super) fn table(table: &Table, is_sortable: bool) -> Markup {
    let class = |align: &Align| (*align == Align::Right).then_some("n");
    html! {
        div.scroll {
            table.sortable[is_sortable] {
                thead {
                    tr {
                        @for (column, align) in table.columns() {
                            th scope="col" class=[class(align)] aria-sort=[(is_sortable && !column.is_empty()).then_some("none")] { (column) }
                        }
                    }
                }
                tbody {
                    @for row in table.rows() {
                        tr {
                            @for (cell, (_, align)) in row.iter().zip(table.columns()) {
                                td class=[class(align)] { (cell) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A list of names with their values, in two columns if there is room and `is_wide`.
pub(super) fn facts(facts: &[(String, String)], is_wide: bool) -> Markup {
    html! {
        dl.facts .wide[is_wide] {
            @for (label, value) in facts {
                dt { (name(label)) }
                dd { (name(value)) }
            }
        }
    }
}
