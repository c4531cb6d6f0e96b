//! Kernels of float functions on numbers that are none, or at the ends of what there is.

mod lowering;

use lowering::check;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as nn;
use mcunet_ir::types::{Element, Scalar};
use mcunet_ir::{Tensor, TensorType};

#[test]
fn special_numbers() {
    let numbers =
        [f32::NAN, -f32::NAN, f32::from_bits(i32::MAX as u32), f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0];
    let ends = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -1e-45, 1.0, -1.0];
    let items = [numbers, ends].concat();
    let ty = TensorType::plain([items.len()], Scalar::F32);
    let input = Tensor::new(ty, items).expect("so many numbers");
    let ops: [NnOp; 8] = [
        nn::Log {}.into(),
        nn::Exp {}.into(),
        nn::Sqrt {}.into(),
        nn::Rsqrt {}.into(),
        nn::Logistic {}.into(),
        nn::Abs {}.into(),
        nn::Neg {}.into(),
        nn::Tanh {}.into(),
    ];
    for op in ops {
        check("special numbers", op, &[(&input, false)], &Element::Plain(Scalar::F32));
    }
}
