//! Compares lowered kernels with the semantics of the ops that they came from, on random tensors.

use mcunet_ir::loops::interp::{Options, run};
use mcunet_ir::module::{OpKind, Port};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as nn;
use mcunet_ir::types::Element;
use mcunet_ir::verify::verify;
use mcunet_ir::{Builder, Function, Module, Tensor, TensorType, Type};
use mcunet_passes::lower::{CoreFeatures, Scratch, lower_module};
use mcunet_testing::compare::difference;

/// A function of one op; operands marked so are constants.
fn module_of(op: &NnOp, operands: &[(&Tensor, bool)], results: &[TensorType]) -> Module {
    let mut module = Module::new("case");
    let mut function = Function::new("main");
    let mut values = Vec::new();
    for (i, (tensor, constant)) in operands.iter().enumerate() {
        let ty = Type::from(tensor.ty.clone());
        if *constant {
            let name = format!("c{i}");
            let value = module.add_resource(&name, tensor.ty.storage(), tensor.data.to_bytes());
            let body = function.body;
            values.push(Builder::at_end(&mut function, body).value(nn::Const { value }, &[], ty));
        } else {
            values.push(function.add_input(format!("x{i}"), ty));
        }
    }
    let types: Vec<Type> = results.iter().map(|ty| ty.clone().into()).collect();
    function.outputs = types
        .iter()
        .enumerate()
        .map(|(i, ty)| Port { name: format!("y{i}").into(), ty: ty.clone() })
        .collect();
    let body = function.body;
    let mut b = Builder::at_end(&mut function, body);
    let op = b.op(OpKind::Nn(op.clone()), &values, &types);
    let results = b.function.ops[op].results.clone();
    b.op(mcunet_ir::builtin::Return {}, &results, &[]);
    module.functions.push(function);
    module
}

/// Runs the op's kernels, for cores with and without DSP, and compares with its semantics: integers exactly, floats
/// within a relative 1e-5. `element` is the element type of the results. `what` describes the case.
pub fn check(what: &str, op: impl Into<NnOp>, operands: &[(&Tensor, bool)], element: &Element) {
    let op = op.into();
    let tensors: Vec<&Tensor> = operands.iter().map(|(tensor, _)| *tensor).collect();
    let types: Vec<&TensorType> = tensors.iter().map(|tensor| &tensor.ty).collect();
    let shapes = op.semantics().infer_shapes(&types).unwrap_or_else(|error| panic!("{what}: {error}"));
    let results: Vec<TensorType> =
        shapes.into_iter().map(|shape| TensorType { shape, element: element.clone() }).collect();
    let expected = op.semantics().evaluate(&tensors, &results.iter().collect::<Vec<_>>());
    let expected = expected.unwrap_or_else(|error| panic!("{what}: {error}"));
    let module = module_of(&op, operands, &results);
    verify(&module).map(|_| ()).unwrap_or_else(|errors| panic!("{what}: {op:?}: {errors:?}"));
    let inputs: Vec<Tensor> =
        operands.iter().filter(|(_, constant)| !constant).map(|(tensor, _)| (*tensor).clone()).collect();
    for (dsp, unroll, narrow_weights, scratch) in [
        (false, false, false, Scratch::Never),
        (false, true, false, Scratch::Always),
        (true, true, false, Scratch::Never),
        (true, true, false, Scratch::Always),
        (true, true, true, Scratch::Always),
    ] {
        let mut lowered = module.clone();
        let features =
            CoreFeatures { dsp, issues_two: false, unroll, narrow_weights, place_parts: true, scratch };
        lower_module(&mut lowered, features).unwrap_or_else(|errors| panic!("{what}: {op:?}: {errors:?}"));
        verify(&lowered).map(|_| ()).unwrap_or_else(|errors| panic!("{what}: {op:?}: {errors:?}"));
        let found = run(&lowered, &lowered.functions[0], &inputs, Options { shadow: true })
            .unwrap_or_else(|error| panic!("{what}: {op:?} {types:?} {features:?}: {error}"));
        for (found, expected) in found.iter().zip(&expected) {
            if let Some(difference) = difference(found, expected) {
                panic!("{what}: {op:?} {types:?} {results:?} {features:?}: {difference}");
            }
        }
    }
}
