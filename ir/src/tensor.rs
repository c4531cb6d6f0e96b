//! Dense tensor data on the host, as the interpreter and constant folding use it.

use crate::types::{Scalar, TensorType};

/// Elements in row-major order, by storage type. Those of sub-byte types are held as i8.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Data {
    I1(Vec<bool>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
}

/// A tensor with its type; the number of elements always matches the shape.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    /// Shape and element type.
    pub ty: TensorType,
    /// The elements.
    pub data: Data,
}

/// Why tensor data does not fit its type or use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TensorError {
    /// The number of bytes does not match shape and element type.
    #[error("expected {expected} bytes for {elements} elements, got {found}")]
    Size {
        /// Bytes the type asks for.
        expected: usize,
        /// Elements the type asks for.
        elements: usize,
        /// Bytes at hand.
        found: usize,
    },
    /// The storage type is another one.
    #[error("expected {expected} elements, got {}", found.name())]
    Storage {
        /// Storage type that was asked for.
        expected: &'static str,
        /// Storage type at hand.
        found: Scalar,
    },
}

macro_rules! storages {
    ($($variant:ident, $ty:ty, $name:literal, $get:ident;)*) => {
        impl Data {
            /// Number of elements.
            pub fn len(&self) -> usize {
                match self { $(Data::$variant(items) => items.len(),)* Data::I1(items) => items.len() }
            }

            /// Storage type, unpacked.
            pub fn scalar(&self) -> Scalar {
                match self { $(Data::$variant(_) => Scalar::$variant,)* Data::I1(_) => Scalar::I1 }
            }

            /// Little-endian bytes.
            pub fn to_bytes(&self) -> Vec<u8> {
                match self {
                    $(Data::$variant(items) => items.iter().flat_map(|item| item.to_le_bytes()).collect(),)*
                    Data::I1(items) => items.iter().map(|&item| u8::from(item)).collect(),
                }
            }

            /// Reads little-endian bytes; a remainder shorter than an element is ignored.
            pub fn from_bytes(scalar: Scalar, bytes: &[u8]) -> Data {
                match scalar {
                    $(Scalar::$variant => Data::$variant(
                        bytes
                            .chunks_exact(std::mem::size_of::<$ty>())
                            .map(|chunk| {
                                let mut raw = [0; std::mem::size_of::<$ty>()];
                                raw.copy_from_slice(chunk);
                                <$ty>::from_le_bytes(raw)
                            })
                            .collect(),
                    ),)*
                    Scalar::I1 => Data::I1(bytes.iter().map(|&byte| byte != 0).collect()),
                    Scalar::I2 | Scalar::I4 => Data::from_bytes(Scalar::I8, bytes),
                }
            }

            /// `count` zeros.
            pub fn zeros(scalar: Scalar, count: usize) -> Data {
                match scalar {
                    $(Scalar::$variant => Data::$variant(vec![<$ty>::default(); count]),)*
                    Scalar::I1 => Data::I1(vec![false; count]),
                    Scalar::I2 | Scalar::I4 => Data::I8(vec![0; count]),
                }
            }

            /// Elements at `indices`, in that order. Out-of-range indices are the caller's error and panic.
            pub fn pick(&self, indices: impl Iterator<Item = usize>) -> Data {
                match self {
                    $(Data::$variant(items) => Data::$variant(indices.map(|i| items[i]).collect()),)*
                    Data::I1(items) => Data::I1(indices.map(|i| items[i]).collect()),
                }
            }
        }

        impl Tensor {
            $(
                /// The elements, if they are stored as this type.
                ///
                /// # Errors
                /// [`TensorError::Storage`] if they are not.
                pub fn $get(&self) -> Result<&[$ty], TensorError> {
                    match &self.data {
                        Data::$variant(items) => Ok(items),
                        other => Err(TensorError::Storage { expected: $name, found: other.scalar() }),
                    }
                }
            )*
        }

        $(
            impl From<Vec<$ty>> for Data {
                fn from(items: Vec<$ty>) -> Self {
                    Data::$variant(items)
                }
            }
        )*
    };
}

storages! {
    I8, i8, "i8", i8s;
    I16, i16, "i16", i16s;
    I32, i32, "i32", i32s;
    I64, i64, "i64", i64s;
    U8, u8, "ui8", u8s;
    U16, u16, "ui16", u16s;
    U32, u32, "ui32", u32s;
    U64, u64, "ui64", u64s;
    F32, f32, "f32", f32s;
}

impl Data {
    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Integer elements as `i64` (a `u64` beyond `i64::MAX` wraps); `None` for floats.
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        Some(match self {
            Data::I1(items) => items.iter().map(|&x| x.into()).collect(),
            Data::I8(items) => items.iter().map(|&x| x.into()).collect(),
            Data::I16(items) => items.iter().map(|&x| x.into()).collect(),
            Data::I32(items) => items.iter().map(|&x| x.into()).collect(),
            Data::I64(items) => items.clone(),
            Data::U8(items) => items.iter().map(|&x| x.into()).collect(),
            Data::U16(items) => items.iter().map(|&x| x.into()).collect(),
            Data::U32(items) => items.iter().map(|&x| x.into()).collect(),
            Data::U64(items) => items.iter().map(|&x| x as i64).collect(),
            Data::F32(_) => return None,
        })
    }

    /// Stores integers as `scalar`, unpacked, keeping the low bits of each; `None` if `scalar` is a float.
    pub fn from_i64s(scalar: Scalar, items: impl IntoIterator<Item = i64>) -> Option<Data> {
        let items = items.into_iter();
        Some(match scalar {
            Scalar::I1 => Data::I1(items.map(|x| x != 0).collect()),
            Scalar::I2 | Scalar::I4 | Scalar::I8 => Data::I8(items.map(|x| x as i8).collect()),
            Scalar::I16 => Data::I16(items.map(|x| x as i16).collect()),
            Scalar::I32 => Data::I32(items.map(|x| x as i32).collect()),
            Scalar::I64 => Data::I64(items.collect()),
            Scalar::U8 => Data::U8(items.map(|x| x as u8).collect()),
            Scalar::U16 => Data::U16(items.map(|x| x as u16).collect()),
            Scalar::U32 => Data::U32(items.map(|x| x as u32).collect()),
            Scalar::U64 => Data::U64(items.map(|x| x as u64).collect()),
            Scalar::F32 => return None,
        })
    }
}

impl Tensor {
    /// A tensor of the given type and data.
    ///
    /// # Errors
    /// If storage type or number of elements differ from the type's.
    pub fn new(ty: TensorType, data: impl Into<Data>) -> Result<Self, TensorError> {
        let data = data.into();
        if data.scalar() != ty.storage().unpacked() {
            return Err(TensorError::Storage { expected: ty.storage().name(), found: data.scalar() });
        }
        if data.len() != ty.elements() {
            let size = ty.storage().size_bytes();
            return Err(TensorError::Size {
                expected: ty.size_bytes(),
                elements: ty.elements(),
                found: data.len().saturating_mul(size),
            });
        }
        Ok(Self { ty, data })
    }

    /// A tensor of the given type from little-endian bytes.
    ///
    /// # Errors
    /// If the number of bytes is not the type's.
    pub fn from_bytes(ty: TensorType, bytes: &[u8]) -> Result<Self, TensorError> {
        if bytes.len() != ty.size_bytes() {
            return Err(TensorError::Size {
                expected: ty.size_bytes(),
                elements: ty.elements(),
                found: bytes.len(),
            });
        }
        let data = Data::from_bytes(ty.storage(), bytes);
        Ok(Self { ty, data })
    }

    /// A tensor of zeros.
    pub fn zeros(ty: TensorType) -> Self {
        let data = Data::zeros(ty.storage(), ty.elements());
        Self { ty, data }
    }
}
