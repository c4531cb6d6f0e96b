//! Convolutions and fully connected layers by `loop.matmul`: inputs are widened to 16 bits in scratch memory, a window of one
//! or two pixels at a time, and multiplied with all channels.
//!
//! The zero point is subtracted as inputs are widened, so that taps outside of the image are zeros like any number, and
//! every pixel is computed in the same way.
//!
//! Weights of two channels share halfwords ([`mcunet_ir::loops::matmul`]), which is exact if the sum of the second stays below
//! 2^23. That is proved from the weights; where it can't be, the layer is lowered otherwise.

use super::accumulate::greatest;
use super::biases;
use super::kernel::Kernel;
use super::requantize::short_table;
use super::rows::to_i32;
use mcunet_ir::attr::ResourceRef;
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::loops::matmul::{LEAST_UNROLL, UNROLL, pairs_of_run};
use mcunet_ir::loops::memory::PackLayout;
use mcunet_ir::loops::ops as l;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, TensorType, Value};

/// Fewer channels than this are not worth widening their inputs.
const LEAST_ROWS: usize = 4;

/// What a layer is made of.
pub struct Source<'s> {
    /// The filter, its rows one after the other.
    pub filter: ResourceRef,
    /// One bias per row.
    pub bias: ResourceRef,
    /// Elements per row.
    pub columns: usize,
    /// Neighbouring columns that are neighbouring inputs.
    pub run: usize,
    /// Values of filter and bias.
    pub data: (&'s Data, &'s Data),
    /// Of each row.
    pub multipliers: &'s [QuantizedMultiplier],
    /// Type of the results.
    pub made: &'s TensorType,
    /// Least and greatest result.
    pub limits: (i32, i32),
    /// Pixels that are multiplied at once at most, 1 or 2.
    pub pixels: usize,
    /// Bytes of other working memory that the kernel takes for each of them.
    pub beside: usize,
    /// Whether all inputs of a pixel lie side by side, so that they can be read as they are.
    pub adjoin: bool,
}

/// A layer's matrix, and memory for its widened inputs, unless it reads them as they are.
pub struct Matmul {
    weights: Value,
    scratch: Option<Value>,
    op: l::Matmul,
    run: usize,
    zero_point: i32,
}

impl Matmul {
    /// The layer as a matrix; `None` if it has to be lowered otherwise.
    pub fn of(kernel: &mut Kernel<'_>, source: &Source<'_>) -> Option<Self> {
        let Source { columns, run, data: (filter, bias), multipliers, limits, pixels, .. } = *source;
        let (input, output) = (kernel.operand_type(0), source.made);
        let int8 = [input.storage(), output.storage(), source.filter.element] == [Scalar::I8; 3];
        let zero_point = input.affine().map_or(0, |affine| affine.zero_point);
        let rows = multipliers.len();
        let whole = run > 0 && columns.is_multiple_of(run) && bias.len() == rows;
        if !kernel.features().dsp || !int8 || !whole || rows < LEAST_ROWS || limits.0 > limits.1 {
            return None;
        }
        if !shares_halfwords(filter, bias, columns, zero_point) {
            return None;
        }
        let bound = greatest(filter, bias, columns, zero_point);
        let result_zero_point = output.affine().map_or(0, |affine| affine.zero_point);
        i8::try_from(result_zero_point).ok()?;
        let (table, signed) = short_table(multipliers, result_zero_point, limits, bound)?;
        let pairs = columns / run * pairs_of_run(run);
        let input_type = kernel.operand_type(0).storage();
        let adjoin = source.adjoin && columns.is_multiple_of(4) && input_type == Scalar::I8;
        // One pixel's inputs are as fast to read as they are. Two pixels share weights, which is worth widening them.
        let widest = (1..=pixels).rev().filter(|&pixels| pixels == 2 || !adjoin);
        let widened =
            widest.into_iter().find(|&pixels| kernel.may_use_scratch(pixels * (4 * pairs + source.beside)));
        if widened.is_none() && !adjoin {
            return None;
        }
        let requantization = kernel.resource("requantization", &Data::I32(table));
        let sources = vec![source.filter.clone(), source.bias.clone(), requantization];
        let short_bias = kernel.has_short_biases() && biases::are_short(bias);
        let weights = kernel.pack(sources, PackLayout::Matmul { columns, run, short_bias });
        let scratch = widened.map(|pixels| kernel.scratch(Scalar::I16, pairs * pixels * 2));
        let limits = [limits.0.max(-128), limits.1.min(127)];
        let pixels = widened.unwrap_or(1);
        let op = l::Matmul {
            rows,
            pairs,
            pixels,
            row_step: 1,
            pixel_step: 1,
            signed,
            input_zero_point: if widened.is_some() { 0 } else { zero_point },
            zero_point: result_zero_point,
            limits,
            short_bias,
            unroll: if kernel.features().unroll { UNROLL } else { LEAST_UNROLL },
            dual_issue: kernel.features().issues_two && pairs >= 2,
        };
        Some(Self { weights, scratch, op, run, zero_point })
    }

    /// Pixels that are multiplied at once at most.
    pub fn pixels(&self) -> usize {
        self.op.pixels
    }

    /// Whether inputs have to be widened.
    pub fn widens(&self) -> bool {
        self.scratch.is_some()
    }

    /// Fills the memory for inputs with zeros.
    pub fn clear(&self, b: &mut Builder<'_>) {
        let Some(scratch) = self.scratch else { return };
        let zero = b.i32(0);
        let count = self.op.pairs * self.op.pixels * 2;
        b.op(l::Fill { count }, &[zero, scratch, zero], &[]);
    }

    /// Widens run number `run`, which may be outside of the matrix, of pixel `pixel` of `pixels`: elements of `memory` from
    /// `offset` on, of which those before `first` or from `end` on are taken for the zero point.
    pub fn widen(&self, b: &mut Builder<'_>, memory: Value, run: &Run, pixel: usize, pixels: usize) {
        let Some(scratch) = self.scratch else { return };
        let per_run = to_i32(pairs_of_run(self.run) * pixels * 2);
        let target = b.mul_const(run.number, per_run);
        let target = b.add_const(target, to_i32(2 * pixel));
        let [first, end] = run.inside.unwrap_or_else(|| [b.i32(0), b.index(self.run)]);
        let kind = l::Widen { count: self.run, step: pixels, zero_point: self.zero_point };
        b.op(kind, &[memory, run.offset, first, end, scratch, target], &[]);
    }

    /// Multiplies what was widened, or else the elements of `input`, and stores results in `output`, each memory from its offset
    /// on; the steps are the distances of rows and of pixels.
    pub fn multiply(
        &self,
        b: &mut Builder<'_>,
        (input, from): (Value, Value),
        (output, offset): (Value, Value),
        pixels: usize,
        [row_step, pixel_step]: [usize; 2],
    ) {
        let op = l::Matmul { pixels, row_step, pixel_step, ..self.op.clone() };
        let (inputs, from) = match self.scratch {
            Some(scratch) => (scratch, b.i32(0)),
            None => (input, from),
        };
        b.op(op, &[self.weights, inputs, from, output, offset], &[]);
    }
}

/// Neighbouring inputs.
pub struct Run {
    /// Which run of the matrix's columns.
    pub number: Value,
    /// Offset of the first.
    pub offset: Value,
    /// First of those that lie inside of the image, and one past the last; all if `None`.
    pub inside: Option<[Value; 2]>,
}

/// Whether the weights of each two rows fit halfwords, and the sum of the second stays below 2^23.
fn shares_halfwords(filter: &Data, bias: &Data, columns: usize, zero_point: i32) -> bool {
    let Data::I8(filter) = filter else { return false };
    if filter.contains(&i8::MIN) {
        return false;
    }
    let Some(bias) = bias.to_i64s() else { return false };
    let row = |row: usize| Data::I8(filter[row * columns..][..columns].to_vec());
    (0..bias.len()).filter(|number| number % 2 == 1).all(|number| {
        let bias = Data::I64(vec![bias[number]]);
        greatest(&row(number), &bias, columns, zero_point).is_some_and(|sum| sum < 1 << 23)
    })
}
