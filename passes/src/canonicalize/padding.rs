//! Explicit padding into the windows of convolutions and pools.

use crate::rewrite::{Pattern, Rewriter};
use mcunet_ir::attr::Number;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::{Op, TensorType};

/// Lets a convolution or max pool pad by itself instead of reading a padded copy.
///
/// Exact for a convolution if the padding is real zero (the input's zero point), since its own padding contributes
/// nothing; for a max pool if the padding is the least storable number, since it then never wins. Never for an average
/// pool, which counts explicit padding but not its own.
pub struct FoldPadding;

/// Height and width amounts: top, bottom, left, right.
type Pads = [u32; 4];

impl Pattern for FoldPadding {
    fn name(&self) -> &'static str {
        "paddings folded"
    }

    fn apply(&self, rewriter: &mut Rewriter<'_>, op: Op) -> bool {
        let Some(&padded) = rewriter.function.ops[op].operands.first() else { return false };
        let Some(pad_op) = rewriter.function.defining_op(padded) else { return false };
        let OpKind::Nn(NnOp::Pad(pad)) = &rewriter.function.ops[pad_op].kind else { return false };
        let source = rewriter.function.ops[pad_op].operands[0];
        let Some(ty) = rewriter.tensor_type(source) else { return false };
        if rewriter.tensor_type(padded).map(|padded| &padded.element) != Some(&ty.element) {
            return false;
        }
        let Some(extra) = spatial(pad) else { return false };
        let exact_for_convolution = is_real_zero(pad.value, ty);
        let exact_for_max = is_least(pad.value, ty);
        let origin = mcunet_ir::Origin::fuse([
            rewriter.function.ops[pad_op].origin.clone(),
            rewriter.function.ops[op].origin.clone(),
        ]);
        let own = match &mut rewriter.function.ops[op].kind {
            OpKind::Nn(NnOp::Conv2d(n::Conv2d { pad, .. })) if exact_for_convolution => pad,
            OpKind::Nn(NnOp::DepthwiseConv2d(n::DepthwiseConv2d { pad, .. })) if exact_for_convolution => pad,
            OpKind::Nn(NnOp::MaxPool2d(n::MaxPool2d { pad, .. })) if exact_for_max => pad,
            _ => return false,
        };
        let Some(sum) = add(*own, extra) else { return false };
        *own = sum;
        rewriter.function.ops[op].operands[0] = source;
        rewriter.function.ops[op].origin = origin;
        true
    }
}

fn add(own: Pads, extra: Pads) -> Option<Pads> {
    let mut sum = own;
    for (sum, extra) in sum.iter_mut().zip(extra) {
        *sum = sum.checked_add(extra)?;
    }
    Some(sum)
}

/// The amounts of a padding of height and width only.
fn spatial(pad: &n::Pad) -> Option<Pads> {
    let (low, high) = (<[usize; 4]>::try_from(&*pad.low).ok()?, <[usize; 4]>::try_from(&*pad.high).ok()?);
    let only_spatial = [low[0], high[0], low[3], high[3]] == [0; 4];
    let amount = |amount: usize| u32::try_from(amount).ok();
    only_spatial.then_some([amount(low[1])?, amount(high[1])?, amount(low[2])?, amount(high[2])?])
}

fn is_real_zero(value: Number, ty: &TensorType) -> bool {
    match (value, ty.affine()) {
        (Number::Int(value), Some(affine)) => value == i64::from(affine.zero_point),
        (Number::Real(value), None) => ty.storage().is_float() && value.get() == 0.0,
        _ => false,
    }
}

fn is_least(value: Number, ty: &TensorType) -> bool {
    match value {
        Number::Int(value) => ty.storage().integer_range().is_some_and(|(min, _)| value == min),
        Number::Real(value) => value.get() == f32::NEG_INFINITY,
    }
}
