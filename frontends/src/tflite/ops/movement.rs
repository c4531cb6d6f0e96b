//! Operators that move elements.

use super::{activation_limits, axis, input, inputs, optional_input, output_element};
use crate::tflite::importer::{Importer, Refusal, shape};
use crate::tflite::reader::{Operator, OperatorOptions};
use mcunet_ir::Value;
use mcunet_ir::attr::Number;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::F32;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::{Element, Scalar};

/// The operand that carries data, and its dimensions.
fn data(importer: &mut Importer<'_>, operator: &Operator<'_>) -> Result<(Value, Vec<usize>), Refusal> {
    let x = input(importer, operator, 0)?;
    Ok((x, importer.ty(x).shape.0.clone()))
}

fn sizes(values: &[i64], what: &str) -> Result<Vec<usize>, Refusal> {
    let sizes: Option<Vec<usize>> = values.iter().map(|&value| usize::try_from(value).ok()).collect();
    sizes.ok_or_else(|| format!("expected {what} of at least 0, got {values:?}"))
}

/// The new shape is the constant operand, the option, or the output tensor's, whichever has as many elements.
pub(super) fn reshape<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let (x, dims) = data(importer, operator)?;
    let elements: usize = dims.iter().product();
    let mut candidates: Vec<Vec<i64>> = Vec::new();
    if let Some(index) = optional_input(operator, 1) {
        let value = importer.value(index)?;
        candidates.extend(importer.integers(value, "shape").ok());
    }
    if let OperatorOptions::Reshape { new_shape } = &operator.options {
        candidates.push(new_shape.iter().map(|&dim| dim.into()).collect());
    }
    if let Some(&output) = operator.outputs.first() {
        candidates.push(shape(importer.file_tensor(output)).iter().map(|&dim| dim as i64).collect());
    }
    let resolved = candidates.iter().find_map(|wanted| resolve(wanted, elements));
    let shape =
        resolved.ok_or_else(|| format!("expected a shape of {elements} elements, got {candidates:?}"))?;
    importer.finish(operator, n::Reshape { shape }, vec![x])
}

/// A shape with at most one -1 resolved; `None` if it does not have the given number of elements.
fn resolve(wanted: &[i64], elements: usize) -> Option<Vec<usize>> {
    let fixed: i64 =
        wanted.iter().filter(|&&dim| dim != -1).try_fold(1i64, |product, &dim| product.checked_mul(dim))?;
    let elements = i64::try_from(elements).ok()?;
    let open = wanted.iter().filter(|&&dim| dim == -1).count();
    let rest = match open {
        0 if fixed == elements => 1,
        1 if fixed > 0 && elements % fixed == 0 => elements / fixed,
        _ => return None,
    };
    wanted.iter().map(|&dim| usize::try_from(if dim == -1 { rest } else { dim }).ok()).collect()
}

pub(super) fn squeeze<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let (x, dims) = data(importer, operator)?;
    let named: &[i32] = match &operator.options {
        OperatorOptions::Squeeze { squeeze_dims } => squeeze_dims,
        _ => &[],
    };
    let axes = named.iter().map(|&value| axis(value.into(), dims.len())).collect::<Result<Vec<_>, _>>()?;
    if let Some(&wrong) = axes.iter().find(|&&axis| dims[axis] != 1) {
        return Err(format!(
            "expected to squeeze dimensions of size 1, got dimension {wrong} of size {}",
            dims[wrong]
        ));
    }
    let kept = |(axis, &dim): (usize, &usize)| {
        let dropped = if axes.is_empty() { dim == 1 } else { axes.contains(&axis) };
        (!dropped).then_some(dim)
    };
    let shape = dims.iter().enumerate().filter_map(kept).collect();
    importer.finish(operator, n::Reshape { shape }, vec![x])
}

pub(super) fn expand_dims<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let (x, mut dims) = data(importer, operator)?;
    let given = input(importer, operator, 1)?;
    let given = importer.integers(given, "axis")?;
    let [given] = given[..] else { return Err(format!("expected one axis, got {given:?}")) };
    dims.insert(axis(given, dims.len() + 1)?, 1);
    importer.finish(operator, n::Reshape { shape: dims }, vec![x])
}

pub(super) fn shape_of<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let x = input(importer, operator, 0)?;
    importer.finish(operator, n::ShapeOf {}, vec![x])
}

pub(super) fn transpose<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let (x, dims) = data(importer, operator)?;
    let given = input(importer, operator, 1)?;
    let given = importer.integers(given, "permutation")?;
    let permutation = given.into_iter().map(|value| axis(value, dims.len())).collect::<Result<_, _>>()?;
    importer.finish(operator, n::Transpose { permutation }, vec![x])
}

pub(super) fn concatenation<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let OperatorOptions::Concatenation { axis: given, activation } = operator.options else {
        return Err("expected options with an axis, got none".to_owned());
    };
    if activation_limits(activation)? != (None, None) {
        return Err("expected no fused activation, got one".to_owned());
    }
    let (_, dims) = data(importer, operator)?;
    let axis = axis(given.into(), dims.len())?;
    let operands = inputs(importer, operator)?;
    importer.finish(operator, n::Concat { axis }, operands)
}

/// Inputs: axis, data. The pieces are equal.
pub(super) fn split<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let (given, x) = (input(importer, operator, 0)?, input(importer, operator, 1)?);
    let given = importer.integers(given, "axis")?;
    let [given] = given[..] else { return Err(format!("expected one axis, got {given:?}")) };
    let dims = importer.ty(x).shape.0.clone();
    let axis = axis(given, dims.len())?;
    let pieces = operator.outputs.len();
    if pieces == 0 || !dims[axis].is_multiple_of(pieces) {
        return Err(format!(
            "expected a dimension that divides into {pieces} equal pieces, got {}",
            dims[axis]
        ));
    }
    importer.finish(operator, n::Split { axis, sizes: vec![dims[axis] / pieces; pieces] }, vec![x])
}

/// Inputs: data, sizes (one of which may be -1), axis.
pub(super) fn split_v<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let (x, dims) = data(importer, operator)?;
    let (given_sizes, given_axis) = (input(importer, operator, 1)?, input(importer, operator, 2)?);
    let given_axis = importer.integers(given_axis, "axis")?;
    let [given_axis] = given_axis[..] else { return Err(format!("expected one axis, got {given_axis:?}")) };
    let axis = axis(given_axis, dims.len())?;
    let mut given = importer.integers(given_sizes, "sizes")?;
    let known = given.iter().filter(|&&size| size >= 0).fold(0i64, |sum, &size| sum.saturating_add(size));
    if let Some(open) = given.iter_mut().find(|size| **size == -1) {
        *open = dims[axis] as i64 - known;
    }
    importer.finish(operator, n::Split { axis, sizes: sizes(&given, "sizes")? }, vec![x])
}

pub(super) fn slice<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let (x, dims) = data(importer, operator)?;
    let (begin, size) = (input(importer, operator, 1)?, input(importer, operator, 2)?);
    let begin = sizes(&importer.integers(begin, "begin")?, "begin")?;
    let mut size = importer.integers(size, "size")?;
    for ((size, &begin), &dim) in size.iter_mut().zip(&begin).zip(&dims) {
        if *size == -1 {
            *size = dim as i64 - begin as i64;
        }
    }
    let size = sizes(&size, "size")?;
    importer.finish(operator, n::Slice { begin, size, stride: vec![1; dims.len()] }, vec![x])
}

/// Where a strided slice begins along one dimension, and how many elements it has.
fn strided(dim: usize, begin: Option<i64>, end: Option<i64>, stride: i64) -> (usize, usize) {
    let dim = dim as i64;
    // Bounds of valid positions: walking down may end before the first element.
    let (low, high) = if stride > 0 { (0, dim) } else { (-1, dim - 1) };
    let resolve = |given: Option<i64>, default: i64| match given {
        None => default,
        Some(value) if value < 0 => value.saturating_add(dim).clamp(low, high),
        Some(value) => value.clamp(low, high),
    };
    let (first, last) = if stride > 0 { (0, dim) } else { (dim - 1, -1) };
    let (begin, end) = (resolve(begin, first), resolve(end, last));
    let distance = if stride > 0 { end - begin } else { begin - end };
    let count = if distance > 0 { distance.unsigned_abs().div_ceil(stride.unsigned_abs()) } else { 0 };
    (usize::try_from(begin).unwrap_or(0), count as usize)
}

pub(super) fn strided_slice<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let OperatorOptions::StridedSlice(options) = &operator.options else {
        return Err("expected options with masks, got none".to_owned());
    };
    if options.ellipsis_mask != 0 || options.new_axis_mask != 0 || options.offset {
        return Err("expected no ellipsis or new-axis mask and no offset form, got one".to_owned());
    }
    let (x, dims) = data(importer, operator)?;
    let mut lists = Vec::new();
    for (position, what) in [(1, "begin"), (2, "end"), (3, "strides")] {
        let value = input(importer, operator, position)?;
        let list = importer.integers(value, what)?;
        if list.len() > dims.len() {
            return Err(format!("expected at most {} entries in {what}, got {}", dims.len(), list.len()));
        }
        lists.push(list);
    }
    let (mut begin, mut size, mut stride, mut kept) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (axis, &dim) in dims.iter().enumerate() {
        let at = |list: usize, mask: i32| {
            let masked = mask >> axis.min(31) & 1 != 0;
            lists[list].get(axis).copied().filter(|_| !masked)
        };
        let step = at(2, 0).unwrap_or(1);
        if step == 0 {
            return Err("expected strides other than 0, got 0".to_owned());
        }
        let shrinks = options.shrink_axis_mask >> axis.min(31) & 1 != 0;
        let (first, count) = if shrinks {
            let position = super::axis(at(0, 0).unwrap_or(0), dim)?;
            (position, 1)
        } else {
            strided(dim, at(0, options.begin_mask), at(1, options.end_mask), step)
        };
        begin.push(first);
        size.push(count);
        stride.push(if shrinks { 1 } else { step });
        if !shrinks {
            kept.push(count);
        }
    }
    let element = importer.ty(x).element.clone();
    let sliced = importer.emit(n::Slice { begin, size, stride }, vec![x], vec![element])?;
    importer.finish(operator, n::Reshape { shape: kept }, sliced)
}

/// Amounts before and after each dimension.
fn paddings(
    importer: &mut Importer<'_>,
    operator: &Operator<'_>,
    rank: usize,
) -> Result<(Vec<usize>, Vec<usize>), Refusal> {
    let given = input(importer, operator, 1)?;
    let amounts = sizes(&importer.integers(given, "paddings")?, "paddings")?;
    if amounts.len() != 2 * rank {
        return Err(format!("expected {rank} pairs of paddings, got {} numbers", amounts.len()));
    }
    Ok(amounts.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip())
}

/// Pads with real zero.
pub(super) fn pad<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let (x, dims) = data(importer, operator)?;
    let (low, high) = paddings(importer, operator, dims.len())?;
    let value = match output_element(importer, operator)? {
        Element::Plain(Scalar::F32) => Number::Real(F32(0.0)),
        Element::Plain(_) => Number::Int(0),
        Element::Quant(quant) => Number::Int(quant.affine().map_or(0, |affine| affine.zero_point.into())),
    };
    importer.finish(operator, n::Pad { low, high, value }, vec![x])
}

pub(super) fn pad_v2<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let (x, dims) = data(importer, operator)?;
    let (low, high) = paddings(importer, operator, dims.len())?;
    let given = input(importer, operator, 2)?;
    let value = match importer.known(given) {
        Some(Data::F32(items)) => items.first().map(|&item| Number::Real(F32(item))),
        Some(items) => items.to_i64s().and_then(|items| items.first().copied()).map(Number::Int),
        None => None,
    };
    let value = value.ok_or("expected a constant padding value, got one that is computed at run time")?;
    importer.finish(operator, n::Pad { low, high, value }, vec![x])
}

pub(super) fn gather<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let OperatorOptions::Gather { axis: given, batch_dims } = operator.options else {
        return Err("expected options with an axis, got none".to_owned());
    };
    if batch_dims != 0 {
        return Err(format!("expected no batch dimensions, got {batch_dims}"));
    }
    let (x, dims) = data(importer, operator)?;
    let indices = input(importer, operator, 1)?;
    importer.integers(indices, "indices")?;
    let axis = axis(given.into(), dims.len())?;
    importer.finish(operator, n::Gather { axis }, vec![x, indices])
}

pub(super) fn pack<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let OperatorOptions::Pack { axis: given, .. } = operator.options else {
        return Err("expected options with an axis, got none".to_owned());
    };
    let (_, dims) = data(importer, operator)?;
    let axis = axis(given.into(), dims.len() + 1)?;
    let operands = inputs(importer, operator)?;
    importer.finish(operator, n::Pack { axis }, operands)
}

pub(super) fn unpack<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let OperatorOptions::Unpack { axis: given, .. } = operator.options else {
        return Err("expected options with an axis, got none".to_owned());
    };
    let (x, dims) = data(importer, operator)?;
    let axis = axis(given.into(), dims.len())?;
    importer.finish(operator, n::Unpack { axis }, vec![x])
}

pub(super) fn tile<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let (x, given) = (input(importer, operator, 0)?, input(importer, operator, 1)?);
    let multiples = sizes(&importer.integers(given, "multiples")?, "multiples")?;
    importer.finish(operator, n::Tile { multiples }, vec![x])
}

fn block(block_size: i32) -> Result<usize, Refusal> {
    super::positive(block_size, "a block size").map(|size| size as usize)
}

pub(super) fn depth_to_space<'m>(
    importer: &mut Importer<'m>,
    operator: &Operator<'m>,
) -> Result<(), Refusal> {
    let OperatorOptions::DepthToSpace { block_size } = operator.options else {
        return Err("expected options with a block size, got none".to_owned());
    };
    let x = input(importer, operator, 0)?;
    importer.finish(operator, n::DepthToSpace { block: block(block_size)? }, vec![x])
}

pub(super) fn space_to_depth<'m>(
    importer: &mut Importer<'m>,
    operator: &Operator<'m>,
) -> Result<(), Refusal> {
    let OperatorOptions::SpaceToDepth { block_size } = operator.options else {
        return Err("expected options with a block size, got none".to_owned());
    };
    let x = input(importer, operator, 0)?;
    importer.finish(operator, n::SpaceToDepth { block: block(block_size)? }, vec![x])
}
