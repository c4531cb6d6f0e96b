//! Reductions over axes and normalizations along the last dimension.

use super::{FLOAT, Graph};
use mcunet_ir::Value;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::F32;
use mcunet_ir::types::{Element, Scalar};

impl Graph<'_, '_> {
    pub(super) fn reduction(&mut self) -> Option<()> {
        let _ = if self.random.one_in(3) { self.normalization() } else { self.fold() }?;
        Some(())
    }

    fn fold(&mut self) -> Option<Value> {
        let input = self.number()?;
        let ty = self.ty(input);
        let rank = ty.shape.rank();
        let axes: Vec<usize> = if rank == 4 && self.random.flag() {
            vec![1, 2]
        } else {
            (0..rank).filter(|_| self.random.flag()).collect()
        };
        let keep_dims = self.random.flag();
        if ty.element != FLOAT && axes.len() > 1 && self.random.one_in(4) {
            return self.mean_of_means(input, axes, keep_dims);
        }
        let (op, element): (NnOp, Element) = match self.random.range(0, 6) {
            0 | 1 => (n::Mean { axes, keep_dims }.into(), self.like(&ty.element)),
            2 => (n::Sum { axes, keep_dims }.into(), self.like(&ty.element)),
            3 => (n::ReduceMax { axes, keep_dims }.into(), ty.element),
            4 => (n::ReduceMin { axes, keep_dims }.into(), ty.element),
            which => {
                let axis = self.random.below(rank);
                let op = if which == 5 { n::ArgMax { axis }.into() } else { n::ArgMin { axis }.into() };
                (op, Element::Plain(Scalar::I32))
            }
        };
        self.value(op, &[input], &element)
    }

    /// Over some of the axes first.
    fn mean_of_means(&mut self, input: Value, axes: Vec<usize>, keep_dims: bool) -> Option<Value> {
        let (inner, outer): (Vec<usize>, Vec<usize>) = axes.into_iter().partition(|_| self.random.flag());
        let (scale, zero_point) = (F32(self.random.scale(0.004, 0.5)), self.random.zero_point());
        let element = self.int8();
        self.value(n::MeanOfMeans { inner, outer, keep_dims, scale, zero_point }, &[input], &element)
    }

    fn normalization(&mut self) -> Option<Value> {
        let input = self.number()?;
        let ty = self.ty(input);
        if ty.storage() == Scalar::I16 {
            let (beta, unit) = (self.beta(), crate::tensors::int16_type(1.0 / 32768.0));
            return self.value(n::Softmax { beta }, &[input], &unit);
        }
        let float = ty.element == FLOAT;
        let (op, scale, zero_point): (NnOp, f32, i32) = match self.random.range(0, 3) {
            0 | 1 => {
                let beta = self.beta();
                (n::Softmax { beta }.into(), 1.0 / 256.0, -128)
            }
            2 => (n::LogSoftmax {}.into(), 16.0 / 256.0, 127),
            _ => (n::L2Normalization {}.into(), 1.0 / 128.0, 0),
        };
        let element = if float { FLOAT } else { crate::tensors::int8_type(scale, zero_point) };
        self.value(op, &[input], &element)
    }

    fn beta(&mut self) -> F32 {
        F32(if self.random.flag() { 1.0 } else { self.random.real(0.2, 3.0) })
    }
}
