//! Whether products of matrices have biases of 16 bits instead of 32.
//!
//! That saves two bytes a row, and takes a group of rows two cycles more for each two pixels. Rows of one layer have biases of
//! one size, and both sizes need functions of their own, so that it is decided for all layers of a network together.

use super::CoreFeatures;
use mcunet_ir::loops::matmul::GROUP;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Function, Module, Op};

/// Cycles that a byte of flash is worth where code is to be fast: what `share-kernels` pays for it in a network of a million cycles
/// and ten kilobytes.
const WORTH: usize = 50;

/// Bytes of another set of functions: with a loop of many pairs, and with one of few.
const CODE: [usize; 2] = [2500, 800];

/// Whether biases fit 16 bits.
pub fn are_short(bias: &Data) -> bool {
    bias.to_i64s().is_some_and(|biases| biases.into_iter().all(|bias| i16::try_from(bias).is_ok()))
}

/// Whether layers whose biases fit 16 bits are to have such.
pub fn pay_short(module: &Module, function: &Function, features: CoreFeatures) -> bool {
    let layers = function.walk().into_iter().filter_map(|op| Layer::of(module, function, op));
    let (short, long): (Vec<Layer>, Vec<Layer>) = layers.partition(|layer| layer.is_short);
    let saved = short.iter().map(|layer| 2 * layer.rows).sum::<usize>();
    let code = if long.is_empty() { 0 } else { CODE[usize::from(!features.unroll)] };
    let cycles: usize =
        short.iter().map(|layer| 2 * layer.rows.div_ceil(GROUP) * layer.pixels.div_ceil(2)).sum();
    saved > code && (!features.unroll || cycles / WORTH <= saved - code)
}

/// A layer that may become a product of matrices.
struct Layer {
    rows: usize,
    pixels: usize,
    is_short: bool,
}

impl Layer {
    fn of(module: &Module, function: &Function, op: Op) -> Option<Self> {
        let data = &function.ops[op];
        if !matches!(data.kind, OpKind::Nn(NnOp::Conv2d(_) | NnOp::Conv2dAdd(_) | NnOp::FullyConnected(_))) {
            return None;
        }
        let made = function.ty(*data.results.first()?).as_tensor()?;
        if made.storage() != Scalar::I8 {
            return None;
        }
        let bias = function.defining_op(*data.operands.get(2)?)?;
        let OpKind::Nn(NnOp::Const(bias)) = &function.ops[bias].kind else { return None };
        let bias = Data::from_bytes(bias.value.element, module.bytes(&bias.value)?);
        let rows = bias.len();
        let pixels = made.elements().checked_div(rows)?;
        Some(Self { rows, pixels, is_short: are_short(&bias) })
    }
}
