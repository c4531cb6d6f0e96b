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

/// Ways of cutting, each with the least peak by a measure of its own: rings counted whole, which is what they take unless
/// other buffers fit into their pauses, or row by row, which is what they take at least; and of equal peaks with short
/// runs or with long ones. The ends of the runs are given.
pub fn candidates(graph: &Graph) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = Vec::new();
    for whole_rings in [true, false] {
        let peaks = peaks(graph, whole_rings);
        for short in [true, false] {
            let ends = least_peak(&peaks, short);
            if !found.contains(&ends) {
                found.push(ends);
            }
        }
    }
    found
}

/// Peaks of the runs from every stage on, by length.
fn peaks(graph: &Graph, whole_rings: bool) -> Vec<Vec<usize>> {
    let count = graph.nodes.len();
    let from = |start: usize| {
        let ends = (start + 1..=count.min(start + MAX_STAGES))
            .take_while(|&end| end - start == 1 || !is_reshaped_inside(graph, &(start..end)));
        ends.map(|end| peak_of(graph, &(start..end), whole_rings)).collect()
    };
    (0..count).map(from).collect()
}

fn least_peak(peaks: &[Vec<usize>], short: bool) -> Vec<usize> {
    let count = peaks.len();
    let mut best = vec![usize::MAX; count + 1];
    let mut from = vec![0; count + 1];
    best[0] = 0;
    for start in 0..count {
        for (length, peak) in peaks[start].iter().enumerate() {
            let end = start + length + 1;
            let peak = best[start].max(*peak);
            if peak < best[end] || (short && peak == best[end]) {
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
fn peak_of(graph: &Graph, range: &Range<usize>, whole_rings: bool) -> usize {
    Pulled::of(graph, range.clone()).peak_bytes(graph, range, whole_rings) + through_bytes(graph, range)
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
