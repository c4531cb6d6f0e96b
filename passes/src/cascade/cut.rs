//! Where to cut a function into cascades.
//!
//! At a cut, every tensor that is needed later exists as a whole, so what happens before a cut and after it are
//! independent: the least peak over all ways of cutting is found by dynamic programming over the positions of cuts. Stages
//! that see a buffer through a reshape don't run in one cascade with its maker, nor do two that receive the same input.
//! What sends an output always runs with its maker, so that rows are sent as soon as they are made.
//!
//! A peak is found by pulling all rows of a run, so only runs are looked at that may be part of a best way: no peak is below
//! the bytes of the tensors at either end of its run, and a network in strips has few positions where these are small.

use super::graph::Graph;
use super::pull::Puller;
use super::windows::Windows;
use std::collections::HashMap;
use std::ops::Range;

/// Stages that a cascade has at most.
const MAX_STAGES: usize = 200;

/// The part by which a limit of bytes at cuts is raised where no way of cutting stays within it.
const RAISED_BY: usize = 16;

/// Ways of cutting with the least peak, with short runs where peaks are equal and with long ones. The ends of the runs are
/// given.
pub fn candidates(graph: &Graph) -> Vec<Vec<usize>> {
    let mut peaks = Peaks::new(graph);
    let mut found = vec![peaks.least(true).1, peaks.least(false).1];
    found.dedup();
    found
}

/// Peaks of runs, found when they are asked for.
#[derive(Debug)]
pub struct Peaks<'g> {
    graph: &'g Graph,
    puller: Puller<'g>,
    windows: Windows<'g>,
    /// Bytes of the tensors that exist as a whole at every position.
    crossing: Vec<usize>,
    /// The last position at which the run from each one on may end.
    last_end: Vec<usize>,
    found: HashMap<(usize, usize), usize>,
}

impl<'g> Peaks<'g> {
    /// No peaks were asked for.
    pub fn new(graph: &'g Graph) -> Self {
        let count = graph.nodes.len();
        let crossing = |position: usize| {
            let crosses = |first: Option<usize>| first.is_none_or(|first| first < position);
            let buffers = graph.buffers.iter();
            let crossing = buffers.filter(|buffer| crosses(buffer.first) && buffer.last >= position);
            crossing.map(|buffer| buffer.bytes()).sum()
        };
        let last_end = |start: usize| {
            let ends = (start + 1..=count.min(start + MAX_STAGES))
                .take_while(|&end| end - start == 1 || may_join(graph, &(start..end)));
            ends.last().unwrap_or(start)
        };
        Self {
            graph,
            puller: Puller::new(graph),
            windows: Windows::new(graph),
            crossing: (0..=count).map(crossing).collect(),
            last_end: (0..count).map(last_end).collect(),
            found: HashMap::new(),
        }
    }

    /// Whether at most `limit` bytes exist as a whole at a position. Where the function begins, nothing can be done about them.
    pub fn may_cut(&self, position: usize, limit: usize) -> bool {
        position == 0 || self.crossing[position] <= limit
    }

    /// Where the runs from a position on may end, if it is where at most `limit` bytes exist as a whole.
    pub fn ends(&self, start: usize, limit: usize) -> Vec<usize> {
        let parts_sender = |end: usize| self.graph.nodes.get(end).is_some_and(|node| node.sends);
        let ends = start + 1..=self.last_end[start];
        ends.filter(|&end| self.may_cut(end, limit) && !parts_sender(end)).collect()
    }

    /// Peak of a run, in bytes, with the tensors that pass it by.
    pub fn of(&mut self, range: Range<usize>) -> usize {
        let key = (range.start, range.end);
        if let Some(&peak) = self.found.get(&key) {
            return peak;
        }
        self.windows.record(range.clone(), self.puller.run(range.clone()));
        let peak = self.windows.peak_bytes() + bytes_passing(self.graph, &range, &self.windows);
        self.found.insert(key, peak);
        peak
    }

    /// The least peak of all ways of cutting, and one that has it, with short runs where peaks are equal or with long ones.
    pub fn least(&mut self, short: bool) -> (usize, Vec<usize>) {
        let count = self.graph.nodes.len();
        let mut limit = self.crossing[0].max(self.crossing[count]);
        loop {
            let (peak, ends) = self.least_within(limit, short);
            // What is cut elsewhere has a greater peak than this.
            if peak <= limit {
                return (peak, ends);
            }
            let next = self.crossing.iter().copied().filter(|&bytes| bytes > limit).min();
            limit = peak.min(next.unwrap_or(peak).max(limit + limit / RAISED_BY));
        }
    }

    /// The least peak of the ways that cut where at most `limit` bytes exist as a whole; the greatest number if there is none.
    fn least_within(&mut self, limit: usize, short: bool) -> (usize, Vec<usize>) {
        let count = self.graph.nodes.len();
        let mut best = vec![usize::MAX; count + 1];
        let mut from = vec![0; count + 1];
        best[0] = 0;
        for start in 0..count {
            // Positions where more exists are among those that no run reaches.
            if best[start] == usize::MAX {
                continue;
            }
            for end in self.ends(start, limit) {
                let peak = best[start].max(self.of(start..end));
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
        (best[count], ends)
    }
}

/// Bytes of the tensors that pass a run by.
fn bytes_passing(graph: &Graph, range: &Range<usize>, windows: &Windows<'_>) -> usize {
    let passes = graph.buffers.iter().enumerate().filter(|&(index, buffer)| {
        let before = buffer.first.is_none_or(|first| first < range.start);
        before && buffer.last >= range.end && !windows.touches(index)
    });
    passes.map(|(_, buffer)| buffer.bytes()).sum()
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
    reads.filter(|read| read.reshaped).any(|read| read.maker_from(range.start).is_some())
}

/// The first stage of a run that can't be in one cascade with those before it.
pub fn unreachable_stage(graph: &Graph, range: Range<usize>) -> Option<usize> {
    range.clone().find(|&stage| !may_join(graph, &(range.start..stage + 1)))
}
