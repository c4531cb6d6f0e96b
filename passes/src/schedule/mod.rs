//! Reorders operations so that less has to be in memory at a time.
//!
//! Problem: where a network branches, the order of its operations decides how many tensors wait for others. Any order in
//! which operands come before their users computes the same.
//!
//! Method: the operations are a graph of what has to wait for what and which bytes live meanwhile ([`dag`]). Chains are cut
//! into segments that need not be interrupted ([`segments`]), and the best order of segments is searched for ([`search`]):
//! exactly, unless there are more states than `max-states`. Runs of operations that can't be mixed, since all of the one
//! have to wait for all of the other, are ordered by themselves: each for its own least peak, be it the function's or not,
//! since what the function's peak is changes once layers run row by row. What is counted are whole tensors, constants and scratch
//! memory aside. The order at hand stays if no better one is found; otherwise the new one departs from it no more than it
//! takes: at each place stands the first operation of the order at hand with which the peak can still be kept.
//!
//! Refused: functions that have cascades, whose order is that of their schedules.

pub mod dag;
pub mod search;
pub mod segments;
pub mod set;
#[cfg(test)]
mod tests;

use crate::cascade::graph::Graph;
use crate::pass::{Changed, Pass, PassContext};
use crate::watch::Watch;
use dag::{Dag, Run};
use mcunet_ir::define::Trait;
use mcunet_ir::{Diagnostics, Function, Module, Op};
use search::Search;
use std::collections::HashSet;

crate::declare_pass! {
    /// Orders operations for the least peak of memory.
    ///
    /// Counts whole tensors: a result lives from the operation that makes it to the last one that reads it. The order is
    /// the best one, unless a function has too many branches for that; the statistics say how far it can be from the best.
    /// An order that can't be improved stays as it is. Functions with cascades are left alone.
    pub Schedule = "schedule" {
        /// Sets of operations that are looked at before the search leaves some out, for each part that can be ordered by
        /// itself.
        max_states: usize = 400_000,
    } requires Imported ensures Imported;
}

/// An order of a function's operations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ordered {
    /// Operations by their numbers in the order at hand.
    pub order: Vec<usize>,
    /// Peak of the order at hand.
    pub peak_before: usize,
    /// Peak of the order.
    pub peak: usize,
    /// No order has a lower peak than this.
    pub bound: usize,
}

impl Pass for Schedule {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        let mut changed = Changed::No;
        for function in &mut module.functions {
            let Some(graph) = Graph::of(function) else { continue };
            let found = best_order(&Dag::of(&graph), self.max_states, cx.watch);
            cx.count("peak bytes before", found.peak_before as u64);
            cx.count("peak bytes after", found.peak as u64);
            cx.count("lower bound bytes", found.bound as u64);
            cx.count("functions with the least peak", u64::from(found.peak == found.bound));
            if !found.order.is_sorted() {
                let ops: Vec<Op> = found.order.iter().map(|&node| graph.nodes[node].op).collect();
                reorder(function, &ops);
                changed = Changed::Yes;
            }
        }
        Ok(changed)
    }
}

/// The order of the least peak that is found with up to `max_states` states for each run of operations that can't be mixed
/// with others: the one at hand, if there is no better one.
pub fn best_order(dag: &Dag, max_states: usize, watch: &dyn Watch) -> Ordered {
    let first = dag.first_bytes();
    let mut all = Ordered { order: Vec::new(), peak_before: first, peak: first, bound: first };
    for run in dag.runs() {
        let found = best_order_of_run(&dag.part(&run), max_states, watch);
        all.order.extend(found.order.iter().map(|op| op + run.start));
        all.peak_before = all.peak_before.max(found.peak_before);
        all.peak = all.peak.max(found.peak);
        all.bound = all.bound.max(found.bound);
    }
    all
}

fn best_order_of_run(dag: &Dag, max_states: usize, watch: &dyn Watch) -> Ordered {
    let order: Vec<usize> = (0..dag.count()).collect();
    let peak_before = dag.peak_bytes(&order);
    let segments = segments::segments(dag);
    let search = Search::new(&segments, dag.first_bytes(), peak_before, dag.unavoidable_bytes());
    let found = search.run(max_states, watch);
    let (order, peak) = match found.order {
        Some(better) => {
            let better: Vec<usize> =
                better.iter().flat_map(|&segment| segments[segment].ops.clone()).collect();
            let peak = dag.peak_bytes(&better);
            let order = settled(dag, better, peak);
            // If the search did not end, this may have found a still better one.
            let peak = dag.peak_bytes(&order);
            (order, peak)
        }
        None => (order, peak_before),
    };
    Ordered { order, peak_before, peak, bound: found.bound }
}

/// An order as near to that of the operations' numbers as it gets, front to back, by moving operations to the front of
/// those that are left, without a higher peak than `peak`.
fn settled(dag: &Dag, mut order: Vec<usize>, peak: usize) -> Vec<usize> {
    let mut run = Run::new(dag);
    let mut placed = vec![false; order.len()];
    for at in 0..order.len() {
        let ready = |op: usize| dag.waits[op].iter().all(|&before| placed[before]);
        let mut candidates: Vec<usize> =
            (at..order.len()).filter(|&from| order[from] < order[at] && ready(order[from])).collect();
        candidates.sort_unstable_by_key(|&from| order[from]);
        let keeps_peak = |from: usize| {
            let mut run = run.clone();
            run.step(order[from]);
            order[at..from].iter().for_each(|&op| run.step(op));
            run.peak <= peak
        };
        if let Some(from) = candidates.into_iter().find(|&from| keeps_peak(from)) {
            order[at..=from].rotate_right(1);
        }
        run.step(order[at]);
        placed[order[at]] = true;
    }
    order
}

/// Puts operations in an order. What is none of them (constants, reshapes) follows its operands, as late as its first use
/// allows.
fn reorder(function: &mut Function, order: &[Op]) {
    let old = function.blocks[function.body].ops.clone();
    let mut placing = Placing { function, placed: HashSet::new(), ops: Vec::new() };
    order.iter().for_each(|&op| placing.place(op));
    let (end, unused): (Vec<Op>, Vec<Op>) =
        old.into_iter().partition(|&op| placing.function.ops[op].kind.spec().has(Trait::Terminator));
    unused.into_iter().chain(end).for_each(|op| placing.place(op));
    let ops = placing.ops;
    function.blocks[function.body].ops = ops;
}

struct Placing<'f> {
    function: &'f Function,
    placed: HashSet<Op>,
    ops: Vec<Op>,
}

impl Placing<'_> {
    /// Places an operation, after what it uses.
    fn place(&mut self, op: Op) {
        // Not recursive: a chain of reshapes may be long.
        let mut waiting = vec![op];
        while let Some(&op) = waiting.last() {
            let makers =
                self.function.ops[op].operands.iter().filter_map(|&value| self.function.defining_op(value));
            match makers.into_iter().find(|maker| !self.placed.contains(maker)) {
                Some(maker) => waiting.push(maker),
                None => {
                    waiting.pop();
                    if self.placed.insert(op) {
                        self.ops.push(op);
                    }
                }
            }
        }
    }
}
