//! Operations of random graphs, as their own semantics type them.

use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops::Const;
use mcunet_ir::types::Element;
use mcunet_ir::{Builder, Function, Module, Tensor, TensorType, Type, Value};

/// Result types of one element type; `None` if the op refuses its operands or those results: scales whose ratio has no
/// multiplier, for instance.
pub fn result_types(
    function: &Function,
    op: &NnOp,
    operands: &[Value],
    element: &Element,
) -> Option<Vec<TensorType>> {
    let types: Vec<&TensorType> =
        operands.iter().map(|&value| function.ty(value).as_tensor()).collect::<Option<_>>()?;
    let shapes = op.semantics().infer_shapes(&types).ok()?;
    let results: Vec<TensorType> =
        shapes.into_iter().map(|shape| TensorType { shape, element: element.clone() }).collect();
    let mut refused = Vec::new();
    op.semantics().verify(&types, &results.iter().collect::<Vec<_>>(), &mut refused);
    refused.is_empty().then_some(results)
}

/// Appends an op to a function's body.
pub fn append(
    builder: &mut Builder<'_>,
    op: NnOp,
    operands: &[Value],
    results: Vec<TensorType>,
) -> Vec<Value> {
    let results: Vec<Type> = results.into_iter().map(Type::from).collect();
    let op = builder.op(OpKind::Nn(op), operands, &results);
    builder.function.ops[op].results.clone()
}

/// Appends a constant to a function's body.
pub fn constant(module: &mut Module, function: &mut Function, tensor: Tensor) -> Value {
    let value = module.add_resource("weights", tensor.ty.storage(), tensor.data.to_bytes());
    let body = function.body;
    Builder::at_end(function, body).value(Const { value }, &[], Type::from(tensor.ty))
}
