//! Loops that the compiler unrolls.
//!
//! gcc 12 at -O3 replaces a loop by copies of its body if it makes at most 16 trips, no loop is left inside, and the copies
//! are estimated at 200 statements at most (parameters max-completely-peel-times and max-completely-peeled-insns), of which
//! it expects a third to go away. Trips need only be bounded: then each copy is preceded by a test.

use super::count::Counts;
use super::linear::is_address_arithmetic;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::module::{Block, Function, Op, OpKind, ValueDef};
use std::collections::HashSet;

const MAX_TRIPS: u64 = 16;
const MAX_STATEMENTS: u64 = 200;

/// Loops that are unrolled.
#[derive(Clone, Debug, Default)]
pub struct Unrolled(HashSet<Op>);

/// What a block consists of.
struct Size {
    statements: u64,
    has_loop: bool,
}

impl Unrolled {
    /// Decides about the loops of a block.
    pub fn of(function: &Function, body: Block, counts: &Counts) -> Self {
        let mut unrolled = Self::default();
        unrolled.block(function, body, counts);
        unrolled
    }

    /// Whether a loop is unrolled.
    pub fn contains(&self, op: Op) -> bool {
        self.0.contains(&op)
    }

    fn block(&mut self, function: &Function, block: Block, counts: &Counts) -> Size {
        let mut size = Size { statements: 0, has_loop: false };
        for &op in &function.blocks[block].ops {
            let data = &function.ops[op];
            let OpKind::Loop(kind) = &data.kind else { continue };
            let mut inner = Size { statements: 0, has_loop: false };
            for &region in &data.regions {
                let found = self.block(function, region, counts);
                inner.statements += found.statements;
                inner.has_loop |= found.has_loop;
            }
            if let LoopOp::For(head) = kind {
                let trips = counts.most_trips(op);
                let copies = inner.statements * trips * 2 / 3;
                if head.rolled || inner.has_loop || trips > MAX_TRIPS || copies > MAX_STATEMENTS {
                    inner.has_loop = true;
                } else {
                    self.0.insert(op);
                    inner.statements *= trips;
                }
            }
            size.has_loop |= inner.has_loop;
            size.statements += inner.statements + statements(function, op, kind);
        }
        size
    }
}

fn is_buffer(function: &Function, op: Op, operand: usize) -> bool {
    let memory = function.ops[op].operands.get(operand).and_then(|&memory| function.defining_op(memory));
    memory.is_some_and(|op| matches!(function.ops[op].kind, OpKind::Loop(LoopOp::Buffer(_))))
}

/// Whether address arithmetic is done with literals and the induction variable of the loop it stands in.
fn is_counter(function: &Function, op: Op) -> bool {
    function.ops[op].operands.iter().all(|&value| match function.values[value].def {
        ValueDef::Argument { index, .. } => index == 0,
        ValueDef::Result { op, .. } => matches!(function.ops[op].kind, OpKind::Loop(LoopOp::Const(_))),
    })
}

/// Statements of an operation, as the compiler counts them before it chooses instructions.
fn statements(function: &Function, op: Op, kind: &LoopOp) -> u64 {
    match kind {
        // What only depends on the counter becomes a literal.
        _ if is_address_arithmetic(function, op) => u64::from(!is_counter(function, op)),
        LoopOp::For(_) | LoopOp::Yield(_) | LoopOp::Const(_) | LoopOp::Data(_) | LoopOp::Buffer(_) => 0,
        LoopOp::DoublingHighMul(_) | LoopOp::RoundShift(_) => 8,
        LoopOp::Requantize(_) => 20,
        // A pointer is computed first, unless an array is indexed.
        LoopOp::Load(_) | LoopOp::LoadI8x4(_) | LoopOp::LoadI16x2(_) => {
            1 + u64::from(is_buffer(function, op, 0))
        }
        LoopOp::Store(_) => 1 + u64::from(is_buffer(function, op, 1)),
        LoopOp::Copy(_) | LoopOp::Fill(_) | LoopOp::Receive(_) => 5,
        LoopOp::Min(_) | LoopOp::Max(_) | LoopOp::Select(_) | LoopOp::If(_) => 2,
        _ => 1,
    }
}
