//! Conversion of tensors: type, shape, size against the buffer, and quantization.

use super::super::{schema, text};
use super::error::{OutOfRange, ReadError, TensorProblem, quoted};
use super::model::{ElementType, Quantization, Tensor};
use super::{MAX_TENSOR_BYTES, Reader};

impl<'a> Reader<'a> {
    /// Converts a tensor; its problems go to the errors.
    pub(super) fn tensor(&mut self, subgraph: usize, index: usize, table: schema::Tensor<'a>) -> Tensor<'a> {
        let mut problems = Vec::new();
        let element_type = element_type(table, &mut problems);
        let shape: Vec<i32> = table.shape().map_or_else(Vec::new, |shape| shape.iter().collect());
        check_encoding(table, &mut problems);
        let buffer = self.buffer(table.buffer(), &mut problems);
        if let Some(bytes) = size_bytes(&shape, element_type, &mut problems) {
            self.total_bytes = self.total_bytes.saturating_add(bytes.upper);
            check_buffer(buffer, bytes.exact, table, &mut problems);
        }
        let tensor = Tensor {
            name: text::decode(table.name()),
            shape_signature: shape_signature(table, shape.len(), &mut problems),
            shape,
            element_type,
            buffer: Some(buffer).filter(|bytes| !bytes.is_empty()),
            buffer_index: table.buffer(),
            quantization: quantization(table, &mut problems),
            is_variable: table.is_variable(),
        };
        for problem in problems {
            let name = quoted(&tensor.name);
            self.errors.push(ReadError::Tensor { subgraph, tensor: index, name, problem });
        }
        tensor
    }

    fn buffer(&self, index: u32, problems: &mut Vec<TensorProblem>) -> &'a [u8] {
        let found = usize::try_from(index).ok().and_then(|index| self.buffers.get(index));
        found.copied().unwrap_or_else(|| {
            let problem = OutOfRange { index: i64::from(index), count: self.buffers.len() };
            problems.push(problem.into());
            &[]
        })
    }
}

fn element_type(table: schema::Tensor<'_>, problems: &mut Vec<TensorProblem>) -> ElementType {
    ElementType::from_schema(table.type_()).unwrap_or_else(|| {
        problems.push(TensorProblem::UnknownType { value: table.type_().0 });
        // Sizes of an unknown type can't be checked; a variant has none.
        ElementType::Variant
    })
}

/// Refuses data that isn't stored element by element in this file.
fn check_encoding(table: schema::Tensor<'_>, problems: &mut Vec<TensorProblem>) {
    if table.sparsity().is_some() {
        problems.push(TensorProblem::Sparse);
    }
    if table.external_buffer() != 0 {
        problems.push(TensorProblem::External { buffer: table.external_buffer() });
    }
}

/// Size of a tensor.
struct Size {
    /// At least the bytes it takes, counting a dimension of zero as one and elements of unknown width as a byte: strides of a tensor
    /// without elements mustn't overflow either.
    upper: u64,
    /// The bytes it takes; none when the type doesn't say.
    exact: Option<u64>,
}

/// Bytes of a tensor, sub-byte elements packed without padding between rows.
fn size_bytes(shape: &[i32], element_type: ElementType, problems: &mut Vec<TensorProblem>) -> Option<Size> {
    let before = problems.len();
    let mut elements = Some(1_u64);
    for (axis, &value) in shape.iter().enumerate() {
        match u64::try_from(value) {
            Ok(dimension) => elements = elements.and_then(|count| count.checked_mul(dimension.max(1))),
            Err(_) => problems.push(TensorProblem::NegativeDimension { axis, value }),
        }
    }
    if problems.len() > before {
        return None;
    }
    let bits = elements.and_then(|count| count.checked_mul(element_type.bits().unwrap_or(8)));
    let upper = bits.map(|bits| bits.div_ceil(8)).filter(|&bytes| bytes <= MAX_TENSOR_BYTES);
    if upper.is_none() {
        problems.push(TensorProblem::TooLarge);
    }
    let upper = upper?;
    let exact = if shape.contains(&0) { 0 } else { upper };
    Some(Size { upper, exact: element_type.bits().map(|_| exact) })
}

fn check_buffer(
    buffer: &[u8],
    expected: Option<u64>,
    table: schema::Tensor<'_>,
    problems: &mut Vec<TensorProblem>,
) {
    // The buffer of a sparse tensor is smaller by nature, and that is reported already.
    let Some(expected) = expected.filter(|_| table.sparsity().is_none() && !buffer.is_empty()) else {
        return;
    };
    if u64::try_from(buffer.len()) != Ok(expected) {
        problems.push(TensorProblem::BufferLength { expected, got: buffer.len() });
    }
}

fn shape_signature(
    table: schema::Tensor<'_>,
    rank: usize,
    problems: &mut Vec<TensorProblem>,
) -> Option<Vec<i32>> {
    // Writers store an empty vector for "none".
    let signature = table.shape_signature().filter(|signature| !signature.is_empty())?;
    if signature.len() != rank {
        problems.push(TensorProblem::SignatureRank { expected: rank, got: signature.len() });
    }
    if let Some((axis, value)) = signature.iter().enumerate().find(|&(_, value)| value < -1) {
        problems.push(TensorProblem::SignatureDimension { axis, value });
    }
    Some(signature.iter().collect())
}

fn quantization(table: schema::Tensor<'_>, problems: &mut Vec<TensorProblem>) -> Option<Quantization> {
    let parameters = table.quantization()?;
    if parameters.details_type() != schema::QuantizationDetails::NONE {
        problems.push(TensorProblem::QuantizationDetails { tag: parameters.details_type().0 });
    }
    // Float tensors often have the table, for their observed range, without scales.
    let scales: Vec<f32> = parameters.scale().filter(|scales| !scales.is_empty())?.iter().collect();
    if let Some((position, &value)) = scales.iter().enumerate().find(|(_, scale)| !scale.is_finite()) {
        problems.push(TensorProblem::Scale { position, value });
    }
    let mut zero_points: Vec<i64> =
        parameters.zero_point().map_or_else(Vec::new, |points| points.iter().collect());
    match zero_points.as_slice() {
        points if points.len() == scales.len() => {}
        // One zero point for all scales, as the runtimes read it.
        &[point] => zero_points = vec![point; scales.len()],
        points => {
            problems.push(TensorProblem::ZeroPointCount { scales: scales.len(), zero_points: points.len() })
        }
    }
    Some(Quantization { scales, zero_points, axis: parameters.quantized_dimension() })
}
