//! Files that no module is exported to, made from parts of the writer.

use super::graph::Graph;
use super::write::write;
use crate::tflite::reader::{BuiltinOperator, OperatorOptions};
use mcunet_ir::TensorType;
use mcunet_ir::quant::QuantType;
use mcunet_ir::types::Scalar;

/// What the import says of RELU from one storage type to another.
fn errors(from: Scalar, to: Scalar) -> String {
    let ty = |storage| TensorType::quantized([1, 2], QuantType::per_tensor(storage, 0.5, 0));
    let mut graph = Graph::new("main");
    let (x, y) = (graph.add_named("x", ty(from)), graph.add_named("y", ty(to)));
    graph.inputs.push(x);
    graph.outputs.push(y);
    graph.push(BuiltinOperator::RELU, 1, vec![x], vec![y], OperatorOptions::None);
    let imported = crate::tflite::import(&write(&graph), "relu.tflite");
    imported.err().map_or_else(String::new, |errors| errors.to_string())
}

#[test]
fn activations_of_less_than_a_byte_are_refused() {
    assert_eq!(errors(Scalar::I8, Scalar::I8), "");
    let refused = "expected elements of at least 8 bits, got int4, which only constant filters may have";
    for (from, to, tensor) in [(Scalar::I4, Scalar::I8, "tensor 'x'"), (Scalar::I8, Scalar::I4, "tensor 'y'")]
    {
        let found = errors(from, to);
        assert!(found.contains(&format!("{tensor}: {refused}")), "{found}");
    }
}
