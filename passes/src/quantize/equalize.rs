//! Cross-layer equalization: channels of one layer are scaled, and the weights that read them the other way.
//!
//! Between two layers with nothing but a rectifier (which is positively homogeneous) channel `c` may be scaled by any `1/s > 0`
//! if the next layer's weights for it are scaled by `s`. With `s = sqrt(r1 r2) / r2`, where `r1` and `r2` are the greatest
//! weights of the channel in either layer, both become equal, and no channel needs a range far from the others'. Repeated
//! over all pairs until nothing moves. An upper limit (RELU6) is no rectifier of that kind: such pairs are left alone.
//! Source: Nagel et al. 2019, arXiv:1906.04721, section 4.1, equation 11.

use super::rewrite::constant;
use super::weights;
use mcunet_ir::attr::Clamp;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::{Function, Module, Op, Tensor, Value};
use std::collections::HashMap;

/// Sweeps over all pairs at most.
const SWEEPS: usize = 40;
/// Change of a factor below which it counts as none.
const STILL: f32 = 1e-3;

/// Two layers with nothing but a rectifier between them.
#[derive(Clone, Copy, Debug)]
struct Pair {
    first: Op,
    second: Op,
}

/// Equalizes a float module; returns how many pairs of layers were scaled.
pub fn equalize(module: &mut Module) -> usize {
    let function = &module.functions[0];
    let pairs = pairs(module, function);
    let mut filters: HashMap<Op, Tensor> = HashMap::new();
    let mut biases: HashMap<Op, Tensor> = HashMap::new();
    for op in pairs.iter().flat_map(|pair| [pair.first, pair.second]) {
        let operands = &function.ops[op].operands;
        if let (Some(filter), Some(bias)) =
            (constant(module, function, operands[1]), constant(module, function, operands[2]))
        {
            filters.insert(op, filter);
            biases.insert(op, bias);
        }
    }
    for _ in 0..SWEEPS {
        let moved = pairs.iter().filter(|pair| scale(function, **pair, &mut filters, &mut biases)).count();
        if moved == 0 {
            break;
        }
    }
    let scaled: Vec<(Op, Tensor, Tensor)> =
        filters.into_iter().filter_map(|(op, filter)| Some((op, filter, biases.remove(&op)?))).collect();
    let mut scaled = scaled;
    scaled.sort_by_key(|(op, ..)| *op);
    for (op, filter, bias) in scaled {
        store(module, op, 1, &filter);
        store(module, op, 2, &bias);
    }
    pairs.len()
}

/// Dimension of the filter for output channels; `None` for other ops.
fn output_axis(kind: &OpKind) -> Option<usize> {
    match kind {
        OpKind::Nn(NnOp::Conv2d(_) | NnOp::FullyConnected(_)) => Some(0),
        OpKind::Nn(NnOp::DepthwiseConv2d(_)) => Some(3),
        _ => None,
    }
}

fn is_homogeneous(kind: &OpKind) -> bool {
    let clamp = match kind {
        OpKind::Nn(
            NnOp::Conv2d(n::Conv2d { clamp, .. })
            | NnOp::DepthwiseConv2d(n::DepthwiseConv2d { clamp, .. })
            | NnOp::FullyConnected(n::FullyConnected { clamp, .. }),
        ) => *clamp,
        _ => return false,
    };
    match clamp {
        Clamp::None => true,
        Clamp::Real(low, high) => {
            (low.get() == 0.0 || low.get() == f32::NEG_INFINITY) && high.get() == f32::INFINITY
        }
        Clamp::Int(..) => false,
    }
}

/// Pairs whose weights are constants of their own.
fn pairs(module: &Module, function: &Function) -> Vec<Pair> {
    let uses = function.use_counts();
    let once = |value: Value| uses.get(&value) == Some(&1);
    let mut pairs = Vec::new();
    for second in function.walk() {
        let data = &function.ops[second];
        let Some(first) = output_axis(&data.kind).and_then(|_| function.defining_op(data.operands[0])) else {
            continue;
        };
        let before = &function.ops[first];
        if output_axis(&before.kind).is_none() || !is_homogeneous(&before.kind) || !once(data.operands[0]) {
            continue;
        }
        let own = |op: Op| {
            let operands = &function.ops[op].operands[1..];
            operands.iter().all(|&value| once(value) && constant(module, function, value).is_some())
        };
        let channels = |value: Value| function.ty(value).as_tensor().and_then(|ty| ty.shape.last().copied());
        // A convolution in groups, or a depthwise one with a multiplier, reads channels in another order.
        let filter = function.ty(data.operands[1]).as_tensor();
        let reads = filter.and_then(|ty| ty.shape.last().copied());
        if own(first) && own(second) && reads == channels(data.operands[0]) {
            pairs.push(Pair { first, second });
        }
    }
    pairs
}

/// The greatest weight of each channel; `channel` says whose a weight is.
fn extents(filter: &Tensor, count: usize, channel: impl Fn(usize) -> usize) -> Vec<f32> {
    let mut extents = vec![0.0f32; count];
    for (at, w) in filter.f32s().unwrap_or_default().iter().enumerate() {
        let extent = &mut extents[channel(at)];
        *extent = extent.max(w.abs());
    }
    extents
}

/// Scales one pair; whether that changed anything.
fn scale(
    function: &Function,
    pair: Pair,
    filters: &mut HashMap<Op, Tensor>,
    biases: &mut HashMap<Op, Tensor>,
) -> bool {
    let (Some(first), Some(second)) = (filters.get(&pair.first), filters.get(&pair.second)) else {
        return false;
    };
    let axis = output_axis(&function.ops[pair.first].kind).unwrap_or(0);
    let count = first.ty.shape[axis];
    let of_first = weights::channels(&first.ty, axis);
    // Input channels are the last dimension of every filter.
    let of_second = move |at: usize| at % count.max(1);
    let (r1, r2) = (extents(first, count, &of_first), extents(second, count, of_second));
    let factor = |(r1, r2): (&f32, &f32)| {
        let factor = (r1 * r2).sqrt() / r2;
        if factor.is_normal() && (1e-4..=1e4).contains(&factor) { factor } else { 1.0 }
    };
    let factors: Vec<f32> = r1.iter().zip(&r2).map(factor).collect();
    if factors.iter().all(|factor| (factor - 1.0).abs() < STILL) {
        return false;
    }
    let mapped = |tensor: &Tensor, f: &dyn Fn(usize, f32) -> f32| {
        let items = tensor.f32s().unwrap_or_default().iter().enumerate().map(|(at, &x)| f(at, x));
        Tensor::new(tensor.ty.clone(), items.collect::<Vec<f32>>()).ok()
    };
    let scaled = (
        mapped(first, &|at, w| w / factors[of_first(at)]),
        mapped(second, &|at, w| w * factors[of_second(at)]),
        biases.get(&pair.first).and_then(|bias| mapped(bias, &|at, b| b / factors[at])),
    );
    let (Some(first), Some(second), Some(bias)) = scaled else { return false };
    filters.insert(pair.first, first);
    filters.insert(pair.second, second);
    biases.insert(pair.first, bias);
    true
}

/// Gives an op's constant operand other data.
fn store(module: &mut Module, op: Op, operand: usize, tensor: &Tensor) {
    let value = module.functions[0].ops[op].operands[operand];
    let Some(maker) = module.functions[0].defining_op(value) else { return };
    let reference = module.add_resource("equalized", tensor.ty.storage(), tensor.data.to_bytes());
    module.functions[0].ops[maker].kind = n::Const { value: reference }.into();
}
