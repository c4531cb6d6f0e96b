//! Types of values: tensors before lowering, memory references and scalars after it.
//!
//! Shapes are static: every dimension is a positive number known at compile time, or 0 for an empty tensor.

use crate::quant::{Affine, QuantType};
use std::sync::Arc;

/// A type that a register or a memory cell can have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scalar {
    /// Truth value; stored as one byte, 0 or 1.
    I1,
    /// Signed 2-bit integer; of constant filters only, see [`crate::sub_byte`].
    I2,
    /// Signed 4-bit integer; of constant filters only, see [`crate::sub_byte`].
    I4,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 64-bit integer.
    U64,
    /// IEEE 754 binary32.
    F32,
}

impl Scalar {
    /// All scalar types, in the order of their declaration.
    pub const ALL: [Scalar; 12] = [
        Scalar::I1,
        Scalar::I2,
        Scalar::I4,
        Scalar::I8,
        Scalar::I16,
        Scalar::I32,
        Scalar::I64,
        Scalar::U8,
        Scalar::U16,
        Scalar::U32,
        Scalar::U64,
        Scalar::F32,
    ];

    /// Size of one element in memory, in bytes. The compiler holds those of sub-byte types in a byte each; what they take
    /// in flash is [`Scalar::packed_bytes`].
    pub fn size_bytes(self) -> usize {
        match self {
            Scalar::I1 | Scalar::I2 | Scalar::I4 | Scalar::I8 | Scalar::U8 => 1,
            Scalar::I16 | Scalar::U16 => 2,
            Scalar::I32 | Scalar::U32 | Scalar::F32 => 4,
            Scalar::I64 | Scalar::U64 => 8,
        }
    }

    /// Bits that an element takes where several share a byte; 8 for truth values, which don't.
    pub fn bits(self) -> usize {
        match self {
            Scalar::I2 => 2,
            Scalar::I4 => 4,
            other => 8 * other.size_bytes(),
        }
    }

    /// Whether several elements share a byte in flash.
    pub fn is_sub_byte(self) -> bool {
        self.bits() < 8
    }

    /// The type that elements have once they are unpacked: `i8` for sub-byte types.
    pub fn unpacked(self) -> Scalar {
        if self.is_sub_byte() { Scalar::I8 } else { self }
    }

    /// Size of `count` elements side by side in flash, in bytes; saturating.
    pub fn packed_bytes(self, count: usize) -> usize {
        match self.is_sub_byte() {
            true => count.div_ceil(8 / self.bits()),
            false => count.saturating_mul(self.size_bytes()),
        }
    }

    /// MLIR's name of the type as a plain element type (`i8`, `ui8`, `f32`).
    pub fn name(self) -> &'static str {
        match self {
            Scalar::I1 => "i1",
            Scalar::I2 => "i2",
            Scalar::I4 => "i4",
            Scalar::I8 => "i8",
            Scalar::I16 => "i16",
            Scalar::I32 => "i32",
            Scalar::I64 => "i64",
            Scalar::U8 => "ui8",
            Scalar::U16 => "ui16",
            Scalar::U32 => "ui32",
            Scalar::U64 => "ui64",
            Scalar::F32 => "f32",
        }
    }

    /// Least and greatest value of an integer type (`u64`'s greatest is capped at `i64::MAX`); `None` for floats.
    pub fn integer_range(self) -> Option<(i64, i64)> {
        Some(match self {
            Scalar::I1 => (0, 1),
            Scalar::I2 => (-2, 1),
            Scalar::I4 => (-8, 7),
            Scalar::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
            Scalar::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
            Scalar::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
            Scalar::I64 => (i64::MIN, i64::MAX),
            Scalar::U8 => (0, i64::from(u8::MAX)),
            Scalar::U16 => (0, i64::from(u16::MAX)),
            Scalar::U32 => (0, i64::from(u32::MAX)),
            Scalar::U64 => (0, i64::MAX),
            Scalar::F32 => return None,
        })
    }

    /// Whether the type is a float.
    pub fn is_float(self) -> bool {
        self == Scalar::F32
    }
}

/// Dimensions of a tensor or buffer, outermost first. A scalar has none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Shape(pub Vec<usize>);

impl Shape {
    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Product of the dimensions; saturates at `usize::MAX`, which the verifier refuses.
    pub fn elements(&self) -> usize {
        self.0.iter().fold(1usize, |product, &dim| product.saturating_mul(dim))
    }

    /// Distance in elements between neighbours along each dimension, row-major.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1usize; self.rank()];
        for i in (0..self.rank().saturating_sub(1)).rev() {
            strides[i] = strides[i + 1].saturating_mul(self.0[i + 1]);
        }
        strides
    }

    /// The shape as `[N, H, W, C]` if it has four dimensions.
    pub fn nhwc(&self) -> Option<[usize; 4]> {
        <[usize; 4]>::try_from(self.0.as_slice()).ok()
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Self {
        Self(dims)
    }
}
impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self(dims.to_vec())
    }
}
impl std::ops::Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}
impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dims: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        if dims.is_empty() { f.write_str("scalar") } else { f.write_str(&dims.join("x")) }
    }
}

/// What the elements of a tensor are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Element {
    /// The number itself.
    Plain(Scalar),
    /// An integer that stands for a real number.
    Quant(Arc<QuantType>),
}

impl Element {
    /// The type that is stored in memory.
    pub fn storage(&self) -> Scalar {
        match self {
            Element::Plain(scalar) => *scalar,
            Element::Quant(quant) => quant.storage,
        }
    }
}

/// A tensor with static shape; row-major, activations NHWC.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TensorType {
    /// Dimensions, outermost first.
    pub shape: Shape,
    /// Element type.
    pub element: Element,
}

impl TensorType {
    /// A tensor of plain numbers.
    pub fn plain(shape: impl Into<Shape>, scalar: Scalar) -> Self {
        Self { shape: shape.into(), element: Element::Plain(scalar) }
    }

    /// A quantized tensor.
    pub fn quantized(shape: impl Into<Shape>, quant: QuantType) -> Self {
        Self { shape: shape.into(), element: Element::Quant(Arc::new(quant)) }
    }

    /// The same element type with another shape.
    pub fn with_shape(&self, shape: impl Into<Shape>) -> Self {
        Self { shape: shape.into(), element: self.element.clone() }
    }

    /// The type that is stored in memory.
    pub fn storage(&self) -> Scalar {
        self.element.storage()
    }

    /// Quantization, if there is one.
    pub fn quant(&self) -> Option<&QuantType> {
        match &self.element {
            Element::Quant(quant) => Some(quant),
            Element::Plain(_) => None,
        }
    }

    /// The one scale and zero point of a tensor that is quantized per tensor.
    pub fn affine(&self) -> Option<Affine> {
        self.quant().and_then(QuantType::affine)
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.elements()
    }

    /// Size in memory, in bytes; saturating.
    pub fn size_bytes(&self) -> usize {
        self.elements().saturating_mul(self.storage().size_bytes())
    }

    /// Size as a constant in flash, in bytes, where elements of sub-byte types share bytes; saturating.
    pub fn packed_bytes(&self) -> usize {
        self.storage().packed_bytes(self.elements())
    }
}

/// A block of memory: an arena buffer or constant data.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MemRefType {
    /// Dimensions, outermost first; addressed as flat elements.
    pub shape: Shape,
    /// Element type.
    pub element: Scalar,
}

impl MemRefType {
    /// Size in bytes; saturating.
    pub fn size_bytes(&self) -> usize {
        self.shape.elements().saturating_mul(self.element.size_bytes())
    }
}

/// Lanes packed in one 32-bit register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Packed {
    /// Two signed 16-bit lanes, lane 0 in the low half.
    I16x2,
    /// Four signed 8-bit lanes, lane 0 in the lowest byte.
    I8x4,
}

/// The type of a value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Type {
    /// A tensor with value semantics.
    Tensor(Arc<TensorType>),
    /// Memory.
    MemRef(Arc<MemRefType>),
    /// A number in a register: `i1`, `i32`, `i64` or `f32`.
    Scalar(Scalar),
    /// Packed lanes in a register.
    Packed(Packed),
}

impl Type {
    /// 32-bit integer in a register; also the type of offsets.
    pub const I32: Type = Type::Scalar(Scalar::I32);
    /// 64-bit integer in a register.
    pub const I64: Type = Type::Scalar(Scalar::I64);
    /// Truth value.
    pub const I1: Type = Type::Scalar(Scalar::I1);
    /// Float in a register.
    pub const F32: Type = Type::Scalar(Scalar::F32);

    /// The tensor type, if it is one.
    pub fn as_tensor(&self) -> Option<&TensorType> {
        match self {
            Type::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The memory type, if it is one.
    pub fn as_memref(&self) -> Option<&MemRefType> {
        match self {
            Type::MemRef(memref) => Some(memref),
            _ => None,
        }
    }
}

impl From<TensorType> for Type {
    fn from(tensor: TensorType) -> Self {
        Type::Tensor(Arc::new(tensor))
    }
}
impl From<MemRefType> for Type {
    fn from(memref: MemRefType) -> Self {
        Type::MemRef(Arc::new(memref))
    }
}

/// What an op demands of an operand or result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Constraint {
    /// Any tensor.
    Tensor,
    /// A tensor with four dimensions, NHWC (activations) or OHWI (filters).
    Tensor4D,
    /// A tensor with one dimension.
    Tensor1D,
    /// Memory.
    MemRef,
    /// `i32` or `i64` in a register.
    Int,
    /// `i32` in a register.
    I32,
    /// `i64` in a register.
    I64,
    /// `f32` in a register.
    F32,
    /// Truth value in a register.
    I1,
    /// `i32`, `i64` or `f32` in a register.
    Number,
    /// Two 16-bit lanes.
    I16x2,
    /// Four 8-bit lanes.
    I8x4,
    /// Anything that fits a register.
    Register,
}

impl Constraint {
    /// Whether `ty` satisfies the constraint.
    pub fn accepts(self, ty: &Type) -> bool {
        let rank = |rank| ty.as_tensor().is_some_and(|tensor| tensor.shape.rank() == rank);
        match self {
            Constraint::Tensor => ty.as_tensor().is_some(),
            Constraint::Tensor4D => rank(4),
            Constraint::Tensor1D => rank(1),
            Constraint::MemRef => ty.as_memref().is_some(),
            Constraint::Int => matches!(*ty, Type::I32 | Type::I64),
            Constraint::I32 => *ty == Type::I32,
            Constraint::I64 => *ty == Type::I64,
            Constraint::F32 => *ty == Type::F32,
            Constraint::I1 => *ty == Type::I1,
            Constraint::Number => matches!(*ty, Type::I32 | Type::I64 | Type::F32),
            Constraint::I16x2 => *ty == Type::Packed(Packed::I16x2),
            Constraint::I8x4 => *ty == Type::Packed(Packed::I8x4),
            Constraint::Register => {
                matches!(*ty, Type::I1 | Type::I32 | Type::I64 | Type::F32 | Type::Packed(_))
            }
        }
    }

    /// What the constraint asks for, as it appears in diagnostics and the dialect reference.
    pub fn description(self) -> &'static str {
        match self {
            Constraint::Tensor => "a tensor",
            Constraint::Tensor4D => "a tensor with 4 dimensions",
            Constraint::Tensor1D => "a tensor with 1 dimension",
            Constraint::MemRef => "a memref",
            Constraint::Int => "i32 or i64",
            Constraint::I32 => "i32",
            Constraint::I64 => "i64",
            Constraint::F32 => "f32",
            Constraint::I1 => "i1",
            Constraint::Number => "i32, i64 or f32",
            Constraint::I16x2 => "vector<2xi16>",
            Constraint::I8x4 => "vector<4xi8>",
            Constraint::Register => "a register type",
        }
    }
}
