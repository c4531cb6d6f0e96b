//! The type of a model's borders: drops or adds QUANTIZE and DEQUANTIZE at inputs and outputs.

use mcunet_ir::module::{OpKind, Stage};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::{Affine, QuantType};
use mcunet_ir::types::{Element, Scalar};
use mcunet_ir::{Diagnostic, Diagnostics, Function, Module, Op, Origin, TensorType, Type, Value};
use std::collections::HashSet;

/// Type of a model's inputs and outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IoType {
    /// As the model says.
    #[default]
    Model,
    /// Quantized to int8.
    Int8,
    /// Quantized to uint8: int8 with the zero point moved by 128.
    Uint8,
    /// Floats.
    Float32,
}

/// Gives every input and output of a module the wanted type. Integer tensors that are no quantized numbers stay.
///
/// # Errors
/// Borders whose quantization nothing says.
pub fn apply(module: &mut Module, io_type: IoType) -> Result<(), Diagnostics> {
    if module.stage != Stage::Imported {
        let found = module.stage.name();
        let message = format!(
            "expected an imported module to change its inputs and outputs, got one of stage '{found}'"
        );
        return Err(Diagnostic::error(message).into());
    }
    let mut errors = Diagnostics::default();
    for function in &mut module.functions {
        for index in 0..function.inputs.len() {
            if let Err(error) = input(function, index, io_type) {
                errors.push(error);
            }
        }
        for index in 0..function.outputs.len() {
            if let Err(error) = output(function, index, io_type) {
                errors.push(error);
            }
        }
    }
    errors.into_result()
}

/// The type that a border of type `inner` has for its user.
fn border_type(inner: &TensorType, io_type: IoType) -> TensorType {
    let affine = inner.affine().unwrap_or(Affine { scale: 1.0.into(), zero_point: 0 });
    let quantized = |storage, zero_point| {
        TensorType::quantized(
            inner.shape.clone(),
            QuantType::per_tensor(storage, affine.scale.get(), zero_point),
        )
    };
    // The zero point of int8 is that of uint8 less 128.
    let shift = match inner.storage() {
        Scalar::U8 => 128,
        _ => 0,
    };
    match io_type {
        IoType::Model => inner.clone(),
        IoType::Int8 => quantized(Scalar::I8, affine.zero_point - shift),
        IoType::Uint8 => quantized(Scalar::U8, affine.zero_point - shift + 128),
        IoType::Float32 => TensorType { shape: inner.shape.clone(), element: Element::Plain(Scalar::F32) },
    }
}

fn is_border(ty: &TensorType) -> bool {
    match ty.storage() {
        Scalar::F32 => true,
        Scalar::I8 | Scalar::U8 => ty.affine().is_some(),
        _ => false,
    }
}

fn tensor(function: &Function, value: Value) -> Option<TensorType> {
    function.ty(value).as_tensor().cloned()
}

fn no_quantization(what: &str, name: &str) -> Diagnostic {
    Diagnostic::error(format!("expected a quantized {what} '{name}' for --io-type, got a float one"))
        .help("the model computes in floats there; leave --io-type at model or float32, or quantize the model first")
}

fn input(function: &mut Function, index: usize, io_type: IoType) -> Result<(), Diagnostic> {
    let value = function.blocks[function.body].args[index];
    let Some(outer) = tensor(function, value).filter(is_border) else { return Ok(()) };
    let conversion = quantize_after(function, value);
    let inner = match conversion {
        Some(op) => tensor(function, function.ops[op].results[0]).unwrap_or_else(|| outer.clone()),
        None => outer.clone(),
    };
    if inner.affine().is_none() {
        return match io_type {
            IoType::Float32 | IoType::Model => Ok(()),
            _ => Err(no_quantization("input", &function.inputs[index].name)),
        };
    }
    let wanted = border_type(&inner, io_type);
    if wanted == outer {
        return Ok(());
    }
    if let Some(op) = conversion {
        let result = function.ops[op].results[0];
        function.replace_uses(result, value);
        function.erase_ops(&HashSet::from([op]));
    }
    set_input_type(function, index, value, wanted.clone());
    if wanted != inner {
        let origin = Origin::Unknown;
        let op = function.create_op(n::Quantize {}.into(), vec![value], vec![inner.into()], vec![], origin);
        let result = function.ops[op].results[0];
        function.replace_uses(value, result);
        function.ops[op].operands = vec![value];
        let body = function.body;
        function.blocks[body].ops.insert(0, op);
    }
    Ok(())
}

fn set_input_type(function: &mut Function, index: usize, value: Value, ty: TensorType) {
    let ty: Type = ty.into();
    function.values[value].ty = ty.clone();
    function.inputs[index].ty = ty;
}

/// The QUANTIZE that is the only user of an input, if its result is int8.
fn quantize_after(function: &Function, value: Value) -> Option<Op> {
    let users: Vec<Op> =
        function.walk().into_iter().filter(|&op| function.ops[op].operands.contains(&value)).collect();
    let [user] = users[..] else { return None };
    let quantizes = matches!(function.ops[user].kind, OpKind::Nn(NnOp::Quantize(_)));
    let to_int8 = tensor(function, *function.ops[user].results.first()?)?.storage() == Scalar::I8;
    (quantizes && to_int8).then_some(user)
}

fn output(function: &mut Function, index: usize, io_type: IoType) -> Result<(), Diagnostic> {
    let Some(returns) = function.terminator(function.body) else { return Ok(()) };
    let value = function.ops[returns].operands[index];
    let Some(outer) = tensor(function, value).filter(is_border) else { return Ok(()) };
    let source = conversion_before(function, value).unwrap_or(value);
    let inner = tensor(function, source).unwrap_or_else(|| outer.clone());
    if inner.affine().is_none() {
        return match io_type {
            IoType::Float32 | IoType::Model => Ok(()),
            _ => Err(no_quantization("output", &function.outputs[index].name)),
        };
    }
    let wanted = border_type(&inner, io_type);
    if wanted == outer {
        return Ok(());
    }
    let returned = if wanted == inner {
        source
    } else {
        let kind: OpKind = match io_type {
            IoType::Float32 => n::Dequantize {}.into(),
            _ => n::Quantize {}.into(),
        };
        let op = function.create_op(kind, vec![source], vec![wanted.clone().into()], vec![], Origin::Unknown);
        let body = function.body;
        let end = function.blocks[body].ops.len() - 1;
        function.blocks[body].ops.insert(end, op);
        function.ops[op].results[0]
    };
    function.ops[returns].operands[index] = returned;
    function.outputs[index].ty = wanted.into();
    Ok(())
}

/// The int8 operand of the DEQUANTIZE or QUANTIZE that makes a value.
fn conversion_before(function: &Function, value: Value) -> Option<Value> {
    let op = function.defining_op(value)?;
    let converts = matches!(function.ops[op].kind, OpKind::Nn(NnOp::Dequantize(_) | NnOp::Quantize(_)));
    let operand = *function.ops[op].operands.first()?;
    let from_int8 = tensor(function, operand)?.storage() == Scalar::I8;
    (converts && from_int8).then_some(operand)
}
