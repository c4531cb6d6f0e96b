//! The order of segments of the least peak.
//!
//! What can follow depends only on which segments have run, so there is one state for each set that is closed under "has to
//! run before". States are visited in order of the least peak on a way to them (Dijkstra's algorithm, with the greater of
//! two peaks instead of their sum): the first complete one is best, and at any time no order can do with less than the
//! peak of the state that is visited. Where a segment can run within that peak and leaves no more bytes than before, it
//! runs at once: putting it first in any order that completes the state only lessens what is live.
//!
//! There may be exponentially many states. Beyond a limit, a beam search goes on: of all states that are as many steps away
//! from the start, it keeps those of the least peak and, among these, of the fewest live bytes, so many that it looks at
//! about as many states again, and at least one. Of more than a few hundred segments, the order at hand stays.
//!
//! Sources: Ahn et al., "Ordering Chaos: Memory-Aware Scheduling of Irregularly Wired Neural Networks for Edge Devices",
//! MLSys 2020 (dynamic programming over such sets, with a budget that is searched for); Liberis and Lane, "Neural networks
//! on microcontrollers: saving memory at inference via operator reordering", 2019.

use super::segments::{Segment, State};
use super::set::Set;
use crate::watch::Watch;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Segments up to which a beam search is quick, even if many of them are ready at all times.
const MAX_BEAM_SEGMENTS: usize = 600;

/// What a search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Segments in an order of a lower peak than the one to beat, if one was found.
    pub order: Option<Vec<usize>>,
    /// No order has a lower peak than this.
    pub bound: usize,
}

/// A state and how it was reached.
struct Reached {
    state: State,
    /// Greatest peak on the way.
    peak: i64,
    /// The state before, and the segments from there.
    way: Option<(usize, Vec<usize>)>,
    visited: bool,
}

/// The search of one function.
pub struct Search<'s> {
    segments: &'s [Segment],
    /// Peak to beat.
    peak: i64,
    reached: Vec<Reached>,
    /// States looked at, again and again if there are several ways to them.
    looked_at: usize,
}

impl<'s> Search<'s> {
    /// A search for an order with a lower peak than `peak`. No order has a lower one than `bound`; `live` bytes live at the
    /// start.
    pub fn new(segments: &'s [Segment], live: usize, peak: usize, bound: usize) -> Self {
        let state = State { done: Set::below(segments.len()), count: 0, live: live as i64 };
        let start = Reached { state, peak: bound as i64, way: None, visited: false };
        Self { segments, peak: peak as i64, reached: vec![start], looked_at: 0 }
    }

    /// Looks at about `limit` states one by one, and if these are not all, at about as many of the others; fewer
    /// if it is over before.
    pub fn run(mut self, limit: usize, watch: &dyn Watch) -> Found {
        if self.reached[0].peak >= self.peak {
            return Found { order: None, bound: self.peak as usize };
        }
        match self.exact(limit, watch) {
            Ok(found) => found,
            Err(bound) => {
                self.reached.truncate(1);
                let count = self.segments.len().max(1);
                let width = if count > MAX_BEAM_SEGMENTS || watch.is_over() {
                    0
                } else {
                    (limit / (count * count)).max(1)
                };
                Found { order: self.beam(width), bound: bound as usize }
            }
        }
    }

    /// The best order, or a bound if there are more states than the limit.
    fn exact(&mut self, limit: usize, watch: &dyn Watch) -> Result<Found, i64> {
        // Least peak first; of equal ones the state that is nearest to the end, then the oldest.
        let mut open = BinaryHeap::from([(Reverse(self.reached[0].peak), 0, Reverse(0))]);
        let mut known: HashMap<Set, usize> = HashMap::new();
        while let Some((Reverse(peak), _, Reverse(from))) = open.pop() {
            if std::mem::replace(&mut self.reached[from].visited, true) {
                continue;
            }
            if self.reached[from].state.count == self.segments.len() {
                return Ok(Found { order: Some(self.order(from)), bound: peak as usize });
            }
            if self.looked_at >= limit || watch.is_over() {
                return Err(peak);
            }
            for next in self.following(from) {
                let index = match known.get(&next.state.done) {
                    Some(&index) if self.reached[index].peak <= next.peak => continue,
                    Some(&index) => index,
                    None => self.reached.len(),
                };
                known.insert(next.state.done.clone(), index);
                open.push((Reverse(next.peak), next.state.count, Reverse(index)));
                match self.reached.get_mut(index) {
                    Some(old) => *old = next,
                    None => self.reached.push(next),
                }
            }
        }
        Ok(Found { order: None, bound: self.peak as usize })
    }

    /// The best order among those that never leave the `width` best states.
    fn beam(&mut self, width: usize) -> Option<Vec<usize>> {
        let mut best = None;
        let mut layer = if width == 0 { Vec::new() } else { vec![0] };
        while !layer.is_empty() {
            let mut found: HashMap<Set, usize> = HashMap::new();
            let mut next_layer = Vec::new();
            for from in layer {
                for next in self.following(from) {
                    let index = self.reached.len();
                    if next.state.count == self.segments.len() {
                        (self.peak, best) = (next.peak, Some(index));
                        self.reached.push(next);
                        continue;
                    }
                    match found.get(&next.state.done) {
                        Some(&old) if self.reached[old].peak <= next.peak => {}
                        Some(&old) => self.reached[old] = next,
                        None => {
                            found.insert(next.state.done.clone(), index);
                            next_layer.push(index);
                            self.reached.push(next);
                        }
                    }
                }
            }
            next_layer
                .sort_by_key(|&index| (self.reached[index].peak, self.reached[index].state.live, index));
            next_layer.truncate(width);
            layer = next_layer;
        }
        best.map(|index| self.order(index))
    }

    /// States that follow one, within the peak to beat.
    fn following(&mut self, from: usize) -> Vec<Reached> {
        let Reached { state, peak, .. } = &self.reached[from];
        let ready = (0..self.segments.len())
            .filter(|&next| !state.done.has(next) && self.segments[next].is_ready(state));
        let (mut found, mut looked_at) = (Vec::new(), 0);
        for next in ready {
            let mut reached = Reached { state: state.clone(), peak: *peak, way: None, visited: false };
            let mut path = Vec::new();
            self.advance(&mut reached, next, &mut path);
            while let Some(next) = self.at_once(&reached) {
                self.advance(&mut reached, next, &mut path);
            }
            looked_at += path.len();
            if reached.peak < self.peak {
                reached.way = Some((from, path));
                found.push(reached);
            }
        }
        self.looked_at += looked_at;
        found
    }

    fn advance(&self, reached: &mut Reached, segment: usize, path: &mut Vec<usize>) {
        let [peak, live] = self.segments[segment].bytes(&reached.state);
        reached.peak = reached.peak.max(peak);
        reached.state.live = live;
        reached.state.count += 1;
        reached.state.done.insert(segment);
        path.push(segment);
    }

    /// The first segment that may as well run at once.
    fn at_once(&self, Reached { state, peak, .. }: &Reached) -> Option<usize> {
        (0..self.segments.len()).find(|&next| {
            let segment = &self.segments[next];
            let fits = || {
                let [most, live] = segment.bytes(state);
                most <= *peak && live <= state.live
            };
            !state.done.has(next) && segment.is_ready(state) && fits()
        })
    }

    fn order(&self, mut index: usize) -> Vec<usize> {
        let mut ways = Vec::new();
        while let Some((from, path)) = &self.reached[index].way {
            ways.push(path);
            index = *from;
        }
        ways.into_iter().rev().flatten().copied().collect()
    }
}
