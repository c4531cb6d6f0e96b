//! Where to cut a function into cascades.
//!
//! At a cut, every tensor that is needed later exists as a whole, so what happens before a cut and after it are
//! independent: the least peak over all ways of cutting is found by dynamic programming over the positions of cuts. Stages
//! that see a buffer through a reshape don't run in one cascade with its maker, nor do two that receive the same input.
//! What sends an output always runs with its maker, so that rows are sent as soon as they are made.

use super::graph::Graph;
use super::pull::Pulled;
use std::ops::Range;

/// Stages that a cascade has at most.
const MAX_STAGES: usize = 200;

/// Ways of cutting with the least peak, with short runs where peaks are equal and with long ones. The ends of the runs are
/// given.
pub fn candidates(graph: &Graph) -> Vec<Vec<usize>> {
    let peaks = peaks(graph);
    let mut found = vec![least_peak(&peaks, true), least_peak(&peaks, false)];
    found.dedup();
    found
}

/// Peaks of the runs from every stage on, by length, in bytes; the greatest number where no run may end.
pub fn peaks(graph: &Graph) -> Vec<Vec<usize>> {
    let count = graph.nodes.len();
    let from = |start: usize| {
        let ends = (start + 1..=count.min(start + MAX_STAGES))
            .take_while(|&end| end - start == 1 || may_join(graph, &(start..end)));
        let parts_sender = |end: usize| graph.nodes.get(end).is_some_and(|node| node.sends);
        ends.map(|end| if parts_sender(end) { usize::MAX } else { peak_of(graph, &(start..end)) }).collect()
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
fn peak_of(graph: &Graph, range: &Range<usize>) -> usize {
    let pulled = Pulled::of(graph, range.clone());
    let passes = graph.buffers.iter().enumerate().filter(|(index, buffer)| {
        let before = buffer.first.is_none_or(|first| first < range.start);
        before && buffer.last >= range.end && !pulled.buffers.contains_key(index)
    });
    let through: usize = passes.map(|(_, buffer)| buffer.bytes()).sum();
    pulled.peak_bytes(graph) + through
}

/// Whether the last stage of a run may be in one cascade with the others.
fn may_join(graph: &Graph, range: &Range<usize>) -> bool {
    let Some(last) = range.clone().last() else { return true };
    let receives = |stage: usize| graph.nodes[stage].receives;
    let again =
        receives(last).is_some() && (range.start..last).any(|stage| receives(stage) == receives(last));
    !again && !is_reshaped_inside(graph, range)
}

/// Whether the last stage of a run sees a buffer through a reshape that a stage of the run makes.
fn is_reshaped_inside(graph: &Graph, range: &Range<usize>) -> bool {
    let Some(last) = range.clone().last() else { return false };
    let reads = graph.nodes[last].reads.iter();
    reads.filter(|read| read.reshaped).any(|read| graph.maker(read.buffer, range.start, last).is_some())
}

/// The first stage of a run that can't be in one cascade with those before it.
pub fn unreachable_stage(graph: &Graph, range: Range<usize>) -> Option<usize> {
    range.clone().find(|&stage| !may_join(graph, &(range.start..stage + 1)))
}
