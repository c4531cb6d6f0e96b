//! The figures on top of the page.

use super::{bar, figure, head, name};
use crate::report::words::{bytes, counted, percent, shape};
use crate::report::{Interface, Region, Report};
use maud::{Markup, html};

/// What the user should know; nothing if there is nothing.
pub fn warnings(report: &Report) -> Markup {
    html! {
        @if !report.warnings.is_empty() {
            aside { strong { "Warnings" } ul { @for warning in &report.warnings { li { (warning) } } } }
        }
    }
}

/// Regions of memory, the main figures, inputs and outputs.
pub fn summary(report: &Report) -> Markup {
    html! {
        @for region in &report.regions { (usage(region)) }
        (figures(report))
        table {
            (head(&["", "Name", "Shape", "Type", "#Bytes"]))
            tbody {
                @for input in &report.inputs { (interface("input", input)) }
                @for output in &report.outputs { (interface("output", output)) }
            }
        }
    }
}

/// How much of a region is used, as a bar if it has a limit.
fn usage(region: &Region) -> Markup {
    let used = region.used_bytes;
    html! {
        div.usage {
            span { (region.name) }
            @match region.available_bytes.and_then(|available| usize::try_from(available).ok()) {
                Some(available) => {
                    (bar(used, available))
                    span { (bytes(used)) " of " (bytes(available)) ", " (percent(used, available)) }
                }
                None => span { (bytes(used)) "; the target sets no limit" },
            }
        }
    }
}

fn figures(report: &Report) -> Markup {
    let above = report.arena_distance_to_bound_bytes;
    let bound = report.arena_lower_bound_bytes;
    let distance = match above {
        0 => "none: no plan of these buffers in this order is smaller".to_owned(),
        _ => format!("{}, {}", bytes(above), percent(above, bound)),
    };
    let macs = format!("{}, {} in the model", separated(report.effective_macs), separated(report.macs));
    let cycles: Vec<String> =
        report.cycles.iter().map(|(core, &cycles)| format!("{} on {core}", separated(cycles))).collect();
    let cycles = cycles.join(", ");
    let program = [counted(report.layers.len(), "layer"), counted(report.cascades.len(), "cascade")];
    let rows = [
        ("Arena", bytes(report.arena_bytes)),
        ("Lower bound", bytes(bound)),
        ("Distance to the bound", distance),
        ("Layer by layer, nothing in place", bytes(report.max_live_bytes)),
        ("Constants", bytes(report.weight_bytes)),
        ("Multiply-accumulates", macs),
        ("Cycles, estimated", cycles),
        ("Program", program.join(", ")),
    ];
    html! { dl { @for (term, figure) in rows { div { dt { (term) } dd { (figure) } } } } }
}

fn separated(count: u64) -> String {
    bytes(usize::try_from(count).unwrap_or(usize::MAX)).trim_end_matches(" B").to_owned()
}

fn interface(kind: &str, interface: &Interface) -> Markup {
    let streamed = if interface.streamed { ", streamed" } else { "" };
    html! {
        tr {
            td { (kind) (streamed) }
            td { (name(&interface.name)) }
            td { (shape(&interface.shape)) }
            td { (interface.element) }
            (figure(bytes(interface.bytes)))
        }
    }
}
