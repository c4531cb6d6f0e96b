//! Loops that the compiler unrolls.
//!
//! gcc 12 at -O3 replaces a loop by copies of its body if it makes at most 16 trips, no loop is left inside, and the copies
//! are estimated at 200 statements at most (parameters max-completely-peel-times and max-completely-peeled-insns), of which
//! it expects a third to go away. Trips need only be bounded: then each copy is preceded by a test.

use super::Isa;
use super::count::Counts;
use super::linear::is_address_arithmetic;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::module::{Block, Function, Op, OpKind};
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
    pub fn of(function: &Function, body: Block, counts: &Counts, isa: &Isa) -> Self {
        let mut unrolled = Self::default();
        unrolled.block(function, body, counts, isa);
        unrolled
    }

    /// Whether a loop is unrolled.
    pub fn contains(&self, op: Op) -> bool {
        self.0.contains(&op)
    }

    fn block(&mut self, function: &Function, block: Block, counts: &Counts, isa: &Isa) -> Size {
        let mut size = Size { statements: 0, has_loop: false };
        for &op in &function.blocks[block].ops {
            let data = &function.ops[op];
            let OpKind::Loop(kind) = &data.kind else { continue };
            let mut inner = Size { statements: 0, has_loop: false };
            for &region in &data.regions {
                let found = self.block(function, region, counts, isa);
                inner.statements += found.statements;
                inner.has_loop |= found.has_loop;
            }
            if let LoopOp::For(_) = kind {
                let trips = counts.most_trips(op);
                let copies = inner.statements * trips * 2 / 3;
                if inner.has_loop || trips > MAX_TRIPS || copies > MAX_STATEMENTS {
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

/// Statements of an operation, as the compiler counts them before it chooses instructions.
fn statements(function: &Function, op: Op, kind: &LoopOp) -> u64 {
    match kind {
        _ if is_address_arithmetic(function, op) => 0,
        LoopOp::For(_) | LoopOp::Yield(_) | LoopOp::Const(_) | LoopOp::Data(_) | LoopOp::Buffer(_) => 0,
        LoopOp::DoublingHighMul(_) | LoopOp::RoundShift(_) => 8,
        LoopOp::Requantize(_) => 20,
        LoopOp::Copy(_) | LoopOp::Fill(_) | LoopOp::Receive(_) => 5,
        LoopOp::Min(_) | LoopOp::Max(_) | LoopOp::Select(_) | LoopOp::If(_) => 2,
        _ => 1,
    }
}
