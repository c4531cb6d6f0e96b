//! Softmax of int16, whose exponentials and whose reciprocal are lines between the points of tables.

use super::kernel::Kernel;
use super::requantize::rescale_small;
use super::softmax::{for_vectors, round_shift_const};
use super::wide;
use mcunet_ir::Type;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::softmax::WideSoftmax;

/// As `nn::softmax` computes a row of int16; sums of 65536 exponentials still have 31 bits.
pub fn lower(kernel: &mut Kernel<'_>, constants: &WideSoftmax) {
    let exponentials = wide::entries(kernel, "softmax_exponentials", &constants.exponential);
    let reciprocals = wide::entries(kernel, "softmax_reciprocals", &constants.reciprocal);
    let scaling = constants.scaling;
    for_vectors(kernel, |b, vector| {
        let least = b.i32(i16::MIN.into());
        let max = vector.fold(b, least, |b, max, x| b.max(x, max));
        let zero = b.i32(0);
        let sum = vector.map_and_sum(b, zero, |b, x| {
            let difference = b.sub(x, max);
            let scaled = rescale_small(b, difference, scaling, 65535);
            let steps = b.add_const(scaled, i16::MAX.into());
            // Differences are not positive, and neither are their products.
            let least = b.i32(i16::MIN.into());
            let steps = b.max(steps, least);
            wide::interpolate(b, exponentials, steps)
        });
        let zeros = b.value(l::Clz {}, &[sum], Type::I32);
        let headroom = b.add_const(zeros, -1);
        let shifted = b.value(l::Shl { bounded: false }, &[sum, headroom], Type::I32);
        let fraction = round_shift_const(b, shifted, 14);
        let fraction = b.add_const(fraction, -(3 << 15));
        let most = b.i32(i16::MAX.into());
        let fraction = b.min(fraction, most);
        let reciprocal = wide::interpolate(b, reciprocals, fraction);
        let (all, one) = (b.i32(30), b.i32(1));
        let shift = b.sub(all, headroom);
        let below = b.add_const(shift, -1);
        let half = b.value(l::Shl { bounded: false }, &[one, below], Type::I32);
        vector.of_result().map(b, |b, e| {
            let product = b.mul(e, reciprocal);
            let rounded = b.add(product, half);
            let share = b.value(l::Shr { bounded: true }, &[rounded, shift], Type::I32);
            b.clamp(share, 0, i16::MAX.into())
        });
    });
}
