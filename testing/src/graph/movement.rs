//! Ops that move elements, and interpolation.

use super::Graph;
use mcunet_ir::attr::Number;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::F32;
use mcunet_ir::types::{Element, Scalar, TensorType};
use mcunet_ir::{Tensor, Value};

impl Graph<'_, '_> {
    pub(super) fn movement(&mut self) -> Option<()> {
        if self.random.one_in(5) {
            return self.resize();
        }
        let input = self.find(|ty| ty.shape.rank() > 0)?;
        let ty = self.ty(input);
        let axis = self.random.below(ty.shape.rank());
        let _ = match self.random.range(0, 14) {
            0 | 1 => self.reshape(input, &ty)?,
            2 => {
                let mut permutation: Vec<usize> = (0..ty.shape.rank()).collect();
                // Now and then rows stay rows.
                let kept = if ty.shape.rank() == 4 && self.random.one_in(3) { 2 } else { 0 };
                for i in (kept + 1..permutation.len()).rev() {
                    permutation.swap(i, self.random.size(kept, i));
                }
                self.value(n::Transpose { permutation }, &[input], &ty.element)?
            }
            3 | 4 => self.concat(input, &ty, axis)?,
            5 => self.split(input, &ty, axis)?,
            6 => self.slice(input, &ty)?,
            7 => self.pad(input, &ty)?,
            8 => self.gather(input, &ty, axis)?,
            9 => {
                let others = self.random.size(0, 2);
                let mut inputs = vec![input];
                for _ in 0..others {
                    inputs.extend(self.find(|other| *other == ty));
                }
                let axis = self.random.size(0, ty.shape.rank());
                self.value(n::Pack { axis }, &inputs, &ty.element)?
            }
            10 => self.emit(n::Unpack { axis }, &[input], &ty.element)?[0],
            12 | 13 => self.insert(input, &ty)?,
            11 => {
                let multiples = ty.shape.iter().map(|_| self.random.size(1, 2)).collect();
                self.value(n::Tile { multiples }, &[input], &ty.element)?
            }
            _ => self.depth_or_space()?,
        };
        Some(())
    }

    fn reshape(&mut self, input: Value, ty: &TensorType) -> Option<Value> {
        let mut shape = vec![ty.elements()];
        for _ in 0..self.random.size(0, 3) {
            let last = shape.pop()?;
            let divisors: Vec<usize> = (1..=last).filter(|divisor| last % divisor == 0).collect();
            let divisor = self.random.pick(&divisors);
            shape.extend([divisor, last / divisor]);
        }
        self.value(n::Reshape { shape }, &[input], &ty.element)
    }

    fn concat(&mut self, input: Value, ty: &TensorType, axis: usize) -> Option<Value> {
        let mut inputs = vec![input];
        for _ in 0..self.random.size(1, 3) {
            let fits = |other: &TensorType| {
                let mut shape = other.shape.clone();
                if shape.rank() != ty.shape.rank() || other.element != ty.element {
                    return false;
                }
                shape.0[axis] = ty.shape[axis];
                shape == ty.shape
            };
            inputs.extend(self.find(fits));
        }
        self.value(n::Concat { axis }, &inputs, &ty.element)
    }

    fn split(&mut self, input: Value, ty: &TensorType, axis: usize) -> Option<Value> {
        let mut sizes = Vec::new();
        let mut rest = ty.shape[axis];
        while rest > 0 {
            let size = if sizes.len() == 3 { rest } else { self.random.size(1, rest) };
            sizes.push(size);
            rest -= size;
        }
        Some(self.emit(n::Split { axis, sizes }, &[input], &ty.element)?[0])
    }

    fn slice(&mut self, input: Value, ty: &TensorType) -> Option<Value> {
        let (mut begin, mut size, mut stride) = (Vec::new(), Vec::new(), Vec::new());
        for &dim in ty.shape.iter() {
            let first = self.random.below(dim);
            let step = self.random.pick(&[1i64, 1, 2, 3, -1, -2]);
            let room = if step > 0 { dim - 1 - first } else { first };
            begin.push(first);
            size.push(self.random.size(1, room / step.unsigned_abs() as usize + 1));
            stride.push(step);
        }
        self.value(n::Slice { begin, size, stride }, &[input], &ty.element)
    }

    /// Part of the value, or a value that fits, over the value or over one of its size.
    fn insert(&mut self, input: Value, ty: &TensorType) -> Option<Value> {
        let tile = match self.random.flag() {
            true => self.slice(input, ty)?,
            false => self.find(|other| {
                let inside = other.shape.iter().zip(ty.shape.iter()).all(|(size, dim)| size <= dim);
                other.element == ty.element && other.shape.rank() == ty.shape.rank() && inside
            })?,
        };
        let sizes = self.ty(tile).shape;
        let begin =
            ty.shape.iter().zip(sizes.iter()).map(|(&dim, &size)| self.random.size(0, dim - size)).collect();
        let into = self.find(|other| other == ty)?;
        self.value(n::Insert { begin }, &[into, tile], &ty.element)
    }

    fn pad(&mut self, input: Value, ty: &TensorType) -> Option<Value> {
        // Height and width only, or everywhere.
        let spatial = self.random.flag();
        let amounts = |graph: &mut Self| -> Vec<usize> {
            let rank = ty.shape.rank();
            (0..rank)
                .map(|i| if spatial && rank == 4 && (i == 0 || i == 3) { 0 } else { graph.random.size(0, 2) })
                .collect()
        };
        let (low, high) = (amounts(self), amounts(self));
        let zero_point = ty.affine().map_or(0, |affine| affine.zero_point.into());
        let value = match ty.storage().integer_range() {
            None => Number::Real(F32(self.random.pick(&[0.0, -1.5]))),
            Some((min, max)) => Number::Int(self.random.pick(&[zero_point, zero_point, min, max])),
        };
        self.value(n::Pad { low, high, value }, &[input], &ty.element)
    }

    /// Indices are constant, some of them beyond the ends.
    fn gather(&mut self, input: Value, ty: &TensorType, axis: usize) -> Option<Value> {
        let count = self.random.size(1, 4);
        let reach = ty.shape[axis] as i64;
        let data: Vec<i32> = (0..count).map(|_| self.random.range(-1, reach) as i32).collect();
        let indices = Tensor { ty: TensorType::plain([count], Scalar::I32), data: data.into() };
        let indices = self.constant(indices);
        self.value(n::Gather { axis }, &[input, indices], &ty.element)
    }

    fn depth_or_space(&mut self) -> Option<Value> {
        let block = self.random.size(1, 3);
        let fits = move |ty: &TensorType| {
            ty.shape
                .nhwc()
                .is_some_and(|[_, h, w, c]| c % (block * block) == 0 || (h % block == 0 && w % block == 0))
        };
        let input = self.find(fits)?;
        let ty = self.ty(input);
        let [_, height, width, channels] = ty.shape.nhwc()?;
        let (deep, wide) = (channels % (block * block) == 0, height % block == 0 && width % block == 0);
        if deep && !(wide && self.random.flag()) {
            self.value(n::DepthToSpace { block }, &[input], &ty.element)
        } else {
            self.value(n::SpaceToDepth { block }, &[input], &ty.element)
        }
    }

    fn resize(&mut self) -> Option<()> {
        let input = self.image()?;
        let element: Element = self.ty(input).element;
        let size = [self.random.size(1, 10) as u32, self.random.size(1, 10) as u32];
        let (align_corners, half_pixel_centers) =
            self.random.pick(&[(false, false), (true, false), (false, true)]);
        let _ = if self.random.flag() {
            self.value(n::ResizeBilinear { size, align_corners, half_pixel_centers }, &[input], &element)
        } else {
            self.value(n::ResizeNearest { size, align_corners, half_pixel_centers }, &[input], &element)
        }?;
        Some(())
    }
}
