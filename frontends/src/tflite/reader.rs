//! Checked reading of `.tflite` files: from untrusted bytes to plain data, or to the list of everything that is wrong with them.
//!
//! The flatbuffer is verified first, so the bindings can't leave the bytes. What the verifier doesn't know is checked here: indices,
//! enum values, sizes of buffers and shapes. No input makes this panic or recurse deeply, and memory stays proportional to the file:
//! tables may share what they point to, so the verifier's limit is on the size that they unfold to ([`MAX_UNFOLDING`]), constants and
//! names of operator codes are shared instead of copied, and errors are capped.

mod error;
mod model;
mod operator;
pub mod options;
mod tensor;
#[cfg(test)]
mod tests;

use flatbuffers::{InvalidFlatbuffer, VerifierOptions};

use super::{schema, text};
use error::Errors;

pub use error::{MAX_ERRORS, OperatorProblem, OutOfRange, OutsideFile, ReadError, TensorProblem};
pub use model::{
    Activation, BuiltinOperator, ElementType, Model, Operator, OperatorCode, Padding, Quantization,
    Signature, SignatureTensor, Subgraph, Tensor, TensorIndex, WeightsFormat,
};
pub use options::{
    Addition, Conv2d, DepthwiseConv2d, FullyConnected, OperatorOptions, Pool2d, Resize, StridedSlice,
    TransposeConv,
};

/// Largest tensor, in bytes: far above any microcontroller, and low enough that offsets fit 32 bits.
pub const MAX_TENSOR_BYTES: u64 = 1 << 30;

/// Largest sum of all tensors of a file, in bytes.
pub const MAX_MODEL_BYTES: u64 = 1 << 34;

/// How many times its own size a file may unfold to when what tables share is counted for each of them.
pub const MAX_UNFOLDING: usize = 4;

/// What a file of any size may unfold to, in bytes: in the smallest files, tables of fields that writers share weigh most.
const MIN_UNFOLDED_BYTES: usize = 1 << 16;

/// Levels of tables in a file; the format has four.
const MAX_DEPTH: usize = 16;

/// The only version of the format in use.
const FORMAT_VERSION: u32 = 3;

/// Reads a model.
///
/// # Errors
///
/// Everything that is wrong with the file, up to [`MAX_ERRORS`] and a count of the rest; for bytes that aren't a well-formed flatbuffer
/// only that.
pub fn read(bytes: &[u8]) -> Result<Model<'_>, Vec<ReadError>> {
    let root = verified_root(bytes).map_err(|error| vec![error])?;
    let mut reader =
        Reader { bytes, errors: Errors::default(), buffers: Vec::new(), codes: Vec::new(), total_bytes: 0 };
    let model = reader.model(root);
    reader.errors.finish(model)
}

fn verified_root(bytes: &[u8]) -> Result<schema::Model<'_>, ReadError> {
    // The root's offset, then the identifier.
    let identifier = bytes.get(4..8).unwrap_or_default();
    if identifier != schema::MODEL_IDENTIFIER.as_bytes() {
        return Err(ReadError::Identifier { got: identifier.escape_ascii().to_string() });
    }
    schema::root_as_model_with_opts(&limits(bytes.len()), bytes)
        .map_err(|error| ReadError::Malformed { reason: one_line(&error) })
}

fn limits(file_bytes: usize) -> VerifierOptions {
    let max_apparent_size = file_bytes.saturating_mul(MAX_UNFOLDING).max(MIN_UNFOLDED_BYTES);
    VerifierOptions {
        max_depth: MAX_DEPTH,
        // A table takes at least its offset to the field list and that list's head, so this only restates the limit on size.
        max_tables: max_apparent_size / 8,
        max_apparent_size,
        ..VerifierOptions::default()
    }
}

/// The verifier's message, which spreads over several lines, as the end of one of ours.
fn one_line(error: &InvalidFlatbuffer) -> String {
    let message = error.to_string();
    let lines: Vec<&str> = message
        .lines()
        .map(|line| line.trim().trim_end_matches('.'))
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(", ").to_lowercase()
}

/// The state of one reading.
struct Reader<'a> {
    /// The whole file.
    bytes: &'a [u8],
    errors: Errors,
    /// Constants by index; one that is out of the file is empty here, and reported.
    buffers: Vec<&'a [u8]>,
    /// Operator codes with versions; none for one that is reported.
    codes: Vec<Option<(OperatorCode, i32)>>,
    /// Sum of the tensors so far.
    total_bytes: u64,
}

impl<'a> Reader<'a> {
    fn model(&mut self, root: schema::Model<'a>) -> Model<'a> {
        if root.version() != FORMAT_VERSION {
            self.errors.push(ReadError::Version { got: root.version() });
        }
        self.read_buffers(root);
        self.read_codes(root);
        let subgraphs = self.subgraphs(root);
        let signatures = self.signatures(root, &subgraphs);
        if self.total_bytes > MAX_MODEL_BYTES {
            self.errors.push(ReadError::ModelTooLarge { got: self.total_bytes });
        }
        Model {
            version: root.version(),
            description: text::decode(root.description()),
            subgraphs,
            buffers: std::mem::take(&mut self.buffers),
            signatures,
        }
    }

    fn read_buffers(&mut self, root: schema::Model<'a>) {
        let Some(tables) = root.buffers().filter(|tables| !tables.is_empty()) else {
            self.errors.push(ReadError::Missing { what: "buffers" });
            return;
        };
        self.buffers.reserve_exact(tables.len());
        for (buffer, table) in tables.iter().enumerate() {
            let inline = table.data().map_or(&[][..], |data| data.bytes());
            let bytes =
                if inline.is_empty() { self.behind(table.offset(), table.size()) } else { Ok(inline) };
            self.buffers.push(bytes.unwrap_or_else(|problem| {
                self.errors.push(ReadError::Buffer { buffer, problem });
                &[]
            }));
        }
    }

    /// Bytes that lie behind the flatbuffer, as in files above 2 GB. Offsets 0 and 1 are the format's placeholders for none.
    fn behind(&self, offset: u64, size: u64) -> Result<&'a [u8], OutsideFile> {
        if offset <= 1 {
            return Ok(&[]);
        }
        let start = usize::try_from(offset).ok();
        let end = offset.checked_add(size).and_then(|end| usize::try_from(end).ok());
        let range = start.zip(end).and_then(|(start, end)| self.bytes.get(start..end));
        range.ok_or(OutsideFile { offset, size, file: self.bytes.len() })
    }

    fn subgraphs(&mut self, root: schema::Model<'a>) -> Vec<Subgraph<'a>> {
        let Some(tables) = root.subgraphs().filter(|tables| !tables.is_empty()) else {
            self.errors.push(ReadError::Missing { what: "subgraphs" });
            return Vec::new();
        };
        tables.iter().enumerate().map(|(index, table)| self.subgraph(index, table)).collect()
    }

    /// Converts a subgraph. Writers leave empty lists out, so an absent one is empty.
    fn subgraph(&mut self, subgraph: usize, table: schema::SubGraph<'a>) -> Subgraph<'a> {
        let tensors: Vec<_> = table.tensors().map_or_else(Vec::new, |tensors| {
            tensors.iter().enumerate().map(|(index, tensor)| self.tensor(subgraph, index, tensor)).collect()
        });
        let operators = table.operators().map_or_else(Vec::new, |operators| {
            let operators = operators.iter().enumerate();
            operators
                .filter_map(|(index, operator)| self.operator(subgraph, index, operator, tensors.len()))
                .collect()
        });
        let mut list = |list, indices: Option<flatbuffers::Vector<'a, i32>>| {
            let mut found = Vec::new();
            for (position, index) in indices.iter().flatten().enumerate() {
                match tensor_index(index.into(), tensors.len()) {
                    Ok(index) => found.push(index),
                    Err(problem) => {
                        self.errors.push(ReadError::Subgraph { subgraph, list, position, problem })
                    }
                }
            }
            found
        };
        let inputs = list("input", table.inputs());
        let outputs = list("output", table.outputs());
        Subgraph { name: text::decode(table.name()), tensors, operators, inputs, outputs }
    }

    fn signatures(&mut self, root: schema::Model<'a>, subgraphs: &[Subgraph<'a>]) -> Vec<Signature> {
        let tables = root.signature_defs();
        tables
            .iter()
            .flatten()
            .enumerate()
            .map(|(index, table)| self.signature(index, table, subgraphs))
            .collect()
    }

    fn signature(
        &mut self,
        signature: usize,
        table: schema::SignatureDef<'a>,
        subgraphs: &[Subgraph<'a>],
    ) -> Signature {
        let key = text::decode(table.signature_key());
        let mut problems = Vec::new();
        let index = table.subgraph_index() as usize;
        let subgraph = subgraphs.get(index);
        if subgraph.is_none() {
            problems.push((
                "subgraph",
                OutOfRange { index: table.subgraph_index().into(), count: subgraphs.len() },
            ));
        }
        let mut list = |list,
                        entries: Option<
            flatbuffers::Vector<'a, flatbuffers::ForwardsUOffset<schema::TensorMap<'a>>>,
        >| {
            // Without its subgraph the indices mean nothing.
            let (Some(entries), Some(subgraph)) = (entries, subgraph) else {
                return Vec::new();
            };
            let mut found = Vec::with_capacity(entries.len());
            for entry in entries {
                match tensor_index(entry.tensor_index().into(), subgraph.tensors.len()) {
                    Ok(tensor) => found.push(SignatureTensor { name: text::decode(entry.name()), tensor }),
                    Err(problem) => problems.push((list, problem)),
                }
            }
            found
        };
        let inputs = list("input", table.inputs());
        let outputs = list("output", table.outputs());
        for (list, problem) in problems {
            self.errors.push(ReadError::Signature { signature, key: error::quoted(&key), list, problem });
        }
        Signature { key, subgraph: index, inputs, outputs }
    }
}

/// Checks an index into a list of `count` tensors.
fn tensor_index(index: i64, count: usize) -> Result<TensorIndex, OutOfRange> {
    let narrow = u32::try_from(index).ok().filter(|&index| (index as usize) < count);
    narrow.map(TensorIndex).ok_or(OutOfRange { index, count })
}
