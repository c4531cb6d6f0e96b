//! Sums of products over all input channels: what convolutions, transposed convolutions and fully connected layers
//! share.
//!
//! The unit of work is a *run*: neighbouring input elements times as many neighbouring elements of each of up to four
//! filter rows (output channels), one accumulator each, so that every input element is loaded once for four channels.
//! The filter is packed so that a group of rows is read in one pass. Cores with the DSP extension take four elements of
//! the run at a time, widened to 16 bits (SXTB16), and multiply pairs (SMLAD); an input zero point that can't be folded
//! into the bias is subtracted while widening (SXTAB16), which costs nothing.
//! Source: L. Lai et al., *CMSIS-NN*, arXiv 1801.06601, section 3, for widening and pairs.

use super::accumulator::{
    self, FILTER, FilterOrder, Finish, INPUT, Start, ZeroPoints, can_fold, may_overflow, start,
};
use super::kernel::Kernel;
use super::window::constant;
use mcunet_ir::attr::Clamp;
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::loops::memory::PackLayout;
use mcunet_ir::loops::ops as l;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, TensorType, Type, Value};

/// Output channels that are computed together: as many accumulators as leave registers for the rest.
const BLOCK: usize = 4;
/// Elements that are loaded at once on cores with the DSP extension.
const LANES: usize = 4;
/// Runs up to this many elements are written out instead of looped over.
const UNROLL: usize = 4;

/// What the ops that are made of runs differ in.
pub(crate) struct DenseShape {
    /// Output channels.
    pub rows: usize,
    /// Filter elements per output channel.
    pub columns: usize,
    /// Groups of channels, each with inputs of its own.
    pub groups: usize,
    /// Elements of the longest run.
    pub run: usize,
    /// Every run starts at a column that is a multiple of [`LANES`] and is a multiple of that long.
    pub aligned: bool,
    /// Every output sees all columns, so that the zero point can be folded into the bias.
    pub whole: bool,
    /// The filter's zero point counts.
    pub filter_zero_point: bool,
}

/// Number of elements of a run.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    Constant(usize),
    Value(Value),
}

/// The arithmetic of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One element at a time, integers or floats.
    Scalar,
    /// Four int8 elements at a time, by pairs.
    Dual,
}

/// Where element `(row, column)` of a group of filter rows is: `column * column_stride + row * row_stride` from the
/// group's start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrangement {
    /// As in the model: a row's elements are neighbours.
    Rows,
    /// `PackLayout::Interleave`.
    Elements,
    /// `PackLayout::InterleaveRuns` with [`LANES`]; columns are multiples of that.
    Lanes,
}

/// A group of filter rows at work.
#[derive(Clone, Copy)]
pub(crate) struct Group {
    /// First output channel.
    pub first: Value,
    rows: usize,
    base: Value,
}

/// Sums of products of an op.
pub(crate) struct Dense {
    input: Value,
    filter: Value,
    form: Form,
    arrangement: Arrangement,
    aligned: bool,
    /// What is left to subtract from the factors.
    zero_points: ZeroPoints,
    /// The input's zero point, negated, in both lanes.
    negated_lanes: Option<Value>,
    wraps: bool,
    rows_per_group: usize,
    columns: usize,
    block: usize,
    start: Start,
    finish: Finish,
    output: Value,
}

impl Dense {
    /// Decides the form of an op's sums and packs its filter.
    ///
    /// # Errors
    /// If the multipliers can't be represented.
    pub fn new(
        kernel: &mut Kernel<'_>,
        shape: &DenseShape,
        multipliers: impl FnOnce(&TensorType, &TensorType, &TensorType) -> Option<Vec<QuantizedMultiplier>>,
        clamp: Clamp,
    ) -> Result<Self, Diagnostic> {
        let zero_points = accumulator::zero_points(kernel, shape.filter_zero_point);
        let is_int = kernel.operand_type(INPUT).storage() == Scalar::I8;
        let folds =
            shape.whole && zero_points.filter == 0 && zero_points.input != 0 && is_int && can_fold(kernel);
        let order = FilterOrder::ChannelMajor;
        let wraps = is_int && may_overflow(kernel, order, zero_points);
        let start = start(kernel, order, folds.then_some(zero_points.input));
        let left = ZeroPoints { input: if folds { 0 } else { zero_points.input }, ..zero_points };

        let is_dual = kernel.features().dsp && is_int && left.filter == 0 && shape.run >= LANES;
        let form = if is_dual { Form::Dual } else { Form::Scalar };
        let rows_per_group = shape.rows.checked_div(shape.groups).unwrap_or(0);
        let block = if shape.groups == 1 { BLOCK } else { common_block(rows_per_group) };
        let (filter, arrangement) = pack_filter(kernel, shape, form, block);
        let finish = Finish::new(kernel, multipliers, clamp)?;
        let (input, output) = (kernel.input(INPUT), kernel.output(0));
        let negated_lanes = (is_dual && left.input != 0).then(|| {
            let zero_point = kernel.b.i32(-left.input);
            kernel.b.splat_lanes(zero_point)
        });
        Ok(Self {
            input,
            filter,
            form,
            arrangement,
            aligned: shape.aligned,
            zero_points: left,
            negated_lanes,
            wraps,
            rows_per_group,
            columns: shape.columns,
            block,
            start,
            finish,
            output,
        })
    }

    /// Computes the output channels of one group of channels at one pixel. `sum` adds the products of a group of rows to
    /// its accumulators, by calls of [`Dense::run`]; it is called for whole blocks and for the remainder.
    pub fn pixel(
        &self,
        b: &mut Builder<'_>,
        output_at: Value,
        channel_group: Value,
        sum: impl Fn(&mut Builder<'_>, &Group, Vec<Value>) -> Vec<Value>,
    ) {
        let first = b.mul_const(channel_group, constant(self.rows_per_group));
        let (blocks, rest) = (self.rows_per_group / self.block, self.rows_per_group % self.block);
        let step = constant(self.block);
        if blocks == 1 {
            self.block(b, output_at, first, self.block, &sum);
        } else if blocks > 1 {
            b.for_count(blocks, |b, i| {
                let in_group = b.mul_const(i, step);
                let first = b.add(first, in_group);
                self.block(b, output_at, first, self.block, &sum);
            });
        }
        if rest > 0 {
            let first = b.add_const(first, constant(blocks * self.block));
            self.block(b, output_at, first, rest, &sum);
        }
    }

    fn block(
        &self,
        b: &mut Builder<'_>,
        output_at: Value,
        first: Value,
        rows: usize,
        sum: &impl Fn(&mut Builder<'_>, &Group, Vec<Value>) -> Vec<Value>,
    ) {
        let base = b.mul_const(first, constant(self.columns));
        let group = Group { first, rows, base };
        let channels: Vec<Value> = (0..rows).map(|row| b.add_const(first, constant(row))).collect();
        let starts = channels.iter().map(|&channel| self.start.load(b, channel)).collect();
        let sums = sum(b, &group, starts);
        for (&channel, sum) in channels.iter().zip(sums) {
            let result = self.finish.apply(b, sum, channel);
            let at = b.add(output_at, channel);
            b.store(result, self.output, at);
        }
    }

    /// Adds the products of a run: input elements from `input_at` on, filter elements from `column` on.
    pub fn run(
        &self,
        b: &mut Builder<'_>,
        group: &Group,
        input_at: Value,
        column: Value,
        length: Length,
        sums: &[Value],
    ) -> Vec<Value> {
        let scaled = b.mul_const(column, constant(self.column_stride(group)));
        let filter_at = b.add(group.base, scaled);
        match (self.form, length) {
            (Form::Scalar, _) => {
                let zero = b.index(0);
                self.scalar_run(b, group, [input_at, filter_at], zero, length, sums)
            }
            (Form::Dual, Length::Constant(length)) => {
                let body = length / LANES * LANES;
                let end = b.index(body);
                let sums = if body == LANES {
                    let zero = b.index(0);
                    self.dual_step(b, group, [input_at, filter_at], zero, sums)
                } else {
                    self.dual_run(b, group, [input_at, filter_at], end, sums)
                };
                let rest = Length::Constant(length - body);
                self.scalar_run(b, group, [input_at, filter_at], end, rest, &sums)
            }
            (Form::Dual, Length::Value(length)) if self.aligned => {
                self.dual_run(b, group, [input_at, filter_at], length, sums)
            }
            (Form::Dual, Length::Value(length)) => {
                let mask = b.i32(-constant(LANES));
                let end = b.value(l::And {}, &[length, mask], Type::I32);
                let sums = self.dual_run(b, group, [input_at, filter_at], end, sums);
                let rest = b.sub(length, end);
                self.scalar_run(b, group, [input_at, filter_at], end, Length::Value(rest), &sums)
            }
        }
    }

    fn column_stride(&self, group: &Group) -> usize {
        if self.arrangement == Arrangement::Rows { 1 } else { group.rows }
    }

    fn row_stride(&self) -> usize {
        match self.arrangement {
            Arrangement::Rows => self.columns,
            Arrangement::Elements => 1,
            Arrangement::Lanes => LANES,
        }
    }

    /// Elements `from .. from + length` of a run, one by one.
    fn scalar_run(
        &self,
        b: &mut Builder<'_>,
        group: &Group,
        at: [Value; 2],
        from: Value,
        length: Length,
        sums: &[Value],
    ) -> Vec<Value> {
        let end = match length {
            Length::Constant(count) if count <= UNROLL => {
                return (0..count).fold(sums.to_vec(), |sums, i| {
                    let i = b.add_const(from, constant(i));
                    self.scalar_step(b, group, at, i, &sums)
                });
            }
            Length::Constant(count) => b.index(count),
            Length::Value(count) => count,
        };
        let end = b.add(from, end);
        b.for_loop(from, end, 1, sums, |b, i, sums| self.scalar_step(b, group, at, i, sums))
    }

    fn scalar_step(
        &self,
        b: &mut Builder<'_>,
        group: &Group,
        [input_at, filter_at]: [Value; 2],
        i: Value,
        sums: &[Value],
    ) -> Vec<Value> {
        let at = b.add(input_at, i);
        let x = b.load(self.input, at);
        let x = subtract(b, x, self.zero_points.input);
        let scaled = b.mul_const(i, constant(self.column_stride(group)));
        let column_at = b.add(filter_at, scaled);
        let rows = sums.iter().enumerate();
        rows.map(|(row, &sum)| {
            let at = b.add_const(column_at, constant(row * self.row_stride()));
            let weight = b.load(self.filter, at);
            let weight = subtract(b, weight, self.zero_points.filter);
            let product = b.mul(x, weight);
            if self.wraps { b.add_wrap(sum, product) } else { b.add(sum, product) }
        })
        .collect()
    }

    /// The first `end` elements of a run, a multiple of [`LANES`].
    fn dual_run(
        &self,
        b: &mut Builder<'_>,
        group: &Group,
        at: [Value; 2],
        end: Value,
        sums: &[Value],
    ) -> Vec<Value> {
        let zero = b.index(0);
        b.for_loop(zero, end, LANES as u32, sums, |b, i, sums| self.dual_step(b, group, at, i, sums))
    }

    fn dual_step(
        &self,
        b: &mut Builder<'_>,
        group: &Group,
        [input_at, filter_at]: [Value; 2],
        i: Value,
        sums: &[Value],
    ) -> Vec<Value> {
        let at = b.add(input_at, i);
        let x = b.load_i8x4(self.input, at);
        let [x_even, x_odd] = b.widen_lanes(x, self.negated_lanes);
        let scaled = b.mul_const(i, constant(self.column_stride(group)));
        let column_at = b.add(filter_at, scaled);
        let rows = sums.iter().enumerate();
        rows.map(|(row, &sum)| {
            let at = b.add_const(column_at, constant(row * self.row_stride()));
            let weights = b.load_i8x4(self.filter, at);
            let [even, odd] = b.widen_lanes(weights, None);
            let sum = b.dual_mac(x_even, even, sum);
            b.dual_mac(x_odd, odd, sum)
        })
        .collect()
    }
}

/// `value - zero_point` for an i32; the value itself if that is 0, as for floats.
pub(crate) fn subtract(b: &mut Builder<'_>, value: Value, zero_point: i32) -> Value {
    if zero_point == 0 { value } else { b.add_const(value, -zero_point) }
}

/// The greatest block that divides the rows of a group of channels, so that blocks don't straddle groups.
fn common_block(rows_per_group: usize) -> usize {
    (1..=BLOCK).rev().find(|&block| rows_per_group.is_multiple_of(block)).unwrap_or(1)
}

/// The filter as the form reads it. One that is computed at run time stays as it is.
fn pack_filter(
    kernel: &mut Kernel<'_>,
    shape: &DenseShape,
    form: Form,
    block: usize,
) -> (Value, Arrangement) {
    let DenseShape { rows, columns, .. } = *shape;
    let Some(filter) = kernel.constant(FILTER) else {
        return (kernel.input(FILTER), Arrangement::Rows);
    };
    match form {
        Form::Scalar => {
            let layout = PackLayout::Interleave { rows, columns, block };
            (kernel.pack(vec![filter], layout), Arrangement::Elements)
        }
        Form::Dual if shape.aligned => {
            let layout = PackLayout::InterleaveRuns { rows, columns, block, run: LANES };
            (kernel.pack(vec![filter], layout), Arrangement::Lanes)
        }
        // Runs of odd lengths: whole words are loaded from the rows, wherever they start.
        Form::Dual => (kernel.input(FILTER), Arrangement::Rows),
    }
}
