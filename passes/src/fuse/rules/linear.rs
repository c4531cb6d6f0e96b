//! Convolutions and fully connected layers: joined, turned into one another, multiplied out, and with constants folded
//! into their weights.

use super::{Proof, Rule};
use crate::fuse::graph::Graph;
use crate::fuse::language::OpNode;
use egg::Id;
use mcunet_ir::attr::Clamp;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::nn::requantize::{convolution_multipliers, fully_connected_multipliers};
use mcunet_ir::quant::{Granularity, QuantType};
use mcunet_ir::tensor::Data;
use mcunet_ir::types::{Element, Scalar};
use mcunet_ir::{Shape, Tensor, TensorType};
use std::sync::Arc;

/// The rules of this family.
pub const RULES: &[Rule] = &[
    Rule {
        name: "join-convolutions",
        summary: "`concat(conv(x), conv(x))` along the channels becomes one convolution",
        condition: "both read one tensor and have one form, filter size included; filters and biases are constant",
        proof: Proof::Exact("every output channel is the same sum, rescaled by the same multiplier"),
        roots: |kind| matches!(kind, NnOp::Concat(_)),
        apply: join_convolutions,
    },
    Rule {
        name: "parallel-convolutions",
        summary: "`conv(x)` beside another `conv(x)` becomes a slice of one convolution that makes both",
        condition: "both have one form and one quantization of results, filter size included; filters and biases are constant",
        proof: Proof::Exact("every output channel is the same sum, rescaled by the same multiplier"),
        roots: |kind| matches!(kind, NnOp::Conv2d(_)),
        apply: parallel_convolutions,
    },
    Rule {
        name: "convolution-as-linear",
        summary: "a convolution whose window is all of its input becomes a fully connected layer",
        condition: "no padding, one group; the filter is constant, and both kinds compute the same multipliers",
        proof: Proof::Exact("the same products in the same order, and the multipliers are compared"),
        roots: |kind| matches!(kind, NnOp::Conv2d(_)),
        apply: convolution_as_linear,
    },
    Rule {
        name: "linear-as-convolution",
        summary: "a fully connected layer over the channels of an image becomes a 1x1 convolution",
        condition: "the filter is constant and symmetric, and both kinds compute the same multipliers",
        proof: Proof::Exact("the same products in the same order, and the multipliers are compared"),
        roots: |kind| matches!(kind, NnOp::FullyConnected(_)),
        apply: linear_as_convolution,
    },
    Rule {
        name: "scale-into-weights",
        summary: "`op(x, w, b) * c` of floats becomes `op(x, w * c, b * c)`",
        condition: "`op` is a convolution or fully connected layer without a clamp; `c` is a constant, or one per channel",
        proof: Proof::Approximate("products of floats are rounded in another order"),
        roots: |kind| matches!(kind, NnOp::Mul(_)),
        apply: scale_into_weights,
    },
    Rule {
        name: "shift-into-bias",
        summary: "`op(x, w, b) + c` and `- c` of floats become `op(x, w, b + c)`",
        condition: "`op` is a convolution or fully connected layer without a clamp; `c` is a constant, or one per channel",
        proof: Proof::Approximate("sums of floats are rounded in another order"),
        roots: |kind| matches!(kind, NnOp::Add(_) | NnOp::Sub(_)),
        apply: shift_into_bias,
    },
    Rule {
        name: "multiply-linear",
        summary: "two fully connected layers of floats become one",
        condition: "nothing in between, and the product of the filters has fewer elements than both",
        proof: Proof::Approximate("sums of floats are rounded in another order"),
        roots: |kind| matches!(kind, NnOp::FullyConnected(_)),
        apply: multiply_linear,
    },
];

fn float(shape: impl Into<Shape>, items: Vec<f32>) -> Option<Tensor> {
    Tensor::new(TensorType::plain(shape, Scalar::F32), items).ok()
}

/// A tensor in another shape; a quantization per axis must be along dimension 0 of both.
fn reshaped(tensor: &Tensor, shape: impl Into<Shape>) -> Option<Tensor> {
    let keeps_axis = tensor.ty.quant().is_none_or(|quant| match quant.granularity {
        Granularity::PerTensor(_) => true,
        Granularity::PerAxis { axis, .. } => axis == 0,
    });
    keeps_axis.then(|| Tensor::new(tensor.ty.with_shape(shape), tensor.data.clone()).ok())?
}

/// Two tensors, one after the other, along dimension 0. Quantizations are joined channel by channel.
fn stacked(first: &Tensor, second: &Tensor) -> Option<Tensor> {
    let mut shape = first.ty.shape.clone();
    let (rows, more) = (*shape.0.first()?, *second.ty.shape.first()?);
    *shape.0.first_mut()? = rows + more;
    let element = match (&first.ty.element, &second.ty.element) {
        (a, b) if a == b && first.ty.quant().is_none_or(|quant| quant.affine().is_some()) => a.clone(),
        (Element::Quant(a), Element::Quant(b)) if (a.storage, a.min, a.max) == (b.storage, b.min, b.max) => {
            let rows = (0..rows).map(|row| a.channel(row)).chain((0..more).map(|row| b.channel(row)));
            let granularity = Granularity::PerAxis { axis: 0, channels: rows.collect::<Option<_>>()? };
            Element::Quant(Arc::new(QuantType { granularity, ..(**a).clone() }))
        }
        _ => return None,
    };
    let bytes = [first.data.to_bytes(), second.data.to_bytes()].concat();
    Tensor::from_bytes(TensorType { shape, element }, &bytes).ok()
}

/// A bias as plain numbers.
fn plain(bias: &Tensor) -> Tensor {
    let ty = TensorType::plain(bias.ty.shape.clone(), bias.ty.storage());
    Tensor { ty, data: bias.data.clone() }
}

/// Convolutions that make a value.
pub(super) fn convolutions(graph: &Graph<'_>, id: Id) -> Vec<(n::Conv2d, OpNode)> {
    graph.makers(id, |kind| match kind {
        NnOp::Conv2d(conv) => Some(conv),
        _ => None,
    })
}

fn join_convolutions(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Concat(n::Concat { axis: 3 }) = *root.kind else { return Vec::new() };
    for at in 1..root.operands.len() {
        let pair = [root.operands[at - 1], root.operands[at]];
        let Some(joined) = joined(graph, pair) else { continue };
        let mut operands = root.operands.clone();
        operands.splice(at - 1..=at, [joined]);
        if let [single] = operands[..] {
            return if *graph.ty(single) == *root.ty() { vec![single] } else { Vec::new() };
        }
        return graph.op((*root.kind).clone(), &operands, root.ty().clone()).into_iter().collect();
    }
    Vec::new()
}

fn parallel_convolutions(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let Some(&input) = root.operands.first() else { return Vec::new() };
    let convolves = |op: &OpNode| matches!(*op.kind, NnOp::Conv2d(_)) && graph.same(op.operands[0], input);
    let mut beside = graph.readers(input);
    beside.retain(|(id, op)| convolves(op) && !is_joined(graph, *id, input));
    let Some(own) = beside.iter().find(|(_, op)| op == root).map(|&(id, _)| id) else { return Vec::new() };
    let mut found = Vec::new();
    for (other, op) in beside.iter().filter(|&&(id, _)| id != own) {
        let pair = if own < *other { [own, *other] } else { [*other, own] };
        let Some(joined) = joined(graph, pair) else { continue };
        let first = if own < *other { 0 } else { op.ty().shape.last().copied().unwrap_or(0) };
        let size = root.ty().shape.0.clone();
        let slice = n::Slice { begin: vec![0, 0, 0, first], stride: vec![1; size.len()], size };
        found.extend(graph.op(slice, &[joined], root.ty().clone()));
    }
    found
}

/// Whether a convolution of `input` is one that others became slices of: it is not joined any further.
fn is_joined(graph: &Graph<'_>, id: Id, input: Id) -> bool {
    let slices = graph.readers(id).into_iter().filter(|(_, op)| matches!(*op.kind, NnOp::Slice(_)));
    let mut made = slices.flat_map(|(slice, _)| convolutions(graph, slice));
    made.any(|(_, op)| graph.same(op.operands[0], input))
}

/// One convolution for two of one form.
fn joined(graph: &mut Graph<'_>, [first, second]: [Id; 2]) -> Option<Id> {
    let others = convolutions(graph, second);
    for (conv, a) in convolutions(graph, first) {
        for (other, b) in &others {
            let same_form = conv == *other && graph.same(a.operands[0], b.operands[0]);
            if !same_form || a.ty().element != b.ty().element {
                continue;
            }
            let tensors = |op: &OpNode| Some([graph.tensor(op.operands[1])?, graph.tensor(op.operands[2])?]);
            let (Some([filter, bias]), Some([more, more_bias])) = (tensors(&a), tensors(b)) else { continue };
            let channels = graph.ty(a.operands[0]).shape.nhwc()?[3];
            let one_group = |filter: &Tensor| filter.ty.shape.nhwc().is_some_and(|[.., c]| c == channels);
            if filter.ty.shape[1..] != more.ty.shape[1..] || !one_group(&filter) {
                continue;
            }
            let filter = stacked(&filter, &more)?;
            let bias = stacked(&plain(&bias), &plain(&more_bias))?;
            let operands = [
                a.operands[0],
                graph.constant("joined_filter", &filter),
                graph.constant("joined_bias", &bias),
            ];
            return graph.shaped(conv, &operands, &a.ty().element);
        }
    }
    None
}

fn convolution_as_linear(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    as_linear(graph, root).into_iter().collect()
}

fn as_linear(graph: &mut Graph<'_>, root: &OpNode) -> Option<Id> {
    let NnOp::Conv2d(conv) = &*root.kind else { return None };
    let filter = graph.tensor(root.operands[1])?;
    let input = graph.ty(root.operands[0]);
    let [_, height, width, channels] = input.shape.nhwc()?;
    let [outputs, rows, columns, inputs] = filter.ty.shape.nhwc()?;
    let whole = (height, width, channels) == (rows, columns, inputs);
    if !whole || conv.pad != [0; 4] || (conv.dilation != [1, 1] && rows * columns > 1) {
        return None;
    }
    let filter = reshaped(&filter, [outputs, rows * columns * inputs])?;
    if filter.ty.quant().is_some() {
        let of_linear = fully_connected_multipliers(&input, &filter.ty, root.ty(), outputs);
        let of_convolution = convolution_multipliers(&input, &filter.ty, root.ty(), outputs);
        (of_linear == of_convolution).then_some(())?;
    }
    let operands = [root.operands[0], graph.constant("linear_filter", &filter), root.operands[2]];
    // A single pixel has no need of a reshape.
    let keep_dims = height * width == 1;
    let kind = n::FullyConnected { keep_dims, clamp: conv.clamp };
    let value = graph.shaped(kind, &operands, &root.ty().element)?;
    if keep_dims {
        return Some(value);
    }
    graph.op(n::Reshape { shape: root.ty().shape.0.clone() }, &[value], root.ty().clone())
}

fn linear_as_convolution(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    as_convolution(graph, root).into_iter().collect()
}

fn as_convolution(graph: &mut Graph<'_>, root: &OpNode) -> Option<Id> {
    let NnOp::FullyConnected(linear) = &*root.kind else { return None };
    let (input, filter) = (graph.ty(root.operands[0]), graph.tensor(root.operands[1])?);
    let [.., channels] = input.shape.nhwc()?;
    let [outputs, inputs] = filter.ty.shape.0[..] else { return None };
    if channels != inputs || root.ty().shape.rank() != 4 {
        return None;
    }
    let filter = reshaped(&filter, [outputs, 1, 1, inputs])?;
    if let Some(quant) = filter.ty.quant() {
        let symmetric = |row| quant.channel(row).is_some_and(|affine| affine.zero_point == 0);
        (0..outputs).all(symmetric).then_some(())?;
        let of_linear = fully_connected_multipliers(&input, &filter.ty, root.ty(), outputs);
        let of_convolution = convolution_multipliers(&input, &filter.ty, root.ty(), outputs);
        (of_linear == of_convolution).then_some(())?;
    }
    let operands = [root.operands[0], graph.constant("filter", &filter), root.operands[2]];
    let kind = n::Conv2d { stride: [1, 1], pad: [0; 4], dilation: [1, 1], clamp: linear.clamp };
    graph.op(kind, &operands, root.ty().clone())
}

/// A linear op on floats with constant weights, without limits.
struct Weighted {
    op: OpNode,
    filter: Tensor,
    bias: Tensor,
    /// Dimension of the filter that is the output channel.
    axis: usize,
}

fn weighted(graph: &Graph<'_>, id: Id, fits: impl Fn(&NnOp) -> bool) -> Option<Weighted> {
    graph.ops(id).into_iter().filter(|op| fits(&op.kind)).find_map(|op| {
        let axis = match &*op.kind {
            NnOp::Conv2d(n::Conv2d { clamp: Clamp::None, .. })
            | NnOp::FullyConnected(n::FullyConnected { clamp: Clamp::None, .. }) => 0,
            NnOp::DepthwiseConv2d(n::DepthwiseConv2d { clamp: Clamp::None, .. }) => 3,
            _ => return None,
        };
        let (filter, bias) = (graph.tensor(op.operands[1])?, graph.tensor(op.operands[2])?);
        (filter.ty.storage() == Scalar::F32).then_some(Weighted { op, filter, bias, axis })
    })
}

/// The op with other weights and the clamp that came after it.
fn rebuilt(
    graph: &mut Graph<'_>,
    of: &Weighted,
    filter: &Tensor,
    bias: &Tensor,
    clamp: Clamp,
    ty: &TensorType,
) -> Option<Id> {
    let mut kind = (*of.op.kind).clone();
    match &mut kind {
        NnOp::Conv2d(op) => op.clamp = clamp,
        NnOp::DepthwiseConv2d(op) => op.clamp = clamp,
        NnOp::FullyConnected(op) => op.clamp = clamp,
        _ => return None,
    }
    let operands =
        [of.op.operands[0], graph.constant("scaled_filter", filter), graph.constant("shifted_bias", bias)];
    graph.op(kind, &operands, ty.clone())
}

/// One float per channel, the last dimension, of a constant that is broadcast along all others.
fn per_channel(graph: &Graph<'_>, id: Id, channels: usize) -> Option<Vec<f32>> {
    let tensor = graph.tensor(id)?;
    let items = tensor.f32s().ok()?;
    match items {
        [single] => Some(vec![*single; channels]),
        _ if items.len() == channels && tensor.ty.shape.last() == Some(&channels) => Some(items.to_vec()),
        _ => None,
    }
}

/// The linear op and the constant that are the operands of a product or sum of floats, and whether they come in this order.
fn with_constant(graph: &Graph<'_>, root: &OpNode) -> Option<(Weighted, Vec<f32>, bool)> {
    if root.ty().storage() != Scalar::F32 {
        return None;
    }
    let channels = *root.ty().shape.last()?;
    let [lhs, rhs] = root.operands[..] else { return None };
    [(lhs, rhs, true), (rhs, lhs, false)].into_iter().find_map(|(value, constant, in_order)| {
        let constant = per_channel(graph, constant, channels)?;
        let weighted = weighted(graph, value, |_| true)?;
        (weighted.op.ty().shape == root.ty().shape).then_some((weighted, constant, in_order))
    })
}

fn scale_into_weights(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Mul(n::Mul { clamp }) = *root.kind else { return Vec::new() };
    let mut scaled = || {
        let (of, factors, _) = with_constant(graph, root)?;
        let inner: usize = of.filter.ty.shape[of.axis + 1..].iter().product();
        let channel = |i: usize| (i / inner.max(1)) % factors.len();
        let items = of.filter.f32s().ok()?.iter().enumerate().map(|(i, w)| w * factors[channel(i)]);
        let filter = float(of.filter.ty.shape.clone(), items.collect())?;
        let bias = of.bias.f32s().ok()?.iter().zip(&factors).map(|(b, factor)| b * factor);
        let bias = float(of.bias.ty.shape.clone(), bias.collect())?;
        rebuilt(graph, &of, &filter, &bias, clamp, root.ty())
    };
    scaled().into_iter().collect()
}

fn shift_into_bias(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let (clamp, sign) = match *root.kind {
        NnOp::Add(n::Add { clamp }) => (clamp, 1.0),
        NnOp::Sub(n::Sub { clamp }) => (clamp, -1.0),
        _ => return Vec::new(),
    };
    let mut shifted = || {
        let (of, constants, in_order) = with_constant(graph, root)?;
        // `c - op(x)` would have to negate the filter.
        (in_order || sign > 0.0).then_some(())?;
        let bias = of.bias.f32s().ok()?.iter().zip(&constants).map(|(b, constant)| b + sign * constant);
        let bias = float(of.bias.ty.shape.clone(), bias.collect())?;
        rebuilt(graph, &of, &of.filter.clone(), &bias, clamp, root.ty())
    };
    shifted().into_iter().collect()
}

fn multiply_linear(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    multiplied(graph, root).into_iter().collect()
}

fn multiplied(graph: &mut Graph<'_>, root: &OpNode) -> Option<Id> {
    let NnOp::FullyConnected(outer) = &*root.kind else { return None };
    let (second, second_bias) = (graph.tensor(root.operands[1])?, graph.tensor(root.operands[2])?);
    let first = weighted(graph, root.operands[0], |kind| matches!(kind, NnOp::FullyConnected(_)))?;
    if second.ty.storage() != Scalar::F32 {
        return None;
    }
    let ([outputs, middle], [between, inputs]) = (dims(&second)?, dims(&first.filter)?);
    if middle != between || outputs * inputs >= middle * (outputs + inputs) {
        return None;
    }
    let (w2, w1, b1) = (second.f32s().ok()?, first.filter.f32s().ok()?, first.bias.f32s().ok()?);
    let sum = |o: usize, of: &dyn Fn(usize) -> f32| {
        (0..middle).map(|m| f64::from(w2[o * middle + m]) * f64::from(of(m))).sum::<f64>()
    };
    let filter = (0..outputs * inputs).map(|at| {
        let (o, i) = (at / inputs, at % inputs);
        sum(o, &|m| w1[m * inputs + i]) as f32
    });
    let filter = float([outputs, inputs], filter.collect())?;
    let bias = second_bias.f32s().ok()?.iter().enumerate();
    let bias = bias.map(|(o, b)| (sum(o, &|m| b1[m]) + f64::from(*b)) as f32).collect();
    let bias = Tensor { ty: second_bias.ty.clone(), data: Data::F32(bias) };
    let operands = [
        first.op.operands[0],
        graph.constant("multiplied_filter", &filter),
        graph.constant("multiplied_bias", &bias),
    ];
    graph.op(outer.clone(), &operands, root.ty().clone())
}

/// Rows and columns of a matrix.
fn dims(tensor: &Tensor) -> Option<[usize; 2]> {
    <[usize; 2]>::try_from(tensor.ty.shape.0.as_slice()).ok()
}
