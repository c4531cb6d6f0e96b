//! What can be wrong with a file. Everything wrong is reported at once, up to [`MAX_ERRORS`].

use thiserror::Error;

use super::{MAX_MODEL_BYTES, MAX_TENSOR_BYTES};

/// Errors kept of one file; further ones are only counted, so that a hostile file can't make the report large.
pub const MAX_ERRORS: usize = 100;

/// Characters of a name that an error quotes.
const MAX_QUOTED: usize = 80;

/// A reason not to read a `.tflite` file.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Not a file of this format.
    #[error("expected file identifier 'TFL3' at byte 4, got '{got}'")]
    Identifier {
        /// The bytes there, escaped.
        got: String,
    },
    /// An offset, length or alignment is wrong, or the tables share so much that they unfold beyond the limit.
    #[error("expected a well-formed flatbuffer, got one that fails verification: {reason}")]
    Malformed {
        /// The verifier's finding and the path to it.
        reason: String,
    },
    /// Another version of the format.
    #[error("expected format version 3, got {got}")]
    Version {
        /// The version.
        got: u32,
    },
    /// A part without which there is no model.
    #[error("expected a model with {what}, got none")]
    Missing {
        /// The part.
        what: &'static str,
    },
    /// A buffer that points outside the file.
    #[error("buffer {buffer}: {problem}")]
    Buffer {
        /// Position in the file's buffers.
        buffer: usize,
        /// What is wrong.
        problem: OutsideFile,
    },
    /// A number that isn't an operator of the format.
    #[error("operator code {code}: expected a builtin operator, got unknown code {value}")]
    UnknownOperator {
        /// Position in the file's operator codes.
        code: usize,
        /// The number.
        value: i32,
    },
    /// A custom operator without a name.
    #[error("operator code {code}: expected the name of a custom operator, got none")]
    UnnamedCustomOperator {
        /// Position in the file's operator codes.
        code: usize,
    },
    /// A tensor that can't be represented or doesn't fit its buffer.
    #[error("tensor {tensor} '{name}' of subgraph {subgraph}: {problem}")]
    Tensor {
        /// Position of the subgraph.
        subgraph: usize,
        /// Position of the tensor.
        tensor: usize,
        /// Its name, shortened.
        name: String,
        /// What is wrong.
        problem: TensorProblem,
    },
    /// An operator with a wrong index or option.
    #[error("operator {operator} ({name}) of subgraph {subgraph}: {problem}")]
    Operator {
        /// Position of the subgraph.
        subgraph: usize,
        /// Position of the operator.
        operator: usize,
        /// What it computes, shortened.
        name: String,
        /// What is wrong.
        problem: OperatorProblem,
    },
    /// A subgraph's input or output that doesn't exist.
    #[error("subgraph {subgraph}: {list} {position}: {problem}")]
    Subgraph {
        /// Position of the subgraph.
        subgraph: usize,
        /// `input` or `output`.
        list: &'static str,
        /// Position in the list.
        position: usize,
        /// What is wrong.
        problem: OutOfRange,
    },
    /// A signature that names what doesn't exist.
    #[error("signature {signature} '{key}': {list}: {problem}")]
    Signature {
        /// Position of the signature.
        signature: usize,
        /// Its key, shortened.
        key: String,
        /// `subgraph`, `input` or `output`.
        list: &'static str,
        /// What is wrong.
        problem: OutOfRange,
    },
    /// The tensors together are too large.
    #[error("expected at most {MAX_MODEL_BYTES} bytes in all tensors, got {got}")]
    ModelTooLarge {
        /// Bytes, those of tensors within their own limit.
        got: u64,
    },
    /// What [`MAX_ERRORS`] left out.
    #[error("and {count} more errors")]
    More {
        /// How many.
        count: usize,
    },
}

/// An index beyond its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected an index below {count}, got {index}")]
pub struct OutOfRange {
    /// The index.
    pub index: i64,
    /// Length of the list.
    pub count: usize,
}

/// A range behind the flatbuffer that the file doesn't contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected a range inside the file of {file} bytes, got {size} bytes at {offset}")]
pub struct OutsideFile {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
    /// Length of the file in bytes.
    pub file: usize,
}

/// What can be wrong with a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum TensorProblem {
    /// A number that isn't an element type.
    #[error("expected a known element type, got {value}")]
    UnknownType {
        /// The number.
        value: i8,
    },
    /// A buffer that doesn't exist.
    #[error("buffer: {0}")]
    Buffer(#[from] OutOfRange),
    /// A dimension below zero.
    #[error("expected dimension {axis} to be at least 0, got {value}")]
    NegativeDimension {
        /// Which one.
        axis: usize,
        /// Its value.
        value: i32,
    },
    /// More bytes than any target has.
    #[error("expected a shape of at most {MAX_TENSOR_BYTES} bytes, got a larger one")]
    TooLarge,
    /// A buffer of another size than the shape asks for.
    #[error("expected {expected} bytes in its buffer, got {got}")]
    BufferLength {
        /// From shape and element type.
        expected: u64,
        /// In the file.
        got: usize,
    },
    /// A dimension of the signature below -1.
    #[error("expected dimension {axis} of the shape signature to be at least -1, got {value}")]
    SignatureDimension {
        /// Which one.
        axis: usize,
        /// Its value.
        value: i32,
    },
    /// A signature of another rank.
    #[error("expected a shape signature of rank {expected}, got {got}")]
    SignatureRank {
        /// Rank of the shape.
        expected: usize,
        /// Rank of the signature.
        got: usize,
    },
    /// Zero points that don't pair with scales.
    #[error("expected one zero point or one for each of {scales} scales, got {zero_points}")]
    ZeroPointCount {
        /// Number of scales.
        scales: usize,
        /// Number of zero points.
        zero_points: usize,
    },
    /// A scale that is infinite or not a number.
    #[error("expected scale {position} to be finite, got {value}")]
    Scale {
        /// Position in the scales.
        position: usize,
        /// Its value.
        value: f32,
    },
    /// Quantization that isn't one scale per tensor or slice.
    #[error(
        "expected quantization by tensor or axis, got details of kind {tag} (1 custom, 2 blockwise, 3 multi-axis)"
    )]
    QuantizationDetails {
        /// Tag of the union.
        tag: u8,
    },
    /// A constant stored compressed.
    #[error("expected a dense tensor, got one with sparsity parameters")]
    Sparse,
    /// A constant stored in another file.
    #[error("expected its data in this file, got a reference to external buffer {buffer}")]
    External {
        /// Identifier of the buffer.
        buffer: u32,
    },
}

/// What can be wrong with an operator.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OperatorProblem {
    /// An operator code that doesn't exist.
    #[error("operator code: {0}")]
    Code(OutOfRange),
    /// A tensor that doesn't exist.
    #[error("{list} {position}: {problem}")]
    Tensor {
        /// `input`, `output` or `intermediate`.
        list: &'static str,
        /// Position in the list.
        position: usize,
        /// What is wrong.
        problem: OutOfRange,
    },
    /// A number that the enum of an option doesn't define.
    #[error("expected a known {field}, got {value}")]
    UnknownValue {
        /// The option.
        field: &'static str,
        /// The number.
        value: i8,
    },
    /// Custom options that point outside the file.
    #[error("custom options: {0}")]
    CustomOptions(OutsideFile),
}

/// The errors of a file so far.
#[derive(Debug, Default)]
pub(super) struct Errors {
    kept: Vec<ReadError>,
    left_out: usize,
}

impl Errors {
    /// Adds one, or counts it when there are many.
    pub(super) fn push(&mut self, error: ReadError) {
        if self.kept.len() < MAX_ERRORS {
            self.kept.push(error);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// `value` of a file without errors.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, Vec<ReadError>> {
        if self.left_out > 0 {
            self.kept.push(ReadError::More { count: self.left_out });
        }
        if self.kept.is_empty() { Ok(value) } else { Err(self.kept) }
    }
}

/// `name`, cut to what fits a message.
pub(super) fn quoted(name: &str) -> String {
    match name.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}
