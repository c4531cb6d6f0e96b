//! Ops that move elements without computing: each is a list of source positions per result.

use super::broadcast::walk;
use super::ops::{
    Concat, DepthToSpace, Gather, Insert, Pack, Pad, Reshape, ShapeOf, Slice, SpaceToDepth, Split, Tile,
    Transpose, Unpack,
};
use super::window::four;
use super::{EvalError, NnSemantics};
use crate::attr::Number;
use crate::quant::Granularity;
use crate::tensor::{Data, Tensor};
use crate::types::{Element, Scalar, Shape, TensorType};

/// Moves don't requantize: input and result store the same type, and both are quantized or both are not.
fn verify_same(input: &TensorType, result: &TensorType, report: &mut Vec<String>) {
    if input.storage() != result.storage() {
        report.push(format!(
            "expected input and result of one element type, got {} and {}",
            input.storage().name(),
            result.storage().name()
        ));
    }
    let per_axis = |ty: &TensorType| matches!(&ty.element, Element::Quant(quant) if matches!(quant.granularity, Granularity::PerAxis { .. }));
    if per_axis(input) != per_axis(result) {
        report.push("expected input and result quantized alike, got one per axis".to_owned());
    }
}

fn verify_all_same(operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
    for operand in operands {
        for result in results {
            verify_same(operand, result, report);
        }
    }
}

fn axis_below(axis: usize, rank: usize) -> Result<(), String> {
    if axis < rank { Ok(()) } else { Err(format!("expected an axis below {rank}, got {axis}")) }
}

fn length(what: &str, found: usize, rank: usize) -> Result<(), String> {
    if found == rank { Ok(()) } else { Err(format!("expected {rank} entries in '{what}', got {found}")) }
}

/// The elements of `input` at `offsets`.
fn moved(input: &Tensor, result: &TensorType, offsets: Vec<usize>) -> Result<Vec<Tensor>, EvalError> {
    let count = input.data.len();
    if offsets.iter().any(|&offset| offset >= count) {
        return Err(EvalError::Unsupported("expected positions inside of the input".to_owned()));
    }
    Ok(vec![Tensor::new(result.clone(), input.data.pick(offsets.into_iter()))?])
}

macro_rules! movement {
    ($op:ident, infer |$self1:ident, $types:ident| $infer:expr, offsets |$self2:ident, $input:ident, $result:ident| $offsets:expr) => {
        impl NnSemantics for $op {
            fn infer_shapes(&self, $types: &[&TensorType]) -> Result<Vec<Shape>, String> {
                let $self1 = self;
                $infer
            }

            fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
                verify_all_same(operands, results, report);
            }

            fn evaluate(
                &self,
                operands: &[&Tensor],
                results: &[&TensorType],
            ) -> Result<Vec<Tensor>, EvalError> {
                let ($self2, $input, $result) = (self, &operands[0].ty, results[0]);
                moved(operands[0], results[0], $offsets)
            }
        }
    };
}

fn signed(strides: Vec<usize>) -> Vec<i64> {
    strides.into_iter().map(|stride| stride as i64).collect()
}

movement!(
    Reshape,
    infer | op,
    types | {
        let shape = Shape(op.shape.clone());
        if shape.elements() == types[0].elements() {
            Ok(vec![shape])
        } else {
            Err(format!("expected a shape of {} elements, got {shape}", types[0].elements()))
        }
    },
    offsets | _op,
    input,
    _result | (0..input.elements()).collect()
);

movement!(
    Transpose,
    infer | op,
    types | {
        let shape = &types[0].shape;
        let mut sorted = op.permutation.clone();
        sorted.sort_unstable();
        if sorted != (0..shape.rank()).collect::<Vec<_>>() {
            return Err(format!(
                "expected a permutation of {} dimensions, got {:?}",
                shape.rank(),
                op.permutation
            ));
        }
        Ok(vec![Shape(op.permutation.iter().map(|&axis| shape[axis]).collect())])
    },
    offsets | op,
    input,
    result | {
        let strides = signed(input.shape.strides());
        let steps: Vec<i64> = op.permutation.iter().map(|&axis| strides[axis]).collect();
        walk(&result.shape, &steps, 0)
    }
);

movement!(
    Slice,
    infer | op,
    types | {
        let shape = &types[0].shape;
        let rank = shape.rank();
        length("begin", op.begin.len(), rank)?;
        length("size", op.size.len(), rank)?;
        length("stride", op.stride.len(), rank)?;
        for axis in 0..rank {
            let (begin, size, stride) = (op.begin[axis], op.size[axis], op.stride[axis]);
            let steps = size.saturating_sub(1) as i64;
            let last = stride.checked_mul(steps).and_then(|way| way.checked_add(begin as i64));
            let inside = |at: i64| usize::try_from(at).is_ok_and(|at| at < shape[axis]);
            if size > 0 && !(inside(begin as i64) && last.is_some_and(inside)) {
                return Err(format!(
                    "expected a slice inside of dimension {axis} ({}), got one outside",
                    shape[axis]
                ));
            }
        }
        Ok(vec![Shape(op.size.clone())])
    },
    offsets | op,
    input,
    result | {
        let strides = signed(input.shape.strides());
        let steps: Vec<i64> = strides.iter().zip(&op.stride).map(|(stride, step)| stride * step).collect();
        let start = strides.iter().zip(&op.begin).map(|(stride, &begin)| stride * begin as i64).sum();
        walk(&result.shape, &steps, start)
    }
);

movement!(
    Tile,
    infer | op,
    types | {
        let shape = &types[0].shape;
        length("multiples", op.multiples.len(), shape.rank())?;
        Ok(vec![Shape(
            shape.iter().zip(&op.multiples).map(|(&dim, &times)| dim.saturating_mul(times)).collect(),
        )])
    },
    offsets | _op,
    input,
    result | {
        // A tiled dimension is two: repetitions that don't move, and the dimension itself.
        let strides = signed(input.shape.strides());
        let (mut dims, mut steps) = (Vec::new(), Vec::new());
        for (axis, &dim) in input.shape.iter().enumerate() {
            dims.extend([result.shape[axis].checked_div(dim).unwrap_or(0), dim]);
            steps.extend([0, strides[axis]]);
        }
        walk(&Shape(dims), &steps, 0)
    }
);

fn block_shape(input: &TensorType, block: usize) -> Result<[usize; 4], String> {
    if block == 0 {
        return Err("expected a block of at least 1, got 0".to_owned());
    }
    four(input)
}

movement!(
    DepthToSpace,
    infer | op,
    types | {
        let [n, h, w, c] = block_shape(types[0], op.block)?;
        let area = op.block.saturating_mul(op.block);
        if c % area != 0 {
            return Err(format!("expected channels in multiples of {area}, got {c}"));
        }
        Ok(vec![[n, h.saturating_mul(op.block), w.saturating_mul(op.block), c / area].into()])
    },
    offsets | op,
    input,
    result | {
        let ([_, h, w, c], block) = (four(input).map_err(EvalError::Unsupported)?, op.block);
        let [n, .., depth] = four(result).map_err(EvalError::Unsupported)?;
        let (row, pixel) = ((w * c) as i64, c as i64);
        let dims = Shape(vec![n, h, block, w, block, depth]);
        walk(&dims, &[h as i64 * row, row, (block * depth) as i64, pixel, depth as i64, 1], 0)
    }
);

movement!(
    SpaceToDepth,
    infer | op,
    types | {
        let [n, h, w, c] = block_shape(types[0], op.block)?;
        if h % op.block != 0 || w % op.block != 0 {
            return Err(format!("expected height and width in multiples of {}, got {h}x{w}", op.block));
        }
        let area = op.block.saturating_mul(op.block);
        Ok(vec![[n, h / op.block, w / op.block, c.saturating_mul(area)].into()])
    },
    offsets | op,
    input,
    _result | {
        let ([n, h, w, c], block) = (four(input).map_err(EvalError::Unsupported)?, op.block);
        let row = (w * c) as i64;
        let dims = Shape(vec![n, h / block, w / block, block, block, c]);
        let steps = [h as i64 * row, block as i64 * row, (block * c) as i64, row, c as i64, 1];
        walk(&dims, &steps, 0)
    }
);

/// Sizes before and after an axis: a tensor is `outer` blocks of `dim` slices of `inner` elements.
fn around(shape: &Shape, axis: usize) -> (usize, usize) {
    (shape[..axis].iter().product(), shape[axis + 1..].iter().product())
}

/// Concatenates data of one type.
fn append(parts: &[(&Data, std::ops::Range<usize>)]) -> Data {
    let scalar = parts.first().map_or(Scalar::I8, |(data, _)| data.scalar());
    let size = scalar.size_bytes();
    let mut bytes = Vec::new();
    let encoded: Vec<Vec<u8>> = parts.iter().map(|(data, _)| data.to_bytes()).collect();
    for ((_, range), encoded) in parts.iter().zip(&encoded) {
        bytes.extend_from_slice(&encoded[range.start * size..range.end * size]);
    }
    Data::from_bytes(scalar, &bytes)
}

/// Joins operands whose slices along the joined dimension have the given sizes in elements.
fn interleave(operands: &[&Tensor], outer: usize, chunk: impl Fn(&Tensor) -> usize) -> Data {
    let bytes: Vec<Vec<u8>> = operands.iter().map(|operand| operand.data.to_bytes()).collect();
    let scalar = operands.first().map_or(Scalar::I8, |operand| operand.data.scalar());
    let mut joined = Vec::new();
    for block in 0..outer {
        for (operand, bytes) in operands.iter().zip(&bytes) {
            let size = chunk(operand) * scalar.size_bytes();
            joined.extend_from_slice(&bytes[block * size..(block + 1) * size]);
        }
    }
    Data::from_bytes(scalar, &joined)
}

impl NnSemantics for Concat {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        let Some(first) = operands.first() else {
            return Err("expected at least 1 operand, got none".to_owned());
        };
        axis_below(self.axis, first.shape.rank())?;
        let mut shape = first.shape.clone();
        for operand in &operands[1..] {
            let mut other = operand.shape.clone();
            if other.rank() != shape.rank() {
                return Err(format!("expected operands of {} dimensions, got {other}", shape.rank()));
            }
            let joined = shape[self.axis].saturating_add(other[self.axis]);
            other.0[self.axis] = shape[self.axis];
            if other != shape {
                return Err(format!(
                    "expected shapes equal but along axis {}, got {} and {}",
                    self.axis, shape, operand.shape
                ));
            }
            shape.0[self.axis] = joined;
        }
        Ok(vec![shape])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        verify_all_same(operands, results, report);
        let differs = |ty: &&&TensorType| ty.storage() == Scalar::I8 && ty.affine() != results[0].affine();
        if operands.iter().any(|ty| differs(&ty)) {
            report.push("expected int8 operands of the result's scale and zero point, got others".to_owned());
        }
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let (outer, inner) = around(&results[0].shape, self.axis);
        let data = interleave(operands, outer, |operand| operand.ty.shape[self.axis] * inner);
        Ok(vec![Tensor::new(results[0].clone(), data)?])
    }
}

impl NnSemantics for Pack {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        let Some(first) = operands.first() else {
            return Err("expected at least 1 operand, got none".to_owned());
        };
        axis_below(self.axis, first.shape.rank() + 1)?;
        if let Some(other) = operands.iter().find(|operand| operand.shape != first.shape) {
            return Err(format!("expected operands of one shape, got {} and {}", first.shape, other.shape));
        }
        let mut shape = first.shape.clone();
        shape.0.insert(self.axis, operands.len());
        Ok(vec![shape])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        verify_all_same(operands, results, report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let (outer, inner) = around(&results[0].shape, self.axis);
        let data = interleave(operands, outer, |_| inner);
        Ok(vec![Tensor::new(results[0].clone(), data)?])
    }
}

/// Pieces of `input` along an axis: piece `i` has `sizes[i]` slices.
fn cut(
    input: &Tensor,
    axis: usize,
    sizes: &[usize],
    results: &[&TensorType],
) -> Result<Vec<Tensor>, EvalError> {
    let (outer, inner) = around(&input.ty.shape, axis);
    let total = input.ty.shape[axis];
    let mut start = 0;
    let mut pieces = Vec::new();
    for (&size, result) in sizes.iter().zip(results) {
        let ranges: Vec<(&Data, std::ops::Range<usize>)> = (0..outer)
            .map(|block| (block * total + start) * inner)
            .map(|first| (&input.data, first..first + size * inner))
            .collect();
        let data = if ranges.is_empty() { Data::zeros(input.data.scalar(), 0) } else { append(&ranges) };
        pieces.push(Tensor::new((*result).clone(), data)?);
        start += size;
    }
    Ok(pieces)
}

impl NnSemantics for Split {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        let shape = &operands[0].shape;
        axis_below(self.axis, shape.rank())?;
        let sum = self.sizes.iter().fold(0usize, |sum, &size| sum.saturating_add(size));
        if sum != shape[self.axis] {
            return Err(format!("expected sizes that sum to {}, got {sum}", shape[self.axis]));
        }
        let piece = |&size: &usize| {
            let mut piece = shape.clone();
            piece.0[self.axis] = size;
            piece
        };
        Ok(self.sizes.iter().map(piece).collect())
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        verify_all_same(operands, results, report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        cut(operands[0], self.axis, &self.sizes, results)
    }
}

impl NnSemantics for Unpack {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        let mut shape = operands[0].shape.clone();
        axis_below(self.axis, shape.rank())?;
        let count = shape.0.remove(self.axis);
        if count > 1 << 16 {
            return Err(format!("expected at most 65536 results, got {count}"));
        }
        Ok(vec![shape; count])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        verify_all_same(operands, results, report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        cut(operands[0], self.axis, &vec![1; results.len()], results)
    }
}

impl NnSemantics for Pad {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        let shape = &operands[0].shape;
        length("low", self.low.len(), shape.rank())?;
        length("high", self.high.len(), shape.rank())?;
        let dims = shape.iter().zip(&self.low).zip(&self.high);
        Ok(vec![Shape(
            dims.map(|((&dim, &low), &high)| dim.saturating_add(low).saturating_add(high)).collect(),
        )])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        verify_all_same(operands, results, report);
        let fits = match self.value {
            Number::Int(value) => {
                results[0].storage().integer_range().is_some_and(|(min, max)| (min..=max).contains(&value))
            }
            Number::Real(_) => results[0].storage().is_float(),
        };
        if !fits {
            report.push(format!("expected a padding value of {}, got another", results[0].storage().name()));
        }
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let (input, result) = (operands[0], results[0]);
        let filler = match self.value {
            Number::Int(value) => Data::from_i64s(result.storage(), [value]),
            Number::Real(value) => Some(Data::F32(vec![value.get()])),
        };
        let filler = filler.ok_or_else(|| {
            EvalError::Unsupported("expected a padding value of the result's type".to_owned())
        })?;
        let size = result.storage().size_bytes();
        let mut bytes = filler.to_bytes().repeat(result.elements());
        let strides = result.shape.strides();
        let start: i64 = strides.iter().zip(&self.low).map(|(stride, low)| (stride * low) as i64).sum();
        let source = input.data.to_bytes();
        for (i, at) in walk(&input.ty.shape, &signed(strides), start).into_iter().enumerate() {
            bytes[at * size..(at + 1) * size].copy_from_slice(&source[i * size..(i + 1) * size]);
        }
        Ok(vec![Tensor::from_bytes(result.clone(), &bytes)?])
    }
}

impl NnSemantics for Insert {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        let (into, tile) = (&operands[0].shape, &operands[1].shape);
        length("begin", self.begin.len(), into.rank())?;
        if tile.rank() != into.rank() {
            return Err(format!("expected a tile of {} dimensions, got {}", into.rank(), tile.rank()));
        }
        for (axis, (&begin, &size)) in self.begin.iter().zip(tile.iter()).enumerate() {
            if begin.saturating_add(size) > into[axis] {
                return Err(format!(
                    "expected a tile inside of dimension {axis} ({}), got one of {size} from {begin}",
                    into[axis]
                ));
            }
        }
        Ok(vec![into.clone()])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        if operands.iter().any(|operand| operand.element != results[0].element) {
            report.push("expected operands and result of one element type, got others".to_owned());
        }
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let (into, tile, result) = (operands[0], operands[1], results[0]);
        let size = result.storage().size_bytes();
        let mut bytes = into.data.to_bytes();
        let strides = result.shape.strides();
        let start = strides.iter().zip(&self.begin).map(|(stride, begin)| (stride * begin) as i64).sum();
        let source = tile.data.to_bytes();
        for (i, at) in walk(&tile.ty.shape, &signed(strides), start).into_iter().enumerate() {
            bytes[at * size..(at + 1) * size].copy_from_slice(&source[i * size..(i + 1) * size]);
        }
        Ok(vec![Tensor::from_bytes(result.clone(), &bytes)?])
    }
}

impl NnSemantics for Gather {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        let (shape, indices) = (&operands[0].shape, &operands[1].shape);
        axis_below(self.axis, shape.rank())?;
        Ok(vec![Shape([&shape[..self.axis], &indices[..], &shape[self.axis + 1..]].concat())])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        verify_same(operands[0], results[0], report);
        if !matches!(operands[1].storage(), Scalar::I32 | Scalar::I64) {
            report.push(format!("expected i32 or i64 indices, got {}", operands[1].storage().name()));
        }
        if operands[0].shape.get(self.axis) == Some(&0) {
            report.push("expected at least one slice to gather from, got none".to_owned());
        }
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let shape = &operands[0].ty.shape;
        let (outer, inner) = around(shape, self.axis);
        let dim = shape[self.axis];
        let indices = operands[1].data.to_i64s().unwrap_or_default();
        let mut offsets = Vec::with_capacity(results[0].elements());
        for block in 0..outer {
            for &index in &indices {
                let index = index.clamp(0, dim.saturating_sub(1) as i64) as usize;
                let first = (block * dim + index) * inner;
                offsets.extend(first..first + inner);
            }
        }
        moved(operands[0], results[0], offsets)
    }
}

impl NnSemantics for ShapeOf {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        Ok(vec![[operands[0].shape.rank()].into()])
    }

    fn verify(&self, _operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        if !matches!(results[0].storage(), Scalar::I32 | Scalar::I64) {
            report.push(format!("expected an i32 or i64 result, got {}", results[0].storage().name()));
        }
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let dims = operands[0].ty.shape.iter().map(|&dim| dim as i64);
        let data = Data::from_i64s(results[0].storage(), dims)
            .ok_or_else(|| EvalError::Unsupported("expected an integer result".to_owned()))?;
        Ok(vec![Tensor::new(results[0].clone(), data)?])
    }
}
