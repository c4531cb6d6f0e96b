//! The report as one page that needs no other file and runs no script, to be read on a screen or printed.
//!
//! The markup is XML as well as HTML, so that any parser can check it. Everything on the page is in the JSON, too.

mod layers;
mod memory;
mod summary;

use super::Report;
use super::words::printable;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// `meta` has no end tag in HTML and needs one in XML.
const META: &str =
    "<meta charset=\"utf-8\"/><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>";

/// The page of a report, with the picture of its memory.
pub fn page(report: &Report, memory_map: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (PreEscaped(META))
                title { (report.model) " for " (report.target) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (report.model) " for " (report.target) }
                (contents(report))
                (summary::warnings(report))
                (section("summary", "Summary", &summary::summary(report)))
                (section("map", "Memory over time", &memory::map(memory_map)))
                @if let Some(peak) = &report.peak {
                    (section("peak", "The peak", &memory::peak(peak)))
                }
                (section("next-kilobyte", "The next kilobyte", &memory::next_kilobyte(report)))
                @if !report.cascades.is_empty() {
                    (section("cascades", "Cascades", &layers::cascades(&report.cascades)))
                }
                (section("layers", "Layers", &layers::table(report)))
                (section("flash", "Flash by layer", &layers::flash(report)))
            }
        }
    };
    // Names come from the model and may hold what no page can.
    printable(&page.into_string()) + "\n"
}

fn contents(report: &Report) -> Markup {
    let all = [
        ("map", "Memory over time", true),
        ("peak", "The peak", report.peak.is_some()),
        ("next-kilobyte", "The next kilobyte", true),
        ("cascades", "Cascades", !report.cascades.is_empty()),
        ("layers", "Layers", true),
        ("flash", "Flash by layer", true),
    ];
    html! {
        nav {
            @for (id, title, _) in all.into_iter().filter(|&(_, _, shown)| shown) {
                a href={ "#" (id) } { (title) } " "
            }
        }
    }
}

fn section(id: &str, title: &str, content: &Markup) -> Markup {
    html! { section id=(id) { h2 { (title) } (content) } }
}

/// A name from the model, cut off where the column ends; pointing at it shows all of it.
fn name(name: &str) -> Markup {
    html! { span.name title=(name) { (name) } }
}

/// A bar of a part of a whole.
fn bar(part: usize, whole: usize) -> Markup {
    let percent = (part as f64 * 100.0 / whole.max(1) as f64).min(100.0);
    html! { span.bar { span style=(format!("width:{percent:.2}%")) {} } }
}

/// The head of a table; columns of figures, marked by `#`, are aligned to the right.
fn head(columns: &[&str]) -> Markup {
    html! {
        thead { tr { @for column in columns {
            @match column.strip_prefix('#') {
                Some(column) => th.figure scope="col" { (column) },
                None => th scope="col" { (column) },
            }
        } } }
    }
}

/// A cell of a figure.
fn figure(figure: impl maud::Render) -> Markup {
    html! { td.figure { (figure) } }
}
