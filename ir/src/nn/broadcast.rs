//! Broadcasting of two operands, as NumPy does it.

use crate::types::Shape;

/// Shape of the result of an elementwise op.
///
/// # Errors
/// If a dimension differs and neither is 1.
pub fn broadcast_shape(a: &Shape, b: &Shape) -> Result<Shape, String> {
    let rank = a.rank().max(b.rank());
    let dim = |shape: &Shape, axis: usize| (axis + shape.rank()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (dim(a, axis), dim(b, axis)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(format!("expected shapes that broadcast, got {a} and {b}")),
        })
        .collect::<Result<Vec<_>, _>>()
        .map(Shape)
}

/// Elements by which an operand's offset moves per step along each dimension of the result; 0 where it is broadcast.
pub fn broadcast_strides(operand: &Shape, result: &Shape) -> Vec<usize> {
    let strides = operand.strides();
    let missing = result.rank().saturating_sub(operand.rank());
    (0..result.rank())
        .map(|axis| match axis.checked_sub(missing) {
            Some(i) if operand[i] != 1 => strides[i],
            _ => 0,
        })
        .collect()
}

/// For every element of the result, row-major, the offset that walks with the given steps.
pub fn walk(shape: &Shape, steps: &[i64], start: i64) -> Vec<usize> {
    let mut index = vec![0usize; shape.rank()];
    let mut offset = start;
    let mut all = Vec::with_capacity(shape.elements());
    for _ in 0..shape.elements() {
        all.push(usize::try_from(offset).unwrap_or(0));
        for axis in (0..shape.rank()).rev() {
            index[axis] += 1;
            offset += steps[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= steps[axis] * shape[axis] as i64;
            index[axis] = 0;
        }
    }
    all
}

/// [`walk`] of a broadcast operand.
pub fn broadcast_offsets(operand: &Shape, result: &Shape) -> Vec<usize> {
    let steps: Vec<i64> = broadcast_strides(operand, result).into_iter().map(|step| step as i64).collect();
    walk(result, &steps, 0)
}
