//! Row-wise views of tensors, and nested loops over their elements without division.

use super::kernel::Kernel;
use super::window::Taps;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::window::Window;
use mcunet_ir::{Builder, Shape, Type, Value};

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

/// How the rows of a tensor lie in its memory: at equal distances, or each at a place of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowMap {
    /// The memory.
    pub memory: Value,
    /// Elements of a row.
    pub elements: usize,
    /// Channels of a pixel.
    pub channels: usize,
    /// Whether each row of the memory has a place of its own.
    pub scattered: bool,
    /// From a pixel to its neighbour in the row, and from a channel to the next, in elements.
    pub steps: Steps,
    /// Where the tensor lies in the memory.
    pub at: Within,
}

/// Where the rows of a tensor lie in the memory that holds it, in elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Within {
    /// The first row; of a scattered memory, counted from the beginning of one of its rows.
    pub first: usize,
    /// From a row to the next.
    pub pitch: usize,
    /// Of a scattered memory, the row that the first one lies in.
    pub row: usize,
}

/// Distances within a row of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steps {
    /// From pixel to pixel.
    pub pixel: usize,
    /// From channel to channel.
    pub channel: usize,
}

impl RowMap {
    /// Whether every row lies at the same offset in both memories. Scattered rows lie anywhere.
    pub fn lies_as(self, other: Self) -> bool {
        !self.scattered && Self { memory: other.memory, ..self } == other
    }

    /// Runs of neighbouring elements in a row, elements of each, and from one to the next. For rows that are not planar.
    pub fn runs(self) -> [usize; 3] {
        match self.steps.pixel == self.channels {
            true => [1, self.elements, self.elements],
            false => [self.elements.checked_div(self.channels).unwrap_or(0), self.channels, self.steps.pixel],
        }
    }

    /// Offset of the first element of a row.
    pub fn start(self, b: &mut Builder<'_>, row: Value) -> Value {
        let Within { first, pitch, row: first_row } = self.at;
        let start = match self.scattered {
            true => {
                let row = b.add_const(row, to_i32(first_row));
                b.value(l::Row {}, &[self.memory, row], Type::I32)
            }
            false => b.mul_const(row, to_i32(pitch)),
        };
        b.add_const(start, to_i32(first))
    }

    /// Offset of the first element of the row under a tap of a window.
    pub fn start_under(self, b: &mut Builder<'_>, window: &Window, taps: Taps, tap: Value) -> Value {
        let down = b.mul_const(tap, to_i32(window.dilation));
        let row = b.add(taps.start, down);
        self.start(b, row)
    }
}

/// A row that is to be made, and where its image begins in the first operand and in the result.
#[derive(Clone, Copy, Debug)]
pub struct ImageRow {
    /// The row.
    pub row: Value,
    /// Offset in the first operand.
    pub input_base: Value,
    /// Offset in the result.
    pub output_base: Value,
}

/// A row of the operand that is to be folded into the results.
#[derive(Clone, Copy, Debug)]
pub struct FoldedRow {
    /// The row.
    pub row: Value,
    /// How many there are.
    pub rows: usize,
}

impl FoldedRow {
    /// Runs `body` for the first row only.
    pub fn if_first(self, b: &mut Builder<'_>, body: impl FnOnce(&mut Builder<'_>)) {
        self.if_equal(b, 0, body);
    }

    /// Runs `body` for the last row only.
    pub fn if_last(self, b: &mut Builder<'_>, body: impl FnOnce(&mut Builder<'_>)) {
        self.if_equal(b, self.rows.saturating_sub(1), body);
    }

    fn if_equal(self, b: &mut Builder<'_>, row: usize, body: impl FnOnce(&mut Builder<'_>)) {
        let row = b.index(row);
        let is_row = b.cmp(l::Predicate::Eq, self.row, row);
        b.if_else(is_row, body, |_| {});
    }
}

/// Loops over every element of the result, in rows; `body` gets the operand's element and the offset in the result.
pub fn for_elements(
    kernel: &mut Kernel<'_>,
    operand: usize,
    mut body: impl FnMut(&mut Builder<'_>, Value, Value),
) {
    let (source, target) = (kernel.source(operand), kernel.target(0));
    if let Some(row) = kernel.row() {
        let b = &mut kernel.b;
        let starts = [source.start(b, row), target.start(b, row)];
        return for_runs(b, [source, target], starts, &mut |b, [from, to], count| {
            b.for_count(count, |b, i| {
                let (at, to) = (b.add(from, i), b.add(to, i));
                let x = b.load(source.memory, at);
                body(b, x, to);
            });
        });
    }
    let rows = Rows::of(&kernel.result_type(0).shape);
    kernel.b.for_count(rows.count, |b, row| {
        let start = b.mul_const(row, to_i32(rows.elements));
        b.for_count(rows.elements, |b, i| {
            let at = b.add(start, i);
            let x = b.load(source.memory, at);
            body(b, x, at);
        });
    });
}

/// Runs of elements that are neighbours in both of two rows, of as many pixels and channels, from `starts` on: `body` gets where one
/// begins in each, and how many elements it has.
pub fn for_runs(
    b: &mut Builder<'_>,
    maps: [RowMap; 2],
    starts: [Value; 2],
    body: &mut dyn FnMut(&mut Builder<'_>, [Value; 2], usize),
) {
    let runs = maps.map(RowMap::runs);
    if runs.iter().all(|&[count, ..]| count == 1) {
        return body(b, starts, runs[1][1]);
    }
    // Pixel by pixel, then.
    let RowMap { elements, channels, .. } = maps[1];
    b.for_count(elements.checked_div(channels).unwrap_or(0), |b, x| {
        let way = maps.map(|map| b.mul_const(x, to_i32(map.steps.pixel)));
        let starts = [b.add(starts[0], way[0]), b.add(starts[1], way[1])];
        body(b, starts, channels);
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
