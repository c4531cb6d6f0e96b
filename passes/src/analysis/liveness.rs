//! When the rows of buffers live: from the step that makes them to the last that reads them.
//!
//! Time is the position of a step in the function's [`Program`]. A buffer is divided into slots, one per row, that live from
//! the step that makes the row to the last that reads it. Rows of an input live from step 0, since the caller fills it
//! before; rows of an output live to the last step, since the caller reads it after. Very high tensors in one piece are
//! divided into slots of several rows, which is coarser but never wrong.

use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::ops::{Buffer, Kernel, Role};
use mcunet_ir::loops::program::Program;
use mcunet_ir::module::{Function, Op, OpKind, Value};
use std::collections::HashMap;
use std::ops::Range;

/// Slots that a buffer is divided into at most, unless its rows are scattered.
const MAX_SLOTS: usize = 256;

/// First and last step of a life.
pub type Interval = [usize; 2];

/// How many bytes live at each step, summed up life by life.
#[derive(Clone, Debug)]
pub struct LiveBytes {
    /// What each step adds to the sum of the one before.
    changes: Vec<i64>,
}

impl LiveBytes {
    /// Nothing lives during `steps` steps. Lives may end at the step after the last.
    pub fn none(steps: usize) -> Self {
        Self { changes: vec![0; steps + 2] }
    }

    /// Forgets all lives, for another number of steps.
    pub fn clear(&mut self, steps: usize) {
        self.changes.clear();
        self.changes.resize(steps + 2, 0);
    }

    /// Adds bytes that live from the first step of an interval to its last.
    pub fn add(&mut self, [first, last]: Interval, bytes: usize) {
        self.changes[first] += bytes as i64;
        self.changes[last + 1] -= bytes as i64;
    }

    /// Takes bytes out of a step in which they were counted twice.
    pub fn save(&mut self, step: usize, bytes: usize) {
        self.changes[step] -= bytes as i64;
        self.changes[step + 1] += bytes as i64;
    }

    /// The sum at every step.
    pub fn by_step(&self) -> impl Iterator<Item = usize> + '_ {
        let sums = self.changes.iter().scan(0, |sum, change| {
            *sum += change;
            Some(usize::try_from(*sum).unwrap_or(0))
        });
        sums.take(self.changes.len() - 1)
    }

    /// The greatest sum.
    pub fn peak(&self) -> usize {
        self.by_step().max().unwrap_or(0)
    }
}

/// A `loop.buffer` and the lives of its slots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BufferLife {
    /// The buffer.
    pub value: Value,
    /// The op that declares it.
    pub op: Op,
    /// What it is for.
    pub role: Role,
    /// Size of the tensor in bytes.
    pub bytes: usize,
    /// Whether every slot has a place of its own.
    pub scattered: bool,
    /// Size of an element in bytes: its natural alignment.
    pub element_bytes: usize,
    /// Size of a slot in bytes; the last one may be smaller.
    pub slot_bytes: usize,
    /// Intervals of every slot, sorted and disjoint.
    pub slots: Vec<Vec<Interval>>,
    /// First and last kernel that touches it, by position in the program; for inputs and outputs to the ends.
    pub kernels: [usize; 2],
}

impl BufferLife {
    /// First and last step at which any of it lives.
    pub fn span(&self) -> Interval {
        let first = self.slots.iter().filter_map(|lives| lives.first()).map(|life| life[0]).min();
        let last = self.slots.iter().filter_map(|lives| lives.last()).map(|life| life[1]).max();
        [first.unwrap_or(0), last.unwrap_or(0)]
    }

    /// Most slots that live at one step.
    pub fn most_slots(&self) -> usize {
        let lives = self.slots.iter().flatten();
        let mut live = LiveBytes::none(lives.clone().map(|life| life[1] + 1).max().unwrap_or(0));
        lives.for_each(|&life| live.add(life, 1));
        live.peak()
    }

    /// Bytes of a slot.
    pub fn bytes_of(&self, slot: usize) -> usize {
        self.slot_bytes.min(self.bytes.saturating_sub(slot * self.slot_bytes))
    }
}

/// Permission of buffer `written` to start at the same byte as buffer `read`, whose rows die as those of the former are
/// made.
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
    /// Kernels and steps.
    pub program: Program,
    /// Buffers in order of declaration.
    pub buffers: Vec<BufferLife>,
    /// Pairs that may share their first byte.
    pub in_place: Vec<InPlace>,
}

impl Liveness {
    /// Lives of the buffers of a lowered function.
    pub fn of(function: &Function) -> Self {
        let program = Program::of(function);
        let mut recorder = Recorder::new(function);
        for (time, step) in program.steps.iter().enumerate() {
            let head = program.head(function, step.kernel);
            recorder.step(
                time,
                step.kernel,
                step.row,
                head,
                &function.ops[program.kernels[step.kernel]].operands,
            );
        }
        let end = [program.kernels.len().saturating_sub(1), program.steps.len().saturating_sub(1)];
        let buffers = recorder.finish(end);
        let in_place = in_place_pairs(function, &program, &buffers);
        Self { program, buffers, in_place }
    }

    /// Bytes of all slots that live at each step, less what in-place pairs can save at it: no plan can be smaller than
    /// the greatest of these.
    pub fn least_bytes(&self) -> Vec<usize> {
        self.least_bytes_of(|_| true)
    }

    /// [`Self::least_bytes`] of some buffers, given by their positions.
    pub fn least_bytes_of(&self, counts: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut live = LiveBytes::none(self.program.steps.len());
        for (_, buffer) in self.buffers.iter().enumerate().filter(|&(index, _)| counts(index)) {
            for (slot, lives) in buffer.slots.iter().enumerate() {
                lives.iter().for_each(|&life| live.add(life, buffer.bytes_of(slot)));
            }
        }
        for pair in self.in_place.iter().filter(|pair| counts(pair.written) && counts(pair.read)) {
            self.count_savings(pair, &mut live);
        }
        live.by_step().take(self.program.steps.len().max(1)).collect()
    }

    /// At the step in which bytes of one buffer die and bytes of its partner are made, the smaller number of both counts
    /// once. This never underestimates what can be saved.
    fn count_savings(&self, pair: &InPlace, live: &mut LiveBytes) {
        let ends = |buffer: &BufferLife, end: usize| {
            let mut bytes: HashMap<usize, usize> = HashMap::new();
            for (slot, lives) in buffer.slots.iter().enumerate() {
                for life in lives {
                    *bytes.entry(life[end]).or_insert(0) += buffer.bytes_of(slot);
                }
            }
            bytes
        };
        let born = ends(&self.buffers[pair.written], 0);
        for (step, dying) in ends(&self.buffers[pair.read], 1) {
            if let Some(&made) = born.get(&step) {
                live.save(step, dying.min(made));
            }
        }
    }

    /// No plan can be smaller.
    pub fn lower_bound_bytes(&self) -> usize {
        self.least_bytes().into_iter().max().unwrap_or(0)
    }

    /// The step at which the lower bound is reached first.
    pub fn peak_step(&self) -> usize {
        let least = self.least_bytes();
        let bound = least.iter().copied().max().unwrap_or(0);
        least.iter().position(|&bytes| bytes == bound).unwrap_or(0)
    }

    /// The largest sum of live tensors over the kernels: what running layer by layer needs, without in-place.
    pub fn max_live_bytes(&self) -> usize {
        let live = |kernel: usize| {
            let lives = self.buffers.iter().filter(|b| b.kernels[0] <= kernel && kernel <= b.kernels[1]);
            lives.map(|buffer| buffer.bytes).sum()
        };
        (0..self.program.kernels.len().max(1)).map(live).max().unwrap_or(0)
    }

    /// Bytes of each buffer that live at a step, largest first.
    pub fn live_at(&self, step: usize) -> Vec<(&BufferLife, usize)> {
        let live = |buffer: &BufferLife| {
            let slots = buffer.slots.iter().enumerate();
            slots
                .filter(|(_, lives)| lives.iter().any(|life| life[0] <= step && step <= life[1]))
                .map(|(slot, _)| buffer.bytes_of(slot))
                .sum()
        };
        let mut found: Vec<(&BufferLife, usize)> = self
            .buffers
            .iter()
            .map(|buffer| (buffer, live(buffer)))
            .filter(|&(_, bytes)| bytes > 0)
            .collect();
        found.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
        found
    }
}

/// What is known of a buffer while steps are walked through.
struct Record<'f> {
    life: BufferLife,
    head: &'f Buffer,
    /// Elements of the tensor.
    elements: usize,
    /// Rows of the tensor, or parts of it where rows are too many.
    parts: usize,
    /// Life of every part so far.
    lives: Vec<Option<Interval>>,
    /// Lives of scratch memory.
    scratch: Vec<Interval>,
}

struct Recorder<'f> {
    records: Vec<Record<'f>>,
    by_value: HashMap<Value, usize>,
}

impl<'f> Recorder<'f> {
    fn new(function: &'f Function) -> Self {
        let mut records = Vec::new();
        for &op in &function.blocks[function.body].ops {
            let OpKind::Loop(LoopOp::Buffer(head)) = &function.ops[op].kind else { continue };
            let value = function.ops[op].results[0];
            let Some(memref) = function.ty(value).as_memref() else { continue };
            let (bytes, rows) = (memref.size_bytes(), head.rows.max(1));
            // Rows that don't divide the memory, or are too many, are taken together.
            let divides = bytes % rows == 0;
            let per_slot = match head.scattered {
                true => 1,
                false if divides => rows.div_ceil(MAX_SLOTS),
                false => rows,
            };
            let slot_bytes = if divides { bytes / rows * per_slot } else { bytes };
            let life = BufferLife {
                value,
                op,
                role: head.role,
                bytes,
                scattered: head.scattered,
                element_bytes: memref.element.size_bytes(),
                slot_bytes,
                slots: Vec::new(),
                kernels: [usize::MAX, 0],
            };
            let parts = rows.div_ceil(per_slot);
            let (elements, lives) = (memref.shape.elements(), vec![None; parts]);
            records.push(Record { life, head, elements, parts, lives, scratch: Vec::new() });
        }
        let by_value = records.iter().enumerate().map(|(i, record)| (record.life.value, i)).collect();
        Self { records, by_value }
    }

    fn step(&mut self, time: usize, kernel: usize, row: usize, head: &Kernel, operands: &[Value]) {
        for (i, operand) in operands.iter().enumerate() {
            let Some(&index) = self.by_value.get(operand) else { continue };
            let record = &mut self.records[index];
            let kernels = &mut record.life.kernels;
            *kernels = [kernels[0].min(kernel), kernels[1].max(kernel)];
            if record.head.role == Role::Scratch {
                record.scratch.push([time, time]);
                continue;
            }
            let view = head.view(i);
            let (rows, of) = if i < head.writes {
                let whole = head.rows == 1 || (view.is_none() && head.rows != record.head.rows);
                if whole { (0..1, 1) } else { (row..row + 1, head.rows) }
            } else {
                let need = head.need(i - head.writes);
                (need.span(row), need.rows())
            };
            let parts = match view {
                Some(view) => record.parts_of_elements(view.spans(rows, of)),
                None => record.parts_of(rows, of),
            };
            for life in &mut record.lives[parts] {
                life.get_or_insert([time, time])[1] = time;
            }
        }
    }

    fn finish(self, [last_kernel, last_step]: [usize; 2]) -> Vec<BufferLife> {
        let finish = |mut record: Record<'f>| {
            let role = record.head.role;
            if role == Role::Input {
                // What nobody reads must still be there to be filled.
                record.lives.iter_mut().for_each(|life| life.get_or_insert([0, 0])[0] = 0);
                record.life.kernels[0] = 0;
            }
            if role == Role::Output {
                record.lives.iter_mut().flatten().for_each(|life| life[1] = last_step);
                record.life.kernels[1] = last_kernel;
            }
            record.life.kernels[0] = record.life.kernels[0].min(record.life.kernels[1]);
            record.life.slots = record.slots();
            record.life
        };
        self.records.into_iter().map(finish).collect()
    }
}

impl Record<'_> {
    /// Parts that rows `span` of `rows` lie in.
    fn parts_of(&self, span: Range<usize>, rows: usize) -> Range<usize> {
        let rows = rows.max(1);
        let first = span.start * self.parts / rows;
        let end = (span.end * self.parts).div_ceil(rows);
        if span.is_empty() { 0..0 } else { first.min(self.parts)..end.min(self.parts) }
    }

    /// Parts that elements lie in, given in order.
    fn parts_of_elements(&self, mut spans: impl Iterator<Item = Range<usize>>) -> Range<usize> {
        let Some(first) = spans.next() else { return 0..0 };
        let end = spans.last().map_or(first.end, |last| last.end);
        self.parts_of(first.start..end, self.elements)
    }

    fn slots(&self) -> Vec<Vec<Interval>> {
        if self.head.role == Role::Scratch {
            return vec![merged(self.scratch.clone())];
        }
        self.lives.iter().map(|life| life.iter().copied().collect()).collect()
    }
}

/// Sorted intervals with those joined that touch.
pub fn merged(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable();
    let mut out: Vec<Interval> = Vec::new();
    for interval in intervals {
        match out.last_mut() {
            Some(last) if interval[0] <= last[1] + 1 => last[1] = last[1].max(interval[1]),
            _ => out.push(interval),
        }
    }
    out
}

fn in_place_pairs(function: &Function, program: &Program, buffers: &[BufferLife]) -> Vec<InPlace> {
    let mut pairs = Vec::new();
    for (index, &kernel) in program.kernels.iter().enumerate() {
        let operands = &function.ops[kernel].operands;
        for &[written, read] in &program.head(function, index).in_place {
            let find = |i: usize| buffers.iter().position(|b| operands.get(i) == Some(&b.value));
            let (Some(written), Some(read)) = (find(written), find(read)) else { continue };
            // The caller reads outputs after the last kernel.
            let outlives = buffers[read].role == Role::Output;
            let handed_over =
                !outlives && buffers[written].kernels[0] == index && buffers[read].kernels[1] == index;
            if handed_over && buffers[written].bytes <= buffers[read].bytes {
                pairs.push(InPlace { written, read });
            }
        }
    }
    pairs
}
