//! Operations as the search for an order sees them: what each has to wait for, and how many bytes it makes and frees.
//!
//! Which buffers there are does not depend on the order: a reshape shares its operand's memory, and an elementwise
//! operation overwrites an operand that nobody else reads. So a buffer is made by one operation, touched by some, and
//! free after the last of these, whichever that is.

use super::set::Set;
use crate::cascade::graph::Graph;
use std::ops::Range;

/// Memory that operations share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// Its size.
    pub bytes: usize,
    /// The operation that makes it; `None` if it is there from the start.
    pub maker: Option<usize>,
    /// Operations that make, read or overwrite it, in ascending order.
    pub users: Vec<usize>,
    /// Whether it is needed to the end.
    pub is_output: bool,
}

/// Operations by number, in the order in which they stand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dag {
    /// Operations that have to run before an operation, in ascending order.
    pub waits: Vec<Vec<usize>>,
    /// Buffers that an operation uses, in ascending order.
    pub uses: Vec<Vec<usize>>,
    /// Buffers.
    pub buffers: Vec<Buffer>,
}

impl Dag {
    /// The operations of a function.
    pub fn of(graph: &Graph) -> Self {
        let count = graph.nodes.len();
        let mut dag = Self { waits: Vec::new(), uses: Vec::new(), buffers: Vec::new() };
        dag.buffers.extend(graph.buffers.iter().map(|buffer| Buffer {
            bytes: buffer.bytes(),
            maker: buffer.first,
            users: Vec::new(),
            is_output: buffer.last >= count,
        }));
        for (op, node) in graph.nodes.iter().enumerate() {
            let read = node.reads.iter().map(|read| read.buffer);
            dag.waits.push(sorted(node.reads.iter().filter_map(|read| read.maker).collect()));
            dag.uses.push(sorted(read.chain(node.writes.iter().copied()).collect()));
            for &buffer in &dag.uses[op] {
                dag.buffers[buffer].users.push(op);
            }
        }
        dag
    }

    /// Number of operations.
    pub fn count(&self) -> usize {
        self.waits.len()
    }

    /// Bytes that an operation's results take beside what is there already.
    pub fn made_bytes(&self, op: usize) -> usize {
        let made = self.uses[op].iter().filter(|&&buffer| self.buffers[buffer].maker == Some(op));
        made.map(|&buffer| self.buffers[buffer].bytes).sum()
    }

    /// Bytes that live before the first operation: inputs that are read or returned.
    pub fn first_bytes(&self) -> usize {
        let there = self.buffers.iter().filter(|buffer| buffer.maker.is_none());
        there.filter(|buffer| buffer.is_output || !buffer.users.is_empty()).map(|buffer| buffer.bytes).sum()
    }

    /// The greatest number of bytes that live at a time, if operations run in this order, which has all of them.
    pub fn peak_bytes(&self, order: &[usize]) -> usize {
        let mut run = Run::new(self);
        order.iter().for_each(|&op| run.step(op));
        run.peak
    }

    /// Operations that are before each one in every order.
    fn before(&self) -> Vec<Set> {
        let count = self.count();
        let mut before: Vec<Set> = Vec::with_capacity(count);
        for waits in &self.waits {
            let mut set = Set::below(count);
            for &op in waits {
                set.insert(op);
                set.extend(&before[op]);
            }
            before.push(set);
        }
        before
    }

    /// Runs of operations, one after the other: all of a run are before all of the next one in every order. So the order of
    /// each can be found by itself.
    pub fn runs(&self) -> Vec<Range<usize>> {
        let count = self.count();
        let (mut runs, mut end) = (Vec::new(), count);
        // How many of the first operations all that were looked at have to wait for.
        let mut first = count;
        for (op, before) in self.before().iter().enumerate().rev() {
            first = first.min((0..op).find(|&other| !before.has(other)).unwrap_or(op));
            if first == op {
                runs.push(op..end);
                end = op;
            }
        }
        runs.reverse();
        runs
    }

    /// A run by itself, its operations numbered from 0. What passes it by is there from the start to the end.
    pub fn part(&self, run: &Range<usize>) -> Self {
        let inside = |ops: &[usize]| -> Vec<usize> {
            ops.iter().filter(|op| run.contains(op)).map(|op| op - run.start).collect()
        };
        let mut part = Self {
            waits: self.waits[run.clone()].iter().map(|ops| inside(ops)).collect(),
            ..Self::default()
        };
        part.uses = vec![Vec::new(); run.len()];
        for buffer in &self.buffers {
            let there = buffer.maker.is_none_or(|maker| maker < run.end);
            let is_output = buffer.is_output || buffer.users.iter().any(|&user| user >= run.end);
            let users = inside(&buffer.users);
            if !there || (users.is_empty() && !is_output) {
                continue;
            }
            users.iter().for_each(|&user| part.uses[user].push(part.buffers.len()));
            let maker = buffer.maker.and_then(|maker| maker.checked_sub(run.start));
            part.buffers.push(Buffer { bytes: buffer.bytes, maker, users, is_output });
        }
        part
    }

    /// A number of bytes that no order can do without: while an operation runs, everything lives that it uses itself, and
    /// what is made before and used after it in every order.
    pub fn unavoidable_bytes(&self) -> usize {
        let before = self.before();
        let lives = |buffer: &Buffer, op: usize| {
            let there = buffer.maker.is_none_or(|maker| before[op].has(maker));
            let needed = || buffer.is_output || buffer.users.iter().any(|&user| before[user].has(op));
            buffer.users.contains(&op) || (there && needed())
        };
        let at = |op: usize| {
            self.buffers.iter().filter(|buffer| lives(buffer, op)).map(|buffer| buffer.bytes).sum::<usize>()
        };
        (0..self.count()).map(at).max().unwrap_or(0).max(self.first_bytes())
    }
}

/// What lives while operations run one after the other.
#[derive(Clone, Debug)]
pub struct Run<'d> {
    dag: &'d Dag,
    /// Users of each buffer that have not run.
    left: Vec<usize>,
    /// Bytes that live.
    live: usize,
    /// The most that lived so far.
    pub peak: usize,
}

impl<'d> Run<'d> {
    /// Before the first operation.
    pub fn new(dag: &'d Dag) -> Self {
        let left = dag.buffers.iter().map(|buffer| buffer.users.len()).collect();
        let live = dag.first_bytes();
        Self { dag, left, live, peak: live }
    }

    /// Runs an operation.
    pub fn step(&mut self, op: usize) {
        self.live += self.dag.made_bytes(op);
        self.peak = self.peak.max(self.live);
        for &buffer in &self.dag.uses[op] {
            self.left[buffer] -= 1;
            if self.left[buffer] == 0 && !self.dag.buffers[buffer].is_output {
                self.live -= self.dag.buffers[buffer].bytes;
            }
        }
    }
}

fn sorted(mut numbers: Vec<usize>) -> Vec<usize> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
