//! The arena: over time, where it is fullest, and what would make it smaller.

use super::{bar, figure, head, name};
use crate::report::memory::{Peak, PeakBuffer};
use crate::report::next_kilobyte::{Lever, NextKilobyte, Tight};
use crate::report::words::{bytes, counted, layers, percent};
use crate::report::{Alternative, Report};
use maud::{Markup, PreEscaped, html};

/// Tensors and places that are listed.
const LISTED: usize = 16;

/// The picture, and how to read it.
pub fn map(picture: &str) -> Markup {
    html! {
        p {
            "Time runs to the right, one step per row that a layer makes; upward lie the bytes of the arena. Slanted edges are \
             tensors whose rows die while those of another one grow over them, combs are rows of a cascade that come and go. \
             Pointing at a buffer shows its name."
        }
        div.picture { (PreEscaped(picture)) }
    }
}

/// The step at which most bytes live.
pub fn peak(peak: &Peak) -> Markup {
    html! {
        p {
            strong { (bytes(peak.bytes)) } " live at step " (peak.step) ", which makes row " (peak.row) " of layer "
            a href={ "#layer-" (peak.layer) } { (peak.layer) " " (peak.op) } ", " (peak.origin) "."
        }
        table {
            (head(&["Tensor", "Role", "Used by", "#Rows live", "#Bytes", "#Share", ""]))
            tbody { @for buffer in &peak.buffers { (composition(buffer, peak.bytes)) } }
            @if peak.in_place_bytes > 0 {
                tfoot { tr {
                    td colspan="4" { "of these, overwritten in place at this step" }
                    (figure(format!("\u{2212}{}", bytes(peak.in_place_bytes))))
                    td colspan="2" {}
                } }
            }
        }
    }
}

fn composition(buffer: &PeakBuffer, whole: usize) -> Markup {
    html! {
        tr {
            td { (name(&buffer.name)) }
            td { (buffer.role) }
            td.short { (layers(buffer.layers)) }
            (figure(format!("{} of {}", buffer.rows_live, buffer.of_rows)))
            (figure(bytes(buffer.bytes)))
            (figure(percent(buffer.bytes, whole)))
            td.bars { (bar(buffer.bytes, whole)) }
        }
    }
}

/// What a smaller arena would cost.
pub fn next_kilobyte(report: &Report) -> Markup {
    html! {
        @match &report.next_kilobyte {
            Some(next) => (tight(next)),
            None => p { "There is no kilobyte to save: no more than one lives at any step." }
        }
        h3 { "Other options" }
        @if report.alternatives.is_empty() {
            p { "None of the options that were tried makes the arena smaller." }
        } @else {
            (alternatives(report))
        }
    }
}

fn tight(next: &NextKilobyte) -> Markup {
    let saved = bytes(next.saved_bytes);
    html! {
        p {
            "For the lower bound to fall by " (saved) ", no more than " (bytes(next.goal_bytes)) " may live at any step. More do at "
            (counted(next.tight_steps, "step")) " of " (counted(next.places.len(), "place")) ", each of which has to give up what it has in excess. "
            @match next.by_placement_bytes {
                0 => "The plan meets its bound, so a better placement can't save anything.",
                found => { "The plan itself lies above its bound: up to " (bytes(found)) " of the " (saved) " could come from a better placement, without any other change." }
            }
        }
        table {
            (head(&["Place", "#Tight steps", "Worst at", "#Bytes live", "#In excess", "What lives there"]))
            tbody { @for place in next.places.iter().take(LISTED) { (tight_place(place)) } }
        }
        (more(next.places.len(), "place"))
        p { "Alone, a tensor would have to give up so much at these steps:" }
        table {
            (head(&["Tensor", "Role", "Used by", "#At tight steps", "#Bytes", "#Of a row", "#To give up", "That alone would do"]))
            tbody { @for lever in next.tensors.iter().take(LISTED) { (tensor(lever, next.tight_steps)) } }
        }
        (more(next.tensors.len(), "tensor"))
    }
}

fn more(count: usize, thing: &str) -> Markup {
    html! { @if let Some(more @ 1..) = count.checked_sub(LISTED) { p { "and " (counted(more, &format!("more {thing}"))) } } }
}

fn tight_place(place: &Tight) -> Markup {
    let kind = if place.first_layer == place.last_layer { "" } else { "cascade of " };
    let shares = place.buffers.iter().take(3);
    html! {
        tr {
            td.short { (kind) (layers([place.first_layer, place.last_layer])) }
            (figure(place.tight_steps))
            td { "step " (place.worst_step) ", layer " (place.worst_layer) " " (place.op) }
            (figure(bytes(place.live_bytes)))
            (figure(bytes(place.excess_bytes)))
            td { ul.shares { @for share in shares { li { (bytes(share.bytes)) " " (name(&share.name)) } } } }
        }
    }
}

fn tensor(lever: &Lever, steps: usize) -> Markup {
    html! {
        tr {
            td { (name(&lever.name)) }
            td { (lever.role) }
            td.short { (layers(lever.layers)) }
            (figure(format!("{} of {steps}", lever.tight_steps)))
            (figure(bytes(lever.bytes)))
            (figure(bytes(lever.row_bytes)))
            (figure(bytes(lever.excess_bytes)))
            td { (if lever.sufficient { "yes" } else { "no" }) }
        }
    }
}

fn alternatives(report: &Report) -> Markup {
    let saved = |alternative: &Alternative| report.arena_bytes.saturating_sub(alternative.arena_bytes);
    html! {
        table {
            (head(&["Options", "#Arena", "#Saved", "#Multiply-accumulates", ""]))
            tbody {
                (alternative("as compiled", report.arena_bytes, 0, report.mac_factor, report.arena_bytes))
                @for other in &report.alternatives {
                    (alternative(&other.options, other.arena_bytes, saved(other), other.mac_factor, report.arena_bytes))
                }
            }
        }
        p { "Multiply-accumulates are multiples of those of the model." }
    }
}

fn alternative(options: &str, arena: usize, saved: usize, mac_factor: f64, whole: usize) -> Markup {
    html! {
        tr {
            td { code { (options) } }
            (figure(bytes(arena)))
            (figure(bytes(saved)))
            (figure(format!("{mac_factor:.3}")))
            td.bars { (bar(arena, whole)) }
        }
    }
}
