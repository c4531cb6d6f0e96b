//! Evaluates a function op by op for all samples at once, so that an op can be changed before anything reads its result.

use super::observe::failed;
use mcunet_ir::interp::{Values, evaluate_op};
use mcunet_ir::module::OpKind;
use mcunet_ir::{Diagnostics, Function, Module, Op, Tensor, Value};
use std::collections::HashMap;

/// The values of all samples at one point of a function.
#[derive(Debug)]
pub struct Batch<'m> {
    module: &'m Module,
    function: &'m Function,
    values: Vec<Values>,
    /// Uses of values that are still to come.
    uses: HashMap<Value, usize>,
    /// Position of the op that comes next.
    next: usize,
}

impl<'m> Batch<'m> {
    /// Before the first op.
    pub fn new(module: &'m Module, samples: &[Vec<Tensor>]) -> Self {
        let function = &module.functions[0];
        let arguments = &function.blocks[function.body].args;
        let values = |sample: &Vec<Tensor>| arguments.iter().copied().zip(sample.iter().cloned()).collect();
        let values = samples.iter().map(values).collect();
        Self { module, function, values, uses: function.use_counts(), next: 0 }
    }

    /// Evaluates everything before `op`.
    ///
    /// # Errors
    /// An op that fails.
    pub fn advance_to(&mut self, op: Op) -> Result<(), Diagnostics> {
        let ops = &self.function.blocks[self.function.body].ops;
        while let Some(&next) = ops.get(self.next).filter(|&&next| next != op) {
            self.step(next)?;
        }
        Ok(())
    }

    /// A value of every sample; those that are alive.
    pub fn tensors(&self, value: Value) -> Vec<&Tensor> {
        self.values.iter().filter_map(|values| values.get(&value)).collect()
    }

    /// Replaces a value of every sample.
    pub fn replace(&mut self, value: Value, tensor: &Tensor) {
        for values in &mut self.values {
            values.insert(value, tensor.clone());
        }
    }

    fn step(&mut self, op: Op) -> Result<(), Diagnostics> {
        let data = &self.function.ops[op];
        self.next += 1;
        let OpKind::Nn(kind) = &data.kind else { return Ok(()) };
        for values in &mut self.values {
            let results = evaluate_op(self.module, self.function, op, kind, values).map_err(failed)?;
            values.extend(data.results.iter().copied().zip(results));
        }
        for operand in &data.operands {
            let left = self.uses.get_mut(operand).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                self.values.iter_mut().for_each(|values| {
                    values.remove(operand);
                });
            }
        }
        Ok(())
    }
}
