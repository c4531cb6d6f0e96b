//! The scaling of inputs that SOFTMAX, LOG_SOFTMAX, LOGISTIC and TANH compute once, at preparation time.

use super::multiplier::QuantizedMultiplier;

/// The greatest factor in front of the exponential. An input one step below the maximum of its row is then already so
/// far off that its share rounds to zero, so that a greater factor would change nothing.
const MAX_REAL_MULTIPLIER: f64 = ((1u64 << 31) - 1) as f64;

/// The factor from an input difference to the argument of the exponential, with `input_integer_bits` integer bits:
/// `min(beta · input_scale · 2^(31 - input_integer_bits), 2³¹ - 1)`.
///
/// The shift of the result is 1 to 31. int8 SOFTMAX and LOG_SOFTMAX have 5 integer bits.
///
/// `None` when the factor isn't above 1, where the reference aborts, or `input_integer_bits` is above 31.
///
/// Source: `PreprocessSoftmaxScaling`, tensorflow/lite/kernels/internal/quantization_util.cc.
pub fn preprocess_softmax_scaling(
    beta: f64,
    input_scale: f64,
    input_integer_bits: u32,
) -> Option<QuantizedMultiplier> {
    let fractional_bits = 31u32.checked_sub(input_integer_bits)?;
    let real = beta * input_scale * (1u64 << fractional_bits) as f64;
    // Not `f64::min`, which would make a number of NaN.
    QuantizedMultiplier::from_real_greater_than_one(if real > MAX_REAL_MULTIPLIER {
        MAX_REAL_MULTIPLIER
    } else {
        real
    })
}

/// The two factors of int8 LOG_SOFTMAX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogSoftmaxScaling {
    /// From an input difference to the argument of the exponential, see [`preprocess_softmax_scaling`].
    pub input: QuantizedMultiplier,
    /// Its inverse, back to an input difference, with a shift of at most 0. The reference stores that shift negated,
    /// as `reverse_scaling_right_shift`.
    pub reverse: QuantizedMultiplier,
}

/// [`preprocess_softmax_scaling`] and the inverse factor `2^(31 - shift) / multiplier` of its result.
///
/// `None` where that is `None`, or when the inverse isn't below 1, where the reference aborts.
///
/// Source: `PreprocessLogSoftmaxScalingExp`, tensorflow/lite/kernels/internal/quantization_util.cc.
pub fn preprocess_log_softmax_scaling(
    beta: f64,
    input_scale: f64,
    input_integer_bits: u32,
) -> Option<LogSoftmaxScaling> {
    let input = preprocess_softmax_scaling(beta, input_scale, input_integer_bits)?;
    let numerator = 1u64.checked_shl(u32::try_from(31 - input.shift).ok()?)?;
    let divisor = numerator as f64 / f64::from(input.multiplier);
    let reverse = QuantizedMultiplier::from_real_smaller_than_one(divisor)?;
    Some(LogSoftmaxScaling { input, reverse })
}

/// The input differences that are in range after scaling: `⌊(2^input_integer_bits - 1) · 2^(31 - input_integer_bits)
/// / 2^input_left_shift⌋`.
///
/// SOFTMAX and LOG_SOFTMAX skip differences below the negated radius (`diff_min`); LOGISTIC and TANH, whose factor is
/// `QuantizedMultiplier::from_real(input_scale · 2²⁷)` with 4 integer bits, saturate from the radius on.
///
/// The reference computes in `f64`. Every step there is exact up to the floor, since the first factor has at most 31
/// bits and the others are powers of two, so that the integers of this function give the same.
///
/// `None` for more than 31 integer bits and for a shift outside 0 to 62, undefined in the reference.
///
/// Source: `CalculateInputRadius` with its default of 31 signed bits,
/// tensorflow/lite/kernels/internal/quantization_util.cc.
pub fn calculate_input_radius(input_integer_bits: u32, input_left_shift: i32) -> Option<i32> {
    let fractional_bits = 31u32.checked_sub(input_integer_bits)?;
    let left_shift = u32::try_from(input_left_shift).ok().filter(|&shift| shift <= 62)?;
    let max_rescaled = ((1u64 << input_integer_bits) - 1) << fractional_bits;
    i32::try_from(max_rescaled >> left_shift).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_scaling_is_the_scale_in_q5() {
        let scaling = |beta, scale| preprocess_softmax_scaling(beta, scale, 5);
        // 0.5 · 2²⁶ is 2²⁵, as significand and exponent 2⁻¹ · 2²⁶.
        assert_eq!(scaling(1.0, 0.5), Some(QuantizedMultiplier { multiplier: 1 << 30, shift: 26 }));
        assert_eq!(scaling(2.0, 0.5), Some(QuantizedMultiplier { multiplier: 1 << 30, shift: 27 }));
        let capped = Some(QuantizedMultiplier { multiplier: i32::MAX, shift: 31 });
        assert_eq!(scaling(1.0, 32.0), capped);
        assert_eq!(scaling(1.0, f64::INFINITY), capped);
        for scale in [0.0, -1.0, 2f64.powi(-26), f64::NAN] {
            assert_eq!(scaling(1.0, scale), None, "{scale}");
        }
        assert_eq!(
            preprocess_softmax_scaling(1.0, 1.5, 31),
            Some(QuantizedMultiplier { multiplier: 3 << 29, shift: 1 })
        );
        assert_eq!(preprocess_softmax_scaling(1.0, 1.5, 32), None);
    }

    #[test]
    fn log_softmax_scaling_has_its_inverse() {
        for scale in [0.001, 0.0235, 0.1, 0.5, 1.0, 16.0, 100.0] {
            let LogSoftmaxScaling { input, reverse } = preprocess_log_softmax_scaling(1.0, scale, 5).unwrap();
            assert!(reverse.shift <= 0);
            assert!((input.to_real() * reverse.to_real() - 1.0).abs() < 2f64.powi(-30), "{scale}");
        }
        // Rounds to 1.0, whose inverse isn't below 1.
        assert_eq!(preprocess_log_softmax_scaling(1.0, 2f64.powi(-26) * (1.0 + f64::EPSILON), 5), None);
        assert_eq!(preprocess_log_softmax_scaling(1.0, 0.0, 5), None);
    }

    #[test]
    fn radius_is_the_floor_of_the_real_bound() {
        for integer_bits in 0..=31u32 {
            for left_shift in 0..=62 {
                let bound = (2f64.powi(integer_bits as i32) - 1.0) * 2f64.powi(31 - integer_bits as i32);
                let expected = (bound / 2f64.powi(left_shift)).floor() as i32;
                assert_eq!(calculate_input_radius(integer_bits, left_shift), Some(expected));
            }
        }
        for (integer_bits, left_shift) in [(32, 0), (u32::MAX, 0), (5, -1), (5, 63), (5, i32::MAX)] {
            assert_eq!(calculate_input_radius(integer_bits, left_shift), None);
        }
    }
}
