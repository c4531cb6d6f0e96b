//! Which ops make their results row by row, and which rows of their operands a row needs; and which fold the rows of their
//! operand into one.
//!
//! The match is exhaustive: a new op has to say whether it has rows. An op that could be split but is listed as whole
//! costs memory, never correctness.

use super::NnOp;
use super::ops as n;
use super::resize::{fixed_sample, nearest, real_sample};
use super::window::{Windows, four};
use crate::rows::{RowNeed, image_rows};
use crate::types::TensorType;

/// Rows that the op needs of each operand to make a row of its results; `None` if it makes all of them at once.
///
/// Operands that are constant, or that have no rows, are needed whole.
pub fn row_needs(op: &NnOp, operands: &[&TensorType], results: &[&TensorType]) -> Option<Vec<RowNeed>> {
    let rows = image_rows(&results.first()?.shape)?;
    if results.iter().any(|result| image_rows(&result.shape) != Some(rows)) {
        return None;
    }
    let first = |need: Option<RowNeed>| {
        let mut needs = vec![RowNeed::Whole; operands.len()];
        *needs.first_mut()? = need?;
        Some(needs)
    };
    match op {
        NnOp::Conv2d(op) => first(window(operands, taps_of(operands)?, op.stride, op.dilation, op.pad)),
        NnOp::Conv2dAdd(op) => {
            let mut needs = first(window(operands, taps_of(operands)?, op.stride, op.dilation, op.pad))?;
            *needs.last_mut()? = same_row(operands.last()?, rows);
            Some(needs)
        }
        NnOp::DepthwiseConv2d(op) => {
            first(window(operands, taps_of(operands)?, op.stride, op.dilation, op.pad))
        }
        NnOp::AvgPool2d(op) => {
            first(window(operands, op.kernel.map(|k| k as usize), op.stride, [1, 1], op.pad))
        }
        NnOp::MaxPool2d(op) => {
            first(window(operands, op.kernel.map(|k| k as usize), op.stride, [1, 1], op.pad))
        }
        NnOp::TransposeConv2d(op) => {
            let taps = operands.get(1)?.shape.nhwc()?[1];
            first(meeting(operands, rows, taps, op.stride[0] as usize, op.pad[0] as usize))
        }
        NnOp::ResizeBilinear(op) => {
            let float = operands.first()?.storage().is_float();
            first(sampled(operands, rows, |row, input| {
                if float {
                    let at = real_sample(row, input, rows, op.align_corners, op.half_pixel_centers);
                    [at.low, at.high]
                } else {
                    let at = fixed_sample(row, input, rows, op.align_corners, op.half_pixel_centers);
                    [at.low, at.high]
                }
            }))
        }
        NnOp::ResizeNearest(op) => first(sampled(operands, rows, |row, input| {
            [nearest(row, input, rows, op.align_corners, op.half_pixel_centers); 2]
        })),
        NnOp::Add(_)
        | NnOp::Sub(_)
        | NnOp::Mul(_)
        | NnOp::Div(_)
        | NnOp::Maximum(_)
        | NnOp::Minimum(_)
        | NnOp::SquaredDifference(_)
        | NnOp::Prelu(_)
        | NnOp::Relu(_)
        | NnOp::LeakyRelu(_)
        | NnOp::Elu(_)
        | NnOp::Tanh(_)
        | NnOp::Logistic(_)
        | NnOp::HardSwish(_)
        | NnOp::Abs(_)
        | NnOp::Neg(_)
        | NnOp::Exp(_)
        | NnOp::Log(_)
        | NnOp::Sqrt(_)
        | NnOp::Rsqrt(_)
        | NnOp::Square(_)
        | NnOp::Lookup(_)
        | NnOp::Quantize(_)
        | NnOp::Dequantize(_)
        | NnOp::Cast(_) => Some(operands.iter().map(|operand| same_row(operand, rows)).collect()),
        NnOp::Concat(op) if op.axis >= 2 => {
            Some(operands.iter().map(|operand| same_row(operand, rows)).collect())
        }
        NnOp::Insert(op) => {
            let tile = image_rows(&operands.get(1)?.shape)?;
            let before = *op.begin.get(1)? as i64;
            let of_tile = RowNeed::Window { stride: 1, before, extent: 1, rows: tile };
            Some(vec![same_row(operands.first()?, rows), of_tile])
        }
        NnOp::Concat(op) if op.axis == 1 => stacked(operands),
        NnOp::Split(op) if op.axis >= 2 => first(Some(same_row(operands.first()?, rows))),
        NnOp::Softmax(_) | NnOp::LogSoftmax(_) | NnOp::L2Normalization(_) => {
            first(Some(same_row(operands.first()?, rows)))
        }
        NnOp::Transpose(op) if op.permutation.starts_with(&[0, 1]) => {
            first(Some(same_row(operands.first()?, rows)))
        }
        // With indices of several dimensions, the operand is no image.
        NnOp::Gather(op) if op.axis >= 2 && operands.first()?.shape.rank() == 4 => {
            first(Some(same_row(operands.first()?, rows)))
        }
        NnOp::Mean(n::Mean { axes, keep_dims })
        | NnOp::Sum(n::Sum { axes, keep_dims })
        | NnOp::ReduceMax(n::ReduceMax { axes, keep_dims })
        | NnOp::ReduceMin(n::ReduceMin { axes, keep_dims })
            if *keep_dims && !axes.contains(&1) =>
        {
            image_rows(&operands.first()?.shape)?;
            first(Some(same_row(operands.first()?, rows)))
        }
        NnOp::MeanOfMeans(n::MeanOfMeans { inner, outer, keep_dims, .. })
            if *keep_dims && !inner.contains(&1) && !outer.contains(&1) =>
        {
            image_rows(&operands.first()?.shape)?;
            first(Some(same_row(operands.first()?, rows)))
        }
        NnOp::Slice(op) => first(stepped(operands, *op.begin.get(1)?, *op.stride.get(1)?, rows)),
        NnOp::Tile(_) => {
            let input = image_rows(&operands.first()?.shape)?;
            first(taken(operands, rows, |row| row.checked_rem(input)))
        }
        NnOp::DepthToSpace(op) => first(taken(operands, rows, |row| row.checked_div(op.block))),
        NnOp::SpaceToDepth(op) => first(Some(RowNeed::Window {
            stride: op.block,
            before: 0,
            extent: op.block,
            rows: image_rows(&operands.first()?.shape)?,
        })),
        NnOp::Pad(op) => first(Some(RowNeed::Window {
            stride: 1,
            before: i64::try_from(*op.low.get(1)?).ok()?,
            extent: 1,
            rows: image_rows(&operands.first()?.shape)?,
        })),
        NnOp::Concat(_)
        | NnOp::Split(_)
        | NnOp::Const(_)
        | NnOp::FullyConnected(_)
        | NnOp::Mean(_)
        | NnOp::MeanOfMeans(_)
        | NnOp::Sum(_)
        | NnOp::ReduceMax(_)
        | NnOp::ReduceMin(_)
        | NnOp::ArgMax(_)
        | NnOp::ArgMin(_)
        | NnOp::Reshape(_)
        | NnOp::Transpose(_)
        | NnOp::Gather(_)
        | NnOp::Pack(_)
        | NnOp::Unpack(_)
        | NnOp::ShapeOf(_) => None,
    }
}

/// The rows of operands that lie below one another: each needs one row of one operand.
fn stacked(operands: &[&TensorType]) -> Option<Vec<RowNeed>> {
    let mut start = 0;
    let need = |operand: &&TensorType| {
        let rows = image_rows(&operand.shape)?;
        let before = start;
        start += rows as i64;
        Some(RowNeed::Window { stride: 1, before, extent: 1, rows })
    };
    operands.iter().map(need).collect()
}

/// One row each, of an operand that is an image.
fn taken(operands: &[&TensorType], rows: usize, from: impl Fn(usize) -> Option<usize>) -> Option<RowNeed> {
    let input = image_rows(&operands.first()?.shape)?;
    let span = |row| from(row).filter(|&row| row < input).map(|row| [row, row + 1]);
    Some(RowNeed::Spans { spans: (0..rows).map(span).collect::<Option<_>>()?, rows: input })
}

/// Rows of its operand that the op folds into its results one after the other, if it does; `None` if it makes its results
/// otherwise. Row `r` is needed for step `r`, and the results are there after the last one.
pub fn folded_rows(op: &NnOp, operands: &[&TensorType]) -> Option<usize> {
    let input = operands.first()?;
    let rows = image_rows(&input.shape).filter(|&rows| rows > 1)?;
    let folds = match op {
        NnOp::Mean(n::Mean { axes, .. })
        | NnOp::Sum(n::Sum { axes, .. })
        | NnOp::ReduceMax(n::ReduceMax { axes, .. })
        | NnOp::ReduceMin(n::ReduceMin { axes, .. }) => axes.contains(&1),
        // Means of rows are there before the next row comes; those of columns are not.
        NnOp::MeanOfMeans(n::MeanOfMeans { inner, outer, .. }) => outer.contains(&1) && !inner.contains(&1),
        // A window over the whole height.
        NnOp::AvgPool2d(op) => op.kernel[0] as usize == rows && op.pad[..2] == [0, 0],
        _ => false,
    };
    folds.then_some(rows)
}

/// Height and width of a convolution's filter.
fn taps_of(operands: &[&TensorType]) -> Option<[usize; 2]> {
    let [_, height, width, _] = operands.get(1)?.shape.nhwc()?;
    Some([height, width])
}

fn window(
    operands: &[&TensorType],
    taps: [usize; 2],
    stride: [u32; 2],
    dilation: [u32; 2],
    pad: [u32; 4],
) -> Option<RowNeed> {
    let input = four(operands.first()?).ok()?;
    let window = Windows::new(input, taps, stride, dilation, pad).y;
    Some(RowNeed::Window {
        stride: window.stride,
        before: window.before as i64,
        extent: window.extent(),
        rows: window.input,
    })
}

/// Row `r` of a transposed convolution meets input row `i` where `r + pad - i * stride` is a tap.
fn meeting(operands: &[&TensorType], rows: usize, taps: usize, stride: usize, pad: usize) -> Option<RowNeed> {
    let input = image_rows(&operands.first()?.shape)?;
    let spans = (0..rows).map(|row| {
        let last = (row + pad) / stride.max(1);
        let first = (row + pad + 1).saturating_sub(taps).div_ceil(stride.max(1));
        let end = (last + 1).min(input);
        [first.min(end), end]
    });
    Some(RowNeed::Spans { spans: spans.collect(), rows: input })
}

/// Row `begin + stride * r`, from a slice of height.
fn stepped(operands: &[&TensorType], begin: usize, stride: i64, rows: usize) -> Option<RowNeed> {
    let input = image_rows(&operands.first()?.shape)?;
    if let Ok(stride) = usize::try_from(stride) {
        return Some(RowNeed::Window { stride, before: -(begin as i64), extent: 1, rows: input });
    }
    let spans = (0..rows).map(|row| {
        let at = usize::try_from(begin as i64 + stride * row as i64).ok()?;
        Some([at, at + 1])
    });
    Some(RowNeed::Spans { spans: spans.collect::<Option<_>>()?, rows: input })
}

/// The rows from the lower to the upper one that are sampled.
fn sampled(
    operands: &[&TensorType],
    rows: usize,
    sample: impl Fn(usize, usize) -> [usize; 2],
) -> Option<RowNeed> {
    let input = image_rows(&operands.first()?.shape)?;
    let spans = (0..rows).map(|row| {
        let [low, high] = sample(row, input);
        [low.min(high), low.max(high) + 1]
    });
    Some(RowNeed::Spans { spans: spans.collect(), rows: input })
}

/// The same row of an operand with as many rows; all of one that is broadcast.
fn same_row(operand: &TensorType, rows: usize) -> RowNeed {
    if image_rows(&operand.shape) == Some(rows) && rows > 1 { RowNeed::same(rows) } else { RowNeed::Whole }
}
