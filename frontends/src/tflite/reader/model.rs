//! What a `.tflite` file says, as plain owned data; only the bytes of constants are borrowed from the file.
//!
//! Invariant of a model that [`read`](super::read) returns: every index is in range, every shape has a byte size within the limits, and
//! a tensor's buffer has exactly that size. Whether operands and options make sense for an operator is left to the import.

use std::fmt;
use std::sync::Arc;

use super::super::schema;
use super::options::OperatorOptions;

pub use schema::BuiltinOperator;

/// Declares an enum that mirrors one of the format's, with conversions both ways.
macro_rules! mirror {
    ($(#[$doc:meta])* $name:ident of $schema:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// The variant for a number in a file, if the format defines that number.
            pub(in super::super) fn from_schema(code: schema::$schema) -> Option<Self> {
                match code {
                    $(schema::$schema::$code => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl From<$name> for schema::$schema {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => Self::$code,)* }
            }
        }
    };
}

mirror! {
    /// Type of a tensor's elements.
    ElementType of TensorType {
        /// IEEE binary32.
        Float32 = FLOAT32,
        /// IEEE binary16.
        Float16 = FLOAT16,
        /// Signed, 32 bits.
        Int32 = INT32,
        /// Unsigned, 8 bits.
        Uint8 = UINT8,
        /// Signed, 64 bits.
        Int64 = INT64,
        /// Strings of any length; the buffer has its own layout.
        String = STRING,
        /// One byte, 0 or 1.
        Bool = BOOL,
        /// Signed, 16 bits.
        Int16 = INT16,
        /// Two binary32.
        Complex64 = COMPLEX64,
        /// Signed, 8 bits.
        Int8 = INT8,
        /// IEEE binary64.
        Float64 = FLOAT64,
        /// Two binary64.
        Complex128 = COMPLEX128,
        /// Unsigned, 64 bits.
        Uint64 = UINT64,
        /// Handle of a variable or table of the runtime.
        Resource = RESOURCE,
        /// Object of the runtime.
        Variant = VARIANT,
        /// Unsigned, 32 bits.
        Uint32 = UINT32,
        /// Unsigned, 16 bits.
        Uint16 = UINT16,
        /// Signed, two to a byte, the first in the low bits.
        Int4 = INT4,
        /// The upper half of a binary32.
        BFloat16 = BFLOAT16,
        /// Signed, four to a byte, the first in the low bits.
        Int2 = INT2,
        /// Unsigned, two to a byte, the first in the low bits.
        Uint4 = UINT4,
        /// 8-bit float, 4 bits of exponent, no infinities.
        Float8E4M3FN = FLOAT8_E4M3FN,
        /// 8-bit float, 5 bits of exponent.
        Float8E5M2 = FLOAT8_E5M2,
    }
}

impl ElementType {
    /// Width of an element in bits; none for strings, resources and variants, whose size a shape doesn't tell.
    #[must_use]
    pub fn bits(self) -> Option<u64> {
        Some(match self {
            Self::Int2 => 2,
            Self::Int4 | Self::Uint4 => 4,
            Self::Bool | Self::Int8 | Self::Uint8 | Self::Float8E4M3FN | Self::Float8E5M2 => 8,
            Self::Int16 | Self::Uint16 | Self::Float16 | Self::BFloat16 => 16,
            Self::Int32 | Self::Uint32 | Self::Float32 => 32,
            Self::Int64 | Self::Uint64 | Self::Float64 | Self::Complex64 => 64,
            Self::Complex128 => 128,
            Self::String | Self::Resource | Self::Variant => return None,
        })
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = schema::TensorType::from(*self);
        f.write_str(&code.variant_name().unwrap_or_default().to_ascii_lowercase())
    }
}

mirror! {
    /// How a window meets the border of its input.
    Padding of Padding {
        /// Zeros around the input, so that the output has `ceil(input / stride)` rows.
        Same = SAME,
        /// None: windows lie inside the input.
        Valid = VALID,
    }
}

mirror! {
    /// Function applied to an operator's output before it is stored.
    Activation of ActivationFunctionType {
        /// The identity.
        None = NONE,
        /// `max(x, 0)`.
        Relu = RELU,
        /// `x` clamped to [-1, 1].
        ReluN1To1 = RELU_N1_TO_1,
        /// `x` clamped to [0, 6].
        Relu6 = RELU6,
        /// The hyperbolic tangent.
        Tanh = TANH,
        /// The sign bit.
        SignBit = SIGN_BIT,
    }
}

mirror! {
    /// Layout of a fully connected operator's filter.
    WeightsFormat of FullyConnectedOptionsWeightsFormat {
        /// Rows of outputs by columns of inputs.
        Default = DEFAULT,
        /// int8 in blocks of 4 by 16.
        Shuffled4x16Int8 = SHUFFLED4x16INT8,
    }
}

/// Position of a tensor in its subgraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorIndex(pub(super) u32);

impl TensorIndex {
    /// As an index into [`Subgraph::tensors`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for TensorIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A model file.
#[derive(Debug, Clone, PartialEq)]
pub struct Model<'a> {
    /// Version of the format, always 3.
    pub version: u32,
    /// Free text, usually the converter's name.
    pub description: String,
    /// At least one; the first is the entry unless a signature says otherwise.
    pub subgraphs: Vec<Subgraph<'a>>,
    /// Constants by buffer index, empty where a file has none.
    pub buffers: Vec<&'a [u8]>,
    /// Named entries.
    pub signatures: Vec<Signature>,
}

/// A graph of operators, in order of execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Subgraph<'a> {
    /// Possibly empty.
    pub name: String,
    /// Constants, activations and variables alike.
    pub tensors: Vec<Tensor<'a>>,
    /// In order of execution.
    pub operators: Vec<Operator<'a>>,
    /// Tensors that the caller fills.
    pub inputs: Vec<TensorIndex>,
    /// Tensors that the caller gets.
    pub outputs: Vec<TensorIndex>,
}

impl<'a> Subgraph<'a> {
    /// The tensor at `index`; none only for an index of another subgraph.
    #[must_use]
    pub fn tensor(&self, index: TensorIndex) -> Option<&Tensor<'a>> {
        self.tensors.get(index.index())
    }
}

/// A value of a subgraph.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<'a> {
    /// Possibly empty, not necessarily unique.
    pub name: String,
    /// Row-major, outermost dimension first; empty for a scalar.
    pub shape: Vec<i32>,
    /// The shape with -1 for dimensions open at run time, if the file has one; same rank as `shape`.
    pub shape_signature: Option<Vec<i32>>,
    /// Type of the elements.
    pub element_type: ElementType,
    /// Little-endian elements of a constant; none for what is computed (and for a constant without elements).
    pub buffer: Option<&'a [u8]>,
    /// Which of [`Model::buffers`] that is: tensors may share one.
    pub buffer_index: u32,
    /// Scales, if the tensor is quantized.
    pub quantization: Option<Quantization>,
    /// Whether the value survives from one run to the next.
    pub is_variable: bool,
}

/// Affine quantization: `real = scale * (stored - zero_point)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantization {
    /// One for the tensor, or one per slice along `axis`; at least one, all finite. Not always positive: trained
    /// networks exist whose filters have channels with a negative scale, and runtimes compute them.
    pub scales: Vec<f32>,
    /// As many as scales. A file may store one for all, which is repeated here.
    pub zero_points: Vec<i64>,
    /// Quantized dimension as stored. Not checked: writers leave a filter's axis on biases of rank one, and runtimes accept that.
    pub axis: i32,
}

/// What an operator computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorCode {
    /// An operator of the format.
    Builtin(BuiltinOperator),
    /// One that the application registers under this name.
    Custom(Arc<str>),
}

impl fmt::Display for OperatorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(code) => match code.variant_name() {
                Some(name) => f.write_str(name),
                None => write!(f, "builtin operator {}", code.0),
            },
            Self::Custom(name) => f.write_str(name),
        }
    }
}

/// One step of a subgraph.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator<'a> {
    /// Position in [`Subgraph::operators`].
    pub index: usize,
    /// What it computes.
    pub code: OperatorCode,
    /// Version of that operator's contract, from 1.
    pub version: i32,
    /// Operands; none where an optional one is left out.
    pub inputs: Vec<Option<TensorIndex>>,
    /// Results.
    pub outputs: Vec<TensorIndex>,
    /// Attributes.
    pub options: OperatorOptions<'a>,
    /// Tensors inside the operator, which carry scales only.
    pub intermediates: Vec<TensorIndex>,
}

/// A named entry into a subgraph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// For instance `serving_default`.
    pub key: String,
    /// Position in [`Model::subgraphs`].
    pub subgraph: usize,
    /// Argument names.
    pub inputs: Vec<SignatureTensor>,
    /// Result names.
    pub outputs: Vec<SignatureTensor>,
}

/// A tensor's name in a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureTensor {
    /// Name for the caller.
    pub name: String,
    /// Tensor of the signature's subgraph.
    pub tensor: TensorIndex,
}
