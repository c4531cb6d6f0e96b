//! Row-wise views of tensors, and nested loops over their elements without division.

use super::kernel::Kernel;
use mcunet_ir::{Builder, Shape, Value};

/// A tensor as rows: for NHWC one row per line of the image, else one per vector along the last dimension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rows {
    /// Number of rows.
    pub count: usize,
    /// Elements of a row.
    pub elements: usize,
}

impl Rows {
    /// The rows of a tensor.
    pub fn of(shape: &Shape) -> Self {
        let inner = match shape.rank() {
            0 => 0,
            4 => 2,
            _ => 1,
        };
        let elements: usize = shape[shape.rank() - inner..].iter().product();
        let total = shape.elements();
        Self { count: total.checked_div(elements).unwrap_or(0), elements }
    }
}

/// Loops over every element, row by row; `body` gets the element's offset.
pub fn for_elements(kernel: &mut Kernel<'_>, shape: &Shape, mut body: impl FnMut(&mut Builder<'_>, Value)) {
    let rows = Rows::of(shape);
    kernel.b.for_count(rows.count, |b, row| {
        let start = b.mul_const(row, to_i32(rows.elements));
        b.for_count(rows.elements, |b, i| {
            let offset = b.add(start, i);
            body(b, offset);
        });
    });
}

/// One dimension of a nest of loops: how often it runs, and how far each of the operands moves per step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Axis {
    /// Iterations.
    pub count: usize,
    /// Elements that each operand's offset moves per iteration; 0 where it is broadcast, negative for reversed slices.
    pub steps: Vec<i64>,
}

/// Merges neighbouring axes that every operand walks contiguously, and drops axes of one iteration.
pub fn collapse(axes: Vec<Axis>) -> Vec<Axis> {
    let mut merged: Vec<Axis> = Vec::new();
    for axis in axes.into_iter().filter(|axis| axis.count != 1) {
        let joins = merged.last().is_some_and(|outer| {
            outer.steps.iter().zip(&axis.steps).all(|(&outer, &inner)| outer == inner * axis.count as i64)
        });
        match merged.last_mut() {
            Some(outer) if joins => {
                outer.count *= axis.count;
                outer.steps = axis.steps;
            }
            _ => merged.push(axis),
        }
    }
    merged
}

/// Runs `body` for every combination of the axes' iterations, with each operand's offset (from `starts`).
pub fn nest(
    b: &mut Builder<'_>,
    axes: &[Axis],
    starts: &[Value],
    body: &mut dyn FnMut(&mut Builder<'_>, &[Value]),
) {
    let Some((axis, inner)) = axes.split_first() else { return body(b, starts) };
    b.for_count(axis.count, |b, i| {
        let offsets: Vec<Value> = starts
            .iter()
            .zip(&axis.steps)
            .map(|(&start, &step)| {
                if step == 0 {
                    return start;
                }
                let distance = b.mul_const(i, step as i32);
                b.add(start, distance)
            })
            .collect();
        nest(b, inner, &offsets, body);
    });
}

/// A size as a literal; the verifier bounds every tensor below 2^31 bytes.
pub fn to_i32(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}
