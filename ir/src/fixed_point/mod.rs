//! Multiply, shift and round: the only place where the project decides how a quantized result is rounded.
//!
//! The interpreter, constant folding and every code generator take their arithmetic from here, so that they agree to
//! the last bit with the reference kernels of TensorFlow Lite Micro, built as by default, that is *rounding twice*: a
//! saturating rounding doubling high multiply and then a rounding shift (`TFLITE_SINGLE_ROUNDING` off).
//!
//! | file | holds |
//! |---|---|
//! | `primitive` | high multiplies, rounding and saturating shifts on bare integers |
//! | `multiplier` | [`QuantizedMultiplier`] (a real factor as `i32` and shift), requantization, activation ranges |
//! | `format` | [`FixedPoint`], an `i32` read as a real number with a static count of integer bits |
//! | `function` | exponential, logistic, tanh, logarithm, reciprocal, inverse square root on those |
//! | `interpolation` | functions of int16: exponential and the like as lines between 513 points, logistic and tanh |
//! | `scaling` | the input scaling that softmax, log-softmax, logistic and tanh compute at preparation time |
//!
//! # Invariants
//! - Every function is pure and total: no panic, no dependence on the profile. Where the reference overflows a signed
//!   integer (undefined in C), this module wraps modulo 2³², or saturates where the name says so.
//! - Where the reference gives up, by a failed `TFLITE_CHECK` or an error from `Prepare`, the result is `None`.
//! - Ties differ between primitives, and that is observable: the high multiply rounds ties towards +∞, the right
//!   shift and the conversion of a real factor round them away from zero.
//!
//! Source: google/gemmlowp:fixedpoint/fixedpoint.h; tensorflow/tflite-micro:tensorflow/lite/kernels/internal, files
//! common.h, common.cc and quantization_util.cc. For the representation of a real factor Jacob et al., *Quantization and
//! Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*, CVPR 2018, section 2.2.

mod format;
mod function;
pub mod interpolation;
mod multiplier;
mod primitive;
mod scaling;

pub use format::FixedPoint;
pub use function::{
    Reciprocal, exp_on_interval_between_negative_one_quarter_and_0_excl, exp_on_negative_values,
    get_inv_sqrt_quantized_multiplier_exp, get_reciprocal, log_x_for_x_greater_than_or_equal_to_1, logistic,
    one_minus_x_over_one_plus_x_for_x_in_0_1, one_over_one_plus_x_for_x_in_0_1, tanh,
};
pub use multiplier::{
    QuantizedMultiplier, calculate_activation_range_quantized, downscale_multiplier_to_i16,
    multiply_by_quantized_multiplier, multiply_by_quantized_multiplier_i64,
    multiply_by_quantized_multiplier_smaller_than_one_exp, quantize, requantize, requantize_i64,
};
pub use primitive::{
    count_leading_sign_bits, rounding_divide_by_pot, rounding_divide_by_pot_i16, rounding_half_sum,
    saturating_doubling_high_mul_i16, saturating_left_shift_i16, saturating_rounding_doubling_high_mul,
    saturating_rounding_doubling_high_mul_i16, saturating_rounding_multiply_by_pot,
};
pub use scaling::{
    LogSoftmaxScaling, calculate_input_radius, preprocess_log_softmax_scaling, preprocess_softmax_scaling,
};

#[cfg(test)]
mod testing {
    //! What the tests of this folder share: a small generator and the values at which fixed-point code breaks.

    /// The generator splitmix64. Source: Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA
    /// 2014.
    pub struct Random(pub u64);

    impl Random {
        pub fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        /// An `i32` whose magnitude is spread over all powers of two.
        pub fn i32(&mut self) -> i32 {
            let bits = self.next();
            (bits as i32) >> ((bits >> 32) % 32)
        }

        /// A value of `low..high`.
        pub fn range(&mut self, low: i64, high: i64) -> i64 {
            low + (self.next() % (high - low) as u64) as i64
        }
    }

    /// Zero, the extremes, and both sides of every power of two.
    pub fn edges() -> Vec<i32> {
        let mut values = vec![0, i32::MIN, i32::MIN + 1, i32::MAX];
        for shift in 0..31 {
            let power = 1i32 << shift;
            values.extend([power - 1, power, power + 1, -power - 1, -power, 1 - power]);
        }
        values
    }
}
