//! Branch and bound over placements.
//!
//! In some optimal placement without gaps below, buffers can be sorted by offset so that each lies as low as those
//! before it allow. The search therefore places buffers in order of offset, each at its lowest fit at or above the one
//! before. A branch dies when, at some time, the buffers still to come cannot fit under the best height known.
//! Source: the canonical order and the per-section bound are those of Moffitt, "MiniMalloc: A Lightweight Memory
//! Allocator for Hardware-Accelerated Machine Learning", 2023, sections 4 and 5.
//!
//! The search is exact when it ends by itself and the problem is canonical: buffers whose rows may lie over rows of
//! others that are gone can in rare cases rest on a buffer that starts above them, which this order doesn't try. With a
//! limit on nodes it returns the best so far.

use super::problem::{Offsets, Problem};

/// What the search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Solution {
    /// The best placement.
    pub offsets: Offsets,
    /// Whether no placement can be smaller.
    pub optimal: bool,
}

/// Improves on `start` until `lower_bound` is met, the search space is exhausted or `max_nodes` were visited.
pub fn solve(problem: &Problem, start: Offsets, lower_bound: usize, max_nodes: usize) -> Solution {
    let best_height = problem.height(&start);
    let mut search = Search {
        problem,
        lower_bound,
        best: start,
        best_height,
        placed: vec![None; problem.items.len()],
        nodes: max_nodes,
        exhausted: true,
    };
    if best_height > lower_bound {
        search.descend(0, problem.items.len());
    }
    let optimal = search.best_height <= lower_bound || (search.exhausted && problem.is_canonical());
    Solution { offsets: search.best, optimal }
}

struct Search<'p> {
    problem: &'p Problem,
    lower_bound: usize,
    best: Offsets,
    best_height: usize,
    placed: Vec<Option<usize>>,
    nodes: usize,
    exhausted: bool,
}

impl Search<'_> {
    /// Places the remaining buffers at or above `floor`. Returns whether the search is over.
    fn descend(&mut self, floor: usize, remaining: usize) -> bool {
        if remaining == 0 {
            self.best = self.placed.iter().map(|offset| offset.unwrap_or_default()).collect();
            self.best_height = self.problem.height(&self.best);
            return self.best_height <= self.lower_bound;
        }
        if self.nodes == 0 {
            self.exhausted = false;
            return true;
        }
        self.nodes -= 1;
        let Some(candidates) = self.candidates(floor) else { return false };
        let lowest_end = candidates.iter().map(|&(offset, i)| offset + self.problem.items[i].bytes).min();
        for (offset, i) in candidates {
            // A buffer that starts at or above the end of another candidate may as well come after it.
            if lowest_end.is_some_and(|end| offset >= end) {
                break;
            }
            if offset + self.problem.items[i].bytes >= self.best_height {
                continue;
            }
            self.placed[i] = Some(offset);
            let over = self.descend(offset, remaining - 1);
            self.placed[i] = None;
            if over {
                return true;
            }
        }
        false
    }

    /// Unplaced buffers with their lowest offsets, lowest and largest first; `None` if they cannot all fit below the
    /// best height.
    fn candidates(&self, floor: usize) -> Option<Vec<(usize, usize)>> {
        let items = &self.problem.items;
        let mut candidates = Vec::new();
        for i in (0..items.len()).filter(|&i| self.placed[i].is_none()) {
            let offset = self.problem.lowest_fit(i, &self.placed, floor);
            if offset + items[i].bytes >= self.best_height {
                return None;
            }
            candidates.push((offset, i));
        }
        if !self.sections_fit(&candidates) {
            return None;
        }
        candidates.sort_by_key(|&(offset, i)| (offset, std::cmp::Reverse(items[i].bytes), i));
        Some(candidates)
    }

    /// In every section, the lowest candidate plus all unplaced bytes (less what sharing can save) stay below the best.
    fn sections_fit(&self, candidates: &[(usize, usize)]) -> bool {
        let mut lowest = vec![None; self.placed.len()];
        for &(offset, i) in candidates {
            lowest[i] = Some(offset);
        }
        self.problem.sections.iter().all(|section| {
            let (mut base, mut sum) = (usize::MAX, 0);
            for &(i, bytes) in &section.live {
                if let Some(offset) = lowest[i] {
                    base = base.min(offset);
                    sum += bytes;
                }
            }
            sum == 0 || base + sum.saturating_sub(section.savings) < self.best_height
        })
    }
}
