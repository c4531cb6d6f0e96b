//! The integer module: every op by its form, with conversions where integers and floats meet.
//!
//! A value of the float module has up to two counterparts: its integers and its floats. Either is made when an op first
//! asks for it. What an op's kernel refuses (a type, a ratio of scales) is left in float, and the reason is kept.

use super::form::{self, Form, Integer, form};
use super::scheme::{Activations, Bits};
use super::share::Affines;
use super::weights::{self, Integers, Parameters};
use mcunet_ir::attr::{Clamp, Number};
use mcunet_ir::fixed_point::calculate_activation_range_quantized;
use mcunet_ir::module::{OpKind, Port};
use mcunet_ir::nn::ops as n;
use mcunet_ir::nn::quantize::quantize_real;
use mcunet_ir::nn::{NnOp, clamp_mut, reads_sub_byte};
use mcunet_ir::quant::{Affine, F32};
use mcunet_ir::tensor::Data;
use mcunet_ir::types::{Element, Scalar};
use mcunet_ir::{Builder, Function, Module, Op, Tensor, TensorType, Type, Value};
use std::collections::{BTreeMap, HashMap};

/// What is decided for one layer with weights, beside scales.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Bits of its weights.
    pub bits: Bits,
    /// Added to the bias, one number per output channel; nothing if empty.
    pub shift: Vec<f32>,
    /// The integers of the filter if they are not the nearest.
    pub integers: Option<Integers>,
}

/// Everything that decides about the integer module.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Integers of activations.
    pub activations: Activations,
    /// Scale and zero point of every value.
    pub affines: Affines,
    /// One weight scale for a whole fully connected layer.
    pub linear_per_tensor: bool,
    /// Of layers with weights; all others take the default.
    pub choices: BTreeMap<Op, Choice>,
}

impl Plan {
    /// What is decided for a layer of this kind: kernels that read no weights of fewer bits get 8.
    pub fn choice_for(&self, op: Op, kind: &NnOp) -> Choice {
        let choice = self.choice(op);
        if reads_sub_byte(kind, 1) { choice } else { Choice { bits: Bits::Eight, ..choice } }
    }

    /// What is decided for a layer.
    fn choice(&self, op: Op) -> Choice {
        self.choices.get(&op).cloned().unwrap_or_default()
    }
}

/// The integer module and how it belongs to the float one.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The module; its first function is the rewritten one.
    pub module: Module,
    /// Integer counterparts of float values.
    pub integers: HashMap<Value, Value>,
    /// Integer layers by their float ones.
    pub layers: BTreeMap<Op, Op>,
    /// Ops that stay in float, and why.
    pub real: Vec<(Op, String)>,
}

/// The constant tensor that a value is, if its data is at hand.
pub fn constant(module: &Module, function: &Function, value: Value) -> Option<Tensor> {
    let op = function.defining_op(value)?;
    let OpKind::Nn(NnOp::Const(constant)) = &function.ops[op].kind else { return None };
    let ty = function.ty(value).as_tensor()?.clone();
    Tensor::from_bytes(ty, module.bytes(&constant.value)?).ok()
}

/// Builds the integer module of a plan.
pub fn rewrite(module: &Module, plan: &Plan) -> Rewritten {
    let old = &module.functions[0];
    let mut rewriter = Rewriter {
        source: module,
        old,
        plan,
        module: Module::new(module.name.clone()),
        function: Function::new(old.name.clone()),
        integers: HashMap::new(),
        reals: HashMap::new(),
        layers: BTreeMap::new(),
        real: Vec::new(),
    };
    for (port, &argument) in old.inputs.iter().zip(&old.blocks[old.body].args) {
        let value = rewriter.function.add_input(port.name.clone(), port.ty.clone());
        rewriter.reals.insert(argument, value);
    }
    for &op in &old.blocks[old.body].ops {
        rewriter.op(op);
    }
    let Rewriter { mut module, function, integers, layers, real, .. } = rewriter;
    module.functions.push(function);
    Rewritten { module, integers, layers, real }
}

/// The numbers of a constant, and zero.
fn range(tensor: &Tensor) -> (f32, f32) {
    let items = tensor.f32s().unwrap_or_default().iter();
    items.fold((0.0f32, 0.0f32), |(low, high), &x| (low.min(x), high.max(x)))
}

/// A constant's integers.
fn integers(tensor: &Tensor, affine: Affine, activations: Activations) -> Result<Tensor, String> {
    let ty = TensorType::quantized(tensor.ty.shape.clone(), activations.element(affine));
    let items = tensor.f32s().map_err(|error| error.to_string())?;
    let steps = items.iter().map(|&x| quantize_real(x, affine, activations.limits()));
    let data = Data::from_i64s(ty.storage(), steps).ok_or("its constant is no number")?;
    Tensor::new(ty, data).map_err(|error| error.to_string())
}

struct Rewriter<'a> {
    source: &'a Module,
    old: &'a Function,
    plan: &'a Plan,
    module: Module,
    function: Function,
    integers: HashMap<Value, Value>,
    /// Counterparts of the old type: floats, and what was no float.
    reals: HashMap<Value, Value>,
    layers: BTreeMap<Op, Op>,
    real: Vec<(Op, String)>,
}

/// An op that is about to be made.
struct Made {
    kind: NnOp,
    operands: Vec<Value>,
    results: Vec<TensorType>,
}

impl Rewriter<'_> {
    fn op(&mut self, op: Op) {
        let data = &self.old.ops[op];
        let OpKind::Nn(kind) = &data.kind else {
            return self.returns(op);
        };
        let floats = data.operands.iter().chain(&data.results).any(|&value| self.is_float(value));
        match form(kind, self.plan.activations) {
            // Made where it is read.
            Form::Constant => {}
            _ if !floats => self.as_it_is(op),
            Form::Real => {
                if !matches!(kind, NnOp::Quantize(_) | NnOp::Dequantize(_) | NnOp::ShapeOf(_) | NnOp::Cast(_))
                {
                    self.real.push((op, "it has no kernel on integers".to_owned()));
                }
                self.as_it_is(op);
            }
            form => match self.integer(op, kind, form) {
                Ok(()) => {}
                Err(reason) => {
                    self.real.push((op, reason));
                    self.as_it_is(op);
                }
            },
        }
    }

    /// Makes the op on integers.
    ///
    /// # Errors
    /// Why that cannot be.
    fn integer(&mut self, op: Op, kind: &NnOp, form: Form) -> Result<(), String> {
        let made = match form {
            Form::Weighted { axis } => self.weighted(op, kind, axis)?,
            _ => self.plain(op, kind, form)?,
        };
        let types: Vec<TensorType> = made.operands.iter().filter_map(|&value| self.ty(value)).collect();
        let mut refused = Vec::new();
        let results: Vec<&TensorType> = made.results.iter().collect();
        made.kind.semantics().verify(&types.iter().collect::<Vec<_>>(), &results, &mut refused);
        if let Some(reason) = refused.into_iter().next() {
            return Err(format!("its kernel refuses: {reason}"));
        }
        let weighted = matches!(form, Form::Weighted { .. });
        let types: Vec<Type> = made.results.into_iter().map(Type::from).collect();
        let new = self.emit(op, OpKind::Nn(made.kind), &made.operands, &types);
        if weighted {
            self.layers.insert(op, new);
        }
        let results = self.function.ops[new].results.clone();
        for (&old, result) in self.old.ops[op].results.iter().zip(results) {
            self.function.values[result].name = self.old.values[old].name.clone();
            let counterparts = if self.is_float(old) { &mut self.integers } else { &mut self.reals };
            counterparts.insert(old, result);
        }
        Ok(())
    }

    /// A layer with weights, which have to be constant.
    fn weighted(&mut self, op: Op, kind: &NnOp, axis: usize) -> Result<Made, String> {
        let data = &self.old.ops[op];
        let tensor = |value| constant(self.source, self.old, value).filter(|t| t.ty.storage() == Scalar::F32);
        let (Some(filter), Some(bias)) = (tensor(data.operands[1]), tensor(data.operands[2])) else {
            return Err("its filter or bias is computed, and only constants are quantized".to_owned());
        };
        let (input, output) = (data.operands[0], data.results[0]);
        let (from, to) = (self.affine(input)?, self.affine(output)?);
        let choice = self.plan.choice_for(op, kind);
        let parameters = Parameters { filter: &filter, bias: bias.f32s().unwrap_or_default(), axis };
        let per_tensor = self.plan.linear_per_tensor && matches!(kind, NnOp::FullyConnected(_));
        let stored = weights::chosen(parameters, &choice, per_tensor, (from, self.plan.activations))
            .ok_or_else(|| "its weights do not fit their type".to_owned())?;
        let [filter, bias] = [(stored.filter, data.operands[1]), (stored.bias, data.operands[2])]
            .map(|(tensor, old)| self.add_constant(op, &tensor, old));
        let kind = self.with_clamp(kind, to)?;
        let operands = vec![self.integers_of(op, input, from)?, filter, bias];
        Ok(Made { kind, operands, results: vec![self.result(output, to)?] })
    }

    fn plain(&mut self, op: Op, kind: &NnOp, form: Form) -> Result<Made, String> {
        let data = &self.old.ops[op];
        let shared = match form {
            Form::Shared => Some(self.affine(data.results[0])?),
            _ => None,
        };
        let mut operands = Vec::new();
        for (index, &operand) in data.operands.iter().enumerate() {
            operands.push(if index == 1 && matches!(kind, NnOp::Prelu(_)) {
                self.slopes(op, operand)?
            } else if self.is_float(operand) {
                let own = || self.own_affine(operand);
                let affine = shared.map_or_else(own, Ok)?;
                self.integers_of(op, operand, affine)?
            } else {
                self.real_of(op, operand)
            });
        }
        let mut results = Vec::new();
        for &result in &data.results {
            results.push(if self.is_float(result) {
                let affine = shared.map_or_else(|| self.affine(result), Ok)?;
                self.result(result, affine)?
            } else {
                self.old.ty(result).as_tensor().ok_or("its result is no tensor")?.clone()
            });
        }
        let kind = match results[0].affine() {
            Some(affine) => self.with_clamp(kind, affine)?,
            None => kind.clone(),
        };
        let kind = match (kind, shared) {
            (NnOp::Pad(pad), Some(affine)) => {
                n::Pad { value: self.stored_number(pad.value, affine), ..pad }.into()
            }
            (kind, _) => kind,
        };
        let kind = match form::integer(&kind) {
            Integer::Same => kind,
            Integer::Square => {
                operands.push(operands[0]);
                n::Mul { clamp: Clamp::None }.into()
            }
            Integer::Negation => {
                let minus_one = self.minus_one(op, data.operands[0])?;
                operands.push(minus_one);
                n::Mul { clamp: Clamp::None }.into()
            }
        };
        Ok(Made { kind, operands, results })
    }

    /// The slopes of a rectifier, which are int8 beside int16 too.
    fn slopes(&mut self, op: Op, value: Value) -> Result<Value, String> {
        if self.plan.activations == Activations::Int8 {
            let affine = self.own_affine(value)?;
            return self.integers_of(op, value, affine);
        }
        let tensor = constant(self.source, self.old, value)
            .ok_or("its slopes are computed, and only constants become int8 beside int16")?;
        let affine = Activations::Int8.affine(range(&tensor));
        let tensor = integers(&tensor, affine, Activations::Int8)?;
        Ok(self.add_constant(op, &tensor, value))
    }

    /// A constant -1 that broadcasts with a value.
    fn minus_one(&mut self, op: Op, with: Value) -> Result<Value, String> {
        let rank = self.old.ty(with).as_tensor().map_or(0, |ty| ty.shape.rank());
        let activations = self.plan.activations;
        let affine = activations.affine((-1.0, 0.0));
        let ty = TensorType::quantized(vec![1; rank], activations.element(affine));
        let step = quantize_real(-1.0, affine, activations.limits());
        let data = Data::from_i64s(activations.storage(), [step]).ok_or("-1 is no integer")?;
        let tensor = Tensor::new(ty, data).map_err(|error| error.to_string())?;
        Ok(self.add_constant(op, &tensor, with))
    }

    /// A padding value as a stored integer; the least for what wins no maximum.
    fn stored_number(&self, value: Number, affine: Affine) -> Number {
        match value {
            Number::Int(_) => value,
            Number::Real(real) => {
                Number::Int(quantize_real(real.get(), affine, self.plan.activations.limits()))
            }
        }
    }

    /// The op with its clamp in stored integers.
    fn with_clamp(&self, kind: &NnOp, output: Affine) -> Result<NnOp, String> {
        let mut kind = kind.clone();
        if let Some(clamp) = clamp_mut(&mut kind)
            && let Clamp::Real(low, high) = *clamp
        {
            let limit = |limit: F32| limit.get().is_finite().then_some(limit.get());
            let (min, max) = self.plan.activations.limits();
            let (scale, zero_point) = (output.scale.get(), output.zero_point);
            let range = (min as i32, max as i32);
            let limits =
                calculate_activation_range_quantized((limit(low), limit(high)), scale, zero_point, range);
            let (low, high) = limits.ok_or("its limits cannot be quantized")?;
            *clamp = Clamp::Int(low, high);
        }
        Ok(kind)
    }

    fn is_float(&self, value: Value) -> bool {
        self.old.ty(value).as_tensor().is_some_and(|ty| ty.element == Element::Plain(Scalar::F32))
    }

    fn ty(&self, value: Value) -> Option<TensorType> {
        self.function.ty(value).as_tensor().cloned()
    }

    fn affine(&self, value: Value) -> Result<Affine, String> {
        self.plan.affines.of(value).ok_or_else(|| "no sample reached it".to_owned())
    }

    /// Scale and zero point of an operand: of a constant, those of its own numbers.
    fn own_affine(&self, value: Value) -> Result<Affine, String> {
        match constant(self.source, self.old, value) {
            Some(tensor) => Ok(self.plan.activations.affine(range(&tensor))),
            None => self.affine(value),
        }
    }

    fn result(&self, value: Value, affine: Affine) -> Result<TensorType, String> {
        let ty = self.old.ty(value).as_tensor().ok_or("its result is no tensor")?;
        Ok(TensorType::quantized(ty.shape.clone(), self.plan.activations.element(affine)))
    }

    /// The integers of a value with the given scale and zero point.
    fn integers_of(&mut self, user: Op, value: Value, affine: Affine) -> Result<Value, String> {
        let ty = self.result(value, affine)?;
        if let Some(tensor) = constant(self.source, self.old, value) {
            let tensor = integers(&tensor, affine, self.plan.activations)?;
            return Ok(self.add_constant(user, &tensor, value));
        }
        let known = self.integers.get(&value).copied();
        if let Some(known) = known {
            if self.ty(known).and_then(|ty| ty.affine()) == Some(affine) {
                return Ok(known);
            }
            return Ok(self.convert(user, n::Quantize {}, known, ty));
        }
        let real = self.real_of(user, value);
        let made = self.convert(user, n::Quantize {}, real, ty);
        if self.plan.affines.of(value) == Some(affine) {
            self.integers.insert(value, made);
        }
        Ok(made)
    }

    /// A value as it was: floats, or what was no float.
    fn real_of(&mut self, user: Op, value: Value) -> Value {
        if let Some(&real) = self.reals.get(&value) {
            return real;
        }
        if let Some(op) = self.old.defining_op(value)
            && let OpKind::Nn(NnOp::Const(constant)) = &self.old.ops[op].kind
        {
            let bytes = self.source.bytes(&constant.value).map(|bytes| bytes.to_vec());
            let reference = &constant.value;
            let value_ref =
                self.module.add_resource(&reference.name, reference.element, bytes.unwrap_or_default());
            let ty = self.old.ty(value).clone();
            let new = self.emit(op, n::Const { value: value_ref }.into(), &[], &[ty]);
            let result = self.function.ops[new].results[0];
            self.function.values[result].name = self.old.values[value].name.clone();
            self.reals.insert(value, result);
            return result;
        }
        let ty = self.old.ty(value).as_tensor().cloned();
        let (Some(&integers), Some(ty)) = (self.integers.get(&value), ty) else {
            // Every value was made before it is read: ops are visited in order.
            return value;
        };
        let real = self.convert(user, n::Dequantize {}, integers, ty);
        self.reals.insert(value, real);
        real
    }

    fn convert(&mut self, user: Op, kind: impl Into<NnOp>, from: Value, ty: TensorType) -> Value {
        let op = self.emit(user, OpKind::Nn(kind.into()), &[from], &[ty.into()]);
        self.function.ops[op].results[0]
    }

    fn add_constant(&mut self, user: Op, tensor: &Tensor, named_like: Value) -> Value {
        let name = self.old.values[named_like].name.clone().unwrap_or_else(|| "constant".into());
        let value = self.module.add_resource(&name, tensor.ty.storage(), tensor.data.to_bytes());
        let op = self.emit(user, n::Const { value }.into(), &[], &[tensor.ty.clone().into()]);
        let result = self.function.ops[op].results[0];
        self.function.values[result].name = Some(name);
        result
    }

    fn emit(&mut self, like: Op, kind: OpKind, operands: &[Value], types: &[Type]) -> Op {
        let body = self.function.body;
        let mut builder = Builder::at_end(&mut self.function, body);
        builder.set_origin(self.old.ops[like].origin.clone());
        builder.op(kind, operands, types)
    }

    fn as_it_is(&mut self, op: Op) {
        let data = &self.old.ops[op];
        let operands: Vec<Value> = data.operands.iter().map(|&value| self.real_of(op, value)).collect();
        let types: Vec<Type> = data.results.iter().map(|&result| self.old.ty(result).clone()).collect();
        let new = self.emit(op, data.kind.clone(), &operands, &types);
        let results = self.function.ops[new].results.clone();
        for (&old, result) in data.results.iter().zip(results) {
            self.function.values[result].name = self.old.values[old].name.clone();
            self.reals.insert(old, result);
        }
    }

    fn returns(&mut self, op: Op) {
        let data = &self.old.ops[op];
        let operands: Vec<Value> = data.operands.iter().map(|&value| self.real_of(op, value)).collect();
        let ports = self.old.outputs.iter();
        self.function.outputs =
            ports.map(|port| Port { name: port.name.clone(), ty: port.ty.clone() }).collect();
        self.emit(op, data.kind.clone(), &operands, &[]);
    }
}
