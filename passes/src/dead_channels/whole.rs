//! Tensors all of whose channels are constant.
//!
//! What reads such a tensor element by element, together with another one, reads one number per channel instead, broadcast;
//! anything else the whole tensor as a constant, if that is small. Then nothing needs to make it.

use crate::analysis::range::{Ranges, channel_count};
use mcunet_ir::define::Trait;
use mcunet_ir::module::{Function, Module, Op, OpKind, Value};
use mcunet_ir::nn::NnOp;
use mcunet_ir::tensor::Data;
use mcunet_ir::{Shape, Tensor, TensorType};

/// Replaces constant tensors; returns how many. Those of up to `max_bytes` may become constants as they are.
pub fn replace(module: &mut Module, function: &mut Function, ranges: &Ranges, max_bytes: usize) -> u64 {
    let mut replaced = 0;
    for op in function.blocks[function.body].ops.clone() {
        let results = function.ops[op].results.clone();
        if !matches!(&function.ops[op].kind, OpKind::Nn(kind) if !matches!(kind, NnOp::Const(_))) {
            continue;
        }
        for value in results {
            let Some(uses) = uses(function, ranges, value, max_bytes) else { continue };
            replaced += u64::from(!uses.is_empty());
            for (user, operand, tensor) in uses {
                super::edit::replace_constant(module, function, user, operand, tensor);
            }
        }
    }
    replaced
}

/// Uses of a constant tensor with what to read instead; `None` if it isn't constant, or has a use that needs it.
fn uses(
    function: &Function,
    ranges: &Ranges,
    value: Value,
    max_bytes: usize,
) -> Option<Vec<(Op, usize, Tensor)>> {
    let numbers: Vec<i64> = ranges.channels(value)?.iter().map(|x| x.constant()).collect::<Option<_>>()?;
    let ty = function.ty(value).as_tensor()?;
    let mut uses = Vec::new();
    for op in function.walk() {
        for (index, _) in function.ops[op].operands.iter().enumerate().filter(|(_, used)| **used == value) {
            let ty = match broadcast(function, op, index, ty) {
                Some(small) => small,
                None if ty.size_bytes() <= max_bytes => ty.clone(),
                None => return None,
            };
            let items = (0..ty.elements()).map(|i| numbers[i % numbers.len()]);
            uses.push((op, index, Tensor::new(ty.clone(), Data::from_i64s(ty.storage(), items)?).ok()?));
        }
    }
    Some(uses)
}

/// The type of one element per channel, if an operation broadcasts that.
fn broadcast(function: &Function, op: Op, index: usize, ty: &TensorType) -> Option<TensorType> {
    let data = &function.ops[op];
    let (OpKind::Nn(_), [lhs, rhs]) = (&data.kind, &data.operands[..]) else { return None };
    let other = function.ty(if index == 0 { *rhs } else { *lhs }).as_tensor()?;
    let result = function.ty(*data.results.first()?).as_tensor()?;
    if !data.kind.has(Trait::Elementwise) || lhs == rhs || other.shape != result.shape {
        return None;
    }
    // A scalar is one number already.
    let mut shape = vec![1; ty.shape.rank()];
    *shape.last_mut()? = channel_count(&ty.shape);
    Some(ty.with_shape(Shape(shape)))
}
