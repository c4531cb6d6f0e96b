//! Improves a placement by trying other orders of placing.
//!
//! The order of the buffers' offsets, read from the best placement so far, is changed in one place: a buffer moves to
//! another position, or two change places. If placing in the new order is no higher, it is kept. The rows of a scattered
//! buffer are placed one after the other, each as low as it fits. The moves come from a generator with a fixed seed, so
//! that a plan is the same on every machine.

use super::placing::{Change, Placing};
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
        let items: Vec<usize> =
            candidate.iter().flat_map(|&cluster| &problem.clusters[cluster]).copied().collect();
        if placing.place(&items) {
            order = candidate;
        }
    }
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..moves {
        if placing.height() < best_height {
            (best_height, best) = (placing.height(), placing.offsets().clone());
        }
        if best_height <= lower_bound || watch.is_over() {
            break;
        }
        let mut next = order.clone();
        let (from, to) = (random.usize(..count), random.usize(..count));
        let moved = [next[from], if random.bool() { next[to] } else { next[from] }];
        if moved[0] == moved[1] {
            let moved = next.remove(from);
            next.insert(to, moved);
        } else {
            next.swap(from, to);
        }
        if placing.place_changed(&next, Change { positions: [from.min(to), from.max(to)], moved }) {
            order = next;
        }
    }
    if placing.height() < best_height { placing.offsets().clone() } else { best }
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
