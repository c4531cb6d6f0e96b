//! Improves a placement by trying other orders of placing.
//!
//! The order of the buffers' offsets, read from the best placement so far, is changed in one place: a buffer moves to
//! another position, or two change places. If placing in the new order is no higher, it is kept. The moves come from a
//! generator with a fixed seed, so that a plan is the same on every machine.

use super::best_fit::place_in_order;
use super::problem::{Offsets, Problem};

/// Improves on `start` until `lower_bound` is met or `moves` orders were tried, if there are 100 buffers. Placing takes time
/// that grows with the square of their number, so of fewer buffers more orders are tried, and of more buffers fewer.
pub fn solve(problem: &Problem, start: Offsets, lower_bound: usize, moves: usize) -> Offsets {
    let count = problem.items.len();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|&i| (start[i], i));
    let (mut best_height, mut best) = (problem.height(&start), start);
    let moves = moves.saturating_mul(10_000) / (count * count).max(900);
    let mut random = fastrand::Rng::with_seed(0x5eed);
    for _ in 0..moves {
        if best_height <= lower_bound || count < 2 {
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
        let offsets = place_in_order(problem, &next);
        let height = problem.height(&offsets);
        if height <= best_height {
            (best_height, best, order) = (height, offsets, next);
        }
    }
    best
}
