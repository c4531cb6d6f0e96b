//! Left sides of the rules of `fuse`, one generator per rule: random graphs to which the rule applies in most cases.

mod arithmetic;
mod movement;

use crate::tensors::int8_type;
use crate::{Random, emit};
use mcunet_ir::attr::{Clamp, Table};
use mcunet_ir::module::Port;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::F32;
use mcunet_ir::types::{Element, Scalar, Shape};
use mcunet_ir::{Builder, Function, Module, Tensor, TensorType, Value};

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
        "join-convolutions" => sketch.parallel_convolutions(true),
        "parallel-convolutions" => sketch.parallel_convolutions(false),
        "convolution-as-linear" => sketch.convolution_of_all(),
        "linear-as-convolution" => sketch.linear_over_channels(),
        "depthwise-as-convolution" => sketch.window_of_one_channel(true),
        "convolution-as-depthwise" => sketch.window_of_one_channel(false),
        "pool-as-depthwise" => sketch.mean_of_windows(),
        "scale-into-weights" => sketch.linear_and_constant(true),
        "shift-into-bias" => sketch.linear_and_constant(false),
        "multiply-linear" => sketch.two_linear(),
        "add-into-convolution" => sketch.residual(),
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
        emit::constant(&mut self.module, &mut self.function, tensor)
    }

    fn ty(&self, value: Value) -> TensorType {
        self.function.ty(value).as_tensor().expect("sketches hold tensors only").clone()
    }

    /// All results of an operation; `None` if it refuses its operands.
    fn all(&mut self, op: impl Into<NnOp>, operands: &[Value], element: &Element) -> Option<Vec<Value>> {
        let op = op.into();
        let results = emit::result_types(&self.function, &op, operands, element)?;
        let body = self.function.body;
        let mut builder = Builder::at_end(&mut self.function, body);
        Some(emit::append(&mut builder, op, operands, results))
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

    fn permutation(&mut self, rank: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..rank).collect();
        (0..rank).map(|_| left.remove(self.random.below(left.len()))).collect()
    }

    fn transpose(&mut self, x: Value, permutation: &[usize]) -> Option<Value> {
        let element = self.ty(x).element;
        self.op(n::Transpose { permutation: permutation.to_vec() }, &[x], &element)
    }
}
