//! Left sides of rules that move elements.

use super::{FLOAT, Sketch};
use mcunet_ir::Value;
use mcunet_ir::attr::{Clamp, Number};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::F32;

impl Sketch<'_, '_> {
    pub(super) fn transposes(&mut self) -> Option<Vec<Value>> {
        let (element, shape) = (self.element(), self.image());
        let x = self.input(&shape, &element);
        let (first, second) = (self.permutation(4), self.permutation(4));
        let value = self.transpose(x, &first)?;
        Some(vec![self.transpose(value, &second)?])
    }

    pub(super) fn transpose_of_ones(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let x = self.input(&[1, 1, 5, 3], &element);
        let permutation = self.random.pick(&[[0, 2, 1, 3], [1, 2, 0, 3], [2, 3, 0, 1], [2, 0, 1, 3]]);
        Some(vec![self.transpose(x, &permutation)?])
    }

    pub(super) fn elementwise_of_transposed(&mut self) -> Option<Vec<Value>> {
        let (element, shape) = (self.int8(), self.image());
        let x = self.input(&shape, &element);
        let permutation = self.permutation(4);
        let lhs = self.transpose(x, &permutation)?;
        let clamp = Clamp::None;
        let rhs = match self.random.range(0, 3) {
            0 => return Some(vec![self.function(lhs)?]),
            1 => {
                let y = self.input(&shape, &element);
                self.transpose(y, &permutation)?
            }
            2 => {
                let mut ty = self.ty(lhs);
                ty.shape.0[self.random.below(4)] = 1;
                let tensor = self.random.tensor(&ty);
                self.constant(tensor)
            }
            _ => self.uniform(&element),
        };
        Some(vec![self.op(n::Add { clamp }, &[lhs, rhs], &element)?])
    }

    pub(super) fn window_of_exchanged(&mut self) -> Option<Vec<Value>> {
        let (element, result) = (self.int8(), self.int8());
        let shape = [1, self.random.size(3, 6), self.random.size(3, 6), self.random.size(1, 4)];
        let x = self.input(&shape, &element);
        let x = self.transpose(x, &[0, 2, 1, 3])?;
        let taps = [self.random.size(1, 3), self.random.size(1, 3)];
        let clamp = self.clamp(&result);
        let (kernel, stride, pad) = (taps.map(|taps| taps as u32), [1, 2], [0, 0, 0, 0]);
        let value = match self.random.range(0, 3) {
            0 => self.convolution(x, taps, 3, &result, clamp)?,
            1 => self.depthwise(x, taps, &result, clamp)?,
            2 => self.op(n::AvgPool2d { kernel, stride, pad, clamp }, &[x], &element)?,
            _ => self.op(n::MaxPool2d { kernel, stride, pad, clamp }, &[x], &element)?,
        };
        Some(vec![value])
    }

    pub(super) fn reduction_of_transposed(&mut self) -> Option<Vec<Value>> {
        let (element, result, shape) = (self.int8(), self.int8(), self.image());
        let x = self.input(&shape, &element);
        let permutation = self.permutation(4);
        let x = self.transpose(x, &permutation)?;
        let axes: Vec<usize> = (0..4).filter(|_| self.random.flag()).collect();
        let keep_dims = self.random.flag();
        let value = match self.random.range(0, 2) {
            0 => self.op(n::Mean { axes, keep_dims }, &[x], &result)?,
            1 => self.op(n::Sum { axes, keep_dims }, &[x], &result)?,
            _ => self.op(n::ReduceMax { axes, keep_dims }, &[x], &element)?,
        };
        Some(vec![value])
    }

    pub(super) fn concat_of_transposed(&mut self) -> Option<Vec<Value>> {
        let (element, shape) = (self.element(), self.image());
        let permutation = self.permutation(4);
        let parts: Option<Vec<Value>> = (0..self.random.size(2, 3))
            .map(|_| {
                let x = self.input(&shape, &element);
                self.transpose(x, &permutation)
            })
            .collect();
        let axis = self.random.below(4);
        Some(vec![self.op(n::Concat { axis }, &parts?, &element)?])
    }

    pub(super) fn identity(&mut self) -> Option<Vec<Value>> {
        let (element, shape) = (self.element(), self.image());
        let x = self.input(&shape, &element);
        let zero = if element == FLOAT { Number::Real(F32(0.0)) } else { Number::Int(0) };
        let op: NnOp = match self.random.range(0, 4) {
            0 => n::Reshape { shape: shape.to_vec() }.into(),
            1 => n::Slice { begin: vec![0; 4], size: shape.to_vec(), stride: vec![1; 4] }.into(),
            2 => n::Concat { axis: 1 }.into(),
            3 => n::Pad { low: vec![0; 4], high: vec![0; 4], value: zero }.into(),
            _ => n::Tile { multiples: vec![1; 4] }.into(),
        };
        Some(vec![self.op(op, &[x], &element)?])
    }

    pub(super) fn reshapes(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let x = self.input(&[2, 3, 4], &element);
        let x = self.op(n::Reshape { shape: vec![6, 4] }, &[x], &element)?;
        let shape = self.random.pick(&[vec![24], vec![2, 3, 4], vec![4, 6]]);
        Some(vec![self.op(n::Reshape { shape }, &[x], &element)?])
    }

    pub(super) fn reshaped_reduction(&mut self) -> Option<Vec<Value>> {
        let (element, shape) = (self.element(), self.image());
        let x = self.input(&shape, &element);
        let axes: Vec<usize> = (0..4).filter(|_| self.random.flag()).collect();
        let kept = (0..4).map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] }).collect();
        let op: NnOp = match self.random.range(0, 2) {
            0 => n::Mean { axes, keep_dims: false }.into(),
            1 => n::Sum { axes, keep_dims: false }.into(),
            _ => n::ReduceMin { axes, keep_dims: false }.into(),
        };
        let reduced = self.op(op, &[x], &element)?;
        Some(vec![self.op(n::Reshape { shape: kept }, &[reduced], &element)?])
    }

    pub(super) fn split(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let x = self.input(&[2, 7, 3], &element);
        let first = self.random.size(1, 3);
        self.all(n::Split { axis: 1, sizes: vec![first, 2, 5 - first] }, &[x], &element)
    }

    pub(super) fn slices(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let x = self.input(&[9, 8], &element);
        let stride = vec![self.random.range(1, 2), 1];
        let inner = n::Slice { begin: vec![self.random.below(2), 1], size: vec![4, 6], stride };
        let x = self.op(inner, &[x], &element)?;
        let stride = vec![1, self.random.range(1, 2)];
        let outer = n::Slice { begin: vec![1, self.random.below(2)], size: vec![2, 3], stride };
        Some(vec![self.op(outer, &[x], &element)?])
    }

    pub(super) fn slice_of_concat(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let parts = [self.input(&[3, 4], &element), self.input(&[3, 5], &element)];
        let joined = self.op(n::Concat { axis: 1 }, &parts, &element)?;
        let begin = self.random.pick(&[0, 1, 2, 4, 5]);
        let slice =
            n::Slice { begin: vec![self.random.below(2), begin], size: vec![2, 2], stride: vec![1, 1] };
        Some(vec![self.op(slice, &[joined], &element)?])
    }

    pub(super) fn concat_of_slices(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let x = self.input(&[3, 9], &element);
        let mut begin = self.random.below(3);
        let mut parts = Vec::new();
        for _ in 0..self.random.size(2, 3) {
            let size = self.random.size(1, 2);
            let slice = n::Slice { begin: vec![0, begin], size: vec![3, size], stride: vec![1, 1] };
            parts.push(self.op(slice, &[x], &element)?);
            begin += size;
        }
        Some(vec![self.op(n::Concat { axis: 1 }, &parts, &element)?])
    }

    pub(super) fn concats(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let [x, y, z] = [2, 3, 1].map(|size| self.input(&[2, size], &element));
        let inner = self.op(n::Concat { axis: 1 }, &[x, y], &element)?;
        let operands = if self.random.flag() { vec![inner, z] } else { vec![z, inner, x] };
        Some(vec![self.op(n::Concat { axis: 1 }, &operands, &element)?])
    }

    pub(super) fn pads(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let mut x = self.input(&[2, 3], &element);
        let value = if element == FLOAT { Number::Real(F32(0.5)) } else { Number::Int(-7) };
        for _ in 0..2 {
            let [low, high] = [0, 0].map(|_: i32| vec![self.random.below(3), self.random.below(3)]);
            x = self.op(n::Pad { low, high, value }, &[x], &element)?;
        }
        Some(vec![x])
    }

    pub(super) fn moved_floats(&mut self) -> Option<Vec<Value>> {
        let element = self.int8();
        let x = self.input(&[2, 4, 4, 4], &element);
        let value = self.op(n::Dequantize {}, &[x], &FLOAT)?;
        let op: NnOp = match self.random.range(0, 6) {
            0 => n::Reshape { shape: vec![8, 16] }.into(),
            1 => n::Transpose { permutation: self.permutation(4) }.into(),
            2 => n::Tile { multiples: vec![1, 2, 1, 1] }.into(),
            3 => n::DepthToSpace { block: 2 }.into(),
            4 => n::SpaceToDepth { block: 2 }.into(),
            5 => n::ReduceMax { axes: vec![1, 2], keep_dims: false }.into(),
            _ => {
                let y = self.input(&[2, 4, 4, 4], &element);
                let other = self.op(n::Dequantize {}, &[y], &FLOAT)?;
                return Some(vec![self.op(n::Concat { axis: 3 }, &[value, other], &FLOAT)?]);
            }
        };
        Some(vec![self.op(op, &[value], &FLOAT)?])
    }
}
