//! Conversions between number representations.

use super::{FLOAT, Graph};
use mcunet_ir::Value;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::QuantType;
use mcunet_ir::types::{Element, Scalar};

impl Graph<'_, '_> {
    pub(super) fn conversion(&mut self) -> Option<()> {
        let _ = match self.random.range(0, 7) {
            0..=2 => self.quantize(),
            3 | 4 => self.dequantize(),
            5 => {
                let input = self.find(|_| true)?;
                self.value(n::ShapeOf {}, &[input], &Element::Plain(Scalar::I32))
            }
            _ => self.cast(),
        }?;
        Some(())
    }

    fn quantize(&mut self) -> Option<Value> {
        let input = self
            .find_exact(|ty| ty.element == FLOAT || (ty.affine().is_some() && ty.storage() != Scalar::U32))?;
        let element = match self.random.range(0, 5) {
            0 => {
                let zero_point = self.random.range(0, 255) as i32;
                let scale = self.random.scale(0.004, 0.5);
                Element::Quant(QuantType::per_tensor(Scalar::U8, scale, zero_point).into())
            }
            1 => self.int16(),
            _ => self.quantized(),
        };
        self.value(n::Quantize {}, &[input], &element)
    }

    fn dequantize(&mut self) -> Option<Value> {
        let input = self.find(|ty| ty.affine().is_some())?;
        self.value(n::Dequantize {}, &[input], &FLOAT)
    }

    /// To any type that a kernel makes; to truth values and types wider than i32 there is none.
    fn cast(&mut self) -> Option<Value> {
        let input = self.find_exact(|_| true)?;
        let to =
            self.random.pick(&[Scalar::I8, Scalar::I16, Scalar::I32, Scalar::U8, Scalar::U16, Scalar::F32]);
        self.value(n::Cast {}, &[input], &Element::Plain(to))
    }
}
