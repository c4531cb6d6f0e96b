//! Greedy placement: buffers in several orders, each at the lowest offset where it fits.
//!
//! Source: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, section 5 (greedy by
//! size and by breadth); the best of several orders is taken.

use super::placing::Placing;
use super::problem::{Offsets, Problem};
use std::cmp::Reverse;

/// The best greedy placement.
pub fn solve(problem: &Problem) -> Offsets {
    let lives = |i: usize| problem.items[i].slots.iter().flatten();
    let span = |i: usize| lives(i).map(|life| life[1] + 1 - life[0]).max().unwrap_or(0);
    let first = |i: usize| lives(i).map(|life| life[0]).min().unwrap_or(0);
    let bytes = |i: usize| problem.items[i].bytes;
    let breadth = |i: usize| {
        let neighbours: usize = problem.conflicts[i].iter().map(|conflict| bytes(conflict.with)).sum();
        neighbours + bytes(i)
    };
    let keys: [&dyn Fn(usize) -> Reverse<(usize, usize)>; 5] = [
        &|i| Reverse((bytes(i), span(i))),
        &|i| Reverse((bytes(i) * span(i), bytes(i))),
        &|i| Reverse((breadth(i), bytes(i))),
        &|i| Reverse((span(i), bytes(i))),
        &|i| Reverse((usize::MAX - first(i), bytes(i))),
    ];
    let mut placing = Placing::new(problem);
    let mut best: Option<(usize, Offsets)> = None;
    for key in keys {
        let mut order: Vec<usize> = (0..problem.items.len()).collect();
        order.sort_by_cached_key(|&i| (key(i), i));
        if placing.place(&order) && best.as_ref().is_none_or(|(least, _)| placing.height() < *least) {
            best = Some((placing.height(), placing.offsets().clone()));
        }
    }
    best.map(|(_, offsets)| offsets).unwrap_or_default()
}
