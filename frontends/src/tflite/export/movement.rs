//! Operations that move elements.

use super::graph::Id;
use super::{Exporter, Refusal, Site, int};
use crate::tflite::reader::{Activation, BuiltinOperator as B, OperatorOptions, StridedSlice};
use mcunet_ir::attr::Number;
use mcunet_ir::nn::ops as n;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::{Element, Scalar};
use mcunet_ir::{Tensor, TensorType};
use std::sync::Arc;

/// Appends a RESHAPE, which copies the elements of `from` to `to`.
pub(super) fn write_reshape(exporter: &mut Exporter<'_>, from: Id, to: Id) -> Result<(), Refusal> {
    let dims = exporter.graph.tensor(to).ty.shape.0.clone();
    let new_shape = dims.iter().map(|&dim| int(dim, "a dimension")).collect::<Result<_, Refusal>>()?;
    let mut inputs = vec![from];
    // A scalar has no dimensions to list, and a list of none would count as computed.
    if !dims.is_empty() {
        inputs.push(exporter.list("shape", &dims)?);
    }
    exporter.push(B::RESHAPE, inputs, vec![to], OperatorOptions::Reshape { new_shape });
    Ok(())
}

/// Appends a PAD, or a PADV2 if the value is not real zero.
pub(super) fn write_pad(
    exporter: &mut Exporter<'_>,
    from: Id,
    low: &[usize],
    high: &[usize],
    value: Number,
    to: Id,
) -> Result<(), Refusal> {
    let ty = exporter.graph.tensor(to).ty.clone();
    let amounts = low.iter().zip(high).flat_map(|(&low, &high)| [low, high]);
    let amounts = amounts.map(|amount| i64::try_from(amount).unwrap_or(i64::MAX));
    let amounts = exporter.integers("paddings", [low.len(), 2], amounts)?;
    if is_zero(value, &ty) {
        exporter.push(B::PAD, vec![from, amounts], vec![to], OperatorOptions::Pad);
        return Ok(());
    }
    let data = match value {
        Number::Real(value) => Some(Data::F32(vec![value.get()])),
        Number::Int(value) => {
            let range = ty.storage().integer_range();
            let fits = range.is_some_and(|(min, max)| (min..=max).contains(&value));
            Data::from_i64s(ty.storage(), [value]).filter(|_| fits)
        }
    };
    let data =
        data.ok_or_else(|| format!("expected a padding value of {}, got {value:?}", ty.storage().name()))?;
    let filler = exporter.graph.constant("padding_value", ty.with_shape([1]), data.to_bytes().into());
    exporter.push(B::PADV2, vec![from, amounts, filler], vec![to], OperatorOptions::PadV2);
    Ok(())
}

/// Whether a padding value is what PAD pads with.
fn is_zero(value: Number, ty: &TensorType) -> bool {
    match (value, &ty.element) {
        (Number::Real(value), Element::Plain(Scalar::F32)) => value.get().to_bits() == 0,
        (Number::Int(value), Element::Plain(_)) => value == 0,
        (Number::Int(value), Element::Quant(quant)) => quant.affine().is_some_and(|affine| {
            let range = quant.storage.integer_range();
            value == i64::from(affine.zero_point)
                && range.is_some_and(|(min, max)| (min..=max).contains(&value))
        }),
        (Number::Real(_), _) => false,
    }
}

impl<'m> Exporter<'m> {
    pub(super) fn reshape(&mut self, site: &Site<'m>) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        write_reshape(self, x, site.results[0])
    }

    pub(super) fn transpose(&mut self, site: &Site<'m>, op: &n::Transpose) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        let permutation = self.list("permutation", &op.permutation)?;
        self.finish(site, B::TRANSPOSE, vec![x, permutation], OperatorOptions::Transpose)
    }

    pub(super) fn concat(&mut self, site: &Site<'m>, op: &n::Concat) -> Result<(), Refusal> {
        let inputs = self.operands(site)?;
        let options =
            OperatorOptions::Concatenation { axis: int(op.axis, "an axis")?, activation: Activation::None };
        self.finish(site, B::CONCATENATION, inputs, options)
    }

    /// Equal pieces are a SPLIT, others a SPLIT_V.
    pub(super) fn split(&mut self, site: &Site<'m>, op: &n::Split) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        let axis = self.integers("axis", [], [int(op.axis, "an axis")?.into()])?;
        let num_splits = int(op.sizes.len(), "a number of pieces")?;
        if op.sizes.windows(2).all(|pair| pair[0] == pair[1]) {
            return self.finish(site, B::SPLIT, vec![axis, x], OperatorOptions::Split { num_splits });
        }
        let sizes = self.list("sizes", &op.sizes)?;
        self.finish(site, B::SPLIT_V, vec![x, sizes, axis], OperatorOptions::SplitV { num_splits })
    }

    /// A SLICE, or a STRIDED_SLICE for strides other than 1.
    pub(super) fn slice(&mut self, site: &Site<'m>, op: &n::Slice) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        let begin = self.list("begin", &op.begin)?;
        if op.stride.iter().all(|&stride| stride == 1) {
            let size = self.list("size", &op.size)?;
            return self.finish(site, B::SLICE, vec![x, begin, size], OperatorOptions::Slice);
        }
        let (mut ends, mut end_mask) = (Vec::new(), 0);
        for (axis, ((&begin, &size), &stride)) in op.begin.iter().zip(&op.size).zip(&op.stride).enumerate() {
            let begin = i64::from(int(begin, "a position")?);
            let steps = i64::from(int(size, "a size")?) - 1;
            let end = begin.saturating_add(steps.saturating_mul(stride)).saturating_add(stride.signum());
            let end = if size == 0 { begin } else { end };
            // A negative end counts from the other side, so what ends before the first element has none.
            if end < 0 {
                end_mask |= 1i32.checked_shl(int(axis, "an axis")?.unsigned_abs()).unwrap_or(0);
            }
            ends.push(end.max(0));
        }
        let end = self.integers("end", [ends.len()], ends.iter().copied())?;
        let strides = self.integers("strides", [op.stride.len()], op.stride.iter().copied())?;
        let options = OperatorOptions::StridedSlice(StridedSlice {
            begin_mask: 0,
            end_mask,
            ellipsis_mask: 0,
            new_axis_mask: 0,
            shrink_axis_mask: 0,
            offset: false,
        });
        self.finish(site, B::STRIDED_SLICE, vec![x, begin, end, strides], options)
    }

    pub(super) fn pad(&mut self, site: &Site<'m>, op: &n::Pad) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        write_pad(self, x, &op.low, &op.high, op.value, site.results[0])
    }

    /// Runtimes refuse indices out of range, which are clamped here as the operation says.
    pub(super) fn gather(&mut self, site: &Site<'m>, op: &n::Gather) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        let last = site.inputs[0].shape.get(op.axis).map_or(0, |&dim| dim.saturating_sub(1) as i64);
        let (value, ty) = (site.operands[1], site.inputs[1]);
        let bytes =
            self.constant(value)?.ok_or("expected constant indices, got ones computed at run time")?;
        let tensor = Tensor::from_bytes(ty.clone(), &bytes).map_err(|error| error.to_string())?;
        let indices = tensor.data.to_i64s().ok_or("expected integers as indices, got floats")?;
        let indices = if indices.iter().all(|index| (0..=last).contains(index)) {
            self.operand(value)?
        } else {
            let inside = indices.into_iter().map(|index| index.clamp(0, last));
            let data =
                Data::from_i64s(ty.storage(), inside).ok_or("expected integers as indices, got floats")?;
            self.graph.constant("indices", ty.clone(), Arc::from(data.to_bytes()))
        };
        let options = OperatorOptions::Gather { axis: int(op.axis, "an axis")?, batch_dims: 0 };
        self.finish(site, B::GATHER, vec![x, indices], options)
    }

    pub(super) fn pack(&mut self, site: &Site<'m>, op: &n::Pack) -> Result<(), Refusal> {
        let inputs = self.operands(site)?;
        let values_count = int(inputs.len(), "a number of operands")?;
        let options = OperatorOptions::Pack { values_count, axis: int(op.axis, "an axis")? };
        self.finish(site, B::PACK, inputs, options)
    }

    pub(super) fn unpack(&mut self, site: &Site<'m>, op: &n::Unpack) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        let num = int(site.results.len(), "a number of results")?;
        let options = OperatorOptions::Unpack { num, axis: int(op.axis, "an axis")? };
        self.finish(site, B::UNPACK, vec![x], options)
    }

    pub(super) fn tile(&mut self, site: &Site<'m>, op: &n::Tile) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        let multiples = self.list("multiples", &op.multiples)?;
        self.finish(site, B::TILE, vec![x, multiples], OperatorOptions::Tile)
    }

    pub(super) fn depth_to_space(&mut self, site: &Site<'m>, op: &n::DepthToSpace) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        let options = OperatorOptions::DepthToSpace { block_size: int(op.block, "a block size")? };
        self.finish(site, B::DEPTH_TO_SPACE, vec![x], options)
    }

    pub(super) fn space_to_depth(&mut self, site: &Site<'m>, op: &n::SpaceToDepth) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        let options = OperatorOptions::SpaceToDepth { block_size: int(op.block, "a block size")? };
        self.finish(site, B::SPACE_TO_DEPTH, vec![x], options)
    }
}
