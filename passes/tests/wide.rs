//! Kernels of int16 against the ops' semantics: functions of one number on a fifth of them after the other, softmax on rows of many shapes, both at
//! random scales.

mod lowering;

use lowering::check;
use mcunet_ir::attr::Clamp;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as nn;
use mcunet_ir::quant::{F32, QuantType};
use mcunet_ir::types::{Element, Scalar};
use mcunet_ir::{Tensor, TensorType};
use mcunet_testing::Random;

fn wide(scale: f32) -> QuantType {
    QuantType::per_tensor(Scalar::I16, scale, 0)
}

fn element(scale: f32) -> Element {
    Element::Quant(wide(scale).into())
}

/// What LOGISTIC, TANH and SOFTMAX return.
const UNIT: f32 = 1.0 / 32768.0;

#[test]
fn functions_of_all_numbers() {
    for seed in 0..20 {
        let random = &mut Random::seeded(seed);
        let numbers: Vec<i16> = (i16::MIN..=i16::MAX).skip(seed as usize % 5).step_by(5).collect();
        let power = 2f32.powi(random.range(-14, -8) as i32);
        let input = if random.flag() { power } else { random.scale(1e-6, 2.0) };
        let ty = TensorType::quantized([numbers.len()], wide(input));
        let all = Tensor::new(ty, numbers).expect("so many numbers");
        let output = if random.one_in(4) { input } else { input * random.scale(0.3, 3.0) };
        let (low, high) = (random.range(-40_000, 0) as i32, random.range(1, 40_000) as i32);
        let alpha = F32(random.pick(&[0.1, 1.7, -0.3, -0.5, 0.0, 1.0]));
        let ops: [(NnOp, f32); 6] = [
            (nn::Relu { clamp: Clamp::Int(low, high) }.into(), output),
            (nn::LeakyRelu { alpha }.into(), output),
            (nn::Abs {}.into(), output),
            (nn::Rsqrt {}.into(), random.scale(0.001, 0.1)),
            (nn::Logistic {}.into(), UNIT),
            (nn::Tanh {}.into(), UNIT),
        ];
        for (op, scale) in ops {
            check(&format!("seed {seed}"), op, &[(&all, false)], &element(scale));
        }
    }
}

#[test]
fn softmax() {
    for seed in 0..200 {
        let random = &mut Random::seeded(seed);
        let length = random.pick(&[1, 2, 3, 10, 100, 700]);
        let ty = TensorType::quantized([random.size(1, 4), length], wide(random.scale(1e-6, 2.0)));
        let beta = F32(if random.flag() { 1.0 } else { random.real(0.0, 2.0) });
        let input = random.tensor(&ty);
        check(&format!("seed {seed}"), nn::Softmax { beta }, &[(&input, false)], &element(UNIT));
    }
}
