//! Depthwise convolution of an image with planar rows, on cores with the DSP extension.
//!
//! Channel by channel, two neighbouring outputs at a time. A word holds four neighbouring pixels `x0 x1 x2 x3`; extending
//! its even and its odd bytes gives the pairs `x0 x2` and `x1 x3`, and each takes two taps in one multiplication. For
//! 3 taps and stride 1 that is, per row of the window, one load, two extensions and four multiplications for six products:
//!
//! ```text
//! y0 += (x0 x2) . (w0 w2) + x1 * w1
//! y1 += (x1 x3) . (w0 w2) + x2 * w1
//! ```
//!
//! Other sizes and strides load the fewest words that have all pairs and single pixels ([`cover`]). No load goes beyond the
//! pixels under the two windows, so that nothing is read outside of a row. Outputs at the borders, and one that is left
//! of the interior, are computed tap by tap: which taps lie inside is known for each of them.

use super::conv::Epilogue;
use super::depthwise::RowsUnder;
use super::kernel::Kernel;
use super::requantize::Requantizer;
use super::rows::{ImageRow, RowMap, to_i32};
use super::window::{Interior, Taps};
use mcunet_ir::loops::memory::{PackLayout, tap_pairs, tap_place};
use mcunet_ir::module::{Op, OpKind};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::window::{Windows, four};
use mcunet_ir::types::{Packed, Scalar};
use mcunet_ir::{Builder, Diagnostic, Function, Type, Value};
use std::collections::HashMap;

/// Outputs that are computed together.
const TOGETHER: usize = 2;

/// Widest windows.
const MAX_TAPS: usize = 7;

/// Words of weights of a channel up to which they are held while its row is computed.
const MAX_HELD: usize = 6;

/// Whether an op is a depthwise convolution that can read planar rows.
pub(super) fn suits(function: &Function, op: Op) -> bool {
    let data = &function.ops[op];
    let OpKind::Nn(NnOp::DepthwiseConv2d(conv)) = &data.kind else { return false };
    let types: Option<Vec<_>> = data.operands.iter().map(|&value| function.ty(value).as_tensor()).collect();
    let Some([input, filter, _]) = types.as_deref() else { return false };
    let (Ok([_, _, width, channels]), Ok([_, _, taps, outputs])) = (four(input), four(filter)) else {
        return false;
    };
    let int8 = input.storage() == Scalar::I8 && filter.storage() == Scalar::I8;
    let constant = data.operands[1..].iter().all(|&value| {
        let op = function.defining_op(value);
        op.is_some_and(|op| matches!(function.ops[op].kind, OpKind::Nn(NnOp::Const(_))))
    });
    let span = span(taps, conv.stride[1] as usize);
    let spans = conv.dilation[1] == 1 && (2..=MAX_TAPS).contains(&taps) && (4..=width.max(4)).contains(&span);
    int8 && constant && outputs == channels && spans
}

/// Pixels under the windows of outputs that are computed together.
fn span(taps: usize, stride: usize) -> usize {
    (TOGETHER - 1) * stride + taps
}

/// What a multiplication takes from the pixels under the windows, by position from the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pixels {
    /// A pixel and the one after the next.
    Pair(usize),
    Single(usize),
}

impl Pixels {
    /// Whether the word of four pixels from `word` on has them.
    fn is_in(self, word: usize) -> bool {
        match self {
            Pixels::Pair(first) => first == word || first == word + 1,
            Pixels::Single(pixel) => (word..word + 4).contains(&pixel),
        }
    }
}

/// A multiplication of a row of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Product {
    /// Which of the outputs it counts for.
    output: usize,
    pixels: Pixels,
    /// Which pair of weights of the row; a single pixel takes the first of it.
    weights: usize,
}

/// The multiplications of a row of `taps`, for outputs `stride` apart.
fn products(taps: usize, stride: usize) -> Vec<Product> {
    let mut products = Vec::new();
    for output in 0..TOGETHER {
        for tap in (0..taps).filter(|&tap| !tap_place(tap).1) {
            let first = output * stride + tap;
            let paired = tap + 2 < taps && tap_place(tap + 2) == (tap_place(tap).0, true);
            let pixels = if paired { Pixels::Pair(first) } else { Pixels::Single(first) };
            products.push(Product { output, pixels, weights: tap_place(tap).0 });
        }
    }
    products
}

/// The fewest words, by their first pixels, that have all that products take; of those the first in order.
fn cover(products: &[Product], span: usize) -> Vec<usize> {
    let places = span.saturating_sub(3);
    let words = |set: u32| (0..places).filter(move |&word| set >> word & 1 == 1);
    let covers =
        |set: &u32| products.iter().all(|product| words(*set).any(|word| product.pixels.is_in(word)));
    let best = (0..1u32 << places).filter(covers).min_by_key(|set| (set.count_ones(), *set));
    best.map_or_else(Vec::new, |set| words(set).collect())
}

/// A depthwise convolution of planar rows.
pub(super) struct Planar {
    windows: Windows,
    channels: usize,
    input: RowMap,
    output: RowMap,
    weights: Value,
    bias: Value,
    zero_point: i32,
    requantizer: Requantizer,
    products: Vec<Product>,
    words: Vec<usize>,
}

/// What is the same for a row of a channel.
struct Lane<'l> {
    rows: &'l RowsUnder,
    /// Offset of the channel in a row of the input.
    input: Value,
    /// Offset of the channel's weights.
    weights: Value,
    /// The weights themselves, row by row, if they are held.
    held: Option<Vec<Vec<Value>>>,
    bias: Value,
    requantization: super::requantize::Loaded,
    /// Offset of the channel in the row of the output.
    output: Value,
    zero: Option<Value>,
}

impl Planar {
    /// The form for a kernel whose operand has planar rows.
    pub(super) fn new(
        kernel: &mut Kernel<'_>,
        windows: Windows,
        channels: usize,
        epilogue: &Epilogue,
    ) -> Result<Self, Diagnostic> {
        let Epilogue::Quantized(requantizer) = epilogue else {
            return Err(kernel.error("expected int8 for an image with planar rows, got floats"));
        };
        let filter = kernel.expect_constant(1, "filter")?;
        let bias = kernel.expect_constant(2, "bias")?;
        let (rows, columns) = (windows.y.taps, windows.x.taps);
        let weights = kernel.pack(vec![filter], PackLayout::DepthwisePairs { rows, columns, channels });
        let bias = kernel.pack(vec![bias], PackLayout::Verbatim);
        let products = products(columns, windows.x.stride);
        let words = cover(&products, span(columns, windows.x.stride));
        Ok(Self {
            windows,
            channels,
            input: kernel.source(0),
            output: kernel.target(0),
            weights,
            bias,
            zero_point: kernel.operand_type(0).affine().map_or(0, |affine| affine.zero_point),
            requantizer: *requantizer,
            products,
            words,
        })
    }

    /// Pairs of weights of a channel.
    fn pairs(&self) -> usize {
        self.windows.y.taps * tap_pairs(self.windows.x.taps)
    }

    /// Emits a row of the result.
    pub(super) fn emit_row(&self, b: &mut Builder<'_>, rows: &RowsUnder, place: ImageRow) {
        let row_start = self.output.start(b, place.row);
        let row_start = b.add(place.output_base, row_start);
        let zero = (self.zero_point != 0).then(|| {
            let offset = b.i32(-self.zero_point);
            b.splat_lanes(offset)
        });
        b.for_count(self.channels, |b, channel| {
            let input = b.mul_const(channel, to_i32(self.input.steps.channel));
            let input = b.add(place.input_base, input);
            let output = b.mul_const(channel, to_i32(self.output.steps.channel));
            let output = b.add(row_start, output);
            let weights = b.mul_const(channel, to_i32(2 * self.pairs()));
            let bias = b.load(self.bias, channel);
            let requantization = self.requantizer.load(b, channel);
            let held = (self.pairs() <= MAX_HELD).then(|| {
                let row = |b: &mut Builder<'_>, row: usize| self.row_of_weights(b, weights, row);
                (0..self.windows.y.taps).map(|ky| row(b, ky)).collect()
            });
            let lane = Lane { rows, input, weights, held, bias, requantization, output, zero };
            self.emit_lane(b, &lane);
        });
    }

    /// The row of a channel.
    fn emit_lane(&self, b: &mut Builder<'_>, lane: &Lane<'_>) {
        let interior = Interior::of(&self.windows.x);
        let bulk = (interior.end - interior.first) / TOGETHER * TOGETHER;
        if bulk > 0 {
            let (lower, upper) = (b.index(interior.first), b.index(interior.first + bulk));
            b.for_loop(lower, upper, TOGETHER as u32, &[], |b, x, _| {
                self.emit_interior(b, lane, x);
                Vec::new()
            });
        }
        for x in (0..interior.first).chain(interior.first + bulk..interior.outputs) {
            self.emit_single(b, lane, x);
        }
    }

    fn row_of_weights(&self, b: &mut Builder<'_>, weights: Value, row: usize) -> Vec<Value> {
        let pairs = tap_pairs(self.windows.x.taps);
        let pair = |b: &mut Builder<'_>, pair: usize| {
            let at = b.add_const(weights, to_i32(2 * (row * pairs + pair)));
            self.pair_of_weights(b, at)
        };
        (0..pairs).map(|i| pair(b, i)).collect()
    }

    fn pair_of_weights(&self, b: &mut Builder<'_>, at: Value) -> Value {
        b.value(mcunet_ir::loops::ops::LoadI16x2 {}, &[self.weights, at], Type::Packed(Packed::I16x2))
    }

    /// Runs `add` for every row under the window; it gets the row's offset, the tap, and the sums so far.
    fn over_rows(
        &self,
        b: &mut Builder<'_>,
        lane: &Lane<'_>,
        start: &[Value],
        add: &mut dyn FnMut(&mut Builder<'_>, Value, Tap, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        match lane.rows {
            RowsUnder::All(rows) => rows.iter().enumerate().fold(start.to_vec(), |sums, (ky, &row)| {
                let row = b.add(row, lane.input);
                add(b, row, Tap::Known(ky), &sums)
            }),
            RowsUnder::Some(taps) => b.for_loop(taps.first, taps.end, 1, start, |b, ky, sums| {
                let row = self.input.start_under(b, &self.windows.y, *taps, ky);
                let row = b.add(row, lane.input);
                add(b, row, Tap::Counted(ky), sums)
            }),
        }
    }

    /// Offset of a row of a channel's weights.
    fn weights_of(&self, b: &mut Builder<'_>, lane: &Lane<'_>, tap: Tap) -> Value {
        let row = 2 * to_i32(tap_pairs(self.windows.x.taps));
        let skipped = match tap {
            Tap::Known(tap) => b.i32(to_i32(tap) * row),
            Tap::Counted(tap) => b.mul_const(tap, row),
        };
        b.add(lane.weights, skipped)
    }

    /// Neighbouring outputs from `x` on, all of whose windows lie inside.
    fn emit_interior(&self, b: &mut Builder<'_>, lane: &Lane<'_>, x: Value) {
        let window = &self.windows.x;
        let first = Taps::all(b, window, x).start;
        let sums = self.over_rows(b, lane, &[lane.bias; TOGETHER], &mut |b, row, tap, sums| {
            let at = b.add(row, first);
            let weights = match (&lane.held, tap) {
                (Some(held), Tap::Known(tap)) => held[tap].clone(),
                _ => {
                    let weights = self.weights_of(b, lane, tap);
                    self.row_of_weights(b, weights, 0)
                }
            };
            self.add_row(b, lane, at, &weights, sums)
        });
        for (output, &sum) in sums.iter().enumerate() {
            let x = b.add_const(x, to_i32(output));
            self.store(b, lane, sum, x);
        }
    }

    /// Adds the products of a row of the windows, whose pixels begin at `at`.
    fn add_row(
        &self,
        b: &mut Builder<'_>,
        lane: &Lane<'_>,
        at: Value,
        weights: &[Value],
        sums: &[Value],
    ) -> Vec<Value> {
        let lanes = Type::Packed(Packed::I16x2);
        let loaded: Vec<Value> = self
            .words
            .iter()
            .map(|&word| {
                let at = b.add_const(at, to_i32(word));
                b.load_i8x4(self.input.memory, at)
            })
            .collect();
        let mut extended: HashMap<(usize, bool), Value> = HashMap::new();
        let mut half = |b: &mut Builder<'_>, word: usize, odd: bool| {
            *extended.entry((word, odd)).or_insert_with(|| {
                let value = loaded[word];
                match lane.zero {
                    Some(base) => {
                        let kind = mcunet_ir::loops::ops::ExtendAddLanes { odd };
                        b.value(kind, &[base, value], lanes.clone())
                    }
                    None => b.value(mcunet_ir::loops::ops::ExtendLanes { odd }, &[value], lanes.clone()),
                }
            })
        };
        let mut sums = sums.to_vec();
        for product in &self.products {
            let Some(word) = self.words.iter().position(|&word| product.pixels.is_in(word)) else { continue };
            let (weights, sum) = (weights[product.weights], sums[product.output]);
            sums[product.output] = match product.pixels {
                Pixels::Pair(first) => {
                    let pair = half(b, word, first > self.words[word]);
                    b.dual_mac(pair, weights, sum)
                }
                Pixels::Single(pixel) => {
                    let distance = pixel - self.words[word];
                    let pair = half(b, word, distance % 2 == 1);
                    b.half_mac(pair, distance >= 2, weights, sum)
                }
            };
        }
        sums
    }

    /// Output `x`, from the taps of its window that lie inside.
    fn emit_single(&self, b: &mut Builder<'_>, lane: &Lane<'_>, x: usize) {
        let (taps, start) = self.windows.x.taps_inside(x);
        let sums = self.over_rows(b, lane, &[lane.bias], &mut |b, row, tap, sums| {
            let weights = self.weights_of(b, lane, tap);
            let mut sum = sums[0];
            for tap in taps.clone() {
                // Taps inside have positions inside.
                let at = b.add_const(row, i32::try_from(start + tap as isize).unwrap_or(i32::MAX));
                let pixel = b.load(self.input.memory, at);
                let pixel = b.add_const(pixel, -self.zero_point);
                let (pair, second) = tap_place(tap);
                let weight = b.add_const(weights, to_i32(2 * pair + usize::from(second)));
                let weight = b.load(self.weights, weight);
                let product = b.mul(pixel, weight);
                sum = b.add_wrap(sum, product);
            }
            vec![sum]
        });
        let x = b.index(x);
        self.store(b, lane, sums[0], x);
    }

    fn store(&self, b: &mut Builder<'_>, lane: &Lane<'_>, sum: Value, x: Value) {
        let stored = self.requantizer.apply_loaded(b, sum, lane.requantization);
        let pixel = b.mul_const(x, to_i32(self.output.steps.pixel));
        let at = b.add(lane.output, pixel);
        b.store(stored, self.output.memory, at);
    }
}

/// A row of the window.
#[derive(Clone, Copy, Debug)]
enum Tap {
    Known(usize),
    Counted(Value),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cover_what_products_take() {
        // 3 taps next to each other: one word of four pixels; 5: two; 7: three.
        for (taps, stride, expected) in [
            (3, 1, vec![0]),
            (5, 1, vec![0, 2]),
            (7, 1, vec![0, 2, 4]),
            (3, 2, vec![0, 1]),
            (5, 2, vec![0, 2, 3]),
            (4, 1, vec![0, 1]),
        ] {
            let products = products(taps, stride);
            let words = cover(&products, span(taps, stride));
            assert_eq!(words, expected, "{taps} taps, stride {stride}");
            assert!(words.iter().all(|word| word + 4 <= span(taps, stride)));
        }
    }

    #[test]
    fn every_tap_is_taken_once() {
        for taps in 2..=MAX_TAPS {
            for stride in 1..=3 {
                let mut taken = vec![vec![0; taps]; TOGETHER];
                for product in products(taps, stride) {
                    let positions = match product.pixels {
                        Pixels::Pair(first) => vec![first, first + 2],
                        Pixels::Single(pixel) => vec![pixel],
                    };
                    for position in positions {
                        taken[product.output][position - product.output * stride] += 1;
                    }
                }
                assert!(taken.iter().flatten().all(|&times| times == 1), "{taps} taps: {taken:?}");
            }
        }
    }
}
