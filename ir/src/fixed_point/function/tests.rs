//! Each function against the real one, its constants, its special values, and single results of the reference itself.

use super::*;
use crate::fixed_point::testing::{Random, edges};

/// `real` to the nearest multiple of `2^-fractional_bits`, in these units.
fn nearest(real: f64, fractional_bits: i32) -> i32 {
    (real * 2f64.powi(fractional_bits)).round() as i32
}

#[test]
fn constants_are_nearest_to_the_reals() {
    for (power, factor) in EXP_OF_MINUS_POWERS {
        assert_eq!(factor.raw(), nearest((-(2f64.powi(power))).exp(), 31), "exp(-2^{power})");
    }
    let fourth_root_2 = 2f64.sqrt().sqrt();
    for (constant, real) in [
        (EXP_MINUS_ONE_EIGHTH, (-0.125f64).exp()),
        (ONE_THIRD, 1.0 / 3.0),
        (SQRT_HALF, 0.5f64.sqrt()),
        (LOG_2, 2f64.ln()),
        (FOURTH_ROOT_HALF, 0.5f64.sqrt().sqrt()),
        (ALPHA_N, 11.0 / 240.0 * fourth_root_2),
        (ALPHA_D, fourth_root_2 / 20.0),
        (ALPHA_I, 2.0 / fourth_root_2 - fourth_root_2),
        (ALPHA_F, fourth_root_2 / 4.0),
    ] {
        assert_eq!(constant.raw(), nearest(real, 31), "{real}");
    }
    assert_eq!(NEWTON_START.0.raw(), nearest(48.0 / 17.0, 29));
    assert_eq!(NEWTON_START.1.raw(), nearest(-32.0 / 17.0, 29));
}

/// The greatest distance between `function` and `real` over edges and random arguments from `raw`.
fn greatest_error<const INTEGER_BITS: u32>(
    raw: impl Fn(i32) -> i32,
    function: impl Fn(FixedPoint<INTEGER_BITS>) -> FixedPoint<0>,
    real: impl Fn(f64) -> f64,
) -> f64 {
    let mut random = Random(5);
    let random = std::iter::repeat_with(|| random.i32()).take(50_000);
    edges()
        .into_iter()
        .chain(random)
        .map(|value| FixedPoint::<INTEGER_BITS>::from_raw(raw(value)))
        .map(|a| (function(a).to_real() - real(a.to_real())).abs())
        .fold(0.0, f64::max)
}

fn negative(value: i32) -> i32 {
    value.saturating_abs().wrapping_neg()
}

fn at_least_zero(value: i32) -> i32 {
    value & i32::MAX
}

fn check_exp<const INTEGER_BITS: u32>() {
    let error = greatest_error::<INTEGER_BITS>(negative, exp_on_negative_values, f64::exp);
    assert!(error < 4e-7, "Q{INTEGER_BITS}: {error:e}");
}

#[test]
fn exp_is_near_the_real_one() {
    check_exp::<0>();
    check_exp::<1>();
    check_exp::<4>();
    check_exp::<5>();
    check_exp::<6>();
    check_exp::<12>();
    check_exp::<29>();
}

fn check_logistic_and_tanh<const INTEGER_BITS: u32>() {
    let identity = |value: i32| value;
    let error = greatest_error::<INTEGER_BITS>(identity, logistic, |a| 1.0 / (1.0 + (-a).exp()));
    assert!(error < 2e-7, "logistic, Q{INTEGER_BITS}: {error:e}");
    let error = greatest_error::<INTEGER_BITS>(identity, tanh, f64::tanh);
    assert!(error < 4e-7, "tanh, Q{INTEGER_BITS}: {error:e}");
}

#[test]
fn logistic_and_tanh_are_near_the_real_ones() {
    check_logistic_and_tanh::<0>();
    check_logistic_and_tanh::<3>();
    check_logistic_and_tanh::<4>();
    check_logistic_and_tanh::<5>();
    check_logistic_and_tanh::<12>();
}

#[test]
fn special_values_and_symmetry() {
    assert_eq!(exp_on_negative_values(FixedPoint::<5>::ZERO), FixedPoint::ONE);
    assert_eq!(exp_on_negative_values(FixedPoint::<6>::from_raw(-(32 << 25) - 1)), FixedPoint::ZERO);
    assert_eq!(logistic(FixedPoint::<4>::ZERO).to_real(), 0.5);
    assert_eq!(tanh(FixedPoint::<4>::ZERO), FixedPoint::ZERO);
    let mut random = Random(6);
    for _ in 0..10_000 {
        let a = FixedPoint::<4>::from_raw(random.i32().max(-i32::MAX));
        assert_eq!(tanh(-a), -tanh(a));
        if a != FixedPoint::ZERO {
            assert_eq!(logistic(a).raw().wrapping_add(logistic(-a).raw()), i32::MAX);
        }
    }
}

#[test]
fn division_is_near_the_real_one() {
    let error = greatest_error(at_least_zero, one_over_one_plus_x_for_x_in_0_1, |a| 1.0 / (1.0 + a));
    assert!(error < 1e-8, "{error:e}");
    let error =
        greatest_error(at_least_zero, one_minus_x_over_one_plus_x_for_x_in_0_1, |a| (1.0 - a) / (1.0 + a));
    assert!(error < 2e-8, "{error:e}");
}

#[test]
fn reciprocal_times_argument_is_one() {
    for x in edges().into_iter().filter(|&x| x > 0) {
        for integer_digits in [0, 5, 12, 31] {
            let Reciprocal { scale, bits_over_unit } = get_reciprocal(x, integer_digits);
            let real = f64::from(x) * 2f64.powi(integer_digits - 31);
            let product = real * scale.to_real() * 2f64.powi(-bits_over_unit);
            assert!((product - 1.0).abs() < 2e-8, "{x}, {integer_digits}: {product}");
        }
    }
}

#[test]
fn inverse_square_root_is_near_the_real_one() {
    let mut random = Random(7);
    let random = std::iter::repeat_with(|| at_least_zero(random.i32())).take(50_000);
    for input in random.chain(edges()).filter(|&input| input > 1) {
        let factor = get_inv_sqrt_quantized_multiplier_exp(input);
        assert!(factor.shift <= 0);
        // Newton's method starts from 1, so that its five steps leave most for a scaled input of 1/4, whose root is 2.
        let error = factor.to_real() * f64::from(input).sqrt() - 1.0;
        assert!(error.abs() < 1e-5, "{input}: {error:e}");
    }
    for input in [i32::MIN, -1, 0, 1] {
        let one = QuantizedMultiplier { multiplier: i32::MAX, shift: 0 };
        assert_eq!(get_inv_sqrt_quantized_multiplier_exp(input), one);
    }
}

#[test]
fn logarithm_is_near_the_real_one() {
    let mut random = Random(8);
    let random = std::iter::repeat_with(|| at_least_zero(random.i32())).take(50_000);
    for raw in random.chain(edges()).filter(|&raw| raw >= FixedPoint::<12>::ONE.raw()) {
        let x = FixedPoint::<12>::from_raw(raw);
        let error = log_x_for_x_greater_than_or_equal_to_1(x).to_real() - x.to_real().ln();
        assert!(error.abs() < 1e-7, "{}: {error:e}", x.to_real());
    }
}

#[test]
fn every_argument_has_a_result() {
    for raw in edges() {
        exp_on_negative_values(FixedPoint::<0>::from_raw(raw));
        exp_on_negative_values(FixedPoint::<5>::from_raw(raw));
        exp_on_negative_values(FixedPoint::<29>::from_raw(raw));
        exp_on_interval_between_negative_one_quarter_and_0_excl(FixedPoint::from_raw(raw));
        logistic(FixedPoint::<29>::from_raw(raw));
        tanh(FixedPoint::<28>::from_raw(raw));
        one_over_one_plus_x_for_x_in_0_1(FixedPoint::from_raw(raw));
        one_minus_x_over_one_plus_x_for_x_in_0_1(FixedPoint::from_raw(raw));
        log_x_for_x_greater_than_or_equal_to_1(FixedPoint::from_raw(raw));
        get_inv_sqrt_quantized_multiplier_exp(raw);
        for digits in [i32::MIN, -1, 12, i32::MAX] {
            get_reciprocal(raw, digits);
        }
    }
}

// The values below were printed by the reference: gemmlowp and TensorFlow Lite Micro compiled with g++ without
// assertions.

#[test]
fn exp_as_the_reference() {
    for (raw, expected) in [
        (-1, 2_147_483_124),
        (-1_000, 2_147_451_157),
        (-(1 << 24), 1_672_462_419),
        (-(1 << 26), 790_015_308),
        (-123_456_789, 341_177_383),
        (-(1 << 30), 242),
        (i32::MIN, 0),
    ] {
        assert_eq!(exp_on_negative_values(FixedPoint::<5>::from_raw(raw)).raw(), expected, "{raw}");
    }
}

#[test]
fn logistic_and_tanh_as_the_reference() {
    for (raw, of_logistic, of_tanh) in [
        (1, 1_073_741_948, 260),
        (-1, 1_073_741_699, -260),
        (1 << 20, 1_077_936_196, 16_776_996),
        (-(1 << 27), 577_547_421, -1_635_510_876),
        (123_456_789, 1_535_464_548, 1_558_674_772),
        (-123_456_789, 612_019_099, -1_558_674_772),
        (i32::MAX, 2_147_483_406, i32::MAX),
        (-i32::MAX, 241, -i32::MAX),
    ] {
        let a = FixedPoint::<4>::from_raw(raw);
        assert_eq!((logistic(a).raw(), tanh(a).raw()), (of_logistic, of_tanh), "{raw}");
    }
}

#[test]
fn reciprocal_and_logarithm_as_the_reference() {
    for (raw, scale, bits_over_unit, logarithm) in [
        (1 << 19, i32::MAX, 0, 0),
        ((1 << 19) + 1, 2_147_479_552, 0, 128),
        (741_455, 1_518_500_660, 0, 23_258_142),
        (1 << 20, i32::MAX, 1, 46_516_320),
        (123_456_789, 1_167_333_038, 7, 366_522_130),
        (i32::MAX, 1_073_741_820, 11, 558_195_838),
    ] {
        let expected = Reciprocal { scale: FixedPoint::from_raw(scale), bits_over_unit };
        assert_eq!(get_reciprocal(raw, 12), expected, "{raw}");
        let x = FixedPoint::from_raw(raw);
        assert_eq!(log_x_for_x_greater_than_or_equal_to_1(x).raw(), logarithm, "{raw}");
    }
}

#[test]
fn inverse_square_root_as_the_reference() {
    for (input, multiplier, shift) in [
        (2, 1_518_498_372, 0),
        (3, 1_239_850_284, 0),
        (4, 1_073_741_828, 0),
        (255, 268_961_290, -1),
        (65_025, 269_488_147, -5),
        (1 << 29, 379_624_593, -12),
        (i32::MAX, 189_812_531, -12),
    ] {
        let expected = QuantizedMultiplier { multiplier, shift };
        assert_eq!(get_inv_sqrt_quantized_multiplier_exp(input), expected, "{input}");
    }
}
