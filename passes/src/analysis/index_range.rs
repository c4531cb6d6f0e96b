//! What values integers can have: intervals, as far as addresses and bounds of loops need them.
//!
//! Interval arithmetic over sums, products, quotients, `min`, `max` and `select`; of anything else nothing is known.

use mcunet_ir::attr::Number;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::module::{Function, Op, Value};
use std::collections::HashMap;

/// Least and greatest value of an integer.
pub type Range = [i64; 2];

/// What an i32 of which nothing is known may be.
pub const ANY: Range = [i32::MIN as i64, i32::MAX as i64];

/// Ranges of the values seen so far.
#[derive(Clone, Default, Debug)]
pub struct Ranges(HashMap<Value, Range>);

impl Ranges {
    /// What a value may be.
    pub fn of(&self, value: Value) -> Range {
        self.0.get(&value).copied().unwrap_or(ANY)
    }

    /// Notes what a value may be.
    pub fn set(&mut self, value: Value, range: Range) {
        self.0.insert(value, range.map(|bound| bound.clamp(ANY[0], ANY[1])));
    }

    /// Notes what the result of an operation may be, if that is known.
    pub fn note(&mut self, function: &Function, op: Op, kind: &LoopOp) {
        if let (&[result], Some(range)) = (&function.ops[op].results[..], self.evaluate(function, op, kind)) {
            self.set(result, range);
        }
    }

    /// Notes what the induction variable of a loop may be, and says how often the loop runs at most.
    pub fn enter_loop(&mut self, function: &Function, op: Op, step: u32) -> u64 {
        let data = &function.ops[op];
        let [lower, upper] = [0, 1].map(|i| self.of(data.operands[i]));
        if let Some(&induction) = function.blocks[data.regions[0]].args.first() {
            self.set(induction, [lower[0], (upper[1] - 1).max(lower[0])]);
        }
        trips(lower, upper, step.into())
    }

    fn evaluate(&self, function: &Function, op: Op, kind: &LoopOp) -> Option<Range> {
        let operands = &function.ops[op].operands;
        let arg = |i: usize| self.of(operands[i]);
        match kind {
            LoopOp::Const(head) => match head.value {
                Number::Int(value) => Some([value, value]),
                Number::Real(_) => None,
            },
            LoopOp::Add(_) => Some([0, 1].map(|end| arg(0)[end] + arg(1)[end])),
            LoopOp::Sub(_) => Some([0, 1].map(|end| arg(0)[end] - arg(1)[1 - end])),
            LoopOp::Mul(_) => Some(corners(arg(0), arg(1), |a, b| a.saturating_mul(b))),
            LoopOp::Div(_) if arg(1)[0] > 0 => Some(corners(arg(0), arg(1), |a, b| a / b)),
            LoopOp::Min(_) => Some([0, 1].map(|end| arg(0)[end].min(arg(1)[end]))),
            LoopOp::Max(_) => Some([0, 1].map(|end| arg(0)[end].max(arg(1)[end]))),
            LoopOp::Select(_) => Some([arg(1)[0].min(arg(2)[0]), arg(1)[1].max(arg(2)[1])]),
            _ => None,
        }
    }
}

/// Range of a function that is monotonic in each of its arguments.
fn corners(a: Range, b: Range, f: impl Fn(i64, i64) -> i64) -> Range {
    let values = [f(a[0], b[0]), f(a[0], b[1]), f(a[1], b[0]), f(a[1], b[1])];
    [values.into_iter().min().unwrap_or(ANY[0]), values.into_iter().max().unwrap_or(ANY[1])]
}

/// Most trips of a loop whose bounds lie in ranges.
fn trips(lower: Range, upper: Range, step: i64) -> u64 {
    u64::try_from((upper[1] - lower[0]).max(0)).unwrap_or(0).div_ceil(u64::try_from(step).unwrap_or(1).max(1))
}
