//! Pools over windows, one output row at a time, channels innermost.

use super::LowerOp;
use super::float::clamp_float;
use super::kernel::Kernel;
use super::rows::{FoldedRow, ImageRow, RowMap, to_i32};
use super::window::{Interior, Taps, for_segments};
use super::words::{self, LANES};
use mcunet_ir::attr::Clamp;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::ops::{AvgPool2d, MaxPool2d};
use mcunet_ir::nn::requantize::integer_limits;
use mcunet_ir::nn::window::{Windows, four};
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, Type, Value};

/// Which pool, and what both share.
struct Pool {
    windows: Windows,
    channels: usize,
    input: RowMap,
    output: RowMap,
    clamp: Clamp,
    storage: Scalar,
    mean: bool,
    /// Whether sums of four channels are made together, of at most a row of a window, or of all of one.
    together: bool,
}

impl LowerOp for AvgPool2d {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        lower(kernel, self.kernel, self.stride, self.pad, self.clamp, true)
    }
}

impl LowerOp for MaxPool2d {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        lower(kernel, self.kernel, self.stride, self.pad, self.clamp, false)
    }
}

fn lower(
    kernel: &mut Kernel<'_>,
    taps: [u32; 2],
    stride: [u32; 2],
    pad: [u32; 4],
    clamp: Clamp,
    mean: bool,
) -> Result<(), Diagnostic> {
    let shape = |ty| four(ty).map_err(|message| kernel.error(message));
    let input_shape = shape(kernel.operand_type(0))?;
    let windows = Windows::new(input_shape, taps.map(|size| size as usize), stride, [1, 1], pad);
    let storage = kernel.result_type(0).storage();
    let (input, output) = (kernel.source(0), kernel.target(0));
    let rows = if kernel.folded().is_some() { 1 } else { windows.y.taps };
    let few = rows.saturating_mul(windows.x.taps) <= words::MOST;
    let many = kernel.operand_type(0).elements() >= words::MANY;
    let loaded = words::are_loaded(kernel.features(), [kernel.operand_type(0)].into_iter());
    let together = mean && many && few && loaded && input_shape[3].is_multiple_of(LANES);
    let pool = Pool { windows, channels: input_shape[3], input, output, clamp, storage, mean, together };
    if let Some(row) = kernel.folded() {
        let kept = kernel.kept_values();
        pool.fold_row(&mut kernel.b, row, kept);
        return Ok(());
    }
    kernel.for_image_rows(|b, place| pool.emit(b, place));
    Ok(())
}

impl Pool {
    fn emit(&self, b: &mut Builder<'_>, place: ImageRow) {
        let y = Taps::clipped(b, &self.windows.y, place.row);
        let row_start = self.output.start(b, place.row);
        let row_start = b.add(place.output_base, row_start);
        for_segments(b, Interior::of(&self.windows.x), &mut |b, position, at_border| {
            let window = &self.windows.x;
            let x =
                if at_border { Taps::inside(b, window, position) } else { Taps::all(b, window, position) };
            let (height, width) = (b.sub(y.end, y.first), b.sub(x.end, x.first));
            let taps = b.mul(height, width);
            let pixel = b.mul_const(position, to_i32(self.output.steps.pixel));
            let pixel = b.add(row_start, pixel);
            self.for_channels(b, |b, c, count| {
                let start = self.start(b);
                let first = |b: &mut Builder<'_>, ky| {
                    let row = self.input.start_under(b, &self.windows.y, y, ky);
                    let row = b.add(place.input_base, row);
                    b.add(row, c)
                };
                let folded = if count == LANES {
                    self.fold_words(b, y, &first, x, [start; LANES]).to_vec()
                } else {
                    b.for_loop(y.first, y.end, 1, &[start], |b, ky, folded| {
                        let first = first(b, ky);
                        self.fold_columns(b, x, first, folded)
                    })
                };
                for (channel, folded) in folded.into_iter().enumerate() {
                    let result = self.finish(b, folded, taps);
                    let at = b.add(pixel, c);
                    let at = b.add_const(at, to_i32(channel));
                    b.store(result, self.output.memory, at);
                }
            });
        });
    }

    /// Runs `body` for every channel, or for the first of every four, and for how many.
    fn for_channels(&self, b: &mut Builder<'_>, body: impl FnOnce(&mut Builder<'_>, Value, usize)) {
        let count = if self.together { LANES } else { 1 };
        let (zero, end) = (b.i32(0), b.index(self.channels));
        b.for_loop(zero, end, count as u32, &[], |b, c, _| {
            body(b, c, count);
            Vec::new()
        });
    }

    /// Folds a row into the windows over the whole height, of which what is folded is kept from the first row to the last.
    fn fold_row(&self, b: &mut Builder<'_>, row: FoldedRow, kept: Value) {
        row.if_first(b, |b| {
            let (start, zero) = (self.start(b), b.i32(0));
            let count = self.output.elements;
            b.op(l::Fill { count }, &[start, kept, zero], &[]);
        });
        let row_start = self.input.start(b, row.row);
        for_segments(b, Interior::of(&self.windows.x), &mut |b, position, at_border| {
            let window = &self.windows.x;
            let x =
                if at_border { Taps::inside(b, window, position) } else { Taps::all(b, window, position) };
            let pixel = b.mul_const(position, to_i32(self.channels));
            self.for_channels(b, |b, c, count| {
                let (at, first) = (b.add(pixel, c), b.add(row_start, c));
                let places: Vec<Value> = (0..count).map(|channel| b.add_const(at, to_i32(channel))).collect();
                let before: Vec<Value> = places.iter().map(|&at| b.load(kept, at)).collect();
                let folded = match before[..] {
                    [one, two, three, four] => {
                        let start = words::start(b, 0);
                        let sums = self.fold_columns(b, x, first, &start);
                        words::add_to(b, [sums[0], sums[1]], [one, two, three, four]).to_vec()
                    }
                    _ => self.fold_columns(b, x, first, &before),
                };
                places.into_iter().zip(folded).for_each(|(at, folded)| b.store(folded, kept, at));
            });
            row.if_last(b, |b| {
                let (height, width) = (b.index(row.rows), b.sub(x.end, x.first));
                let taps = b.mul(height, width);
                b.for_count(self.channels, |b, c| {
                    let at = b.add(pixel, c);
                    let folded = b.load(kept, at);
                    let result = self.finish(b, folded, taps);
                    b.store(result, self.output.memory, at);
                });
            });
        });
    }

    fn start(&self, b: &mut Builder<'_>) -> Value {
        match (self.mean, self.storage.is_float()) {
            (true, true) => b.f32(0.0),
            (true, false) => b.i32(0),
            (false, true) => b.f32(f32::MIN),
            (false, false) => b.i32(integer_limits(Clamp::None, self.storage).0),
        }
    }

    /// Sums of the window's elements of four channels, each added to a number. `first` gives the offset of the first element under
    /// the taps of a row.
    fn fold_words(
        &self,
        b: &mut Builder<'_>,
        y: Taps,
        first: &dyn Fn(&mut Builder<'_>, Value) -> Value,
        x: Taps,
        numbers: [Value; LANES],
    ) -> [Value; LANES] {
        let start = words::start(b, 0);
        let sums = b.for_loop(y.first, y.end, 1, &start, |b, ky, sums| {
            let first = first(b, ky);
            self.fold_columns(b, x, first, sums)
        });
        words::add_to(b, [sums[0], sums[1]], numbers)
    }

    /// Folds the elements under the taps of a row into one value, or those of four channels into two pairs of sums; `first` is
    /// the offset of its first element of the channel.
    fn fold_columns(&self, b: &mut Builder<'_>, x: Taps, first: Value, sums: &[Value]) -> Vec<Value> {
        b.for_loop(x.first, x.end, 1, sums, |b, kx, sums| {
            let column = b.add(x.start, kx);
            let column = b.mul_const(column, to_i32(self.input.steps.pixel));
            let at = b.add(first, column);
            if let [even, odd] = sums[..] {
                let word = b.load_i8x4(self.input.memory, at);
                return words::add(b, [even, odd], word).to_vec();
            }
            let element = b.load(self.input.memory, at);
            vec![if self.mean { b.add(sums[0], element) } else { b.max(element, sums[0]) }]
        })
    }

    fn finish(&self, b: &mut Builder<'_>, folded: Value, taps: Value) -> Value {
        if self.storage.is_float() {
            let value = if self.mean {
                let count = b.value(l::ToFloat {}, &[taps], Type::F32);
                b.value(l::Div {}, &[folded, count], Type::F32)
            } else {
                folded
            };
            return clamp_float(b, value, self.clamp);
        }
        let (low, high) = integer_limits(self.clamp, self.storage);
        let value = if self.mean { rounded_quotient(b, folded, taps) } else { folded };
        if (low, high) == integer_limits(Clamp::None, self.storage) {
            value
        } else {
            b.clamp(value, low, high)
        }
    }
}

/// `sum / count` rounded to the nearest, ties away from zero.
pub(super) fn rounded_quotient(b: &mut Builder<'_>, sum: Value, count: Value) -> Value {
    let (zero, two) = (b.i32(0), b.i32(2));
    let half = b.value(l::Div {}, &[count, two], Type::I32);
    let negative = b.sub(zero, half);
    let is_positive = b.cmp(l::Predicate::Gt, sum, zero);
    let half = b.select(is_positive, half, negative);
    let sum = b.add(sum, half);
    b.value(l::Div {}, &[sum, count], Type::I32)
}
