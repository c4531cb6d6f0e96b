//! Which images lie channel by channel within each of their rows, instead of pixel by pixel.
//!
//! A depthwise convolution multiplies neighbouring pixels of one channel. If those are neighbours in memory, a load gets
//! four of them, and one multiplication takes two. The convolution that makes the image stores single bytes anyway, so
//! that planar rows cost it nothing; they take as many bytes as others, and rows stay the unit that is planned.
//!
//! Invariant: a planar image is made by a convolution and read by nothing but depthwise convolutions of the planar form.

use super::CoreFeatures;
use super::depthwise_planar::suits;
use mcunet_ir::module::{Op, OpKind};
use mcunet_ir::nn::NnOp;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Function, Value};
use std::collections::{HashMap, HashSet};

/// The tensors of a function whose rows are to be planar.
pub(super) fn planar_values(function: &Function, features: CoreFeatures) -> HashSet<Value> {
    if !features.dsp {
        return HashSet::new();
    }
    let ops = function.walk();
    let mut readers: HashMap<Value, Vec<(Op, usize)>> = HashMap::new();
    for &op in &ops {
        for (position, &operand) in function.ops[op].operands.iter().enumerate() {
            readers.entry(operand).or_default().push((op, position));
        }
    }
    let made = ops.iter().filter(|&&op| is_convolution(function, op)).map(|&op| function.ops[op].results[0]);
    let only_suitable = |value: &Value| {
        let readers = readers.get(value).map_or(&[][..], |readers| readers);
        !readers.is_empty() && readers.iter().all(|&(op, position)| position == 0 && suits(function, op))
    };
    made.filter(only_suitable).collect()
}

fn is_convolution(function: &Function, op: Op) -> bool {
    let data = &function.ops[op];
    let convolves =
        matches!(&data.kind, OpKind::Nn(NnOp::Conv2d(_) | NnOp::Conv2dAdd(_) | NnOp::DepthwiseConv2d(_)));
    convolves && function.ty(data.results[0]).as_tensor().is_some_and(|ty| ty.storage() == Scalar::I8)
}
