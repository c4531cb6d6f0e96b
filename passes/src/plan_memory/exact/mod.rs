//! Exact placement: a tree search that finds a placement below a given height, or proves that there is none.
//!
//! *Places or postpones.* Of all placements below a height, one of least sum of offsets has every buffer at the lowest
//! offset that the others allow. So for a buffer that may start at `v` at the earliest there are two cases. It starts at
//! `v`; or something that is not placed yet is going to be in the way at `v`, and then it starts above the earliest end
//! of what can be. Nothing else needs to be tried. Neither case asks for boxes or for an order of offsets, so that what
//! the search proves also holds for buffers whose rows may lie over rows of others that are gone, for those that share
//! bytes, and for any alignment.
//!
//! *Prunes.* At a step, the bytes of all unplaced buffers in use lie above the lowest of their earliest offsets; where
//! that exceeds the height, the branch dies. So does a branch in which nothing can be in the way of a postponed buffer.
//!
//! *Divides.* Unplaced buffers that no step connects are searched one part after the other: what fails in one part is not
//! tried again with everything that may happen in another. States that have failed are remembered by a hash.
//!
//! *Branches* on the step at which the fewest buffers can come next, among such the one that branches most often died of,
//! and restarts with other orders among the buffers when a slice of nodes is used up; what failed is remembered. Slices and
//! orders are those of fixed sequences, so that a result depends on nothing but the problem and the limit of nodes.
//!
//! Sources: Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning", ASPLOS 2023
//! (bottom-most solutions, floors of sections, decomposition over time, several orders in turn); placing or postponing is
//! that of Le Pape, Couronné, Vergamini and Gosselin, "Time-versus-capacity compromises in project scheduling", 1994;
//! Luby, Sinclair and Zuckerman, "Optimal speedup of Las Vegas algorithms", 1993 (lengths of slices); Boussemart et al.,
//! "Boosting systematic search by weighting constraints", 2004, and Haralick and Elliott, 1980 (fewest candidates first).

#[cfg(test)]
mod exhaustive_tests;
mod model;
mod orders;
mod search;
mod state;
#[cfg(test)]
mod tests;

use super::problem::{Offsets, Problem};
use crate::watch::Watch;
use model::Model;
use search::{Memo, Outcome, Search};

/// What the search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Solution {
    /// The best placement.
    pub offsets: Offsets,
    /// Whether no placement can be smaller, or the lower bound is met.
    pub optimal: bool,
    /// Nodes that were visited.
    pub nodes: usize,
}

/// Whether there is a placement within a capacity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fit {
    /// This is one.
    Found(Offsets),
    /// There is none.
    Impossible,
    /// The limit of nodes was reached, or the search is over.
    Unknown,
}

/// An attempt at one height may use this part of all nodes; where it fails, heights between are easier.
const ATTEMPTS: usize = 8;

/// Improves on `start` until `lower_bound` is met, no placement can be smaller, `max_nodes` were visited or it is over.
pub fn solve(
    problem: &Problem,
    start: Offsets,
    lower_bound: usize,
    max_nodes: usize,
    watch: &dyn Watch,
) -> Solution {
    let (mut best_height, mut best) = (problem.height(&start), start);
    let solution = |best, optimal, nodes| Solution { offsets: best, optimal, nodes };
    if best_height <= lower_bound || max_nodes == 0 {
        return solution(best, best_height <= lower_bound, 0);
    }
    let model = Model::new(problem);
    let unit = model.unit as usize;
    let mut low = lower_bound.max(model.lower_bound()).next_multiple_of(unit);
    let (mut nodes, mut slice) = (0, max_nodes.div_ceil(ATTEMPTS));
    let mut target = low;
    while low < best_height && nodes < max_nodes && !watch.is_over() {
        let (fit, visited) = fit_model(&model, target, slice.min(max_nodes - nodes), watch);
        nodes += visited;
        match fit {
            Fit::Found(offsets) => {
                (best_height, best) = (problem.height(&offsets), offsets);
                target = low;
            }
            Fit::Impossible => {
                low = target + unit;
                target = low;
            }
            Fit::Unknown => {
                target = (target + (best_height - target).div_ceil(2)).next_multiple_of(unit);
            }
        }
        if target >= best_height {
            target = low;
            slice = slice.saturating_mul(2);
        }
    }
    solution(best, low >= best_height, nodes)
}

/// No placement is smaller: the largest sum of what is in use at one step, less what can share bytes there.
pub fn lower_bound(problem: &Problem) -> usize {
    Model::new(problem).lower_bound()
}

/// Looks for a placement of at most `capacity` bytes, visiting at most `max_nodes` nodes. Returns how many it visited, too.
pub fn fit(problem: &Problem, capacity: usize, max_nodes: usize, watch: &dyn Watch) -> (Fit, usize) {
    fit_model(&Model::new(problem), capacity, max_nodes, watch)
}

fn fit_model(model: &Model, capacity: usize, max_nodes: usize, watch: &dyn Watch) -> (Fit, usize) {
    let (mut memo, mut nodes) = (Memo::default(), 0);
    for run in 0.. {
        let slice = orders::slice(run, model.items()).min(max_nodes - nodes);
        let mut search = Search::new(model, capacity, orders::ranks(model, run), &mut memo);
        let outcome = search.run(slice);
        nodes += search.nodes;
        match outcome {
            Outcome::Found(offsets) => return (Fit::Found(offsets), nodes),
            Outcome::Failed => return (Fit::Impossible, nodes),
            Outcome::OutOfNodes if nodes >= max_nodes || watch.is_over() => break,
            Outcome::OutOfNodes => {}
        }
    }
    (Fit::Unknown, nodes)
}
