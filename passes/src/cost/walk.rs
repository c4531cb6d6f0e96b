//! Walks the loops of one kernel and counts the instructions that the compiler makes of them.
//!
//! What is known of arm-none-eabi-gcc 12.2 -O3, from its assembly:
//! - What does not vary in a loop is computed before it, and what is computed already is not computed again ([`super::scope`]).
//! - Offsets become pointers ([`super::pointers`]).
//! - Innermost loops of few trips are unrolled ([`super::unroll`]).
//! - A loop ends with a comparison and a branch. The counter is dropped for a pointer that moves with it.
//! - What doesn't fit the registers lies on the stack ([`super::registers`]).
//!
//! Counts of executions come from [`super::count`].

use super::Isa;
use super::count::Counts;
use super::linear::{Linear, is_address_arithmetic, linear};
use super::mix::Mix;
use super::pointers::{Access, Group, Key};
use super::registers;
use super::scope::{Scope, find};
use super::select::{computation, literal};
use super::unroll::Unrolled;
use mcunet_ir::loops::{LoopOp, copies_onto_itself};
use mcunet_ir::module::{Block, Function, Op, OpKind, Value};
use mcunet_ir::types::{Packed, Scalar, Type};
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

/// Counts the instructions of `kernel`.
pub fn kernel(function: &Function, kernel: Op, calls: Calls, isa: &Isa) -> KernelMix {
    let counts = Counts::of(function, kernel, calls.rows);
    let body = function.ops[kernel].regions[0];
    let unrolled = Unrolled::of(function, body, &counts, isa);
    let mut walk = Walk {
        function,
        isa,
        counts: &counts,
        unrolled,
        live: HashMap::new(),
        computed: HashSet::new(),
        levels: HashMap::new(),
        representatives: HashMap::new(),
        frames: Vec::new(),
        scopes: Vec::new(),
        made: BTreeSet::new(),
        total: KernelMix::default(),
    };
    walk.collect_uses(body);
    walk.run(body, calls);
    walk.total
}

/// A loop that is being walked, or the function itself.
pub(super) struct Frame {
    /// Its induction variable.
    induction: Option<Value>,
    /// Where it starts.
    lower: Option<Value>,
    /// By how much it advances.
    step: i64,
    /// Whether it was unrolled: then it is no loop any more.
    unrolled: bool,
    /// Most trips.
    trips: u64,
    /// Executions of its body.
    count: f64,
    /// Entries.
    entries: f64,
    /// Copies of its body in the code.
    copies: f64,
    /// Memory that is accessed in it.
    groups: BTreeMap<Key, Group>,
    /// Whether a pointer moves with it.
    pub steps: bool,
    /// Whether its counter is computed with.
    counted: bool,
    /// Registers of pointers that it uses.
    pub pointers: usize,
    /// Registers of pointers that move with it.
    pub moved: usize,
    /// Values from outside that it computes with.
    pub outside: BTreeSet<Value>,
    /// Integers that it carries.
    pub carried: usize,
    /// Integers that are alive at once within one of its blocks.
    pub temporaries: usize,
    /// The most registers that a loop inside needs.
    pub inner: Option<usize>,
}

struct Walk<'f> {
    function: &'f Function,
    isa: &'f Isa,
    counts: &'f Counts,
    unrolled: Unrolled,
    /// Uses of values by operations that are not dead.
    live: HashMap<Value, usize>,
    /// Values that are used for more than addresses.
    computed: HashSet<Value>,
    /// Position of the innermost frame in which a value varies.
    levels: HashMap<Value, usize>,
    /// The first value of those that are equal.
    representatives: HashMap<Value, Value>,
    frames: Vec<Frame>,
    scopes: Vec<Scope>,
    /// Parts of addresses that are made already.
    made: BTreeSet<(Key, usize)>,
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
            let frame = Frame { induction: row, trips: calls.rows as u64, ..Frame::new(row, rows, 1.0) };
            self.frames.push(frame);
            self.scopes.push(Scope::new(1, Some(body)));
        }
        if let Some(row) = row {
            self.levels.insert(row, usize::from(loops));
        }
        self.block(body);
        if loops {
            self.scopes.pop();
            self.end_loop(0.0, true);
        }
        self.end_function();
    }

    /// Notes what is used, and for what; last ops first, so that dead ones use nothing.
    fn collect_uses(&mut self, block: Block) {
        let function = self.function;
        for &op in function.blocks[block].ops.iter().rev() {
            let data = &function.ops[op];
            let is_used = data.results.iter().any(|result| self.live.contains_key(result));
            if (data.regions.is_empty() && !data.results.is_empty() && !is_used) || copies_onto_itself(function, op) {
                continue;
            }
            for &region in &data.regions {
                self.collect_uses(region);
            }
            let addresses = is_address_arithmetic(function, op)
                && data.results.iter().all(|result| !self.computed.contains(result));
            for (index, &operand) in data.operands.iter().enumerate() {
                *self.live.entry(operand).or_default() += 1;
                if !addresses && offset_of(&data.kind) != Some(index) {
                    self.computed.insert(operand);
                }
            }
        }
    }

    fn add(&mut self, executions: f64, copies: f64, mix: Mix) {
        self.total.executed += mix * executions;
        self.total.code += mix * copies;
    }

    /// Adds instructions that the current block executes.
    fn add_here(&mut self, mix: Mix) {
        let scope = &self.scopes[self.scopes.len() - 1];
        let executions = scope.block.map_or(self.frames[0].count, |block| self.counts.block(block));
        let copies = self.frame().copies;
        self.add(executions, copies, mix);
    }

    /// Adds instructions to the frame at a level: to the current block if that is the innermost one.
    fn add_at(&mut self, level: usize, mix: Mix) {
        if level + 1 == self.frames.len() {
            return self.add_here(mix);
        }
        let Frame { count, copies, .. } = self.frames[level];
        self.add(count, copies, mix);
    }

    fn frame(&mut self) -> &mut Frame {
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn level(&self, value: Value) -> usize {
        self.levels.get(&value).copied().unwrap_or(0)
    }

    fn representative(&self, value: Value) -> Value {
        self.representatives.get(&value).copied().unwrap_or(value)
    }

    fn block(&mut self, block: Block) {
        let function = self.function;
        let temporaries = registers::temporaries(function, block, &self.computed);
        for frame in self.frames.iter_mut().rev() {
            frame.temporaries = frame.temporaries.max(temporaries);
            if !frame.unrolled {
                break;
            }
        }
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
                LoopOp::Copy(head) => self.move_bytes(data.operands[0], Some(data.operands[2]), head.count),
                LoopOp::Fill(head) => self.move_bytes(data.operands[1], None, head.count),
                LoopOp::Receive(_) => self.add_here(Mix { alu: 8.0, taken: 2.0, untaken: 1.0, ..Mix::default() }),
                _ if !is_used => {}
                LoopOp::Load(_) | LoopOp::LoadI8x4(_) | LoopOp::LoadI16x2(_) | LoopOp::Row(_) => self.load(op, kind),
                _ => self.compute(op, kind),
            }
        }
        let pairs = self.scopes[self.scopes.len() - 1].pairs();
        self.add_here(Mix { flash_loads: -2.0 * pairs, flash_pairs: pairs, ..Mix::default() });
    }

    /// A value that is computed from others.
    fn compute(&mut self, op: Op, kind: &LoopOp) {
        let function = self.function;
        let data = &function.ops[op];
        let Some(&result) = data.results.first() else { return };
        if is_address_arithmetic(function, op) && !self.computed.contains(&result) {
            return;
        }
        let operands: Vec<Value> = data.operands.iter().map(|&value| self.representative(value)).collect();
        let level = operands.iter().map(|&value| self.level(value)).max().unwrap_or(0);
        self.levels.insert(result, level);
        let attrs = format!("{} {:?}", data.kind.name(), data.kind.attrs());
        let literals = data.operands.iter().map(|&value| literal(function, value));
        let key = (attrs, operands.iter().copied().zip(literals).map(|(v, l)| l.map_or(Err(v), Ok)).collect::<Vec<_>>());
        if let Some(known) = find(&self.scopes, &key) {
            self.representatives.insert(result, known);
            return;
        }
        let scope = self.scopes.iter_mut().rev().find(|scope| scope.frame <= level);
        if let Some(scope) = scope {
            scope.values.insert(key, result);
        }
        for &operand in &operands {
            self.read_outside(operand);
        }
        let unrolled_literal = operands.iter().all(|&value| {
            literal(function, value).is_some() || self.frames.iter().any(|frame| frame.unrolled && frame.induction == Some(value))
        });
        if unrolled_literal && level > 0 {
            return;
        }
        let mix = computation(function, op, kind, self.isa, self.is_fused(op, kind));
        if matches!(kind, LoopOp::DoublingHighMul(_) | LoopOp::Requantize(_)) && mix.taken > 0.0 {
            // The table's entry is tested: what was one run of instructions is two.
            let last = self.scopes.len() - 1;
            self.scopes[last].segment += 1;
        }
        self.add_at(level, mix);
    }

    /// Whether the only user of a result takes its operation in: a product that is added, an operand of a long product.
    fn is_fused(&self, op: Op, kind: &LoopOp) -> bool {
        let function = self.function;
        let result = function.ops[op].results[0];
        if self.live.get(&result) != Some(&1) || *function.ty(result) == Type::F32 {
            return false;
        }
        matches!(kind, LoopOp::Mul(_) | LoopOp::Extend(_))
    }

    /// A value from further out takes a register in every loop on the way.
    fn read_outside(&mut self, value: Value) {
        if literal(self.function, value).is_some() || *self.function.ty(value) == Type::F32 {
            return;
        }
        let level = self.level(value);
        for frame in self.frames.iter_mut().skip(level + 1) {
            frame.outside.insert(value);
        }
    }

    // ---- memory

    /// Position of the innermost loop that is one, at or outside of `level`.
    fn real_frame(&self, level: usize) -> usize {
        (0..=level.min(self.frames.len() - 1)).rev().find(|&index| !self.frames[index].unrolled).unwrap_or(0)
    }

    /// An offset with induction variables of unrolled loops replaced, how far those make it reach, and the level of the
    /// innermost of them.
    fn offset(&self, value: Value) -> (Linear, i64, usize) {
        let represent = |value: Value| Linear::value(self.representative(value));
        let mut sum = linear(self.function, value, &represent);
        let (mut reach, mut level) = (0, 0);
        for (index, frame) in self.frames.iter().enumerate().rev().filter(|(_, frame)| frame.unrolled) {
            let Some(induction) = frame.induction else { continue };
            if let Some(factor) = sum.terms.remove(&induction) {
                level = level.max(index);
                reach += factor.abs() * frame.step * (frame.trips as i64 - 1).max(0);
                if let Some(lower) = frame.lower {
                    sum = sum.plus(&linear(self.function, lower, &represent), factor);
                }
            }
        }
        (sum, reach, level)
    }

    fn is_data(&self, memory: Value) -> bool {
        let definition = self.function.defining_op(memory);
        definition.is_some_and(|op| !matches!(self.function.ops[op].kind, OpKind::Loop(LoopOp::Buffer(_))))
    }

    fn element_bytes(&self, memory: Value) -> i64 {
        self.function.ty(memory).as_memref().map_or(1, |ty| ty.element.size_bytes() as i64)
    }

    /// Notes an access and returns the level at which its address varies.
    fn access(&mut self, memory: Value, offset: Value, kind: Access) -> (Key, i64, usize) {
        let (sum, reach, unrolled) = self.offset(offset);
        let level = sum.terms.keys().map(|&term| self.level(term)).max().unwrap_or(0).max(unrolled);
        let home = if kind.constant { level } else { self.frames.len() - 1 };
        let at = self.real_frame(home);
        let bytes = kind.element_bytes;
        let (first, last) = (sum.constant * bytes, (sum.constant + reach) * bytes);
        let key = Key { memory, terms: sum.terms.into_iter().collect() };
        self.frames[at].groups.entry(key.clone()).or_insert_with(|| Group::new(kind)).add(first, last, kind);
        (key, first, level)
    }

    fn load(&mut self, op: Op, kind: &LoopOp) {
        let function = self.function;
        let data = &function.ops[op];
        let [memory, offset] = data.operands[..] else { return };
        let result = data.results[0];
        let row = matches!(kind, LoopOp::Row(_));
        let lanes = matches!(function.ty(result), Type::Packed(Packed::I8x4 | Packed::I16x2));
        let constant = row || self.is_data(memory);
        // Tables of rows have entries of two bytes.
        let element_bytes = if row { 2 } else { self.element_bytes(memory) };
        let access = Access { constant, plain: !lanes, element_bytes };
        let (key, first, level) = self.access(memory, offset, access);
        let innermost = self.frames.len() - 1;
        let level = if constant { level } else { innermost };
        self.levels.insert(result, level);
        let long = *function.ty(result) == Type::I64;
        if constant {
            let name = (format!("{key:?} {first}"), Vec::new());
            if let Some(known) = find(&self.scopes, &name) {
                self.representatives.insert(result, known);
                return;
            }
            let scope = self.scopes.iter_mut().rev().find(|scope| scope.frame <= level);
            if let Some(scope) = scope {
                scope.values.insert(name, result);
                if element_bytes == 4 || lanes {
                    scope.words.push((scope.segment, key, first));
                }
            }
        }
        let words = if long { 2.0 } else { 1.0 };
        let mix = match constant {
            true => Mix { flash_loads: words, ..Mix::default() },
            false => Mix { ram_loads: words, ..Mix::default() },
        };
        self.add_at(level, mix);
    }

    fn store(&mut self, op: Op) {
        let [value, memory, offset] = self.function.ops[op].operands[..] else { return };
        let element_bytes = self.element_bytes(memory);
        self.access(memory, offset, Access { constant: false, plain: true, element_bytes });
        let value = self.representative(value);
        self.read_outside(value);
        let words = if element_bytes > 4 { 2.0 } else { 1.0 };
        self.add_here(Mix { ram_stores: words, ..Mix::default() });
    }

    /// A call of memmove or memset: words in a loop of four, bytes if they are no words.
    fn move_bytes(&mut self, source: Value, target: Option<Value>, count: usize) {
        let bytes = count as i64 * self.element_bytes(source);
        let loads = if target.is_some() { 1.0 } else { 0.0 };
        let (units, unit) = if bytes % 4 == 0 { (bytes / 4, 4.0) } else { (bytes, 1.0) };
        let units = units as f64;
        let per_unit = if unit > 1.0 { 0.25 } else { 1.0 };
        self.add_here(Mix {
            alu: 16.0 + 3.0 * units * per_unit,
            ram_loads: loads * units,
            ram_stores: units,
            taken: 3.0 + units * per_unit,
            untaken: 4.0,
            surprises: 2.0,
            ..Mix::default()
        });
    }

    // ---- control

    fn if_else(&mut self, op: Op) {
        let data = &self.function.ops[op];
        let [then, otherwise] = data.regions[..] else { return };
        let [taken, skipped] = [then, otherwise].map(|region| self.counts.block(region));
        let copies = self.frame().copies;
        let has_else = self.function.blocks[otherwise].ops.len() > 1;
        // Over the first part, and from its end over the second.
        let jumps = skipped + if has_else { taken } else { 0.0 };
        let branches = Mix { untaken: taken, taken: jumps, surprises: taken.min(skipped), ..Mix::default() };
        self.add(1.0, 0.0, branches);
        self.add(0.0, copies, Mix { untaken: 1.0, taken: f64::from(u8::from(has_else)), ..Mix::default() });
        let innermost = self.frames.len() - 1;
        for region in [then, otherwise] {
            self.scopes.push(Scope::new(innermost, Some(region)));
            self.block(region);
            self.scopes.pop();
        }
        for &result in &data.results {
            self.levels.insert(result, innermost);
        }
    }

    fn for_loop(&mut self, op: Op, step: i64) {
        let function = self.function;
        let data = &function.ops[op];
        let body = data.regions[0];
        let Some((&induction, carried)) = function.blocks[body].args.split_first() else { return };
        let [lower, upper] = [0, 1].map(|i| self.representative(data.operands[i]));
        let unrolled = self.unrolled.contains(op);
        let fixed = literal(function, lower).is_some() && literal(function, upper).is_some();
        let trips = self.counts.most_trips(op);
        let copies = self.frame().copies * if unrolled { trips as f64 } else { 1.0 };
        let is_integer = |value: &&Value| *function.ty(**value) != Type::F32;
        let frame = Frame {
            step,
            unrolled,
            trips,
            copies,
            lower: Some(lower),
            carried: carried.iter().filter(is_integer).count(),
            counted: self.computed.contains(&induction),
            ..Frame::new(Some(induction), self.counts.block(body), self.counts.entries(op))
        };
        for &bound in [lower, upper].iter().filter(|_| !fixed) {
            self.read_outside(bound);
        }
        let level = self.frames.len();
        self.frames.push(frame);
        self.scopes.push(Scope::new(level, Some(body)));
        let outer = if unrolled { self.level(lower) } else { level };
        self.levels.insert(induction, if unrolled { outer.max(level) } else { level });
        for &value in carried {
            self.levels.insert(value, level);
        }
        self.block(body);
        self.scopes.pop();
        if unrolled {
            self.end_unrolled(self.counts.skips(op), fixed);
        } else {
            self.end_loop(self.counts.skips(op), fixed);
        }
        // After the loop, its results vary as whatever is around.
        for &result in &data.results {
            self.levels.insert(result, level - 1);
        }
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
        parent.carried = parent.carried.max(frame.carried);
        parent.inner = parent.inner.max(frame.inner);
    }

    fn end_loop(&mut self, skips: f64, fixed: bool) {
        self.settle_pointers();
        let Some(frame) = self.frames.pop() else { return };
        let Frame { count, entries, copies, .. } = frame;
        let counter = if frame.steps && !frame.counted { 0.0 } else { 1.0 };
        let control = Mix { alu: count * (1.0 + counter), taken: count - entries, untaken: entries, ..Mix::default() };
        let surprises = if count > entries { entries } else { 0.0 };
        self.add(1.0, 0.0, Mix { surprises, ..control });
        self.add(0.0, copies, Mix { alu: 1.0 + counter, untaken: 1.0, ..Mix::default() });
        if !fixed {
            self.add(1.0, 0.0, Mix { alu: entries + skips, untaken: entries, taken: skips, ..Mix::default() });
            self.add(0.0, copies, Mix { alu: 1.0, untaken: 1.0, ..Mix::default() });
        }
        let use_of = registers::fit(&frame, self.isa.registers);
        self.add(count, copies, use_of.spills);
        let parent = self.frame();
        parent.inner = parent.inner.max(Some(use_of.registers));
    }

    fn end_function(&mut self) {
        self.settle_pointers();
        self.scopes.pop();
        self.frames.pop();
    }

    /// Decides how the addresses of the innermost frame are made.
    fn settle_pointers(&mut self) {
        let at = self.frames.len() - 1;
        let groups = std::mem::take(&mut self.frames[at].groups);
        for (key, group) in groups {
            let pointers = group.pointers();
            self.frames[at].pointers += pointers;
            let levels: Vec<usize> = key.terms.iter().map(|&(term, _)| self.level(term)).collect();
            if levels.iter().all(|&level| level == 0) && self.made.insert((key.clone(), 0)) {
                let Frame { count, copies, .. } = self.frames[0];
                // The address of a constant is a literal in the code, that of a buffer a sum.
                self.add(count, copies, Mix { flash_loads: 1.0, alu: key.terms.len() as f64, ..Mix::default() });
            }
            for level in 1..=at {
                if !levels.contains(&level) {
                    continue;
                }
                let terms = key.terms.iter().zip(&levels).filter(|&(_, &at)| at <= level).map(|(&term, _)| term);
                let part = Key { memory: key.memory, terms: terms.collect() };
                let here: Vec<(Value, i64)> =
                    key.terms.iter().zip(&levels).filter(|&(_, &at)| at == level).map(|(&term, _)| term).collect();
                if !self.made.insert((part, level)) {
                    continue;
                }
                let frame = &self.frames[level];
                let (count, copies, entries) = (frame.count, frame.copies, frame.entries);
                let affine = here.len() == 1 && Some(here[0].0) == frame.induction && !frame.unrolled;
                let each = Mix::alu(pointers as f64);
                if affine {
                    let step = here[0].1 * frame.step * group.access.element_bytes;
                    // The access itself moves the pointer.
                    let free = level == at && group.moves_itself(step);
                    if !free {
                        self.add(count, copies, each);
                    }
                    self.add(entries, copies, each);
                    self.frames[level].steps = true;
                    self.frames[level].moved += pointers;
                } else {
                    self.add(count, copies, each * here.len() as f64);
                }
            }
        }
    }
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
            pointers: 0,
            moved: 0,
            outside: BTreeSet::new(),
            carried: 0,
            temporaries: 0,
            inner: None,
        }
    }
}

/// Which operand of an op is an offset.
fn offset_of(kind: &OpKind) -> Option<usize> {
    match kind {
        OpKind::Loop(LoopOp::Load(_) | LoopOp::LoadI8x4(_) | LoopOp::LoadI16x2(_) | LoopOp::Row(_)) => Some(1),
        OpKind::Loop(LoopOp::Store(_)) => Some(2),
        _ => None,
    }
}

/// Whether a value takes a core register.
pub(super) fn is_integer(function: &Function, value: Value) -> bool {
    !matches!(function.ty(value), Type::Scalar(Scalar::F32) | Type::MemRef(_) | Type::Tensor(_))
}
