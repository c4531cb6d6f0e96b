//! Improves a placement by trying other orders of placing.
//!
//! The order of the buffers' offsets, read from the best placement so far, is changed in one place: a buffer moves to
//! another position, or two change places. If placing in the new order is no higher, it is kept. The rows of a scattered
//! buffer are placed one after the other, each as low as it fits. The moves come from a generator with a fixed seed, so
//! that a plan is the same on every machine.

use super::problem::{Offsets, Problem};
use crate::watch::Watch;
use std::cmp::Reverse;

/// Work per order of placing for which `moves` is meant: about 100 buffers, all in use at once.
const UNIT_OF_WORK: usize = 10_000;

/// Improves on `start` until `lower_bound` is met or `moves` orders were tried, if there are 100 buffers. Placing takes time
/// that grows with the number of pairs in use together, so with fewer of them more orders are tried, and with more fewer.
/// Another `seed` tries other orders.
pub fn solve(
    problem: &Problem,
    start: Offsets,
    lower_bound: usize,
    moves: usize,
    seed: u64,
    watch: &dyn Watch,
) -> Offsets {
    let count = problem.clusters.len();
    let work: usize = problem.conflicts.iter().map(Vec::len).sum();
    let moves = moves.saturating_mul(UNIT_OF_WORK) / work.max(900);
    let (mut best_height, mut best) = (problem.height(&start), start);
    if best_height <= lower_bound || count < 2 {
        return best;
    }
    let mut placing = Placing::new(problem);
    let mut order = Vec::new();
    for candidate in first_orders(problem, &best) {
        let height = placing.height;
        if placing.place(&candidate, 0, height) {
            order = candidate;
        }
    }
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..moves {
        if placing.height < best_height {
            (best_height, best) = (placing.height, placing.offsets.clone());
        }
        if best_height <= lower_bound || watch.is_over() {
            break;
        }
        let mut next = order.clone();
        let (from, to) = (random.usize(..count), random.usize(..count));
        if random.bool() {
            next.swap(from, to);
        } else {
            let moved = next.remove(from);
            next.insert(to, moved);
        }
        if placing.place(&next, from.min(to), placing.height) {
            order = next;
        }
    }
    if placing.height < best_height { placing.offsets } else { best }
}

/// The placement of the order that was kept last.
struct Placing<'p> {
    problem: &'p Problem,
    offsets: Offsets,
    height: usize,
    /// Memory to work in.
    placed: Vec<Option<usize>>,
    taken: Vec<[i64; 2]>,
}

impl<'p> Placing<'p> {
    fn new(problem: &'p Problem) -> Self {
        let count = problem.items.len();
        let (offsets, placed) = (vec![0; count], vec![None; count]);
        Self { problem, offsets, height: usize::MAX, placed, taken: Vec::new() }
    }

    /// Places clusters in order, each item as low as it fits, and keeps that if it is no higher than `limit`. The first
    /// `same` clusters are those of the order that was kept last, and stay where they are.
    fn place(&mut self, order: &[usize], same: usize, limit: usize) -> bool {
        let clusters = &self.problem.clusters;
        self.placed.fill(None);
        for &item in order[..same].iter().flat_map(|&cluster| &clusters[cluster]) {
            self.placed[item] = Some(self.offsets[item]);
        }
        let bytes = |item: usize| self.problem.items[item].bytes;
        for &item in order[same..].iter().flat_map(|&cluster| &clusters[cluster]) {
            let offset = self.problem.lowest_fit(&mut self.taken, item, &self.placed, 0);
            // No order that begins so can be kept.
            if offset + bytes(item) > limit {
                return false;
            }
            self.placed[item] = Some(offset);
        }
        for (offset, placed) in self.offsets.iter_mut().zip(&self.placed) {
            *offset = placed.unwrap_or(0);
        }
        self.height = self.problem.height(&self.offsets);
        true
    }
}

/// Orders to start from: by the offsets of a placement, and by size.
fn first_orders(problem: &Problem, start: &Offsets) -> [Vec<usize>; 2] {
    let clusters = &problem.clusters;
    let lowest = |&cluster: &usize| clusters[cluster].iter().map(|&item| start[item]).min();
    let largest = |&cluster: &usize| clusters[cluster].iter().map(|&item| problem.items[item].bytes).max();
    let mut orders = [(0..clusters.len()).collect::<Vec<_>>(), (0..clusters.len()).collect()];
    orders[0].sort_by_key(|cluster| (lowest(cluster), *cluster));
    orders[1].sort_by_key(|cluster| (Reverse(largest(cluster)), *cluster));
    orders
}
