//! Whether products of matrices have biases of 16 bits instead of 32.
//!
//! That saves two bytes a row, and takes a group of rows two cycles more for each two pixels. Rows of one layer have biases of
//! one size, and both sizes need functions of their own, so that it is decided for all layers of a network together.

use super::CoreFeatures;
use mcunet_ir::loops::matmul::GROUP;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::requantize::integer_limits;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Function, Module, Op};
use std::collections::BTreeSet;

/// Cycles that a byte of flash is worth where code is to be fast: what `share-kernels` pays for it in a network of a million cycles
/// and ten kilobytes.
const WORTH: usize = 50;

/// Bytes of a function for one pixel, of another for two, and of one for what is left of rows.
struct Code {
    one: usize,
    two: usize,
    rest: usize,
}

/// With a loop of many pairs.
const FAST: Code = Code { one: 1000, two: 1500, rest: 500 };

/// With one of few.
const SMALL: Code = Code { one: 500, two: 700, rest: 450 };

/// Whether biases fit 16 bits.
pub fn are_short(bias: &Data) -> bool {
    bias.to_i64s().is_some_and(|biases| biases.into_iter().all(|bias| i16::try_from(bias).is_ok()))
}

/// Whether layers whose biases fit 16 bits are to have such.
pub fn pay_short(module: &Module, function: &Function, features: CoreFeatures) -> bool {
    let layers = function.walk().into_iter().filter_map(|op| Layer::of(module, function, op));
    let (short, long): (Vec<Layer>, Vec<Layer>) = layers.partition(|layer| layer.is_short);
    let saved = short.iter().map(|layer| 2 * layer.rows).sum::<usize>();
    let sizes = if features.unroll { FAST } else { SMALL };
    let kinds: BTreeSet<Kind> = short.iter().map(|layer| layer.kind).collect();
    let code = if long.is_empty() { 0 } else { kinds.iter().map(|kind| kind.code(&sizes)).sum() };
    let cycles: usize =
        short.iter().map(|layer| 2 * layer.rows.div_ceil(GROUP) * layer.pixels.div_ceil(2)).sum();
    saved > code && (!features.unroll || cycles / WORTH <= saved - code)
}

/// What decides which functions a layer calls, as far as it is known here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    /// Negative sums are rounded differently.
    signed: bool,
    /// There are several pixels.
    several: bool,
    /// Rows beside those in groups.
    rest: usize,
}

impl Kind {
    fn code(self, sizes: &Code) -> usize {
        let rest = if self.rest > 0 { sizes.rest } else { 0 };
        sizes.one + rest + if self.several { sizes.two + rest } else { 0 }
    }
}

/// A layer that may become a product of matrices.
struct Layer {
    kind: Kind,
    rows: usize,
    pixels: usize,
    is_short: bool,
}

impl Layer {
    fn of(module: &Module, function: &Function, op: Op) -> Option<Self> {
        let data = &function.ops[op];
        let clamp = match &data.kind {
            OpKind::Nn(NnOp::Conv2d(op)) => op.clamp,
            OpKind::Nn(NnOp::Conv2dAdd(op)) => op.clamp,
            OpKind::Nn(NnOp::FullyConnected(op)) => op.clamp,
            _ => return None,
        };
        let made = function.ty(*data.results.first()?).as_tensor()?;
        if made.storage() != Scalar::I8 {
            return None;
        }
        let bias = function.defining_op(*data.operands.get(2)?)?;
        let OpKind::Nn(NnOp::Const(bias)) = &function.ops[bias].kind else { return None };
        let bias = Data::from_bytes(bias.value.element, module.bytes(&bias.value)?);
        let rows = bias.len();
        let pixels = made.elements().checked_div(rows)?;
        let zero_point = made.affine().map_or(0, |affine| affine.zero_point);
        let signed = integer_limits(clamp, made.storage()).0 != zero_point;
        let kind = Kind { signed, several: pixels > 1, rest: rows % GROUP };
        Some(Self { kind, rows, pixels, is_short: are_short(&bias) })
    }
}
