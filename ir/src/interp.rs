//! Runs functions on the host: the reference for everything else.
//!
//! Tensor functions are evaluated op by op with the ops' own semantics; lowered ones by [`crate::loops::interp`].

use crate::loops::interp as lowered;
use crate::module::{Function, Module, Op, OpKind, Stage, Value};
use crate::nn::{EvalError, NnOp};
use crate::tensor::Tensor;
use crate::tile::{self, TileOp};
use crate::types::TensorType;
use std::collections::HashMap;

/// Why a model could not be run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExecError {
    /// The inputs don't fit the model.
    #[error("{0}")]
    Inputs(String),
    /// An op failed.
    #[error("{origin}: {error}")]
    Op {
        /// The op's name and origin.
        origin: String,
        /// Why.
        error: EvalError,
    },
    /// A lowered program stopped.
    #[error(transparent)]
    Lowered(#[from] lowered::RunError),
}

/// Something that runs a model: the interpreter, compiled code, a simulator.
pub trait Executor {
    /// Runs the model once; inputs and outputs in the order of its ports.
    ///
    /// # Errors
    /// Wrong inputs, or a failure of the executor.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ExecError>;
}

/// The reference interpreter, for modules of every stage. Lowered modules run with memory checks.
#[derive(Debug)]
pub struct Interpreter<'m> {
    module: &'m Module,
}

impl<'m> Interpreter<'m> {
    /// An interpreter of the module's first function.
    pub fn new(module: &'m Module) -> Self {
        Self { module }
    }
}

impl Executor for Interpreter<'_> {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ExecError> {
        let function = self.module.functions.first().ok_or_else(|| {
            ExecError::Inputs("expected a module with a function, got an empty one".to_owned())
        })?;
        check_inputs(function, inputs)?;
        match self.module.stage {
            Stage::Imported => evaluate(self.module, function, inputs),
            Stage::Lowered | Stage::Planned => {
                Ok(lowered::run(self.module, function, inputs, lowered::Options { shadow: true })?)
            }
        }
    }
}

fn check_inputs(function: &Function, inputs: &[Tensor]) -> Result<(), ExecError> {
    if inputs.len() != function.inputs.len() {
        let expected = function.inputs.len();
        return Err(ExecError::Inputs(format!("expected {expected} inputs, got {}", inputs.len())));
    }
    for (input, port) in inputs.iter().zip(&function.inputs) {
        let Some(ty) = port.ty.as_tensor() else { continue };
        if input.ty.shape != ty.shape || input.ty.storage() != ty.storage() {
            return Err(ExecError::Inputs(format!(
                "expected input '{}' of {} {}, got {} {}",
                port.name,
                ty.shape,
                ty.storage().name(),
                input.ty.shape,
                input.ty.storage().name()
            )));
        }
    }
    Ok(())
}

/// Evaluates a tensor function. Tensors are dropped after their last use.
///
/// # Errors
/// An op that cannot be evaluated, or constants without data.
pub fn evaluate(module: &Module, function: &Function, inputs: &[Tensor]) -> Result<Vec<Tensor>, ExecError> {
    evaluate_observed(module, function, inputs, &mut |_, _| {})
}

/// The values that are alive at one point of an evaluation.
pub type Values = HashMap<Value, Tensor>;

/// As [`evaluate`]; `observe` is called after every op, when its operands and results are all among the values.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_observed(
    module: &Module,
    function: &Function,
    inputs: &[Tensor],
    observe: &mut dyn FnMut(Op, &Values),
) -> Result<Vec<Tensor>, ExecError> {
    let mut uses = function.use_counts();
    let mut values: Values =
        function.blocks[function.body].args.iter().copied().zip(inputs.iter().cloned()).collect();
    for &op in &function.blocks[function.body].ops {
        let data = &function.ops[op];
        let results = match &data.kind {
            OpKind::Nn(kind) => evaluate_op(module, function, op, kind, &values)?,
            OpKind::Tile(TileOp::Cascade(cascade)) => {
                let fail = |error| ExecError::Op { origin: "'tile.cascade' op".to_owned(), error };
                tile::evaluate(function, op, cascade, &values).map_err(fail)?
            }
            OpKind::Tile(TileOp::Receive(_) | TileOp::Send(_)) => {
                let fail = |error| ExecError::Op { origin: format!("'{}' op", data.kind.name()), error };
                vec![tile::handed_over(function, op, values.get(&data.operands[0])).map_err(fail)?]
            }
            _ => continue,
        };
        values.extend(data.results.iter().copied().zip(results));
        observe(op, &values);
        for operand in &data.operands {
            if let Some(count) = uses.get_mut(operand) {
                *count -= 1;
                if *count == 0 {
                    values.remove(operand);
                }
            }
        }
    }
    let returned = function.terminator(function.body).map(|op| function.ops[op].operands.clone());
    returned
        .unwrap_or_default()
        .iter()
        .map(|value| {
            values.get(value).cloned().ok_or_else(|| ExecError::Inputs("an output has no value".to_owned()))
        })
        .collect()
}

/// Results of one `nn` op, whose operands are among the values.
///
/// # Errors
/// If it cannot be evaluated, an operand has no value, or a constant no data.
pub fn evaluate_op(
    module: &Module,
    function: &Function,
    op: Op,
    kind: &NnOp,
    values: &Values,
) -> Result<Vec<Tensor>, ExecError> {
    let data = &function.ops[op];
    let fail = |error: EvalError| ExecError::Op {
        origin: format!("'{}' op, {}", data.kind.name(), data.origin),
        error,
    };
    let missing = || EvalError::Unsupported("an operand has no value".to_owned());
    let types: Vec<&TensorType> = data
        .results
        .iter()
        .map(|&value| function.ty(value).as_tensor().ok_or_else(|| fail(missing())))
        .collect::<Result<_, _>>()?;
    if let (NnOp::Const(constant), [ty]) = (kind, types.as_slice()) {
        let absent = || {
            let message =
                format!("expected the data of '{}', got a module without weights", constant.value.name);
            fail(EvalError::Unsupported(message))
        };
        let bytes = module.bytes(&constant.value).ok_or_else(absent)?;
        return Ok(vec![Tensor::from_bytes((*ty).clone(), bytes).map_err(|error| fail(error.into()))?]);
    }
    let operands: Vec<&Tensor> = data
        .operands
        .iter()
        .map(|value| values.get(value).ok_or_else(|| fail(missing())))
        .collect::<Result<_, _>>()?;
    kind.semantics().evaluate(&operands, &types).map_err(fail)
}
