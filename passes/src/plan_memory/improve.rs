//! Improves a placement by trying other orders of placing.
//!
//! The order of the buffers' offsets, read from the best placement so far, is changed in one place: a buffer moves to
//! another position, or two change places. If placing in the new order is no higher, it is kept. The rows of a scattered
//! buffer are placed one after the other, each as low as it fits. The moves come from a generator with a fixed seed, so
//! that a plan is the same on every machine.

use super::best_fit::place_in_order;
use super::problem::{Offsets, Problem};
use std::cmp::Reverse;

/// Work per order of placing for which `moves` is meant: about 100 buffers, all in use at once.
const UNIT_OF_WORK: usize = 10_000;

/// Improves on `start` until `lower_bound` is met or `moves` orders were tried, if there are 100 buffers. Placing takes time
/// that grows with the number of pairs in use together, so with fewer of them more orders are tried, and with more fewer.
pub fn solve(problem: &Problem, start: Offsets, lower_bound: usize, moves: usize) -> Offsets {
    let count = problem.clusters.len();
    let work: usize = problem.conflicts.iter().map(Vec::len).sum();
    let moves = moves.saturating_mul(UNIT_OF_WORK) / work.max(900);
    let (mut best_height, mut best) = (problem.height(&start), start);
    if best_height <= lower_bound || count < 2 {
        return best;
    }
    let place = |order: &[usize]| {
        let items: Vec<usize> = order.iter().flat_map(|&cluster| problem.clusters[cluster].clone()).collect();
        let offsets = place_in_order(problem, &items);
        (problem.height(&offsets), offsets)
    };
    let (mut height, mut order) = (usize::MAX, Vec::new());
    for candidate in first_orders(problem, &best) {
        let (found, offsets) = place(&candidate);
        if found < best_height {
            (best_height, best) = (found, offsets);
        }
        if found < height {
            (height, order) = (found, candidate);
        }
    }
    let mut random = fastrand::Rng::with_seed(0x5eed);
    for _ in 0..moves {
        if best_height <= lower_bound {
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
        let (found, offsets) = place(&next);
        if found <= height {
            (height, order) = (found, next);
        }
        if found < best_height {
            (best_height, best) = (found, offsets);
        }
    }
    best
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
