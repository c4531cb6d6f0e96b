//! The row schedule of a cascade, and what it holds.
//!
//! Rows are pulled: a stage makes a row when a later stage needs it, and before it does, the rows that it needs itself are
//! pulled. No row is made twice, and none before it is needed, so that few rows wait. The pull starts at the last stage and
//! at the stages whose results are used after the cascade.
//!
//! A part of a row that is used after the cascade, such as columns that are kept for another strip, is taken as soon as the row
//! is made, so that the row need not wait for it. A row of an output that is sent goes as soon as it is made. Where outputs are sent, everything the pull starts at is
//! pulled in turns, so that several outputs use up together what they share: the next row is one that makes the fewest
//! bytes of what others need, too.

use super::graph::Graph;
use super::windows::{Rows, Windows};
use mcunet_ir::rows::RowNeed;
use std::ops::Range;

/// A run of stages as a cascade.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pulled {
    /// Stage, and which row it makes.
    pub steps: Vec<Step>,
    /// Rows of every buffer of the graph that the stages touch.
    pub buffers: Vec<Option<Rows>>,
}

impl Pulled {
    /// The schedule and windows of stages `range` of a graph.
    pub fn of(graph: &Graph, range: Range<usize>) -> Self {
        let (mut puller, mut windows) = (Puller::new(graph), Windows::new(graph));
        let steps = puller.run(range.clone());
        windows.record(range, steps);
        let buffers = (0..graph.buffers.len()).map(|buffer| windows.rows(buffer)).collect();
        Self { steps: steps.to_vec(), buffers }
    }
}

/// A stage, and which row it makes.
pub type Step = (usize, usize);

/// Schedules of one run of a graph after the other, in the same memory.
#[derive(Debug)]
pub struct Puller<'g> {
    graph: &'g Graph,
    /// Stages that send, or may take parts of rows: those that may run as soon as a row of what they read is made.
    eager: Vec<usize>,
    range: Range<usize>,
    /// Rows made, per stage of the graph.
    made: Vec<usize>,
    steps: Vec<Step>,
    /// Stages of the run that run as soon as a row of what they read is made, by its maker.
    followers: Vec<Vec<usize>>,
}

impl<'g> Puller<'g> {
    /// Nothing has been pulled.
    pub fn new(graph: &'g Graph) -> Self {
        let count = graph.nodes.len();
        let eager = (0..count).filter(|&stage| graph.nodes[stage].sends || takes_part(graph, stage));
        Self {
            graph,
            eager: eager.collect(),
            range: 0..0,
            made: vec![0; count],
            steps: Vec::new(),
            followers: vec![Vec::new(); count],
        }
    }

    /// The schedule of a run.
    pub fn run(&mut self, range: Range<usize>) -> &[Step] {
        self.begin(range.clone());
        let graph = self.graph;
        let ends = |&stage: &usize| graph.escapes(stage, range.end) || stage + 1 == range.end;
        if range.clone().any(|stage| graph.nodes[stage].sends) {
            // What is there already is sent first, so that it need not be held.
            for stage in range.clone().filter(|&stage| graph.nodes[stage].sends) {
                if self.needs_nothing(stage) {
                    self.finish(stage);
                }
            }
            let ends = range.clone().rev().filter(|stage| ends(stage) || graph.nodes[*stage].sends);
            self.finish_in_turns(&ends.collect::<Vec<_>>());
        } else {
            range.clone().rev().filter(ends).for_each(|stage| self.finish(stage));
        }
        // What nobody needs has to be made as well.
        range.for_each(|stage| self.finish(stage));
        &self.steps
    }

    fn begin(&mut self, range: Range<usize>) {
        let graph = self.graph;
        for stage in std::mem::replace(&mut self.range, range.clone()) {
            self.followers[stage].clear();
        }
        self.made[range.clone()].fill(0);
        self.steps.clear();
        let first = self.eager.partition_point(|&stage| stage < range.start);
        for &stage in self.eager[first..].iter().take_while(|&&stage| stage < range.end) {
            // A part that is used up in the run need not be taken before.
            if graph.nodes[stage].sends || graph.escapes(stage, range.end) {
                let makers = graph.nodes[stage].reads.iter().filter_map(|read| read.maker_from(range.start));
                makers.for_each(|maker| self.followers[maker].push(stage));
            }
        }
    }

    fn finish(&mut self, stage: usize) {
        self.pull(stage, self.graph.nodes[stage].rows);
    }

    /// Whether nothing that a stage reads is made in the run.
    fn needs_nothing(&self, stage: usize) -> bool {
        self.graph.nodes[stage].reads.iter().all(|read| read.maker_from(self.range.start).is_none())
    }

    /// Makes all rows of several stages, the next one where it takes the fewest bytes of what others need, too.
    fn finish_in_turns(&mut self, ends: &[usize]) {
        let shared = self.shared(ends);
        loop {
            let left = |&&end: &&usize| self.made[end] < self.graph.nodes[end].rows;
            let left: Vec<usize> = ends.iter().filter(left).copied().collect();
            let next = match left[..] {
                [] => return,
                [only] => only,
                // Of equal ones the first.
                _ => left.into_iter().min_by_key(|&end| self.cost(end, &shared)).unwrap_or(self.range.start),
            };
            self.pull(next, self.made[next] + 1);
        }
    }

    /// Stages that several of the `ends` need.
    fn shared(&self, ends: &[usize]) -> Vec<bool> {
        let mut readers = vec![0; self.range.len()];
        for &end in ends {
            let mut needed = vec![false; self.range.len()];
            needed[end - self.range.start] = true;
            // Makers come before their readers.
            for stage in self.range.clone().rev().filter(|&stage| stage <= end) {
                if !needed[stage - self.range.start] {
                    continue;
                }
                readers[stage - self.range.start] += 1;
                let reads = self.graph.nodes[stage].reads.iter();
                let makers = reads.filter_map(|read| read.maker_from(self.range.start));
                makers.for_each(|maker| needed[maker - self.range.start] = true);
            }
        }
        readers.into_iter().map(|count| count > 1).collect()
    }

    /// Bytes of shared stages that the next row of a stage makes.
    fn cost(&mut self, end: usize, shared: &[bool]) -> usize {
        let (made, before) = (self.made[self.range.clone()].to_vec(), self.steps.len());
        self.pull(end, self.made[end] + 1);
        let steps = self.steps[before..].iter().filter(|(stage, _)| shared[stage - self.range.start]);
        let bytes = |stage: usize| {
            let writes = self.graph.nodes[stage].writes.iter();
            writes.map(|&buffer| self.graph.buffers[buffer].row_bytes).sum::<usize>()
        };
        let cost = steps.map(|&(stage, _)| bytes(stage)).sum();
        // It was only tried.
        self.steps.truncate(before);
        self.made[self.range.clone()].copy_from_slice(&made);
        cost
    }

    /// Makes rows of a stage until there are `end` of them.
    fn pull(&mut self, stage: usize, end: usize) {
        let graph = self.graph;
        while self.made[stage] < end {
            let row = self.made[stage];
            for read in &graph.nodes[stage].reads {
                if let Some(maker) = read.maker_from(self.range.start) {
                    let end = read.rows[row].made as usize;
                    if self.made[maker] < end {
                        self.pull(maker, end);
                    }
                }
            }
            // What is pulled may have been sent in the meantime.
            if self.made[stage] > row {
                continue;
            }
            self.steps.push((stage, row));
            self.made[stage] = row + 1;
            self.follow(stage);
        }
    }

    /// Lets followers run on the rows that a stage has made.
    fn follow(&mut self, maker: usize) {
        for index in 0..self.followers[maker].len() {
            let follower = self.followers[maker][index];
            let (rows, made) = (self.graph.nodes[maker].rows, self.made[maker]);
            let all = self.graph.nodes[follower].rows;
            // What is made at once, or counted otherwise, is there when all of it is.
            let ready = if rows == all { made } else { all * usize::from(made == rows) };
            self.pull(follower, ready);
        }
    }
}

/// Whether a stage makes a part of each row of a tensor.
fn takes_part(graph: &Graph, stage: usize) -> bool {
    let node = &graph.nodes[stage];
    let ([read], [written]) = (&node.reads[..], &node.writes[..]) else { return false };
    let (whole, part) = (&graph.buffers[read.buffer], &graph.buffers[*written]);
    let same_rows =
        read.need == RowNeed::same(node.rows) && whole.rows == node.rows && part.rows == node.rows;
    same_rows && part.row_bytes < whole.row_bytes
}
