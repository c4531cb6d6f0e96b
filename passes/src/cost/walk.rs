//! Walks the loops of one kernel and counts the instructions that the compiler makes of them.
//!
//! What is known of arm-none-eabi-gcc 12.2 -O3, from its assembly:
//! - What does not vary in a loop is computed before it, and what is computed already is not computed again
//!   ([`super::values`]).
//! - Offsets become pointers ([`super::accesses`], [`super::pointers`]).
//! - Innermost loops of few trips are unrolled ([`super::unroll`]).
//! - A loop ends with a comparison and a branch. The counter is dropped for a pointer that moves with it.
//! - What doesn't fit the registers lies on the stack ([`super::registers`]).
//!
//! Executions come from [`super::count`].

use super::Isa;
use super::count::Counts;
use super::depthwise;
use super::linear::is_address_arithmetic;
use super::matmul::{self, Widening};
use super::mix::Mix;
use super::pointers::{Group, Key};
use super::registers::{self, Needs};
use super::scope::Scope;
use super::select::literal;
use super::unroll::Unrolled;
use super::values::Varies;
use mcunet_ir::loops::ops::Depthwise;
use mcunet_ir::loops::{LoopOp, copies_onto_itself};
use mcunet_ir::module::{Block, Function, Op, OpKind, Value};
use mcunet_ir::types::{Scalar, Type};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Instructions of a kernel over all its rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelMix {
    /// Those that are executed.
    pub executed: Mix,
    /// Those that there are.
    pub code: Mix,
}

/// How a kernel is called.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// Rows that it makes.
    pub rows: usize,
    /// Whether it is called for each row; else it is called once.
    pub per_row: bool,
}

/// Counts the instructions of `kernel`; `shared` is the function as it is with kernels that share functions.
pub fn kernel(
    function: &Function,
    shared: Option<&Function>,
    kernel: Op,
    calls: Calls,
    isa: &Isa,
) -> KernelMix {
    let counts = Counts::of(function, kernel, calls.rows);
    let body = function.ops[kernel].regions[0];
    let unrolled = match shared {
        // How often a loop runs is not known to the compiler.
        Some(shared) => Unrolled::of(shared, body, &Counts::of(shared, kernel, calls.rows)),
        None => Unrolled::of(function, body, &counts),
    };
    let mut walk = Walk {
        function: shared.unwrap_or(function),
        apart: function,
        isa,
        counts: &counts,
        unrolled,
        live: HashMap::new(),
        computed: HashSet::new(),
        variance: HashMap::new(),
        representatives: HashMap::new(),
        frames: Vec::new(),
        scopes: Vec::new(),
        made: BTreeSet::new(),
        segment: 0,
        total: KernelMix::default(),
    };
    walk.collect_uses(body);
    walk.run(body, calls);
    walk.total
}

/// A loop that is being walked, or the function itself.
pub(super) struct Frame {
    /// Its induction variable.
    pub induction: Option<Value>,
    /// Where it starts.
    pub lower: Option<Value>,
    /// By how much it advances.
    pub step: i64,
    /// Whether it was unrolled: then it is no loop any more.
    pub unrolled: bool,
    /// Most trips.
    pub trips: u64,
    /// Executions of its body.
    pub count: f64,
    /// Entries that make a trip.
    pub entries: f64,
    /// Copies of its body in the code.
    pub copies: f64,
    /// Memory that is accessed in it.
    pub groups: BTreeMap<Key, Group>,
    /// Whether a pointer moves with it.
    pub steps: bool,
    /// Whether its counter is computed with.
    pub counted: bool,
    /// The registers it needs.
    pub needs: Needs,
}

impl Frame {
    fn new(induction: Option<Value>, count: f64, entries: f64) -> Self {
        Self {
            induction,
            lower: None,
            step: 1,
            unrolled: false,
            trips: 0,
            count,
            entries,
            copies: 1.0,
            groups: BTreeMap::new(),
            steps: false,
            counted: false,
            needs: Needs::default(),
        }
    }
}

/// The state of the walk. Its parts are in several files: control here, values and memory in [`super::values`] and
/// [`super::accesses`].
pub(super) struct Walk<'f> {
    pub function: &'f Function,
    /// The function with the numbers that kernels do not share.
    apart: &'f Function,
    pub isa: &'f Isa,
    pub counts: &'f Counts,
    unrolled: Unrolled,
    /// Uses of values by operations that are not dead.
    pub live: HashMap<Value, usize>,
    /// Values that are used for more than addresses.
    pub computed: HashSet<Value>,
    /// In which loops values vary.
    pub variance: HashMap<Value, Varies>,
    /// The first value of those that are equal.
    pub representatives: HashMap<Value, Value>,
    /// Loops around, from the function on.
    pub frames: Vec<Frame>,
    /// Blocks around.
    pub scopes: Vec<Scope>,
    /// Parts of addresses that are made already.
    pub made: BTreeSet<(Key, usize)>,
    /// Number of the run of instructions without a branch.
    pub segment: usize,
    total: KernelMix,
}

impl<'f> Walk<'f> {
    fn run(&mut self, body: Block, calls: Calls) {
        let rows = calls.rows as f64;
        let times = if calls.per_row { rows } else { 1.0 };
        self.frames.push(Frame::new(None, times, times));
        self.scopes.push(Scope::new(0, None));
        // Nine registers are saved and restored; the stack pointer moves twice.
        self.add(times, 1.0, Mix { saved_words: 18.0, alu: 4.0, ..Mix::default() });
        let row = self.function.blocks[body].args.first().copied();
        let loops = !calls.per_row && calls.rows > 1;
        if loops {
            self.frames.push(Frame { trips: calls.rows as u64, ..Frame::new(row, rows, 1.0) });
            self.scopes.push(Scope::new(1, Some(body)));
        }
        if let Some(row) = row {
            self.variance.insert(row, Varies::at(usize::from(loops)));
        }
        self.block(body);
        if loops {
            self.scopes.pop();
            self.end_loop(0.0, true);
        }
        self.settle_pointers();
    }

    /// Notes what is used, and for what; last ops first, so that dead ones use nothing.
    fn collect_uses(&mut self, block: Block) {
        let function = self.function;
        for &op in function.blocks[block].ops.iter().rev() {
            let data = &function.ops[op];
            let is_used = data.results.iter().any(|result| self.live.contains_key(result));
            let is_dead = data.regions.is_empty() && !data.results.is_empty() && !is_used;
            if is_dead || copies_onto_itself(function, op) {
                continue;
            }
            for &region in &data.regions {
                self.collect_uses(region);
            }
            let is_address = is_address_arithmetic(function, op)
                && data.results.iter().all(|result| !self.computed.contains(result));
            for (index, &operand) in data.operands.iter().enumerate() {
                *self.live.entry(operand).or_default() += 1;
                if !is_address && offset_of(&data.kind) != Some(index) {
                    self.computed.insert(operand);
                }
            }
        }
    }

    /// Adds instructions that are executed so often and stand so often in the code.
    pub fn add(&mut self, executions: f64, copies: f64, mix: Mix) {
        self.total.executed += mix * executions;
        self.total.code += mix * copies;
    }

    /// Adds instructions that the current block executes.
    pub fn add_here(&mut self, mix: Mix) {
        let (executions, copies) = (self.executions_here(), self.frame().copies);
        self.add(executions, copies, mix);
    }

    /// Executions of the current block.
    pub fn executions_here(&self) -> f64 {
        let block = self.scopes.last().and_then(|scope| scope.block);
        block.map_or(self.frames[0].count, |block| self.counts.block(block))
    }

    /// The loop around, unrolled or not.
    pub fn frame(&mut self) -> &mut Frame {
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// Position of the innermost loop that was not unrolled, at or outside of `position`.
    pub fn real_frame(&self, position: usize) -> usize {
        (0..=position).rev().find(|&index| !self.frames[index].unrolled).unwrap_or(0)
    }

    /// Position of the innermost loop that was not unrolled.
    pub fn innermost(&self) -> usize {
        self.real_frame(self.frames.len() - 1)
    }

    /// What changes with every execution of the current block.
    pub fn varies_here(&self) -> Varies {
        let level = self.innermost();
        let copies = (level + 1..self.frames.len()).map(|index| (index, self.frames[index].trips));
        Varies { level, copies: copies.collect() }
    }

    fn block(&mut self, block: Block) {
        let function = self.function;
        let temporaries = registers::temporaries(function, block, &self.computed);
        let innermost = self.innermost();
        let needs = &mut self.frames[innermost].needs;
        needs.temporaries = needs.temporaries.max(temporaries);
        let single_test = self.has_single_test(block);
        for &op in &function.blocks[block].ops {
            let data = &function.ops[op];
            let OpKind::Loop(kind) = &data.kind else { continue };
            let is_used = data.results.iter().any(|result| self.live.contains_key(result));
            match kind {
                LoopOp::For(head) => self.for_loop(op, head.step.into()),
                LoopOp::If(_) => self.if_else(op),
                LoopOp::Yield(_) | LoopOp::Const(_) | LoopOp::Data(_) | LoopOp::Buffer(_) => {}
                LoopOp::Store(_) => self.store(op),
                LoopOp::Copy(_) if copies_onto_itself(function, op) => {}
                LoopOp::Copy(head) => self.move_bytes(data.operands[0], true, head.count),
                LoopOp::Fill(head) => self.move_bytes(data.operands[1], false, head.count),
                LoopOp::Widen(head) => {
                    let apart = &self.apart.ops[op].operands;
                    let [first, end] = [2, 3].map(|i| literal(self.apart, apart[i]));
                    let is_whole = first == Some(0) && end == Some(head.count as i64);
                    let count = literal(function, data.operands[3]).map(|_| head.count);
                    let widening = Widening::of(is_whole, head.step, count);
                    let (executions, copies) = (self.executions_here(), self.frame().copies);
                    self.add(executions, 0.0, matmul::widen(head, widening));
                    self.add(0.0, copies, widening.code(head));
                }
                // The function is shared by layers; its call is not.
                LoopOp::Matmul(head) => {
                    let inputs = function.ty(data.operands[1]).as_memref();
                    let narrow = inputs.is_some_and(|inputs| inputs.element == Scalar::I8);
                    let (executions, copies) = (self.executions_here(), self.frame().copies);
                    self.add(executions, 0.0, matmul::matmul(head, narrow));
                    self.add(0.0, copies, matmul::call());
                }
                LoopOp::Depthwise(head) => {
                    let rows = Depthwise::rows(&data.operands).len();
                    let (executions, copies) = (self.executions_here(), self.frame().copies);
                    let there = self.counts.window_rows(op) / executions.max(1.0);
                    self.add(executions, 0.0, depthwise::row(head, rows, there));
                    self.add(0.0, copies, matmul::call());
                }
                // The call; what the caller does is not counted.
                LoopOp::Receive(_) => {
                    self.add_here(Mix { alu: 8.0, taken: 2.0, untaken: 1.0, ..Mix::default() });
                }
                _ if !is_used => {}
                LoopOp::Load(_) | LoopOp::LoadI8x4(_) | LoopOp::LoadI16x2(_) | LoopOp::Row(_) => {
                    self.load(op, kind);
                }
                _ => self.compute(op, kind, single_test),
            }
        }
        let pairs = self.scopes.last().map_or(0.0, Scope::pairs);
        self.add_here(Mix { flash_loads: -2.0 * pairs, flash_pairs: pairs, ..Mix::default() });
    }

    fn if_else(&mut self, op: Op) {
        let data = &self.function.ops[op];
        let [then, otherwise] = data.regions[..] else { return };
        let [taken, skipped] = [then, otherwise].map(|region| self.counts.block(region));
        let copies = self.frame().copies;
        let has_else = self.function.blocks[otherwise].ops.len() > 1;
        // Over the first part, and from its end over the second.
        let jumps = skipped + if has_else { taken } else { 0.0 };
        let surprises = taken.min(skipped);
        self.add(1.0, 0.0, Mix { untaken: taken, taken: jumps, surprises, ..Mix::default() });
        let jumps = if has_else { 1.0 } else { 0.0 };
        self.add(0.0, copies, Mix { untaken: 1.0, taken: jumps, ..Mix::default() });
        let position = self.frames.len() - 1;
        for region in [then, otherwise] {
            self.scopes.push(Scope::new(position, Some(region)));
            self.block(region);
            self.scopes.pop();
        }
        self.define_here(&data.results);
    }

    /// Results vary as whatever is around.
    fn define_here(&mut self, results: &[Value]) {
        let varies = self.varies_here();
        self.variance.extend(results.iter().map(|&result| (result, varies.clone())));
    }

    fn for_loop(&mut self, op: Op, step: i64) {
        let function = self.function;
        let data = &function.ops[op];
        let body = data.regions[0];
        let Some((&induction, carried)) = function.blocks[body].args.split_first() else { return };
        let [lower, upper] = [0, 1].map(|i| self.representative(data.operands[i]));
        let unrolled = self.unrolled.contains(op);
        let fixed = [lower, upper].iter().all(|&bound| literal(function, bound).is_some());
        let trips = self.counts.most_trips(op);
        let copies = self.frame().copies * if unrolled { trips as f64 } else { 1.0 };
        let mut frame = Frame {
            step,
            unrolled,
            trips,
            copies,
            lower: Some(lower),
            counted: self.computed.contains(&induction),
            ..Frame::new(Some(induction), self.counts.block(body), self.counts.entries(op))
        };
        frame.needs.carried = carried.iter().filter(|&&value| *function.ty(value) != Type::F32).count();
        if !fixed {
            self.read_outside(lower);
            self.read_outside(upper);
        }
        let position = self.frames.len();
        self.frames.push(frame);
        self.scopes.push(Scope::new(position, Some(body)));
        let varies = self.varies_here();
        for &value in [induction].iter().chain(carried) {
            self.variance.insert(value, varies.clone());
        }
        self.block(body);
        self.scopes.pop();
        let skips = self.counts.skips(op);
        if unrolled {
            self.end_unrolled(skips, fixed);
        } else {
            self.end_loop(skips, fixed);
            // Two accumulators that start with the same value do so in two registers.
            let inits: BTreeSet<Value> = data.operands[2..].iter().copied().collect();
            let moves = (data.operands.len() - 2 - inits.len()) as f64;
            self.add(self.counts.entries(op), self.frames[position - 1].copies, Mix::alu(moves));
        }
        self.define_here(&data.results);
    }

    /// Copies of the body that may not all run are each preceded by a test.
    fn end_unrolled(&mut self, skips: f64, fixed: bool) {
        let Some(frame) = self.frames.pop() else { return };
        if !fixed {
            let tests = Mix { alu: 1.0, untaken: 1.0, ..Mix::default() };
            self.add(frame.count, frame.copies, tests);
            let ends = Mix { alu: 1.0, taken: 1.0, surprises: 0.5, ..Mix::default() };
            self.add(frame.entries + skips, 0.0, ends);
        }
        let parent = self.frame();
        parent.needs.carried = parent.needs.carried.max(frame.needs.carried);
    }

    fn end_loop(&mut self, skips: f64, fixed: bool) {
        self.settle_pointers();
        let Some(frame) = self.frames.pop() else { return };
        let Frame { count, entries, copies, .. } = frame;
        let counter = if frame.steps && !frame.counted { 0.0 } else { 1.0 };
        let control =
            Mix { alu: count * (1.0 + counter), taken: count - entries, untaken: entries, ..Mix::default() };
        let surprises = if count > entries { entries } else { 0.0 };
        self.add(1.0, 0.0, Mix { surprises, ..control });
        self.add(0.0, copies, Mix { alu: 1.0 + counter, untaken: 1.0, ..Mix::default() });
        if !fixed {
            let guard = Mix { alu: entries + skips, untaken: entries, taken: skips, ..Mix::default() };
            self.add(1.0, 0.0, guard);
            self.add(0.0, copies, Mix { alu: 1.0, untaken: 1.0, ..Mix::default() });
        }
        let (registers, spills) = frame.needs.fit(self.isa.registers);
        self.add(count, copies, spills);
        let around = self.innermost();
        let inner = &mut self.frames[around].needs.inner;
        *inner = (*inner).max(Some(registers));
    }
}

/// Which operand of an op is an offset.
fn offset_of(kind: &OpKind) -> Option<usize> {
    match kind {
        OpKind::Loop(LoopOp::Load(_) | LoopOp::LoadI8x4(_) | LoopOp::LoadI16x2(_) | LoopOp::Row(_)) => {
            Some(1)
        }
        OpKind::Loop(LoopOp::Store(_)) => Some(2),
        _ => None,
    }
}
