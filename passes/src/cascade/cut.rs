//! Where to cut a function into cascades.
//!
//! At a cut, every tensor that is needed later exists as a whole, so what happens before a cut and after it are
//! independent: the least peak over all ways of cutting is found by dynamic programming over the positions of cuts. Stages
//! that see a buffer through a reshape don't run in one cascade with its maker, nor do two that receive the same input.

use super::graph::Graph;
use super::pull::Pulled;
use std::ops::Range;

/// Stages that a cascade has at most.
const MAX_STAGES: usize = 200;

/// Ways of cutting, each with the least peak by a measure of its own: windows counted whole, which is what they take unless
/// other rows fit into their pauses, or row by row, which is what they take at least; and of equal peaks with short
/// runs or with long ones. The ends of the runs are given.
pub fn candidates(graph: &Graph) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = Vec::new();
    let peaks = peaks(graph);
    for measure in [0, 1] {
        for short in [true, false] {
            let ends = least_peak(&peaks, measure, short);
            if !found.contains(&ends) {
                found.push(ends);
            }
        }
    }
    found
}

/// The measure of a peak that counts windows row by row.
pub const BY_ROW: usize = 1;

/// Peaks of the runs from every stage on, by length, with windows counted whole and row by row.
pub fn peaks(graph: &Graph) -> Vec<Vec<[usize; 2]>> {
    let count = graph.nodes.len();
    let from = |start: usize| {
        let ends = (start + 1..=count.min(start + MAX_STAGES))
            .take_while(|&end| end - start == 1 || may_join(graph, &(start..end)));
        ends.map(|end| peaks_of(graph, &(start..end))).collect()
    };
    (0..count).map(from).collect()
}

fn least_peak(peaks: &[Vec<[usize; 2]>], measure: usize, short: bool) -> Vec<usize> {
    let count = peaks.len();
    let mut best = vec![usize::MAX; count + 1];
    let mut from = vec![0; count + 1];
    best[0] = 0;
    for start in 0..count {
        for (length, peak) in peaks[start].iter().enumerate() {
            let end = start + length + 1;
            let peak = best[start].max(peak[measure]);
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

/// Peaks of a run, with the tensors that pass it by.
fn peaks_of(graph: &Graph, range: &Range<usize>) -> [usize; 2] {
    let pulled = Pulled::of(graph, range.clone());
    let passes = graph.buffers.iter().enumerate().filter(|(index, buffer)| {
        let before = buffer.first.is_none_or(|first| first < range.start);
        before && buffer.last >= range.end && !pulled.buffers.contains_key(index)
    });
    let through: usize = passes.map(|(_, buffer)| buffer.bytes()).sum();
    [true, false].map(|whole_windows| pulled.peak_bytes(graph, range, whole_windows) + through)
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
