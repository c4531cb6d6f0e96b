//! Windows over images in loops: which taps lie inside, and where interior pixels begin and end.

use super::rows::to_i32;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::window::Window;
use mcunet_ir::{Builder, Type, Value};

/// Outputs `first..end` whose windows lie inside of the input along one dimension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interior {
    /// First of them.
    pub first: usize,
    /// One past the last; equal to `first` if there is none.
    pub end: usize,
    /// Outputs in all.
    pub outputs: usize,
}

impl Interior {
    /// The interior outputs of a window that fits its input.
    pub fn of(window: &Window) -> Self {
        let outputs = window.outputs().unwrap_or(0);
        let first = window.before.div_ceil(window.stride).min(outputs);
        let end = match (window.input + window.before).checked_sub(window.extent()) {
            Some(rest) => (rest / window.stride + 1).min(outputs),
            None => 0,
        };
        Self { first, end: end.max(first), outputs }
    }

    /// Whether every output is interior.
    pub fn is_all(&self) -> bool {
        self.first == 0 && self.end == self.outputs
    }
}

/// Taps of one output: a range known at compile time, or computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taps {
    /// First tap inside, as i32.
    pub first: Value,
    /// One past the last tap inside.
    pub end: Value,
    /// Input position of tap 0, which may be negative.
    pub start: Value,
}

impl Taps {
    /// All taps of output `index`.
    pub fn all(b: &mut Builder<'_>, window: &Window, index: Value) -> Self {
        let start = start(b, window, index);
        let (first, end) = (b.i32(0), b.index(window.taps));
        Self { first, end, start }
    }

    /// The taps of output `index` that lie inside of the input, without computing what is the same for all outputs.
    pub fn clipped(b: &mut Builder<'_>, window: &Window, index: Value) -> Self {
        if Interior::of(window).is_all() {
            Self::all(b, window, index)
        } else {
            Self::inside(b, window, index)
        }
    }

    /// The taps of output `index` that lie inside of the input.
    pub fn inside(b: &mut Builder<'_>, window: &Window, index: Value) -> Self {
        let start = start(b, window, index);
        let (zero, dilation) = (b.i32(0), to_i32(window.dilation));
        let missing = b.sub(zero, start);
        let missing = b.max(missing, zero);
        let first = div_up(b, missing, dilation);
        let size = b.index(window.input);
        let room = b.sub(size, start);
        let room = b.max(room, zero);
        let end = div_up(b, room, dilation);
        let taps = b.index(window.taps);
        let end = b.min(end, taps);
        Self { first, end, start }
    }
}

/// Input position of tap 0 of output `index`.
fn start(b: &mut Builder<'_>, window: &Window, index: Value) -> Value {
    let position = b.mul_const(index, to_i32(window.stride));
    b.add_const(position, -to_i32(window.before))
}

/// `value / divisor` rounded up, of numbers that are not negative.
fn div_up(b: &mut Builder<'_>, value: Value, divisor: i32) -> Value {
    if divisor == 1 {
        return value;
    }
    let value = b.add_const(value, divisor - 1);
    let divisor = b.i32(divisor);
    b.value(l::Div {}, &[value, divisor], Type::I32)
}

/// Runs `body` for border outputs, left of the interior and right of it, and for interior ones; `body` gets the output's
/// position and whether it is at a border. Both borders share one copy of their code.
pub fn for_segments(
    b: &mut Builder<'_>,
    interior: Interior,
    body: &mut dyn FnMut(&mut Builder<'_>, Value, bool),
) {
    let (left, right) = (interior.first, interior.outputs - interior.end);
    if interior.first < interior.end {
        let (lower, upper) = (b.index(interior.first), b.index(interior.end));
        b.for_loop(lower, upper, 1, &[], |b, position, _| {
            body(b, position, false);
            Vec::new()
        });
    }
    if left + right == 0 {
        return;
    }
    b.for_count(left + right, |b, i| {
        let position = if right == 0 {
            i
        } else if left == 0 {
            b.add_const(i, to_i32(interior.end))
        } else {
            let (bound, skipped) = (b.index(left), b.index(interior.end - left));
            let is_left = b.cmp(l::Predicate::Lt, i, bound);
            let shifted = b.add(i, skipped);
            b.select(is_left, i, shifted)
        };
        body(b, position, true);
    });
}
