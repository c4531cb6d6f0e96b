//! Interpolation of images, one output row at a time. Where each row and column samples is a table in flash.

use super::LowerOp;
use super::kernel::Kernel;
use super::requantize::widened;
use super::rows::to_i32;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::ops::{ResizeBilinear, ResizeNearest};
use mcunet_ir::nn::resize::{fixed_sample, nearest, real_sample};
use mcunet_ir::nn::window::four;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, Type, Value};

/// Rows or columns of a result at most: the tables have an entry for each.
const MAX_POSITIONS: usize = 1 << 16;

/// Shapes of operand and result.
fn shapes(kernel: &Kernel<'_>) -> Result<([usize; 4], [usize; 4]), Diagnostic> {
    let shape = |ty| four(ty).map_err(|message| kernel.error(message));
    let (input, output) = (shape(kernel.operand_type(0))?, shape(kernel.result_type(0))?);
    match output[1].max(output[2]) {
        0..=MAX_POSITIONS => Ok((input, output)),
        found => {
            let message = format!("has no kernel for more than {MAX_POSITIONS} rows or columns, got {found}");
            Err(kernel.error(message))
        }
    }
}

fn positions(kernel: &mut Kernel<'_>, name: &str, offsets: impl Iterator<Item = usize>) -> Value {
    let offsets: Vec<i32> = offsets.map(to_i32).collect();
    kernel.data(name, &Data::I32(offsets))
}

impl LowerOp for ResizeNearest {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let ([_, ih, iw, channels], [_, oh, ow, _]) = shapes(kernel)?;
        let (align, half) = (self.align_corners, self.half_pixel_centers);
        let (input, output) = (kernel.source(0), kernel.target(0));
        let rows = (0..oh).map(|y| nearest(y, ih, oh, align, half));
        let columns = (0..ow).map(|x| nearest(x, iw, ow, align, half) * channels);
        let rows = positions(kernel, "resize_rows", rows);
        let columns = positions(kernel, "resize_columns", columns);
        kernel.for_image_rows(|b, place| {
            let row = b.load(rows, place.row);
            let row = input.start(b, row);
            let row = b.add(place.input_base, row);
            let target = output.start(b, place.row);
            let target = b.add(place.output_base, target);
            b.for_count(ow, |b, x| {
                let column = b.load(columns, x);
                let source = b.add(row, column);
                let way = b.mul_const(x, to_i32(output.steps.pixel));
                let target = b.add(target, way);
                b.op(l::Copy { count: channels }, &[input.memory, source, output.memory, target], &[]);
            });
        });
        Ok(())
    }
}

/// Tables of one dimension: offsets of both positions and the weight of the second.
#[derive(Clone, Copy)]
struct Samples {
    low: Value,
    high: Value,
    weight: Value,
}

/// Offsets and weights of both positions at one output position.
#[derive(Clone, Copy)]
struct At {
    low: Value,
    high: Value,
    weight: Value,
    rest: Value,
}

impl Samples {
    /// Samples of one dimension, in the arithmetic of the result's type.
    fn new(
        kernel: &mut Kernel<'_>,
        op: &ResizeBilinear,
        [input, output]: [usize; 2],
        offset: impl Fn(usize) -> usize,
    ) -> Self {
        let (align, half) = (op.align_corners, op.half_pixel_centers);
        let (positions_of, weights): (Vec<[usize; 2]>, Data) =
            if kernel.result_type(0).storage() == Scalar::F32 {
                let samples = (0..output).map(|i| real_sample(i, input, output, align, half));
                let (at, weights) = samples.map(|s| ([s.low, s.high], s.weight)).unzip();
                (at, Data::F32(weights))
            } else {
                let samples = (0..output).map(|i| fixed_sample(i, input, output, align, half));
                let (at, weights) = samples.map(|s| ([s.low, s.high], s.weight)).unzip();
                (at, Data::I32(weights))
            };
        Self {
            low: positions(kernel, "resize_low", positions_of.iter().map(|at| offset(at[0]))),
            high: positions(kernel, "resize_high", positions_of.iter().map(|at| offset(at[1]))),
            weight: kernel.data("resize_weights", &weights),
        }
    }

    fn at(&self, b: &mut Builder<'_>, index: Value, float: bool) -> At {
        let (low, high, weight) =
            (b.load(self.low, index), b.load(self.high, index), b.load(self.weight, index));
        let one = if float { b.f32(1.0) } else { b.i32(1024) };
        At { low, high, weight, rest: b.sub(one, weight) }
    }
}

impl LowerOp for ResizeBilinear {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let ([_, ih, iw, channels], [_, oh, ow, _]) = shapes(kernel)?;
        let storage = kernel.result_type(0).storage();
        let (float, wide) = (storage.is_float(), storage == Scalar::I16);
        let (input, output) = (kernel.source(0), kernel.target(0));
        let rows = Samples::new(kernel, self, [ih, oh], |row| row);
        let columns = Samples::new(kernel, self, [iw, ow], |column| column * channels);
        kernel.for_image_rows(|b, place| {
            let mut sy = rows.at(b, place.row, float);
            sy.low = input.start(b, sy.low);
            sy.high = input.start(b, sy.high);
            let target = output.start(b, place.row);
            let target = b.add(place.output_base, target);
            b.for_count(ow, |b, x| {
                let sx = columns.at(b, x, float);
                let way = b.mul_const(x, to_i32(output.steps.pixel));
                let target = b.add(target, way);
                b.for_count(channels, |b, c| {
                    let pixel = |b: &mut Builder<'_>, row: Value, column: Value| {
                        let at = b.add(row, column);
                        let at = b.add(place.input_base, at);
                        let at = b.add(at, c);
                        b.load(input.memory, at)
                    };
                    let result = interpolate(b, sy, sx, wide, pixel);
                    let result = match storage {
                        Scalar::F32 => result,
                        Scalar::I16 => round_wide(b, result),
                        _ => round(b, result),
                    };
                    let at = b.add(target, c);
                    b.store(result, output.memory, at);
                });
            });
        });
        Ok(())
    }
}

/// Weighted sum of four pixels, in the reference's order; in 64 bits if `wide`.
fn interpolate(
    b: &mut Builder<'_>,
    y: At,
    x: At,
    wide: bool,
    pixel: impl Fn(&mut Builder<'_>, Value, Value) -> Value,
) -> Value {
    let corners = [
        (y.low, x.low, y.rest, x.rest),
        (y.high, x.low, y.weight, x.rest),
        (y.low, x.high, y.rest, x.weight),
        (y.high, x.high, y.weight, x.weight),
    ];
    let mut sum = None;
    for (row, column, down, across) in corners {
        let value = pixel(b, row, column);
        let value = b.mul(value, down);
        let (value, across) = if wide { (widened(b, value), widened(b, across)) } else { (value, across) };
        let value = b.mul(value, across);
        sum = Some(match sum {
            None => value,
            Some(sum) => b.add(sum, value),
        });
    }
    // There are four corners.
    sum.unwrap_or(y.low)
}

/// [`round`] of sums of int16, which have 36 bits: the part below 1 is cut off towards zero.
fn round_wide(b: &mut Builder<'_>, sum: Value) -> Value {
    let (zero, up, down) = (b.i64(0), b.i64(1 << 19), b.i64(-(1 << 19)));
    let positive = b.cmp(l::Predicate::Gt, sum, zero);
    let half = b.select(positive, up, down);
    let sum = b.add(sum, half);
    let sign = b.shr_const(sum, 63);
    let mask = b.i64((1 << 20) - 1);
    let below = b.value(l::And {}, &[sign, mask], Type::I64);
    let sum = b.add(sum, below);
    let whole = b.shr_const(sum, 20);
    b.value(l::Truncate {}, &[whole], Type::I32)
}

/// From 1/2^20 to integers, to the nearest, ties away from zero.
fn round(b: &mut Builder<'_>, sum: Value) -> Value {
    let (zero, up, down) = (b.i32(0), b.i32(1 << 19), b.i32(-(1 << 19)));
    let positive = b.cmp(l::Predicate::Gt, sum, zero);
    let half = b.select(positive, up, down);
    let sum = b.add(sum, half);
    let unit = b.i32(1 << 20);
    b.value(l::Div {}, &[sum, unit], Type::I32)
}
