//! Values that don't fit the registers.
//!
//! A loop needs registers for its pointers, for what it carries and reads from outside, for its bound, and for what is alive
//! at once within its body. What is too much in an innermost loop is loaded from the stack where it is used. Around a loop,
//! values wait on the stack for its end: those that change are stored as well. The values that are used least go first.

use super::mix::Mix;
use super::select::literal;
use super::values::is_integer;
use mcunet_ir::module::{Block, Function, Value};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Registers that a loop needs.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Its pointers: runs of instructions that use each, and whether it moves with the loop.
    pub pointers: Vec<(usize, bool)>,
    /// Values from outside that it computes with: how many there are of each, and how often it is used.
    pub outside: BTreeMap<Value, (usize, usize)>,
    /// Integers that it carries.
    pub carried: usize,
    /// Integers that are alive at once within one of its blocks.
    pub temporaries: usize,
    /// The most registers that a loop inside needs.
    pub inner: Option<usize>,
}

impl Needs {
    /// Fits a loop into so many registers: those that it takes, and what each iteration does for those it has not.
    pub fn fit(&self, available: usize) -> (usize, Mix) {
        let outside = self.outside.values();
        let outside = outside.flat_map(|&(values, uses)| std::iter::repeat_n((uses, false), values));
        // The counter, or the end of a pointer.
        let mut own: Vec<(usize, bool)> =
            self.pointers.iter().copied().chain(outside).chain([(1, self.inner.is_some())]).collect();
        own.sort_unstable();
        // What a loop carries is carried through the loops inside in the same registers.
        let inner = self.inner.unwrap_or(self.carried + self.temporaries);
        let spilled = (inner + own.len()).saturating_sub(available).min(own.len());
        let loads: usize = own[..spilled].iter().map(|&(uses, _)| uses).sum();
        let stores = own[..spilled].iter().filter(|&&(_, moves)| moves).count();
        // What is alive at once beyond all registers waits on the stack for its use.
        let waiting = if self.inner.is_none() { inner.saturating_sub(available) } else { 0 };
        let (loads, stores) = ((loads + waiting) as f64, (stores + waiting) as f64);
        let spills = Mix { stack_loads: loads, stack_stores: stores, ..Mix::default() };
        (inner + own.len() - spilled, spills)
    }
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
        for result in &data.results {
            let counts = computed.contains(result)
                && is_integer(function, *result)
                && literal(function, *result).is_none();
            let end =
                last.get(result).copied().filter(|&end| counts && end > index && data.regions.is_empty());
            if let Some(end) = end {
                alive += 1;
                ends[end] += 1;
            }
        }
        most = most.max(alive);
    }
    most
}
