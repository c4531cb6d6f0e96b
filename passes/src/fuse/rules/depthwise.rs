//! Depthwise convolutions of a single channel, which are convolutions, and the other way round; average pools as depthwise
//! convolutions.

use super::{Proof, Rule};
use crate::fuse::graph::Graph;
use crate::fuse::language::OpNode;
use egg::Id;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::nn::requantize::convolution_multipliers;
use mcunet_ir::quant::{Granularity, QuantType};
use mcunet_ir::types::{Element, Scalar};
use mcunet_ir::{Tensor, TensorType};
use std::sync::Arc;

/// The rules of this family.
pub const RULES: &[Rule] = &[
    Rule {
        name: "depthwise-as-convolution",
        summary: "a depthwise convolution of one channel becomes a convolution",
        condition: "the input has one channel; the filter is constant",
        proof: Proof::Exact("the same products in the same order, and the multipliers are compared"),
        roots: |kind| matches!(kind, NnOp::DepthwiseConv2d(_)),
        apply: |graph, root| depthwise_as_convolution(graph, root).into_iter().collect(),
    },
    Rule {
        name: "convolution-as-depthwise",
        summary: "a convolution of one channel becomes a depthwise convolution with a multiplier",
        condition: "the input has one channel; the filter is constant",
        proof: Proof::Exact("the same products in the same order, and the multipliers are compared"),
        roots: |kind| matches!(kind, NnOp::Conv2d(_)),
        apply: |graph, root| convolution_as_depthwise(graph, root).into_iter().collect(),
    },
    Rule {
        name: "pool-as-depthwise",
        summary: "an average pool of int8 becomes a depthwise convolution with equal weights",
        condition: "no padding",
        proof: Proof::Approximate(
            "sums are multiplied by a fixed-point reciprocal instead of divided, and rounded around the zero point \
             instead of 0, which can change results by a step",
        ),
        roots: |kind| matches!(kind, NnOp::AvgPool2d(_)),
        apply: |graph, root| pool_as_depthwise(graph, root).into_iter().collect(),
    },
];

fn depthwise_as_convolution(graph: &mut Graph<'_>, root: &OpNode) -> Option<Id> {
    let NnOp::DepthwiseConv2d(conv) = &*root.kind else { return None };
    let filter = graph.tensor(root.operands[1])?;
    let [_, rows, columns, outputs] = filter.ty.shape.nhwc()?;
    let turned = exchanged(&filter, [rows * columns, outputs], [outputs, rows, columns, 1], 0)?;
    let n::DepthwiseConv2d { stride, pad, dilation, clamp } = conv.clone();
    replaced(graph, root, &filter, &turned, n::Conv2d { stride, pad, dilation, clamp }.into())
}

fn convolution_as_depthwise(graph: &mut Graph<'_>, root: &OpNode) -> Option<Id> {
    let NnOp::Conv2d(conv) = &*root.kind else { return None };
    let filter = graph.tensor(root.operands[1])?;
    let [outputs, rows, columns, _] = filter.ty.shape.nhwc()?;
    let turned = exchanged(&filter, [outputs, rows * columns], [1, rows, columns, outputs], 3)?;
    let n::Conv2d { stride, pad, dilation, clamp } = conv.clone();
    replaced(graph, root, &filter, &turned, n::DepthwiseConv2d { stride, pad, dilation, clamp }.into())
}

fn pool_as_depthwise(graph: &mut Graph<'_>, root: &OpNode) -> Option<Id> {
    let NnOp::AvgPool2d(pool) = &*root.kind else { return None };
    let [.., channels] = root.ty().shape.nhwc()?;
    // What lies outside of the image does not count in a mean.
    if root.ty().storage() != Scalar::I8 || pool.pad != [0; 4] {
        return None;
    }
    let [rows, columns] = pool.kernel.map(|taps| taps as usize);
    let (taps, count) = (rows.checked_mul(columns)?, rows.checked_mul(columns)?.checked_mul(channels)?);
    let quant = QuantType::per_tensor(Scalar::I8, 1.0 / taps as f32, 0);
    let ty = TensorType { shape: [1, rows, columns, channels].into(), element: Element::Quant(quant.into()) };
    let filter = graph.constant("mean_filter", &Tensor::new(ty, vec![1i8; count]).ok()?);
    let zeros = Tensor::new(TensorType::plain([channels], Scalar::I32), vec![0i32; channels]).ok()?;
    let bias = graph.constant("mean_bias", &zeros);
    let n::AvgPool2d { stride, pad, clamp, .. } = pool.clone();
    let kind = n::DepthwiseConv2d { stride, pad, dilation: [1, 1], clamp };
    graph.op(kind, &[root.operands[0], filter, bias], root.ty().clone())
}

/// The same layer with another filter and kind, if its input has one channel and it has the same multipliers.
fn replaced(
    graph: &mut Graph<'_>,
    root: &OpNode,
    filter: &Tensor,
    turned: &Tensor,
    kind: NnOp,
) -> Option<Id> {
    let input = graph.ty(root.operands[0]);
    let [.., 1] = input.shape.nhwc()? else { return None };
    if filter.ty.quant().is_some() {
        let outputs = *root.ty().shape.last()?;
        let of = |filter: &Tensor| convolution_multipliers(&input, &filter.ty, root.ty(), outputs);
        (of(filter) == of(turned)).then_some(())?;
    }
    let operands = [root.operands[0], graph.constant("filter", turned), root.operands[2]];
    graph.op(kind, &operands, root.ty().clone())
}

/// A filter as a matrix of these dimensions, its rows and columns exchanged, in a shape whose output channel is `axis`.
fn exchanged(filter: &Tensor, [rows, columns]: [usize; 2], shape: [usize; 4], axis: usize) -> Option<Tensor> {
    // More than one input channel is nothing that these rules are for.
    if rows * columns != filter.ty.elements() {
        return None;
    }
    let element = match &filter.ty.element {
        Element::Quant(quant) => {
            let granularity = match &quant.granularity {
                Granularity::PerAxis { channels, .. } => {
                    Granularity::PerAxis { axis, channels: channels.clone() }
                }
                all @ Granularity::PerTensor(_) => all.clone(),
            };
            Element::Quant(Arc::new(QuantType { granularity, ..(**quant).clone() }))
        }
        plain @ Element::Plain(_) => plain.clone(),
    };
    let order = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
    Tensor::new(TensorType { shape: shape.into(), element }, filter.data.pick(order)).ok()
}
