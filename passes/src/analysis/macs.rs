//! Multiply-accumulates, as usually counted: those of convolutions and fully connected layers, padding included.

use mcunet_ir::module::{Function, Op, OpKind};
use mcunet_ir::{TensorType, Value};

/// Multiply-accumulates of an operation; 0 for those that are no tensor operation.
pub fn of_op(function: &Function, op: Op) -> u64 {
    let data = &function.ops[op];
    let OpKind::Nn(kind) = &data.kind else { return 0 };
    let types = |values: &[Value]| -> Vec<TensorType> {
        values.iter().filter_map(|&value| function.ty(value).as_tensor().cloned()).collect()
    };
    let (operands, results) = (types(&data.operands), types(&data.results));
    kind.semantics().macs(&operands.iter().collect::<Vec<_>>(), &results.iter().collect::<Vec<_>>())
}

/// Multiply-accumulates of a tensor function.
pub fn of_function(function: &Function) -> u64 {
    function.walk().into_iter().map(|op| of_op(function, op)).sum()
}
