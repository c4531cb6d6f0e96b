//! Values that don't fit the registers.
//!
//! A loop needs registers for its pointers, for what it carries and reads from outside, for its bound, and for what is alive
//! at once within its body. What is too much in an innermost loop is loaded from the stack in every iteration. Around a loop,
//! values wait on the stack for its end: those that change are stored as well.

use super::mix::Mix;
use super::walk::{Frame, is_integer};
use mcunet_ir::module::{Block, Function, Value};
use std::collections::{HashMap, HashSet};

/// Registers of a loop.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// That it and the loops inside take.
    pub registers: usize,
    /// What every iteration loads from and stores to the stack.
    pub spills: Mix,
}

/// Fits a loop into so many registers.
pub fn fit(frame: &Frame, available: usize) -> Registers {
    let counter = 1;
    let own = frame.pointers + frame.outside.len() + counter;
    let Some(inner) = frame.inner else {
        let needed = own + frame.carried + frame.temporaries;
        let spilled = needed.saturating_sub(available).min(own);
        return Registers { registers: needed - spilled, spills: Mix { stack_loads: spilled as f64, ..Mix::default() } };
    };
    // What a loop carries is carried through the loops inside in the same registers.
    let spilled = (inner + own).saturating_sub(available).min(own);
    let changed = spilled.min(frame.moved + counter);
    let spills = Mix { stack_loads: spilled as f64, stack_stores: changed as f64, ..Mix::default() };
    Registers { registers: inner + own - spilled, spills }
}

/// Integers that are alive at once in a block, in the order of the program.
pub fn temporaries(function: &Function, block: Block, computed: &HashSet<Value>) -> usize {
    let ops = &function.blocks[block].ops;
    let mut last: HashMap<Value, usize> = HashMap::new();
    for (index, &op) in ops.iter().enumerate() {
        for &operand in &function.ops[op].operands {
            last.insert(operand, index);
        }
    }
    let (mut alive, mut most) = (0usize, 0usize);
    let mut ends = vec![0usize; ops.len()];
    for (index, &op) in ops.iter().enumerate() {
        let data = &function.ops[op];
        alive -= ends[index];
        let counts = |value: &&Value| {
            computed.contains(*value) && is_integer(function, **value) && super::select::literal(function, **value).is_none()
        };
        for result in data.results.iter().filter(counts) {
            let Some(&end) = last.get(result) else { continue };
            if data.regions.is_empty() && end > index {
                alive += 1;
                ends[end] += 1;
            }
        }
        most = most.max(alive);
    }
    most
}
