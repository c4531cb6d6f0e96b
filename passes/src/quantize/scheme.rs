//! How numbers are stored: TensorFlow Lite's quantization specification.
//!
//! Source: ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec, "TensorFlow Lite 8-bit
//! quantization specification", and "16x8 quantization mode" for 16-bit activations.

use mcunet_ir::quant::{Affine, F32, QuantType};
use mcunet_ir::types::Scalar;

/// Integers of activations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Activations {
    /// int8, asymmetric.
    #[default]
    Int8,
    /// int16, symmetric.
    Int16,
}

/// A range without extent has no scale; any will do, and this one keeps multipliers small.
const SCALE_OF_ZEROS: f32 = 1.0 / 128.0;

impl Activations {
    /// Storage of activations.
    pub fn storage(self) -> Scalar {
        match self {
            Activations::Int8 => Scalar::I8,
            Activations::Int16 => Scalar::I16,
        }
    }

    /// Least and greatest stored integer.
    pub fn limits(self) -> (i64, i64) {
        match self {
            Activations::Int8 => (-128, 127),
            Activations::Int16 => (-32768, 32767),
        }
    }

    /// Storage of biases: the type of the accumulator.
    pub fn bias_storage(self) -> Scalar {
        match self {
            Activations::Int8 => Scalar::I32,
            Activations::Int16 => Scalar::I64,
        }
    }

    /// Scale and zero point that cover a range with zero in it. int8 uses all 256 numbers, with zero moved to the nearest of
    /// them; int16 is symmetric.
    pub fn affine(self, (low, high): (f32, f32)) -> Affine {
        match self {
            Activations::Int16 => {
                let extent = low.abs().max(high.abs());
                Affine { scale: F32(usable(extent / 32767.0)), zero_point: 0 }
            }
            Activations::Int8 => {
                let scale = usable((f64::from(high) - f64::from(low)) as f32 / 255.0);
                let zero_point =
                    (-128.0 - f64::from(low) / f64::from(scale)).round().clamp(-128.0, 127.0) as i32;
                Affine { scale: F32(scale), zero_point }
            }
        }
    }

    /// The element type of one scale and zero point.
    pub fn element(self, affine: Affine) -> QuantType {
        QuantType::per_tensor(self.storage(), affine.scale.get(), affine.zero_point)
    }
}

/// A scale, or the one for nothing but zeros. Scales too small to divide by count as none.
fn usable(scale: f32) -> f32 {
    if scale.is_normal() && scale > 1e-30 { scale } else { SCALE_OF_ZEROS }
}

/// Bits of weights.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Bits {
    /// -127..127, a byte each.
    #[default]
    Eight,
    /// -7..7, two in a byte.
    Four,
    /// -1..1, four in a byte.
    Two,
}

impl Bits {
    /// From most to least.
    pub const ALL: [Bits; 3] = [Bits::Eight, Bits::Four, Bits::Two];

    /// The number.
    pub fn count(self) -> u32 {
        match self {
            Bits::Eight => 8,
            Bits::Four => 4,
            Bits::Two => 2,
        }
    }

    /// Greatest stored weight; the least is its negative.
    pub fn greatest(self) -> i64 {
        (1 << (self.count() - 1)) - 1
    }

    /// The type that holds them.
    pub fn storage(self) -> Scalar {
        match self {
            Bits::Eight => Scalar::I8,
            Bits::Four => Scalar::I4,
            Bits::Two => Scalar::I2,
        }
    }

    /// Bytes of so many weights.
    pub fn bytes(self, weights: usize) -> usize {
        (weights * self.count() as usize).div_ceil(8)
    }
}

/// A channel's weights as integers.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredWeights {
    /// Real step between neighbours.
    pub scale: f32,
    /// The integers.
    pub steps: Vec<i64>,
}

/// Scale of weights: symmetric. With 8 bits the greatest is 127; with fewer the scale with the least squared error, since
/// there a few outliers would cost all others too much.
pub fn weight_scale(weights: &[f32], bits: Bits) -> f32 {
    let extent = weights.iter().fold(0.0f32, |extent, w| extent.max(w.abs()));
    let widest = extent / bits.greatest() as f32;
    if bits == Bits::Eight || !widest.is_normal() {
        return usable(widest);
    }
    const STEPS: u32 = 64;
    let error = |scale: f32| -> f64 {
        let error = |w: &f32| f64::from(w - scale * round_weight(*w, scale, bits) as f32).powi(2);
        weights.iter().map(error).sum()
    };
    let scales = (STEPS / 4..=STEPS).rev().map(|step| widest * step as f32 / STEPS as f32);
    let best = scales.map(|scale| (scale, error(scale))).min_by(|a, b| a.1.total_cmp(&b.1));
    usable(best.map_or(widest, |(scale, _)| scale))
}

/// The integer nearest to a weight.
pub fn round_weight(weight: f32, scale: f32, bits: Bits) -> i64 {
    ((f64::from(weight) / f64::from(scale)).round() as i64).clamp(-bits.greatest(), bits.greatest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int8_covers_the_range_and_stores_zero_exactly() {
        let affine = Activations::Int8.affine((-1.0, 3.0));
        assert_eq!(affine.zero_point, -64);
        assert!((affine.scale.get() - 4.0 / 255.0).abs() < 1e-7);
        assert_eq!(Activations::Int8.affine((0.0, 6.0)).zero_point, -128);
        assert_eq!(Activations::Int8.affine((-6.0, 0.0)).zero_point, 127);
        assert_eq!(Activations::Int8.affine((0.0, 0.0)).scale.get(), SCALE_OF_ZEROS);
    }

    #[test]
    fn int16_is_symmetric() {
        let affine = Activations::Int16.affine((-1.0, 3.0));
        assert_eq!((affine.zero_point, affine.scale.get()), (0, 3.0 / 32767.0));
    }

    #[test]
    fn few_bits_give_up_outliers() {
        let mut weights: Vec<f32> = (0..100).map(|i| (i as f32 - 50.0) / 100.0).collect();
        weights.push(3.0);
        assert_eq!(weight_scale(&weights, Bits::Eight), 3.0 / 127.0);
        assert!(weight_scale(&weights, Bits::Four) < 3.0 / 7.0);
        assert_eq!(weight_scale(&[0.0, 0.0], Bits::Four), SCALE_OF_ZEROS);
    }

    #[test]
    fn weights_take_so_many_bytes() {
        assert_eq!(Bits::ALL.map(|bits| (bits.greatest(), bits.bytes(5))), [(127, 5), (7, 3), (1, 2)]);
    }
}
