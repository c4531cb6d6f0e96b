//! Normalizations along the last dimension, row by row.

use super::LowerOp;
use super::float;
use super::kernel::Kernel;
use super::requantize::rescale;
use super::rows::to_i32;
use super::wide_softmax;
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::ops::{L2Normalization, LogSoftmax, Softmax};
use mcunet_ir::nn::softmax::{LogSoftmaxParameters, SoftmaxTable, WideSoftmax};
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, Type, Value};

/// The elements along the last dimension, in the operand and in the result.
#[derive(Clone, Copy)]
pub struct Vector {
    /// Memory of the operand, and where the vector begins in it.
    input: [Value; 2],
    /// Memory of the result, and where the vector begins in it.
    output: [Value; 2],
    length: usize,
}

/// Emits what makes one vector of the result, in loops over those of a row, or over all.
pub fn for_vectors(kernel: &mut Kernel<'_>, make: impl FnOnce(&mut Builder<'_>, Vector)) {
    let shape = &kernel.operand_type(0).shape;
    let length = shape.last().copied().unwrap_or(1);
    let all = shape.elements().checked_div(length).unwrap_or(0);
    let (source, target) = (kernel.source(0), kernel.target(0));
    let row = kernel.row();
    let b = &mut kernel.b;
    let (count, [from, to]) = match row {
        Some(row) => {
            (source.elements.checked_div(length).unwrap_or(0), [source.start(b, row), target.start(b, row)])
        }
        None => (all, [b.i32(0); 2]),
    };
    b.for_count(count, |b, i| {
        let way = b.mul_const(i, to_i32(length));
        let (from, to) = (b.add(from, way), b.add(to, way));
        make(b, Vector { input: [source.memory, from], output: [target.memory, to], length });
    });
}

impl Vector {
    /// The elements of the result, to work on in place.
    pub fn of_result(self) -> Self {
        Self { input: self.output, ..self }
    }

    /// Folds the operand's elements into a carried value.
    pub fn fold(
        self,
        b: &mut Builder<'_>,
        init: Value,
        step: impl FnOnce(&mut Builder<'_>, Value, Value) -> Value,
    ) -> Value {
        let (zero, count) = (b.i32(0), b.index(self.length));
        let [input, start] = self.input;
        let folded = b.for_loop(zero, count, 1, &[init], |b, i, carried| {
            let at = b.add(start, i);
            let x = b.load(input, at);
            vec![step(b, carried[0], x)]
        });
        folded[0]
    }

    /// Stores a function of every element of the operand; returns their sum. What is summed has not to be computed again then.
    pub fn map_and_sum(
        self,
        b: &mut Builder<'_>,
        zero: Value,
        f: impl FnOnce(&mut Builder<'_>, Value) -> Value,
    ) -> Value {
        let (first, end) = (b.i32(0), b.index(self.length));
        let ([input, from], [output, to]) = (self.input, self.output);
        b.for_loop(first, end, 1, &[zero], |b, i, carried| {
            let at = b.add(from, i);
            let x = b.load(input, at);
            let y = f(b, x);
            let at = b.add(to, i);
            b.store(y, output, at);
            vec![b.add(carried[0], y)]
        })[0]
    }

    /// Stores a function of every element of the operand.
    pub fn map(self, b: &mut Builder<'_>, f: impl FnOnce(&mut Builder<'_>, Value) -> Value) {
        let ([input, from], [output, to]) = (self.input, self.output);
        b.for_count(self.length, |b, i| {
            let at = b.add(from, i);
            let x = b.load(input, at);
            let y = f(b, x);
            let at = b.add(to, i);
            b.store(y, output, at);
        });
    }
}

impl LowerOp for Softmax {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        kernel.allow_in_place(0, 0);
        if kernel.result_type(0).storage() == Scalar::F32 {
            lower_float_softmax(kernel, self.beta.get());
            return Ok(());
        }
        let scale = kernel.operand_type(0).affine().map_or(1.0, |affine| affine.scale.get());
        if kernel.result_type(0).storage() == Scalar::I16 {
            let constants = WideSoftmax::new(self.beta.get(), scale).ok_or_else(|| {
                kernel.error("expected beta times the input's scale from 0 to 5, got another")
            })?;
            wide_softmax::lower(kernel, &constants);
            return Ok(());
        }
        let table = SoftmaxTable::new(self.beta.get(), scale).ok_or_else(|| {
            kernel.error("expected beta times the input's scale to be above 2^-26, got less")
        })?;
        lower_softmax(kernel, &table);
        Ok(())
    }
}

fn lower_float_softmax(kernel: &mut Kernel<'_>, beta: f32) {
    for_vectors(kernel, |b, vector| {
        let least = b.f32(f32::MIN);
        let max = vector.fold(b, least, |b, max, x| b.max(x, max));
        let exponential = |b: &mut Builder<'_>, x: Value| {
            let difference = b.sub(x, max);
            let beta = b.f32(beta);
            let scaled = b.mul(difference, beta);
            float::exp(b, scaled)
        };
        let zero = b.f32(0.0);
        let sum = vector.map_and_sum(b, zero, exponential);
        vector.of_result().map(b, |b, e| b.value(l::Div {}, &[e, sum], Type::F32));
    });
}

/// Rows of up to this many elements sum to less than 2^28, since no exponential adds more than 2^19: the final shift of
/// 35 less the sum's leading zeros is then at most 31. That of a longer row, if it is nearly flat, is not.
const LONGEST_SHORT_ROW: usize = 511;

fn lower_softmax(kernel: &mut Kernel<'_>, table: &SoftmaxTable) {
    // Differences beyond the table count as zero: the table is filled up, so that every difference has an entry.
    let known = table.exponentials.len();
    let mut exponentials = table.exponentials.clone();
    exponentials.resize(256, 0);
    let exponentials = kernel.data("softmax_exponentials", &Data::I32(exponentials));
    for_vectors(kernel, |b, vector| {
        let least = b.i32(i8::MIN.into());
        let max = vector.fold(b, least, |b, max, x| b.max(x, max));
        let sum = sum_of_exponentials(b, vector, exponentials, max);
        let (scale, headroom) = reciprocal(b, sum);
        // 12 integer digits less the headroom, plus 31 - 8 bits of the result.
        let all = b.i32(12 + 23);
        let shift = b.sub(all, headroom);
        let shifts_out = (vector.length > LONGEST_SHORT_ROW).then(|| {
            let most = b.i32(31);
            b.cmp(l::Predicate::Gt, shift, most)
        });
        vector.map(b, |b, x| {
            let difference = b.sub(max, x);
            let e = b.load(exponentials, difference);
            let product = b.value(l::DoublingHighMul {}, &[scale, e], Type::I32);
            let scaled = b.value(l::RoundShift {}, &[product, shift], Type::I32);
            let scaled = match shifts_out {
                // What `fixed_point::rounding_divide_by_pot` makes of 0 and more beyond 31 bits.
                Some(shifts_out) => {
                    let one = b.i32(1);
                    b.select(shifts_out, one, scaled)
                }
                None => scaled,
            };
            let result = b.add_const(scaled, -128);
            let result = b.value(l::Saturate { bits: 8 }, &[result], Type::I32);
            if known >= 256 {
                return result;
            }
            let (bound, least) = (b.index(known), b.i32(i8::MIN.into()));
            let counts = b.cmp(l::Predicate::Lt, difference, bound);
            b.select(counts, result, least)
        });
    });
}

/// Sum of a row's exponentials, with 12 integer bits; `exponentials` is indexed by the difference to the maximum.
fn sum_of_exponentials(b: &mut Builder<'_>, vector: Vector, exponentials: Value, max: Value) -> Value {
    let zero = b.i32(0);
    vector.fold(b, zero, |b, sum, x| {
        let difference = b.sub(max, x);
        let e = b.load(exponentials, difference);
        let e = round_shift_const(b, e, 12);
        b.add_wrap(sum, e)
    })
}

/// `1 / (x / 2^headroom)` for `x` shifted up by `headroom` leading zeros, and that headroom.
///
/// Three steps of Newton's division, as `fixed_point::get_reciprocal` makes them.
fn reciprocal(b: &mut Builder<'_>, x: Value) -> (Value, Value) {
    let headroom = b.value(l::Clz {}, &[x], Type::I32);
    let shifted = b.value(l::Shl { bounded: false }, &[x, headroom], Type::I32);
    let minimum = b.i32(i32::MIN);
    let fraction = b.value(l::Sub { wrap: true }, &[shifted, minimum], Type::I32);
    (one_over_one_plus(b, fraction), headroom)
}

/// `1 / (1 + fraction)` for a fraction of [0, 1).
fn one_over_one_plus(b: &mut Builder<'_>, fraction: Value) -> Value {
    // Half of 1 + fraction, rounded away from zero: (fraction + 2^31) / 2.
    let one = b.i32(1);
    let half = b.value(l::Shr { bounded: false }, &[fraction, one], Type::I32);
    let half_up = b.add_const(half, 1 << 30);
    let constant = b.i32(-1_010_580_540);
    let product = b.value(l::DoublingHighMul {}, &[half_up, constant], Type::I32);
    let mut estimate = b.add_const(product, 1_515_870_810);
    for _ in 0..3 {
        let square = b.value(l::DoublingHighMul {}, &[half_up, estimate], Type::I32);
        let unit = b.i32(1 << 29);
        let error = b.sub(unit, square);
        let step = b.value(l::DoublingHighMul {}, &[estimate, error], Type::I32);
        let step = saturating_shift_left(b, step, 2);
        estimate = b.add(estimate, step);
    }
    saturating_shift_left(b, estimate, 1)
}

/// `value * 2^distance`, saturating at 32 bits.
fn saturating_shift_left(b: &mut Builder<'_>, value: Value, distance: i32) -> Value {
    let limit = (1i32 << (31 - distance)) - 1;
    let (low, high) = (b.i32(-limit), b.i32(limit));
    let (minimum, maximum) = (b.i32(i32::MIN), b.i32(i32::MAX));
    let by = b.i32(distance);
    let shifted = b.value(l::Shl { bounded: false }, &[value, by], Type::I32);
    let too_low = b.cmp(l::Predicate::Lt, value, low);
    let shifted = b.select(too_low, minimum, shifted);
    let too_high = b.cmp(l::Predicate::Gt, value, high);
    b.select(too_high, maximum, shifted)
}

impl LowerOp for LogSoftmax {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        if kernel.result_type(0).storage() != Scalar::F32 {
            return lower_log_softmax(kernel);
        }
        kernel.allow_in_place(0, 0);
        for_vectors(kernel, |b, vector| {
            let least = b.f32(f32::MIN);
            let max = vector.fold(b, least, |b, max, x| b.max(x, max));
            let zero = b.f32(0.0);
            let sum = vector.fold(b, zero, |b, sum, x| {
                let difference = b.sub(x, max);
                let e = float::exp(b, difference);
                b.add(sum, e)
            });
            let log = float::log(b, sum);
            vector.map(b, |b, x| {
                let difference = b.sub(x, max);
                b.sub(difference, log)
            });
        });
        Ok(())
    }
}

fn lower_log_softmax(kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
    let scale = kernel.operand_type(0).affine().map_or(1.0, |affine| affine.scale.get());
    let parameters = LogSoftmaxParameters::new(scale);
    let table = SoftmaxTable::new(1.0, scale);
    let (Some(LogSoftmaxParameters { scaling, diff_min }), Some(table)) = (parameters, table) else {
        return Err(kernel.error("expected the input's scale to be above 2^-26, got less"));
    };
    kernel.allow_in_place(0, 0);
    let mut exponentials = table.exponentials;
    exponentials.resize(256, 0);
    let exponentials = kernel.data("softmax_exponentials", &Data::I32(exponentials));
    for_vectors(kernel, |b, vector| {
        let least = b.i32(i8::MIN.into());
        let max = vector.fold(b, least, |b, max, x| b.max(x, max));
        let sum = sum_of_exponentials(b, vector, exponentials, max);
        let log = fixed_log(b, sum);
        let minimum = b.i32(i32::MIN);
        let below = b.add_wrap(log, minimum);
        let from_log = rescale(b, below, scaling.reverse);
        let bound = b.i32(diff_min - 1);
        let bound = b.max(bound, from_log);
        vector.map(b, |b, x| {
            let difference = b.sub(x, max);
            let scaled = rescale(b, difference, scaling.input);
            let steps = b.sub_wrap(scaled, log);
            let steps = round_shift_const(b, steps, 31 - 5 - 4);
            let result = b.add_const(steps, 127);
            let result = b.value(l::Saturate { bits: 8 }, &[result], Type::I32);
            let counts = b.cmp(l::Predicate::Gt, difference, bound);
            b.select(counts, result, least)
        });
    });
    Ok(())
}

/// Natural logarithm of a sum with 12 integer bits, with 5 integer bits, as
/// `fixed_point::log_x_for_x_greater_than_or_equal_to_1` computes it; names and constants are explained there.
fn fixed_log(b: &mut Builder<'_>, x: Value) -> Value {
    let half_root = b.i32(1_518_500_250);
    let quarter = 1 << 23;
    let headroom = |b: &mut Builder<'_>, z: Value| {
        let zeros = b.value(l::Clz {}, &[z], Type::I32);
        b.add_const(zeros, -1)
    };
    // Exponents as numbers of 6 integer bits.
    let exponent = |b: &mut Builder<'_>, headroom: Value, most: i32, offset: i32| {
        let most = b.i32(most);
        let whole = b.sub(most, headroom);
        let whole = b.shl_const(whole, 25);
        b.add_const(whole, offset)
    };
    let odd_headroom = headroom(b, x);
    let odd = b.value(l::Shl { bounded: false }, &[x, odd_headroom], Type::I32);
    let odd = b.doubling_high_mul(odd, half_root);
    let odd = saturating_shift_left(b, odd, 1);
    let odd_exponent = exponent(b, odd_headroom, 11, quarter);
    let scaled = b.doubling_high_mul(x, half_root);
    let even_headroom = headroom(b, scaled);
    let even = saturating_shift_by(b, x, even_headroom);
    let even_exponent = exponent(b, even_headroom, 12, -quarter);
    let r = b.min(odd, even);
    let e = b.max(odd_exponent, even_exponent);
    let (numerator, denominator) = fixed_log_fraction(b, r);
    let inverse = one_over_one_plus(b, denominator);
    let numerator = round_shift_const(b, numerator, 6);
    let log_2 = b.i32(1_488_522_236);
    let (first, second) = (b.doubling_high_mul(log_2, e), b.doubling_high_mul(inverse, numerator));
    let sum = b.add_wrap(first, second);
    saturating_shift_left(b, sum, 1)
}

/// Numerator, and denominator less one, of the rational approximation of the logarithm near 1.
fn fixed_log_fraction(b: &mut Builder<'_>, r: Value) -> (Value, Value) {
    let [fourth_root, alpha_n, alpha_d, alpha_i, alpha_f] =
        [1_805_811_301, 117_049_297, 127_690_142, 1_057_819_769, 638_450_708].map(|constant| b.i32(constant));
    let (wide_r, wide_root) =
        (b.value(l::Extend {}, &[r], Type::I64), b.value(l::Extend {}, &[fourth_root], Type::I64));
    // Half the sum of two positive numbers, rounded up.
    let sum = b.add(wide_r, wide_root);
    let one = b.i64(1);
    let sum = b.add(sum, one);
    let p = b.shr_const(sum, 1);
    let p = b.value(l::Truncate {}, &[p], Type::I32);
    let half_q = b.sub_wrap(r, fourth_root);
    let q = b.add_wrap(half_q, half_q);
    let q2 = b.doubling_high_mul(q, q);
    let first = b.doubling_high_mul(q, r);
    let cubed = b.doubling_high_mul(q, q2);
    let second = b.doubling_high_mul(cubed, alpha_n);
    let numerator = b.add_wrap(first, second);
    let inner = b.add_wrap(alpha_i, q);
    let square = b.doubling_high_mul(alpha_d, q2);
    let inner = b.add_wrap(inner, square);
    let outer = b.doubling_high_mul(p, inner);
    let linear = b.doubling_high_mul(alpha_f, q);
    (numerator, b.add_wrap(outer, linear))
}

pub fn round_shift_const(b: &mut Builder<'_>, value: Value, distance: i32) -> Value {
    let distance = b.i32(distance);
    b.round_shift(value, distance)
}

/// `value * 2^distance` of a positive number, saturating at 32 bits.
fn saturating_shift_by(b: &mut Builder<'_>, value: Value, distance: Value) -> Value {
    let maximum = b.i32(i32::MAX);
    let most = b.value(l::ShrU {}, &[maximum, distance], Type::I32);
    let shifted = b.value(l::Shl { bounded: false }, &[value, distance], Type::I32);
    let overflows = b.cmp(l::Predicate::Gt, value, most);
    b.select(overflows, maximum, shifted)
}

impl LowerOp for L2Normalization {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        kernel.allow_in_place(0, 0);
        let float = kernel.result_type(0).storage() == Scalar::F32;
        let zero_point = kernel.operand_type(0).affine().map_or(0, |affine| affine.zero_point);
        let length = kernel.operand_type(0).shape.last().copied().unwrap_or(1);
        if !float && length > 1 << 15 {
            return Err(kernel.error(format!("expected rows of at most 32768 elements, got {length}")));
        }
        for_vectors(kernel, |b, vector| {
            if float {
                normalize_float(b, vector);
            } else {
                normalize(b, vector, zero_point);
            }
        });
        Ok(())
    }
}

fn normalize_float(b: &mut Builder<'_>, vector: Vector) {
    let zero = b.f32(0.0);
    let sum = vector.fold(b, zero, |b, sum, x| {
        let square = b.mul(x, x);
        b.add(sum, square)
    });
    let norm = b.value(l::Sqrt {}, &[sum], Type::F32);
    let least = b.f32(1e-6);
    let norm = b.max(least, norm);
    vector.map(b, |b, x| b.value(l::Div {}, &[x, norm], Type::F32));
}

fn normalize(b: &mut Builder<'_>, vector: Vector, zero_point: i32) {
    let zero = b.i32(0);
    let sum = vector.fold(b, zero, |b, sum, x| {
        let x = b.add_const(x, -zero_point);
        let square = b.mul(x, x);
        b.add(sum, square)
    });
    let (multiplier, shift) = inverse_square_root(b, sum);
    // The result's scale is 1/128.
    let shift = b.add_const(shift, 7);
    vector.map(b, |b, x| {
        let x = b.add_const(x, -zero_point);
        let scaled = b.value(l::Requantize {}, &[x, multiplier, shift], Type::I32);
        b.value(l::Saturate { bits: 8 }, &[scaled], Type::I32)
    });
}

/// `1 / sqrt(x)` as multiplier and shift, as `fixed_point::get_inv_sqrt_quantized_multiplier_exp` computes it.
pub fn inverse_square_root(b: &mut Builder<'_>, x: Value) -> (Value, Value) {
    let QuantizedMultiplier { multiplier, shift } =
        mcunet_ir::fixed_point::get_inv_sqrt_quantized_multiplier_exp(1);
    let (known_multiplier, known_shift) = (b.i32(multiplier), b.i32(shift));
    let (one, two) = (b.i32(1), b.i32(2));
    let is_small = b.cmp(l::Predicate::Le, x, one);
    let x = b.select(is_small, two, x);
    let (scaled, right_shift) = scale_by_power_of_four(b, x);
    let input = b.value(l::Shr { bounded: false }, &[scaled, one], Type::I32);
    let half = b.value(l::RoundShift {}, &[input, one], Type::I32);
    let three_halves = b.i32(3 << 27);
    let mut root = b.i32(1 << 28);
    for _ in 0..5 {
        let square = b.value(l::DoublingHighMul {}, &[root, root], Type::I32);
        let cube = b.value(l::DoublingHighMul {}, &[square, root], Type::I32);
        let cube = saturating_shift_left(b, cube, 6);
        let first = b.value(l::DoublingHighMul {}, &[three_halves, root], Type::I32);
        let second = b.value(l::DoublingHighMul {}, &[half, cube], Type::I32);
        let step = b.value(l::Sub { wrap: true }, &[first, second], Type::I32);
        root = saturating_shift_left(b, step, 3);
    }
    // The square root of one half.
    let half_root = b.i32(1_518_500_250);
    let root = b.value(l::DoublingHighMul {}, &[root, half_root], Type::I32);
    // A negative right shift becomes part of the multiplier.
    let zero = b.i32(0);
    let left = b.sub(zero, right_shift);
    let left = b.max(left, zero);
    let multiplier = b.value(l::Shl { bounded: false }, &[root, left], Type::I32);
    let right = b.max(right_shift, zero);
    let shift = b.sub(zero, right);
    let multiplier = b.select(is_small, known_multiplier, multiplier);
    let shift = b.select(is_small, known_shift, shift);
    (multiplier, shift)
}

/// `x` brought to `[2^27, 2^29)` by a power of four, and the right shift that follows from it.
fn scale_by_power_of_four(b: &mut Builder<'_>, x: Value) -> (Value, Value) {
    // Down by one step of four while at or above 2^29: at most once for a positive number of 31 bits.
    let (one, two, limit) = (b.i32(1), b.i32(2), b.i32(1 << 29));
    let is_large = b.cmp(l::Predicate::Ge, x, limit);
    let down = b.value(l::Shr { bounded: false }, &[x, two], Type::I32);
    let x = b.select(is_large, down, x);
    let (twelve, eleven) = (b.i32(12), b.i32(11));
    let shift = b.select(is_large, twelve, eleven);
    let leading = b.value(l::Clz {}, &[x], Type::I32);
    let pairs = b.add_const(leading, -1);
    let pairs = b.value(l::Shr { bounded: false }, &[pairs, one], Type::I32);
    let pairs = b.add_const(pairs, -1);
    let shift = b.sub(shift, pairs);
    let distance = b.add(pairs, pairs);
    (b.value(l::Shl { bounded: false }, &[x, distance], Type::I32), shift)
}
