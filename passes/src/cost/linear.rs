//! Offsets as sums: so much of each value, and a literal.

use super::select::literal;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::module::{Function, Op, OpKind, Value};
use mcunet_ir::types::Type;
use std::collections::BTreeMap;

/// A sum of multiples of values and a literal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Linear {
    /// Values and their factors; none is 0.
    pub terms: BTreeMap<Value, i64>,
    /// What is added.
    pub constant: i64,
}

impl Linear {
    /// The value itself.
    pub fn value(value: Value) -> Self {
        Self { terms: BTreeMap::from([(value, 1)]), constant: 0 }
    }

    /// The sum with a multiple of another.
    #[must_use]
    pub fn plus(mut self, other: &Self, factor: i64) -> Self {
        for (&value, &by) in &other.terms {
            let sum = self.terms.entry(value).or_default();
            *sum = sum.saturating_add(by.saturating_mul(factor));
        }
        self.terms.retain(|_, by| *by != 0);
        self.constant = self.constant.saturating_add(other.constant.saturating_mul(factor));
        self
    }
}

/// Whether an op is arithmetic that addresses consist of: sums, differences and multiples by a literal.
pub fn is_address_arithmetic(function: &Function, op: Op) -> bool {
    let data = &function.ops[op];
    let OpKind::Loop(kind) = &data.kind else { return false };
    let is_i32 = data.results.first().is_some_and(|&result| *function.ty(result) == Type::I32);
    is_i32
        && match kind {
            LoopOp::Add(head) => !head.wrap,
            LoopOp::Sub(head) => !head.wrap,
            LoopOp::Mul(head) => {
                !head.wrap && data.operands.iter().any(|&value| literal(function, value).is_some())
            }
            _ => false,
        }
}

/// Sums of sums that are looked into. Kernels nest half as many; a text may nest any number, and each doubles the work.
const MAX_DEPTH: usize = 16;

/// A value as a sum of others, each replaced by what `represent` says.
pub fn linear(function: &Function, value: Value, represent: &dyn Fn(Value) -> Linear) -> Linear {
    sum(function, value, represent, MAX_DEPTH)
}

fn sum(function: &Function, value: Value, represent: &dyn Fn(Value) -> Linear, depth: usize) -> Linear {
    if let Some(constant) = literal(function, value) {
        return Linear { constant, ..Linear::default() };
    }
    let is_sum = |op: &Op| depth > 0 && is_address_arithmetic(function, *op);
    let Some(op) = function.defining_op(value).filter(is_sum) else {
        return represent(value);
    };
    let data = &function.ops[op];
    let [lhs, rhs] = [0, 1].map(|i| sum(function, data.operands[i], represent, depth - 1));
    match &data.kind {
        OpKind::Loop(LoopOp::Add(_)) => lhs.plus(&rhs, 1),
        OpKind::Loop(LoopOp::Sub(_)) => lhs.plus(&rhs, -1),
        _ if rhs.terms.is_empty() => Linear::default().plus(&lhs, rhs.constant),
        _ => Linear::default().plus(&rhs, lhs.constant),
    }
}
