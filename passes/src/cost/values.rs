//! Where values are computed: as far out as they can be, and once.
//!
//! A value varies in the loops that its operands vary in, and is computed in the innermost of them. In an unrolled loop it is
//! computed once for each copy of the body if it depends on the loop, else once for all.

use super::linear::is_address_arithmetic;
use super::mix::Mix;
use super::scope::find;
use super::select::{computation, literal};
use super::walk::Walk;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::module::{Block, Function, Op, OpKind, Value};
use mcunet_ir::types::{Scalar, Type};
use std::collections::BTreeMap;

/// In which loops a value varies.
#[derive(Clone, Debug, Default)]
pub struct Varies {
    /// Position of the innermost loop that was not unrolled.
    pub level: usize,
    /// Positions of unrolled loops, with their trips.
    pub copies: BTreeMap<usize, u64>,
}

impl Varies {
    /// In no loop further in.
    pub fn at(level: usize) -> Self {
        Self { level, copies: BTreeMap::new() }
    }

    /// In the loops of both.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.level = self.level.max(other.level);
        self.copies.extend(&other.copies);
        self
    }

    /// Values that there are of it for one iteration of its innermost loop.
    pub fn times(&self) -> u64 {
        self.copies.iter().filter(|&(&position, _)| position > self.level).map(|(_, &trips)| trips).product()
    }
}

impl Walk<'_> {
    /// In which loops a value varies.
    pub fn varies(&self, value: Value) -> Varies {
        self.variance.get(&value).cloned().unwrap_or_default()
    }

    /// The first of all values that are equal to this.
    pub fn representative(&self, value: Value) -> Value {
        self.representatives.get(&value).copied().unwrap_or(value)
    }

    /// Adds the instructions that compute a value.
    pub fn place(&mut self, varies: &Varies, mix: Mix) {
        let here = self.varies_here();
        if varies.level == here.level
            && here.copies.keys().all(|position| varies.copies.contains_key(position))
        {
            return self.add_here(mix);
        }
        let times = varies.times() as f64;
        let frame = &self.frames[varies.level];
        let (count, copies) = (frame.count * times, frame.copies * times);
        self.add(count, copies, mix);
    }

    /// Makes a value known to the blocks in which it exists.
    pub fn remember(&mut self, varies: &Varies, name: super::scope::Name, value: Value) {
        let position = varies.copies.keys().copied().chain([varies.level]).max().unwrap_or(0);
        if let Some(scope) = self.scopes.iter_mut().rev().find(|scope| scope.frame <= position) {
            scope.values.insert(name, value);
        }
    }

    /// A value that is computed from others.
    pub fn compute(&mut self, op: Op, kind: &LoopOp, single_test: bool) {
        let function = self.function;
        let data = &function.ops[op];
        let Some(&result) = data.results.first() else { return };
        if is_address_arithmetic(function, op) && !self.computed.contains(&result) {
            return;
        }
        let operands: Vec<Value> = data.operands.iter().map(|&value| self.representative(value)).collect();
        let varies = operands.iter().fold(Varies::default(), |all, &value| all.and(&self.varies(value)));
        self.variance.insert(result, varies.clone());
        let named = |&value: &Value| literal(function, value).ok_or(value);
        let name = (
            format!("{} {:?}", data.kind.name(), data.kind.attrs()),
            operands.iter().map(named).collect::<Vec<_>>(),
        );
        if let Some(known) = find(&self.scopes, &name) {
            self.representatives.insert(result, known);
            return;
        }
        self.remember(&varies, name, result);
        for &operand in &operands {
            self.read_outside(operand);
        }
        // What is made of literals and counters of unrolled loops is a literal itself.
        let is_literal = |&value: &Value| {
            literal(function, value).is_some()
                || self.frames.iter().any(|frame| {
                    frame.unrolled
                        && frame.induction == Some(value)
                        && frame.lower.is_some_and(|lower| literal(function, lower).is_some())
                })
        };
        if operands.iter().all(is_literal) && !varies.copies.is_empty() {
            return;
        }
        let mut mix = computation(function, op, kind, self.isa, self.is_fused(op, kind));
        if is_test(function, op, kind) && self.isa.dsp {
            self.segment += 1;
            // Code for multipliers that the test refuses, which is there but never runs.
            let copies = self.frames[varies.level].copies;
            self.add(0.0, copies, Mix::alu(14.0));
            if single_test {
                // The other way to multiply is computed ahead of the test.
                mix += Mix { alu: 3.0, long_multiplies: 1.0, taken: -1.0, untaken: 1.0, ..Mix::default() };
            }
        }
        self.place(&varies, mix);
    }

    /// Whether one multiplier of a table is all that a block tests.
    pub fn has_single_test(&self, block: Block) -> bool {
        let function = self.function;
        let tests = function.blocks[block].ops.iter().filter(|&&op| match &function.ops[op].kind {
            OpKind::Loop(kind) => is_test(function, op, kind),
            _ => false,
        });
        tests.count() == 1 && self.frames.len() > 1
    }

    /// Whether the only user of a result takes its operation in: a product that is added, an operand of a long product.
    fn is_fused(&self, op: Op, kind: &LoopOp) -> bool {
        let result = self.function.ops[op].results[0];
        let single = self.live.get(&result) == Some(&1) && *self.function.ty(result) != Type::F32;
        // `(x + 1) * w` becomes `x * w + w`.
        let is_next = self.function.ops[op].operands.iter().any(|&operand| self.is_next(operand));
        single && !is_next && matches!(kind, LoopOp::Mul(_) | LoopOp::Extend(_))
    }

    /// Whether a value is one more or one less than another.
    fn is_next(&self, value: Value) -> bool {
        let Some(op) = self.function.defining_op(value) else { return false };
        let data = &self.function.ops[op];
        let step = data.operands.get(1).and_then(|&by| literal(self.function, by));
        matches!(data.kind, OpKind::Loop(LoopOp::Add(_) | LoopOp::Sub(_))) && matches!(step, Some(1 | -1))
    }

    /// A value from further out takes a register in every loop on the way.
    pub fn read_outside(&mut self, value: Value) {
        if literal(self.function, value).is_some() || !is_integer(self.function, value) {
            return;
        }
        let varies = self.varies(value);
        for frame in self.frames.iter_mut().skip(varies.level + 1).filter(|frame| !frame.unrolled) {
            let outside = frame.needs.outside.entry(value).or_default();
            *outside = (varies.times() as usize, outside.1 + 1);
        }
    }
}

/// Whether a value takes a core register.
pub fn is_integer(function: &Function, value: Value) -> bool {
    !matches!(function.ty(value), Type::Scalar(Scalar::F32) | Type::MemRef(_) | Type::Tensor(_))
}

/// Whether an op tests the multiplier it is given, which a table holds.
fn is_test(function: &Function, op: Op, kind: &LoopOp) -> bool {
    matches!(kind, LoopOp::DoublingHighMul(_) | LoopOp::Requantize(_))
        && function.ops[op].operands.get(1).is_some_and(|&factor| literal(function, factor).is_none())
}
