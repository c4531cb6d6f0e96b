//! Depthwise convolution: every channel by itself, one output row at a time.
//!
//! Taps of interior pixels are unrolled along the row; pixels at the left and right border loop over the taps that lie
//! inside. Where rows are scattered, those under the window are looked up once per row that is made, and not per channel:
//! rows whose window lies inside the image get code of their own for that, in which taps are unrolled downward as well. The
//! filter is read as the model stores it, taps outermost, so that neighbouring channels are neighbours.
//!
//! Weights of 4 and 2 bits are packed so that those of one tap lie in bytes of their own. Which field of its byte a channel's
//! weight is, is looked up once per channel: code for each field would be larger than what packing saves in most layers.

use super::LowerOp;
use super::accumulate::{Numbers, fits, greatest};
use super::conv::Epilogue;
use super::depthwise_planar::Planar;
use super::depthwise_rows;
use super::kernel::Kernel;
use super::rows::{ImageRow, RowMap, to_i32};
use super::sub_byte::{Field, Packing};
use super::window::{Interior, Taps, for_segments};
use mcunet_ir::attr::ResourceRef;
use mcunet_ir::loops::memory::PackLayout;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::ops::DepthwiseConv2d;
use mcunet_ir::nn::window::{Window, Windows, four};
use mcunet_ir::tensor::Data;
use mcunet_ir::{Builder, Diagnostic, TensorType, Value};

/// Rows of at most this many taps are unrolled.
const MAX_UNROLLED_TAPS: usize = 7;

/// The rows under a window.
pub(super) enum RowsUnder {
    /// All lie inside, and begin at these offsets.
    All(Vec<Value>),
    /// Those of some taps.
    Some(Taps),
}

struct Depthwise {
    windows: Windows,
    input_shape: [usize; 4],
    output_shape: [usize; 4],
    multiplier: usize,
    input: RowMap,
    output: RowMap,
    weights: Value,
    packing: Option<Packing>,
    bias: Value,
    input_zero_point: i32,
    wrap: bool,
    numbers: Numbers,
    unroll: bool,
    epilogue: Epilogue,
}

impl LowerOp for DepthwiseConv2d {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let shape = |ty| four(ty).map_err(|message| kernel.error(message));
        let (input_shape, filter) = (shape(kernel.operand_type(0))?, shape(kernel.operand_type(1))?);
        let output_shape = shape(kernel.result_type(0))?;
        let channels = output_shape[3];
        let filter_rows = kernel.constant_data(1).map(|filter| by_channel(&filter, channels));
        let bias_data = kernel.constant_data(2);
        let data = filter_rows.as_ref().zip(bias_data.as_ref());
        let (taps, input_zero_point) = (filter[1] * filter[2], zero_point(kernel.operand_type(0)));
        let proven = data.is_some_and(|(filter, bias)| fits(filter, bias, taps));
        let bound = data.and_then(|(filter, bias)| greatest(filter, bias, taps, input_zero_point));
        let numbers = Numbers::of(kernel, filter_rows.as_ref(), taps);
        let windows = Windows::new(input_shape, [filter[1], filter[2]], self.stride, self.dilation, self.pad);
        if let Some(data) = data.filter(|_| kernel.is_planar_operand(0))
            && depthwise_rows::lower(self, kernel, &windows, data)?
        {
            return Ok(());
        }
        let mut bias = kernel.expect_constant(2, "bias")?;
        if kernel.is_planar_operand(0) {
            bias = narrow(kernel, bias);
        }
        let bias = kernel.pack(vec![bias], PackLayout::Verbatim);
        let epilogue = Epilogue::new(kernel, self.clamp, channels, bias, bound)?;
        let unroll = kernel.features().unroll && filter[2] <= MAX_UNROLLED_TAPS;
        if kernel.is_planar_operand(0) {
            let lowering = Planar::new(kernel, windows, channels, bias, &epilogue)?;
            let input = kernel.source(0);
            kernel.for_image_rows(|b, place| {
                for_rows_under(b, &windows.y, input, unroll, place.row, &mut |b, rows| {
                    lowering.emit_row(b, rows, place);
                });
            });
            return Ok(());
        }
        let weights = kernel.expect_constant(1, "filter")?;
        let packing = Packing::of(kernel, &weights);
        let layout = packing.map_or(PackLayout::Verbatim, |Packing { bits }| PackLayout::PackedRows {
            bits,
            columns: channels,
        });
        let weights = kernel.pack(vec![weights], layout);
        let input = kernel.source(0);
        let lowering = Depthwise {
            windows,
            input,
            input_shape,
            output_shape,
            multiplier: channels.checked_div(input_shape[3]).unwrap_or(1).max(1),
            input_zero_point,
            wrap: !proven,
            numbers,
            unroll,
            epilogue,
            output: kernel.target(0),
            weights,
            packing,
            bias,
        };
        // Where rows follow one another, looking them up costs nothing.
        let together = unroll && input.scattered;
        kernel.for_image_rows(|b, place| {
            for_rows_under(b, &lowering.windows.y, input, together, place.row, &mut |b, rows| {
                lowering.emit_row(b, rows, place);
            });
        });
        Ok(())
    }
}

/// Biases in 16 bits, if all of them fit: that is half of the flash.
fn narrow(kernel: &mut Kernel<'_>, bias: ResourceRef) -> ResourceRef {
    let Some(Data::I32(biases)) = kernel.constant_data(2) else { return bias };
    let narrow: Result<Vec<i16>, _> = biases.into_iter().map(i16::try_from).collect();
    narrow.map_or_else(|_| bias.clone(), |narrow| kernel.resource(&bias.name, &Data::I16(narrow)))
}

fn zero_point(ty: &TensorType) -> i32 {
    ty.affine().map_or(0, |affine| affine.zero_point)
}

/// Emits what makes an output row, for the rows under its window: if `together`, code of its own for windows that lie inside
/// of the image.
fn for_rows_under(
    b: &mut Builder<'_>,
    window: &Window,
    input: RowMap,
    together: bool,
    row: Value,
    make: &mut dyn FnMut(&mut Builder<'_>, &RowsUnder),
) {
    let interior = Interior::of(window);
    if !together || interior.first == interior.end {
        let y = Taps::clipped(b, window, row);
        return make(b, &RowsUnder::Some(y));
    }
    let all = |b: &mut Builder<'_>| {
        let y = Taps::all(b, window, row);
        let start = |b: &mut Builder<'_>, tap| {
            let tap = b.index(tap);
            input.start_under(b, window, y, tap)
        };
        RowsUnder::All((0..window.taps).map(|tap| start(b, tap)).collect())
    };
    if interior.is_all() {
        let rows = all(b);
        return make(b, &rows);
    }
    let nearest = b.clamp(row, to_i32(interior.first), to_i32(interior.end - 1));
    let inside = b.cmp(l::Predicate::Eq, row, nearest);
    // One of the two runs; both are made.
    let make = std::cell::RefCell::new(make);
    b.if_else(
        inside,
        |b| {
            let rows = all(b);
            (make.borrow_mut())(b, &rows);
        },
        |b| {
            let y = Taps::inside(b, window, row);
            (make.borrow_mut())(b, &RowsUnder::Some(y));
        },
    );
}

/// The filter with the taps of a channel beside each other; as it is stored, channels are innermost.
fn by_channel(filter: &Data, channels: usize) -> Data {
    let taps = filter.len().checked_div(channels).unwrap_or(0);
    let order = (0..channels).flat_map(|channel| (0..taps).map(move |tap| tap * channels + channel));
    filter.pick(order)
}

impl Depthwise {
    fn emit_row(&self, b: &mut Builder<'_>, y: &RowsUnder, place: ImageRow) {
        let row_start = self.output.start(b, place.row);
        let row_start = b.add(place.output_base, row_start);
        for_segments(b, Interior::of(&self.windows.x), &mut |b, x, at_border| {
            self.emit_pixel(b, y, x, at_border, place.input_base, row_start);
        });
    }

    fn emit_pixel(
        &self,
        b: &mut Builder<'_>,
        y: &RowsUnder,
        x: Value,
        at_border: bool,
        input_base: Value,
        row_start: Value,
    ) {
        let ic = self.input_shape[3];
        let window = &self.windows.x;
        let taps = if at_border { Taps::inside(b, window, x) } else { Taps::all(b, window, x) };
        let pixel = b.mul_const(x, to_i32(self.output.steps.pixel));
        let pixel = b.add(row_start, pixel);
        b.for_count(ic, |b, c| {
            for m in 0..self.multiplier {
                let channel = b.mul_const(c, to_i32(self.multiplier));
                let channel = b.add_const(channel, to_i32(m));
                let zero = self.numbers.zero(b);
                let start = zero.unwrap_or_else(|| b.load(self.bias, channel));
                let sum = self.sum_window(b, y, taps, at_border, c, channel, input_base, start);
                let stored = self.epilogue.apply(b, sum, channel, self.bias);
                let across = b.mul_const(channel, to_i32(self.output.steps.channel));
                let at = b.add(pixel, across);
                b.store(stored, self.output.memory, at);
            }
        });
    }

    #[allow(clippy::too_many_arguments)]
    fn sum_window(
        &self,
        b: &mut Builder<'_>,
        y: &RowsUnder,
        x: Taps,
        at_border: bool,
        input_channel: Value,
        channel: Value,
        input_base: Value,
        start: Value,
    ) -> Value {
        let ic = self.input_shape[3];
        // Elements of a tap, or bytes that several share.
        let per_tap =
            self.packing.map_or(self.output_shape[3], |packing| packing.bytes(self.output_shape[3]));
        let (first_weight, field) = match self.packing {
            Some(packing) => packing.locate(b, channel),
            None => (channel, Field::Whole),
        };
        let (window_x, window_y) = (self.windows.x, self.windows.y);
        let sum_row = |b: &mut Builder<'_>, row: Value, ky: Value, sum: Value| {
            let across = b.mul_const(x.start, to_i32(ic));
            let at = b.add(row, across);
            let at = b.add(at, input_channel);
            let at = b.add(input_base, at);
            let weight = b.mul_const(ky, to_i32(window_x.taps * per_tap));
            let weight = b.add(weight, first_weight);
            let step = to_i32(window_x.dilation * ic);
            if !at_border && self.unroll {
                let mut sum = sum;
                for kx in 0..window_x.taps {
                    let kx = to_i32(kx);
                    let (at, weight) =
                        (b.add_const(at, kx * step), b.add_const(weight, kx * to_i32(per_tap)));
                    sum = self.multiply(b, at, weight, field, sum);
                }
                return sum;
            }
            let sums = b.for_loop(x.first, x.end, 1, &[sum], |b, kx, sums| {
                let (across, skipped) = (b.mul_const(kx, step), b.mul_const(kx, to_i32(per_tap)));
                let (at, weight) = (b.add(at, across), b.add(weight, skipped));
                vec![self.multiply(b, at, weight, field, sums[0])]
            });
            sums[0]
        };
        match y {
            RowsUnder::All(starts) => starts.iter().enumerate().fold(start, |sum, (ky, &row)| {
                let ky = b.index(ky);
                sum_row(b, row, ky, sum)
            }),
            RowsUnder::Some(y) => {
                let sums = b.for_loop(y.first, y.end, 1, &[start], |b, ky, sums| {
                    let row = self.input.start_under(b, &window_y, *y, ky);
                    vec![sum_row(b, row, ky, sums[0])]
                });
                sums[0]
            }
        }
    }

    fn multiply(&self, b: &mut Builder<'_>, at: Value, weight: Value, field: Field, sum: Value) -> Value {
        let (x, w) = (b.load(self.input.memory, at), b.load(self.weights, weight));
        let w = field.of(b, w);
        let x = if self.epilogue.is_float() { x } else { b.add_const(x, -self.input_zero_point) };
        self.numbers.multiply_add(b, sum, x, w, self.wrap)
    }
}
