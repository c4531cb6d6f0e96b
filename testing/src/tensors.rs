//! Random tensors and quantizations.

use crate::Random;
use mcunet_ir::Tensor;
use mcunet_ir::quant::{Affine, F32, Granularity, QuantType};
use mcunet_ir::tensor::Data;
use mcunet_ir::types::{Element, Scalar, Shape, TensorType};

/// An int8 element type, quantized per tensor.
pub fn int8_type(scale: f32, zero_point: i32) -> Element {
    Element::Quant(QuantType::per_tensor(Scalar::I8, scale, zero_point).into())
}

/// An int16 element type, quantized per tensor with zero point 0.
pub fn int16_type(scale: f32) -> Element {
    Element::Quant(QuantType::per_tensor(Scalar::I16, scale, 0).into())
}

impl Random<'_> {
    /// A scale whose logarithm is uniform.
    pub fn scale(&mut self, low: f32, high: f32) -> f32 {
        self.real(low.ln(), high.ln()).exp()
    }

    /// A zero point of int8, often one of the special ones.
    pub fn zero_point(&mut self) -> i32 {
        match self.range(0, 4) {
            0 => 0,
            1 => -128,
            2 => 127,
            _ => self.range(-128, 127) as i32,
        }
    }

    /// int8, quantized per tensor.
    pub fn int8(&mut self, shape: &[usize], scale: f32, zero_point: i32) -> Tensor {
        let quant = QuantType::per_tensor(Scalar::I8, scale, zero_point);
        self.tensor(&TensorType::quantized(Shape(shape.to_vec()), quant))
    }

    /// int8, symmetric, one scale per index along `axis`, or one for all.
    pub fn filter(&mut self, shape: &[usize], axis: usize, scales: (f32, f32)) -> Tensor {
        let mut tensor = self.int8(shape, 1.0, 0);
        let quant = if self.range(0, 3) == 0 {
            QuantType::per_tensor(Scalar::I8, self.scale(scales.0, scales.1), 0)
        } else {
            let channel = |r: &mut Self| Affine { scale: F32(r.scale(scales.0, scales.1)), zero_point: 0 };
            QuantType::per_axis(Scalar::I8, axis, (0..shape[axis]).map(|_| channel(self)).collect())
        };
        tensor.ty.element = Element::Quant(quant.into());
        tensor
    }

    /// The int8 filter with weights and zero point of 4 or 2 bits: the low ones of each.
    pub fn narrowed(&mut self, filter: Tensor) -> Tensor {
        let storage = if self.flag() { Scalar::I4 } else { Scalar::I2 };
        let shift = 8 - storage.bits();
        let narrow = |number: i8| (number << shift) >> shift;
        let (Data::I8(items), Some(quant)) = (&filter.data, filter.ty.quant()) else { return filter };
        let (min, max) = storage.integer_range().unwrap_or_default();
        let granularity = match &quant.granularity {
            Granularity::PerTensor(Affine { scale, zero_point }) => {
                Granularity::PerTensor(Affine { scale: *scale, zero_point: narrow(*zero_point as i8).into() })
            }
            per_axis @ Granularity::PerAxis { .. } => per_axis.clone(),
        };
        let data = Data::I8(items.iter().map(|&item| narrow(item)).collect());
        let ty = TensorType::quantized(filter.ty.shape.clone(), QuantType { storage, min, max, granularity });
        Tensor { ty, data }
    }

    /// i32 of `-reach..=reach`.
    pub fn int32(&mut self, count: usize, reach: i64) -> Tensor {
        let mut random = self.fork();
        let data: Vec<i32> = (0..count).map(|_| random.range(-reach, reach) as i32).collect();
        Tensor { ty: TensorType::plain([count], Scalar::I32), data: data.into() }
    }

    /// f32 of `-reach..reach`.
    pub fn float(&mut self, shape: &[usize], reach: f32) -> Tensor {
        let mut random = self.fork();
        let ty = TensorType::plain(Shape(shape.to_vec()), Scalar::F32);
        let data: Vec<f32> = (0..ty.elements()).map(|_| random.real(-reach, reach)).collect();
        Tensor { ty, data: data.into() }
    }

    /// A tensor of any type: integers over their whole range, floats of -8..8. Now and then only extremes, where
    /// accumulators are largest.
    pub fn tensor(&mut self, ty: &TensorType) -> Tensor {
        let Some((low, high)) = ty.storage().integer_range() else {
            return Tensor { ty: ty.clone(), data: self.float(&ty.shape, 8.0).data };
        };
        let extreme = self.one_in(8);
        let mut random = self.fork();
        let items: Vec<i64> = (0..ty.elements())
            .map(|_| if extreme { random.pick(&[low, high]) } else { random.range(low, high) })
            .collect();
        let zeros = || Data::zeros(ty.storage(), ty.elements());
        let data = Data::from_i64s(ty.storage(), items).unwrap_or_else(zeros);
        Tensor { ty: ty.clone(), data }
    }
}
