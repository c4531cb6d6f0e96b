//! What operations cost, told by their programs: each is lowered by itself, and its kernels are counted as
//! [`crate::cost`] counts those of the whole.
//!
//! Constants are filled with numbers of no meaning, since the cost of a kernel does not depend on them; this way an
//! operation is judged once, whatever its weights. What depends on the neighbours of an operation is not in its own
//! program, so that it is added by rule: rows that a cascade would hold, and reshapes, which vanish.

use super::cost::{Cost, CostModel, Judged};
use crate::cost;
use crate::lower::Lower;
use crate::pack_weights::PackWeights;
use crate::pass::{Pass, PassContext};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::types::{Scalar, Type};
use mcunet_ir::{Builder, Function, Module, Stage, TensorType, Value};
use std::cell::RefCell;
use std::collections::HashMap;

/// What an operation without kernels costs: any way around it is better.
const NO_KERNEL: Cost = Cost { cycles: 1 << 40, flash_bytes: 0, held_bytes: 0 };

/// A reshape moves nothing, but no rows pass through it.
const RESHAPE: Cost = Cost { cycles: 10, flash_bytes: 0, held_bytes: 0 };

/// An operation with all that its kernels depend on.
type Key = (NnOp, Vec<(TensorType, bool)>, Vec<TensorType>);

/// Judges operations by their programs, for the target and with the lowering of a pipeline.
#[derive(Debug)]
pub struct Oracle<'c> {
    cx: &'c PassContext<'c>,
    known: RefCell<HashMap<Key, Cost>>,
}

impl<'c> Oracle<'c> {
    /// A model of costs for the pass that runs in `cx`.
    pub fn new(cx: &'c PassContext<'c>) -> Self {
        Self { cx, known: RefCell::default() }
    }

    fn of_program(&self, op: &Judged<'_>) -> Option<Cost> {
        let mut module = program(op);
        let given = constant_bytes(&module);
        let cx = PassContext::new(self.cx.target);
        match self.cx.lowering() {
            Some(lowering) => lowering.run(&mut module, &cx).ok()?,
            None => Lower::default().run(&mut module, &cx).ok()?,
        };
        PackWeights {}.run(&mut module, &cx).ok()?;
        let stored = constant_bytes(&module);
        let figures = cost::of_module(&module, self.cx.target).total;
        // Operands that are constant are paid where they are defined: tables, multipliers and padding are left.
        let flash_bytes = figures.code_bytes + stored.saturating_sub(given) as u64;
        Some(Cost { cycles: figures.cycles, flash_bytes, held_bytes: 0 })
    }
}

impl CostModel for Oracle<'_> {
    fn of(&self, op: &Judged<'_>) -> Cost {
        match op.kind {
            NnOp::Const(_) => return Cost::default(),
            NnOp::Reshape(_) => return RESHAPE,
            _ => {}
        }
        let operands = op.operands.iter().zip(op.constant).map(|(&ty, &constant)| (ty.clone(), constant));
        let key = (op.kind.clone(), operands.collect(), op.results.to_vec());
        if let Some(&cost) = self.known.borrow().get(&key) {
            return cost;
        }
        let cost = match self.of_program(op) {
            Some(cost) => Cost { held_bytes: held_bytes(op), ..cost },
            None => NO_KERNEL,
        };
        self.known.borrow_mut().insert(key, cost);
        cost
    }
}

/// A module that computes an operation and nothing else.
fn program(op: &Judged<'_>) -> Module {
    let mut module = Module::new("judged");
    module.stage = Stage::Imported;
    let mut function = Function::new("judged");
    let mut operands: Vec<Value> = Vec::new();
    for (index, (&ty, &constant)) in op.operands.iter().zip(op.constant).enumerate() {
        let operand = if constant {
            let value = module.add_resource(&format!("c{index}"), ty.storage(), fill(ty));
            let body = function.body;
            Builder::at_end(&mut function, body).value(n::Const { value }, &[], ty.clone().into())
        } else {
            function.add_input(format!("x{index}"), ty.clone().into())
        };
        operands.push(operand);
    }
    let types: Vec<Type> = op.results.iter().map(|ty| ty.clone().into()).collect();
    for (index, ty) in types.iter().enumerate() {
        let (name, ty) = (format!("y{index}").into(), ty.clone());
        function.outputs.push(mcunet_ir::module::Port { name, ty });
    }
    let body = function.body;
    let mut b = Builder::at_end(&mut function, body);
    let made = b.op(op.kind.clone(), &operands, &types);
    let results = b.function.ops[made].results.clone();
    b.op(mcunet_ir::builtin::Return {}, &results, &[]);
    module.functions.push(function);
    module
}

/// Bytes of all constants in flash.
fn constant_bytes(module: &Module) -> usize {
    module.resources().map(|(_, data)| data.element.packed_bytes(data.count)).sum()
}

/// Numbers for a constant: weights that differ, so that none is taken for a special case, and neutral ones elsewhere.
fn fill(ty: &TensorType) -> Vec<u8> {
    match ty.storage() {
        Scalar::I8 => (0..ty.elements()).map(|index| (index.wrapping_mul(37) % 251) as u8).collect(),
        // One number a byte, of those that both have.
        Scalar::I4 | Scalar::I2 => (0..ty.elements()).map(|index| (index % 2) as u8).collect(),
        Scalar::F32 => (0..ty.elements()).flat_map(|_| 1.0f32.to_le_bytes()).collect(),
        _ => vec![0; ty.size_bytes()],
    }
}

/// What an operation holds at a time if it runs row by row: the rows under its window, and a row of each result. What
/// has no rows is held whole.
fn held_bytes(op: &Judged<'_>) -> u64 {
    let results: usize = op.results.iter().map(row_bytes).sum();
    let Some(&input) = op.operands.first() else { return results as u64 };
    let rows = match op.kind {
        NnOp::FullyConnected(_) => return (input.size_bytes() + results) as u64,
        NnOp::Conv2d(_) | NnOp::Conv2dAdd(_) | NnOp::DepthwiseConv2d(_) => {
            op.operands.get(1).map_or(0, |filter| filter.shape[1])
        }
        NnOp::AvgPool2d(n::AvgPool2d { kernel, .. }) | NnOp::MaxPool2d(n::MaxPool2d { kernel, .. }) => {
            kernel[0] as usize
        }
        _ => 0,
    };
    let window = input.shape.nhwc().map_or(0, |[_, height, ..]| row_bytes(input) * rows.min(height));
    (window + results) as u64
}

/// Bytes of a row of an image, or of all of a tensor of another rank.
fn row_bytes(ty: &TensorType) -> usize {
    let rows = ty.shape.nhwc().map_or(1, |[images, height, ..]| images * height);
    ty.size_bytes() / rows.max(1)
}
