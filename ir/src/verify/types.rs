//! Rules T1 to T5; see the parent module.

use super::Report;
use crate::loops::LoopOp;
use crate::module::{Function, Op, OpKind, Value};
use crate::nn::{NnOp, check_sub_byte};
use crate::quant::{Affine, Granularity, QuantType};
use crate::text::type_name;
use crate::types::{TensorType, Type};

/// Tensors reach at most this size. No microcontroller's memory holds more, and a bound lets the compiler itself work in
/// a few hundred megabytes whatever a model claims: it may hold a tensor, or a mark for each of its bytes.
pub const MAX_TENSOR_BYTES: usize = 64 << 20;

pub(super) fn check(function: &Function, report: &mut Report) {
    for &argument in &function.blocks[function.body].args {
        for problem in value_problems(function.ty(argument)) {
            report.function(function, format!("has an input with {problem}"));
        }
    }
    for (what, ports) in [("input", &function.inputs), ("output", &function.outputs)] {
        for port in ports {
            if let Some(element) = sub_byte_element(&port.ty) {
                let name = &port.name;
                let message = format!("has an {what} '{name}' of {element}, which only constants may have");
                report.function(function, message);
            }
        }
    }
    for op in function.walk() {
        let mut sound = true;
        for &result in &function.ops[op].results {
            let constant = matches!(function.ops[op].kind, OpKind::Nn(NnOp::Const(_)));
            let ty = function.ty(result);
            let mut problems = value_problems(ty);
            if let Some(element) = sub_byte_element(ty).filter(|_| !constant) {
                problems.push(format!(
                    "expected elements of at least 8 bits, got {element}, which only constants may have"
                ));
            }
            for problem in problems {
                report.at(function, op, problem);
                sound = false;
            }
        }
        if sound {
            semantics(function, op, report);
        }
    }
}

/// T1 and T2.
fn value_problems(ty: &Type) -> Vec<String> {
    let mut problems = Vec::new();
    let bytes = match ty {
        Type::Tensor(tensor) => {
            if let Some(quant) = tensor.quant() {
                quantization(tensor, quant, &mut problems);
            }
            tensor.size_bytes()
        }
        Type::MemRef(memref) => memref.size_bytes(),
        Type::Scalar(_) | Type::Packed(_) => 0,
    };
    if bytes > MAX_TENSOR_BYTES {
        problems.push(format!("expected a value of at most {MAX_TENSOR_BYTES} bytes, got {}", type_name(ty)));
    }
    problems
}

/// T5: the name of a sub-byte type of elements.
fn sub_byte_element(ty: &Type) -> Option<&'static str> {
    let element = match ty {
        Type::Tensor(tensor) => tensor.storage(),
        Type::MemRef(memref) => memref.element,
        Type::Scalar(_) | Type::Packed(_) => return None,
    };
    element.is_sub_byte().then(|| element.name())
}

fn quantization(tensor: &TensorType, quant: &QuantType, problems: &mut Vec<String>) {
    let storage = quant.storage.integer_range();
    if storage.is_none_or(|(min, max)| quant.min < min || quant.max > max || quant.min > quant.max) {
        problems.push(format!(
            "expected a storage range within {}, got {}:{}",
            quant.storage.name(),
            quant.min,
            quant.max
        ));
    }
    match &quant.granularity {
        Granularity::PerTensor(affine) => affine_problem(quant, *affine, problems),
        Granularity::PerAxis { axis, channels } => {
            if tensor.shape.get(*axis) != Some(&channels.len()) {
                problems.push(format!(
                    "expected one scale per index of dimension {axis} of {}, got {}",
                    tensor.shape,
                    channels.len()
                ));
            }
            for &affine in channels {
                affine_problem(quant, affine, problems);
            }
        }
    }
}

/// Scales may be negative: converters make such filters, and TFLite computes with them.
fn affine_problem(quant: &QuantType, affine: Affine, problems: &mut Vec<String>) {
    let scale = affine.scale.get();
    if !scale.is_finite() || scale == 0.0 {
        problems.push(format!("expected a finite scale other than 0, got {scale}"));
    }
    let (min, max) = quant.storage.integer_range().unwrap_or((0, 0));
    let zero_point = i64::from(affine.zero_point);
    if zero_point < min || zero_point > max {
        problems.push(format!("expected a zero point within {min}:{max}, got {zero_point}"));
    }
}

/// T3.
fn semantics(function: &Function, op: Op, report: &mut Report) {
    let data = &function.ops[op];
    let types = |values: &[Value]| values.iter().map(|&value| function.ty(value)).collect::<Vec<_>>();
    let (operands, results) = (types(&data.operands), types(&data.results));
    let mut messages = Vec::new();
    match &data.kind {
        OpKind::Nn(kind) => nn_semantics(function, op, kind, report),
        OpKind::Loop(kind) => {
            kind.semantics().verify(&operands, &results, &mut messages);
            carried(function, op, kind, report);
        }
        OpKind::Tile(kind) => kind.semantics().verify(&operands, &results, &mut messages),
        OpKind::Builtin(_) => {}
    }
    for message in messages {
        report.at(function, op, message);
    }
}

fn nn_semantics(function: &Function, op: Op, kind: &NnOp, report: &mut Report) {
    let data = &function.ops[op];
    let tensors = |values: &[Value]| {
        values.iter().map(|&value| function.ty(value).as_tensor()).collect::<Option<Vec<&TensorType>>>()
    };
    let (Some(operands), Some(results)) = (tensors(&data.operands), tensors(&data.results)) else { return };
    match kind.semantics().infer_shapes(&operands) {
        Err(message) => return report.at(function, op, message),
        Ok(shapes) if shapes.len() != results.len() => {
            let message = format!("expected {} results, got {}", shapes.len(), results.len());
            return report.at(function, op, message);
        }
        Ok(shapes) => {
            for (index, (shape, result)) in shapes.iter().zip(&results).enumerate() {
                // A constant's shape is its type's.
                if !matches!(kind, NnOp::Const(_)) && *shape != result.shape {
                    let message = format!("expected result {index} of shape {shape}, got {}", result.shape);
                    return report.at(function, op, message);
                }
            }
        }
    }
    let mut messages = Vec::new();
    check_sub_byte(kind, &operands, &mut messages);
    kind.semantics().verify(&operands, &results, &mut messages);
    for message in messages {
        report.at(function, op, message);
    }
}

/// T4.
fn carried(function: &Function, op: Op, kind: &LoopOp, report: &mut Report) {
    let data = &function.ops[op];
    let types = |values: &[Value]| values.iter().map(|&value| function.ty(value).clone()).collect::<Vec<_>>();
    let expected = match kind {
        LoopOp::For(_) => types(data.operands.get(2..).unwrap_or(&[])),
        LoopOp::If(_) => types(&data.results),
        LoopOp::Kernel(_) | LoopOp::Cascade(_) => Vec::new(),
        _ => return,
    };
    if types(&data.results) != expected {
        report.at(function, op, "expected results of the types of the initial values, got others");
    }
    for &region in &data.regions {
        let block = &function.blocks[region];
        let mut arguments = expected.clone();
        match kind {
            LoopOp::For(_) | LoopOp::Kernel(_) => arguments.insert(0, Type::I32),
            _ => arguments.clear(),
        }
        if types(&block.args) != arguments {
            let message =
                format!("expected a body with {} arguments of matching types, got others", arguments.len());
            report.at(function, op, message);
        }
        let yielded = function.terminator(region).map(|op| types(&function.ops[op].operands));
        if yielded.as_ref() != Some(&expected) {
            let message = format!(
                "expected a body that yields {} values of matching types, got others",
                expected.len()
            );
            report.at(function, op, message);
        }
    }
}
