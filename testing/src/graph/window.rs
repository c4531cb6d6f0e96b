//! Convolutions, linear layers and pools.

use super::{FLOAT, Graph, is_activation};
use crate::Random;

use mcunet_ir::attr::{Clamp, Number};
use mcunet_ir::nn::ops as n;
use mcunet_ir::nn::requantize::integer_limits;
use mcunet_ir::quant::F32;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::{Element, Scalar};
use mcunet_ir::{Tensor, Value};

/// A window along one dimension.
struct Side {
    taps: usize,
    stride: u32,
    dilation: u32,
    pad: [u32; 2],
}

impl Graph<'_, '_> {
    pub(super) fn window(&mut self) -> Option<()> {
        let _ = match self.random.range(0, 12) {
            0..=2 => self.convolution(),
            3..=5 => self.depthwise(),
            6 => self.transposed(),
            7..=8 => self.fully_connected(),
            9..=10 => self.pool(true),
            _ => self.pool(false),
        }?;
        Some(())
    }

    /// A value with four dimensions; another one is reshaped if there is none.
    pub(super) fn image(&mut self) -> Option<Value> {
        let is_image =
            |ty: &mcunet_ir::TensorType| ty.shape.rank() == 4 && (ty.element == FLOAT || is_activation(ty));
        if let Some(value) = self.find_exact(is_image) {
            return Some(value);
        }
        let value = self.number()?;
        let ty = self.ty(value);
        let channels = ty.shape.last().copied().unwrap_or(1);
        let shape = vec![1, ty.elements() / channels, 1, channels];
        self.value(n::Reshape { shape }, &[value], &ty.element)
    }

    pub(super) fn clamp(&mut self, element: &Element) -> Clamp {
        match (self.random.range(0, 4), element.storage()) {
            (0..=2, _) => Clamp::None,
            (3, Scalar::F32) => Clamp::Real(F32(0.0), F32(f32::INFINITY)),
            (_, Scalar::F32) => Clamp::Real(F32(-1.0), F32(6.0)),
            (_, storage) => {
                let (low, high) = integer_limits(Clamp::None, storage);
                Clamp::Int(self.random.range(low.into(), 0) as i32, self.random.range(1, high.into()) as i32)
            }
        }
    }

    fn side(&mut self, input: usize, dilates: bool) -> Side {
        let taps = self.random.pick(&[1, 1, 2, 3, 3, 5]);
        let dilation = if dilates && self.random.one_in(4) { self.random.size(2, 3) } else { 1 };
        let extent = (taps - 1) * dilation + 1;
        let mut pad = [0; 2];
        if self.random.flag() {
            pad = pad.map(|_| self.random.below(extent));
        }
        // What is missing is padded, so that the window always fits.
        pad[1] += extent.saturating_sub(input + pad[0] + pad[1]);
        let stride = self.random.pick(&[1, 1, 2, 2, 3]);
        Side { taps, stride, dilation: dilation as u32, pad: pad.map(|pad| pad as u32) }
    }

    /// Constant filter and bias. A filter that `narrows` may have weights of less than a byte.
    pub(super) fn parameters(
        &mut self,
        element: &Element,
        filter: &[usize],
        axis: usize,
        narrows: bool,
    ) -> [Value; 2] {
        let channels = filter[axis];
        let (filter, bias) = if *element == FLOAT {
            (self.random.float(filter, 1.0), self.random.float(&[channels], 1.0))
        } else {
            let reach = self.random.pick(&[0, 1000, 100_000]);
            let (mut filter, mut bias) =
                (self.random.filter(filter, axis, (0.001, 0.05)), self.random.int32(channels, reach));
            // What happens to weights follows from them, and takes no choice from the rest of the graph.
            let mut random = Random::seeded(fingerprint(&filter));
            if random.flag() {
                idle(&mut random, &mut filter, &mut bias, axis);
            }
            if narrows && random.one_in(3) {
                filter = random.narrowed(filter);
            }
            if element.storage() == Scalar::I16 {
                bias = widened(&bias);
            }
            (filter, bias)
        };
        [self.constant(filter), self.constant(bias)]
    }

    fn convolution(&mut self) -> Option<Value> {
        let input = self.image()?;
        let ty = self.ty(input);
        let [_, height, width, channels] = ty.shape.nhwc()?;
        let groups: Vec<usize> = (1..=channels).filter(|groups| channels % groups == 0).collect();
        let groups = if self.random.one_in(3) { self.random.pick(&groups) } else { 1 };
        let outputs = groups * self.random.size(1, 6);
        let (y, x) = (self.side(height, true), self.side(width, true));
        let [filter, bias] =
            self.parameters(&ty.element, &[outputs, y.taps, x.taps, channels / groups], 0, true);
        let element = self.like(&ty.element);
        let clamp = self.clamp(&element);
        let op = n::Conv2d {
            stride: [y.stride, x.stride],
            pad: [y.pad[0], y.pad[1], x.pad[0], x.pad[1]],
            dilation: [y.dilation, x.dilation],
            clamp,
        };
        let result = self.value(op.clone(), &[input, filter, bias], &element)?;
        self.residual(input, result, &element);
        if element.storage() == Scalar::I8 && self.random.one_in(4) {
            // What is added has the shape of the result, as the result itself has.
            let alike = self.ty(input).shape == self.ty(result).shape;
            let addend = if alike { input } else { result };
            let sum = n::Conv2dAdd::of(&op, &self.ty(result), &n::Add { clamp: self.clamp(&element) })?;
            let _ = self.value(sum, &[input, filter, bias, addend], &element);
        }
        Some(result)
    }

    /// Adds the input of a convolution to its result where the shapes allow it.
    fn residual(&mut self, input: Value, result: Value, element: &Element) {
        let same = self.ty(input).shape == self.ty(result).shape && *element != FLOAT;
        if same && self.random.flag() {
            let element = self.like(element);
            let clamp = self.clamp(&element);
            let _ = self.value(n::Add { clamp }, &[result, input], &element);
        }
    }

    fn depthwise(&mut self) -> Option<Value> {
        let input = self.image()?;
        let ty = self.ty(input);
        let [_, height, width, channels] = ty.shape.nhwc()?;
        let multiplier = if self.random.one_in(3) { self.random.size(2, 4) } else { 1 };
        let (y, x) = (self.side(height, true), self.side(width, true));
        let [filter, bias] =
            self.parameters(&ty.element, &[1, y.taps, x.taps, channels * multiplier], 3, true);
        let element = self.like(&ty.element);
        let clamp = self.clamp(&element);
        let op = n::DepthwiseConv2d {
            stride: [y.stride, x.stride],
            pad: [y.pad[0], y.pad[1], x.pad[0], x.pad[1]],
            dilation: [y.dilation, x.dilation],
            clamp,
        };
        let result = self.value(op, &[input, filter, bias], &element)?;
        self.residual(input, result, &element);
        Some(result)
    }

    fn transposed(&mut self) -> Option<Value> {
        let input = self.image()?;
        let ty = self.ty(input);
        let channels = ty.shape.nhwc()?[3];
        let shape = [self.random.size(1, 5), self.random.size(1, 3), self.random.size(1, 3), channels];
        let [filter, bias] = self.parameters(&ty.element, &shape, 0, false);
        let element = self.like(&ty.element);
        let clamp = self.clamp(&element);
        let mut pair = |low, high| [(); 2].map(|()| self.random.size(low, high) as u32);
        let op = n::TransposeConv2d { stride: pair(1, 3), pad: pair(0, 2), output_size: pair(1, 12), clamp };
        self.value(op, &[input, filter, bias], &element)
    }

    fn fully_connected(&mut self) -> Option<Value> {
        let input = self.number()?;
        let ty = self.ty(input);
        let last = ty.shape.last().copied()?;
        let rows = if self.random.flag() { last } else { ty.elements() };
        let outputs = self.random.size(1, 12);
        let [mut filter, bias] = self.parameters(&ty.element, &[outputs, rows], 0, true);
        if ty.element != FLOAT && self.random.one_in(4) {
            // A filter with a zero point, which only this op allows.
            let element = crate::tensors::int8_type(self.random.scale(0.001, 0.05), self.random.zero_point());
            let ty = mcunet_ir::TensorType { shape: [outputs, rows].into(), element };
            let mut tensor = self.random.tensor(&ty);
            let mut random = Random::seeded(fingerprint(&tensor));
            if random.one_in(3) {
                tensor = random.narrowed(tensor);
            }
            filter = self.constant(tensor);
        }
        let element = self.like(&ty.element);
        let clamp = self.clamp(&element);
        let keep_dims = rows == last && self.random.flag();
        self.value(n::FullyConnected { keep_dims, clamp }, &[input, filter, bias], &element)
    }

    fn pool(&mut self, average: bool) -> Option<Value> {
        let mut input = self.image()?;
        if !average && self.random.one_in(3) {
            input = self.least_around(input)?;
        }
        let ty = self.ty(input);
        let [_, height, width, _] = ty.shape.nhwc()?;
        let (mut y, mut x) = (self.side(height, false), self.side(width, false));
        if self.random.one_in(4) {
            (y.taps, x.taps, y.pad, x.pad) = (height, width, [0; 2], [0; 2]);
        }
        let (kernel, stride) = ([y.taps as u32, x.taps as u32], [y.stride, x.stride]);
        let pad = [y.pad[0], y.pad[1], x.pad[0], x.pad[1]];
        let clamp = self.clamp(&ty.element);
        if average {
            self.value(n::AvgPool2d { kernel, stride, pad, clamp }, &[input], &ty.element)
        } else {
            self.value(n::MaxPool2d { kernel, stride, pad, clamp }, &[input], &ty.element)
        }
    }

    /// Pads height and width with the least number, which a max pool may take for its own padding.
    fn least_around(&mut self, input: Value) -> Option<Value> {
        let ty = self.ty(input);
        let value = match ty.storage().integer_range() {
            None => Number::Real(F32(f32::NEG_INFINITY)),
            Some((min, _)) => Number::Int(min),
        };
        let mut side = || vec![0, self.random.size(0, 2), self.random.size(0, 2), 0];
        let (low, high) = (side(), side());
        let padded = self.value(n::Pad { low, high, value }, &[input], &ty.element)?;
        // An infinity is for this pool alone.
        self.values.retain(|&value| value != padded);
        Some(padded)
    }
}

/// Biases of the accumulators of int16, which are larger.
fn widened(bias: &Tensor) -> Tensor {
    let items = bias.i32s().unwrap_or_default().iter().map(|&item| i64::from(item) << 8);
    let ty = mcunet_ir::TensorType::plain(bias.ty.shape.clone(), Scalar::I64);
    Tensor { ty, data: items.collect::<Vec<_>>().into() }
}

/// A number that follows from a tensor's elements.
fn fingerprint(tensor: &Tensor) -> u64 {
    tensor.data.to_bytes().iter().fold(0, |sum: u64, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

/// Makes some output channels constant or alike, and clears inputs and taps, as training with regularization does.
fn idle(random: &mut Random<'_>, filter: &mut Tensor, bias: &mut Tensor, axis: usize) {
    let strides = filter.ty.shape.strides();
    let dims = filter.ty.shape.0.clone();
    let (Data::I8(weights), Data::I32(bias)) = (&mut filter.data, &mut bias.data) else { return };
    // An index along each dimension but the outputs that has no weights, now and then: inputs and taps.
    for other in (0..dims.len()).filter(|&other| other != axis) {
        let cleared = random.one_in(2).then(|| random.below(dims[other]));
        for (i, weight) in weights.iter_mut().enumerate() {
            if Some(i / strides[other] % dims[other]) == cleared {
                *weight = 0;
            }
        }
    }
    let outputs = dims[axis];
    for output in 0..outputs {
        let of = |i: usize| i / strides[axis] % outputs == output;
        match random.range(0, 7) {
            // Beyond what the clamp lets through.
            0 | 1 => bias[output] = random.pick(&[-(1 << 26), 1 << 26]),
            2 => weights.iter_mut().enumerate().filter(|(i, _)| of(*i)).for_each(|(_, weight)| *weight = 0),
            3 if output > 0 => {
                let back = strides[axis];
                (0..weights.len()).filter(|&i| of(i)).for_each(|i| weights[i] = weights[i - back]);
                bias[output] = bias[output - 1];
            }
            _ => {}
        }
    }
}
