//! Evaluates all nodes of an e-graph against each other: what rules claim, tried on data.

use super::Fuse;
use super::language::Node;
use super::translate::translate;
use egg::Id;
use mcunet_ir::{Module, Tensor, TensorType};
use std::collections::HashMap;

/// What was compared.
#[derive(Clone, Debug)]
pub struct Compared {
    /// How often each rule found something new.
    pub applied: Vec<(&'static str, u64)>,
    /// Nodes that were evaluated beside the first of their class.
    pub nodes: usize,
}

/// Saturates the module's first function, and hands every pair of results that are claimed to be equal to `same`.
///
/// # Errors
/// The pair that differs, or an operation that can't be evaluated.
pub fn compare(
    fuse: &Fuse,
    module: &Module,
    inputs: &[Tensor],
    same: &dyn Fn(&Tensor, &Tensor) -> Result<(), String>,
) -> Result<Compared, String> {
    let function = module.functions.first().ok_or("expected a function, got none")?;
    let mut all = translate(module, function).ok_or("expected tensor operations only")?;
    let saturation = fuse.saturate(&mut all);
    let mut values: HashMap<Id, Tensor> = HashMap::new();
    let mut nodes = 0;
    // Classes can need each other; rounds go on as long as values come in.
    let mut pending: Vec<(Id, Node)> = Vec::new();
    for class in all.egraph.classes() {
        pending.extend(class.iter().map(|node| (class.id, node.clone())));
    }
    pending.sort();
    loop {
        let before = pending.len();
        let mut waiting = Vec::new();
        for (class, node) in pending {
            let value = match &node {
                Node::Argument(index, _) => inputs.get(*index).cloned(),
                Node::Constant(id, ty) => all.egraph.analysis.constants.tensor(*id, ty),
                Node::Op(op) => {
                    let operands = op.operands.iter().map(|&id| values.get(&all.egraph.find(id)));
                    let Some(operands) = operands.collect::<Option<Vec<&Tensor>>>() else {
                        waiting.push((class, node));
                        continue;
                    };
                    let types: Vec<&TensorType> = op.results.iter().collect();
                    let results = op.kind.semantics().evaluate(&operands, &types);
                    let results = results.map_err(|error| format!("'{node}': {error}"))?;
                    results.into_iter().nth(op.index)
                }
            };
            let value = value.ok_or_else(|| format!("'{node}' has no value"))?;
            match values.get(&class) {
                Some(first) => {
                    nodes += 1;
                    same(first, &value).map_err(|difference| format!("'{node}': {difference}"))?;
                }
                None => {
                    values.insert(class, value);
                }
            }
        }
        pending = waiting;
        if pending.is_empty() || pending.len() == before {
            break;
        }
    }
    Ok(Compared { applied: saturation.applied, nodes })
}
