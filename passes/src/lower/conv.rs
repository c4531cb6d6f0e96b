//! Convolution and transposed convolution.
//!
//! One output row at a time. A window's row is a run of contiguous inputs (taps times channels) if taps are not dilated,
//! so a pixel is as many runs as the window has rows. Interior pixels have whole runs, pixels at the left and right
//! border clipped ones; rows above and below the image are skipped.

use super::LowerOp;
use super::accumulate::{Filter, FilterSource, Form};
use super::conv_matmul;
use super::float::clamp_float;
use super::kernel::Kernel;
use super::requantize::{Requantizer, WideRequantizer};
use super::residual::Residual;
use super::rows::{ImageRow, RowMap, to_i32};
use super::sub_byte::Packing;
use super::window::{Interior, Taps, for_segments};
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::ops::{Conv2d, Conv2dAdd, TransposeConv2d};
use mcunet_ir::nn::requantize::{convolution_multipliers, integer_limits};
use mcunet_ir::nn::window::{Windows, four};
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, TensorType, Value};

/// Geometry of a convolution.
pub(super) struct Conv {
    pub windows: Windows,
    pub output: [usize; 4],
    /// Input channels that one output channel reads.
    pub depth: usize,
    /// Output channels of a group.
    pub group: usize,
}

impl Conv {
    /// Whether every product of every window is computed.
    pub fn is_unpadded(&self) -> bool {
        Interior::of(&self.windows.x).is_all() && Interior::of(&self.windows.y).is_all()
    }

    /// Whether a window's row is one run of contiguous inputs.
    pub fn has_runs(&self) -> bool {
        (self.windows.x.dilation == 1 || self.windows.x.taps == 1) && self.group == self.output[3]
    }
}

impl LowerOp for Conv2d {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        lower_conv(self, kernel, kernel.result_type(0), None)
    }
}

impl LowerOp for Conv2dAdd {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let between = self.between(kernel.result_type(0));
        let residual = Residual::new(kernel, &between, &self.add())?;
        lower_conv(&self.conv(), kernel, &between, Some(residual))
    }
}

/// The kernel of a convolution whose results have type `made`, to which `residual` is added before they are stored.
fn lower_conv(
    op: &Conv2d,
    kernel: &mut Kernel<'_>,
    made: &TensorType,
    residual: Option<Residual>,
) -> Result<(), Diagnostic> {
    let conv = geometry(op, kernel)?;
    let int8 = kernel.result_type(0).storage() == Scalar::I8;
    let (rows, columns) = (conv.output[3], conv.windows.y.taps * conv.windows.x.taps * conv.depth);
    let (filter_data, bias_data) = (kernel.constant_data(1), kernel.constant_data(2));
    let data = filter_data.is_some() && bias_data.is_some();
    let weights = kernel.expect_constant(1, "filter")?;
    let packing = Packing::of(kernel, &weights);
    if let (None, Some(filter), Some(bias)) = (packing, &filter_data, &bias_data)
        && conv_matmul::lower(op, &conv, kernel, made, residual.as_ref(), (filter, bias))?
    {
        return Ok(());
    }
    let fits = packing.is_none_or(|packing| packing.lanes_fit(columns));
    let form = if kernel.features().dsp && int8 && conv.group == rows && fits {
        Form::of_dsp(conv.depth, conv.has_runs(), data)
    } else {
        Form::Scalar
    };
    let source = FilterSource {
        filter: weights,
        bias: kernel.expect_constant(2, "bias")?,
        rows,
        columns,
        input_zero_point: kernel.operand_type(0).affine().map_or(0, |affine| affine.zero_point),
        foldable: int8 && conv.is_unpadded(),
        data: filter_data.as_ref().zip(bias_data.as_ref()),
        packing,
    };
    let bound = source.bound();
    // Words of weights of 2 bits are those of four channels, whose accumulators leave no registers for a second pixel.
    let four_channels = packing.is_some_and(|packing| packing.bits == 2);
    let block = match form {
        // A group's channels must not cross groups of the convolution.
        Form::Scalar if conv.group < rows => largest_block(conv.group),
        Form::Scalar => 4,
        Form::Paired | Form::Split { .. } if four_channels => 4,
        Form::Paired | Form::Split { .. } => 2,
    };
    let filter = Filter::new(kernel, form, block, source);
    let epilogue = Epilogue::towards(kernel, made, op.clamp, rows, filter.biases(), bound)?;
    let (input, output) = (kernel.source(0), kernel.target(0));
    let pixels = if form == Form::Scalar || four_channels { 1 } else { 2 };
    let emitter = Emitter { conv, filter, epilogue, residual, input, output, pixels };
    kernel.for_image_rows(|b, place| emitter.emit(b, place));
    Ok(())
}

/// The largest number of channels up to 4 that divides a group.
fn largest_block(group: usize) -> usize {
    (1..=4).rev().find(|block| group.is_multiple_of(*block)).unwrap_or(1)
}

fn geometry(op: &Conv2d, kernel: &Kernel<'_>) -> Result<Conv, Diagnostic> {
    let shape = |ty| four(ty).map_err(|message| kernel.error(message));
    let (input, filter) = (shape(kernel.operand_type(0))?, shape(kernel.operand_type(1))?);
    let output = shape(kernel.result_type(0))?;
    let windows = Windows::new(input, [filter[1], filter[2]], op.stride, op.dilation, op.pad);
    let groups = input[3].checked_div(filter[3]).unwrap_or(1).max(1);
    Ok(Conv { windows, output, depth: filter[3], group: output[3] / groups })
}

/// From accumulators to stored results.
pub(super) enum Epilogue {
    /// int8.
    Quantized(Requantizer),
    /// int16.
    Wide(WideRequantizer),
    /// Floats: bias, then limits.
    Float(mcunet_ir::attr::Clamp),
}

impl Epilogue {
    /// The epilogue of a convolution with these biases, no accumulator of which exceeds `bound` in magnitude.
    pub(super) fn new(
        kernel: &mut Kernel<'_>,
        clamp: mcunet_ir::attr::Clamp,
        channels: usize,
        bias: Value,
        bound: Option<u64>,
    ) -> Result<Self, Diagnostic> {
        Self::towards(kernel, kernel.result_type(0), clamp, channels, bias, bound)
    }

    /// As [`Self::new`], for a convolution whose results have another type than what the kernel stores.
    fn towards(
        kernel: &mut Kernel<'_>,
        output: &TensorType,
        clamp: mcunet_ir::attr::Clamp,
        channels: usize,
        bias: Value,
        bound: Option<u64>,
    ) -> Result<Self, Diagnostic> {
        let (input, filter) = (kernel.operand_type(0), kernel.operand_type(1));
        let multipliers = convolution_multipliers(input, filter, output, channels);
        Self::of_multipliers(kernel, output, clamp, multipliers, bias, bound)
    }

    /// The epilogue of a layer whose accumulators are multiplied by these factors, which floats have none of, to make numbers
    /// of type `output`; see [`Self::new`].
    pub(super) fn of_multipliers(
        kernel: &mut Kernel<'_>,
        output: &TensorType,
        clamp: mcunet_ir::attr::Clamp,
        multipliers: Option<Vec<QuantizedMultiplier>>,
        bias: Value,
        bound: Option<u64>,
    ) -> Result<Self, Diagnostic> {
        if output.storage() == Scalar::F32 {
            return Ok(Epilogue::Float(clamp));
        }
        let multipliers = multipliers
            .ok_or_else(|| kernel.error("expected multipliers that can be quantized, got others"))?;
        let limits = integer_limits(clamp, output.storage());
        if output.storage() == Scalar::I16 {
            return Ok(Epilogue::Wide(WideRequantizer::new(kernel, &multipliers, bias, limits)));
        }
        let zero_point = output.affine().map_or(0, |affine| affine.zero_point);
        Ok(Epilogue::Quantized(Requantizer::new(kernel, &multipliers, zero_point, limits, bound)))
    }

    pub(super) fn is_float(&self) -> bool {
        matches!(self, Epilogue::Float(_))
    }

    /// The stored result of an accumulator; `bias` holds the biases, which some add last.
    pub(super) fn apply(&self, b: &mut Builder<'_>, sum: Value, channel: Value, bias: Value) -> Value {
        match self {
            Epilogue::Quantized(requantizer) => requantizer.apply(b, sum, channel),
            Epilogue::Wide(requantizer) => requantizer.apply(b, sum, channel),
            Epilogue::Float(clamp) => {
                let bias = b.load(bias, channel);
                let sum = b.add(sum, bias);
                clamp_float(b, sum, *clamp)
            }
        }
    }
}

/// Where a row begins in the memory of the results, and in that of what is added to them.
#[derive(Clone, Copy)]
struct RowStarts {
    stored: Value,
    added: Option<Value>,
}

struct Emitter {
    conv: Conv,
    filter: Filter,
    epilogue: Epilogue,
    /// What is added to results.
    residual: Option<Residual>,
    input: RowMap,
    output: RowMap,
    /// Interior pixels that are computed together.
    pixels: usize,
}

impl Emitter {
    fn emit(&self, b: &mut Builder<'_>, place: ImageRow) {
        let window = &self.conv.windows.y;
        let y = Taps::clipped(b, window, place.row);
        let row_start = self.output.start(b, place.row);
        let row_start = b.add(place.output_base, row_start);
        let added = self.residual.as_ref().map(|residual| residual.row(b, place));
        self.emit_row(b, y, place.input_base, RowStarts { stored: row_start, added });
    }

    fn emit_row(&self, b: &mut Builder<'_>, y: Taps, input_base: Value, row_start: RowStarts) {
        let interior = Interior::of(&self.conv.windows.x);
        let whole = interior.end - interior.first;
        let together = self.pixels.min(whole.max(1));
        let bulk = whole / together * together;
        if together > 1 && bulk > 0 {
            let (lower, upper) = (b.index(interior.first), b.index(interior.first + bulk));
            b.for_loop(lower, upper, to_i32(together) as u32, &[], |b, x, _| {
                self.emit_pixels(b, y, x, false, together, input_base, row_start);
                Vec::new()
            });
            // What is left of the interior is computed as border, whose code is there anyway or small.
            let rest = Interior { first: interior.first, end: interior.first + bulk, ..interior };
            let borders = Interior { outputs: interior.outputs, ..rest };
            for_segments_outside(b, borders, &mut |b, x| {
                let clipped = !interior.is_all();
                self.emit_pixels(b, y, x, clipped, 1, input_base, row_start);
            });
            return;
        }
        for_segments(b, interior, &mut |b, x, at_border| {
            self.emit_pixels(b, y, x, at_border, 1, input_base, row_start);
        });
    }

    /// Computes all channels of `count` neighbouring pixels from `x` on.
    #[allow(clippy::too_many_arguments)]
    fn emit_pixels(
        &self,
        b: &mut Builder<'_>,
        y: Taps,
        x: Value,
        clipped: bool,
        count: usize,
        input_base: Value,
        row_start: RowStarts,
    ) {
        let steps = self.output.steps;
        let window = &self.conv.windows.x;
        let taps = if clipped { Taps::inside(b, window, x) } else { Taps::all(b, window, x) };
        let pixel = b.mul_const(x, to_i32(steps.pixel));
        let pixel = b.add(row_start.stored, pixel);
        let residual = self.residual.as_ref().zip(row_start.added);
        self.filter.for_groups(b, &mut |b, channel, offset, channels| {
            let start = self.filter.start(b, channel, channels, count);
            let sums = self.sum_window(b, y, taps, channel, offset, channels, count, input_base, &start);
            for p in 0..count {
                for c in 0..channels {
                    let at = b.add_const(channel, to_i32(c));
                    let sum = self.filter.total(b, sums[p * channels + c], at);
                    let stored = self.epilogue.apply(b, sum, at, self.filter.biases());
                    let stored = match residual {
                        Some((residual, row)) => residual.add(b, stored, row, x, p, at),
                        None => stored,
                    };
                    let across = b.mul_const(at, to_i32(steps.channel));
                    let offset = b.add(pixel, across);
                    let offset = b.add_const(offset, to_i32(p * steps.pixel));
                    b.store(stored, self.output.memory, offset);
                }
            }
        });
    }

    /// Adds the products of a window to accumulators.
    #[allow(clippy::too_many_arguments)]
    fn sum_window(
        &self,
        b: &mut Builder<'_>,
        y: Taps,
        x: Taps,
        channel: Value,
        offset: Value,
        channels: usize,
        count: usize,
        input_base: Value,
        start: &[Value],
    ) -> Vec<Value> {
        let ic = self.input.steps.pixel;
        let (window_x, window_y) = (self.conv.windows.x, self.conv.windows.y);
        let depth = self.conv.depth;
        // First input channel of the group of the convolution.
        let first_channel = if self.conv.group == self.conv.output[3] {
            None
        } else {
            let group = b.index(self.conv.group);
            let group = b.value(l::Div {}, &[channel, group], mcunet_ir::Type::I32);
            Some(b.mul_const(group, to_i32(depth)))
        };
        b.for_loop(y.first, y.end, 1, start, |b, ky, sums| {
            let row = self.input.start_under(b, &window_y, y, ky);
            let row = b.add(input_base, row);
            let row = match first_channel {
                Some(first) => b.add(row, first),
                None => row,
            };
            let per_tap = self.filter.columns_per_tap(depth);
            let row_column = b.mul_const(ky, to_i32(window_x.taps * per_tap));
            let pixel_step = to_i32(window_x.stride * ic);
            let inputs_at = |b: &mut Builder<'_>, position: Value| -> Vec<Value> {
                let across = b.mul_const(position, to_i32(ic));
                let first = b.add(row, across);
                (0..count).map(|p| b.add_const(first, to_i32(p) * pixel_step)).collect()
            };
            if self.conv.has_runs() && per_tap == depth {
                let position = b.add(x.start, x.first);
                let inputs = inputs_at(b, position);
                let skipped = b.mul_const(x.first, to_i32(depth));
                let column = b.add(row_column, skipped);
                let taps = b.sub(x.end, x.first);
                let length = b.mul_const(taps, to_i32(depth));
                return self.filter.run(
                    b,
                    self.input.memory,
                    &inputs,
                    channel,
                    offset,
                    column,
                    length,
                    channels,
                    sums,
                );
            }
            b.for_loop(x.first, x.end, 1, sums, |b, kx, sums| {
                let across = b.mul_const(kx, to_i32(window_x.dilation));
                let position = b.add(x.start, across);
                let inputs = inputs_at(b, position);
                let skipped = b.mul_const(kx, to_i32(per_tap));
                let column = b.add(row_column, skipped);
                let length = b.index(depth);
                let memory = self.input.memory;
                self.filter.run(b, memory, &inputs, channel, offset, column, length, channels, sums)
            })
        })
    }
}

/// [`for_segments`] without the interior.
fn for_segments_outside(
    b: &mut Builder<'_>,
    interior: Interior,
    body: &mut dyn FnMut(&mut Builder<'_>, Value),
) {
    let (left, right) = (interior.first, interior.outputs - interior.end);
    if left + right == 0 {
        return;
    }
    let skipped = Interior { first: left, end: left, outputs: left + right };
    for_segments(b, skipped, &mut |b, i, _| {
        let position = if left == 0 {
            b.add_const(i, to_i32(interior.end))
        } else {
            let (bound, gap) = (b.index(left), b.index(interior.end - left));
            let is_left = b.cmp(l::Predicate::Lt, i, bound);
            let shifted = b.add(i, gap);
            b.select(is_left, i, shifted)
        };
        body(b, position);
    });
}

impl LowerOp for TransposeConv2d {
    /// Gathers instead of scattering: output pixel `o` meets input pixel `i` at tap `o + pad - i * stride`, so the
    /// output is computed row by row with nothing but accumulators in registers. Integer sums do not depend on order;
    /// floats are added in the reference's order, since inputs are visited in it.
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let shape = |ty| four(ty).map_err(|message| kernel.error(message));
        let (input_shape, filter_shape) = (shape(kernel.operand_type(0))?, shape(kernel.operand_type(1))?);
        let [_, ih, iw, ic] = input_shape;
        let [oc, kh, kw, _] = filter_shape;
        let [_, _, ow, _] = shape(kernel.result_type(0))?;
        let columns = kh * kw * ic;
        let (filter_data, bias_data) = (kernel.constant_data(1), kernel.constant_data(2));
        let source = FilterSource {
            filter: kernel.expect_constant(1, "filter")?,
            bias: kernel.expect_constant(2, "bias")?,
            rows: oc,
            columns,
            input_zero_point: kernel.operand_type(0).affine().map_or(0, |affine| affine.zero_point),
            foldable: false,
            data: filter_data.as_ref().zip(bias_data.as_ref()),
            packing: None,
        };
        let bound = source.bound();
        let filter = Filter::new(kernel, Form::Scalar, 4, source);
        let epilogue = Epilogue::new(kernel, self.clamp, oc, filter.biases(), bound)?;
        let (input, output) = (kernel.source(0), kernel.target(0));
        let [stride_y, stride_x] = self.stride.map(|stride| stride as usize);
        let [top, left] = self.pad.map(|pad| pad as usize);
        kernel.for_image_rows(|b, place| {
            let y = meeting(b, place.row, top, stride_y, kh, ih);
            let row_start = output.start(b, place.row);
            let row_start = b.add(place.output_base, row_start);
            b.for_count(ow, |b, ox| {
                let x = meeting(b, ox, left, stride_x, kw, iw);
                let pixel = b.mul_const(ox, to_i32(output.steps.pixel));
                let pixel = b.add(row_start, pixel);
                filter.for_groups(b, &mut |b, channel, offset, channels| {
                    let start = filter.start(b, channel, channels, 1);
                    let sums = b.for_loop(y.first, y.end, 1, &start, |b, iy, sums| {
                        let ky = tap(b, y.start, iy, stride_y);
                        let in_row = input.start(b, iy);
                        let in_row = b.add(place.input_base, in_row);
                        b.for_loop(x.first, x.end, 1, sums, |b, ix, sums| {
                            let kx = tap(b, x.start, ix, stride_x);
                            let across = b.mul_const(ix, to_i32(ic));
                            let at = b.add(in_row, across);
                            let column = b.mul_const(ky, to_i32(kw));
                            let column = b.add(column, kx);
                            let column = b.mul_const(column, to_i32(ic));
                            let length = b.index(ic);
                            filter.run(
                                b,
                                input.memory,
                                &[at],
                                channel,
                                offset,
                                column,
                                length,
                                channels,
                                sums,
                            )
                        })
                    });
                    for (c, &sum) in sums.iter().enumerate() {
                        let at = b.add_const(channel, to_i32(c));
                        let stored = epilogue.apply(b, sum, at, filter.biases());
                        let to = b.add(pixel, at);
                        b.store(stored, output.memory, to);
                    }
                });
            });
        });
        Ok(())
    }
}

/// Input positions that meet output position `at`: `first..end`; `start` is the padded output position.
fn meeting(b: &mut Builder<'_>, at: Value, pad: usize, stride: usize, taps: usize, input: usize) -> Taps {
    let start = b.add_const(at, to_i32(pad));
    // Tap start - i * stride must be within 0..taps.
    let zero = b.i32(0);
    let least = b.add_const(start, 1 - to_i32(taps));
    let least = b.max(least, zero);
    let least = b.add_const(least, to_i32(stride) - 1);
    let stride = b.index(stride);
    let first = b.value(l::Div {}, &[least, stride], mcunet_ir::Type::I32);
    let last = b.value(l::Div {}, &[start, stride], mcunet_ir::Type::I32);
    let end = b.add_const(last, 1);
    let input = b.index(input);
    let end = b.min(end, input);
    Taps { first, end, start }
}

fn tap(b: &mut Builder<'_>, start: Value, position: Value, stride: usize) -> Value {
    let way = b.mul_const(position, to_i32(stride));
    b.sub(start, way)
}
