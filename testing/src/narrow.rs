//! Models with weights of 4 or 2 bits, made from those of 8: there are few of the former.

use mcunet_ir::module::{Function, Module, OpKind, Value};
use mcunet_ir::nn::{NnOp, ops as n, reads_sub_byte};
use mcunet_ir::quant::{Affine, F32, Granularity, QuantType};
use mcunet_ir::types::{Scalar, TensorType};
use std::collections::BTreeSet;

/// The module with every int8 filter that may be one of `storage`, of 4 or 2 bits. Weights are the low bits of the model's, which
/// are as good as random, so that no channel becomes constant; scales make up for what is lost in size.
pub fn narrowed(module: &Module, storage: Scalar) -> Module {
    let mut module = module.clone();
    let mut functions = std::mem::take(&mut module.functions);
    for function in &mut functions {
        for filter in filters(function) {
            narrow(&mut module, function, filter, storage);
        }
    }
    module.functions = functions;
    module.retain_used_resources();
    module
}

/// The module with filters of 4 and 2 bits as int8, which compute the same.
pub fn widened(module: &Module) -> Module {
    let mut module = module.clone();
    let mut functions = std::mem::take(&mut module.functions);
    for function in &mut functions {
        for filter in filters(function) {
            widen(&mut module, function, filter);
        }
    }
    module.functions = functions;
    module.retain_used_resources();
    module
}

fn widen(module: &mut Module, function: &mut Function, filter: Value) {
    let Some(op) = function.defining_op(filter) else { return };
    let OpKind::Nn(NnOp::Const(constant)) = &function.ops[op].kind else { return };
    let Some(bytes) = module.bytes(&constant.value).filter(|_| constant.value.element.is_sub_byte()) else {
        return;
    };
    let Some(ty) = function.ty(filter).as_tensor() else { return };
    let Some(quant) = ty.quant() else { return };
    let ty = TensorType::quantized(ty.shape.clone(), QuantType { storage: Scalar::I8, ..quant.clone() });
    let name = constant.value.name.to_string();
    let bytes = bytes.to_vec();
    let value = module.add_resource(&name, Scalar::I8, bytes);
    function.ops[op].kind = OpKind::Nn(n::Const { value }.into());
    function.values[filter].ty = ty.into();
}

/// Constants that are read as filters only.
fn filters(function: &Function) -> BTreeSet<Value> {
    let (mut filters, mut others) = (BTreeSet::new(), BTreeSet::new());
    for op in function.walk() {
        let data = &function.ops[op];
        for (i, &operand) in data.operands.iter().enumerate() {
            match &data.kind {
                OpKind::Nn(kind) if reads_sub_byte(kind, i) => filters.insert(operand),
                _ => others.insert(operand),
            };
        }
    }
    filters.retain(|filter| !others.contains(filter));
    filters
}

fn narrow(module: &mut Module, function: &mut Function, filter: Value, storage: Scalar) {
    let Some(op) = function.defining_op(filter) else { return };
    let OpKind::Nn(NnOp::Const(constant)) = &function.ops[op].kind else { return };
    let Some(bytes) = module.bytes(&constant.value).filter(|_| constant.value.element == Scalar::I8) else {
        return;
    };
    let Some(ty) = function.ty(filter).as_tensor() else { return };
    let Some(quant) = ty.quant() else { return };
    let shift = 8 - storage.bits();
    let low = |number: i8| (number << shift) >> shift;
    let wider = |affine: &Affine| Affine {
        scale: F32(affine.scale.get() * (1 << shift) as f32),
        zero_point: i32::from(low(affine.zero_point as i8)),
    };
    let granularity = match &quant.granularity {
        Granularity::PerTensor(affine) => Granularity::PerTensor(wider(affine)),
        Granularity::PerAxis { axis, channels } => {
            Granularity::PerAxis { axis: *axis, channels: channels.iter().map(wider).collect() }
        }
    };
    let (min, max) = storage.integer_range().unwrap_or_default();
    let ty = TensorType::quantized(ty.shape.clone(), QuantType { storage, min, max, granularity });
    let bytes = bytes.iter().map(|&byte| low(byte as i8) as u8).collect();
    let name = constant.value.name.to_string();
    let value = module.add_resource(&name, storage, bytes);
    function.ops[op].kind = OpKind::Nn(n::Const { value }.into());
    function.values[filter].ty = ty.into();
}
