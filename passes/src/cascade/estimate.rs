//! What a way of cutting comes to once its buffers are placed.
//!
//! The peak of what lives is a bound that a placement may miss, and ways of cutting with one peak differ in how well their
//! buffers fit together. So the candidates are placed, with the planner's own search but less of it.

use super::cut;
use super::graph::Graph;
use super::pull::Pulled;
use super::windows::Rows;
use crate::analysis::liveness::{Interval, LiveBytes, merged};
use crate::pass::PassContext;
use crate::plan_memory::planner::load;
use crate::plan_memory::problem::{Item, Problem};
use crate::plan_memory::spread::{Load, Room, assign};
use crate::plan_memory::{best_fit, improve};
use crate::watch::Watch;
use std::ops::Range;

/// Rows that are looked at one by one; those of higher tensors are taken together.
const MAX_SLOTS: usize = 256;

/// How many orders of placing are tried for an estimate, for 100 buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// To compare ways of running a network, whose peaks differ.
    Quick = 400,
    /// To choose among cuts of equal peaks.
    Usual = 2_000,
}

/// And where an estimate is a little above what would be enough.
const FINE: usize = 6_000;

/// Seed of the orders.
const SEED: u64 = 0x5eed;

/// The best way of cutting a graph into cascades, given by the ends of runs, and bytes of its arena, scratch memory aside.
/// `enough` bytes need not be improved; 0 asks for the least.
pub fn best_cuts(graph: &Graph, enough: usize, effort: Effort, cx: &PassContext<'_>) -> (Vec<usize>, usize) {
    let question = Question { graph: graph.clone(), enough, effort };
    cx.memo.recall(question, |_| find_cuts(graph, enough, effort, cx))
}

/// What [`best_cuts`] are asked for.
#[derive(PartialEq, Eq, Debug)]
struct Question {
    graph: Graph,
    enough: usize,
    effort: Effort,
}

/// Ways of cutting with the least peak.
fn candidates(graph: &Graph, cx: &PassContext<'_>) -> Vec<Vec<usize>> {
    cx.memo.recall(graph.clone(), cut::candidates)
}

fn find_cuts(graph: &Graph, enough: usize, effort: Effort, cx: &PassContext<'_>) -> (Vec<usize>, usize) {
    let watch = cx.watch;
    let mut best = (Vec::new(), usize::MAX);
    for ends in candidates(graph, cx) {
        let bytes = arena_bytes(graph, &ends, enough, effort as usize, watch);
        // Of equal ones the first, which has the shortest runs.
        if bytes < best.1 {
            best = (ends, bytes);
        }
        if best.1 <= enough {
            return best;
        }
    }
    let is_near = best.1 - best.1 / 12 <= enough;
    if is_near && effort == Effort::Usual {
        best.1 = arena_bytes(graph, &best.0, enough, FINE, watch);
    }
    best
}

/// The way of cutting whose buffers fit best into several memory regions, given fastest first: that of the least excess over
/// them, and among those of the least arenas together. An arena that is small in one piece may not be spread easily: tensors
/// that are each too large for the small regions must share the large one.
pub fn best_cuts_for(graph: &Graph, rooms: &[Room], cx: &PassContext<'_>) -> Vec<usize> {
    let candidates = candidates(graph, cx).into_iter();
    let ranked = candidates.map(|ends| (spread_bytes(graph, &ends, rooms, cx.watch), ends));
    // Of equal ones the first.
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, ends)| ends).unwrap_or_default()
}

/// Bytes by which arenas exceed their regions, and bytes of all of them, for a way of cutting.
fn spread_bytes(graph: &Graph, ends: &[usize], rooms: &[Room], watch: &dyn Watch) -> (usize, usize) {
    let lives = Lives::of(graph, ends);
    let problem = Problem::of_buffers(lives.items(graph), |_, _| false);
    // How often buffers are accessed is not known before lowering: their bytes stand for it.
    let loads: Vec<Load> = problem
        .clusters
        .iter()
        .map(|cluster| {
            let items = cluster.iter().map(|&item| &problem.items[item]);
            let bytes: usize = items.clone().map(|item| item.bytes).sum();
            load(items, lives.steps, bytes as u64)
        })
        .collect();
    let region = assign(&loads, rooms);
    let arenas = rooms.iter().enumerate().map(|(index, room)| {
        let clusters: Vec<usize> = (0..region.len()).filter(|&cluster| region[cluster] == index).collect();
        let part = problem.restricted(&clusters);
        let offsets =
            improve::solve(&part, best_fit::solve(&part), room.bytes, Effort::Usual as usize, SEED, watch);
        part.height(&offsets)
    });
    let arenas: Vec<usize> = arenas.collect();
    let excess = arenas.iter().zip(rooms).map(|(bytes, room)| bytes.saturating_sub(room.bytes)).sum();
    (excess, arenas.iter().sum())
}

/// Bytes of the arena for a way of cutting. Tries up to `moves` orders of placing, and stops when
/// `enough` bytes do.
fn arena_bytes(graph: &Graph, ends: &[usize], enough: usize, moves: usize, watch: &dyn Watch) -> usize {
    let lives = Lives::of(graph, ends);
    let items = lives.items(graph);
    let bound = lives.peak_bytes(graph).max(enough);
    let problem = Problem::of_buffers(items, |_, _| false);
    let offsets = improve::solve(&problem, best_fit::solve(&problem), bound, moves, SEED, watch);
    problem.height(&offsets)
}

/// Lives of all rows, by steps of the function.
struct Lives {
    /// First and last step of every row of every buffer.
    rows: Vec<Vec<Option<Interval>>>,
    /// Buffers whose rows are scattered.
    scattered: Vec<bool>,
    steps: usize,
}

impl Lives {
    /// Lives of a graph that is cut in runs.
    fn of(graph: &Graph, ends: &[usize]) -> Self {
        let mut lives = Self::new(graph);
        let mut start = 0;
        for &end in ends {
            lives.run(graph, start..end);
            start = end;
        }
        lives
    }

    fn new(graph: &Graph) -> Self {
        let rows = graph.buffers.iter().map(|buffer| {
            let input = buffer.first.is_none();
            vec![input.then_some([0, 0]); buffer.rows]
        });
        Self { rows: rows.collect(), scattered: vec![false; graph.buffers.len()], steps: 0 }
    }

    /// Adds a run of stages.
    fn run(&mut self, graph: &Graph, range: Range<usize>) {
        let pulled = Pulled::of(graph, range.clone());
        let (from, last) = (self.steps, self.steps + pulled.steps.len().saturating_sub(1));
        self.steps += pulled.steps.len();
        for (index, found) in pulled.buffers.iter().enumerate() {
            let Some(found) = found else { continue };
            self.extend(index, found, from, last);
            let buffer = &graph.buffers[index];
            if buffer.first.is_some_and(|first| first >= range.start) && buffer.last < range.end {
                self.scattered[index] = found.held < buffer.rows;
            }
        }
        // The last run reads outputs, so to speak.
        for (index, buffer) in graph.buffers.iter().enumerate() {
            if buffer.last >= graph.nodes.len() {
                self.rows[index].iter_mut().flatten().for_each(|life| life[1] = last);
            }
        }
    }

    fn extend(&mut self, index: usize, found: &Rows, from: usize, last: usize) {
        for (life, (made, read)) in self.rows[index].iter_mut().zip(found.made.iter().zip(&found.read)) {
            let first = from + made.unwrap_or(0);
            let life = life.get_or_insert([first, first]);
            life[1] = life[1].max(read.map_or(last, |read| from + read));
        }
    }

    /// The buffers' pieces.
    fn items(&self, graph: &Graph) -> Vec<Vec<Item>> {
        let item = |row_bytes: usize, lives: &[Option<Interval>], rows: usize| Item {
            bytes: lives.len() * row_bytes,
            align: 4,
            slot_bytes: rows * row_bytes,
            slots: lives
                .chunks(rows)
                .map(|lives| merged(lives.iter().flatten().copied().collect()))
                .collect(),
        };
        let items = |(index, lives): (usize, &Vec<Option<Interval>>)| {
            let row_bytes = graph.buffers[index].row_bytes;
            match self.scattered[index] {
                true => lives.chunks(1).map(|life| item(row_bytes, life, 1)).collect(),
                false => vec![item(row_bytes, lives, lives.len().div_ceil(MAX_SLOTS))],
            }
        };
        self.rows.iter().enumerate().map(items).collect()
    }

    /// The greatest number of bytes that live at a step.
    fn peak_bytes(&self, graph: &Graph) -> usize {
        let mut live = LiveBytes::none(self.steps);
        for (rows, buffer) in self.rows.iter().zip(&graph.buffers) {
            rows.iter().flatten().for_each(|&life| live.add(life, buffer.row_bytes));
        }
        live.peak()
    }
}
