//! Conversions between number representations.

use super::LowerOp;
use super::kernel::Kernel;
use super::requantize::{finish, requantize};
use super::rows::for_elements;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::ops::{Cast, Dequantize, Quantize};
use mcunet_ir::nn::quantize::requantize_multiplier;
use mcunet_ir::nn::requantize::reach;
use mcunet_ir::quant::Affine;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, TensorType, Type, Value};

/// Stores a function of every element.
fn map(kernel: &mut Kernel<'_>, f: impl Fn(&mut Builder<'_>, Value) -> Value) {
    kernel.allow_in_place(0, 0);
    let output = kernel.output(0);
    for_elements(kernel, 0, |b, x, at| {
        let y = f(b, x);
        b.store(y, output, at);
    });
}

fn limits(storage: Scalar) -> (i32, i32) {
    match storage.integer_range() {
        Some((min, max)) if storage.size_bytes() < 4 => (min as i32, max as i32),
        _ => (i32::MIN, i32::MAX),
    }
}

fn affine(kernel: &Kernel<'_>, ty: &TensorType) -> Result<Affine, Diagnostic> {
    ty.affine().ok_or_else(|| kernel.error("expected a tensor quantized per tensor, got another"))
}

impl LowerOp for Quantize {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let (input, result) = (kernel.operand_type(0), kernel.result_type(0));
        let (to, limits) = (affine(kernel, result)?, limits(result.storage()));
        if input.storage() == Scalar::F32 {
            map(kernel, |b, x| quantize_real(b, x, to, limits));
            return Ok(());
        }
        let from = affine(kernel, input)?;
        if same_steps(input, result) {
            let offset = to.zero_point - from.zero_point;
            map(kernel, |b, x| b.add_const(x, offset));
            return Ok(());
        }
        let multiplier = requantize_multiplier(from, to)
            .ok_or_else(|| kernel.error("expected scales whose ratio can be quantized, got others"))?;
        let bound = reach(input).unwrap_or(u64::MAX);
        map(kernel, |b, x| {
            let centered = b.add_const(x, -from.zero_point);
            requantize(b, centered, multiplier, bound, to.zero_point, limits)
        });
        Ok(())
    }
}

/// Whether two 8-bit types differ only in their zero points, by the distance of their storage ranges: the multiplier is
/// then exactly 1 and nothing saturates.
fn same_steps(input: &TensorType, result: &TensorType) -> bool {
    let (Some(from), Some(to)) = (input.affine(), result.affine()) else { return false };
    let range = |ty: &TensorType| ty.storage().integer_range().map(|(min, _)| min);
    let (Some(low), Some(target)) = (range(input), range(result)) else { return false };
    let moved = target - low == i64::from(to.zero_point - from.zero_point);
    from.scale == to.scale && moved && input.storage().size_bytes() == 1 && result.storage().size_bytes() == 1
}

/// `x / scale` rounded half away from zero, plus the zero point, within limits; NaN becomes the zero point.
fn quantize_real(b: &mut Builder<'_>, x: Value, to: Affine, (low, high): (i32, i32)) -> Value {
    let scale = b.f32(to.scale.get());
    let steps = b.value(l::Div {}, &[x, scale], Type::F32);
    let rounded = b.value(l::Round { rounding: l::Rounding::HalfAway }, &[steps], Type::F32);
    let steps = b.value(l::ToInt {}, &[rounded], Type::I32);
    // Far beyond every storage range, so that the sum cannot overflow.
    const FAR: i32 = 1 << 20;
    let steps = if low > i32::MIN { b.clamp(steps, -FAR, FAR) } else { steps };
    finish(b, steps, to.zero_point, (low, high))
}

impl LowerOp for Dequantize {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let input = kernel.operand_type(0);
        if input.storage().size_bytes() > 2 {
            // The reference multiplies in double; a float product is the same only for numbers of 24 bits.
            let found = input.storage().name();
            return Err(kernel.error(format!("expected an input of at most 16 bits, got {found}")));
        }
        let from = affine(kernel, input)?;
        map(kernel, |b, x| {
            let centered = b.add_const(x, -from.zero_point);
            let steps = b.value(l::ToFloat {}, &[centered], Type::F32);
            let scale = b.f32(from.scale.get());
            b.mul(scale, steps)
        });
        Ok(())
    }
}

impl LowerOp for Cast {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let (from, to) = (kernel.operand_type(0).storage(), kernel.result_type(0).storage());
        let wide = |scalar: Scalar| scalar.size_bytes() == 8 || scalar == Scalar::U32;
        let to_truth = to == Scalar::I1 && from != Scalar::I1;
        if (from != to && (wide(from) || wide(to))) || to_truth {
            return Err(kernel.error(format!("has no kernel from {} to {}", from.name(), to.name())));
        }
        map(kernel, |b, x| match (from.is_float(), to.is_float()) {
            (true, false) => b.value(l::ToInt {}, &[x], Type::I32),
            (false, true) => b.value(l::ToFloat {}, &[x], Type::F32),
            _ => x,
        });
        Ok(())
    }
}
