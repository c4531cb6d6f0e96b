//! Products of a run of inputs with several output channels: the inner loop of convolutions and linear layers.
//!
//! Two forms: *scalar* loads each input once for a group of channels; *paired* multiplies two 16-bit lanes at a time on
//! cores with the DSP extension. The filter is packed for the form, so that both read it front to back. *Split* is paired for
//! as many inputs of a tap as make fours, and scalar for the rest, so that no number of channels is slow.
//!
//! Weights of 4 and 2 bits have the same forms; see [`super::sub_byte`] for how they are taken apart.

use super::kernel::Kernel;
use super::requantize::widened;
use super::rows::to_i32;
use super::sub_byte::{Fields, Packing};
use mcunet_ir::attr::ResourceRef;
use mcunet_ir::loops::memory::PackLayout;
use mcunet_ir::loops::ops as l;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::{Packed, Scalar};
use mcunet_ir::{Builder, Type, Value};

/// How products are accumulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// One multiplication at a time, inputs shared by four channels.
    Scalar,
    /// Two at a time, in runs of a multiple of four inputs.
    Paired,
    /// Two at a time but for the last one to three of each `depth` inputs, which are at least four.
    Split {
        /// Elements of a tap.
        depth: usize,
    },
}

impl Form {
    /// The form for filters whose taps have `depth` elements of int8 each, on a core with the DSP extension. `has_runs` says
    /// whether several taps may be read as one run; `data`, whether the filter's elements are at hand.
    pub fn of_dsp(depth: usize, has_runs: bool, data: bool) -> Self {
        match depth % 4 {
            0 if has_runs => Form::Paired,
            0 => Form::Scalar,
            _ if depth > 4 && data => Form::Split { depth },
            _ => Form::Scalar,
        }
    }
}

/// A filter of `rows` output channels of `columns` elements, packed, with its bias.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    form: Form,
    weights: Value,
    bias: Value,
    rows: usize,
    columns: usize,
    /// Rows of a group.
    block: usize,
    /// What is subtracted from every input; 0 if it is folded into the bias.
    input_zero_point: i32,
    /// Whether sums may exceed 32 bits, so that they have to wrap.
    wrap: bool,
    numbers: Numbers,
    /// What is left of each tap beside the fours, if there is anything.
    rest: Option<Rest>,
    /// How several weights share a byte, if they do.
    packing: Option<Packing>,
}

/// The last one to three elements of each tap, packed as for the scalar form.
#[derive(Clone, Copy, Debug)]
struct Rest {
    weights: Value,
    /// Elements of a tap.
    depth: usize,
    /// Elements of all taps of an output channel.
    columns: usize,
}

/// What is multiplied and summed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbers {
    /// Floats; the bias comes last, as in the reference.
    Float,
    /// int8 in 32 bits, beginning with the bias.
    Narrow,
    /// int16 times int8, in 32 bits or in 64 if those are too few; the bias, of 64 bits, comes last.
    Wide {
        /// Whether sums need 64 bits.
        long: bool,
    },
}

impl Numbers {
    /// Of a layer's operands; `filter` are its rows, each of `columns` elements, if they are at hand.
    pub fn of(kernel: &Kernel<'_>, filter: Option<&Data>, columns: usize) -> Self {
        match kernel.operand_type(0).storage() {
            Scalar::F32 => Numbers::Float,
            Scalar::I16 => {
                Numbers::Wide { long: !filter.is_some_and(|filter| products_fit(filter, columns)) }
            }
            _ => Numbers::Narrow,
        }
    }

    /// What sums begin with; `None` if it is the bias.
    pub fn zero(self, b: &mut Builder<'_>) -> Option<Value> {
        match self {
            Numbers::Float => Some(b.f32(0.0)),
            Numbers::Wide { long: true } => Some(b.i64(0)),
            Numbers::Wide { long: false } => Some(b.i32(0)),
            Numbers::Narrow => None,
        }
    }

    /// `sum + x * w`; `wrap` lets narrow sums overflow.
    pub fn multiply_add(self, b: &mut Builder<'_>, sum: Value, x: Value, w: Value, wrap: bool) -> Value {
        let product = b.mul(x, w);
        match self {
            Numbers::Wide { long: true } => {
                let product = widened(b, product);
                b.add(sum, product)
            }
            Numbers::Narrow if wrap => b.add_wrap(sum, product),
            _ => b.add(sum, product),
        }
    }
}

/// Whether, for every row, products with int16 inputs sum up to 32 bits: `2^15 sum |w| < 2^31`.
fn products_fit(filter: &Data, columns: usize) -> bool {
    let Some(filter) = filter.to_i64s() else { return false };
    filter.chunks(columns.max(1)).all(|row| row.iter().map(|w| w.abs()).sum::<i64>() < 1 << 16)
}

/// What a filter is made from.
pub struct FilterSource<'s> {
    /// The filter, `rows` times `columns`.
    pub filter: ResourceRef,
    /// One bias per row.
    pub bias: ResourceRef,
    /// Output channels.
    pub rows: usize,
    /// Elements per output channel.
    pub columns: usize,
    /// Zero point of the input.
    pub input_zero_point: i32,
    /// Whether every product is always computed, so that the zero point can be folded into the bias.
    pub foldable: bool,
    /// Values of filter and bias, if they are at hand, to prove that sums fit 32 bits.
    pub data: Option<(&'s Data, &'s Data)>,
    /// How several weights share a byte, if they do.
    pub packing: Option<Packing>,
}

impl FilterSource<'_> {
    /// What no accumulator exceeds in magnitude, if the values are at hand.
    pub fn bound(&self) -> Option<u64> {
        let (filter, bias) = self.data?;
        greatest(filter, bias, self.columns, self.input_zero_point)
    }
}

impl Filter {
    /// Packs a filter for a form.
    pub fn new(kernel: &mut Kernel<'_>, form: Form, block: usize, source: FilterSource<'_>) -> Self {
        let FilterSource { filter, bias, rows, columns, input_zero_point, foldable, data, packing } = source;
        let numbers = Numbers::of(kernel, data.map(|(filter, _)| filter), columns);
        let folds = foldable && input_zero_point != 0;
        let (mut fours, mut packed, mut rest) = (columns, filter.clone(), None);
        if let (Form::Split { depth }, Some((elements, _))) = (form, data) {
            let left = depth % 4;
            fours = columns / depth * (depth - left);
            let part = |first: usize, end: usize| {
                elements.pick((0..elements.len()).filter(|i| (first..end).contains(&(i % depth))))
            };
            let columns = columns - fours;
            let last = kernel.resource(&format!("{}_rest", filter.name), &part(depth - left, depth));
            let weights = kernel.pack(vec![last], interleave(packing, rows, columns, block));
            rest = Some(Rest { weights, depth: left, columns });
            packed = kernel.resource(&format!("{}_fours", filter.name), &part(0, depth - left));
        }
        let layout = match form {
            Form::Scalar => interleave(packing, rows, columns, block),
            Form::Paired | Form::Split { .. } => match packing {
                Some(Packing { bits }) => PackLayout::PackedPaired { bits, rows, columns: fours, block },
                None => PackLayout::Paired { rows, columns: fours, block },
            },
        };
        let weights = kernel.pack(vec![packed], layout);
        let bias = if folds {
            let zero_point = input_zero_point.into();
            kernel.pack(vec![bias, filter], PackLayout::FoldedBias { columns, zero_point })
        } else {
            kernel.pack(vec![bias], PackLayout::Verbatim)
        };
        let wrap = !data.is_some_and(|(filter, bias)| fits(filter, bias, columns));
        let input_zero_point = if folds { 0 } else { input_zero_point };
        Self {
            form,
            weights,
            bias,
            rows,
            columns: fours,
            block,
            input_zero_point,
            wrap,
            numbers,
            rest,
            packing,
        }
    }

    /// What a column of a group of `channels` takes in the packed filter: elements, or bytes that several share.
    fn step(&self, channels: usize) -> i32 {
        to_i32(self.packing.map_or(channels, |packing| packing.bytes(channels)))
    }

    /// By how many bits accumulators are shifted left.
    fn shift(&self) -> i32 {
        match (self.form, self.packing) {
            (Form::Paired | Form::Split { .. }, Some(packing)) => packing.lane_shift(),
            _ => 0,
        }
    }

    /// Calls `body` for every group of output channels with the group's first channel, its offset in the packed
    /// filter, and how many channels it has.
    pub fn for_groups(
        &self,
        b: &mut Builder<'_>,
        body: &mut dyn FnMut(&mut Builder<'_>, Value, Value, usize),
    ) {
        let whole = self.rows / self.block;
        if whole > 0 {
            b.for_count(whole, |b, group| {
                let channel = b.mul_const(group, to_i32(self.block));
                let offset = b.mul_const(group, self.step(self.block) * to_i32(self.columns));
                body(b, channel, offset, self.block);
            });
        }
        let rest = self.rows % self.block;
        if rest > 0 {
            let channel = b.index(whole * self.block);
            let offset = b.i32(to_i32(whole * self.columns) * self.step(self.block));
            body(b, channel, offset, rest);
        }
    }

    /// Accumulators of a group of channels for `pixels` pixels, pixel by pixel: the biases, or zeros where those come last.
    pub fn start(&self, b: &mut Builder<'_>, channel: Value, channels: usize, pixels: usize) -> Vec<Value> {
        let zero = match self.shift() {
            0 => self.numbers.zero(b),
            _ => Some(b.i32(0)),
        };
        if let Some(zero) = zero {
            return vec![zero; channels * pixels];
        }
        let biases: Vec<Value> = (0..channels)
            .map(|i| {
                let at = b.add_const(channel, to_i32(i));
                b.load(self.bias, at)
            })
            .collect();
        (0..pixels).flat_map(|_| biases.clone()).collect()
    }

    /// The sum of an accumulator of a channel: back where it belongs, with the bias, if it was shifted.
    pub fn total(&self, b: &mut Builder<'_>, accumulator: Value, channel: Value) -> Value {
        if self.shift() == 0 {
            return accumulator;
        }
        let sum = b.shr_const(accumulator, self.shift());
        let bias = b.load(self.bias, channel);
        if self.wrap { b.add_wrap(sum, bias) } else { b.add(sum, bias) }
    }

    /// The biases, one per channel.
    pub fn biases(&self) -> Value {
        self.bias
    }

    /// By how much [`Filter::run`]'s column grows from tap to tap of `depth` elements.
    pub fn columns_per_tap(&self, depth: usize) -> usize {
        if self.rest.is_some() { 1 } else { depth }
    }

    /// Adds the products of `length` inputs from each of `inputs` on (one offset per pixel) with the filter from column
    /// `column` of the group at `offset` on, whose first channel is `channel`. The split form runs over a tap at a time, and its
    /// columns count taps.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        b: &mut Builder<'_>,
        input: Value,
        inputs: &[Value],
        channel: Value,
        offset: Value,
        column: Value,
        length: Value,
        channels: usize,
        accumulators: &[Value],
    ) -> Vec<Value> {
        match (self.form, self.rest) {
            (Form::Split { depth }, Some(rest)) => {
                let fours = to_i32(depth - rest.depth);
                let (first, length) = (b.mul_const(column, fours), b.i32(fours));
                let sums = self.run_paired(b, input, inputs, offset, first, length, channels, accumulators);
                let inputs: Vec<Value> = inputs.iter().map(|&start| b.add_const(start, fours)).collect();
                self.run_rest(b, rest, input, &inputs, channel, column, channels, sums)
            }
            (Form::Paired, _) => {
                self.run_paired(b, input, inputs, offset, column, length, channels, accumulators)
            }
            _ => self.run_scalar(b, input, inputs, offset, column, length, channels, accumulators),
        }
    }

    /// The last elements of tap `tap`, one by one.
    #[allow(clippy::too_many_arguments)]
    fn run_rest(
        &self,
        b: &mut Builder<'_>,
        rest: Rest,
        input: Value,
        inputs: &[Value],
        channel: Value,
        tap: Value,
        channels: usize,
        mut sums: Vec<Value>,
    ) -> Vec<Value> {
        let group = b.mul_const(channel, to_i32(rest.columns));
        // Groups are of as many channels as share whole bytes.
        let group = match self.packing {
            Some(packing) => b.shr_const(group, to_i32(packing.per_byte().ilog2() as usize)),
            None => group,
        };
        let skipped = b.mul_const(tap, to_i32(rest.depth) * self.step(channels));
        let first = b.add(group, skipped);
        for i in 0..rest.depth {
            let (i, step) = (b.index(i), to_i32(i) * self.step(channels));
            let first = b.add_const(first, step);
            sums = self.multiply(b, rest.weights, input, inputs, i, first, channels, &sums);
        }
        sums
    }

    #[allow(clippy::too_many_arguments)]
    fn run_scalar(
        &self,
        b: &mut Builder<'_>,
        input: Value,
        inputs: &[Value],
        offset: Value,
        column: Value,
        length: Value,
        channels: usize,
        accumulators: &[Value],
    ) -> Vec<Value> {
        // The last group is interleaved by its own, smaller number of channels.
        let skipped = b.mul_const(column, self.step(channels));
        let weights_start = b.add(offset, skipped);
        let zero = b.i32(0);
        b.for_loop(zero, length, 1, accumulators, |b, i, sums| {
            let step = b.mul_const(i, self.step(channels));
            let first = b.add(weights_start, step);
            self.multiply(b, self.weights, input, inputs, i, first, channels, sums)
        })
    }

    /// Adds the products of the `i`-th input of each pixel with neighbouring weights from `first` on, one per channel.
    #[allow(clippy::too_many_arguments)]
    fn multiply(
        &self,
        b: &mut Builder<'_>,
        weights: Value,
        input: Value,
        inputs: &[Value],
        i: Value,
        first: Value,
        channels: usize,
        sums: &[Value],
    ) -> Vec<Value> {
        let xs: Vec<Value> = inputs.iter().map(|&start| self.centered(b, input, start, i)).collect();
        let mut next = sums.to_vec();
        let mut fields = Fields::new(self.packing, weights, first);
        for c in 0..channels {
            let w = fields.weight(b, c);
            for (p, &x) in xs.iter().enumerate() {
                next[p * channels + c] =
                    self.numbers.multiply_add(b, sums[p * channels + c], x, w, self.wrap);
            }
        }
        next
    }

    fn centered(&self, b: &mut Builder<'_>, input: Value, start: Value, i: Value) -> Value {
        let at = b.add(start, i);
        let x = b.load(input, at);
        if self.numbers == Numbers::Float {
            return x;
        }
        let x = b.add_const(x, -self.input_zero_point);
        if self.shift() == 0 { x } else { b.shl_const(x, self.shift()) }
    }

    /// As [`Filter::run_scalar`] in steps of four inputs. Single products near borders use the same packed words.
    #[allow(clippy::too_many_arguments)]
    fn run_paired(
        &self,
        b: &mut Builder<'_>,
        input: Value,
        inputs: &[Value],
        offset: Value,
        column: Value,
        length: Value,
        channels: usize,
        accumulators: &[Value],
    ) -> Vec<Value> {
        let skipped = b.mul_const(column, self.step(self.block));
        let weights_start = b.add(offset, skipped);
        let zero = b.i32(0);
        let lanes = Type::Packed(Packed::I16x2);
        let base = (self.input_zero_point != 0).then(|| {
            let offset = b.i32(-self.input_zero_point);
            b.splat_lanes(offset)
        });
        // Two copies of the body still have registers for what they share.
        let is_short = b.known_i32(length).is_some_and(|length| length <= 8);
        let make = |b: &mut Builder<'_>, i: Value, sums: &[Value]| {
            let step = b.mul_const(i, self.step(self.block));
            let first = b.add(weights_start, step);
            let xs: Vec<[Value; 2]> = inputs
                .iter()
                .map(|&start| {
                    let at = b.add(start, i);
                    let word = b.load_i8x4(input, at);
                    b.widen_lanes(word, base)
                })
                .collect();
            let mut next = sums.to_vec();
            let mut words = Words { packing: self.packing, weights: self.weights, first, word: None };
            for pair in 0..channels.div_ceil(2) {
                for half in 0..2 {
                    let word = words.word(b, 2 * pair + half);
                    for c in (2 * pair)..(2 * pair + 2).min(channels) {
                        let w = b.value(l::ExtendLanes { odd: c % 2 == 1 }, &[word], lanes.clone());
                        for (p, x) in xs.iter().enumerate() {
                            let sum = &mut next[p * channels + c];
                            *sum = b.value(l::DualMac {}, &[w, x[half], *sum], Type::I32);
                        }
                    }
                }
            }
            next
        };
        match is_short {
            true => b.for_loop(zero, length, 4, accumulators, make),
            false => b.rolled_loop(zero, length, 4, accumulators, make),
        }
    }
}

/// Neighbouring words of four lanes of weights, of which each is asked for after those before it.
struct Words {
    packing: Option<Packing>,
    weights: Value,
    first: Value,
    word: Option<(usize, Value)>,
}

impl Words {
    /// Word number `index`; fields of one word if weights share bytes.
    fn word(&mut self, b: &mut Builder<'_>, index: usize) -> Value {
        let together = self.packing.map_or(1, Packing::per_byte);
        let (number, field) = (index / together, index % together);
        let word = match self.word {
            Some((loaded, word)) if loaded == number => word,
            _ => {
                let at = b.add_const(self.first, to_i32(4 * number));
                b.load_i8x4(self.weights, at)
            }
        };
        self.word = Some((number, word));
        match self.packing {
            // 4 or 2 bits, and fewer fields.
            Some(packing) => b.field_lanes(word, packing.bits as u32, field as u32),
            None => word,
        }
    }
}

/// The layout for the scalar form.
fn interleave(packing: Option<Packing>, rows: usize, columns: usize, block: usize) -> PackLayout {
    match packing {
        Some(Packing { bits }) => PackLayout::PackedInterleave { bits, rows, columns, block },
        None => PackLayout::Interleave { rows, columns, block },
    }
}

/// What the sum of bias and products of no row exceeds in magnitude, for int8 inputs less `zero_point`; nothing if a number
/// is no integer.
pub fn greatest(filter: &Data, bias: &Data, columns: usize, zero_point: i32) -> Option<u64> {
    let (filter, bias) = (filter.to_i64s()?, bias.to_i64s()?);
    let (low, high) = (-128 - i64::from(zero_point), 127 - i64::from(zero_point));
    let sums = filter.chunks(columns.max(1)).zip(&bias).map(|(row, bias)| {
        // One-sided inputs, as those behind a rectifier are, meet weights of both signs.
        let least: i64 = row.iter().map(|&w| (w * low).min(w * high)).sum();
        let most: i64 = row.iter().map(|&w| (w * low).max(w * high)).sum();
        (bias + least).unsigned_abs().max((bias + most).unsigned_abs())
    });
    sums.max()
}

/// Whether, for every row, bias and products stay within 32 bits for every int8 input: `|bias| + 255 sum |w| < 2^31`.
pub fn fits(filter: &Data, bias: &Data, columns: usize) -> bool {
    let (Some(filter), Some(bias)) = (filter.to_i64s(), bias.to_i64s()) else { return false };
    filter.chunks(columns.max(1)).zip(&bias).all(|(row, &bias)| {
        let sum: i64 = row.iter().map(|w| w.abs()).sum();
        // Folding the zero point into the bias adds at most 128 times the sum again.
        bias.abs() + (255 + 128) * sum < 1 << 31
    })
}
