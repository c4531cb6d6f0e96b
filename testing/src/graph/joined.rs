//! Concatenations as networks have them: branches of one image, of one element type, that are joined again.

use super::{FLOAT, Graph, is_activation};
use mcunet_ir::attr::{Clamp, Table};
use mcunet_ir::nn::ops as n;
use mcunet_ir::types::{Element, Scalar, TensorType};
use mcunet_ir::{Module, Value};

/// Parts are joined within parts so deep at most.
const MAX_DEPTH: usize = 2;

/// A random graph of branches that are joined, some of them read elsewhere, too.
pub fn joined_module(random: &mut crate::Random<'_>) -> Module {
    let mut graph = Graph::new(random);
    graph.wide = graph.random.one_in(6);
    for _ in 0..graph.random.size(1, 3) {
        let _ = graph.join();
        if graph.random.one_in(3) {
            graph.step();
        }
    }
    if graph.values.is_empty() {
        graph.add_input();
    }
    graph.finish()
}

/// What the parts of a concatenation have in common.
struct Branches {
    /// What they are made from: an image of batch 1.
    image: Value,
    ty: TensorType,
    /// Element type of the parts.
    element: Element,
    axis: usize,
}

impl Graph<'_, '_> {
    fn join(&mut self) -> Option<()> {
        let fits = |ty: &TensorType| {
            let single = matches!(ty.shape.nhwc(), Some([1, ..]));
            single && (ty.element == FLOAT || is_activation(ty)) && ty.elements() <= 500
        };
        let image = match self.find_exact(fits) {
            Some(image) => image,
            None => {
                let element = if self.random.one_in(5) { FLOAT } else { self.quantized() };
                let mut shape = self.image_shape();
                shape.0[0] = 1;
                let name = format!("x{}", self.function.inputs.len());
                let value = self.function.add_input(name, TensorType { shape, element }.into());
                self.values.push(value);
                value
            }
        };
        let image = if self.random.one_in(3) { self.piece(image).unwrap_or(image) } else { image };
        let ty = self.ty(image);
        let element = if self.random.flag() { ty.element.clone() } else { self.like(&ty.element) };
        let axis = self.random.pick(&[3, 3, 3, 3, 1, 1, 2, 0]);
        let whole = self.joined(&Branches { image, ty, element, axis }, 0)?;
        match self.random.range(0, 3) {
            0 => {
                let _ = self.pointwise(whole);
            }
            1 => {
                let shape = vec![self.ty(whole).elements()];
                let element = self.ty(whole).element;
                let _ = self.value(n::Reshape { shape }, &[whole], &element);
            }
            _ => {}
        }
        Some(())
    }

    /// A slice of an image, or a piece of it, of which others may read the rest.
    fn piece(&mut self, image: Value) -> Option<Value> {
        let ty = self.ty(image);
        let axis = self.random.pick(&[3, 3, 1, 2]);
        let size = ty.shape[axis].checked_sub(1).filter(|&size| size > 0)?;
        let size = self.random.size(1, size);
        if self.random.flag() {
            let sizes = vec![size, ty.shape[axis] - size];
            let pieces = self.emit(n::Split { axis, sizes }, &[image], &ty.element)?;
            return Some(self.random.pick(&pieces));
        }
        let (mut begin, mut sizes) = (vec![0; 4], ty.shape.0.clone());
        begin[axis] = self.random.size(0, ty.shape[axis] - size);
        sizes[axis] = size;
        self.value(n::Slice { begin, size: sizes, stride: vec![1; 4] }, &[image], &ty.element)
    }

    fn joined(&mut self, branches: &Branches, depth: usize) -> Option<Value> {
        let mut parts = Vec::new();
        for _ in 0..self.random.size(2, 4) {
            let part = match parts.last() {
                // The same again.
                Some(&last) if self.random.one_in(8) => Some(last),
                _ => self.part(branches, depth),
            };
            let Some(part) = part else { continue };
            if self.random.one_in(5) {
                let _ = self.read_elsewhere(part);
            }
            parts.push(part);
        }
        let axis = if depth > 0 && self.random.one_in(4) { branches.axis.max(1) } else { branches.axis };
        self.value(n::Concat { axis }, &parts, &branches.element)
    }

    fn part(&mut self, branches: &Branches, depth: usize) -> Option<Value> {
        let Branches { image, ty, element, .. } = branches;
        let is_int8 = element.storage() == Scalar::I8;
        match self.random.range(0, 12) {
            0..=2 => self.same_convolution(*image, ty, element),
            3 => self.same_depthwise(*image, ty, element),
            4 => {
                let made = self.value(
                    n::MaxPool2d { kernel: [3, 3], stride: [1, 1], pad: [1; 4], clamp: Clamp::None },
                    &[*image],
                    &ty.element,
                )?;
                self.requantized(made, element)
            }
            5 => {
                let clamp = Clamp::None;
                let op = n::AvgPool2d { kernel: [1, 3], stride: [1, 1], pad: [0, 0, 1, 1], clamp };
                let made = self.value(op, &[*image], &ty.element)?;
                self.requantized(made, element)
            }
            6 => self.value(n::Add { clamp: Clamp::None }, &[*image, *image], element),
            7 if is_int8 => {
                let table = std::array::from_fn(|_| self.random.range(-128, 127) as i8);
                self.value(n::Lookup { table: Table::from(table) }, &[*image], element)
            }
            8 => {
                let [_, height, width, _] = ty.shape.nhwc()?;
                let size = [height as u32, width as u32];
                let op = n::ResizeNearest { size, align_corners: false, half_pixel_centers: false };
                let made = self.value(op, &[*image], &ty.element)?;
                self.requantized(made, element)
            }
            9 if depth < MAX_DEPTH => self.joined(branches, depth + 1),
            10 => {
                // Constant, or another input.
                let ty = TensorType { shape: ty.shape.clone(), element: element.clone() };
                if self.random.flag() {
                    let tensor = self.random.tensor(&ty);
                    return Some(self.constant(tensor));
                }
                let name = format!("x{}", self.function.inputs.len());
                Some(self.function.add_input(name, ty.into()))
            }
            11 => {
                let piece = self.piece(*image)?;
                // Channels may be fewer; other sizes must stay.
                let same = self.ty(piece).shape[1..3] == ty.shape[1..3];
                self.requantized(if same { piece } else { *image }, element)
            }
            _ => self.requantized(*image, element),
        }
    }

    /// A value of another quantization, if it has not the wanted one.
    fn requantized(&mut self, value: Value, element: &Element) -> Option<Value> {
        if self.ty(value).element == *element {
            return Some(value);
        }
        self.value(n::Quantize {}, &[value], element)
    }

    fn same_convolution(&mut self, image: Value, ty: &TensorType, element: &Element) -> Option<Value> {
        let channels = ty.shape.nhwc()?[3];
        let taps = self.random.pick(&[1, 3]);
        let outputs = self.random.size(1, 9);
        let [filter, bias] = self.parameters(&ty.element, &[outputs, taps, taps, channels], 0, true);
        let pad = [(taps / 2) as u32; 4];
        let op = n::Conv2d { stride: [1, 1], pad, dilation: [1, 1], clamp: self.clamp(element) };
        self.value(op, &[image, filter, bias], element)
    }

    fn same_depthwise(&mut self, image: Value, ty: &TensorType, element: &Element) -> Option<Value> {
        let channels = ty.shape.nhwc()?[3];
        let [filter, bias] = self.parameters(&ty.element, &[1, 3, 3, channels], 3, true);
        let op =
            n::DepthwiseConv2d { stride: [1, 1], pad: [1; 4], dilation: [1, 1], clamp: self.clamp(element) };
        self.value(op, &[image, filter, bias], element)
    }

    fn pointwise(&mut self, value: Value) -> Option<Value> {
        let ty = self.ty(value);
        let channels = ty.shape.nhwc()?[3];
        let outputs = self.random.size(1, 5);
        let [filter, bias] = self.parameters(&ty.element, &[outputs, 1, 1, channels], 0, true);
        let element = self.like(&ty.element);
        let op = n::Conv2d { stride: [1, 1], pad: [0; 4], dilation: [1, 1], clamp: Clamp::None };
        self.value(op, &[value, filter, bias], &element)
    }

    fn read_elsewhere(&mut self, part: Value) -> Option<Value> {
        let ty = self.ty(part);
        match self.random.range(0, 3) {
            0 => self.pointwise(part),
            1 if !self.rough.contains(&part) => {
                let element = self.like(&ty.element);
                self.value(n::Add { clamp: Clamp::None }, &[part, part], &element)
            }
            _ => {
                let [_, height, ..] = ty.shape.nhwc()?;
                let kernel = [height.min(2) as u32, 1];
                let op = n::MaxPool2d { kernel, stride: [1, 1], pad: [0; 4], clamp: Clamp::None };
                self.value(op, &[part], &ty.element)
            }
        }
    }
}
