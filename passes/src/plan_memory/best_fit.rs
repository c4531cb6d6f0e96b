//! Greedy placement: buffers in several orders, each at the lowest offset where it fits.
//!
//! Source: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, section 5 (greedy by
//! size and by breadth); the best of several orders is taken.

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
    let mut best: Option<(usize, Offsets)> = None;
    for key in keys {
        let mut order: Vec<usize> = (0..problem.items.len()).collect();
        order.sort_by_key(|&i| (key(i), i));
        let offsets = place_in_order(problem, &order);
        let height = problem.height(&offsets);
        if best.as_ref().is_none_or(|(least, _)| height < *least) {
            best = Some((height, offsets));
        }
    }
    best.map(|(_, offsets)| offsets).unwrap_or_default()
}

/// Places buffers one after the other, each as low as it fits.
pub fn place_in_order(problem: &Problem, order: &[usize]) -> Offsets {
    let (mut placed, mut taken) = (vec![None; problem.items.len()], Vec::new());
    for &i in order {
        placed[i] = Some(problem.lowest_fit(&mut taken, i, &placed, 0));
    }
    placed.into_iter().map(Option::unwrap_or_default).collect()
}
