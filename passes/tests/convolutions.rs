//! Kernels of convolutions, linear layers and pools against the ops' semantics, on seeded random shapes, strides,
//! paddings and quantizations.

mod lowering;

use lowering::check;
use mcunet_ir::Tensor;
use mcunet_ir::attr::Clamp;
use mcunet_ir::nn::NnSemantics;
use mcunet_ir::nn::ops as nn;
use mcunet_ir::quant::{Affine, F32, Granularity, QuantType};
use mcunet_ir::types::{Element, Scalar};
use mcunet_testing::Random;
use mcunet_testing::tensors::int8_type;
use std::sync::Arc;

const FLOAT: Element = Element::Plain(Scalar::F32);

fn int_clamp(random: &mut Random<'_>) -> Clamp {
    match random.range(0, 3) {
        0 => Clamp::None,
        1 => Clamp::Int(random.range(-128, 0) as i32, 127),
        2 => Clamp::Int(random.range(-128, 0) as i32, random.range(1, 127) as i32),
        _ => Clamp::Int(-128, random.range(1, 127) as i32),
    }
}

fn float_clamp(random: &mut Random<'_>) -> Clamp {
    match random.range(0, 2) {
        0 => Clamp::None,
        1 => Clamp::Real(F32(0.0), F32(f32::INFINITY)),
        _ => Clamp::Real(F32(0.0), F32(6.0)),
    }
}

/// Kernel sizes, strides, dilations and a padding below the kernel's extent; and an input that holds a window.
struct Window {
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [u32; 2],
    dilation: [u32; 2],
    pad: [u32; 4],
}

fn window(random: &mut Random<'_>, largest: usize, dilates: bool) -> Window {
    let side = |random: &mut Random<'_>| {
        let kernel = random.size(1, largest);
        let dilation = if dilates && random.range(0, 3) == 0 { random.size(2, 3) } else { 1 };
        let extent = (kernel - 1) * dilation + 1;
        let [before, after] =
            if random.flag() { [0; 2] } else { [(); 2].map(|()| random.size(0, extent - 1)) };
        let least = extent.saturating_sub(before + after).max(1);
        let input = random.size(least, least + 6);
        (input, kernel, random.size(1, 3) as u32, dilation as u32, [before as u32, after as u32])
    };
    let (y, x) = (side(random), side(random));
    Window {
        input: [y.0, x.0],
        kernel: [y.1, x.1],
        stride: [y.2, x.2],
        dilation: [y.3, x.3],
        pad: [y.4[0], y.4[1], x.4[0], x.4[1]],
    }
}

/// Scales that make all of right shifts, left shifts and no shifts.
fn output_scale(random: &mut Random<'_>) -> f32 {
    if random.range(0, 4) == 0 { random.scale(1e-5, 1e-3) } else { random.scale(0.05, 5.0) }
}

struct Operands {
    input: Tensor,
    filter: Tensor,
    bias: Tensor,
    result: Element,
    clamp: Clamp,
}

fn operands(
    random: &mut Random<'_>,
    is_float: bool,
    input: &[usize],
    filter: &[usize],
    axis: usize,
) -> Operands {
    let channels = filter[axis];
    if is_float {
        let input = random.float(input, 2.0);
        let (filter, bias) = (random.float(filter, 1.0), random.float(&[channels], 1.0));
        return Operands { input, filter, bias, result: FLOAT, clamp: float_clamp(random) };
    }
    let (scale, zero_point) = (random.scale(0.005, 0.5), random.zero_point());
    let input = random.int8(input, scale, zero_point);
    let filter = random.filter(filter, axis, (0.001, 0.05));
    let reach = [1000, 100_000, i32::MAX.into()][random.size(0, 2)];
    let bias = random.int32(channels, reach);
    let scale = output_scale(random);
    let result = int8_type(scale, random.zero_point());
    Operands { input, filter, bias, result, clamp: int_clamp(random) }
}

impl Operands {
    /// Filter and bias are constant.
    fn check(&self, what: &str, op: impl Into<mcunet_ir::nn::NnOp>) {
        let op = op.into();
        self.check_filter(what, op.clone(), &self.filter);
        if self.filter.ty.storage() != Scalar::I8 || matches!(op, mcunet_ir::nn::NnOp::TransposeConv2d(_)) {
            return;
        }
        // The same with weights of 4 or 2 bits, and with such weights in bytes, which lowering may pack.
        let filter = Random::seeded(self.filter.data.len() as u64).narrowed(self.filter.clone());
        self.check_filter(&format!("{what}, narrow"), op.clone(), &filter);
        let wide = Tensor { ty: self.filter.ty.clone(), data: filter.data };
        self.check_filter(&format!("{what}, wide"), op, &wide);
    }

    fn check_filter(&self, what: &str, op: mcunet_ir::nn::NnOp, filter: &Tensor) {
        let operands = [(&self.input, false), (filter, true), (&self.bias, true)];
        check(what, op, &operands, &self.result);
    }
}

#[test]
fn convolutions() {
    for seed in 0..250 {
        let random = &mut Random::seeded(seed);
        let w = window(random, 4, true);
        let groups = if random.range(0, 3) == 0 { random.size(2, 3) } else { 1 };
        let (depth, per_group) = (random.size(1, 9), random.size(1, 9));
        let input = [random.size(1, 2), w.input[0], w.input[1], depth * groups];
        let filter = [per_group * groups, w.kernel[0], w.kernel[1], depth];
        let operands = operands(random, seed % 5 == 0, &input, &filter, 0);
        let op = nn::Conv2d { stride: w.stride, pad: w.pad, dilation: w.dilation, clamp: operands.clamp };
        operands.check(&format!("seed {seed}"), op);
    }
}

#[test]
fn convolutions_that_add() {
    for seed in 0..250 {
        let random = &mut Random::seeded(seed);
        let w = window(random, 3, true);
        let groups = if random.range(0, 3) == 0 { 2 } else { 1 };
        let (depth, per_group) = (random.size(1, 9), random.size(1, 9));
        let input = [random.size(1, 2), w.input[0], w.input[1], depth * groups];
        let filter = [per_group * groups, w.kernel[0], w.kernel[1], depth];
        let operands = operands(random, false, &input, &filter, 0);
        let conv = nn::Conv2d { stride: w.stride, pad: w.pad, dilation: w.dilation, clamp: operands.clamp };
        let between = operands.result.clone();
        let types = [&operands.input.ty, &operands.filter.ty, &operands.bias.ty];
        let shape = conv.infer_shapes(&types).expect("a window that fits").remove(0);
        let (scale, zero_point) = (random.scale(0.01, 1.0), random.zero_point());
        let addend = random.int8(&shape.0, scale, zero_point);
        let result = int8_type(random.scale(0.01, 1.0), random.zero_point());
        let between = mcunet_ir::TensorType { shape, element: between };
        let op = nn::Conv2dAdd::of(&conv, &between, &nn::Add { clamp: int_clamp(random) }).expect("int8");
        let Operands { input, filter, bias, .. } = &operands;
        let wide = Random::seeded(seed).narrowed(filter.clone());
        for filter in [filter, &wide] {
            let mut all = vec![(input, false), (filter, true), (bias, true), (&addend, false)];
            check(&format!("seed {seed}"), op.clone(), &all, &result);
            // The kernel must not write over what it still convolves.
            if addend.ty.shape == input.ty.shape {
                let twice = Tensor { ty: addend.ty.clone(), data: input.data.clone() };
                all[3].0 = &twice;
                check(&format!("seed {seed}, with its input's numbers"), op.clone(), &all, &result);
            }
        }
    }
}

/// Accumulators around those whose results lie half way between two integers, for all shifts to the right: where the ways to
/// round differ.
#[test]
fn ties_are_rounded_as_the_reference_does() {
    for seed in 0..400 {
        let random = &mut Random::seeded(seed);
        let channels = 8;
        let exact = random.flag();
        let shift = random.range(-1, 22) as i32;
        let factors: Vec<f32> = (0..channels)
            .map(|_| {
                let shift = if seed % 3 == 0 { random.range(-1, 22) as i32 } else { shift };
                let significand = if exact { 1.0 } else { random.scale(0.5, 1.0) };
                significand * 2f32.powi(-shift)
            })
            .collect();
        let input = Tensor::new(
            mcunet_ir::TensorType { shape: [1, 16, 16, 1].into(), element: int8_type(1.0, 0) },
            (i8::MIN..=i8::MAX).collect::<Vec<i8>>(),
        )
        .expect("256 numbers");
        let filter = Tensor::new(
            mcunet_ir::TensorType { shape: [channels, 1, 1, 1].into(), element: filter_type(&factors) },
            (0..channels).map(|_| if random.flag() { 1 } else { -1 }).collect::<Vec<i8>>(),
        )
        .expect("one weight a channel");
        let near_ties = factors.iter().map(|&factor| {
            let tie = (random.range(-140, 140) as f64 + 0.5) / f64::from(factor);
            tie.clamp(f64::from(i32::MIN / 2), f64::from(i32::MAX / 2)) as i32
        });
        let bias = near_ties.collect::<Vec<i32>>();
        let bias = Tensor::new(mcunet_ir::TensorType::plain([channels], Scalar::I32), bias).expect("biases");
        let zero_point = random.zero_point();
        let clamp = match random.range(0, 2) {
            0 => Clamp::None,
            1 => Clamp::Int(zero_point, 127),
            _ => int_clamp(random),
        };
        let result = int8_type(1.0, zero_point);
        let operands = Operands { input, filter, bias, result, clamp };
        operands.check(&format!("seed {seed}"), nn::Conv2d { clamp, ..one_by_one() });
    }
}

fn one_by_one() -> nn::Conv2d {
    nn::Conv2d { stride: [1, 1], pad: [0; 4], dilation: [1, 1], clamp: Clamp::None }
}

/// Symmetric int8 weights with a scale for each output channel.
fn filter_type(scales: &[f32]) -> Element {
    let affine = |&scale: &f32| Affine { scale: F32(scale), zero_point: 0 };
    let granularity = Granularity::PerAxis { axis: 0, channels: scales.iter().map(affine).collect() };
    Element::Quant(Arc::new(QuantType { storage: Scalar::I8, min: -127, max: 127, granularity }))
}

#[test]
fn transposed_convolutions() {
    for seed in 0..150 {
        let random = &mut Random::seeded(seed);
        let input = [random.size(1, 2), random.size(1, 5), random.size(1, 5), random.size(1, 9)];
        let filter = [random.size(1, 6), random.size(1, 4), random.size(1, 4), input[3]];
        let stride = [random.size(1, 3) as u32, random.size(1, 3) as u32];
        let pad = [random.size(0, 2) as u32, random.size(0, 2) as u32];
        let output_size = [random.size(1, 12) as u32, random.size(1, 12) as u32];
        let operands = operands(random, seed % 5 == 0, &input, &filter, 0);
        let op = nn::TransposeConv2d { stride, pad, output_size, clamp: operands.clamp };
        operands.check(&format!("seed {seed}"), op);
    }
}

#[test]
fn fully_connected_layers() {
    for seed in 0..150 {
        let random = &mut Random::seeded(seed);
        let (rows, inputs, outputs) = (random.size(1, 3), random.size(1, 40), random.size(1, 10));
        let mut operands = operands(random, seed % 5 == 0, &[rows, inputs], &[outputs, inputs], 0);
        if operands.filter.ty.affine().is_some() && random.flag() {
            operands.filter.ty.element = int8_type(random.scale(0.001, 0.05), random.range(-128, 127) as i32);
        }
        let op = nn::FullyConnected { keep_dims: random.flag(), clamp: operands.clamp };
        operands.check(&format!("seed {seed}"), op);
    }
}

#[test]
fn depthwise_convolutions() {
    for seed in 0..250 {
        let random = &mut Random::seeded(seed);
        let w = window(random, if seed % 7 == 0 { 8 } else { 4 }, true);
        let multiplier = if random.range(0, 3) == 0 { random.size(2, 4) } else { 1 };
        let input = [random.size(1, 2), w.input[0], w.input[1], random.size(1, 9)];
        let filter = [1, w.kernel[0], w.kernel[1], input[3] * multiplier];
        let operands = operands(random, seed % 5 == 0, &input, &filter, 3);
        let op =
            nn::DepthwiseConv2d { stride: w.stride, pad: w.pad, dilation: w.dilation, clamp: operands.clamp };
        operands.check(&format!("seed {seed}"), op);
    }
}

#[test]
fn pools() {
    for seed in 0..200 {
        let random = &mut Random::seeded(seed);
        let w = window(random, 5, false);
        let shape = [random.size(1, 2), w.input[0], w.input[1], random.size(1, 6)];
        let (input, clamp, element) = if seed % 4 == 0 {
            (random.float(&shape, 8.0), float_clamp(random), FLOAT)
        } else {
            let (scale, zero_point) = (random.scale(0.01, 1.0), random.zero_point());
            let input = random.int8(&shape, scale, zero_point);
            let element = input.ty.element.clone();
            (input, int_clamp(random), element)
        };
        let kernel = w.kernel.map(|size| size as u32);
        let what = format!("seed {seed}");
        let average = nn::AvgPool2d { kernel, stride: w.stride, pad: w.pad, clamp };
        check(&what, average, &[(&input, false)], &element);
        let greatest = nn::MaxPool2d { kernel, stride: w.stride, pad: w.pad, clamp };
        check(&what, greatest, &[(&input, false)], &element);
    }
}
