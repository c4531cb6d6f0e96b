//! Sliding windows in loops: which taps of an output lie inside of the input.
//!
//! What can be decided when compiling costs nothing at run time: a dimension that no window leaves has constant bounds,
//! and a bound that only one end of the input needs is computed for that end only.

use mcunet_ir::nn::window::Window;
use mcunet_ir::{Builder, Value};
use std::ops::Range;

/// A window along one dimension of a kernel.
#[derive(Clone, Copy)]
pub(crate) struct Sliding {
    window: Window,
    outputs: usize,
}

/// The taps of one output that lie inside of the input.
#[derive(Clone, Copy)]
pub(crate) struct Taps {
    /// Input position of tap 0; negative if that lies in the padding.
    pub start: Value,
    /// First tap inside and the one after the last.
    pub bounds: [Value; 2],
    /// How many there are, if that is the same for all outputs.
    pub constant: Option<usize>,
}

impl Sliding {
    pub fn new(window: Window, outputs: usize) -> Self {
        Self { window, outputs }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Taps of a whole window.
    pub fn taps(&self) -> usize {
        self.window.taps
    }

    /// Distance between neighbouring taps in the input.
    pub fn dilation(&self) -> usize {
        self.window.dilation
    }

    /// Whether some output's window satisfies a predicate on its taps inside of the input.
    fn any(&self, predicate: impl Fn(Range<usize>) -> bool) -> bool {
        (0..self.outputs).any(|index| predicate(self.window.taps_inside(index).0))
    }

    /// Whether no window leaves the input.
    pub fn is_whole(&self) -> bool {
        !self.any(|taps| taps != (0..self.window.taps))
    }

    /// The taps of output `index`.
    pub fn at(&self, b: &mut Builder<'_>, index: Value) -> Taps {
        let Window { input, taps, stride, dilation, before, .. } = self.window;
        let start = b.mul_const(index, constant(stride));
        let start = b.add_const(start, -constant(before));
        let (mut first, mut end) = (b.index(0), b.index(taps));
        if self.any(|taps| taps.start > 0) {
            // ceil(-start / dilation), at least 0
            let before = b.i32(0);
            let before = b.sub(before, start);
            let zero = b.index(0);
            let before = b.max(before, zero);
            first = divide_up(b, before, dilation);
        }
        if self.any(|inside| inside.end < taps) {
            let room = b.index(input);
            let room = b.sub(room, start);
            let room = divide_up(b, room, dilation);
            end = b.min(end, room);
            if self.any(|inside| inside.is_empty()) {
                end = b.max(end, first);
            }
        }
        let constant = self.is_whole().then_some(taps);
        Taps { start, bounds: [first, end], constant }
    }
}

impl Taps {
    /// How many taps there are.
    pub fn count(&self, b: &mut Builder<'_>) -> Value {
        match self.constant {
            Some(count) => b.index(count),
            None => b.sub(self.bounds[1], self.bounds[0]),
        }
    }

    /// Runs `body` for every tap with carried values; without a loop if there is one tap always.
    pub fn fold(
        &self,
        b: &mut Builder<'_>,
        inits: &[Value],
        body: impl FnOnce(&mut Builder<'_>, Value, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        if self.constant == Some(1) {
            let tap = b.index(0);
            return body(b, tap, inits);
        }
        b.for_loop(self.bounds[0], self.bounds[1], 1, inits, |b, tap, carried| body(b, tap, carried))
    }
}

fn divide_up(b: &mut Builder<'_>, value: Value, divisor: usize) -> Value {
    if divisor == 1 {
        return value;
    }
    let value = b.add_const(value, constant(divisor - 1));
    let divisor = b.index(divisor);
    b.div(value, divisor)
}

/// A size as a literal.
///
/// # Panics
/// Beyond 2^31 - 1; the verifier bounds every tensor below that.
pub(crate) fn constant(size: usize) -> i32 {
    i32::try_from(size).expect("tensors are smaller than 2^31 bytes")
}

/// Runs `body` for every output row of every batch: `(batch, row)`. The row is the outermost loop if there is one batch.
pub(crate) fn for_rows(
    b: &mut Builder<'_>,
    batches: usize,
    rows: usize,
    body: impl FnOnce(&mut Builder<'_>, Value, Value),
) {
    if batches == 1 {
        let batch = b.index(0);
        b.for_count(rows, |b, row| body(b, batch, row));
    } else {
        b.for_count(batches, |b, batch| b.for_count(rows, |b, row| body(b, batch, row)));
    }
}

/// Offset of element `[i0, i1, ...]` of a tensor with these dimensions; the first dimension does not matter.
pub(crate) fn offset(b: &mut Builder<'_>, dims: &[usize], index: &[Value]) -> Value {
    let mut offset = index[0];
    for (&dim, &i) in dims.iter().zip(index).skip(1) {
        let scaled = b.mul_const(offset, constant(dim));
        offset = b.add(scaled, i);
    }
    offset
}
