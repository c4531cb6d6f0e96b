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
use crate::analysis::liveness::LiveBytes;
use mcunet_ir::rows::RowNeed;
use std::collections::HashMap;
use std::ops::Range;

/// When the rows of a buffer are in use, by steps of the cascade.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rows {
    /// First step per row; `None` if it was there before.
    pub made: Vec<Option<usize>>,
    /// Last step per row; `None` if it is still needed after the cascade.
    pub read: Vec<Option<usize>>,
    /// Rows that have to be held at a time, if it is made and used up in the cascade.
    pub held: usize,
}

/// A run of stages as a cascade.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pulled {
    /// Stage, and which row it makes.
    pub steps: Vec<(usize, usize)>,
    /// Buffers that the stages touch.
    pub buffers: HashMap<usize, Rows>,
}

impl Pulled {
    /// The schedule and windows of stages `range` of a graph.
    pub fn of(graph: &Graph, range: Range<usize>) -> Self {
        let mut puller = Puller::new(graph, range.clone());
        let escapes =
            |stage: usize| graph.nodes[stage].writes.iter().any(|&b| graph.buffers[b].last >= range.end);
        if range.clone().any(|stage| graph.nodes[stage].sends) {
            // What is there already is sent first, so that it need not be held.
            for stage in range.clone().filter(|&stage| graph.nodes[stage].sends) {
                if puller.needs_nothing(stage) {
                    puller.finish(stage);
                }
            }
            let ends = range
                .clone()
                .rev()
                .filter(|&stage| escapes(stage) || stage + 1 == range.end || graph.nodes[stage].sends);
            puller.finish_in_turns(&ends.collect::<Vec<_>>());
        } else {
            range
                .clone()
                .rev()
                .filter(|&stage| escapes(stage) || stage + 1 == range.end)
                .for_each(|stage| puller.finish(stage));
        }
        // What nobody needs has to be made as well.
        range.clone().for_each(|stage| puller.finish(stage));
        let steps = puller.steps;
        let buffers = lives(graph, &range, &steps);
        Self { steps, buffers }
    }

    /// The greatest number of bytes in use over the steps, without what the stages don't touch.
    pub fn peak_bytes(&self, graph: &Graph) -> usize {
        let end = self.steps.len();
        let mut live = LiveBytes::none(end);
        for (&index, rows) in &self.buffers {
            for (made, read) in rows.made.iter().zip(&rows.read) {
                live.add([made.unwrap_or(0), read.unwrap_or(end)], graph.buffers[index].row_bytes);
            }
        }
        live.peak()
    }
}

#[derive(Clone)]
struct Puller<'g> {
    graph: &'g Graph,
    range: Range<usize>,
    /// Rows made, per stage.
    made: Vec<usize>,
    steps: Vec<(usize, usize)>,
    /// Stages that run as soon as a row of what they read is made, by its maker.
    followers: Vec<Vec<usize>>,
}

impl<'g> Puller<'g> {
    fn new(graph: &'g Graph, range: Range<usize>) -> Self {
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); range.len()];
        for stage in
            range.clone().filter(|&stage| graph.nodes[stage].sends || takes_part(graph, &range, stage))
        {
            for read in &graph.nodes[stage].reads {
                if let Some(maker) = graph.maker(read.buffer, range.start, stage) {
                    followers[maker - range.start].push(stage);
                }
            }
        }
        Self { graph, made: vec![0; range.len()], range, steps: Vec::new(), followers }
    }

    fn made(&self, stage: usize) -> usize {
        self.made[stage - self.range.start]
    }

    fn finish(&mut self, stage: usize) {
        self.pull(stage, self.graph.nodes[stage].rows);
    }

    /// Whether nothing that a stage reads is made in the run.
    fn needs_nothing(&self, stage: usize) -> bool {
        let mut reads = self.graph.nodes[stage].reads.iter();
        reads.all(|read| self.graph.maker(read.buffer, self.range.start, stage).is_none())
    }

    /// Makes all rows of several stages, the next one where it takes the fewest bytes of what others need, too.
    fn finish_in_turns(&mut self, ends: &[usize]) {
        let shared = self.shared(ends);
        loop {
            let left = |&&end: &&usize| self.made(end) < self.graph.nodes[end].rows;
            let left: Vec<usize> = ends.iter().filter(left).copied().collect();
            let next = match left[..] {
                [] => return,
                [only] => only,
                // Of equal ones the first.
                _ => left.into_iter().min_by_key(|&end| self.cost(end, &shared)).unwrap_or(self.range.start),
            };
            self.pull(next, self.made(next) + 1);
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
                for read in &self.graph.nodes[stage].reads {
                    if let Some(maker) = self.graph.maker(read.buffer, self.range.start, stage) {
                        needed[maker - self.range.start] = true;
                    }
                }
            }
        }
        readers.into_iter().map(|count| count > 1).collect()
    }

    /// Bytes of shared stages that the next row of a stage makes.
    fn cost(&self, end: usize, shared: &[bool]) -> usize {
        let mut tried = Self { steps: Vec::new(), ..self.clone() };
        tried.pull(end, self.made(end) + 1);
        let steps = tried.steps.iter().filter(|(stage, _)| shared[stage - self.range.start]);
        let bytes = |stage: usize| {
            let writes = self.graph.nodes[stage].writes.iter();
            writes.map(|&buffer| self.graph.buffers[buffer].row_bytes).sum::<usize>()
        };
        steps.map(|&(stage, _)| bytes(stage)).sum()
    }

    /// Makes rows of a stage until there are `end` of them.
    fn pull(&mut self, stage: usize, end: usize) {
        let graph = self.graph;
        while self.made(stage) < end {
            let row = self.made(stage);
            for read in &graph.nodes[stage].reads {
                if let Some(maker) = graph.maker(read.buffer, self.range.start, stage) {
                    let span = read.span(row, &graph.buffers[read.buffer]);
                    // A stage that makes everything at once has one row; one that folds rows has to fold all of them.
                    let rows = graph.nodes[maker].rows;
                    let end = if rows == graph.buffers[read.buffer].rows { span.end } else { rows };
                    if !span.is_empty() {
                        self.pull(maker, end);
                    }
                }
            }
            // What is pulled may have been sent in the meantime.
            if self.made(stage) > row {
                continue;
            }
            self.steps.push((stage, row));
            self.made[stage - self.range.start] = row + 1;
            self.follow(stage);
        }
    }

    /// Lets followers run on the rows that a stage has made.
    fn follow(&mut self, maker: usize) {
        for index in 0..self.followers[maker - self.range.start].len() {
            let follower = self.followers[maker - self.range.start][index];
            let (rows, made) = (self.graph.nodes[maker].rows, self.made(maker));
            let all = self.graph.nodes[follower].rows;
            // What is made at once, or counted otherwise, is there when all of it is.
            let ready = if rows == all { made } else { all * usize::from(made == rows) };
            self.pull(follower, ready);
        }
    }
}

/// Whether a stage takes a part of each row of a tensor, to be used after the run.
fn takes_part(graph: &Graph, range: &Range<usize>, stage: usize) -> bool {
    let node = &graph.nodes[stage];
    let ([read], [written]) = (&node.reads[..], &node.writes[..]) else { return false };
    let (whole, part) = (&graph.buffers[read.buffer], &graph.buffers[*written]);
    let same_rows =
        read.need == RowNeed::same(node.rows) && whole.rows == node.rows && part.rows == node.rows;
    part.last >= range.end && same_rows && part.row_bytes < whole.row_bytes
}

fn lives(graph: &Graph, range: &Range<usize>, steps: &[(usize, usize)]) -> HashMap<usize, Rows> {
    let mut buffers: HashMap<usize, Rows> = HashMap::new();
    let mut entry = |index: usize, f: &mut dyn FnMut(&mut Rows)| {
        let rows = graph.buffers[index].rows;
        let empty = || Rows { made: vec![None; rows], read: vec![None; rows], held: rows };
        f(buffers.entry(index).or_insert_with(empty));
    };
    for (time, &(stage, row)) in steps.iter().enumerate() {
        let node = &graph.nodes[stage];
        for read in &node.reads {
            let span = read.span(row, &graph.buffers[read.buffer]);
            entry(read.buffer, &mut |rows| rows.read[span.clone()].fill(Some(time)));
        }
        // By itself, it would fold all rows at once.
        let keeps = node.keeps.filter(|_| range.len() > 1);
        for &index in node.writes.iter().chain(&keeps) {
            let buffer = &graph.buffers[index];
            let span = if node.rows == buffer.rows { row..row + 1 } else { 0..buffer.rows };
            entry(index, &mut |rows| {
                for row in span.clone() {
                    rows.made[row].get_or_insert(time);
                    rows.read[row] = rows.read[row].max(Some(time));
                }
            });
        }
    }
    for (&index, rows) in &mut buffers {
        let buffer = &graph.buffers[index];
        let inner = buffer.first.is_some_and(|first| first >= range.start);
        if !inner {
            rows.made.fill(None);
        }
        if buffer.last >= range.end {
            rows.read.fill(None);
        } else if inner {
            rows.held = held(rows);
        }
    }
    buffers
}

/// Rows from the oldest that is still needed to the newest, at most over the steps. Rows are made in order.
fn held(rows: &Rows) -> usize {
    let (mut oldest, mut most) = (0, 1);
    for (row, made) in rows.made.iter().enumerate() {
        while oldest < row && rows.read[oldest] < *made {
            oldest += 1;
        }
        most = most.max(row - oldest + 1);
    }
    most
}
