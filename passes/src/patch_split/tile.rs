//! One operation, one tile: the operation that makes a region of the result from regions of the operands.
//!
//! Exact by construction. Padding is resolved per tile: what a window reads beyond the tensor stays padding, what it reads
//! beyond the tile only is halo and becomes part of the operand's region. Where a tile can't be made alone (all of its windows
//! lie in the padding, or interpolation repeats with a period), the region that is made is larger than the one wanted.

use super::region::{Region, dimension, whole};
use mcunet_ir::TensorType;
use mcunet_ir::define::Trait;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::nn::resize::{fixed_sample, nearest, real_sample};
use mcunet_ir::nn::window::{Window, Windows, four};
use mcunet_ir::quant::Granularity;
use mcunet_ir::types::Element;
use std::ops::Range;

/// The part of an operation that makes a tile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpTile {
    /// The operation, with its padding and sizes for the tile.
    pub kind: NnOp,
    /// The region of its results that it makes; at least the one that is wanted.
    pub made: Region,
    /// Regions that it reads of its operands; `None` for those that every tile reads whole, such as filters.
    pub operands: Vec<Option<Region>>,
}

/// The tile of an operation that makes region `wanted` of its results.
///
/// # Errors
/// Why it can't be made tile by tile, as the end of a sentence about the operation.
pub fn tile_of(
    kind: &NnOp,
    operands: &[&TensorType],
    results: &[&TensorType],
    wanted: &Region,
) -> Result<OpTile, String> {
    check_types(operands, results)?;
    let shape = results.first().map(|ty| ty.shape.clone()).unwrap_or_default();
    let outputs = whole(&shape).map(|span| span.len());
    let first = |tile: [Along; 2], kind: NnOp| {
        let [y, x] = tile;
        let mut needed = vec![None; operands.len()];
        if let Some(first) = needed.first_mut() {
            *first = Some([y.input, x.input]);
        }
        OpTile { kind, made: [y.made, x.made], operands: needed }
    };
    let windowed = |taps: [usize; 2], stride, dilation, pad: [u32; 4]| -> Result<_, String> {
        let Windows { y, x } = Windows::new(four(operands[0])?, taps, stride, dilation, pad);
        let tiles = [window(y, outputs[0], &wanted[0]), window(x, outputs[1], &wanted[1])];
        let pad = [tiles[0].around, tiles[1].around].as_flattened().to_vec();
        let pad: Vec<u32> = pad.into_iter().map(|amount| u32::try_from(amount).unwrap_or(u32::MAX)).collect();
        Ok((tiles, [pad[0], pad[1], pad[2], pad[3]]))
    };
    let input = operands.first().map(|ty| whole(&ty.shape).map(|span| span.len())).unwrap_or([1, 1]);
    Ok(match kind {
        NnOp::Conv2d(op) => {
            let [_, height, width, _] = four(operands[1])?;
            let (tiles, pad) = windowed([height, width], op.stride, op.dilation, op.pad)?;
            first(tiles, n::Conv2d { pad, ..op.clone() }.into())
        }
        NnOp::Conv2dAdd(op) => {
            let [_, height, width, _] = four(operands[1])?;
            let (tiles, pad) = windowed([height, width], op.stride, op.dilation, op.pad)?;
            let mut tile = first(tiles, n::Conv2dAdd { pad, ..op.clone() }.into());
            if let Some(addend) = tile.operands.last_mut() {
                *addend = Some(tile.made.clone());
            }
            tile
        }
        NnOp::DepthwiseConv2d(op) => {
            let [_, height, width, _] = four(operands[1])?;
            let (tiles, pad) = windowed([height, width], op.stride, op.dilation, op.pad)?;
            first(tiles, n::DepthwiseConv2d { pad, ..op.clone() }.into())
        }
        NnOp::AvgPool2d(op) => {
            let (tiles, pad) = windowed(op.kernel.map(|k| k as usize), op.stride, [1, 1], op.pad)?;
            first(tiles, n::AvgPool2d { pad, ..op.clone() }.into())
        }
        NnOp::MaxPool2d(op) => {
            let (tiles, pad) = windowed(op.kernel.map(|k| k as usize), op.stride, [1, 1], op.pad)?;
            first(tiles, n::MaxPool2d { pad, ..op.clone() }.into())
        }
        NnOp::TransposeConv2d(op) => {
            let [_, height, width, _] = four(operands[1])?;
            let taps = [height, width];
            let tiles = [0, 1].map(|axis| {
                transposed(
                    input[axis],
                    taps[axis],
                    op.stride[axis] as usize,
                    op.pad[axis] as usize,
                    &wanted[axis],
                )
            });
            let pad = [0, 1].map(|axis| tiles[axis].around[0] as u32);
            let output_size = [0, 1].map(|axis| wanted[axis].len() as u32);
            first(tiles, n::TransposeConv2d { pad, output_size, ..op.clone() }.into())
        }
        NnOp::ResizeBilinear(op) => {
            let float = operands[0].storage().is_float();
            let tiles = sampled(input, outputs, wanted, |index, input, output| {
                if float {
                    let at = real_sample(index, input, output, op.align_corners, op.half_pixel_centers);
                    ([at.low, at.high], at.weight.to_bits().into())
                } else {
                    let at = fixed_sample(index, input, output, op.align_corners, op.half_pixel_centers);
                    ([at.low, at.high], at.weight.into())
                }
            })?;
            let size = [0, 1].map(|axis| tiles[axis].made.len() as u32);
            first(tiles, n::ResizeBilinear { size, ..op.clone() }.into())
        }
        NnOp::ResizeNearest(op) => {
            let tiles = sampled(input, outputs, wanted, |index, input, output| {
                let at = nearest(index, input, output, op.align_corners, op.half_pixel_centers);
                ([at; 2], 0)
            })?;
            let size = [0, 1].map(|axis| tiles[axis].made.len() as u32);
            first(tiles, n::ResizeNearest { size, ..op.clone() }.into())
        }
        NnOp::Pad(op) => {
            let tiles = [0, 1].map(|axis| padded(op.low[1 + axis], input[axis], &wanted[axis]));
            let mut pad = op.clone();
            for (axis, tile) in tiles.iter().enumerate() {
                [pad.low[1 + axis], pad.high[1 + axis]] = tile.around;
            }
            first(tiles, pad.into())
        }
        NnOp::Slice(op) => {
            let mut slice = op.clone();
            for (axis, span) in wanted.iter().enumerate() {
                slice.begin[1 + axis] = 0;
                slice.size[1 + axis] = span.len();
            }
            let tile = |axis: usize| {
                let stride = usize::try_from(op.stride[1 + axis]).ok().filter(|&stride| stride > 0)?;
                let (begin, span) = (op.begin[1 + axis], wanted[axis].clone());
                let input = begin + span.start * stride..begin + (span.end - 1) * stride + 1;
                Some(Along { made: span, input, around: [0, 0] })
            };
            match (tile(0), tile(1)) {
                (Some(y), Some(x)) => first([y, x], slice.into()),
                _ => return Err("walks backwards through rows or columns".to_owned()),
            }
        }
        NnOp::Concat(n::Concat { axis }) | NnOp::Split(n::Split { axis, .. }) if [1, 2].contains(axis) => {
            return Err("joins or cuts along rows or columns".to_owned());
        }
        NnOp::Softmax(_)
        | NnOp::LogSoftmax(_)
        | NnOp::L2Normalization(_)
        | NnOp::Concat(_)
        | NnOp::Split(_) => same_region(kind, operands, wanted),
        _ if kind.spec().has(Trait::Elementwise) => same_region(kind, operands, wanted),
        _ => return Err("needs rows and columns beyond any tile".to_owned()),
    })
}

/// Tiles exist of images: results have four dimensions, none of them 0, and no quantization that changes along rows or columns.
fn check_types(operands: &[&TensorType], results: &[&TensorType]) -> Result<(), String> {
    for result in results {
        if result.shape.nhwc().is_none_or(|dims| dims.contains(&0)) {
            return Err(format!("makes a tensor {}, which is no image", result.shape));
        }
    }
    let images = operands.iter().chain(results).filter(|ty| ty.shape.rank() == 4);
    for ty in images.chain(operands.iter().filter(|ty| ty.shape.rank() < 4)) {
        if let Element::Quant(quant) = &ty.element
            && let Granularity::PerAxis { axis, .. } = &quant.granularity
            && [0, 1]
                .into_iter()
                .filter_map(|spatial| dimension(ty.shape.rank(), spatial))
                .any(|d| d == *axis)
        {
            return Err("is quantized along rows or columns".to_owned());
        }
    }
    Ok(())
}

/// Every operand is read where the result is made, unless it is broadcast.
fn same_region(kind: &NnOp, operands: &[&TensorType], wanted: &Region) -> OpTile {
    let region = |ty: &&TensorType| {
        let all = whole(&ty.shape);
        Some([0, 1].map(|axis| if all[axis].len() == 1 { 0..1 } else { wanted[axis].clone() }))
    };
    OpTile { kind: kind.clone(), made: wanted.clone(), operands: operands.iter().map(region).collect() }
}

/// A tile along one dimension.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Along {
    /// Outputs that are made.
    made: Range<usize>,
    /// Inputs that are read.
    input: Range<usize>,
    /// Padding before and after them.
    around: [usize; 2],
}

/// Windows of outputs `wanted`; of more, up to the nearest that reads an input, if none of these does.
fn window(window: Window, outputs: usize, wanted: &Range<usize>) -> Along {
    let first = |output: usize| (output * window.stride) as i64 - window.before as i64;
    let reads =
        |&output: &usize| first(output) < window.input as i64 && first(output) + window.extent() as i64 > 0;
    let mut made = wanted.clone();
    if !made.clone().any(|output| reads(&output)) {
        let nearest = (made.end..outputs).find(reads).or_else(|| (0..made.start).rev().find(reads));
        let Some(nearest) = nearest else {
            let around = [window.before, window.after];
            return Along { made: 0..outputs, input: 0..window.input, around };
        };
        made = made.start.min(nearest)..made.end.max(nearest + 1);
    }
    let (start, end) = (first(made.start), first(made.end - 1) + window.extent() as i64);
    let input = start.max(0) as usize..end.min(window.input as i64) as usize;
    let around = [(-start).max(0) as usize, (end - window.input as i64).max(0) as usize];
    Along { made, input, around }
}

/// Outputs of a transposed convolution: input `i` adds to outputs `i * stride - pad` and the `taps - 1` after it. An input
/// more does no harm, since it adds to the same outputs as in the whole.
fn transposed(input: usize, taps: usize, stride: usize, pad: usize, wanted: &Range<usize>) -> Along {
    let place = wanted.start + pad;
    let first = (place + 1).saturating_sub(taps).div_ceil(stride).min(place / stride).min(input - 1);
    let end = ((wanted.end - 1 + pad) / stride + 1).min(input).max(first + 1);
    // Outputs of the tile begin at `wanted.start`, inputs at `first`.
    Along { made: wanted.clone(), input: first..end, around: [place - first * stride, 0] }
}

/// Outputs of a padding of `low` before `input` elements; of more, up to the nearest that is no padding.
fn padded(low: usize, input: usize, wanted: &Range<usize>) -> Along {
    let (start, end) = (wanted.start.min(low + input - 1), wanted.end.max(low + 1));
    let inside = start.max(low)..end.min(low + input);
    let around = [low.saturating_sub(start), end.saturating_sub(low + input)];
    Along { made: start..end, input: inside.start - low..inside.end - low, around }
}

/// Tiles of an interpolation. Where inputs and outputs have a common divisor, samples repeat that often, so that a tile of whole
/// periods, perhaps with one more at each end, samples alike; that is checked for every output. `sample` gives, for an output
/// and the numbers of inputs and outputs, the positions that are read, and a weight.
fn sampled(
    input: [usize; 2],
    outputs: [usize; 2],
    wanted: &Region,
    sample: impl Fn(usize, usize, usize) -> ([usize; 2], i64),
) -> Result<[Along; 2], String> {
    let along = |axis: usize| {
        let (inputs, outputs, wanted) = (input[axis], outputs[axis], wanted[axis].clone());
        let periods = gcd(inputs, outputs);
        // A tile would be all of it.
        if periods == 1 && wanted.len() < outputs {
            return None;
        }
        let (of_input, of_output) = (inputs / periods, outputs / periods);
        let (first, end) = (wanted.start / of_output, wanted.end.div_ceil(of_output));
        [0, 1].into_iter().find_map(|halo| {
            let (first, end) = (first.saturating_sub(halo), (end + halo).min(periods));
            let (made, input) = (first * of_output..end * of_output, first * of_input..end * of_input);
            let alike = wanted.clone().all(|output| {
                let (at, weight) = sample(output - made.start, input.len(), made.len());
                (at.map(|at| at + input.start), weight) == sample(output, inputs, outputs)
            });
            alike.then_some(Along { made, input, around: [0, 0] })
        })
    };
    match (along(0), along(1)) {
        (Some(y), Some(x)) => Ok([y, x]),
        _ => Err("interpolates in a way that no tile repeats exactly".to_owned()),
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}
