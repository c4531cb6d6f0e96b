//! The measure of extraction: what an operation costs by itself, in one number.

use mcunet_ir::TensorType;
use mcunet_ir::nn::NnOp;

/// What an operation or a graph costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// Time.
    pub cycles: u64,
    /// Code, tables and weights.
    pub flash_bytes: u64,
    /// Activations that operations hold at a time if they run row by row.
    pub held_bytes: u64,
}

/// Cycles that a held byte is worth: SRAM is what networks run out of first.
const HELD_BYTE: u64 = 16;

impl Cost {
    /// One number to compare by. A byte of flash counts as a cycle: what is stored is read at least once.
    pub fn total(self) -> u64 {
        self.cycles.saturating_add(self.flash_bytes).saturating_add(self.held_bytes.saturating_mul(HELD_BYTE))
    }
}

impl std::ops::Add for Cost {
    type Output = Cost;

    fn add(self, other: Cost) -> Cost {
        Cost {
            cycles: self.cycles.saturating_add(other.cycles),
            flash_bytes: self.flash_bytes.saturating_add(other.flash_bytes),
            held_bytes: self.held_bytes.saturating_add(other.held_bytes),
        }
    }
}

/// An operation to be judged.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The operation.
    pub kind: &'a NnOp,
    /// Types of its operands.
    pub operands: &'a [&'a TensorType],
    /// Whether each operand is constant.
    pub constant: &'a [bool],
    /// Types of its results.
    pub results: &'a [TensorType],
}

/// Judges operations. Constants are judged by their bytes, once each.
pub trait CostModel {
    /// Cost of an operation, without its constants.
    fn of(&self, op: &Judged<'_>) -> Cost;
}
