//! When the rows of buffers are in use while a run of stages is pulled, and how many bytes that is.
//!
//! Every run of a graph is looked at when it is cut, so the lives of all rows lie in one table that each run writes anew.

use super::graph::{Buffer, Graph};
use super::pull::Step;
use crate::analysis::liveness::LiveBytes;
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

/// First and last step of a row.
#[derive(Clone, Copy, Debug)]
struct Life {
    made: u32,
    read: u32,
}

/// No step.
const NEVER: u32 = u32::MAX;

/// Lives of the rows that a run touches.
#[derive(Debug)]
pub struct Windows<'g> {
    graph: &'g Graph,
    range: Range<usize>,
    steps: usize,
    /// Rows of all buffers, one buffer after the other.
    lives: Vec<Life>,
    /// Where those of each buffer begin.
    first: Vec<usize>,
    is_touched: Vec<bool>,
    touched: Vec<usize>,
    live: LiveBytes,
}

impl<'g> Windows<'g> {
    /// No run was recorded.
    pub fn new(graph: &'g Graph) -> Self {
        let (mut first, mut rows) = (Vec::new(), 0);
        for buffer in &graph.buffers {
            first.push(rows);
            rows += buffer.rows;
        }
        Self {
            graph,
            range: 0..0,
            steps: 0,
            lives: vec![Life { made: NEVER, read: NEVER }; rows],
            first,
            is_touched: vec![false; graph.buffers.len()],
            touched: Vec::new(),
            live: LiveBytes::none(0),
        }
    }

    /// Forgets the run before, and follows the schedule of another one.
    pub fn record(&mut self, range: Range<usize>, steps: &[Step]) {
        (self.range, self.steps) = (range.clone(), steps.len());
        self.touched.drain(..).for_each(|buffer| self.is_touched[buffer] = false);
        let graph = self.graph;
        // By itself, a stage would fold all rows at once.
        let folds = range.len() > 1;
        for node in &graph.nodes[range] {
            let read = node.reads.iter().map(|read| read.buffer);
            let keeps = node.keeps.filter(|_| folds);
            read.chain(node.writes.iter().copied()).chain(keeps).for_each(|buffer| self.touch(buffer));
        }
        let first = &self.first;
        for (time, &(stage, row)) in (0..).zip(steps) {
            let node = &graph.nodes[stage];
            for read in &node.reads {
                // Later rows read the others again.
                let [start, end] = read.rows[row].done.map(|row| first[read.buffer] + row as usize);
                self.lives[start..end].iter_mut().for_each(|life| life.read = time);
            }
            for &index in node.writes.iter().chain(node.keeps.iter().filter(|_| folds)) {
                let rows = graph.buffers[index].rows;
                let span = if node.rows == rows { row..row + 1 } else { 0..rows };
                for life in &mut self.lives[first[index] + span.start..first[index] + span.end] {
                    life.made = life.made.min(time);
                    life.read = time;
                }
            }
        }
    }

    fn touch(&mut self, buffer: usize) {
        if !std::mem::replace(&mut self.is_touched[buffer], true) {
            self.touched.push(buffer);
            let rows = self.first[buffer]..self.first[buffer] + self.graph.buffers[buffer].rows;
            self.lives[rows].fill(Life { made: NEVER, read: NEVER });
        }
    }

    /// Whether the run uses a buffer.
    pub fn touches(&self, buffer: usize) -> bool {
        self.is_touched[buffer]
    }

    /// The rows of a buffer that the run touches.
    pub fn rows(&self, index: usize) -> Option<Rows> {
        let buffer = &self.graph.buffers[index];
        let lives = self.is_touched[index].then(|| self.lives(index))?;
        let step = |step: u32| (step != NEVER).then_some(step as usize);
        let (inner, used_up) = (self.is_inner(buffer), self.is_used_up(buffer));
        let mut rows = Rows {
            made: lives.iter().map(|life| step(life.made).filter(|_| inner)).collect(),
            read: lives.iter().map(|life| step(life.read).filter(|_| used_up)).collect(),
            held: buffer.rows,
        };
        if inner && used_up {
            rows.held = held(&rows);
        }
        Some(rows)
    }

    /// The greatest number of bytes in use over the steps, without what the stages don't touch.
    pub fn peak_bytes(&mut self) -> usize {
        let Self { graph, first, lives, touched, live, .. } = self;
        let end = self.steps;
        live.clear(end);
        for &index in touched.iter() {
            let buffer = &graph.buffers[index];
            let inner = buffer.first.is_some_and(|first| first >= self.range.start);
            let used_up = buffer.last < self.range.end;
            for life in &lives[first[index]..][..buffer.rows] {
                let made = if inner && life.made != NEVER { life.made as usize } else { 0 };
                let read = if used_up && life.read != NEVER { life.read as usize } else { end };
                live.add([made, read], buffer.row_bytes);
            }
        }
        live.peak()
    }

    fn lives(&self, buffer: usize) -> &[Life] {
        &self.lives[self.first[buffer]..][..self.graph.buffers[buffer].rows]
    }

    /// Whether the run makes a buffer.
    fn is_inner(&self, buffer: &Buffer) -> bool {
        buffer.first.is_some_and(|first| first >= self.range.start)
    }

    /// Whether nobody needs a buffer after the run.
    fn is_used_up(&self, buffer: &Buffer) -> bool {
        buffer.last < self.range.end
    }
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
