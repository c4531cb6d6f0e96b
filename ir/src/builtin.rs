//! The ops every dialect needs. Modules and functions are entities of their own ([`crate::module`]) and print as
//! MLIR's `builtin.module` and `func.func`.

use crate::define::define_ops;
use crate::types::Type;

/// What a builtin op checks beyond the structure that its row declares.
pub trait BuiltinSemantics {
    /// Adds a message for every constraint that does not hold.
    fn verify(&self, operands: &[&Type], results: &[&Type], report: &mut Vec<String>);
}

define_ops! {
    /// Ops every dialect needs.
    dialect "func" enum BuiltinOp requires BuiltinSemantics;

    /// Ends a function; its operands are the function's outputs in order.
    Return = "func.return" {
        operands { values: [Tensor] }
        traits [Terminator]
    }
}

impl BuiltinSemantics for Return {
    /// The operand types are compared with the function's ports by the structural verifier.
    fn verify(&self, _operands: &[&Type], _results: &[&Type], _report: &mut Vec<String>) {}
}
