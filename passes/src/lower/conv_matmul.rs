//! Convolutions by `loop.matmul`: the windows of two neighbouring pixels at a time, widened row by row.
//!
//! Rows of a window above or below the image are the same for all pixels of an output row, so that their zeros are written
//! once for it. At the left and right border, single taps are left out as they are widened.

use super::conv::Conv;
use super::kernel::Kernel;
use super::matmul::{Matmul, Run, Source};
use super::residual::Residual;
use super::rows::{ImageRow, RowMap, to_i32};
use super::window::{Interior, Taps, for_segments};
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::ops::Conv2d;
use mcunet_ir::nn::requantize::{convolution_multipliers, integer_limits};
use mcunet_ir::tensor::Data;
use mcunet_ir::{Builder, Diagnostic, TensorType, Value};

/// Lowers a convolution so, if it suits: its results have type `made`, `residual` is added to them before they are stored, and
/// `data` are its filter and bias.
pub(super) fn lower(
    op: &Conv2d,
    conv: &Conv,
    kernel: &mut Kernel<'_>,
    made: &TensorType,
    residual: Option<&Residual>,
    data: (&Data, &Data),
) -> Result<bool, Diagnostic> {
    let [_, _, width, channels] = conv.output;
    if conv.group != channels {
        return Ok(false);
    }
    let (input, filter) = (kernel.operand_type(0), kernel.operand_type(1));
    let Some(multipliers) = convolution_multipliers(input, filter, made, channels) else {
        return Ok(false);
    };
    let (window_x, window_y) = (conv.windows.x, conv.windows.y);
    let runs = if conv.has_runs() { 1 } else { window_x.taps };
    let run = window_x.taps / runs.max(1) * conv.depth;
    let source = Source {
        filter: kernel.expect_constant(1, "filter")?,
        bias: kernel.expect_constant(2, "bias")?,
        columns: window_y.taps * window_x.taps * conv.depth,
        run,
        data,
        multipliers: &multipliers,
        made,
        limits: integer_limits(op.clamp, made.storage()),
        pixels: width.min(2),
        beside: if residual.is_some() { channels } else { 0 },
        adjoin: run == window_y.taps * window_x.taps * conv.depth && conv.is_unpadded(),
    };
    let Some(matmul) = Matmul::of(kernel, &source) else { return Ok(false) };
    let (input, output) = (kernel.source(0), kernel.target(0));
    // A summand may lie where the sum goes, so that results must not go there before they are added.
    let residual = residual.map(|residual| {
        let results = kernel.scratch(made.storage(), channels * matmul.pixels());
        (residual, results)
    });
    let emitter = Emitter { conv, matmul, residual, runs, input, output };
    kernel.for_image_rows(|b, place| emitter.emit(b, place));
    Ok(true)
}

struct Emitter<'c> {
    conv: &'c Conv,
    matmul: Matmul,
    /// What is added to results, and memory for those of a few pixels.
    residual: Option<(&'c Residual, Value)>,
    /// Runs of neighbouring inputs in a row of the window.
    runs: usize,
    input: RowMap,
    output: RowMap,
}

/// A row that is made: its window's rows, and where its image and it begin.
#[derive(Clone, Copy)]
struct Row {
    y: Taps,
    input_base: Value,
    start: Value,
    /// Where the row that is added begins.
    added: Option<Value>,
}

impl Emitter<'_> {
    fn emit(&self, b: &mut Builder<'_>, place: ImageRow) {
        let y = Taps::clipped(b, &self.conv.windows.y, place.row);
        let start = self.output.start(b, place.row);
        let start = b.add(place.output_base, start);
        let added = self.residual.map(|(residual, _)| residual.row(b, place));
        let row = Row { y, input_base: place.input_base, start, added };
        let (interior, together) = (Interior::of(&self.conv.windows.x), self.matmul.pixels());
        let blocks = interior.outputs / together;
        if blocks > 0 {
            self.clear(b);
            let first = interior.first.div_ceil(together).min(blocks);
            let end = (interior.end / together).clamp(first, blocks);
            for_segments(b, Interior { first, end, outputs: blocks }, &mut |b, block, at_border| {
                let x = b.mul_const(block, to_i32(together));
                self.emit_pixels(b, row, x, at_border, together);
            });
        }
        let done = blocks * together;
        if interior.outputs > done {
            // The order in memory is another for one pixel.
            self.clear(b);
            let x = b.index(done);
            self.emit_pixels(b, row, x, !(interior.first..interior.end).contains(&done), 1);
        }
    }

    /// Zeros for rows of the window outside of the image.
    fn clear(&self, b: &mut Builder<'_>) {
        if !Interior::of(&self.conv.windows.y).is_all() {
            self.matmul.clear(b);
        }
    }

    /// Computes all channels of `count` neighbouring pixels from `x` on.
    fn emit_pixels(&self, b: &mut Builder<'_>, row: Row, x: Value, clipped: bool, count: usize) {
        let window = &self.conv.windows.x;
        let taps: Vec<Taps> = (0..count)
            .map(|pixel| {
                let x = b.add_const(x, to_i32(pixel));
                if clipped { Taps::inside(b, window, x) } else { Taps::all(b, window, x) }
            })
            .collect();
        let from = if self.matmul.widens() {
            self.widen(b, row, &taps, clipped);
            b.i32(0)
        } else {
            self.first_input(b, row, taps[0])
        };
        let steps = self.output.steps;
        let pixel = b.mul_const(x, to_i32(steps.pixel));
        let to = b.add(row.start, pixel);
        let input = (self.input.memory, from);
        let Some(((residual, results), added)) = self.residual.zip(row.added) else {
            let output = (self.output.memory, to);
            return self.matmul.multiply(b, input, output, count, [steps.channel, steps.pixel]);
        };
        let (first, channels) = (b.i32(0), self.conv.output[3]);
        self.matmul.multiply(b, input, (results, first), count, [1, channels]);
        b.for_count(channels, |b, channel| {
            let across = b.mul_const(channel, to_i32(steps.channel));
            let to = b.add(to, across);
            for pixel in 0..count {
                let at = b.add_const(channel, to_i32(pixel * channels));
                let result = b.load(results, at);
                let sum = residual.add(b, result, added, x, pixel, channel);
                let to = b.add_const(to, to_i32(pixel * steps.pixel));
                b.store(sum, self.output.memory, to);
            }
        });
    }

    /// Offset of the first input of a window that lies inside of the image.
    fn first_input(&self, b: &mut Builder<'_>, row: Row, taps: Taps) -> Value {
        let start = self.input.start(b, row.y.start);
        let start = b.add(row.input_base, start);
        let across = b.mul_const(taps.start, to_i32(self.input.steps.pixel));
        b.add(start, across)
    }

    /// Widens the windows of pixels.
    fn widen(&self, b: &mut Builder<'_>, row: Row, taps: &[Taps], clipped: bool) {
        b.for_loop(row.y.first, row.y.end, 1, &[], |b, ky, _| {
            let start = self.input.start_under(b, &self.conv.windows.y, row.y, ky);
            let start = b.add(row.input_base, start);
            let count = taps.len();
            for (pixel, taps) in taps.iter().enumerate() {
                self.widen_row(b, start, ky, *taps, clipped, (pixel, count));
            }
            Vec::new()
        });
    }

    /// Widens what row `ky` of a pixel's window has of the input row at `start`.
    fn widen_row(
        &self,
        b: &mut Builder<'_>,
        start: Value,
        ky: Value,
        taps: Taps,
        clipped: bool,
        (pixel, pixels): (usize, usize),
    ) {
        let (window, depth, channels) = (&self.conv.windows.x, self.conv.depth, self.input.steps.pixel);
        let memory = self.input.memory;
        if self.runs == 1 {
            let across = b.mul_const(taps.start, to_i32(channels));
            let offset = b.add(start, across);
            let inside = clipped.then(|| [taps.first, taps.end].map(|tap| b.mul_const(tap, to_i32(depth))));
            let run = Run { number: ky, offset, inside };
            return self.matmul.widen(b, memory, &run, pixel, pixels);
        }
        let first_number = b.mul_const(ky, to_i32(self.runs));
        b.for_count(self.runs, |b, kx| {
            let number = b.add(first_number, kx);
            let across = b.mul_const(kx, to_i32(window.dilation));
            let position = b.add(taps.start, across);
            let across = b.mul_const(position, to_i32(channels));
            let offset = b.add(start, across);
            let inside = clipped.then(|| {
                let [before, after] = [(kx, taps.first), (taps.end, kx)].map(|(a, bound)| {
                    let outside = if a == kx { l::Predicate::Lt } else { l::Predicate::Le };
                    b.cmp(outside, a, bound)
                });
                let (zero, all) = (b.i32(0), b.index(depth));
                let end = b.select(before, zero, all);
                [zero, b.select(after, zero, end)]
            });
            let run = Run { number, offset, inside };
            self.matmul.widen(b, memory, &run, pixel, pixels);
        });
    }
}
