//! An `i32` read as a real number, with the position of the binary point in the type.

use std::ops::{Add, Mul, Neg, Sub};

use super::primitive::{saturating_rounding_doubling_high_mul, saturating_rounding_multiply_by_pot};

/// A real number of `[-2^INTEGER_BITS, 2^INTEGER_BITS)`, held as an `i32` in units of `2^-(31 - INTEGER_BITS)`.
///
/// In Q notation this is Q`INTEGER_BITS`.`(31 - INTEGER_BITS)`, the sign bit not counted. Sum, difference and
/// negation wrap. The product of two formats is exact in its range, since the integer bits add up, and rounds as
/// [`saturating_rounding_doubling_high_mul`].
///
/// Source: class `FixedPoint`, google/gemmlowp:fixedpoint/fixedpoint.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FixedPoint<const INTEGER_BITS: u32>(i32);

impl<const INTEGER_BITS: u32> FixedPoint<INTEGER_BITS> {
    /// Bits to the right of the binary point.
    pub const FRACTIONAL_BITS: u32 = 31 - INTEGER_BITS;

    /// Zero.
    pub const ZERO: Self = Self(0);

    /// One, or with no integer bits, where one is out of range, the largest number below it.
    pub const ONE: Self = Self(if INTEGER_BITS == 0 { i32::MAX } else { 1 << Self::FRACTIONAL_BITS });

    /// The number `raw / 2^FRACTIONAL_BITS`.
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// The number in units of `2^-FRACTIONAL_BITS`.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// The number itself; exact, as an `f64` has 53 bits.
    pub fn to_real(self) -> f64 {
        f64::from(self.0) / (1u64 << Self::FRACTIONAL_BITS) as f64
    }

    /// The same number with `TO` integer bits: saturating when these are fewer, rounding to nearest with ties away
    /// from zero when more.
    pub const fn rescale<const TO: u32>(self) -> FixedPoint<TO> {
        FixedPoint(saturating_rounding_multiply_by_pot(self.0, INTEGER_BITS as i32 - TO as i32))
    }

    /// The product, in the format that holds it. `PRODUCT_BITS` has to be `INTEGER_BITS + OTHER_BITS`, checked when
    /// compiled.
    pub const fn product<const OTHER_BITS: u32, const PRODUCT_BITS: u32>(
        self,
        other: FixedPoint<OTHER_BITS>,
    ) -> FixedPoint<PRODUCT_BITS> {
        const { assert!(INTEGER_BITS + OTHER_BITS == PRODUCT_BITS, "the integer bits of a product add up") };
        FixedPoint(saturating_rounding_doubling_high_mul(self.0, other.0))
    }
}

impl<const INTEGER_BITS: u32> Add for FixedPoint<INTEGER_BITS> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl<const INTEGER_BITS: u32> Sub for FixedPoint<INTEGER_BITS> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

impl<const INTEGER_BITS: u32> Neg for FixedPoint<INTEGER_BITS> {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.wrapping_neg())
    }
}

/// A factor of `[-1, 1)` leaves the format of the other as it is; for all other pairs there is
/// [`FixedPoint::product`].
impl<const OTHER_BITS: u32> Mul<FixedPoint<OTHER_BITS>> for FixedPoint<0> {
    type Output = FixedPoint<OTHER_BITS>;

    fn mul(self, other: FixedPoint<OTHER_BITS>) -> FixedPoint<OTHER_BITS> {
        self.product(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_saturates_without_integer_bits() {
        assert_eq!(FixedPoint::<0>::ONE.raw(), i32::MAX);
        assert_eq!(FixedPoint::<1>::ONE.raw(), 1 << 30);
        assert_eq!(FixedPoint::<5>::ONE.to_real(), 1.0);
        assert_eq!(FixedPoint::<31>::ONE.raw(), 1);
    }

    #[test]
    fn products_add_integer_bits() {
        let x = FixedPoint::<3>::from_raw(3 << 27); // 1.5
        let y = FixedPoint::<2>::from_raw(-(5 << 27)); // -1.25
        let product: FixedPoint<5> = x.product(y);
        assert_eq!(product.to_real(), -1.875);
        assert_eq!((FixedPoint::<0>::from_raw(1 << 30) * x).to_real(), 0.75);
    }

    #[test]
    fn rescaling_saturates_or_rounds() {
        let x = FixedPoint::<2>::from_raw(3 << 28); // 1.5
        assert_eq!(x.rescale::<4>().to_real(), 1.5);
        assert_eq!(x.rescale::<0>().raw(), i32::MAX);
        assert_eq!((-x).rescale::<0>().raw(), i32::MIN);
        assert_eq!(FixedPoint::<0>::from_raw(3).rescale::<1>().raw(), 2);
        assert_eq!(FixedPoint::<0>::from_raw(-3).rescale::<1>().raw(), -2);
    }

    #[test]
    fn sums_wrap() {
        let max = FixedPoint::<4>::from_raw(i32::MAX);
        let step = FixedPoint::<4>::from_raw(1);
        assert_eq!((max + step).raw(), i32::MIN);
        assert_eq!((-(max + step)).raw(), i32::MIN);
        assert_eq!((FixedPoint::<4>::from_raw(i32::MIN) - step).raw(), i32::MAX);
    }
}
