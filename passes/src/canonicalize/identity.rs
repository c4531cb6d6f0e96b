//! Ops that change nothing, and chains of ops that only rename dimensions.

use crate::rewrite::{Pattern, Rewriter};
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::{Op, TensorType, Value};

/// Replaces an op by its operand if the op provably returns it unchanged.
pub struct DropIdentity;

impl Pattern for DropIdentity {
    fn name(&self) -> &'static str {
        "identity ops removed"
    }

    fn apply(&self, rewriter: &mut Rewriter<'_>, op: Op) -> bool {
        let data = &rewriter.function.ops[op];
        let ([operand], [result]) = (data.operands.as_slice(), data.results.as_slice()) else { return false };
        let (operand, result) = (*operand, *result);
        let OpKind::Nn(kind) = &data.kind else { return false };
        if rewriter.function.ty(operand) != rewriter.function.ty(result) || !is_identity(kind) {
            return false;
        }
        if !is_used(rewriter, result) {
            return false;
        }
        rewriter.replace(op, &[operand]);
        true
    }
}

fn is_used(rewriter: &Rewriter<'_>, value: Value) -> bool {
    rewriter.function.walk().iter().any(|&user| rewriter.function.ops[user].operands.contains(&value))
}

/// Whether an op with one operand and one result of the same type returns its operand.
pub(crate) fn is_identity(kind: &NnOp) -> bool {
    match kind {
        // Regroupings, whole slices, and conversions between equal types.
        NnOp::Reshape(_) | NnOp::Concat(_) | NnOp::Split(_) | NnOp::Cast(_) => true,
        NnOp::Slice(slice) => slice.stride.iter().all(|&stride| stride == 1),
        NnOp::Transpose(transpose) => transpose.permutation.iter().enumerate().all(|(i, &p)| i == p),
        NnOp::Pad(pad) => pad.low.iter().chain(&pad.high).all(|&amount| amount == 0),
        NnOp::Tile(tile) => tile.multiples.iter().all(|&multiple| multiple == 1),
        _ => false,
    }
}

/// `reshape(reshape(x))` is `reshape(x)`.
pub struct MergeReshapes;

impl Pattern for MergeReshapes {
    fn name(&self) -> &'static str {
        "reshapes merged"
    }

    fn apply(&self, rewriter: &mut Rewriter<'_>, op: Op) -> bool {
        let data = &rewriter.function.ops[op];
        let OpKind::Nn(NnOp::Reshape(_)) = data.kind else { return false };
        let Some(inner) = rewriter.function.defining_op(data.operands[0]) else { return false };
        let inner = &rewriter.function.ops[inner];
        let OpKind::Nn(NnOp::Reshape(_)) = inner.kind else { return false };
        let source = inner.operands[0];
        rewriter.function.ops[op].operands[0] = source;
        true
    }
}

/// A transpose that keeps the order of all dimensions larger than 1 moves no data: it is a reshape.
pub struct TransposeOfOnes;

impl Pattern for TransposeOfOnes {
    fn name(&self) -> &'static str {
        "transposes turned into reshapes"
    }

    fn apply(&self, rewriter: &mut Rewriter<'_>, op: Op) -> bool {
        let data = &rewriter.function.ops[op];
        let OpKind::Nn(NnOp::Transpose(transpose)) = &data.kind else { return false };
        let (operand, result) = (data.operands[0], data.results[0]);
        let (Some(from), Some(to)) = (rewriter.tensor_type(operand), rewriter.tensor_type(result)) else {
            return false;
        };
        if !moves_no_data(transpose, from) || !is_used(rewriter, result) {
            return false;
        }
        let (shape, ty) = (to.shape.0.clone(), to.clone());
        let values = rewriter.insert(op, n::Reshape { shape }, vec![operand], vec![ty.into()]);
        rewriter.replace(op, &values);
        true
    }
}

/// Whether a transpose keeps the order of all dimensions larger than 1.
pub(crate) fn moves_no_data(transpose: &n::Transpose, from: &TensorType) -> bool {
    // A per-axis quantization moves with its axis, which a reshape cannot express.
    let movable = from.quant().is_none_or(|quant| quant.affine().is_some());
    let large = |&axis: &usize| from.shape.get(axis).is_some_and(|&dim| dim != 1);
    let moved: Vec<usize> = transpose.permutation.iter().copied().filter(large).collect();
    movable && moved.is_sorted()
}
