//! The tree: parts, choices and failures.
//!
//! A frame is a part of the unplaced items, the item of it that was chosen, and the parts that placing that item leaves. A
//! part that fails makes its parent's frame postpone its item and choose again; a part that is placed stays so until its
//! parent's choice is taken back. The stack of frames is explicit, since it gets as deep as there are items.

use super::model::Model;
use super::state::State;
use crate::plan_memory::problem::Offsets;
use std::collections::HashSet;

/// How a search ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All items are placed.
    Found(Offsets),
    /// There is no placement.
    Failed,
    /// The limit was reached.
    OutOfNodes,
}

/// What runs under one capacity learn for the next.
#[derive(Debug, Default)]
pub struct Memo {
    /// States of parts that are known to fail, whatever the order. Two states of one hash of 128 bits are taken for the
    /// same.
    failed: HashSet<u128>,
    /// How often each section was the reason for which a branch died.
    blame: Vec<u32>,
}

/// Failures that are remembered at most.
const MAX_FAILURES: usize = 1 << 22;

impl Memo {
    fn extend(&mut self, keys: Vec<u128>) {
        if self.failed.len() < MAX_FAILURES {
            self.failed.extend(keys);
        }
    }
}

/// A part in the order of time, and what has been decided about it.
#[derive(Debug)]
struct Frame {
    part: Vec<usize>,
    /// The state before the part was begun.
    outer: usize,
    /// The state before its item was placed.
    mark: usize,
    item: usize,
    /// The states before each choice; all fail if the last does.
    keys: Vec<u128>,
    /// What remains after placing the item, last part first.
    rest: Vec<Vec<usize>>,
}

/// A search with one order of preference.
#[derive(Debug)]
pub struct Search<'a> {
    model: &'a Model,
    state: Option<State<'a>>,
    /// Position of each item in the order of preference.
    ranks: Vec<usize>,
    memo: &'a mut Memo,
    /// Nodes that were visited.
    pub nodes: usize,
}

/// What a step down or up the tree came to.
enum Step {
    Deeper(Frame),
    Placed,
    Failed,
}

impl<'a> Search<'a> {
    /// A search that has not begun. `memo` holds failures under the same capacity.
    pub fn new(model: &'a Model, capacity: usize, ranks: Vec<usize>, memo: &'a mut Memo) -> Self {
        let capacity =
            i64::try_from(capacity).unwrap_or(i64::MAX / 4).min(i64::MAX / 4) / model.unit * model.unit;
        let state = State::new(model, capacity, memo.blame.clone());
        Self { model, state, ranks, memo, nodes: 0 }
    }

    /// Searches until the end, or until `max_nodes` were visited.
    pub fn run(&mut self, max_nodes: usize) -> Outcome {
        let Some(mut state) = self.state.take() else { return Outcome::Failed };
        let mut all: Vec<usize> = (0..self.model.items()).collect();
        all.sort_by_key(|&item| (self.model.spans[item], item));
        let mut parts = self.parts(all);
        // Parts of the whole problem are independent, so each is searched to its end once.
        while let Some(part) = parts.pop() {
            match self.place_part(&mut state, part, max_nodes) {
                Some(true) => {}
                Some(false) => return Outcome::Failed,
                None => {
                    self.memo.blame = state.blame;
                    return Outcome::OutOfNodes;
                }
            }
        }
        Outcome::Found(state.earliest.iter().map(|&offset| offset.max(0) as usize).collect())
    }

    /// Whether a part can be placed; `None` if the nodes don't suffice.
    fn place_part(&mut self, state: &mut State<'_>, part: Vec<usize>, max_nodes: usize) -> Option<bool> {
        let mut stack = vec![frame(state, part)];
        while let Some(top) = stack.last_mut() {
            if self.nodes >= max_nodes {
                return None;
            }
            self.nodes += 1;
            let mut step = self.choose(state, top);
            loop {
                match step {
                    Step::Deeper(frame) => {
                        stack.push(frame);
                        break;
                    }
                    Step::Placed => {
                        stack.pop();
                        let Some(parent) = stack.last_mut() else { return Some(true) };
                        step = next_part(state, parent);
                    }
                    Step::Failed => {
                        let failed = stack.pop().map(|frame| frame.keys).unwrap_or_default();
                        self.memo.extend(failed);
                        let Some(parent) = stack.last_mut() else { return Some(false) };
                        state.undo(parent.mark);
                        if state.postpone(parent.item, &parent.part) {
                            break;
                        }
                        state.undo(parent.outer);
                    }
                }
            }
        }
        Some(true)
    }

    /// Places an item of the top frame, or postpones those that cannot be placed.
    fn choose(&mut self, state: &mut State<'_>, top: &mut Frame) -> Step {
        loop {
            let key = self.key(state, &top.part);
            if self.memo.failed.contains(&key) {
                state.undo(top.outer);
                return Step::Failed;
            }
            top.keys.push(key);
            top.item = self.pick(state, &top.part);
            top.mark = state.mark();
            if state.place(top.item, &top.part) {
                let rest = top.part.iter().copied().filter(|&item| item != top.item).collect();
                top.rest = self.parts(rest);
                return next_part(state, top);
            }
            state.undo(top.mark);
            if !state.postpone(top.item, &top.part) {
                state.undo(top.outer);
                return Step::Failed;
            }
        }
    }

    /// Divides items in the order of time where no life crosses, largest part first.
    fn parts(&self, items: Vec<usize>) -> Vec<Vec<usize>> {
        let (mut parts, mut end): (Vec<Vec<usize>>, Option<usize>) = (Vec::new(), None);
        for item in items {
            let [first, last] = self.model.spans[item];
            match parts.last_mut() {
                Some(part) if end.is_some_and(|end| first <= end) => part.push(item),
                _ => parts.push(vec![item]),
            }
            end = end.max(Some(last));
        }
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts
    }

    /// The item to decide next: a lowest one in the section with the fewest candidates for its blame; or below it what
    /// meets it.
    fn pick(&self, state: &State<'_>, part: &[usize]) -> usize {
        let model = self.model;
        let lowest = |items: &mut dyn Iterator<Item = usize>| {
            items.filter(|&i| !state.placed[i]).min_by_key(|&i| (state.earliest[i], self.ranks[i]))
        };
        let sections = part.iter().filter_map(|&item| {
            let sections = &model.in_sections[item];
            Some((sections.first()?.0, sections.last()?.0))
        });
        let first = sections.clone().map(|range| range.0).min().unwrap_or(0);
        let last = sections.map(|range| range.1 + 1).max().unwrap_or(0);
        let tightest = (first..last).filter(|&s| state.measures[s].unplaced > 0).min_by_key(|&s| {
            let measure = &state.measures[s];
            (cost(measure.candidates, state.blame[s]), measure.slack, s)
        });
        let mut item = tightest
            .and_then(|section| lowest(&mut model.sections[section].live.iter().map(|live| live.item)))
            .or_else(|| lowest(&mut part.iter().copied()))
            .unwrap_or(part[0]);
        // Placing bottom up keeps what is placed below all that is not.
        loop {
            let below = model.edges[item].iter().map(|edge| edge.with);
            match lowest(&mut below.filter(|&i| state.earliest[i] < state.earliest[item])) {
                Some(lower) => item = lower,
                None => return item,
            }
        }
    }

    /// A hash of all that decides whether the items of a part fit: where they may start, what has been postponed, and
    /// what placed ones forbid above that.
    fn key(&self, state: &State<'_>, part: &[usize]) -> u128 {
        let mut key = 0u128;
        let mut add = |facts: [i64; 4]| {
            let half = |seed: u64| facts.iter().fold(seed, |hash, &fact| mixed(hash ^ fact as u64));
            key = key.wrapping_add((half(1) as u128) << 64 | half(2) as u128);
        };
        for &item in part {
            add([item as i64, state.earliest[item], state.postponed[item].unwrap_or(-1), 0]);
            if self.model.plain[item] {
                continue;
            }
            for edge in self.model.edges[item].iter().filter(|edge| state.placed[edge.with]) {
                let end = state.earliest[edge.with] - edge.first;
                if end >= state.earliest[item] {
                    add([item as i64, end, end - (edge.last - edge.first), 1]);
                }
            }
        }
        key
    }
}

/// What orders sections: candidates for each square of the logarithm of the blame. Without blame, and with blame as it is, some
/// of MiniMalloc's instances take a hundred times the nodes.
fn cost(candidates: usize, blame: u32) -> u64 {
    let log = log2_in_16ths(u64::from(blame) + 11);
    ((candidates as u64) << 32) / (log * log)
}

/// 16 log2 of a positive number, linear between powers of two: whole numbers are the same on every machine.
fn log2_in_16ths(number: u64) -> u64 {
    let exponent = number.ilog2();
    let mantissa = (number << 4) >> exponent;
    u64::from(exponent) * 16 + mantissa - 16
}

fn frame(state: &State<'_>, part: Vec<usize>) -> Frame {
    let mark = state.mark();
    Frame { item: part[0], part, outer: mark, mark, keys: Vec::new(), rest: Vec::new() }
}

/// Begins the next part that a frame's choice leaves.
fn next_part(state: &State<'_>, top: &mut Frame) -> Step {
    top.rest.pop().map_or(Step::Placed, |part| Step::Deeper(frame(state, part)))
}

/// A 64-bit mixing function. Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
fn mixed(value: u64) -> u64 {
    let mut value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
