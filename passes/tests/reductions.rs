//! Kernels of reductions and of normalizations along the last dimension against the ops' semantics, on seeded random
//! shapes, axes and quantizations.

mod lowering;

use lowering::check;
use mcunet_ir::Tensor;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as nn;
use mcunet_ir::quant::F32;
use mcunet_ir::types::{Element, Scalar};
use mcunet_testing::Random;
use mcunet_testing::tensors::int8_type;

const FLOAT: Element = Element::Plain(Scalar::F32);
const INT32: Element = Element::Plain(Scalar::I32);

fn shape(random: &mut Random<'_>, largest_rank: usize) -> Vec<usize> {
    let rank = random.size(1, largest_rank);
    (0..rank).map(|_| random.size(1, 6)).collect()
}

fn int8(random: &mut Random<'_>, shape: &[usize]) -> Tensor {
    let (scale, zero_point) = (random.scale(0.01, 1.0), random.zero_point());
    random.int8(shape, scale, zero_point)
}

fn float(random: &mut Random<'_>, shape: &[usize]) -> Tensor {
    random.float(shape, 8.0)
}

/// Any subset of the axes, none and all included.
fn axes(random: &mut Random<'_>, rank: usize) -> Vec<usize> {
    (0..rank).filter(|_| random.flag()).collect()
}

#[test]
fn sums_and_means() {
    for seed in 0..300 {
        let random = &mut Random::seeded(seed);
        let shape = shape(random, 5);
        let (axes, keep_dims) = (axes(random, shape.len()), random.flag());
        let (input, element) = if seed % 4 == 0 {
            (float(random, &shape), FLOAT)
        } else {
            let scale = random.scale(0.001, 10.0);
            (int8(random, &shape), int8_type(scale, random.zero_point()))
        };
        let ops: [NnOp; 2] =
            [nn::Mean { axes: axes.clone(), keep_dims }.into(), nn::Sum { axes, keep_dims }.into()];
        for op in ops {
            check(&format!("seed {seed}"), op, &[(&input, false)], &element);
        }
    }
}

#[test]
fn extremes() {
    for seed in 0..200 {
        let random = &mut Random::seeded(seed);
        let shape = shape(random, 5);
        let (axes, keep_dims) = (axes(random, shape.len()), random.flag());
        let input = if seed % 4 == 0 { float(random, &shape) } else { int8(random, &shape) };
        let element = input.ty.element.clone();
        let ops: [NnOp; 2] = [
            nn::ReduceMax { axes: axes.clone(), keep_dims }.into(),
            nn::ReduceMin { axes, keep_dims }.into(),
        ];
        for op in ops {
            check(&format!("seed {seed}"), op, &[(&input, false)], &element);
        }
    }
}

/// Few distinct values, so that the first of equals has to win.
#[test]
fn positions_of_extremes() {
    for seed in 0..200 {
        let random = &mut Random::seeded(seed);
        let shape = shape(random, 4);
        let axis = random.size(0, shape.len() - 1);
        let input = if seed % 4 == 0 {
            let mut tensor = float(random, &shape);
            let data: Vec<f32> = tensor.f32s().unwrap().iter().map(|x| x.round() / 4.0).collect();
            tensor.data = data.into();
            tensor
        } else {
            let mut tensor = int8(random, &shape);
            let data: Vec<i8> = tensor.i8s().unwrap().iter().map(|x| x % 3).collect();
            tensor.data = data.into();
            tensor
        };
        for op in [NnOp::from(nn::ArgMax { axis }), nn::ArgMin { axis }.into()] {
            check(&format!("seed {seed}"), op, &[(&input, false)], &INT32);
        }
    }
}

/// Rows of any length, some of them longer than the 511 whose sum of exponentials still has its usual headroom.
fn rows(random: &mut Random<'_>) -> Vec<usize> {
    match random.range(0, 15) {
        0 => vec![random.size(1, 2), random.size(500, 1100)],
        _ => vec![random.size(1, 3), random.size(1, 20)],
    }
}

#[test]
fn softmax() {
    for seed in 0..300 {
        let random = &mut Random::seeded(seed);
        let shape = rows(random);
        let beta = F32(if random.flag() { 1.0 } else { random.real(0.2, 3.0) });
        if seed % 4 == 0 {
            let input = float(random, &shape);
            check(&format!("seed {seed}"), nn::Softmax { beta }, &[(&input, false)], &FLOAT);
            continue;
        }
        let (scale, zero_point) = (random.scale(1e-4, 4.0), random.zero_point());
        let input = random.int8(&shape, scale, zero_point);
        let element = int8_type(1.0 / 256.0, -128);
        check(&format!("seed {seed}"), nn::Softmax { beta }, &[(&input, false)], &element);
    }
}

/// Equal logits give the longest sums of exponentials; from 512 elements on their reciprocal shifts by more than 31.
#[test]
fn softmax_of_flat_rows() {
    for length in [511, 512, 600, 1000, 2048, 4095] {
        let mut input = Random::seeded(length as u64).int8(&[1, length], 0.1, 0);
        for depth in [0, 1, 100] {
            let data: Vec<i8> = (0..length).map(|i| if i % 50 == 49 { -depth } else { 0 }).collect();
            input.data = data.into();
            let element = int8_type(1.0 / 256.0, -128);
            let what = format!("{length} elements, {depth} below");
            check(&what, nn::Softmax { beta: F32(1.0) }, &[(&input, false)], &element);
        }
    }
}

#[test]
fn log_softmax() {
    for seed in 0..300 {
        let random = &mut Random::seeded(seed);
        let shape = rows(random);
        if seed % 4 == 0 {
            let input = float(random, &shape);
            check(&format!("seed {seed}"), nn::LogSoftmax {}, &[(&input, false)], &FLOAT);
            continue;
        }
        let (scale, zero_point) = (random.scale(1e-4, 4.0), random.zero_point());
        let input = random.int8(&shape, scale, zero_point);
        let element = int8_type(16.0 / 256.0, 127);
        check(&format!("seed {seed}"), nn::LogSoftmax {}, &[(&input, false)], &element);
    }
}

#[test]
fn l2_normalization() {
    for seed in 0..300 {
        let random = &mut Random::seeded(seed);
        let shape = rows(random);
        if seed % 4 == 0 {
            let input = float(random, &shape);
            check(&format!("seed {seed}"), nn::L2Normalization {}, &[(&input, false)], &FLOAT);
            continue;
        }
        let mut input = int8(random, &shape);
        if random.flag() {
            // Near the zero point, where the norm is 0, 1 or small.
            let zero_point = input.ty.affine().unwrap().zero_point;
            let near = |_: usize| (zero_point + random.range(-1, 1) as i32).clamp(-128, 127) as i8;
            let data: Vec<i8> = (0..input.ty.elements()).map(near).collect();
            input.data = data.into();
        }
        let element = int8_type(1.0 / 128.0, 0);
        check(&format!("seed {seed}"), nn::L2Normalization {}, &[(&input, false)], &element);
    }
}
