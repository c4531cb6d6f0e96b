//! Random valid `nn` graphs: branches, shared constants, odd sizes and quantizations, results that nobody uses.
//!
//! Every module that [`module`] makes verifies. Tensors have at most [`MAX_ELEMENTS`] elements, so that thousands of
//! graphs run in seconds. An op family is one file here, as in `ir/src/nn`; a family's function adds one op, or none if
//! no value fits.
//!
//! Floats that two implementations may compute differently in the last places are *rough*. Only moves and rectifiers
//! read them: anything else could turn a last place into another integer, or cancel all the places before it.

mod convert;
mod elementwise;
mod joined;
mod movement;
mod reduce;
mod window;

use crate::tensors::int16_type;
use crate::{Random, emit};
pub use joined::joined_module;
use mcunet_ir::module::Port;
use mcunet_ir::nn::NnOp;
use mcunet_ir::quant::QuantType;
use mcunet_ir::types::{Element, Scalar, Shape};
use mcunet_ir::{Builder, Function, Module, OpKind, Origin, Tensor, TensorType, Type, Value};
use std::collections::HashSet;

/// Elements of a tensor at most.
pub const MAX_ELEMENTS: usize = 2000;

/// Plain f32.
const FLOAT: Element = Element::Plain(Scalar::F32);

/// A random graph.
pub fn module(random: &mut Random<'_>) -> Module {
    let mut graph = Graph::new(random);
    graph.wide = graph.random.one_in(5);
    for _ in 0..graph.random.size(1, 2) {
        graph.add_input();
    }
    let wanted = graph.random.size(1, 12);
    // An op that finds no operands is left out; the number of tries is bounded, since bytes may run out.
    for _ in 0..4 * wanted {
        if graph.ops >= wanted {
            break;
        }
        graph.step();
    }
    graph.finish()
}

/// A random graph that computes in floats alone.
pub fn float_module(random: &mut Random<'_>) -> Module {
    let mut graph = Graph::new(random);
    graph.floats = true;
    graph.add_input();
    let wanted = graph.random.size(2, 10);
    for _ in 0..4 * wanted {
        if graph.ops >= wanted {
            break;
        }
        graph.step();
    }
    graph.finish()
}

/// Random inputs for a module.
pub fn inputs(module: &Module, random: &mut Random<'_>) -> Vec<Tensor> {
    let types = module.functions[0].inputs.iter().filter_map(|port| port.ty.as_tensor());
    types.map(|ty| random.tensor(ty)).collect()
}

struct Graph<'r, 'a> {
    random: &'r mut Random<'a>,
    module: Module,
    function: Function,
    /// Everything that an op may read.
    values: Vec<Value>,
    rough: HashSet<Value>,
    /// Ops so far, constants aside.
    ops: usize,
    /// Whether everything is a float; roughness then does not matter.
    floats: bool,
    /// Whether quantized numbers are int16 in most places.
    wide: bool,
}

impl<'r, 'a> Graph<'r, 'a> {
    fn new(random: &'r mut Random<'a>) -> Self {
        Self {
            random,
            module: Module::new("random"),
            function: Function::new("main"),
            values: Vec::new(),
            rough: HashSet::new(),
            ops: 0,
            floats: false,
            wide: false,
        }
    }

    fn step(&mut self) {
        let before = self.function.ops.len();
        let last = if self.floats { 16 } else { 19 };
        let _ = match self.random.range(0, last) {
            0..=5 => self.window(),
            6..=10 => self.elementwise(),
            11..=12 => self.reduction(),
            13..=16 => self.movement(),
            17..=18 => self.conversion(),
            _ => self.input_or_constant(),
        };
        self.ops += usize::from(self.function.ops.len() > before);
    }

    fn finish(mut self) -> Module {
        let unused = self.unused();
        let mut returned: Vec<Value> = unused.iter().copied().filter(|_| !self.random.one_in(4)).collect();
        if returned.is_empty() {
            returned.extend(self.values.last());
        }
        // Now and then any value, again or an input as it is.
        if self.random.one_in(6) {
            returned.push(self.random.pick(&self.values));
        }
        self.function.outputs = returned
            .iter()
            .enumerate()
            .map(|(i, &value)| Port { name: format!("y{i}").into(), ty: self.function.ty(value).clone() })
            .collect();
        let body = self.function.body;
        Builder::at_end(&mut self.function, body).op(mcunet_ir::builtin::Return {}, &returned, &[]);
        self.module.functions.push(self.function);
        self.module
    }

    /// Values that no op reads.
    fn unused(&self) -> Vec<Value> {
        let used = self.function.use_counts();
        self.values.iter().copied().filter(|value| !used.contains_key(value)).collect()
    }

    fn ty(&self, value: Value) -> TensorType {
        self.function.ty(value).as_tensor().expect("graphs hold tensors only").clone()
    }

    fn add_input(&mut self) -> Value {
        let element = match self.random.range(0, 7) {
            _ if self.floats => FLOAT,
            0..=4 => self.quantized(),
            5 | 6 => FLOAT,
            _ => Element::Plain(Scalar::I32),
        };
        let shape = if self.random.flag() { self.image_shape() } else { self.shape() };
        let number = self.function.inputs.len();
        let name = self.random.pick(&["x", "serving_default/input:", "a b\"c\\"]);
        let value = self.function.add_input(format!("{name}{number}"), TensorType { shape, element }.into());
        self.values.push(value);
        value
    }

    fn input_or_constant(&mut self) -> Option<()> {
        if self.function.inputs.len() < 3 && self.random.flag() {
            self.add_input();
        } else {
            let shape = self.shape();
            let element = if self.random.flag() { FLOAT } else { self.quantized() };
            let tensor = self.random.tensor(&TensorType { shape, element });
            let value = self.constant(tensor);
            self.values.push(value);
        }
        Some(())
    }

    /// An int8 element type, quantized per tensor.
    fn int8(&mut self) -> Element {
        let quant =
            QuantType::per_tensor(Scalar::I8, self.random.scale(0.004, 0.5), self.random.zero_point());
        Element::Quant(quant.into())
    }

    /// An int16 element type, quantized per tensor.
    fn int16(&mut self) -> Element {
        // The powers of two that have kernels of their own, now and then.
        let scale = if self.random.one_in(4) {
            2f32.powi(self.random.range(-13, -10) as i32)
        } else {
            self.random.scale(1e-5, 0.01)
        };
        int16_type(scale)
    }

    /// int8 or int16, quantized per tensor.
    fn quantized(&mut self) -> Element {
        if self.wide && !self.random.one_in(6) { self.int16() } else { self.int8() }
    }

    /// int8 for int8, int16 for quantized int16, the same otherwise: the element type of a result that may be rescaled.
    fn like(&mut self, element: &Element) -> Element {
        match (element, element.storage()) {
            (_, Scalar::I8) => self.int8(),
            (Element::Quant(_), Scalar::I16) => self.int16(),
            _ => element.clone(),
        }
    }

    /// A size, often 1 or odd.
    fn dim(&mut self) -> usize {
        self.random.pick(&[1, 1, 2, 3, 4, 5, 7, 8, 9])
    }

    fn image_shape(&mut self) -> Shape {
        let sides = [1, 2, 3, 5, 6, 7, 8, 11];
        let (height, width) = (self.random.pick(&sides), self.random.pick(&sides));
        let batch = if self.random.one_in(5) { 2 } else { 1 };
        [batch, height, width, self.dim()].into()
    }

    fn shape(&mut self) -> Shape {
        let rank = self.random.pick(&[1, 2, 2, 3, 4, 4, 5]);
        let mut shape = Shape(Vec::new());
        for _ in 0..rank {
            let dim = self.dim();
            shape.0.push(if shape.elements() * dim <= MAX_ELEMENTS / 4 { dim } else { 1 });
        }
        shape
    }

    /// A value that fits, often the newest.
    fn find(&mut self, fits: impl Fn(&TensorType) -> bool) -> Option<Value> {
        self.choose(|graph, value| fits(&graph.ty(value)))
    }

    /// As [`Self::find`], but no rough float.
    fn find_exact(&mut self, fits: impl Fn(&TensorType) -> bool) -> Option<Value> {
        self.choose(|graph, value| (graph.floats || !graph.rough.contains(&value)) && fits(&graph.ty(value)))
    }

    fn choose(&mut self, fits: impl Fn(&Self, Value) -> bool) -> Option<Value> {
        let found: Vec<Value> = self.values.iter().copied().filter(|&value| fits(self, value)).collect();
        let &newest = found.last()?;
        Some(if self.random.flag() { newest } else { self.random.pick(&found) })
    }

    /// An exact value of int8 or int16 quantized per tensor, or f32.
    fn number(&mut self) -> Option<Value> {
        self.find_exact(|ty| is_activation(ty) || ty.element == FLOAT)
    }

    /// A constant; now and then an older one of the same type.
    fn constant(&mut self, tensor: Tensor) -> Value {
        let ty = Type::from(tensor.ty.clone());
        if self.random.one_in(3) {
            let shared = self.function.walk().into_iter().find_map(|op| {
                let data = &self.function.ops[op];
                let constant = matches!(data.kind, OpKind::Nn(NnOp::Const(_)));
                (constant && *self.function.ty(data.results[0]) == ty).then(|| data.results[0])
            });
            if let Some(value) = shared {
                return value;
            }
        }
        emit::constant(&mut self.module, &mut self.function, tensor)
    }

    /// Adds an op with results of one element type. `None` if the op refuses its operands (scales whose ratio has no
    /// multiplier, for instance) or a result would be too large; then nothing was added.
    fn emit(&mut self, op: impl Into<NnOp>, operands: &[Value], element: &Element) -> Option<Vec<Value>> {
        let op = op.into();
        let results = emit::result_types(&self.function, &op, operands, element)?;
        let fits = |ty: &TensorType| (1..=MAX_ELEMENTS).contains(&ty.elements());
        if !results.iter().all(fits) {
            return None;
        }
        let rough = element.storage() == Scalar::F32
            && (is_rough(&op) || operands.iter().any(|operand| self.rough.contains(operand)));
        let (body, number) = (self.function.body, self.function.ops.len() as u32);
        let mut builder = Builder::at_end(&mut self.function, body);
        if number % 3 == 0 {
            let file = "random.tflite".into();
            builder.set_origin(Origin::Model { file, operator: number, name: format!("op {number}").into() });
        }
        let results = emit::append(&mut builder, op, operands, results);
        self.values.extend(&results);
        if rough {
            self.rough.extend(&results);
        }
        Some(results)
    }

    /// [`Self::emit`] for ops of one result.
    fn value(&mut self, op: impl Into<NnOp>, operands: &[Value], element: &Element) -> Option<Value> {
        self.emit(op, operands, element).map(|results| results[0])
    }
}

/// Whether a type is one of quantized activations.
fn is_activation(ty: &TensorType) -> bool {
    ty.affine().is_some() && matches!(ty.storage(), Scalar::I8 | Scalar::I16)
}

/// Whether implementations may differ in the last places of the op's floats: sums in another order, and functions that
/// IEEE 754 does not round exactly.
fn is_rough(op: &NnOp) -> bool {
    matches!(
        op,
        NnOp::Conv2d(_)
            | NnOp::DepthwiseConv2d(_)
            | NnOp::TransposeConv2d(_)
            | NnOp::FullyConnected(_)
            | NnOp::AvgPool2d(_)
            | NnOp::Mean(_)
            | NnOp::Sum(_)
            | NnOp::Softmax(_)
            | NnOp::LogSoftmax(_)
            | NnOp::L2Normalization(_)
            | NnOp::Elu(_)
            | NnOp::Tanh(_)
            | NnOp::Logistic(_)
            | NnOp::Exp(_)
            | NnOp::Log(_)
            | NnOp::Rsqrt(_)
            | NnOp::ResizeBilinear(_)
    )
}
