//! Left sides of the rules of `fuse`, one generator per rule: random graphs to which the rule applies in most cases.

use crate::Random;
use crate::tensors::int8_type;
use mcunet_ir::attr::{Clamp, Number, Table};
use mcunet_ir::module::Port;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::{F32, QuantType};
use mcunet_ir::types::{Element, Scalar, Shape};
use mcunet_ir::{Builder, Function, Module, OpKind, Tensor, TensorType, Type, Value};

const FLOAT: Element = Element::Plain(Scalar::F32);

/// A graph with the left side of a rule. `None` if the rule is unknown, or the choices make no valid graph.
pub fn left_side(rule: &str, random: &mut Random<'_>) -> Option<Module> {
    let mut sketch = Sketch::new(random);
    let result = match rule {
        "compose-tables" => sketch.chain_of_functions(),
        "join-functions" => sketch.functions_of_one(),
        "drop-function" => sketch.function_of_clamped(),
        "function-before-reshape" => sketch.function_of_reshaped(),
        "clamp-into-producer" => sketch.clamped_producer(),
        "requantize-into-producer" => sketch.requantized_producer(),
        "real-clamp-into-producer" => sketch.rectified_float(),
        "mean-of-means" | "merge-means" => sketch.means(),
        "compose-transposes" => sketch.transposes(),
        "transpose-as-reshape" => sketch.transpose_of_ones(),
        "transpose-after-elementwise" => sketch.elementwise_of_transposed(),
        "transpose-after-window" => sketch.window_of_exchanged(),
        "transpose-after-reduction" => sketch.reduction_of_transposed(),
        "transpose-after-concat" => sketch.concat_of_transposed(),
        "drop-identity" => sketch.identity(),
        "compose-reshapes" => sketch.reshapes(),
        "reshape-of-reduction" => sketch.reshaped_reduction(),
        "split-as-slices" => sketch.split(),
        "compose-slices" => sketch.slices(),
        "slice-of-concat" => sketch.slice_of_concat(),
        "concat-of-slices" => sketch.concat_of_slices(),
        "concat-of-concats" => sketch.concats(),
        "compose-pads" => sketch.pads(),
        "join-convolutions" => sketch.parallel_convolutions(),
        "convolution-as-linear" => sketch.convolution_of_all(),
        "linear-as-convolution" => sketch.linear_over_channels(),
        "scale-into-weights" => sketch.linear_and_constant(true),
        "shift-into-bias" => sketch.linear_and_constant(false),
        "multiply-linear" => sketch.two_linear(),
        "table-of-floats" => sketch.floats_between(),
        "dequantize-after-movement" => sketch.moved_floats(),
        "integer-arithmetic" => sketch.float_arithmetic(),
        _ => None,
    }?;
    Some(sketch.finish(result))
}

struct Sketch<'r, 'a> {
    random: &'r mut Random<'a>,
    module: Module,
    function: Function,
}

impl<'r, 'a> Sketch<'r, 'a> {
    fn new(random: &'r mut Random<'a>) -> Self {
        Self { random, module: Module::new("left"), function: Function::new("main") }
    }

    fn input(&mut self, shape: &[usize], element: &Element) -> Value {
        let number = self.function.inputs.len();
        let ty = TensorType { shape: Shape(shape.to_vec()), element: element.clone() };
        self.function.add_input(format!("x{number}"), ty.into())
    }

    fn constant(&mut self, tensor: Tensor) -> Value {
        let value = self.module.add_resource("weights", tensor.data.scalar(), tensor.data.to_bytes());
        let body = self.function.body;
        let ty = Type::from(tensor.ty);
        Builder::at_end(&mut self.function, body).value(n::Const { value }, &[], ty)
    }

    fn ty(&self, value: Value) -> TensorType {
        self.function.ty(value).as_tensor().expect("sketches hold tensors only").clone()
    }

    /// All results of an operation; `None` if it refuses its operands.
    fn all(&mut self, op: impl Into<NnOp>, operands: &[Value], element: &Element) -> Option<Vec<Value>> {
        let op = op.into();
        let types: Vec<TensorType> = operands.iter().map(|&value| self.ty(value)).collect();
        let types: Vec<&TensorType> = types.iter().collect();
        let shapes = op.semantics().infer_shapes(&types).ok()?;
        let results: Vec<TensorType> =
            shapes.into_iter().map(|shape| TensorType { shape, element: element.clone() }).collect();
        let mut refused = Vec::new();
        op.semantics().verify(&types, &results.iter().collect::<Vec<_>>(), &mut refused);
        if !refused.is_empty() {
            return None;
        }
        let results: Vec<Type> = results.into_iter().map(Type::from).collect();
        let body = self.function.body;
        let op = Builder::at_end(&mut self.function, body).op(OpKind::Nn(op), operands, &results);
        Some(self.function.ops[op].results.clone())
    }

    fn op(&mut self, op: impl Into<NnOp>, operands: &[Value], element: &Element) -> Option<Value> {
        self.all(op, operands, element).map(|results| results[0])
    }

    fn finish(mut self, results: Vec<Value>) -> Module {
        self.function.outputs = results
            .iter()
            .enumerate()
            .map(|(i, &value)| Port { name: format!("y{i}").into(), ty: self.function.ty(value).clone() })
            .collect();
        let body = self.function.body;
        Builder::at_end(&mut self.function, body).op(mcunet_ir::builtin::Return {}, &results, &[]);
        self.module.functions.push(self.function);
        self.module
    }

    fn int8(&mut self) -> Element {
        int8_type(self.random.scale(0.01, 0.2), self.random.zero_point())
    }

    fn element(&mut self) -> Element {
        if self.random.flag() { FLOAT } else { self.int8() }
    }

    fn image(&mut self) -> [usize; 4] {
        [self.random.size(1, 2), self.random.size(1, 6), self.random.size(1, 6), self.random.size(1, 5)]
    }

    fn clamp(&mut self, element: &Element) -> Clamp {
        match (self.random.flag(), element.storage()) {
            (false, _) => Clamp::None,
            (true, Scalar::F32) => Clamp::Real(F32(-1.0), F32(6.0)),
            _ => Clamp::Int(self.random.range(-128, 0) as i32, self.random.range(1, 127) as i32),
        }
    }

    /// A function of an int8 number.
    fn function(&mut self, x: Value) -> Option<Value> {
        let (element, own) = (self.int8(), self.ty(x).element);
        match self.random.range(0, 8) {
            0 => self.op(n::Tanh {}, &[x], &int8_type(1.0 / 128.0, 0)),
            1 => self.op(n::Logistic {}, &[x], &int8_type(1.0 / 256.0, -128)),
            2 => self.op(n::HardSwish {}, &[x], &element),
            3 => self.op(n::Quantize {}, &[x], &element),
            4 => {
                let table: [i8; 256] = std::array::from_fn(|_| self.random.range(-128, 127) as i8);
                self.op(n::Lookup { table: Table::from(table) }, &[x], &element)
            }
            5 | 6 => {
                let constant = self.uniform(&element);
                let clamp = self.clamp(&own);
                let operands = if self.random.flag() { [x, constant] } else { [constant, x] };
                let op: NnOp = match self.random.range(0, 2) {
                    0 => n::Add { clamp }.into(),
                    1 => n::Sub { clamp }.into(),
                    _ => n::Mul { clamp }.into(),
                };
                self.op(op, &operands, &own)
            }
            which => {
                let constant = self.uniform(&own);
                let op: NnOp = if which == 7 { n::Maximum {}.into() } else { n::Minimum {}.into() };
                self.op(op, &[x, constant], &own)
            }
        }
    }

    /// A constant of one number, in one element or several.
    fn uniform(&mut self, element: &Element) -> Value {
        let ty = TensorType { shape: [1].into(), element: element.clone() };
        let tensor = self.random.tensor(&ty);
        self.constant(tensor)
    }

    fn chain_of_functions(&mut self) -> Option<Vec<Value>> {
        let element = self.int8();
        let mut value = self.input(&[64], &element);
        for _ in 0..self.random.size(2, 4) {
            value = self.function(value)?;
        }
        Some(vec![value])
    }

    fn functions_of_one(&mut self) -> Option<Vec<Value>> {
        let element = self.int8();
        let x = self.input(&[64], &element);
        let lhs = if self.random.flag() { x } else { self.function(x)? };
        let rhs = self.function(x)?;
        let (result, clamp) = (self.int8(), Clamp::None);
        let op: NnOp = match self.random.range(0, 2) {
            0 => n::Add { clamp }.into(),
            1 => n::SquaredDifference {}.into(),
            _ => n::Mul { clamp }.into(),
        };
        Some(vec![self.op(op, &[lhs, rhs], &result)?])
    }

    fn function_of_clamped(&mut self) -> Option<Vec<Value>> {
        let element = int8_type(0.1, self.random.range(-20, 20) as i32);
        let shape = self.image();
        let value = self.input(&shape, &element);
        let (low, high) = (self.random.range(-60, 0) as i32, self.random.range(1, 60) as i32);
        let clamped = self.op(n::Relu { clamp: Clamp::Int(low, high) }, &[value], &element)?;
        let clamp = Clamp::Int(low - self.random.range(0, 9) as i32, high + self.random.range(0, 9) as i32);
        Some(vec![self.op(n::Relu { clamp }, &[clamped], &element)?])
    }

    fn function_of_reshaped(&mut self) -> Option<Vec<Value>> {
        let element = self.int8();
        let value = self.input(&[2, 3, 8], &element);
        let value = self.op(n::Reshape { shape: vec![6, 8] }, &[value], &element)?;
        Some(vec![self.function(value)?])
    }

    /// A convolution with random weights; `axis` of the filter is the output channel.
    fn convolution(
        &mut self,
        x: Value,
        taps: [usize; 2],
        outputs: usize,
        result: &Element,
        clamp: Clamp,
    ) -> Option<Value> {
        let ty = self.ty(x);
        let channels = ty.shape[3];
        let operands = self.weights(x, &[outputs, taps[0], taps[1], channels], 0);
        let pad = [taps[0], taps[0], taps[1], taps[1]].map(|taps| self.random.below(taps) as u32);
        let stride = [self.random.size(1, 2) as u32, self.random.size(1, 2) as u32];
        self.op(n::Conv2d { stride, pad, dilation: [1, 1], clamp }, &operands, result)
    }

    fn depthwise(&mut self, x: Value, taps: [usize; 2], result: &Element, clamp: Clamp) -> Option<Value> {
        let channels = self.ty(x).shape[3];
        let operands = self.weights(x, &[1, taps[0], taps[1], channels], 3);
        let pad = [taps[0], taps[0], taps[1], taps[1]].map(|taps| self.random.below(taps) as u32);
        self.op(n::DepthwiseConv2d { stride: [1, 1], pad, dilation: [1, 1], clamp }, &operands, result)
    }

    /// The value with a filter whose output channel is `axis`, and a bias.
    fn weights(&mut self, x: Value, shape: &[usize], axis: usize) -> [Value; 3] {
        let float = self.ty(x).element == FLOAT;
        let filter = if float {
            self.random.float(shape, 1.0)
        } else {
            self.random.filter(shape, axis, (0.002, 0.02))
        };
        let bias =
            if float { self.random.float(&[shape[axis]], 1.0) } else { self.random.int32(shape[axis], 500) };
        [x, self.constant(filter), self.constant(bias)]
    }

    fn clamped_producer(&mut self) -> Option<Vec<Value>> {
        let (element, result) = (self.int8(), self.int8());
        let shape = self.image();
        let x = self.input(&shape, &element);
        let clamp = self.clamp(&result);
        let value = match self.random.range(0, 4) {
            0 => self.convolution(x, [1, 2], 3, &result, clamp)?,
            1 => self.depthwise(x, [2, 1], &result, clamp)?,
            2 => {
                let y = self.input(&shape, &element);
                self.op(n::Add { clamp }, &[x, y], &result)?
            }
            3 => {
                let y = self.input(&shape, &element);
                self.op(n::Mul { clamp }, &[x, y], &result)?
            }
            _ => {
                let operands = self.weights(x, &[4, shape[3]], 0);
                self.op(n::FullyConnected { keep_dims: false, clamp }, &operands, &result)?
            }
        };
        let affine = self.ty(value).affine()?;
        let after = match self.random.range(0, 2) {
            // The same scale and another zero point: only a shift.
            0 => {
                let moved = int8_type(affine.scale.get(), self.random.zero_point());
                self.op(n::Quantize {}, &[value], &moved)?
            }
            1 => {
                let constant = self.uniform(&result);
                self.op(n::Maximum {}, &[value, constant], &result)?
            }
            _ => self.op(n::Relu { clamp: Clamp::Int(-30, 90) }, &[value], &result)?,
        };
        Some(vec![after])
    }

    fn requantized_producer(&mut self) -> Option<Vec<Value>> {
        let (element, shape) = (self.int8(), self.image());
        let x = self.input(&shape, &element);
        let result = int8_type(self.random.scale(0.05, 0.2), self.random.range(-20, 20) as i32);
        let clamp = self.clamp(&result);
        let value = match self.random.range(0, 2) {
            0 => self.convolution(x, [1, 1], 3, &result, clamp)?,
            1 => self.depthwise(x, [2, 2], &result, clamp)?,
            _ => {
                let y = self.input(&shape, &element);
                self.op(n::Sub { clamp }, &[x, y], &result)?
            }
        };
        // Coarser, so that two roundings are at most a step off, and of a range that holds the first one's.
        let coarse = int8_type(self.random.scale(0.4, 1.0), self.random.range(-20, 20) as i32);
        Some(vec![self.op(n::Quantize {}, &[value], &coarse)?])
    }

    fn rectified_float(&mut self) -> Option<Vec<Value>> {
        let shape = self.image();
        let x = self.input(&shape, &FLOAT);
        let clamp = self.clamp(&FLOAT);
        let value = match self.random.range(0, 3) {
            0 => self.convolution(x, [2, 2], 3, &FLOAT, clamp)?,
            1 => self.op(n::Relu { clamp: Clamp::Real(F32(-2.0), F32(f32::INFINITY)) }, &[x], &FLOAT)?,
            2 => {
                self.op(n::AvgPool2d { kernel: [1, 1], stride: [1, 1], pad: [0; 4], clamp }, &[x], &FLOAT)?
            }
            _ => {
                let y = self.input(&shape, &FLOAT);
                self.op(n::Sub { clamp }, &[x, y], &FLOAT)?
            }
        };
        let low = self.random.real(-3.0, 1.0);
        let clamp = Clamp::Real(F32(low), F32(low + self.random.real(0.0, 4.0)));
        Some(vec![self.op(n::Relu { clamp }, &[value], &FLOAT)?])
    }

    fn means(&mut self) -> Option<Vec<Value>> {
        let element = self.int8();
        let shape = self.image();
        let x = self.input(&shape, &element);
        let keep_dims = self.random.flag();
        let first = self.random.pick(&[1, 2]);
        let second = match (keep_dims, first) {
            (true, first) => 3 - first,
            // What was dimension 2 is dimension 1 now, or stays it.
            (false, _) => 1,
        };
        // Nothing that is in range gets out of it, so that approximations stay near.
        let inner = self.op(n::Mean { axes: vec![first], keep_dims }, &[x], &element)?;
        Some(vec![self.op(n::Mean { axes: vec![second], keep_dims }, &[inner], &element)?])
    }

    fn permutation(&mut self, rank: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..rank).collect();
        (0..rank).map(|_| left.remove(self.random.below(left.len()))).collect()
    }

    fn transpose(&mut self, x: Value, permutation: &[usize]) -> Option<Value> {
        let element = self.ty(x).element;
        self.op(n::Transpose { permutation: permutation.to_vec() }, &[x], &element)
    }

    fn transposes(&mut self) -> Option<Vec<Value>> {
        let (element, shape) = (self.element(), self.image());
        let x = self.input(&shape, &element);
        let (first, second) = (self.permutation(4), self.permutation(4));
        let value = self.transpose(x, &first)?;
        Some(vec![self.transpose(value, &second)?])
    }

    fn transpose_of_ones(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let x = self.input(&[1, 1, 5, 3], &element);
        let permutation = self.random.pick(&[[0, 2, 1, 3], [1, 2, 0, 3], [2, 3, 0, 1], [2, 0, 1, 3]]);
        Some(vec![self.transpose(x, &permutation)?])
    }

    fn elementwise_of_transposed(&mut self) -> Option<Vec<Value>> {
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

    fn window_of_exchanged(&mut self) -> Option<Vec<Value>> {
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

    fn reduction_of_transposed(&mut self) -> Option<Vec<Value>> {
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

    fn concat_of_transposed(&mut self) -> Option<Vec<Value>> {
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

    fn identity(&mut self) -> Option<Vec<Value>> {
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

    fn reshapes(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let x = self.input(&[2, 3, 4], &element);
        let x = self.op(n::Reshape { shape: vec![6, 4] }, &[x], &element)?;
        let shape = self.random.pick(&[vec![24], vec![2, 3, 4], vec![4, 6]]);
        Some(vec![self.op(n::Reshape { shape }, &[x], &element)?])
    }

    fn reshaped_reduction(&mut self) -> Option<Vec<Value>> {
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

    fn split(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let x = self.input(&[2, 7, 3], &element);
        let first = self.random.size(1, 3);
        self.all(n::Split { axis: 1, sizes: vec![first, 2, 5 - first] }, &[x], &element)
    }

    fn slices(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let x = self.input(&[9, 8], &element);
        let stride = vec![self.random.range(1, 2), 1];
        let inner = n::Slice { begin: vec![self.random.below(2), 1], size: vec![4, 6], stride };
        let x = self.op(inner, &[x], &element)?;
        let stride = vec![1, self.random.range(1, 2)];
        let outer = n::Slice { begin: vec![1, self.random.below(2)], size: vec![2, 3], stride };
        Some(vec![self.op(outer, &[x], &element)?])
    }

    fn slice_of_concat(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let parts = [self.input(&[3, 4], &element), self.input(&[3, 5], &element)];
        let joined = self.op(n::Concat { axis: 1 }, &parts, &element)?;
        let begin = self.random.pick(&[0, 1, 2, 4, 5]);
        let slice =
            n::Slice { begin: vec![self.random.below(2), begin], size: vec![2, 2], stride: vec![1, 1] };
        Some(vec![self.op(slice, &[joined], &element)?])
    }

    fn concat_of_slices(&mut self) -> Option<Vec<Value>> {
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

    fn concats(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let [x, y, z] = [2, 3, 1].map(|size| self.input(&[2, size], &element));
        let inner = self.op(n::Concat { axis: 1 }, &[x, y], &element)?;
        let operands = if self.random.flag() { vec![inner, z] } else { vec![z, inner, x] };
        Some(vec![self.op(n::Concat { axis: 1 }, &operands, &element)?])
    }

    fn pads(&mut self) -> Option<Vec<Value>> {
        let element = self.element();
        let mut x = self.input(&[2, 3], &element);
        let value = if element == FLOAT { Number::Real(F32(0.5)) } else { Number::Int(-7) };
        for _ in 0..2 {
            let [low, high] = [0, 0].map(|_: i32| vec![self.random.below(3), self.random.below(3)]);
            x = self.op(n::Pad { low, high, value }, &[x], &element)?;
        }
        Some(vec![x])
    }

    fn parallel_convolutions(&mut self) -> Option<Vec<Value>> {
        let float = self.random.flag();
        let (element, result) = if float { (FLOAT, FLOAT) } else { (self.int8(), self.int8()) };
        let shape = self.image();
        let x = self.input(&shape, &element);
        let clamp = self.clamp(&result);
        let mut parts = Vec::new();
        for _ in 0..self.random.size(2, 3) {
            let outputs = self.random.size(1, 4);
            let operands = self.weights(x, &[outputs, 1, 1, shape[3]], 0);
            let conv = n::Conv2d { stride: [1, 1], pad: [0; 4], dilation: [1, 1], clamp };
            parts.push(self.op(conv, &operands, &result)?);
        }
        Some(vec![self.op(n::Concat { axis: 3 }, &parts, &result)?])
    }

    fn convolution_of_all(&mut self) -> Option<Vec<Value>> {
        let float = self.random.flag();
        let (element, result) = if float { (FLOAT, FLOAT) } else { (self.int8(), self.int8()) };
        let shape = self.image();
        let x = self.input(&shape, &element);
        let clamp = self.clamp(&result);
        let operands = self.weights(x, &[4, shape[1], shape[2], shape[3]], 0);
        let conv = n::Conv2d { stride: [1, 2], pad: [0; 4], dilation: [1, 1], clamp };
        Some(vec![self.op(conv, &operands, &result)?])
    }

    fn linear_over_channels(&mut self) -> Option<Vec<Value>> {
        let float = self.random.flag();
        let (element, result) = if float { (FLOAT, FLOAT) } else { (self.int8(), self.int8()) };
        let shape = self.image();
        let x = self.input(&shape, &element);
        let clamp = self.clamp(&result);
        let operands = self.weights(x, &[4, shape[3]], 0);
        Some(vec![self.op(n::FullyConnected { keep_dims: true, clamp }, &operands, &result)?])
    }

    /// A linear operation of floats, times or plus a constant.
    fn linear_and_constant(&mut self, product: bool) -> Option<Vec<Value>> {
        let shape = self.image();
        let x = self.input(&shape, &FLOAT);
        let value = match self.random.range(0, 2) {
            0 => self.convolution(x, [2, 2], 3, &FLOAT, Clamp::None)?,
            1 => self.depthwise(x, [2, 2], &FLOAT, Clamp::None)?,
            _ => {
                let operands = self.weights(x, &[4, shape[3]], 0);
                self.op(n::FullyConnected { keep_dims: true, clamp: Clamp::None }, &operands, &FLOAT)?
            }
        };
        let channels = *self.ty(value).shape.last()?;
        let constant = self.random.pick(&[vec![1], vec![channels], vec![1, 1, 1, channels]]);
        let constant = self.random.float(&constant, 2.0);
        let constant = self.constant(constant);
        let clamp = self.clamp(&FLOAT);
        let swapped = self.random.flag();
        let operands = if swapped { [constant, value] } else { [value, constant] };
        let op: NnOp = match (product, self.random.flag()) {
            (true, _) => n::Mul { clamp }.into(),
            (false, true) => n::Add { clamp }.into(),
            (false, false) => n::Sub { clamp }.into(),
        };
        Some(vec![self.op(op, &operands, &FLOAT)?])
    }

    fn two_linear(&mut self) -> Option<Vec<Value>> {
        let x = self.input(&[2, 3], &FLOAT);
        let clamp = self.clamp(&FLOAT);
        let operands = self.weights(x, &[8, 3], 0);
        let middle =
            self.op(n::FullyConnected { keep_dims: false, clamp: Clamp::None }, &operands, &FLOAT)?;
        let operands = self.weights(middle, &[4, 8], 0);
        Some(vec![self.op(n::FullyConnected { keep_dims: false, clamp }, &operands, &FLOAT)?])
    }

    fn floats_between(&mut self) -> Option<Vec<Value>> {
        let (element, result) = (self.int8(), self.int8());
        let x = self.input(&[40], &element);
        let mut value = self.op(n::Dequantize {}, &[x], &FLOAT)?;
        for _ in 0..self.random.size(0, 3) {
            value = match self.random.range(0, 3) {
                0 => self.op(n::Tanh {}, &[value], &FLOAT)?,
                1 => self.op(n::Square {}, &[value], &FLOAT)?,
                2 => self.op(n::HardSwish {}, &[value], &FLOAT)?,
                _ => {
                    let constant = self.uniform(&FLOAT);
                    self.op(n::Mul { clamp: Clamp::None }, &[value, constant], &FLOAT)?
                }
            };
        }
        Some(vec![self.op(n::Quantize {}, &[value], &result)?])
    }

    fn moved_floats(&mut self) -> Option<Vec<Value>> {
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

    fn float_arithmetic(&mut self) -> Option<Vec<Value>> {
        let [a, b] = [self.int8(), self.int8()];
        let [x, y] = [self.input(&[60], &a), self.input(&[60], &b)];
        let (x, y) = (self.op(n::Dequantize {}, &[x], &FLOAT)?, self.op(n::Dequantize {}, &[y], &FLOAT)?);
        let clamp = self.clamp(&FLOAT);
        let op: NnOp = match self.random.range(0, 2) {
            0 => n::Add { clamp }.into(),
            1 => n::Sub { clamp }.into(),
            _ => n::Mul { clamp }.into(),
        };
        let value = self.op(op, &[x, y], &FLOAT)?;
        // Coarse enough that a step of the result is more than an error of the operands.
        let quant = QuantType::per_tensor(Scalar::I8, self.random.scale(0.2, 2.0), self.random.zero_point());
        Some(vec![self.op(n::Quantize {}, &[value], &Element::Quant(quant.into()))?])
    }
}
