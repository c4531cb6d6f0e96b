//! Greedy rewriting: patterns are tried on every operation until none applies any more.
//!
//! A pattern looks at one op and edits the graph around it through [`Rewriter`], which keeps definitions before uses:
//! new ops go right before the op that is looked at. Patterns must make progress (each application removes an op or
//! brings the graph nearer to its normal form), so that rewriting ends; a limit on rounds guards against mistakes.

use mcunet_ir::module::OpKind;
use mcunet_ir::{Function, Module, Op, TensorType, Type, Value};
use std::collections::{BTreeMap, HashSet};

/// One rewrite.
pub trait Pattern {
    /// Name in statistics.
    fn name(&self) -> &'static str;
    /// Tries the rewrite at `op`; returns whether it was applied.
    fn apply(&self, rewriter: &mut Rewriter<'_>, op: Op) -> bool;
}

/// The graph as a pattern sees and edits it.
#[derive(Debug)]
pub struct Rewriter<'m> {
    /// The module, for its constant data. Its list of functions is empty while patterns run.
    pub module: &'m mut Module,
    /// The function that is rewritten.
    pub function: &'m mut Function,
    insert_before: Vec<(Op, Op)>,
}

impl Rewriter<'_> {
    /// Type of a tensor value.
    pub fn tensor_type(&self, value: Value) -> Option<&TensorType> {
        self.function.ty(value).as_tensor()
    }

    /// Creates an op that will stand right before `anchor`, with `anchor`'s origin, and returns its results.
    pub fn insert(
        &mut self,
        anchor: Op,
        kind: impl Into<OpKind>,
        operands: Vec<Value>,
        types: Vec<Type>,
    ) -> Vec<Value> {
        let origin = self.function.ops[anchor].origin.clone();
        let op = self.function.create_op(kind.into(), operands, types, Vec::new(), origin);
        self.insert_before.push((anchor, op));
        self.function.ops[op].results.clone()
    }

    /// Makes users of `op`'s results use `values` instead. Names move along to values that have none.
    pub fn replace(&mut self, op: Op, values: &[Value]) {
        for (result, &value) in self.function.ops[op].results.clone().into_iter().zip(values) {
            if self.function.values[value].name.is_none() {
                let name = self.function.values[result].name.clone();
                self.function.values[value].name = name;
            }
            self.function.replace_uses(result, value);
        }
    }

    fn flush(&mut self) {
        let body = self.function.body;
        for (anchor, op) in std::mem::take(&mut self.insert_before) {
            let ops = &mut self.function.blocks[body].ops;
            let position = ops.iter().position(|&other| other == anchor).unwrap_or(ops.len());
            ops.insert(position, op);
        }
    }
}

/// Rounds after which rewriting stops even if patterns still apply.
const MAX_ROUNDS: usize = 64;

/// Applies patterns to every op of every function until nothing changes, removing dead ops in between. Returns how
/// often each pattern was applied.
pub fn rewrite_greedily(module: &mut Module, patterns: &[&dyn Pattern]) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    let mut functions = std::mem::take(&mut module.functions);
    for function in &mut functions {
        for _ in 0..MAX_ROUNDS {
            let before: u64 = counts.values().sum();
            let dead = remove_dead_ops(function);
            if dead > 0 {
                *counts.entry("dead ops removed").or_insert(0) += dead;
            }
            let mut rewriter = Rewriter { module, function, insert_before: Vec::new() };
            round(&mut rewriter, patterns, &mut counts);
            if counts.values().sum::<u64>() == before {
                break;
            }
        }
    }
    module.functions = functions;
    counts
}

fn round(rewriter: &mut Rewriter<'_>, patterns: &[&dyn Pattern], counts: &mut BTreeMap<&'static str, u64>) {
    for op in rewriter.function.blocks[rewriter.function.body].ops.clone() {
        for pattern in patterns {
            if pattern.apply(rewriter, op) {
                rewriter.flush();
                *counts.entry(pattern.name()).or_insert(0) += 1;
                break;
            }
        }
    }
}

/// Removes pure ops of the top-level block whose results nobody uses; returns how many.
pub fn remove_dead_ops(function: &mut Function) -> u64 {
    let mut uses = function.use_counts();
    let mut dead = HashSet::new();
    for &op in function.blocks[function.body].ops.iter().rev() {
        let data = &function.ops[op];
        let unused = data.results.iter().all(|result| uses.get(result).copied().unwrap_or(0) == 0);
        if unused && data.kind.has(mcunet_ir::define::Trait::Pure) {
            for operand in &data.operands {
                if let Some(count) = uses.get_mut(operand) {
                    *count -= 1;
                }
            }
            dead.insert(op);
        }
    }
    function.erase_ops(&dead);
    dead.len() as u64
}
