//! Which values have one scale and zero point, and which.
//!
//! Ops that move or compare numbers do not rescale, so that their operands and results are one class. A value whose
//! integers an op prescribes (softmax) joins only what follows it; where it meets others, as in a concatenation, it is
//! rescaled there. Union-find over the values, in the order of the ops: nearly linear.

use super::form::{Form, form};
use super::histogram::Histogram;
use super::observe::Observations;
use super::range::Estimator;
use super::scheme::Activations;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::quant::Affine;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Function, Value};
use std::collections::HashMap;

/// Scale and zero point of every float value.
#[derive(Clone, Debug, Default)]
pub struct Affines {
    affines: HashMap<Value, Affine>,
}

impl Affines {
    /// Scale and zero point of a value; `None` if it is no float or was never evaluated.
    pub fn of(&self, value: Value) -> Option<Affine> {
        self.affines.get(&value).copied()
    }

    /// Estimates the ranges of all classes.
    pub fn estimate(
        function: &Function,
        seen: &Observations,
        estimator: Estimator,
        activations: Activations,
    ) -> Self {
        let mut classes = Classes::default();
        for op in function.walk() {
            classes.visit(function, op, activations);
        }
        let mut values: HashMap<Value, Histogram> = HashMap::new();
        let members: Vec<Value> = function.values.keys().filter(|&value| seen.of(value).is_some()).collect();
        for &value in &members {
            let root = classes.root(value);
            if let Some(histogram) = seen.of(value) {
                values.entry(root).or_default().merge(histogram);
            }
        }
        let of_root: HashMap<Value, Affine> = values
            .into_iter()
            .map(|(root, histogram)| {
                let affine = classes.fixed.get(&root).copied();
                (root, affine.unwrap_or_else(|| activations.affine(estimator.range(&histogram, activations))))
            })
            .collect();
        let of = |value| Some((value, *of_root.get(&classes.root(value))?));
        Self { affines: members.into_iter().filter_map(of).collect() }
    }
}

/// Classes of values, each with what is prescribed for it.
#[derive(Debug, Default)]
struct Classes {
    parent: HashMap<Value, Value>,
    fixed: HashMap<Value, Affine>,
}

impl Classes {
    fn root(&self, value: Value) -> Value {
        let mut at = value;
        while let Some(&next) = self.parent.get(&at) {
            at = next;
        }
        at
    }

    fn visit(&mut self, function: &Function, op: mcunet_ir::Op, activations: Activations) {
        let data = &function.ops[op];
        let OpKind::Nn(kind) = &data.kind else { return };
        match form(kind, activations) {
            Form::Fixed(affine) => {
                for &result in &data.results {
                    self.fixed.insert(result, affine);
                }
            }
            Form::Shared => {
                let is_float = |value: &Value| {
                    function.ty(*value).as_tensor().is_some_and(|ty| ty.storage() == Scalar::F32)
                };
                let is_constant = |value: &Value| {
                    let op = function.defining_op(*value);
                    op.is_some_and(|op| matches!(function.ops[op].kind, OpKind::Nn(NnOp::Const(_))))
                };
                let operands = data.operands.iter().copied();
                let operands: Vec<Value> = operands.filter(|v| is_float(v) && !is_constant(v)).collect();
                let results: Vec<Value> = data.results.iter().copied().filter(is_float).collect();
                self.join(&operands, &results);
            }
            Form::Weighted { .. } | Form::Own | Form::Reads | Form::Real | Form::Constant => {}
        }
    }

    /// Joins the classes of operands and results. Where different things are prescribed for operands, only those join for
    /// which nothing is; what is prescribed for all of them alike holds for the results too.
    fn join(&mut self, operands: &[Value], results: &[Value]) {
        let fixed = |value: &Value| self.fixed.get(&self.root(*value)).copied();
        let prescribed: Vec<Option<Affine>> = operands.iter().map(fixed).collect();
        let alike = prescribed.iter().all(|affine| *affine == prescribed[0]);
        let operands = operands.iter().zip(&prescribed);
        let joining = operands.filter(|(_, affine)| alike || affine.is_none()).map(|(value, _)| *value);
        let members: Vec<Value> = joining.chain(results.iter().copied()).collect();
        let Some((&first, rest)) = members.split_first() else { return };
        for &other in rest {
            let (first, other) = (self.root(first), self.root(other));
            if first != other {
                self.parent.insert(other, first);
            }
        }
    }
}
