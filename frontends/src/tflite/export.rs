//! Writes modules of `nn` operations as `.tflite` files.
//!
//! Every operation becomes one or a few operators that compute the same to the bit under the reference kernels, and
//! what has no such operators is refused, all of it at once. The bytes depend on the module only.
//!
//! An exported file imports as a module that computes the same; it need not be the same module, since a padding, a clamp
//! or a mean of means may have become operators of their own.

mod activation;
mod arithmetic;
mod graph;
mod movement;
mod table;
mod versions;
mod windows;
mod write;

use graph::{Graph, Id};
use mcunet_ir::define::Trait;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::{Granularity, QuantType};
use mcunet_ir::sub_byte;
use mcunet_ir::types::{Element, Scalar};
use mcunet_ir::{Diagnostic, Diagnostics, Function, Module, Op, Shape, Stage, TensorType, Value};
use std::collections::HashMap;
use std::sync::Arc;

use super::reader::{BuiltinOperator, MAX_TENSOR_BYTES, OperatorOptions};

/// Why an operation can't be written: `expected X, got Y`.
type Refusal = String;

/// Largest sum of constants of a file, in bytes: a flatbuffer addresses 2 GiB, and the tables need some of it.
const MAX_CONSTANT_BYTES: usize = (1 << 31) - (1 << 26);

/// Writes a module of stage *imported* with one function.
///
/// # Errors
/// Every operation that TensorFlow Lite has no operators for, by name of operation and tensor; a module of another
/// stage, with several functions, or without its weights.
pub fn export(module: &Module) -> Result<Vec<u8>, Diagnostics> {
    if module.stage != Stage::Imported {
        let found = module.stage.name();
        let message = format!("expected a module of tensors to export, got one of stage '{found}'");
        return Err(Diagnostic::error(message)
            .help("leave lower and what follows out of --pass-pipeline")
            .into());
    }
    let [function] = module.functions.as_slice() else {
        let message = format!("expected one function to export, got {}", module.functions.len());
        return Err(Diagnostic::error(message).help("export each from a file of its own").into());
    };
    Exporter::new(module, function).run()
}

/// The state of an export.
struct Exporter<'m> {
    module: &'m Module,
    function: &'m Function,
    graph: Graph,
    /// The tensor of each value; constants get theirs when an operator reads them.
    tensors: HashMap<Value, Id>,
    /// Biases by their quantization: layers may share one, and each has its own scale for it.
    biases: HashMap<(Value, QuantType), Id>,
    /// Names of outputs by value, as far as a value has not got a name as an input.
    output_names: HashMap<Value, Arc<str>>,
    errors: Diagnostics,
}

/// An operation that is being written.
struct Site<'m> {
    /// Its operands.
    operands: &'m [Value],
    /// Types of its operands.
    inputs: Vec<&'m TensorType>,
    /// Tensors of its results.
    results: Vec<Id>,
    /// Types of its results.
    outputs: Vec<&'m TensorType>,
}

impl<'m> Exporter<'m> {
    fn new(module: &'m Module, function: &'m Function) -> Self {
        Self {
            module,
            function,
            graph: Graph::new(&function.name),
            tensors: HashMap::new(),
            biases: HashMap::new(),
            output_names: HashMap::new(),
            errors: Diagnostics::default(),
        }
    }

    fn run(mut self) -> Result<Vec<u8>, Diagnostics> {
        let function = self.function;
        let arguments = &function.blocks[function.body].args;
        let returned: &[Value] = match function.terminator(function.body) {
            Some(op) => &function.ops[op].operands,
            None => &[],
        };
        for (&value, port) in returned.iter().zip(&function.outputs) {
            if !arguments.contains(&value) {
                self.output_names.entry(value).or_insert_with(|| port.name.clone());
            }
        }
        for port in function.inputs.iter().chain(&function.outputs) {
            self.graph.reserve(&port.name);
        }
        for (&value, port) in arguments.iter().zip(&function.inputs) {
            match self.tensor_type(value) {
                Ok(ty) => {
                    let id = self.graph.add_named(&port.name, ty.clone());
                    self.tensors.insert(value, id);
                    self.graph.inputs.push(id);
                }
                Err(message) => {
                    self.errors.push(Diagnostic::error(format!("input '{}': {message}", port.name)));
                }
            }
        }
        for &op in &function.blocks[function.body].ops {
            self.operation(op);
        }
        for (&value, port) in returned.iter().zip(&function.outputs) {
            if let Err(message) = self.output(value, &port.name) {
                self.errors.push(Diagnostic::error(format!("output '{}': {message}", port.name)));
            }
        }
        if self.graph.constant_bytes() > MAX_CONSTANT_BYTES {
            self.errors.push(Diagnostic::error(format!(
                "expected at most {MAX_CONSTANT_BYTES} bytes of constants to export, got {}",
                self.graph.constant_bytes()
            )));
        }
        self.errors.into_result()?;
        Ok(write::write(&self.graph))
    }

    fn operation(&mut self, op: Op) {
        let data = &self.function.ops[op];
        if data.kind.has(Trait::Terminator) || matches!(data.kind, OpKind::Nn(NnOp::Const(_))) {
            return;
        }
        let results = data.results.iter().map(|&value| self.define(value)).collect::<Result<Vec<Id>, _>>();
        let written = match (&data.kind, results) {
            (_, Err(message)) => Err(message),
            (OpKind::Nn(kind), Ok(results)) => {
                self.site(op, results).and_then(|site| table::row(self, &site, kind))
            }
            (_, Ok(_)) => Err("expected an operation on whole tensors, got one that runs by rows".to_owned()),
        };
        if let Err(message) = written {
            let what = data.kind.name();
            let tensor = data.results.first().map_or_else(String::new, |&value| self.name(value));
            let error = Diagnostic::error(format!("'{what}' op, tensor '{tensor}': {message}"));
            self.errors.push(error.at(data.origin.clone()));
        }
    }

    fn site(&self, op: Op, results: Vec<Id>) -> Result<Site<'m>, Refusal> {
        let data = &self.function.ops[op];
        let types = |values: &'m [Value]| values.iter().map(|&value| self.tensor_type(value)).collect();
        let inputs: Result<Vec<&'m TensorType>, Refusal> = types(&data.operands);
        let outputs: Result<Vec<&'m TensorType>, Refusal> = types(&data.results);
        Ok(Site { operands: &data.operands, inputs: inputs?, results, outputs: outputs? })
    }

    fn tensor_type(&self, value: Value) -> Result<&'m TensorType, Refusal> {
        let ty =
            self.function.ty(value).as_tensor().ok_or("expected a tensor, got a value of another kind")?;
        if ty.size_bytes() as u64 > MAX_TENSOR_BYTES
            || ty.shape.iter().any(|&dim| i32::try_from(dim).is_err())
        {
            return Err(format!(
                "expected a tensor of at most {MAX_TENSOR_BYTES} bytes, got shape {}",
                ty.shape
            ));
        }
        let scales: Vec<f32> = match ty.quant().map(|quant| &quant.granularity) {
            None => Vec::new(),
            Some(Granularity::PerTensor(affine)) => vec![affine.scale.get()],
            Some(Granularity::PerAxis { channels, .. }) => {
                channels.iter().map(|affine| affine.scale.get()).collect()
            }
        };
        if let Some(scale) = scales.iter().find(|scale| !scale.is_finite()) {
            return Err(format!("expected finite scales, got {scale}"));
        }
        Ok(ty)
    }

    /// What a value is called: as an output, in the module, or for the operation that makes it.
    fn name(&self, value: Value) -> String {
        if let Some(name) = self.output_names.get(&value).or(self.function.values[value].name.as_ref()) {
            return name.to_string();
        }
        let op = self.function.defining_op(value).map(|op| self.function.ops[op].kind.name());
        op.map_or("tensor", |name| name.split_once('.').map_or(name, |(_, op)| op)).to_owned()
    }

    /// The tensor of a value that an operation computes.
    fn define(&mut self, value: Value) -> Result<Id, Refusal> {
        let ty = self.tensor_type(value)?.clone();
        let name = self.name(value);
        let id = match self.output_names.get(&value) {
            Some(_) => self.graph.add_named(&name, ty),
            None => self.graph.add(&name, ty),
        };
        self.tensors.insert(value, id);
        Ok(id)
    }

    /// Lets a value be the output called `name`, through a copy if its tensor has another name already.
    fn output(&mut self, value: Value, name: &str) -> Result<(), Refusal> {
        let id = self.operand(value)?;
        let named = self.graph.tensor(id).name == name;
        let output = if named { id } else { self.graph.add_named(name, self.tensor_type(value)?.clone()) };
        if !named {
            movement::write_reshape(self, id, output)?;
        }
        self.graph.outputs.push(output);
        Ok(())
    }

    /// The tensor of an operand.
    fn operand(&mut self, value: Value) -> Result<Id, Refusal> {
        if let Some(&id) = self.tensors.get(&value) {
            return Ok(id);
        }
        let bytes = self.constant(value)?.ok_or("expected an operand that is computed before, got none")?;
        let (name, ty) = (self.name(value), self.tensor_type(value)?.clone());
        let id = match self.output_names.get(&value) {
            Some(_) => self.graph.add_named(&name, ty),
            None => self.graph.add(&name, ty),
        };
        let storage = self.graph.tensor(id).ty.storage();
        self.graph.fill(id, packed(bytes, storage));
        self.tensors.insert(value, id);
        Ok(id)
    }

    /// All operands of an operation.
    fn operands(&mut self, site: &Site<'m>) -> Result<Vec<Id>, Refusal> {
        site.operands.iter().map(|&value| self.operand(value)).collect()
    }

    /// The bytes of a constant; `None` for a value that is computed.
    fn constant(&self, value: Value) -> Result<Option<Arc<[u8]>>, Refusal> {
        let op = self.function.defining_op(value).map(|op| &self.function.ops[op].kind);
        let Some(OpKind::Nn(NnOp::Const(n::Const { value: data }))) = op else { return Ok(None) };
        let bytes = self.module.bytes(data);
        bytes.cloned().map(Some).ok_or_else(|| format!("expected the data of '{}', got none", data.name))
    }

    /// A constant operand of 32-bit integers.
    fn integers(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        values: impl IntoIterator<Item = i64>,
    ) -> Result<Id, Refusal> {
        let mut bytes = Vec::new();
        for value in values {
            bytes.extend_from_slice(&int(value, name)?.to_le_bytes());
        }
        Ok(self.graph.constant(name, TensorType::plain(shape, Scalar::I32), bytes.into()))
    }

    /// A constant operand that lists 32-bit integers.
    fn list(&mut self, name: &str, values: &[usize]) -> Result<Id, Refusal> {
        let values = values.iter().map(|&value| i64::try_from(value).unwrap_or(i64::MAX));
        self.integers(name, [values.len()], values)
    }

    /// A new tensor between two operators of one operation.
    fn between(&mut self, after: Id, ty: TensorType) -> Id {
        let name = self.graph.tensor(after).name.clone();
        self.graph.add(&name, ty)
    }

    /// Appends an operator, of the least version that has its types and options.
    fn push(
        &mut self,
        code: BuiltinOperator,
        inputs: Vec<Id>,
        outputs: Vec<Id>,
        options: OperatorOptions<'static>,
    ) {
        let types = |ids: &[Id]| ids.iter().map(|&id| &self.graph.tensor(id).ty).collect::<Vec<_>>();
        let version = versions::version(code, &types(&inputs), &types(&outputs), &options);
        self.graph.push(code, version, inputs, outputs, options);
    }

    /// Appends an operator that makes the results of an operation from tensors.
    fn finish(
        &mut self,
        site: &Site<'m>,
        code: BuiltinOperator,
        inputs: Vec<Id>,
        options: OperatorOptions<'static>,
    ) -> Result<(), Refusal> {
        self.push(code, inputs, site.results.clone(), options);
        Ok(())
    }
}

/// A number of an option or a constant operand.
fn int<T: TryInto<i32> + Copy + std::fmt::Display>(value: T, what: &str) -> Result<i32, Refusal> {
    value.try_into().map_err(|_| format!("expected {what} of 32 bits, got {value}"))
}

/// The data of a constant as a file has it.
fn packed(bytes: Arc<[u8]>, storage: Scalar) -> Arc<[u8]> {
    if !storage.is_sub_byte() {
        return bytes;
    }
    let items: Vec<i8> = bytes.iter().map(|&byte| byte as i8).collect();
    sub_byte::pack(&items, storage.bits()).into()
}

/// An element type as a file has it: with the whole range of its storage.
fn stored(element: &Element) -> Element {
    match element {
        Element::Plain(_) => element.clone(),
        Element::Quant(quant) => {
            let (min, max) = quant.storage.integer_range().unwrap_or((quant.min, quant.max));
            Element::Quant(Arc::new(QuantType { min, max, ..(**quant).clone() }))
        }
    }
}
