//! How the kernels of operations can store what they make, and find what they read, in memory of other tensors.
//!
//! Kernels that make rows find the beginning of each with a [`RowMap`](super::rows::RowMap); whether they walk through a row in
//! steps of pixels, too, each has to say here. Saying less costs memory and copies, never correctness.

use super::kernel::{folded_of, needs_of, tensor_type};
use mcunet_ir::define::Trait;
use mcunet_ir::loops::view::View;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::rows::{RowNeed, image_rows};
use mcunet_ir::tile::TileOp;
use mcunet_ir::{Function, Op, TensorType, Value};

/// How tensors may lie that a kernel makes or reads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Form {
    /// In one piece, whole.
    Whole,
    /// Rows at any equal distances.
    Rows,
    /// Pixels, too.
    Pixels,
}

/// The form that a view of a tensor has.
pub(super) fn form_of(view: &View, ty: &TensorType) -> Option<Form> {
    let [1, rows, width, channels] = ty.shape.nhwc()? else { return None };
    let row = width * channels;
    match *view {
        View { count: 1, .. } => Some(Form::Rows),
        View { run, count, .. } if run == row && count == rows => Some(Form::Rows),
        View { run, count, .. } if run == channels && count == rows * width => Some(Form::Pixels),
        _ => None,
    }
}

/// Whether the kernel of an operation makes its results row by row, whatever runs beside it.
pub(super) fn makes_rows(function: &Function, op: Op) -> bool {
    let result = function.ops[op].results.first().and_then(|&result| function.ty(result).as_tensor());
    let has_rows = result.is_some_and(|ty| image_rows(&ty.shape).is_some());
    has_rows && folded_of(function, op).is_none() && needs_of(function, op).is_some()
}

/// How an operation can store its result.
pub(super) fn stored_form(function: &Function, op: Op) -> Form {
    if !makes_rows(function, op) {
        return Form::Whole;
    }
    match &function.ops[op].kind {
        OpKind::Tile(TileOp::Receive(_)) => Form::Rows,
        OpKind::Nn(kind) => match kind {
            NnOp::Conv2d(_)
            | NnOp::Conv2dAdd(_)
            | NnOp::DepthwiseConv2d(_)
            | NnOp::TransposeConv2d(_)
            | NnOp::AvgPool2d(_)
            | NnOp::MaxPool2d(_)
            | NnOp::ResizeBilinear(_)
            | NnOp::ResizeNearest(_) => Form::Pixels,
            kind if kind.spec().has(Trait::Elementwise) => Form::Pixels,
            NnOp::Concat(op) if op.axis >= 2 => Form::Pixels,
            NnOp::Concat(_) | NnOp::Softmax(_) | NnOp::LogSoftmax(_) => Form::Rows,
            NnOp::Transpose(_)
            | NnOp::Slice(_)
            | NnOp::Pad(_)
            | NnOp::Tile(_)
            | NnOp::DepthToSpace(_)
            | NnOp::SpaceToDepth(_) => Form::Rows,
            _ => Form::Whole,
        },
        _ => Form::Whole,
    }
}

/// How an operation can read one of its operands.
pub(super) fn read_form(function: &Function, op: Op, operand: usize) -> Form {
    // What is read row by row is found with the start of a row.
    let by_rows = needs_of(function, op).and_then(|needs| needs.get(operand).cloned());
    if !makes_rows(function, op) || by_rows.is_none_or(|need| need == RowNeed::Whole) {
        return Form::Whole;
    }
    let data = &function.ops[op];
    let shape = |value: Value| &tensor_type(function, value).shape;
    let is_alike = shape(data.operands[operand]) == shape(data.results[0]);
    let is_narrow = data
        .operands
        .get(1)
        .is_some_and(|&filter| shape(filter).nhwc().is_some_and(|[_, _, width, _]| width == 1));
    match &data.kind {
        OpKind::Nn(kind) => match kind {
            NnOp::MaxPool2d(_) | NnOp::AvgPool2d(_) => Form::Pixels,
            kind if kind.spec().has(Trait::Elementwise) && is_alike => Form::Pixels,
            NnOp::Concat(op) if op.axis >= 2 => Form::Pixels,
            // Several taps of a row are read as one run.
            NnOp::Conv2d(_) | NnOp::Conv2dAdd(_) if operand > 0 || is_narrow => Form::Pixels,
            NnOp::Conv2d(_)
            | NnOp::Conv2dAdd(_)
            | NnOp::TransposeConv2d(_)
            | NnOp::DepthwiseConv2d(_)
            | NnOp::ResizeBilinear(_)
            | NnOp::ResizeNearest(_)
            | NnOp::Concat(_) => Form::Rows,
            _ => Form::Whole,
        },
        _ => Form::Whole,
    }
}
