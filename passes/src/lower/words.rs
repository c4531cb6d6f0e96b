//! Four neighbouring int8 elements of a word at a time, on cores with the DSP extension.
//!
//! A word is extended to pairs of 16 bits, elements 0 and 2 and then 1 and 3, each with an addition for free. Sums of up to
//! [`MOST`] elements stay in such pairs.
//!
//! Invariant: no lane leaves 16 bits.

use super::CoreFeatures;
use mcunet_ir::loops::ops as l;
use mcunet_ir::types::{Packed, Scalar};
use mcunet_ir::{Builder, TensorType, Type, Value};

/// Elements of a word.
pub const LANES: usize = 4;

/// Elements whose sum fits 16 bits, whatever they are: 256 times -128 is the least number.
pub const MOST: usize = 256;

/// Elements from which on sums of four at once are worth their code: each takes some five cycles less, for half a kilobyte.
pub const MANY: usize = 4096;

/// Whether elements of these types are to be loaded as words: that is more code, too.
pub fn are_loaded<'t>(features: CoreFeatures, mut types: impl Iterator<Item = &'t TensorType>) -> bool {
    features.dsp && features.unroll && types.all(|ty| ty.storage() == Scalar::I8)
}

/// Two pairs that begin with a number.
pub fn start(b: &mut Builder<'_>, number: i32) -> [Value; 2] {
    let number = b.i32(number);
    [b.splat_lanes(number); 2]
}

/// Adds the elements of a word to two pairs of sums.
pub fn add(b: &mut Builder<'_>, sums: [Value; 2], word: Value) -> [Value; 2] {
    let add = |b: &mut Builder<'_>, sum, odd| {
        b.value(l::ExtendAddLanes { odd }, &[sum, word], Type::Packed(Packed::I16x2))
    };
    [add(b, sums[0], false), add(b, sums[1], true)]
}

/// The four sums of two pairs, each added to a number.
pub fn add_to(b: &mut Builder<'_>, sums: [Value; 2], numbers: [Value; LANES]) -> [Value; LANES] {
    let one = b.i32(1);
    let one = b.splat_lanes(one);
    std::array::from_fn(|lane| b.half_mac((sums[lane % 2], lane >= 2), (one, false), numbers[lane]))
}
