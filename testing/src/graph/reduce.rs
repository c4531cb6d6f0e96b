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

    fn normalization(&mut self) -> Option<Value> {
        let input = self.number()?;
        let float = self.ty(input).element == FLOAT;
        let (op, scale, zero_point): (NnOp, f32, i32) = match self.random.range(0, 3) {
            0 | 1 => {
                let beta = F32(if self.random.flag() { 1.0 } else { self.random.real(0.2, 3.0) });
                (n::Softmax { beta }.into(), 1.0 / 256.0, -128)
            }
            2 => (n::LogSoftmax {}.into(), 16.0 / 256.0, 127),
            _ => (n::L2Normalization {}.into(), 1.0 / 128.0, 0),
        };
        let element = if float { FLOAT } else { crate::tensors::int8_type(scale, zero_point) };
        self.value(op, &[input], &element)
    }
}
