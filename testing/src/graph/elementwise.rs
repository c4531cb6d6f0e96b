//! Ops of one or two operands, element by element.

use super::{FLOAT, Graph, is_activation};
use mcunet_ir::Value;
use mcunet_ir::attr::{Clamp, Table};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::nn::requantize::integer_limits;
use mcunet_ir::quant::F32;
use mcunet_ir::types::{Element, Scalar, Shape, TensorType};

impl Graph<'_, '_> {
    pub(super) fn elementwise(&mut self) -> Option<()> {
        let _ = if self.random.flag() { self.unary() } else { self.binary() }?;
        Some(())
    }

    fn unary(&mut self) -> Option<Value> {
        if self.random.one_in(5) {
            return self.rectifier_of_anything();
        }
        let mut input = self.number()?;
        let is_float = self.ty(input).element == FLOAT;
        if self.ty(input).storage() == Scalar::I8 && self.random.one_in(8) {
            let table = std::array::from_fn(|_| self.random.range(-128, 127) as i8);
            let element = self.int8();
            return self.value(n::Lookup { table: Table::from(table) }, &[input], &element);
        }
        let op: NnOp = match self.random.range(0, 11) {
            0 => n::LeakyRelu { alpha: F32(self.random.real(-0.5, 1.5)) }.into(),
            1 => n::Elu {}.into(),
            2 => n::Tanh {}.into(),
            3 => n::Logistic {}.into(),
            4 => n::HardSwish {}.into(),
            5 => n::Abs {}.into(),
            6 => n::Neg {}.into(),
            7 => n::Exp {}.into(),
            8 => n::Log {}.into(),
            9 => n::Sqrt {}.into(),
            10 => n::Rsqrt {}.into(),
            _ => n::Square {}.into(),
        };
        if is_float {
            input = match op {
                NnOp::Log(_) | NnOp::Sqrt(_) | NnOp::Rsqrt(_) => self.positive(input)?,
                _ => self.bounded(input)?,
            };
        }
        let ty = self.ty(input);
        // Some ops have one result quantization, or keep the operand's; the rest take any.
        let element = match (&op, ty.storage()) {
            (NnOp::Tanh(_), Scalar::I8) => crate::tensors::int8_type(1.0 / 128.0, 0),
            (NnOp::Logistic(_), Scalar::I8) => crate::tensors::int8_type(1.0 / 256.0, -128),
            (NnOp::Tanh(_) | NnOp::Logistic(_), Scalar::I16) => crate::tensors::int16_type(1.0 / 32768.0),
            _ if self.random.one_in(4) => ty.element.clone(),
            _ => self.like(&ty.element),
        };
        self.value(op, &[input], &element)
    }

    fn rectifier_of_anything(&mut self) -> Option<Value> {
        let input = self.find(|ty| ty.element == FLOAT || is_activation(ty))?;
        let ty = self.ty(input);
        let element = if self.random.flag() { ty.element.clone() } else { self.like(&ty.element) };
        let clamp = match self.clamp(&element) {
            Clamp::None if element == FLOAT => Clamp::Real(F32(0.0), F32(6.0)),
            Clamp::None => {
                let (low, high) = integer_limits(Clamp::None, element.storage());
                Clamp::Int(self.random.range(low.into(), high.into()) as i32, high)
            }
            clamp => clamp,
        };
        self.value(n::Relu { clamp }, &[input], &element)
    }

    /// A float within -4..4, so that powers and products stay finite.
    fn bounded(&mut self, value: Value) -> Option<Value> {
        let clamp = Clamp::Real(F32(-4.0), F32(4.0));
        self.value(n::Relu { clamp }, &[value], &FLOAT)
    }

    /// A float of 0.25..4, for functions with a pole at zero.
    fn positive(&mut self, value: Value) -> Option<Value> {
        let clamp = Clamp::Real(F32(0.25), F32(4.0));
        self.value(n::Relu { clamp }, &[value], &FLOAT)
    }

    fn binary(&mut self) -> Option<Value> {
        let mut lhs = self.find_exact(|ty| {
            ty.element == FLOAT || is_activation(ty) || ty.element == Element::Plain(Scalar::I32)
        })?;
        let same_quantization = self.random.one_in(3);
        let mut rhs = self.partner(lhs, same_quantization)?;
        let ty = self.ty(lhs);
        if ty.element == FLOAT {
            (lhs, rhs) = (self.bounded(lhs)?, self.bounded(rhs)?);
        }
        let element = if same_quantization { ty.element.clone() } else { self.like(&ty.element) };
        let clamp = match ty.element {
            Element::Plain(Scalar::I32) => Clamp::None,
            _ => self.clamp(&element),
        };
        let op: NnOp = match self.random.range(0, 7) {
            0 | 1 => n::Add { clamp }.into(),
            2 => n::Sub { clamp }.into(),
            3 => n::Mul { clamp }.into(),
            4 => n::Div { clamp }.into(),
            5 => n::SquaredDifference {}.into(),
            6 => n::Prelu {}.into(),
            _ => {
                let op: NnOp = if self.random.flag() { n::Maximum {}.into() } else { n::Minimum {}.into() };
                let rhs = if same_quantization { rhs } else { self.partner(lhs, true)? };
                return self.value(op, &[lhs, rhs], &ty.element);
            }
        };
        if matches!(op, NnOp::Div(_)) && ty.element == FLOAT {
            rhs = self.positive(rhs)?;
        }
        // Slopes of int16 are int8.
        if matches!(op, NnOp::Prelu(_)) && ty.storage() == Scalar::I16 {
            let slopes = self.int8();
            rhs = self.broadcast_constant(&ty, slopes);
        }
        let operands = if self.random.one_in(4) && !matches!(op, NnOp::Div(_) | NnOp::Prelu(_)) {
            [rhs, lhs]
        } else {
            [lhs, rhs]
        };
        self.value(op, &operands, &element)
    }

    /// Something of the same storage that broadcasts with `value`: another value, itself, or a constant.
    fn partner(&mut self, value: Value, same_quantization: bool) -> Option<Value> {
        let ty = self.ty(value);
        if self.random.flag() {
            let wanted = ty.clone();
            let other = self.find_exact(move |other| {
                let alike = if same_quantization || !is_activation(&wanted) {
                    other.element == wanted.element
                } else {
                    other.storage() == wanted.storage() && other.affine().is_some()
                };
                alike && mcunet_ir::nn::broadcast::broadcast_shape(&wanted.shape, &other.shape).is_ok()
            });
            return other.or(Some(value));
        }
        let element = if same_quantization { ty.element.clone() } else { self.like(&ty.element) };
        Some(self.broadcast_constant(&ty, element))
    }

    /// A constant that broadcasts with a type.
    fn broadcast_constant(&mut self, ty: &TensorType, element: Element) -> Value {
        let mut dims = ty.shape.0.clone();
        for dim in &mut dims {
            if self.random.one_in(3) {
                *dim = 1;
            }
        }
        let dropped = if self.random.one_in(3) { self.random.below(dims.len().max(1)) } else { 0 };
        let shape = Shape(dims.split_off(dropped.min(dims.len())));
        let tensor = self.random.tensor(&TensorType { shape, element });
        self.constant(tensor)
    }
}
