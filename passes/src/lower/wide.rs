//! Functions of int16, of which there is no table of all results: rescaling, and lines between the points of a table.

use super::kernel::Kernel;
use super::requantize::{requantize, rescale_small};
use super::rows::for_elements;
use super::softmax::inverse_square_root;
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::fixed_point::interpolation::{Interpolation, LINE_BITS, SigmoidScaling, sigmoid_table};
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::requantize::{integer_limits, reach};
use mcunet_ir::nn::unary::{Slope, rescale_multiplier, rsqrt_multiplier, wide_sigmoid_scaling};
use mcunet_ir::quant::Affine;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, Type, Value};

/// All that int16 holds.
const WHOLE: (i32, i32) = (i16::MIN as i32, i16::MAX as i32);

/// An op of one operand on int16.
///
/// # Errors
/// If the op has no kernel of int16, or not with these scales.
pub fn lower_unary(kernel: &mut Kernel<'_>, op: &NnOp) -> Result<(), Diagnostic> {
    let (input, output) = (kernel.operand_type(0), kernel.result_type(0));
    let (Some(from), Some(to), Some(most)) = (input.affine(), output.affine(), reach(input)) else {
        return Err(kernel.error("expected int16 quantized per tensor, got others"));
    };
    let function = function(kernel, op, from, to, most)
        .ok_or_else(|| kernel.error("expected scales that the kernel of int16 accepts, got others"))?;
    kernel.allow_in_place(0, 0);
    let output = kernel.output(0);
    for_elements(kernel, 0, |b, x, at| {
        let y = function(b, x);
        b.store(y, output, at);
    });
    Ok(())
}

/// How a result follows from an element.
type Function = Box<dyn Fn(&mut Builder<'_>, Value) -> Value>;

/// The function of an op; `None` if it has none of int16. Zero points are 0, and elements at most `most` in magnitude.
fn function(kernel: &mut Kernel<'_>, op: &NnOp, from: Affine, to: Affine, most: u64) -> Option<Function> {
    match op {
        NnOp::Relu(op) => {
            let (multiplier, limits) = (rescale_multiplier(from, to)?, integer_limits(op.clamp, Scalar::I16));
            Some(Box::new(move |b, x| requantize(b, x, multiplier, most, 0, limits)))
        }
        NnOp::LeakyRelu(op) => {
            let multipliers = op.multipliers(from, to)?;
            Some(Box::new(move |b, x| leaky_relu(b, x, multipliers, most)))
        }
        NnOp::Abs(_) => {
            let same = from.scale == to.scale;
            let multiplier = rescale_multiplier(from, to)?;
            Some(Box::new(move |b, x| {
                let magnitude = magnitude(b, x);
                match same {
                    true => b.clamp(magnitude, WHOLE.0, WHOLE.1),
                    false => requantize(b, magnitude, multiplier, most, 0, WHOLE),
                }
            }))
        }
        NnOp::Rsqrt(_) => {
            let multiplier = rsqrt_multiplier(from, to)?;
            Some(Box::new(move |b, x| reciprocal_root(b, x, multiplier)))
        }
        NnOp::Logistic(_) => {
            let sigmoid = Sigmoid { scaling: wide_sigmoid_scaling(from, to, 0)?, bits: 9 };
            let table = kernel.data("sigmoid", &Data::U16(sigmoid_table()));
            Some(Box::new(move |b, x| sigmoid.emit(b, x, table)))
        }
        NnOp::Tanh(_) => {
            let sigmoid = Sigmoid { scaling: wide_sigmoid_scaling(from, to, 1)?, bits: 8 };
            let table = kernel.data("sigmoid", &Data::U16(sigmoid_table()));
            Some(Box::new(move |b, x| sigmoid.emit(b, x, table)))
        }
        _ => None,
    }
}

/// Both are computed and one is chosen: either takes a few instructions.
fn leaky_relu(b: &mut Builder<'_>, x: Value, slopes: [Slope; 2], most: u64) -> Value {
    let zero = b.i32(0);
    let [above, below] = slopes.map(|slope| {
        let product = rescale_small(b, x, slope.multiplier, most);
        if slope.negative { b.sub_wrap(zero, product) } else { product }
    });
    let is_positive = b.cmp(l::Predicate::Ge, x, zero);
    let scaled = b.select(is_positive, above, below);
    b.clamp(scaled, WHOLE.0, WHOLE.1)
}

fn magnitude(b: &mut Builder<'_>, x: Value) -> Value {
    let zero = b.i32(0);
    let negated = b.sub(zero, x);
    b.max(x, negated)
}

/// As `Rsqrt::evaluate`: a power of two more than the table's multiplier, taken back at the end.
fn reciprocal_root(b: &mut Builder<'_>, x: Value, multiplier: QuantizedMultiplier) -> Value {
    const FRACTION_BITS: i32 = 20;
    let (root, shift) = inverse_square_root(b, x);
    let (one, shift) = (b.i32(1), b.add_const(shift, FRACTION_BITS));
    let data = b.requantize(one, root, shift);
    let (factor, shift) = (b.i32(multiplier.multiplier), b.i32(multiplier.shift - FRACTION_BITS));
    let scaled = b.requantize(data, factor, shift);
    let scaled = b.clamp(scaled, WHOLE.0, WHOLE.1);
    let (zero, most) = (b.i32(0), b.i32(WHOLE.1));
    let positive = b.cmp(l::Predicate::Gt, x, zero);
    b.select(positive, scaled, most)
}

/// LOGISTIC and TANH, as `fixed_point::interpolation` has them: lines of 2^`bits`, of 9 bits for the first and 8 for the second.
#[derive(Clone, Copy)]
struct Sigmoid {
    scaling: SigmoidScaling,
    bits: i32,
}

impl Sigmoid {
    fn emit(self, b: &mut Builder<'_>, x: Value, table: Value) -> Value {
        let scaled = b.mul_const(x, self.scaling.multiplier);
        let scaled = b.add_const(scaled, self.scaling.half());
        let scaled =
            if self.scaling.shift == 0 { scaled } else { b.shr_const(scaled, self.scaling.shift as i32) };
        let (magnitude, most) = (magnitude(b, scaled), b.i32((255 << self.bits) - 1));
        let magnitude = b.min(magnitude, most);
        let at = b.shr_const(magnitude, self.bits);
        let mask = b.i32((1 << self.bits) - 1);
        let offset = b.value(l::And {}, &[magnitude, mask], Type::I32);
        let (base, next) = (b.load(table, at), {
            let at = b.add_const(at, 1);
            b.load(table, at)
        });
        let slope = b.sub(next, base);
        let way = b.mul(offset, slope);
        let base = b.shl_const(base, self.bits);
        let sum = b.add(base, way);
        // Logistic functions are symmetric around one half, hyperbolic tangents around zero.
        let (above, below, drop) = match self.bits {
            9 => (1 << 9, (1 << 25) + (1 << 9) - 1, 10),
            _ => ((1 << 7) - (1 << 23), (1 << 23) + (1 << 7) - 1, 8),
        };
        let above = b.add_const(sum, above);
        let below = {
            let below = b.i32(below);
            b.sub(below, sum)
        };
        let zero = b.i32(0);
        let positive = b.cmp(l::Predicate::Ge, scaled, zero);
        let result = b.select(positive, above, below);
        b.shr_const(result, drop)
    }
}

/// The result of a table of lines for a number of 16 bits.
pub fn interpolate(b: &mut Builder<'_>, entries: Value, x: Value) -> Value {
    let line = b.shr_const(x, LINE_BITS as i32);
    let (first, second) = (b.add_const(line, 256), b.add_const(line, 257));
    let mask = b.i32((1 << LINE_BITS) - 1);
    let offset = b.value(l::And {}, &[x, mask], Type::I32);
    let (base, next) = (b.load(entries, first), b.load(entries, second));
    let slope = b.sub(next, base);
    let way = b.mul(slope, offset);
    let way = b.add_const(way, 1 << (LINE_BITS - 1));
    let way = b.shr_const(way, LINE_BITS as i32);
    b.add(base, way)
}

/// The entries of a table in flash.
pub fn entries(kernel: &mut Kernel<'_>, name: &str, table: &Interpolation) -> Value {
    kernel.data(name, &Data::I16(table.entries().to_vec()))
}
