//! Elementwise ops of one operand: int8 ones are a table of 256 results, made by the reference semantics and therefore
//! exact by construction; floats and int16 are computed.

use super::LowerOp;
use super::float;
use super::kernel::Kernel;
use super::rows::for_elements;
use mcunet_ir::attr::Clamp;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops::{
    Abs, Elu, Exp, HardSwish, LeakyRelu, Log, Logistic, Lookup, Neg, Relu, Rsqrt, Sqrt, Square, Tanh,
};
use mcunet_ir::nn::unary::int8_table;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, Type, Value};

/// Looks every element of an int8 operand up in a table of results for -128 to 127.
pub fn lower_table(kernel: &mut Kernel<'_>, operand: usize, table: &[i8; 256]) {
    kernel.allow_in_place(0, operand);
    let table = kernel.data("table", &Data::I8(table.to_vec()));
    let output = kernel.output(0);
    for_elements(kernel, operand, |b, x, at| {
        let index = b.add_const(x, 128);
        let y = b.load(table, index);
        b.store(y, output, at);
    });
}

fn lower(
    kernel: &mut Kernel<'_>,
    op: NnOp,
    real: impl Fn(&mut Builder<'_>, Value) -> Value,
) -> Result<(), Diagnostic> {
    if kernel.result_type(0).storage() == Scalar::I16 {
        return super::wide::lower_unary(kernel, &op);
    }
    if kernel.result_type(0).storage() != Scalar::F32 {
        let table = int8_table(&op, kernel.operand_type(0), kernel.result_type(0))
            .ok_or_else(|| kernel.error("expected int8 or float32, got another type"))?;
        lower_table(kernel, 0, &table);
        return Ok(());
    }
    kernel.allow_in_place(0, 0);
    let output = kernel.output(0);
    for_elements(kernel, 0, |b, x, at| {
        let y = real(b, x);
        b.store(y, output, at);
    });
    Ok(())
}

macro_rules! unary {
    ($($op:ident |$self:ident, $b:ident, $x:ident| $real:expr;)*) => {$(
        impl LowerOp for $op {
            fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
                let $self = self;
                lower(kernel, self.clone().into(), |$b, $x| $real)
            }
        }
    )*};
}

unary! {
    Relu |op, b, x| relu(b, x, op.clamp);
    LeakyRelu |op, b, x| {
        let (zero, alpha) = (b.f32(0.0), b.f32(op.alpha.get()));
        let below = b.mul(x, alpha);
        let positive = b.cmp(l::Predicate::Gt, x, zero);
        b.select(positive, x, below)
    };
    Elu |_op, b, x| {
        let (zero, below) = (b.f32(0.0), float::exp_minus_one(b, x));
        let negative = b.cmp(l::Predicate::Lt, x, zero);
        b.select(negative, below, x)
    };
    Tanh |_op, b, x| float::tanh(b, x);
    Logistic |_op, b, x| float::logistic(b, x);
    HardSwish |_op, b, x| hard_swish(b, x);
    Abs |_op, b, x| {
        let (bits, mask) = (b.value(l::FloatBits {}, &[x], Type::I32), b.i32(i32::MAX));
        let bits = b.value(l::And {}, &[bits, mask], Type::I32);
        b.value(l::BitsFloat {}, &[bits], Type::F32)
    };
    Neg |_op, b, x| {
        let (bits, sign) = (b.value(l::FloatBits {}, &[x], Type::I32), b.i32(i32::MIN));
        let bits = b.value(l::Xor {}, &[bits, sign], Type::I32);
        b.value(l::BitsFloat {}, &[bits], Type::F32)
    };
    Exp |_op, b, x| float::exp(b, x);
    Log |_op, b, x| float::log(b, x);
    Sqrt |_op, b, x| b.value(l::Sqrt {}, &[x], Type::F32);
    Rsqrt |_op, b, x| {
        let (one, root) = (b.f32(1.0), b.value(l::Sqrt {}, &[x], Type::F32));
        b.value(l::Div {}, &[one, root], Type::F32)
    };
    Square |_op, b, x| b.mul(x, x);
}

impl LowerOp for Lookup {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        lower_table(kernel, 0, &self.table.0);
        Ok(())
    }
}

/// Comparisons of the reference, in which -0.0 and NaN stay.
fn relu(b: &mut Builder<'_>, x: Value, clamp: Clamp) -> Value {
    let Clamp::Real(low, high) = clamp else { return x };
    let (low, high) = (b.f32(low.get()), b.f32(high.get()));
    let is_low = b.cmp(l::Predicate::Lt, x, low);
    let y = b.select(is_low, low, x);
    let is_high = b.cmp(l::Predicate::Gt, x, high);
    b.select(is_high, high, y)
}

/// `x * min(6, max(0, x + 3)) / 6`, in that order.
fn hard_swish(b: &mut Builder<'_>, x: Value) -> Value {
    let (zero, three, six) = (b.f32(0.0), b.f32(3.0), b.f32(6.0));
    let moved = b.add(x, three);
    let gate = b.max(moved, zero);
    let gate = b.min(gate, six);
    let product = b.mul(x, gate);
    b.value(l::Div {}, &[product, six], Type::F32)
}
