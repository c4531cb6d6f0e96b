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
//! of the interior, are computed by code of their own, since which of their taps lie inside is known; so are all of a
//! short row, together.

use super::conv::Epilogue;
use super::depthwise::RowsUnder;
use super::kernel::Kernel;
use super::requantize::Requantizer;
use super::rows::{ImageRow, RowMap, to_i32};
use super::window::{Interior, Taps};
use mcunet_ir::loops::memory::{PackLayout, tap_pairs, tap_place};
use mcunet_ir::module::{Op, OpKind};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::window::{Window, Windows, four};
use mcunet_ir::types::{Packed, Scalar};
use mcunet_ir::{Builder, Diagnostic, Function, Type, Value};
use std::collections::HashMap;

/// Outputs of the interior that are computed together.
const TOGETHER: usize = 2;

/// Outputs of a row up to which all of them are computed together.
const MAX_ROW: usize = 6;

/// Widest windows.
const MAX_TAPS: usize = 7;

/// Pairs of weights of a channel up to which they are held while its row is computed.
const MAX_HELD: usize = 6;

/// Whether an op is a depthwise convolution that can read planar rows.
pub(super) fn suits(function: &Function, op: Op) -> bool {
    let data = &function.ops[op];
    let OpKind::Nn(NnOp::DepthwiseConv2d(conv)) = &data.kind else { return false };
    let types: Option<Vec<_>> = data.operands.iter().map(|&value| function.ty(value).as_tensor()).collect();
    let Some([input, filter, _]) = types.as_deref() else { return false };
    let (Ok([.., channels]), Ok([_, _, taps, outputs])) = (four(input), four(filter)) else {
        return false;
    };
    let int8 = input.storage() == Scalar::I8 && filter.storage() == Scalar::I8;
    let constant = data.operands[1..].iter().all(|&value| {
        let op = function.defining_op(value);
        op.is_some_and(|op| matches!(function.ops[op].kind, OpKind::Nn(NnOp::Const(_))))
    });
    // A pair of outputs is computed from words of four pixels.
    let spans =
        conv.dilation[1] == 1 && (2..=MAX_TAPS).contains(&taps) && span(taps, conv.stride[1] as usize) >= 4;
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
    /// Which pair of weights of the row, and which of the two a single pixel takes.
    weights: (usize, bool),
}

/// Outputs of a row that are computed together.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Group {
    /// Their positions.
    outputs: Vec<usize>,
    /// Multiplications for a row of the window, of the taps that lie inside.
    products: Vec<Product>,
    /// Words of pixels that have all of them, by their first.
    words: Vec<usize>,
}

impl Group {
    /// The outputs with these positions, by pixels from `origin` on, of which there are `pixels`.
    fn new(window: &Window, outputs: Vec<usize>, origin: usize, pixels: usize) -> Self {
        let of_output = |(output, &position): (usize, &usize)| products(window, output, position, origin);
        let products: Vec<Product> = outputs.iter().enumerate().flat_map(of_output).collect();
        let words = cover(&products, pixels);
        Self { outputs, products, words }
    }
}

/// The multiplications of a row of the window of output `position`.
fn products(window: &Window, output: usize, position: usize, origin: usize) -> Vec<Product> {
    let (inside, start) = window.taps_inside(position);
    // Taps inside have positions inside.
    let pixel = |tap: usize| (start + tap as isize - origin as isize).max(0) as usize;
    let product = |tap: usize| {
        let (pair, second) = tap_place(tap);
        let is_inside = |other: Option<usize>| other.is_some_and(|other| inside.contains(&other));
        let partner = tap_place(tap + 2) == (pair, true) && is_inside(Some(tap + 2));
        match second {
            // It comes with the first of its pair.
            true if is_inside(tap.checked_sub(2)) => None,
            false if partner => Some((Pixels::Pair(pixel(tap)), (pair, false))),
            _ => Some((Pixels::Single(pixel(tap)), (pair, second))),
        }
    };
    let products = inside.clone().filter_map(product);
    products.map(|(pixels, weights)| Product { output, pixels, weights }).collect()
}

/// The fewest words among `pixels`, by their first pixels, that have all that products take; of those the first in order.
fn cover(products: &[Product], pixels: usize) -> Vec<usize> {
    let reach = products.iter().map(|product| match product.pixels {
        Pixels::Pair(first) => (first, first + 2),
        Pixels::Single(pixel) => (pixel, pixel),
    });
    let (lowest, highest) = reach.fold((usize::MAX, 0), |(low, high), (a, b)| (low.min(a), high.max(b)));
    let first = lowest.saturating_sub(3);
    let end = pixels.saturating_sub(3).min(highest + 1);
    let places = end.saturating_sub(first).min(16);
    let words =
        |set: u32| (0..places).filter(move |&place| set >> place & 1 == 1).map(move |place| first + place);
    let covers =
        |set: &u32| products.iter().all(|product| words(*set).any(|word| product.pixels.is_in(word)));
    let best = (0..1u32 << places).filter(covers).min_by_key(|set| (set.count_ones(), *set));
    best.map_or_else(Vec::new, |set| words(set).collect())
}

/// How the outputs of a row are computed: what of the interior goes in a loop, and groups of the others.
fn groups(window: &Window) -> (Option<(usize, usize, Group)>, Vec<Group>) {
    let interior = Interior::of(window);
    let bulk = (interior.end - interior.first) / TOGETHER * TOGETHER;
    if interior.outputs <= MAX_ROW || bulk == 0 {
        let outputs: Vec<usize> = (0..interior.outputs).collect();
        let groups =
            outputs.chunks(MAX_ROW).map(|outputs| Group::new(window, outputs.to_vec(), 0, window.input));
        return (None, groups.collect());
    }
    let (first, end) = (interior.first, interior.first + bulk);
    let origin = first * window.stride - window.before;
    let group =
        Group::new(window, (first..first + TOGETHER).collect(), origin, span(window.taps, window.stride));
    let borders = [0..first, end..interior.outputs].into_iter().filter(|outputs| !outputs.is_empty());
    let rest = borders.map(|outputs| Group::new(window, outputs.collect(), 0, window.input));
    (Some((first, end, group)), rest.collect())
}

/// A depthwise convolution of planar rows.
pub(super) struct Planar {
    windows: Windows,
    channels: usize,
    input: RowMap,
    output: RowMap,
    weights: Value,
    pitch: usize,
    bias: Value,
    zero_point: i32,
    requantizer: Requantizer,
    /// The interior, as far as it is computed in a loop: first output, end, and the first group.
    bulk: Option<(usize, usize, Group)>,
    /// The other outputs.
    rest: Vec<Group>,
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
        bias: Value,
        epilogue: &Epilogue,
    ) -> Result<Self, Diagnostic> {
        let Epilogue::Quantized(requantizer) = epilogue else {
            return Err(kernel.error("expected int8 for an image with planar rows, got others"));
        };
        let filter = kernel.expect_constant(1, "filter")?;
        let (rows, columns) = (windows.y.taps, windows.x.taps);
        let (bulk, rest) = groups(&windows.x);
        // Words that straddle others take longer to load: once for a row of a channel is fine, again and again is not, nor
        // where all else is issued in pairs.
        let features = kernel.features();
        let is_dense = !features.unroll || (bulk.is_none() && !features.issues_two);
        let pitch = if is_dense { columns } else { columns.next_multiple_of(4) };
        let layout = PackLayout::DepthwiseWords { rows, columns, channels, pitch };
        let weights = kernel.pack(vec![filter], layout);
        Ok(Self {
            windows,
            channels,
            input: kernel.source(0),
            output: kernel.target(0),
            weights,
            pitch,
            bias,
            zero_point: kernel.operand_type(0).affine().map_or(0, |affine| affine.zero_point),
            requantizer: *requantizer,
            bulk,
            rest,
        })
    }

    /// Pairs of weights of a channel.
    fn pairs(&self) -> usize {
        self.windows.y.taps * tap_pairs(self.windows.x.taps)
    }

    /// From a row of a channel's weights to the next.
    fn row_bytes(&self) -> i32 {
        to_i32(self.pitch)
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
            let weights = b.mul_const(channel, to_i32(self.windows.y.taps) * self.row_bytes());
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
        if let Some((first, end, group)) = &self.bulk {
            let (lower, upper) = (b.index(*first), b.index(*end));
            b.rolled_loop(lower, upper, TOGETHER as u32, &[], |b, x, _| {
                let origin = Taps::all(b, &self.windows.x, x).start;
                let sums = self.sum(b, lane, origin, group);
                for (output, &sum) in sums.iter().enumerate() {
                    let x = b.add_const(x, to_i32(output));
                    self.store(b, lane, sum, x);
                }
                Vec::new()
            });
        }
        let origin = b.i32(0);
        for group in &self.rest {
            let sums = match self.windows.x.input >= 4 {
                true => self.sum(b, lane, origin, group),
                false => group.outputs.iter().map(|&x| self.sum_bytes(b, lane, x)).collect(),
            };
            for (&x, &sum) in group.outputs.iter().zip(&sums) {
                let x = b.index(x);
                self.store(b, lane, sum, x);
            }
        }
    }

    /// The pairs of row `row` of the weights at `weights`.
    fn row_of_weights(&self, b: &mut Builder<'_>, weights: Value, row: usize) -> Vec<Value> {
        let lanes = Type::Packed(Packed::I16x2);
        let mut pairs = Vec::new();
        let mut word = None;
        for pair in 0..tap_pairs(self.windows.x.taps) {
            let odd = pair % 2 == 1;
            let four = match word {
                Some(four) if odd => four,
                _ => {
                    let at = b.add_const(weights, to_i32(row) * self.row_bytes() + to_i32(2 * pair));
                    b.load_i8x4(self.weights, at)
                }
            };
            word = Some(four);
            pairs.push(b.value(mcunet_ir::loops::ops::ExtendLanes { odd }, &[four], lanes.clone()));
        }
        pairs
    }

    /// Runs `add` for every row under the window; it gets the row's offset, the tap, and the sums so far.
    fn over_rows(
        &self,
        b: &mut Builder<'_>,
        lane: &Lane<'_>,
        start: &[Value],
        add: &mut AddRow<'_>,
    ) -> Vec<Value> {
        match lane.rows {
            RowsUnder::All(rows) => rows.iter().enumerate().fold(start.to_vec(), |sums, (ky, &row)| {
                let row = b.add(row, lane.input);
                add(b, row, Tap::Known(ky), &sums)
            }),
            // Borders are few rows: copies of the body would cost more flash than they save cycles.
            RowsUnder::Some(taps) => b.rolled_loop(taps.first, taps.end, 1, start, |b, ky, sums| {
                let row = self.input.start_under(b, &self.windows.y, *taps, ky);
                let row = b.add(row, lane.input);
                add(b, row, Tap::Counted(ky), sums)
            }),
        }
    }

    /// Offset of a row of a channel's weights.
    fn weights_of(&self, b: &mut Builder<'_>, lane: &Lane<'_>, tap: Tap) -> Value {
        let skipped = match tap {
            Tap::Known(tap) => b.i32(to_i32(tap) * self.row_bytes()),
            Tap::Counted(tap) => b.mul_const(tap, self.row_bytes()),
        };
        b.add(lane.weights, skipped)
    }

    /// Sums of a group whose pixels are counted from `origin`.
    fn sum(&self, b: &mut Builder<'_>, lane: &Lane<'_>, origin: Value, group: &Group) -> Vec<Value> {
        let start = vec![lane.bias; group.outputs.len()];
        self.over_rows(b, lane, &start, &mut |b, row, tap, sums| {
            let at = b.add(row, origin);
            let weights = match (&lane.held, tap) {
                (Some(held), Tap::Known(tap)) => held[tap].clone(),
                _ => {
                    let weights = self.weights_of(b, lane, tap);
                    self.row_of_weights(b, weights, 0)
                }
            };
            self.add_row(b, lane, at, &weights, group, sums)
        })
    }

    /// Adds the products of a row of the windows, whose pixels begin at `at`.
    fn add_row(
        &self,
        b: &mut Builder<'_>,
        lane: &Lane<'_>,
        at: Value,
        weights: &[Value],
        group: &Group,
        sums: &[Value],
    ) -> Vec<Value> {
        let lanes = Type::Packed(Packed::I16x2);
        let loaded: Vec<Value> = group
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
        for product in &group.products {
            let Some(word) = group.words.iter().position(|&word| product.pixels.is_in(word)) else {
                continue;
            };
            let (pair, second) = product.weights;
            let (weights, sum) = (weights[pair], sums[product.output]);
            sums[product.output] = match product.pixels {
                Pixels::Pair(first) => {
                    let pair = half(b, word, first > group.words[word]);
                    b.dual_mac(pair, weights, sum)
                }
                Pixels::Single(pixel) => {
                    let distance = pixel - group.words[word];
                    let pair = half(b, word, distance % 2 == 1);
                    b.half_mac((pair, distance >= 2), (weights, second), sum)
                }
            };
        }
        sums
    }

    /// The sum of output `x` of a row that is shorter than a word, tap by tap.
    fn sum_bytes(&self, b: &mut Builder<'_>, lane: &Lane<'_>, x: usize) -> Value {
        let (taps, start) = self.windows.x.taps_inside(x);
        let sums = self.over_rows(b, lane, &[lane.bias], &mut |b, row, tap, sums| {
            let weights = self.weights_of(b, lane, tap);
            let mut sum = sums[0];
            for tap in taps.clone() {
                // Taps inside have positions inside.
                let at = b.add_const(row, i32::try_from(start + tap as isize).unwrap_or(i32::MAX));
                let pixel = b.load(self.input.memory, at);
                let pixel = b.add_const(pixel, -self.zero_point);
                let weight = b.add_const(weights, to_i32(tap));
                let weight = b.load(self.weights, weight);
                let product = b.mul(pixel, weight);
                sum = b.add_wrap(sum, product);
            }
            vec![sum]
        });
        sums[0]
    }

    fn store(&self, b: &mut Builder<'_>, lane: &Lane<'_>, sum: Value, x: Value) {
        let stored = self.requantizer.apply_loaded(b, sum, lane.requantization);
        let pixel = b.mul_const(x, to_i32(self.output.steps.pixel));
        let at = b.add(lane.output, pixel);
        b.store(stored, self.output.memory, at);
    }
}

/// Adds a row under the window to sums: its offset, which row of the window it is, and the sums so far.
type AddRow<'a> = dyn FnMut(&mut Builder<'_>, Value, Tap, &[Value]) -> Vec<Value> + 'a;

/// A row of the window.
#[derive(Clone, Copy, Debug)]
enum Tap {
    Known(usize),
    Counted(Value),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(input: usize, taps: usize, stride: usize, before: usize, after: usize) -> Window {
        Window { input, taps, stride, dilation: 1, before, after }
    }

    #[test]
    fn the_interior_loads_the_fewest_words() {
        // 3 taps next to each other: one word of four pixels; 5: two; 7: three.
        for (taps, stride, expected) in [
            (3, 1, vec![0]),
            (5, 1, vec![0, 2]),
            (7, 1, vec![0, 1, 4]),
            (3, 2, vec![0, 1]),
            (5, 2, vec![0, 1, 3]),
            (4, 1, vec![0, 1]),
        ] {
            let (bulk, _) = groups(&window(40, taps, stride, 0, 0));
            let (_, _, group) = bulk.expect("an interior");
            assert_eq!(group.words, expected, "{taps} taps, stride {stride}");
        }
    }

    /// Every tap inside is multiplied once with its own pixel, and words lie inside of the row.
    #[test]
    fn every_tap_is_taken_once() {
        for input in 4..20 {
            for (taps, stride) in (2..=MAX_TAPS).flat_map(|taps| (1..=3).map(move |stride| (taps, stride))) {
                for (before, after) in [(0, 0), (taps / 2, taps / 2), (0, taps - 1), (taps - 1, 0)] {
                    let window = window(input, taps, stride, before, after);
                    if window.outputs().is_err() || span(taps, stride) < 4 {
                        continue;
                    }
                    let (bulk, rest) = groups(&window);
                    let looped = bulk.iter().flat_map(|(first, end, group)| {
                        let loops = (*first..*end).step_by(TOGETHER);
                        loops.map(move |x| (x * stride - before, (x..x + TOGETHER).collect(), group))
                    });
                    let others = rest.iter().map(|group| (0, group.outputs.clone(), group));
                    let mut outputs: Vec<usize> = Vec::new();
                    for (origin, positions, group) in looped.chain(others) {
                        check(&window, origin, &positions, group);
                        outputs.extend(positions);
                    }
                    outputs.sort_unstable();
                    assert_eq!(outputs, (0..window.outputs().expect("outputs")).collect::<Vec<_>>());
                }
            }
        }
    }

    fn check(window: &Window, origin: usize, positions: &[usize], group: &Group) {
        assert!(group.words.iter().all(|word| origin + word + 4 <= window.input), "{window:?} {group:?}");
        let mut taken = Vec::new();
        for product in &group.products {
            assert!(group.words.iter().any(|&word| product.pixels.is_in(word)), "{window:?} {group:?}");
            let (_, start) = window.taps_inside(positions[product.output]);
            let (pair, second) = product.weights;
            let taps: Vec<usize> = (0..window.taps).filter(|&tap| tap_place(tap).0 == pair).collect();
            let pixels = match product.pixels {
                Pixels::Pair(first) => vec![(first, taps[0]), (first + 2, taps[1])],
                Pixels::Single(pixel) => vec![(pixel, taps[usize::from(second)])],
            };
            for (pixel, tap) in pixels {
                assert_eq!((origin + pixel) as isize, start + tap as isize, "{window:?} {group:?}");
                taken.push((product.output, tap));
            }
        }
        taken.sort_unstable();
        let inside = positions.iter().enumerate();
        let inside = inside.flat_map(|(output, &x)| window.taps_inside(x).0.map(move |tap| (output, tap)));
        assert_eq!(taken, inside.collect::<Vec<_>>(), "{window:?} {group:?}");
    }
}
