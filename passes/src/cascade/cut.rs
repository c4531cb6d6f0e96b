//! Where to cut a function into cascades.
//!
//! At a cut, every tensor that is needed later exists as a whole, so what happens before a cut and after it are
//! independent: the least peak over all ways of cutting is found by dynamic programming over the positions of cuts. Stages
//! that see a buffer through a reshape don't run in one cascade with its maker.

use super::graph::Graph;
use super::pull::Pulled;
use std::ops::Range;

/// Stages that a cascade has at most.
const MAX_STAGES: usize = 200;

/// The ends of the runs into which the stages are cut so that the peak is least, by the bytes that rings, rows and
/// untouched tensors take.
pub fn least_peak(graph: &Graph) -> Vec<usize> {
    let count = graph.nodes.len();
    let mut best = vec![usize::MAX; count + 1];
    let mut from = vec![0; count + 1];
    best[0] = 0;
    for start in 0..count {
        for end in start + 1..=count.min(start + MAX_STAGES) {
            if end - start > 1 && is_reshaped_inside(graph, &(start..end)) {
                break;
            }
            let peak = best[start].max(peak_of(graph, &(start..end)));
            // Of equal ones the shorter cascades, which were found first from the left, stay.
            if peak < best[end] {
                (best[end], from[end]) = (peak, start);
            }
        }
    }
    let mut ends = vec![count];
    while let Some(&end) = ends.last().filter(|&&end| from[end] > 0) {
        ends.push(from[end]);
    }
    ends.reverse();
    ends
}

/// Peak of a run, with the tensors that pass it by.
pub fn peak_of(graph: &Graph, range: &Range<usize>) -> usize {
    Pulled::of(graph, range.clone()).peak_bytes(graph, range) + through_bytes(graph, range)
}

/// Bytes of the tensors that exist before and after a run and that it doesn't touch.
fn through_bytes(graph: &Graph, range: &Range<usize>) -> usize {
    let touched = |index: usize| {
        graph.nodes[range.clone()]
            .iter()
            .any(|node| node.writes.contains(&index) || node.reads.iter().any(|read| read.buffer == index))
    };
    let passes = graph.buffers.iter().enumerate().filter(|(index, buffer)| {
        buffer.first.is_none_or(|first| first < range.start) && buffer.last >= range.end && !touched(*index)
    });
    passes.map(|(_, buffer)| buffer.bytes()).sum()
}

/// Whether the last stage of a run sees a buffer through a reshape that a stage of the run makes.
fn is_reshaped_inside(graph: &Graph, range: &Range<usize>) -> bool {
    let Some(last) = range.clone().last() else { return false };
    let reads = graph.nodes[last].reads.iter();
    reads.filter(|read| read.reshaped).any(|read| graph.maker(read.buffer, range.start, last).is_some())
}
