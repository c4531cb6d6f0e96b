//! Convolutions over all channels: plain, grouped and transposed.
//!
//! One output row at a time, pixel by pixel, output channels in blocks (see `dense`). Taps in the padding are skipped by
//! clipping the ranges of taps, so that the input is never copied or padded.

use super::LowerOp;
use super::accumulator::{FILTER, INPUT};
use super::dense::{Dense, DenseShape, Group, Length};
use super::kernel::Kernel;
use super::window::{Sliding, Taps, constant, for_rows, offset};
use mcunet_ir::nn::ops::{Conv2d, TransposeConv2d};
use mcunet_ir::nn::requantize::convolution_multipliers;
use mcunet_ir::nn::window::{Windows, four};
use mcunet_ir::{Builder, Diagnostic, Value};

impl LowerOp for Conv2d {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let [input, filter, output] = shapes(kernel)?;
        let [batches, _, _, channels] = input;
        let [rows, kernel_height, kernel_width, depth] = filter;
        let windows =
            Windows::new(input, [kernel_height, kernel_width], self.stride, self.dilation, self.pad);
        let (y, x) = (Sliding::new(windows.y, output[1]), Sliding::new(windows.x, output[2]));
        // Neighbouring taps of a row are one run if their pixels are neighbours too.
        let merges = kernel_width == 1 || (x.dilation() == 1 && depth == channels);
        let shape = DenseShape {
            rows,
            columns: kernel_height * kernel_width * depth,
            groups: channels.checked_div(depth).unwrap_or(1),
            run: if merges { kernel_width * depth } else { depth },
            aligned: depth.is_multiple_of(4)
                || (merges && x.is_whole() && (kernel_width * depth).is_multiple_of(4)),
            whole: y.is_whole() && x.is_whole(),
            filter_zero_point: false,
        };
        let multipliers = |i: &_, f: &_, o: &_| convolution_multipliers(i, f, o, rows);
        let dense = Dense::new(kernel, &shape, multipliers, self.clamp)?;
        let walk = Walk { dense: &dense, input, kernel_width, depth, merges, y, x };
        let groups = shape.groups;
        let b = &mut kernel.b;
        for_rows(b, batches, output[1], |b, batch, row| {
            let taps_y = y.at(b, row);
            let zero = b.index(0);
            let output_row = offset(b, &output, &[batch, row, zero, zero]);
            b.for_count(output[2], |b, column| {
                let taps_x = x.at(b, column);
                let first = offset(b, &input, &[batch, taps_y.start, taps_x.start, zero]);
                let in_row = b.mul_const(column, constant(output[3]));
                let output_at = b.add(output_row, in_row);
                let group = |b: &mut Builder<'_>, group: Value| {
                    let in_pixel = b.mul_const(group, constant(depth));
                    let first = b.add(first, in_pixel);
                    dense.pixel(b, output_at, group, |b, rows, sums| {
                        walk.sum(b, rows, first, [taps_y, taps_x], sums)
                    });
                };
                if groups == 1 {
                    group(b, zero);
                } else {
                    b.for_count(groups, group);
                }
            });
        });
        Ok(())
    }
}

/// The dimensions of input, filter and output.
fn shapes(kernel: &Kernel<'_>) -> Result<[[usize; 4]; 3], Diagnostic> {
    let four = |ty| four(ty).map_err(|message| kernel.error(message));
    Ok([four(kernel.operand_type(INPUT))?, four(kernel.operand_type(FILTER))?, four(kernel.result_type(0))?])
}

/// The order in which a convolution visits its taps.
struct Walk<'d> {
    dense: &'d Dense,
    input: [usize; 4],
    kernel_width: usize,
    /// Channels of the filter.
    depth: usize,
    /// The taps of a row are one run.
    merges: bool,
    y: Sliding,
    x: Sliding,
}

impl Walk<'_> {
    /// Adds the products of all taps inside of the input. `first` is the input element under tap (0, 0), which may lie in
    /// the padding.
    fn sum(
        &self,
        b: &mut Builder<'_>,
        rows: &Group,
        first: Value,
        [taps_y, taps_x]: [Taps; 2],
        sums: Vec<Value>,
    ) -> Vec<Value> {
        let [_, _, width, channels] = self.input;
        taps_y.fold(b, &sums, |b, tap, sums| {
            let down = b.mul_const(tap, constant(self.y.dilation() * width * channels));
            let row = b.add(first, down);
            let column = b.mul_const(tap, constant(self.kernel_width * self.depth));
            if self.merges {
                return self.merged_row(b, rows, [row, column], taps_x, sums);
            }
            taps_x.fold(b, sums, |b, tap, sums| {
                let right = b.mul_const(tap, constant(self.x.dilation() * channels));
                let at = b.add(row, right);
                let in_row = b.mul_const(tap, constant(self.depth));
                let column = b.add(column, in_row);
                self.dense.run(b, rows, at, column, Length::Constant(self.depth), sums)
            })
        })
    }

    fn merged_row(
        &self,
        b: &mut Builder<'_>,
        rows: &Group,
        [row, column]: [Value; 2],
        taps: Taps,
        sums: &[Value],
    ) -> Vec<Value> {
        if let Some(count) = taps.constant {
            return self.dense.run(b, rows, row, column, Length::Constant(count * self.depth), sums);
        }
        let skipped = b.mul_const(taps.bounds[0], constant(self.depth));
        let (at, column) = (b.add(row, skipped), b.add(column, skipped));
        let count = taps.count(b);
        let length = b.mul_const(count, constant(self.depth));
        self.dense.run(b, rows, at, column, Length::Value(length), sums)
    }
}

impl LowerOp for TransposeConv2d {
    /// Gathers what the reference scatters: output position `t` (counted with the padding) gets input position `i` times
    /// tap `t - stride * i`. In order of `i`, as the reference adds floats.
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let [input, filter, output] = shapes(kernel)?;
        let [rows, kernel_height, kernel_width, depth] = filter;
        let shape = DenseShape {
            rows,
            columns: kernel_height * kernel_width * depth,
            groups: 1,
            run: depth,
            aligned: depth.is_multiple_of(4),
            whole: false,
            filter_zero_point: false,
        };
        let multipliers = |i: &_, f: &_, o: &_| convolution_multipliers(i, f, o, rows);
        let dense = Dense::new(kernel, &shape, multipliers, self.clamp)?;
        let axis = |axis: usize, taps: usize| Scattered {
            input: input[1 + axis],
            taps,
            stride: self.stride[axis] as usize,
            pad: self.pad[axis] as usize,
        };
        let (y, x) = (axis(0, kernel_height), axis(1, kernel_width));
        for_rows(&mut kernel.b, input[0], output[1], |b, batch, row| {
            let sources_y = y.at(b, row);
            let zero = b.index(0);
            let output_row = offset(b, &output, &[batch, row, zero, zero]);
            b.for_count(output[2], |b, column| {
                let sources_x = x.at(b, column);
                let in_row = b.mul_const(column, constant(output[3]));
                let output_at = b.add(output_row, in_row);
                dense.pixel(b, output_at, zero, |b, rows, sums| {
                    sources_y.fold(b, &sums, |b, i, tap_y, sums| {
                        sources_x.fold(b, sums, |b, j, tap_x, sums| {
                            let at = offset(b, &input, &[batch, i, j, zero]);
                            let tap = b.mul_const(tap_y, constant(kernel_width));
                            let tap = b.add(tap, tap_x);
                            let column = b.mul_const(tap, constant(depth));
                            dense.run(b, rows, at, column, Length::Constant(depth), sums)
                        })
                    })
                });
            });
        });
        Ok(())
    }
}

/// One dimension of a transposed convolution.
#[derive(Clone, Copy)]
struct Scattered {
    input: usize,
    taps: usize,
    stride: usize,
    pad: usize,
}

/// The input positions that reach an output position.
#[derive(Clone, Copy)]
struct Sources {
    /// First, and the one after the last.
    bounds: [Value; 2],
    /// The output position, counted with the padding.
    position: Value,
    stride: usize,
}

impl Scattered {
    fn at(&self, b: &mut Builder<'_>, output: Value) -> Sources {
        let position = b.add_const(output, constant(self.pad));
        // The tap `position - stride * i` is at most `taps - 1`: i >= (position - taps + 1) / stride, rounded up.
        let (zero, stride) = (b.index(0), b.index(self.stride));
        let first = b.add_const(position, constant(self.stride) - constant(self.taps));
        let first = b.max(first, zero);
        let first = b.div(first, stride);
        // It is at least 0: i <= position / stride.
        let end = b.div(position, stride);
        let end = b.add_const(end, 1);
        let input = b.index(self.input);
        let end = b.min(end, input);
        Sources { bounds: [first, end], position, stride: self.stride }
    }
}

impl Sources {
    /// Runs `body` for every input position and the tap under which it reaches the output.
    fn fold(
        &self,
        b: &mut Builder<'_>,
        inits: &[Value],
        body: impl FnOnce(&mut Builder<'_>, Value, Value, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        b.for_loop(self.bounds[0], self.bounds[1], 1, inits, |b, i, carried| {
            let covered = b.mul_const(i, constant(self.stride));
            let tap = b.sub(self.position, covered);
            body(b, i, tap, carried)
        })
    }
}
