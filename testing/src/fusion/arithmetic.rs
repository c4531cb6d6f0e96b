//! Left sides of rules that compute.

use super::{FLOAT, Sketch};
use crate::tensors::int8_type;
use mcunet_ir::Value;
use mcunet_ir::attr::Clamp;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::{F32, QuantType};
use mcunet_ir::types::{Element, Scalar};

impl Sketch<'_, '_> {
    pub(super) fn chain_of_functions(&mut self) -> Option<Vec<Value>> {
        let element = self.int8();
        let mut value = self.input(&[64], &element);
        for _ in 0..self.random.size(2, 4) {
            value = self.function(value)?;
        }
        Some(vec![value])
    }

    pub(super) fn functions_of_one(&mut self) -> Option<Vec<Value>> {
        let element = self.int8();
        let x = self.input(&[64], &element);
        let lhs = if self.random.flag() { x } else { self.function(x)? };
        let rhs = self.function(x)?;
        let (result, clamp) = (self.int8(), Clamp::None);
        let op: NnOp = match self.random.range(0, 2) {
            0 => n::Add { clamp }.into(),
            1 => n::SquaredDifference {}.into(),
            _ => n::Mul { clamp }.into(),
        };
        Some(vec![self.op(op, &[lhs, rhs], &result)?])
    }

    pub(super) fn function_of_clamped(&mut self) -> Option<Vec<Value>> {
        let element = int8_type(0.1, self.random.range(-20, 20) as i32);
        let shape = self.image();
        let value = self.input(&shape, &element);
        let (low, high) = (self.random.range(-60, 0) as i32, self.random.range(1, 60) as i32);
        let clamped = self.op(n::Relu { clamp: Clamp::Int(low, high) }, &[value], &element)?;
        let clamp = Clamp::Int(low - self.random.range(0, 9) as i32, high + self.random.range(0, 9) as i32);
        Some(vec![self.op(n::Relu { clamp }, &[clamped], &element)?])
    }

    pub(super) fn function_of_reshaped(&mut self) -> Option<Vec<Value>> {
        let element = self.int8();
        let value = self.input(&[2, 3, 8], &element);
        let value = self.op(n::Reshape { shape: vec![6, 8] }, &[value], &element)?;
        Some(vec![self.function(value)?])
    }

    pub(super) fn clamped_producer(&mut self) -> Option<Vec<Value>> {
        let (element, result) = (self.int8(), self.int8());
        let shape = self.image();
        let x = self.input(&shape, &element);
        let clamp = self.clamp(&result);
        let value = match self.random.range(0, 4) {
            0 => self.convolution(x, [1, 2], 3, &result, clamp)?,
            1 => self.depthwise(x, [2, 1], &result, clamp)?,
            2 => {
                let y = self.input(&shape, &element);
                self.op(n::Add { clamp }, &[x, y], &result)?
            }
            3 => {
                let y = self.input(&shape, &element);
                self.op(n::Mul { clamp }, &[x, y], &result)?
            }
            _ => {
                let operands = self.weights(x, &[4, shape[3]], 0);
                self.op(n::FullyConnected { keep_dims: false, clamp }, &operands, &result)?
            }
        };
        let affine = self.ty(value).affine()?;
        let after = match self.random.range(0, 2) {
            // The same scale and another zero point: only a shift.
            0 => {
                let moved = int8_type(affine.scale.get(), self.random.zero_point());
                self.op(n::Quantize {}, &[value], &moved)?
            }
            1 => {
                let constant = self.uniform(&result);
                self.op(n::Maximum {}, &[value, constant], &result)?
            }
            _ => self.op(n::Relu { clamp: Clamp::Int(-30, 90) }, &[value], &result)?,
        };
        Some(vec![after])
    }

    /// Convolutions of one input or two, and their sums with an input or with one another.
    pub(super) fn residual(&mut self) -> Option<Vec<Value>> {
        let (element, other, between, result) = (self.int8(), self.int8(), self.int8(), self.int8());
        let shape = self.image();
        let x = self.input(&shape, &element);
        let (clamp, outputs) = (self.clamp(&between), self.random.size(1, 5));
        let taps = [self.random.size(1, 2), self.random.size(1, 2)];
        let convolved = self.convolution(x, taps, outputs, &between, clamp)?;
        let same = self.ty(convolved).shape;
        let y = if same == self.ty(x).shape && self.random.flag() { x } else { self.input(&same.0, &other) };
        let operands = if self.random.flag() { [convolved, y] } else { [y, convolved] };
        let clamp = self.clamp(&result);
        let sum = self.op(n::Add { clamp }, &operands, &result)?;
        // Something else may read the convolution's result, too.
        Some(if self.random.one_in(4) { vec![sum, convolved] } else { vec![sum] })
    }

    pub(super) fn requantized_producer(&mut self) -> Option<Vec<Value>> {
        let (element, shape) = (self.int8(), self.image());
        let x = self.input(&shape, &element);
        let result = int8_type(self.random.scale(0.05, 0.2), self.random.range(-20, 20) as i32);
        let clamp = self.clamp(&result);
        let value = match self.random.range(0, 2) {
            0 => self.convolution(x, [1, 1], 3, &result, clamp)?,
            1 => self.depthwise(x, [2, 2], &result, clamp)?,
            _ => {
                let y = self.input(&shape, &element);
                self.op(n::Sub { clamp }, &[x, y], &result)?
            }
        };
        // Coarser, so that two roundings are at most a step off, and of a range that holds the first one's.
        let coarse = int8_type(self.random.scale(0.4, 1.0), self.random.range(-20, 20) as i32);
        Some(vec![self.op(n::Quantize {}, &[value], &coarse)?])
    }

    pub(super) fn rectified_float(&mut self) -> Option<Vec<Value>> {
        let shape = self.image();
        let x = self.input(&shape, &FLOAT);
        let clamp = self.clamp(&FLOAT);
        let value = match self.random.range(0, 3) {
            0 => self.convolution(x, [2, 2], 3, &FLOAT, clamp)?,
            1 => self.op(n::Relu { clamp: Clamp::Real(F32(-2.0), F32(f32::INFINITY)) }, &[x], &FLOAT)?,
            2 => {
                self.op(n::AvgPool2d { kernel: [1, 1], stride: [1, 1], pad: [0; 4], clamp }, &[x], &FLOAT)?
            }
            _ => {
                let y = self.input(&shape, &FLOAT);
                self.op(n::Sub { clamp }, &[x, y], &FLOAT)?
            }
        };
        let low = self.random.real(-3.0, 1.0);
        let clamp = Clamp::Real(F32(low), F32(low + self.random.real(0.0, 4.0)));
        Some(vec![self.op(n::Relu { clamp }, &[value], &FLOAT)?])
    }

    pub(super) fn means(&mut self) -> Option<Vec<Value>> {
        let element = self.int8();
        let shape = self.image();
        let x = self.input(&shape, &element);
        let keep_dims = self.random.flag();
        let first = self.random.pick(&[1, 2]);
        let second = match (keep_dims, first) {
            (true, first) => 3 - first,
            // What was dimension 2 is dimension 1 now, or stays it.
            (false, _) => 1,
        };
        // Nothing that is in range gets out of it, so that approximations stay near.
        let inner = self.op(n::Mean { axes: vec![first], keep_dims }, &[x], &element)?;
        Some(vec![self.op(n::Mean { axes: vec![second], keep_dims }, &[inner], &element)?])
    }

    /// Convolutions of one tensor, whose results are joined or not.
    pub(super) fn parallel_convolutions(&mut self, join: bool) -> Option<Vec<Value>> {
        let float = self.random.flag();
        let (element, result) = if float { (FLOAT, FLOAT) } else { (self.int8(), self.int8()) };
        let shape = self.image();
        let x = self.input(&shape, &element);
        let clamp = self.clamp(&result);
        let mut parts = Vec::new();
        for _ in 0..self.random.size(2, 3) {
            let outputs = self.random.size(1, 4);
            let operands = self.weights(x, &[outputs, 1, 1, shape[3]], 0);
            let conv = n::Conv2d { stride: [1, 1], pad: [0; 4], dilation: [1, 1], clamp };
            parts.push(self.op(conv, &operands, &result)?);
        }
        if !join {
            return Some(parts);
        }
        Some(vec![self.op(n::Concat { axis: 3 }, &parts, &result)?])
    }

    pub(super) fn convolution_of_all(&mut self) -> Option<Vec<Value>> {
        let float = self.random.flag();
        let (element, result) = if float { (FLOAT, FLOAT) } else { (self.int8(), self.int8()) };
        let shape = self.image();
        let x = self.input(&shape, &element);
        let clamp = self.clamp(&result);
        let operands = self.weights(x, &[4, shape[1], shape[2], shape[3]], 0);
        let conv = n::Conv2d { stride: [1, 2], pad: [0; 4], dilation: [1, 1], clamp };
        Some(vec![self.op(conv, &operands, &result)?])
    }

    pub(super) fn mean_of_windows(&mut self) -> Option<Vec<Value>> {
        let element = self.int8();
        let shape = self.image();
        let x = self.input(&shape, &element);
        let kernel = [self.random.size(1, 2) as u32, self.random.size(1, 2) as u32];
        let stride = [self.random.size(1, 2) as u32, 1];
        let clamp = self.clamp(&element);
        Some(vec![self.op(n::AvgPool2d { kernel, stride, pad: [0; 4], clamp }, &[x], &element)?])
    }

    /// A convolution or depthwise convolution of one channel.
    pub(super) fn window_of_one_channel(&mut self, depthwise: bool) -> Option<Vec<Value>> {
        let float = self.random.flag();
        let (element, result) = if float { (FLOAT, FLOAT) } else { (self.int8(), self.int8()) };
        let [batch, height, width, _] = self.image()[..] else { return None };
        let x = self.input(&[batch, height, width, 1], &element);
        let clamp = self.clamp(&result);
        let (taps, outputs) = (self.random.size(1, 2), self.random.size(1, 5));
        if !depthwise {
            return Some(vec![self.convolution(x, [taps, 2], outputs, &result, clamp)?]);
        }
        let operands = self.weights(x, &[1, taps, 2, outputs], 3);
        let pad = [self.random.below(taps) as u32, 0, 1, 0];
        let conv = n::DepthwiseConv2d { stride: [1, 2], pad, dilation: [1, 1], clamp };
        Some(vec![self.op(conv, &operands, &result)?])
    }

    pub(super) fn linear_over_channels(&mut self) -> Option<Vec<Value>> {
        let float = self.random.flag();
        let (element, result) = if float { (FLOAT, FLOAT) } else { (self.int8(), self.int8()) };
        let shape = self.image();
        let x = self.input(&shape, &element);
        let clamp = self.clamp(&result);
        let operands = self.weights(x, &[4, shape[3]], 0);
        Some(vec![self.op(n::FullyConnected { keep_dims: true, clamp }, &operands, &result)?])
    }

    /// A linear operation of floats, times or plus a constant.
    pub(super) fn linear_and_constant(&mut self, product: bool) -> Option<Vec<Value>> {
        let shape = self.image();
        let x = self.input(&shape, &FLOAT);
        let value = match self.random.range(0, 2) {
            0 => self.convolution(x, [2, 2], 3, &FLOAT, Clamp::None)?,
            1 => self.depthwise(x, [2, 2], &FLOAT, Clamp::None)?,
            _ => {
                let operands = self.weights(x, &[4, shape[3]], 0);
                self.op(n::FullyConnected { keep_dims: true, clamp: Clamp::None }, &operands, &FLOAT)?
            }
        };
        let channels = *self.ty(value).shape.last()?;
        let constant = self.random.pick(&[vec![1], vec![channels], vec![1, 1, 1, channels]]);
        let constant = self.random.float(&constant, 2.0);
        let constant = self.constant(constant);
        let clamp = self.clamp(&FLOAT);
        let swapped = self.random.flag();
        let operands = if swapped { [constant, value] } else { [value, constant] };
        let op: NnOp = match (product, self.random.flag()) {
            (true, _) => n::Mul { clamp }.into(),
            (false, true) => n::Add { clamp }.into(),
            (false, false) => n::Sub { clamp }.into(),
        };
        Some(vec![self.op(op, &operands, &FLOAT)?])
    }

    pub(super) fn two_linear(&mut self) -> Option<Vec<Value>> {
        let x = self.input(&[2, 3], &FLOAT);
        let clamp = self.clamp(&FLOAT);
        let operands = self.weights(x, &[8, 3], 0);
        let middle =
            self.op(n::FullyConnected { keep_dims: false, clamp: Clamp::None }, &operands, &FLOAT)?;
        let operands = self.weights(middle, &[4, 8], 0);
        Some(vec![self.op(n::FullyConnected { keep_dims: false, clamp }, &operands, &FLOAT)?])
    }

    pub(super) fn floats_between(&mut self) -> Option<Vec<Value>> {
        let (element, result) = (self.int8(), self.int8());
        let x = self.input(&[40], &element);
        let mut value = self.op(n::Dequantize {}, &[x], &FLOAT)?;
        for _ in 0..self.random.size(0, 3) {
            value = match self.random.range(0, 3) {
                0 => self.op(n::Tanh {}, &[value], &FLOAT)?,
                1 => self.op(n::Square {}, &[value], &FLOAT)?,
                2 => self.op(n::HardSwish {}, &[value], &FLOAT)?,
                _ => {
                    let constant = self.uniform(&FLOAT);
                    self.op(n::Mul { clamp: Clamp::None }, &[value, constant], &FLOAT)?
                }
            };
        }
        Some(vec![self.op(n::Quantize {}, &[value], &result)?])
    }

    pub(super) fn float_arithmetic(&mut self) -> Option<Vec<Value>> {
        let [a, b] = [self.int8(), self.int8()];
        let [x, y] = [self.input(&[60], &a), self.input(&[60], &b)];
        let (x, y) = (self.op(n::Dequantize {}, &[x], &FLOAT)?, self.op(n::Dequantize {}, &[y], &FLOAT)?);
        let clamp = self.clamp(&FLOAT);
        let op: NnOp = match self.random.range(0, 2) {
            0 => n::Add { clamp }.into(),
            1 => n::Sub { clamp }.into(),
            _ => n::Mul { clamp }.into(),
        };
        let value = self.op(op, &[x, y], &FLOAT)?;
        // Coarse enough that a step of the result is more than an error of the operands.
        let quant = QuantType::per_tensor(Scalar::I8, self.random.scale(0.2, 2.0), self.random.zero_point());
        Some(vec![self.op(n::Quantize {}, &[value], &Element::Quant(quant.into()))?])
    }
}
