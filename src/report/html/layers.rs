//! The layers, what they keep in flash, and the cascades they run in.

use super::{bar, figure, head, name};
use crate::report::Report;
use crate::report::layers::Layer;
use crate::report::memory::{CascadeSpan, Window};
use crate::report::words::{bytes, layers, percent, shape};
use maud::{Markup, html};

/// Layers that are listed by their constants.
const LISTED: usize = 16;

/// All layers in order of execution.
pub fn table(report: &Report) -> Markup {
    let peak = report.peak.as_ref().map(|peak| peak.layer);
    let most =
        report.layers.iter().filter_map(|layer| Some(layer.run.as_ref()?.live_bytes)).max().unwrap_or(0);
    html! {
        table.layers {
            (head(&["Layer", "Operation", "From", "Reads", "Makes", "#MACs", "#Cycles", "#Constants", "#Rows held", "Cascade", "#Live at most", ""]))
            tbody { @for layer in &report.layers { (row(layer, Some(layer.index) == peak, most)) } }
        }
    }
}

fn row(layer: &Layer, at_peak: bool, most: usize) -> Markup {
    let run = layer.run.as_ref();
    let inputs: Vec<String> = layer.inputs.iter().map(|input| shape(input)).collect();
    let outputs: Vec<String> = layer.outputs.iter().map(|output| shape(output)).collect();
    html! {
        tr.peak[at_peak] id={ "layer-" (layer.index) } {
            td { (layer.index) }
            td { (layer.op) }
            td { (name(&layer.origin)) }
            td { (inputs.join(", ")) }
            td { (outputs.join(", ")) }
            (figure(count(layer.macs)))
            (figure(count(layer.cycles.unwrap_or(0))))
            (figure(bytes(layer.weight_bytes)))
            @match run {
                Some(run) => {
                    (figure(format!("{} of {}", run.held_rows, run.rows)))
                    td { @if let Some(cascade) = run.cascade { a href={ "#cascade-" (cascade) } { (cascade) } } }
                    (figure(bytes(run.live_bytes)))
                    td.bars { (bar(run.live_bytes, most)) }
                }
                None => { td {} td {} td {} td {} }
            }
        }
    }
}

fn count(figure: u64) -> String {
    match figure {
        0 => String::new(),
        _ => bytes(usize::try_from(figure).unwrap_or(usize::MAX)).trim_end_matches(" B").to_owned(),
    }
}

/// The layers with most constants.
pub fn flash(report: &Report) -> Markup {
    let mut sorted: Vec<&Layer> = report.layers.iter().filter(|layer| layer.weight_bytes > 0).collect();
    sorted.sort_by_key(|layer| std::cmp::Reverse(layer.weight_bytes));
    let rest = sorted.split_off(LISTED.min(sorted.len()));
    let most = sorted.first().map_or(0, |layer| layer.weight_bytes);
    html! {
        p {
            "Constants take " strong { (bytes(report.weight_bytes)) } " as kernels read them. Those that several layers read count \
             once in that sum, and in each of the layers. The program's code comes on top."
        }
        @if !sorted.is_empty() {
            table {
                (head(&["Layer", "From", "#Bytes", "#Share", ""]))
                tbody { @for layer in sorted { (constants(layer, report.weight_bytes, most)) } }
            }
        }
        @if !rest.is_empty() {
            p { "and " (rest.len()) " more with " (bytes(rest.iter().map(|layer| layer.weight_bytes).sum())) }
        }
    }
}

fn constants(layer: &Layer, whole: usize, most: usize) -> Markup {
    html! {
        tr {
            td { a href={ "#layer-" (layer.index) } { (layer.index) " " (layer.op) } }
            td { (name(&layer.origin)) }
            (figure(bytes(layer.weight_bytes)))
            (figure(percent(layer.weight_bytes, whole)))
            td.bars { (bar(layer.weight_bytes, most)) }
        }
    }
}

/// The cascades with their schedules and windows.
pub fn cascades(cascades: &[CascadeSpan]) -> Markup {
    html! {
        p {
            "The layers of a cascade make their rows in turn, and of a tensor inside only a few rows are held at a time. A \
             schedule names who makes the next row, counting from the first layer of the cascade: " code { "0x3 (1 0x2)x2" } " is three rows of \
             the first, then twice one of the second and two of the first."
        }
        @for (index, cascade) in cascades.iter().enumerate() {
            h3 id={ "cascade-" (index) } {
                "Cascade " (index) ": " (layers([cascade.first_layer, cascade.last_layer]))
            }
            p {
                (cascade.steps) " steps from step " (cascade.first_step) " on, at most " (bytes(cascade.live_bytes)) " live. "
                span.schedule { code { (cascade.schedule) } }
            }
            @if !cascade.windows.is_empty() {
                table {
                    (head(&["Tensor", "#Made by layer", "#Rows held", "#Bytes of a row", "#Bytes held"]))
                    tbody { @for window in &cascade.windows { (window_row(window)) } }
                }
            }
        }
    }
}

fn window_row(window: &Window) -> Markup {
    html! {
        tr {
            td { (name(&window.name)) }
            (figure(window.layer))
            (figure(format!("{} of {}", window.held_rows, window.of_rows)))
            (figure(bytes(window.row_bytes)))
            (figure(bytes(window.bytes)))
        }
    }
}
