//! Other ways to compile the same model.

use serde::Serialize;

/// Options that give another arena.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Alternative {
    /// What to add to the command line.
    pub options: String,
    /// Bytes of the arena with it.
    pub arena_bytes: usize,
    /// Multiply-accumulates that the program then performs, as a multiple of those of the model as imported.
    pub mac_factor: f64,
    /// Estimated cycles of an invocation.
    pub cycles: u64,
}

impl Alternative {
    /// Multiply-accumulates that a program performs, as a multiple of those that are in the model.
    pub fn mac_factor(performed: u64, in_model: u64) -> f64 {
        if in_model == 0 { 1.0 } else { performed as f64 / in_model as f64 }
    }
}
