//! What is computed already: values and constants of the blocks around, by what they are made of.

use super::pointers::Key;
use mcunet_ir::module::{Block, Value};
use std::collections::HashMap;

/// An operation and its operands, literals by their number.
pub type Name = (String, Vec<Result<i64, Value>>);

/// A block that is being walked.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Position of the loop it lies in.
    pub frame: usize,
    /// The block; `None` for the function before its body.
    pub block: Option<Block>,
    /// Values that it computes.
    pub values: HashMap<Name, Value>,
    /// Words of constants that it loads: by run of instructions without a branch, by address.
    pub words: Vec<(usize, Key, i64)>,
}

impl Scope {
    /// An empty scope.
    pub fn new(frame: usize, block: Option<Block>) -> Self {
        Self { frame, block, values: HashMap::new(), words: Vec::new() }
    }

    /// Loads of two neighbouring words that become one instruction.
    pub fn pairs(&self) -> f64 {
        let mut words = self.words.clone();
        words.sort();
        words.dedup();
        let (mut pairs, mut index) = (0, 1);
        while index < words.len() {
            let ((before, key, first), (segment, other, second)) = (&words[index - 1], &words[index]);
            if before == segment && key == other && second - first == 4 {
                pairs += 1;
                index += 1;
            }
            index += 1;
        }
        f64::from(pairs)
    }
}

/// The value of that name which a scope around has computed.
pub fn find(scopes: &[Scope], name: &Name) -> Option<Value> {
    scopes.iter().rev().find_map(|scope| scope.values.get(name)).copied()
}
