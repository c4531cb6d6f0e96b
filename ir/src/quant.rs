//! Quantized element types, in the terms of MLIR's `quant` dialect.
//!
//! A stored integer `q` stands for the real number `scale * (q - zero_point)`. A type is either *per tensor* (one pair)
//! or *per axis* (one pair for every index along one dimension).
//! Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
//! Inference", section 2.1; MLIR's `quant.uniform` for the spelling.

use crate::types::Scalar;
use std::cmp::Ordering;

/// An `f32` with total order and hash by bit pattern, so that attributes and types can be map keys and e-nodes.
#[derive(Clone, Copy)]
pub struct F32(pub f32);

impl F32 {
    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

impl From<f32> for F32 {
    fn from(value: f32) -> Self {
        Self(value)
    }
}

impl PartialEq for F32 {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}
impl Eq for F32 {}
impl Ord for F32 {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
impl PartialOrd for F32 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl std::hash::Hash for F32 {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}
impl std::fmt::Debug for F32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Scale and zero point of one tensor or one channel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Affine {
    /// Real step between neighbouring integers; positive and finite in a valid type.
    pub scale: F32,
    /// The integer that stands for real 0.
    pub zero_point: i32,
}

/// Which elements share one [`Affine`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Granularity {
    /// One pair for the whole tensor.
    PerTensor(Affine),
    /// One pair per index along dimension `axis`.
    PerAxis {
        /// The dimension along which the pairs differ.
        axis: usize,
        /// One pair per index.
        channels: Vec<Affine>,
    },
}

/// A quantized element type: storage integers and what they stand for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QuantType {
    /// The integer type that is stored.
    pub storage: Scalar,
    /// Least storable value; the storage type's least value unless narrowed (`i8<-127:127>`).
    pub min: i64,
    /// Greatest storable value.
    pub max: i64,
    /// Scales and zero points.
    pub granularity: Granularity,
}

impl QuantType {
    /// A type with one scale and zero point and the storage's full range.
    pub fn per_tensor(storage: Scalar, scale: f32, zero_point: i32) -> Self {
        let (min, max) = storage.integer_range().unwrap_or((0, 0));
        let affine = Affine { scale: F32(scale), zero_point };
        Self { storage, min, max, granularity: Granularity::PerTensor(affine) }
    }

    /// A type with one scale and zero point per index along `axis` and the storage's full range.
    pub fn per_axis(storage: Scalar, axis: usize, channels: Vec<Affine>) -> Self {
        let (min, max) = storage.integer_range().unwrap_or((0, 0));
        Self { storage, min, max, granularity: Granularity::PerAxis { axis, channels } }
    }

    /// The single pair, or `None` if the type is per axis.
    pub fn affine(&self) -> Option<Affine> {
        match &self.granularity {
            Granularity::PerTensor(affine) => Some(*affine),
            Granularity::PerAxis { .. } => None,
        }
    }

    /// The pair of channel `index`; the only pair of a per-tensor type. `None` beyond the last channel.
    pub fn channel(&self, index: usize) -> Option<Affine> {
        match &self.granularity {
            Granularity::PerTensor(affine) => Some(*affine),
            Granularity::PerAxis { channels, .. } => channels.get(index).copied(),
        }
    }
}
