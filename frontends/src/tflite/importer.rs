//! Builds a module from a checked model, operator by operator.
//!
//! Shapes are inferred anew from operands and attributes: the shapes in a file are unreliable behind dynamic dimensions.
//! Operators whose operands are all constant are evaluated on the spot, since converters leave shape arithmetic in the
//! graph that later operators need as attributes.

use super::ops;
use super::reader::{
    BuiltinOperator, ElementType, Model, Operator, OperatorCode, Subgraph, Tensor as FileTensor, TensorIndex,
};
use mcunet_ir::define::Trait;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::ops as n;
use mcunet_ir::nn::{NnOp, check_sub_byte};
use mcunet_ir::quant::{Affine, F32, QuantType};
use mcunet_ir::sub_byte;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::{Element, Scalar};
use mcunet_ir::{Diagnostic, Diagnostics, Function, Module, Origin, Shape, Tensor, TensorType, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Constants up to this size are computed while importing.
const MAX_FOLDED_BYTES: usize = 1 << 16;

/// What is wrong with an operator: `expected X, got Y`.
pub(super) type Refusal = String;

/// The state of an import.
pub(super) struct Importer<'m> {
    graph: &'m Subgraph<'m>,
    file: Arc<str>,
    module: Module,
    function: Function,
    /// The value of each tensor of the file, once it is defined.
    values: Vec<Option<Value>>,
    /// Constants, by value.
    known: HashMap<Value, Tensor>,
    origin: Origin,
    errors: Diagnostics,
}

impl<'m> Importer<'m> {
    pub(super) fn new(model: &'m Model<'m>, file_name: &str) -> Result<Self, Diagnostics> {
        let graph = model.subgraphs.first().ok_or_else(|| {
            Diagnostic::error(format!("{file_name}: expected a model with a graph, got none"))
        })?;
        let name = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
        Ok(Self {
            graph,
            file: file_name.into(),
            module: Module::new(name),
            function: Function::new("main"),
            values: vec![None; graph.tensors.len()],
            known: HashMap::new(),
            origin: Origin::Unknown,
            errors: Diagnostics::default(),
        })
    }

    pub(super) fn run(mut self) -> Result<Module, Diagnostics> {
        for &index in &self.graph.inputs {
            if let Err(message) = self.input(index) {
                self.errors.push(Diagnostic::error(message));
            }
        }
        for operator in &self.graph.operators {
            self.operator(operator);
        }
        self.outputs();
        self.errors.into_result()?;
        self.module.functions.push(self.function);
        self.module.retain_used_resources();
        Ok(self.module)
    }

    // ---- tensors

    pub(super) fn file_tensor(&self, index: TensorIndex) -> &'m FileTensor<'m> {
        // The reader checked every index.
        &self.graph.tensors[index.index()]
    }

    fn input(&mut self, index: TensorIndex) -> Result<(), Refusal> {
        let tensor = self.file_tensor(index);
        if let Some(signature) = &tensor.shape_signature
            && let Some(axis) = (1..signature.len()).find(|&axis| signature[axis] < 0)
        {
            return Err(format!(
                "input '{}': expected static dimensions (but for the batch), got a dynamic dimension {axis}",
                tensor.name
            ));
        }
        if self.values[index.index()].is_some() {
            return Err(format!("expected distinct inputs, got '{}' twice", tensor.name));
        }
        let mut ty =
            self.computed_element(tensor).map(|element| TensorType { shape: shape(tensor), element })?;
        let dynamic_batch =
            tensor.shape_signature.as_ref().is_some_and(|signature| signature.first() == Some(&-1));
        if let (true, Some(batch)) = (dynamic_batch || ty.shape.first() == Some(&0), ty.shape.0.first_mut()) {
            *batch = 1;
        }
        if ty.elements() == 0 {
            return Err(format!(
                "input '{}': expected at least 1 element, got shape {}",
                tensor.name, ty.shape
            ));
        }
        let value = self.function.add_input(tensor.name.as_str(), ty.into());
        self.values[index.index()] = Some(value);
        Ok(())
    }

    fn outputs(&mut self) {
        let mut returned = Vec::new();
        for &index in &self.graph.outputs {
            let name = &self.file_tensor(index).name;
            match self.value(index) {
                Ok(value) => {
                    let ty = self.function.ty(value).clone();
                    self.function.outputs.push(mcunet_ir::module::Port { name: name.as_str().into(), ty });
                    returned.push(value);
                }
                // Without other errors no operator makes the output; with them, one of them is to blame.
                Err(message) if !self.errors.has_errors() => {
                    self.errors.push(Diagnostic::error(format!("output '{name}': {message}")));
                }
                Err(_) => {}
            }
        }
        let kind = mcunet_ir::builtin::Return {};
        let op = self.function.create_op(kind.into(), returned, vec![], vec![], Origin::Unknown);
        let body = self.function.body;
        self.function.blocks[body].ops.push(op);
    }

    /// The element type of a tensor of the file.
    pub(super) fn element(&self, tensor: &FileTensor<'_>) -> Result<Element, Refusal> {
        let scalar = scalar(tensor.element_type).ok_or_else(|| {
            format!(
                "tensor '{}': expected a supported element type, got {}",
                tensor.name, tensor.element_type
            )
        })?;
        let quantized = matches!(scalar, Scalar::I2 | Scalar::I4 | Scalar::I8 | Scalar::U8 | Scalar::I16);
        let Some(quantization) = tensor.quantization.as_ref().filter(|q| quantized && !q.scales.is_empty())
        else {
            return Ok(Element::Plain(scalar));
        };
        let affine = |(&scale, &zero_point): (&f32, &i64)| {
            let zero_point = i32::try_from(zero_point).map_err(|_| {
                format!("tensor '{}': expected a zero point of 32 bits, got {zero_point}", tensor.name)
            })?;
            Ok(Affine { scale: F32(scale), zero_point })
        };
        let channels: Vec<Affine> = quantization
            .scales
            .iter()
            .zip(&quantization.zero_points)
            .map(affine)
            .collect::<Result<_, Refusal>>()?;
        let quant = match channels.as_slice() {
            [only] => QuantType::per_tensor(scalar, only.scale.get(), only.zero_point),
            _ => {
                let axis = usize::try_from(quantization.axis).unwrap_or(usize::MAX);
                if shape(tensor).get(axis) != Some(&channels.len()) {
                    return Err(format!(
                        "tensor '{}': expected one scale per index of dimension {axis}, got {} for shape {}",
                        tensor.name,
                        channels.len(),
                        shape(tensor)
                    ));
                }
                QuantType::per_axis(scalar, axis, channels)
            }
        };
        Ok(Element::Quant(Arc::new(quant)))
    }

    /// The element type of a tensor that is no constant.
    pub(super) fn computed_element(&self, tensor: &FileTensor<'_>) -> Result<Element, Refusal> {
        let element = self.element(tensor)?;
        if element.storage().is_sub_byte() {
            return Err(format!(
                "tensor '{}': expected elements of at least 8 bits, got {}, which only constant filters may have",
                tensor.name, tensor.element_type
            ));
        }
        Ok(element)
    }

    /// The value of a tensor: computed before, or a constant of the file.
    pub(super) fn value(&mut self, index: TensorIndex) -> Result<Value, Refusal> {
        if let Some(value) = self.values[index.index()] {
            return Ok(value);
        }
        let tensor = self.file_tensor(index);
        let Some(bytes) = tensor.buffer.or_else(|| shape(tensor).contains(&0).then_some(&[])) else {
            return Err(format!(
                "expected tensor '{}' to be computed before its use, got no earlier operator that makes it",
                tensor.name
            ));
        };
        let ty = TensorType { shape: shape(tensor), element: self.element(tensor)? };
        let storage = ty.storage();
        let constant = match storage.is_sub_byte() {
            true => Tensor::new(ty.clone(), sub_byte::unpack(bytes, storage.bits(), ty.elements())),
            false => Tensor::from_bytes(ty, bytes),
        };
        let constant = constant.map_err(|error| format!("tensor '{}': {error}", tensor.name))?;
        let value = self.constant(&tensor.name, constant);
        self.values[index.index()] = Some(value);
        Ok(value)
    }

    /// A new constant.
    pub(super) fn constant(&mut self, name: &str, tensor: Tensor) -> Value {
        let data = self.module.add_resource(name, tensor.ty.storage(), tensor.data.to_bytes());
        let ty = tensor.ty.clone();
        let kind = n::Const { value: data };
        let op = self.function.create_op(kind.into(), vec![], vec![ty.into()], vec![], self.origin.clone());
        let body = self.function.body;
        self.function.blocks[body].ops.push(op);
        let value = self.function.ops[op].results[0];
        self.function.values[value].name = Some(name.into());
        self.known.insert(value, tensor);
        value
    }

    /// Type of a value.
    pub(super) fn ty(&self, value: Value) -> &TensorType {
        match self.function.ty(value).as_tensor() {
            Some(ty) => ty,
            None => unreachable!("an importer makes tensors only"),
        }
    }

    /// The integers of a value that has to be constant.
    pub(super) fn integers(&self, value: Value, what: &str) -> Result<Vec<i64>, Refusal> {
        let tensor = self
            .known
            .get(&value)
            .ok_or_else(|| format!("expected constant {what}, got one that is computed at run time"))?;
        tensor.data.to_i64s().ok_or_else(|| format!("expected integers as {what}, got floats"))
    }

    /// The data of a constant value, if it is one.
    pub(super) fn known(&self, value: Value) -> Option<&Data> {
        self.known.get(&value).map(|tensor| &tensor.data)
    }

    // ---- operators

    fn operator(&mut self, operator: &Operator<'m>) {
        let name = operator.outputs.first().map_or("", |&index| self.file_tensor(index).name.as_str());
        let number = u32::try_from(operator.index).unwrap_or(u32::MAX);
        self.origin = Origin::Model { file: self.file.clone(), operator: number, name: name.into() };
        if let Err(message) = self.import_operator(operator) {
            let what = &operator.code;
            let diagnostic =
                Diagnostic::error(format!("'{what}' operator {message}")).at(self.origin.clone());
            self.errors.push(diagnostic);
            // What follows is judged as if this operator had been fine.
            for &output in &operator.outputs {
                self.define_unsupported(output);
            }
        }
    }

    fn import_operator(&mut self, operator: &Operator<'m>) -> Result<(), Refusal> {
        let OperatorCode::Builtin(code) = &operator.code else {
            return Err("is a custom operator, which is not supported".to_owned());
        };
        for &output in &operator.outputs {
            if self.values[output.index()].is_some() {
                let name = &self.file_tensor(output).name;
                return Err(format!("expected to make a new tensor, got '{name}', which is defined already"));
            }
        }
        ops::import(self, *code, operator)
    }

    fn define_unsupported(&mut self, index: TensorIndex) {
        let tensor = self.file_tensor(index);
        if self.values[index.index()].is_none() {
            let element = self.element(tensor).unwrap_or(Element::Plain(Scalar::I8));
            let ty = TensorType { shape: shape(tensor), element };
            let block = self.function.create_block();
            self.values[index.index()] = Some(self.function.add_argument(block, ty.into(), None));
        }
    }

    /// Appends an op whose results have the given element types and inferred shapes.
    pub(super) fn emit(
        &mut self,
        kind: impl Into<NnOp>,
        operands: Vec<Value>,
        elements: Vec<Element>,
    ) -> Result<Vec<Value>, Refusal> {
        let kind = kind.into();
        let operand_types: Vec<&TensorType> = operands.iter().map(|&value| self.ty(value)).collect();
        let specs = kind.spec().operands;
        let variadic = specs.iter().any(|spec| spec.variadic);
        if !variadic && specs.len() != operands.len() {
            return Err(format!("expected {} inputs, got {}", specs.len(), operands.len()));
        }
        for (spec, ty) in kind.spec().operands.iter().zip(&operand_types) {
            if !spec.constraint.accepts(&(*ty).clone().into()) {
                let wanted = spec.constraint.description();
                return Err(format!("expected '{}' to be {wanted}, got shape {}", spec.name, ty.shape));
            }
        }
        let shapes = kind.semantics().infer_shapes(&operand_types)?;
        if shapes.len() != elements.len() {
            return Err(format!("expected {} outputs, got {}", shapes.len(), elements.len()));
        }
        let types: Vec<TensorType> =
            shapes.into_iter().zip(elements).map(|(shape, element)| TensorType { shape, element }).collect();
        let mut problems = Vec::new();
        check_sub_byte(&kind, &operand_types, &mut problems);
        kind.semantics().verify(&operand_types, &types.iter().collect::<Vec<_>>(), &mut problems);
        if !problems.is_empty() {
            return Err(problems.join("; "));
        }
        if let Some(results) = self.fold(&kind, &operands, &types) {
            return Ok(results.into_iter().map(|tensor| self.constant("folded", tensor)).collect());
        }
        let types = types.into_iter().map(Into::into).collect();
        let op = self.function.create_op(OpKind::Nn(kind), operands, types, vec![], self.origin.clone());
        let body = self.function.body;
        self.function.blocks[body].ops.push(op);
        Ok(self.function.ops[op].results.clone())
    }

    /// Results of an op whose operands are constant, or whose result depends on their types only.
    fn fold(&self, kind: &NnOp, operands: &[Value], types: &[TensorType]) -> Option<Vec<Tensor>> {
        let bytes: usize = types.iter().map(TensorType::size_bytes).sum();
        if bytes > MAX_FOLDED_BYTES || !kind.spec().has(Trait::Pure) {
            return None;
        }
        let type_only = matches!(kind, NnOp::ShapeOf(_));
        let tensors: Vec<Tensor> = operands
            .iter()
            .map(|value| match self.known.get(value) {
                Some(tensor) => Some(tensor.clone()),
                None if type_only => Some(Tensor { ty: self.ty(*value).clone(), data: Data::I8(Vec::new()) }),
                None => None,
            })
            .collect::<Option<_>>()?;
        let operands: Vec<&Tensor> = tensors.iter().collect();
        kind.semantics().evaluate(&operands, &types.iter().collect::<Vec<_>>()).ok()
    }

    /// Appends an op that makes the operator's outputs.
    pub(super) fn finish(
        &mut self,
        operator: &Operator<'m>,
        kind: impl Into<NnOp>,
        operands: Vec<Value>,
    ) -> Result<(), Refusal> {
        let elements = operator
            .outputs
            .iter()
            .map(|&output| self.computed_element(self.file_tensor(output)))
            .collect::<Result<Vec<_>, _>>()?;
        let results = self.emit(kind, operands, elements)?;
        for (&output, value) in operator.outputs.iter().zip(results) {
            self.define(output, value);
        }
        Ok(())
    }

    /// Lets a tensor of the file be a value.
    pub(super) fn define(&mut self, index: TensorIndex, value: Value) {
        self.values[index.index()] = Some(value);
        let name: Arc<str> = self.file_tensor(index).name.as_str().into();
        self.function.values[value].name = Some(name);
    }
}

/// Dimensions of a tensor of the file; the reader checked that none is negative.
pub(super) fn shape(tensor: &FileTensor<'_>) -> Shape {
    Shape(tensor.shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect())
}

fn scalar(element: ElementType) -> Option<Scalar> {
    Some(match element {
        ElementType::Bool => Scalar::I1,
        ElementType::Int2 => Scalar::I2,
        ElementType::Int4 => Scalar::I4,
        ElementType::Int8 => Scalar::I8,
        ElementType::Int16 => Scalar::I16,
        ElementType::Int32 => Scalar::I32,
        ElementType::Int64 => Scalar::I64,
        ElementType::Uint8 => Scalar::U8,
        ElementType::Uint16 => Scalar::U16,
        ElementType::Uint32 => Scalar::U32,
        ElementType::Uint64 => Scalar::U64,
        ElementType::Float32 => Scalar::F32,
        _ => return None,
    })
}

/// The format's type for elements of a storage type.
pub(super) fn element_type(scalar: Scalar) -> ElementType {
    match scalar {
        Scalar::I1 => ElementType::Bool,
        Scalar::I2 => ElementType::Int2,
        Scalar::I4 => ElementType::Int4,
        Scalar::I8 => ElementType::Int8,
        Scalar::I16 => ElementType::Int16,
        Scalar::I32 => ElementType::Int32,
        Scalar::I64 => ElementType::Int64,
        Scalar::U8 => ElementType::Uint8,
        Scalar::U16 => ElementType::Uint16,
        Scalar::U32 => ElementType::Uint32,
        Scalar::U64 => ElementType::Uint64,
        Scalar::F32 => ElementType::Float32,
    }
}

/// Name of a builtin operator in the format.
pub(super) fn builtin_name(code: BuiltinOperator) -> String {
    OperatorCode::Builtin(code).to_string()
}
