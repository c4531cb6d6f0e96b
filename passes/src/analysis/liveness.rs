//! When buffers live: between the first kernel that touches them and the last.
//!
//! Time is the position of a kernel among the kernels of the function. An input lives from time 0, since the caller
//! fills it before; an output lives to the last time, since the caller reads it after.

use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::ops::Role;
use mcunet_ir::module::{Function, Op, OpKind, Value};
use std::collections::HashMap;

/// A `loop.buffer` and its life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BufferLife {
    /// The buffer.
    pub value: Value,
    /// The op that declares it.
    pub op: Op,
    /// What it is for.
    pub role: Role,
    /// Size in bytes.
    pub bytes: usize,
    /// Size of an element in bytes: its natural alignment.
    pub element_bytes: usize,
    /// First time at which its contents matter.
    pub first: usize,
    /// Last time at which its contents matter.
    pub last: usize,
}

impl BufferLife {
    /// Whether both live at some time.
    pub fn meets(&self, other: &BufferLife) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Permission of buffer `written` to start at the same byte as buffer `read`, which dies as the former is born.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InPlace {
    /// Position in [`Liveness::buffers`].
    pub written: usize,
    /// Position in [`Liveness::buffers`].
    pub read: usize,
}

/// The lives of a function's buffers.
#[derive(Clone, Debug, Default)]
pub struct Liveness {
    /// Kernels in order: time is the position here.
    pub kernels: Vec<Op>,
    /// Buffers in order of declaration.
    pub buffers: Vec<BufferLife>,
    /// Pairs that may share their first byte.
    pub in_place: Vec<InPlace>,
}

impl Liveness {
    /// Lives of the buffers of a lowered function.
    pub fn of(function: &Function) -> Self {
        let ops = &function.blocks[function.body].ops;
        let kernels: Vec<Op> = ops
            .iter()
            .copied()
            .filter(|&op| matches!(function.ops[op].kind, OpKind::Loop(LoopOp::Kernel(_))))
            .collect();
        let uses = uses(function, &kernels);
        let end = kernels.len().saturating_sub(1);
        let buffers: Vec<BufferLife> = ops.iter().filter_map(|&op| life(function, op, &uses, end)).collect();
        let in_place = in_place_pairs(function, &kernels, &buffers);
        Self { kernels, buffers, in_place }
    }

    /// Whether two buffers may start at the same byte although their lives touch.
    pub fn may_share(&self, a: usize, b: usize) -> bool {
        self.in_place
            .iter()
            .any(|pair| (pair.written, pair.read) == (a, b) || (pair.written, pair.read) == (b, a))
    }

    /// Bytes of all buffers that live at a time.
    pub fn live_bytes(&self, time: usize) -> usize {
        self.buffers.iter().filter(|b| b.first <= time && time <= b.last).map(|b| b.bytes).sum()
    }

    /// The largest sum of live buffers over time: what a planner without in-place needs at least.
    pub fn max_live_bytes(&self) -> usize {
        (0..self.kernels.len().max(1)).map(|time| self.live_bytes(time)).max().unwrap_or(0)
    }

    /// No plan can be smaller: the greatest over time of the live bytes, less what in-place pairs can save then.
    pub fn lower_bound_bytes(&self) -> usize {
        (0..self.kernels.len().max(1))
            .map(|time| self.live_bytes(time) - self.savings(time))
            .max()
            .unwrap_or(0)
    }

    /// The time at which the lower bound is reached first.
    pub fn peak_time(&self) -> usize {
        let bound = self.lower_bound_bytes();
        (0..self.kernels.len()).find(|&t| self.live_bytes(t) - self.savings(t) == bound).unwrap_or(0)
    }

    /// At most what the in-place pairs of a kernel save: every written buffer counts its best partner, so this never
    /// underestimates.
    fn savings(&self, time: usize) -> usize {
        let saved = |written: usize| {
            self.in_place
                .iter()
                .filter(|pair| pair.written == written)
                .map(|pair| self.buffers[pair.written].bytes.min(self.buffers[pair.read].bytes))
                .max()
                .unwrap_or(0)
        };
        (0..self.buffers.len()).filter(|&i| self.buffers[i].first == time).map(saved).sum()
    }
}

/// First and last kernel that lists a buffer.
fn uses(function: &Function, kernels: &[Op]) -> HashMap<Value, (usize, usize)> {
    let mut uses = HashMap::new();
    for (time, &kernel) in kernels.iter().enumerate() {
        for &buffer in &function.ops[kernel].operands {
            uses.entry(buffer).or_insert((time, time)).1 = time;
        }
    }
    uses
}

fn life(
    function: &Function,
    op: Op,
    uses: &HashMap<Value, (usize, usize)>,
    end: usize,
) -> Option<BufferLife> {
    let OpKind::Loop(LoopOp::Buffer(buffer)) = &function.ops[op].kind else { return None };
    let value = function.ops[op].results[0];
    let memref = function.ty(value).as_memref()?;
    let (first, last) = uses.get(&value).copied().unwrap_or((0, 0));
    let (first, last) = match buffer.role {
        Role::Input => (0, last),
        Role::Output => (first, end),
        Role::Activation | Role::Scratch => (first, last),
    };
    let (bytes, element_bytes) = (memref.size_bytes(), memref.element.size_bytes());
    Some(BufferLife { value, op, role: buffer.role, bytes, element_bytes, first, last })
}

fn in_place_pairs(function: &Function, kernels: &[Op], buffers: &[BufferLife]) -> Vec<InPlace> {
    let mut pairs = Vec::new();
    for (time, &kernel) in kernels.iter().enumerate() {
        let data = &function.ops[kernel];
        let OpKind::Loop(LoopOp::Kernel(head)) = &data.kind else { continue };
        for &[written, read] in &head.in_place {
            let find = |i: usize| buffers.iter().position(|b| data.operands.get(i) == Some(&b.value));
            let (Some(written), Some(read)) = (find(written), find(read)) else { continue };
            // The caller reads an output after the last kernel, so that one never hands its bytes over.
            let handed_over = buffers[written].first == time
                && buffers[read].last == time
                && buffers[read].role != Role::Output;
            if handed_over && buffers[written].bytes <= buffers[read].bytes {
                pairs.push(InPlace { written, read });
            }
        }
    }
    pairs
}
