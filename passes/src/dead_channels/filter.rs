//! Constant int8 filters, as elimination looks at them.

use crate::analysis::range::window::{
    Accumulators, Inside, Taps, conv_accumulators, depthwise_accumulators, linear_accumulators,
};
use crate::analysis::range::{MAX_CHANNELS, Operand, Ranges};
use mcunet_ir::fixed_point::{QuantizedMultiplier, requantize};
use mcunet_ir::module::{Function, Op, OpKind, Value};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::window::Windows;
use mcunet_ir::{Tensor, TensorType};
use std::borrow::Cow;
use std::collections::HashMap;

/// What a weight's place in its filter is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// `[output, tap, column]`, or of a linear layer `[output, column]`.
    Dense,
    /// `[tap, output]`: each output has one column.
    Depthwise,
}

/// A constant filter with its bias.
#[derive(Debug)]
pub struct Filter<'a> {
    /// How weights lie.
    pub layout: Layout,
    /// Where taps meet padding.
    pub taps: Taps,
    /// Output channels.
    pub outputs: usize,
    /// Inputs of an output at a tap: the input's channels, or elements of a row of a linear layer; 1 if depthwise.
    pub columns: usize,
    /// Channels of the input; column `j` of a dense filter reads channel `j % channels`.
    pub channels: usize,
    /// Zero point of the input: what padding holds.
    pub input_zero: i64,
    /// Zero point of the weights: 0 but for linear layers.
    pub weight_zero: i8,
    /// The weights.
    pub weights: Cow<'a, [i8]>,
    /// Least and greatest weight that the filter's type can store.
    pub weight_range: (i64, i64),
    /// One per output channel.
    pub bias: &'a [i32],
    /// One per output channel, from accumulators to the result.
    pub multipliers: Vec<QuantizedMultiplier>,
    /// For output channels that are constant, the bias with which they are what they are without any weights.
    pub silent: Vec<Option<i32>>,
    /// For each output and column: whether a weight counts at some pixel; and one at a tap that meets padding at others.
    counts: Vec<(bool, bool)>,
}

impl<'a> Filter<'a> {
    /// The filter of an operation on a tensor that is no constant; `None` if it has none, or one that isn't constant, int8
    /// and of one group.
    pub fn of(
        function: &'a Function,
        op: Op,
        constants: &'a HashMap<Value, Tensor>,
        ranges: &'a Ranges,
    ) -> Option<Self> {
        let data = &function.ops[op];
        let OpKind::Nn(kind) = &data.kind else { return None };
        let tensor = |value: &Value| function.ty(*value).as_tensor();
        let [input, filter, bias] = data.operands[..] else { return None };
        // Constant folding is another pass's duty; here inputs have channels.
        if constants.contains_key(&input) {
            return None;
        }
        let operand = |value: Value| {
            let (channels, data) = (ranges.channels(value), constants.get(&value));
            Some(Operand { ty: tensor(&value)?, channels, data })
        };
        let operands = [operand(input)?, operand(filter)?, operand(bias)?];
        let result = tensor(data.results.first()?)?;
        let (x, w) = (&operands[0].ty.shape, &operands[1].ty.shape);
        let windows = |stride, dilation, pad| {
            let (input, taps) = (x.nhwc()?, [w[1], w[2]]);
            Taps::of(&Windows::new(input, taps, stride, dilation, pad))
        };
        let channels = x.last().copied()?;
        let (layout, taps, outputs, columns, accumulators) = match kind {
            NnOp::Conv2d(op) if w[3] == channels => {
                let taps = windows(op.stride, op.dilation, op.pad)?;
                (Layout::Dense, taps, w[0], w[3], conv_accumulators(op, &operands, result)?)
            }
            NnOp::DepthwiseConv2d(op) => {
                let taps = windows(op.stride, op.dilation, op.pad)?;
                (Layout::Depthwise, taps, w[3], 1, depthwise_accumulators(op, &operands, result)?)
            }
            NnOp::FullyConnected(op) if channels > 0 && w[1] % channels == 0 => {
                (Layout::Dense, Taps::one(), w[0], w[1], linear_accumulators(op, &operands, result)?)
            }
            _ => return None,
        };
        if outputs.max(channels) > MAX_CHANNELS {
            return None;
        }
        let zero_point = |ty: &TensorType| ty.affine().map_or(0, |affine| affine.zero_point);
        let weight_zero =
            if let NnOp::FullyConnected(_) = kind { zero_point(operands[1].ty) as i8 } else { 0 };
        let mut filter = Self {
            layout,
            taps,
            outputs,
            columns,
            channels,
            input_zero: zero_point(operands[0].ty).into(),
            weight_zero,
            weights: operands[1].data?.i8s().ok()?.into(),
            weight_range: operands[1].ty.quant().map_or((-128, 127), |quant| (quant.min, quant.max)),
            multipliers: accumulators.rescale.multipliers.clone(),
            bias: operands[2].data?.i32s().ok()?,
            silent: Vec::new(),
            counts: Vec::new(),
        };
        let silent = |o| silent(&accumulators, o, ranges.constant(data.results[0], o));
        filter.silent = (0..outputs).map(silent).collect();
        filter.count();
        Some(filter)
    }

    /// Place of a weight.
    pub fn at(&self, output: usize, tap: usize, column: usize) -> usize {
        match self.layout {
            Layout::Dense => (output * self.taps.count() + tap) * self.columns + column,
            Layout::Depthwise => tap * self.outputs + output,
        }
    }

    /// A weight less its zero point.
    pub fn weight(&self, output: usize, tap: usize, column: usize) -> i64 {
        i64::from(self.weights[self.at(output, tap, column)]) - i64::from(self.weight_zero)
    }

    /// The input channel that a column of an output reads.
    pub fn channel(&self, output: usize, column: usize) -> usize {
        match self.layout {
            Layout::Dense => column % self.channels,
            Layout::Depthwise => output * self.channels / self.outputs,
        }
    }

    /// All weights of an output.
    pub fn row(&self, output: usize) -> Vec<i8> {
        let taps = 0..self.taps.count();
        taps.flat_map(|tap| (0..self.columns).map(move |column| (tap, column)))
            .map(|(tap, column)| self.weights[self.at(output, tap, column)])
            .collect()
    }

    /// Whether an output's column has a weight that counts at some pixel.
    pub fn reads(&self, output: usize, column: usize) -> bool {
        self.counts[output * self.columns + column].0
    }

    /// Whether it has one at a tap that meets padding at other pixels.
    pub fn reads_beside_padding(&self, output: usize, column: usize) -> bool {
        self.counts[output * self.columns + column].1
    }

    /// What a constant input adds to an output's accumulator at every pixel; by taps that always are inside.
    pub fn contribution(&self, output: usize, column: usize, constant: i64) -> i64 {
        let taps = (0..self.taps.count()).filter(|&tap| self.taps.inside(tap) == Inside::Always);
        taps.map(|tap| self.weight(output, tap, column)).sum::<i64>() * (constant - self.input_zero)
    }

    fn count(&mut self) {
        let inside: Vec<Inside> = (0..self.taps.count()).map(|tap| self.taps.inside(tap)).collect();
        let mut counts = vec![(false, false); self.outputs * self.columns];
        for (tap, &inside) in inside.iter().enumerate().filter(|(_, inside)| **inside != Inside::Never) {
            for output in 0..self.outputs {
                for column in 0..self.columns {
                    if self.weight(output, tap, column) != 0 {
                        let (any, beside) = &mut counts[output * self.columns + column];
                        *any = true;
                        *beside |= inside == Inside::Sometimes;
                    }
                }
            }
        }
        self.counts = counts;
    }
}

/// A bias that gives a constant channel its value by itself.
fn silent(accumulators: &Accumulators, channel: usize, constant: Option<i64>) -> Option<i32> {
    let constant = constant?;
    let rescale = &accumulators.rescale;
    let multiplier = *rescale.multipliers.get(channel)?;
    let gives =
        |bias: &i32| i64::from(requantize(*bias, multiplier, rescale.zero_point, rescale.limits)) == constant;
    let sums = accumulators.sums.get(channel)?.iter();
    sums.filter_map(|sum| i32::try_from(sum.min).ok()).chain([0]).find(gives)
}
