//! Weights of 4 and 2 bits: several to a byte of flash, taken apart as they are read.
//!
//! A kernel loads a byte, or four of them as lanes, and takes its fields one by one. Where a field lies is known when the kernel
//! is made, since the layouts (`ir/src/loops/packed.rs`) begin what is read in one step with a byte.
//!
//! Lanes have no shift to the right that keeps signs: a field of lanes stays in their high bits, as 16 or 64 times the weight.
//! Accumulators hold sums of so many times the products then, and are shifted back at the end, which is exact as long as they
//! don't overflow.

use super::kernel::Kernel;
use mcunet_ir::attr::ResourceRef;
use mcunet_ir::loops::ops as l;
use mcunet_ir::loops::packed::packed_bytes;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Type, Value};

/// Weights of `bits` bits, 4 or 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packing {
    /// Bits of a weight.
    pub bits: usize,
}

impl Packing {
    /// How a filter is stored, if several weights share a byte.
    pub fn of(kernel: &Kernel<'_>, filter: &ResourceRef) -> Option<Self> {
        let element = filter.element;
        if element.is_sub_byte() {
            return Some(Self { bits: element.bits() });
        }
        kernel
            .narrowest(filter)
            .filter(|scalar| scalar.is_sub_byte())
            .map(|scalar| Self { bits: scalar.bits() })
    }

    /// Weights that share a byte.
    pub fn per_byte(self) -> usize {
        8 / self.bits
    }

    /// How far to the left fields of lanes are: the exponent of what their products are multiplied by.
    pub fn lane_shift(self) -> i32 {
        // 4 or 6.
        8 - self.bits as i32
    }

    /// Whether sums of `columns` products fit 32 bits after [`Packing::lane_shift`], whatever the weights: weights reach
    /// `2^(bits - 1)`, and int8 inputs with another one's zero point (see `accumulate::fits`) 255 + 128.
    pub fn lanes_fit(self, columns: usize) -> bool {
        columns.saturating_mul((255 + 128) << 7) < 1 << 31
    }

    /// Bytes that `count` weights take.
    pub fn bytes(self, count: usize) -> usize {
        packed_bytes(self.bits, count)
    }

    /// In which byte weight number `index` of packed ones is, and which field of it.
    pub fn locate(self, b: &mut Builder<'_>, index: Value) -> (Value, Field) {
        let (fields, width) = (super::rows::to_i32(self.per_byte()), super::rows::to_i32(self.bits));
        let byte = b.shr_const(index, super::rows::to_i32(self.per_byte().ilog2() as usize));
        let last = b.i32(fields - 1);
        let number = b.value(l::And {}, &[index, last], Type::I32);
        // So far to the left that the field's sign is the word's.
        let skipped = b.mul_const(number, -width);
        let left = b.add_const(skipped, 32 - width);
        (byte, Field::At { left, right: 32 - width })
    }

    /// Field `field` of a byte that was loaded as i8.
    pub fn field(self, b: &mut Builder<'_>, byte: Value, field: usize) -> Value {
        // At most 30.
        let kept = |bits: usize| 32 - bits as i32;
        if field + 1 == self.per_byte() {
            return b.shr_const(byte, self.lane_shift());
        }
        let high = b.shl_const(byte, kept(self.bits * (field + 1)));
        b.shr_const(high, kept(self.bits))
    }
}

/// Where a weight is in what was loaded.
#[derive(Clone, Copy, Debug)]
pub enum Field {
    /// It is all of it.
    Whole,
    /// It is a field that is the high bits after a shift by `left`, a value, and the weight after one back by `right`.
    At {
        /// The distance to the left.
        left: Value,
        /// The distance to the right.
        right: i32,
    },
}

impl Field {
    /// The weight.
    pub fn of(self, b: &mut Builder<'_>, loaded: Value) -> Value {
        match self {
            Field::Whole => loaded,
            Field::At { left, right } => {
                let high = b.value(l::Shl { bounded: false }, &[loaded, left], Type::I32);
                b.shr_const(high, right)
            }
        }
    }
}

/// Neighbouring weights of which each is asked for after those before it: bytes are loaded once.
pub struct Fields {
    packing: Option<Packing>,
    weights: Value,
    first: Value,
    byte: Option<(usize, Value)>,
}

impl Fields {
    /// Weights from `first` on, an offset in bytes, or elements if they are not packed.
    pub fn new(packing: Option<Packing>, weights: Value, first: Value) -> Self {
        Self { packing, weights, first, byte: None }
    }

    /// Weight number `index`.
    pub fn weight(&mut self, b: &mut Builder<'_>, index: usize) -> Value {
        let Some(packing) = self.packing else {
            return self.load(b, index);
        };
        let (number, field) = (index / packing.per_byte(), index % packing.per_byte());
        let byte = match self.byte {
            Some((loaded, byte)) if loaded == number => byte,
            _ => self.load(b, number),
        };
        self.byte = Some((number, byte));
        packing.field(b, byte, field)
    }

    fn load(&self, b: &mut Builder<'_>, index: usize) -> Value {
        let at = b.add_const(self.first, super::rows::to_i32(index));
        b.load(self.weights, at)
    }
}

/// The narrowest type that holds all of `items`, of those that filters have.
pub fn narrowest(items: &[i8]) -> Scalar {
    let fits = |scalar: &Scalar| {
        let range = scalar.integer_range();
        range.is_some_and(|(min, max)| items.iter().all(|&item| (min..=max).contains(&i64::from(item))))
    };
    [Scalar::I2, Scalar::I4].into_iter().find(fits).unwrap_or(Scalar::I8)
}
