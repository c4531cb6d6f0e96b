//! Tensors that the user asks to have made again, by numbers of operations.
//!
//! What [`super::candidates`] would not choose can pay off as well: the long side of a residual block, or a tensor that is made
//! from several operations back. Nothing is weighed here. All requests are read before any is carried out, so that the numbers
//! are those of the function as it was.

use crate::pass::OptionValue;
use crate::patch_split::split::operations;
use crate::rewrite::remove_dead_ops;
use mcunet_ir::diag::Category;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::{Diagnostic, Diagnostics, Function, Op, Value};
use std::collections::{HashMap, HashSet};

/// A tensor to make again, by numbers of operations, counted from 0 without constants and reshapes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Again {
    /// The operation that makes it.
    pub operation: usize,
    /// The operation that reads what is made again.
    pub reader: usize,
    /// How many operations back are repeated: 1 for the operation alone, 2 with those that make its operands.
    pub steps: usize,
}

/// Tensors to make again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Values(pub Vec<Again>);

impl OptionValue for Values {
    fn description() -> String {
        "tensors such as 3@9x2:5@7, by the operation that makes it, @ the one that reads it, x operations back (1)".to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        let one = |text: &str| {
            let (operation, rest) = text.split_once('@')?;
            let (reader, steps) = rest.split_once('x').unwrap_or((rest, "1"));
            let again = Again {
                operation: operation.parse().ok()?,
                reader: reader.parse().ok()?,
                steps: steps.parse().ok()?,
            };
            (again.steps > 0).then_some(again)
        };
        let items = text.split(':').filter(|item| !item.is_empty());
        items.map(one).collect::<Option<_>>().map(Self)
    }
    fn print(&self) -> String {
        let one = |again: &Again| {
            let steps = if again.steps == 1 { String::new() } else { format!("x{}", again.steps) };
            format!("{}@{}{steps}", again.operation, again.reader)
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(":")
    }
}

/// Makes tensors of a function again; how many operations were repeated. What nobody reads any more is removed.
///
/// # Errors
/// Every tensor that cannot be made again for its reader; the function is then unchanged.
pub fn apply(function: &mut Function, values: &[Again]) -> Result<usize, Diagnostics> {
    if values.is_empty() {
        return Ok(0);
    }
    let operations = operations(function);
    let mut errors = Diagnostics::default();
    let mut wanted = Vec::new();
    for (index, again) in values.iter().enumerate() {
        let same = |other: &Again| (other.operation, other.reader) == (again.operation, again.reader);
        if values[..index].iter().any(same) {
            let Again { operation, reader, .. } = again;
            let message = format!("expected a tensor once per reader, got {operation}@{reader} again");
            errors.push(Diagnostic::error(message).category(Category::Usage));
            continue;
        }
        match find(function, &operations, again) {
            Ok(pair) => wanted.push((pair, again.steps)),
            Err(error) => errors.push(error.category(Category::Usage)),
        }
    }
    errors.into_result()?;
    let repeated = wanted.into_iter().map(|((op, reader), steps)| repeat(function, op, reader, steps)).sum();
    remove_dead_ops(function);
    Ok(repeated)
}

/// The operation that makes a tensor and the one that reads it.
fn find(function: &Function, operations: &[Op], again: &Again) -> Result<(Op, Op), Diagnostic> {
    let Again { operation, reader, .. } = *again;
    let at = |number: usize| {
        operations.get(number).copied().ok_or_else(|| {
            let count = operations.len();
            Diagnostic::error(format!("expected an operation below {count}, got {number}"))
        })
    };
    let (op, late) = (at(operation)?, at(reader)?);
    let data = &function.ops[late];
    if [op, late].iter().any(|&op| !matches!(function.ops[op].kind, OpKind::Nn(_))) {
        let message =
            format!("expected tensor operations, got operations {operation} and {reader} in rows already");
        return Err(Diagnostic::error(message)
            .at(data.origin.clone())
            .help("run rematerialize before cascade"));
    }
    if !data.operands.iter().any(|&value| maker(function, value) == Some(op)) {
        let (kind, made) = (data.kind.name(), function.ops[op].kind.name());
        let message = format!(
            "expected operation {reader} ('{kind}') to read a result of operation {operation} ('{made}'), got no use of it"
        );
        return Err(Diagnostic::error(message).at(data.origin.clone()));
    }
    Ok((op, late))
}

/// The operation that makes a value, seen through reshapes.
fn maker(function: &Function, value: Value) -> Option<Op> {
    let op = function.defining_op(value)?;
    match &function.ops[op].kind {
        OpKind::Nn(NnOp::Reshape(_)) => maker(function, function.ops[op].operands[0]),
        OpKind::Nn(NnOp::Const(_)) => None,
        _ => Some(op),
    }
}

/// Repeats an operation, and those that make its operands up to `steps` in a row, right before `reader`, which then reads the
/// new results instead of the old ones; how many were repeated.
fn repeat(function: &mut Function, op: Op, reader: Op, steps: usize) -> usize {
    let chain = chain(function, op, steps);
    let body = function.body;
    let mut renamed: HashMap<Value, Value> = HashMap::new();
    let mut made = Vec::new();
    // Reshapes between the operations, and those through which the reader sees the result, go along.
    let ops = function.blocks[body].ops.clone();
    let before = ops.iter().copied().take_while(|&op| op != reader);
    for original in before {
        let data = function.ops[original].clone();
        let is_reshape = matches!(data.kind, OpKind::Nn(NnOp::Reshape(_)));
        let goes_along = is_reshape && renamed.contains_key(&data.operands[0]);
        if !goes_along && !chain.contains(&original) {
            continue;
        }
        let operands =
            data.operands.iter().map(|value| renamed.get(value).copied().unwrap_or(*value)).collect();
        let types = data.results.iter().map(|&result| function.ty(result).clone()).collect();
        let copy = function.create_op(data.kind, operands, types, Vec::new(), data.origin);
        for (&result, value) in data.results.iter().zip(function.ops[copy].results.clone()) {
            function.values[value].name = function.values[result].name.clone();
            renamed.insert(result, value);
        }
        made.push(copy);
    }
    // Only what comes from `op` is made again for the reader; it may read others of the chain as well.
    let from_op: HashSet<Value> = function.ops[reader]
        .operands
        .iter()
        .copied()
        .filter(|&value| maker(function, value) == Some(op))
        .collect();
    for operand in &mut function.ops[reader].operands {
        if let Some(&value) = renamed.get(operand).filter(|_| from_op.contains(operand)) {
            *operand = value;
        }
    }
    let at = ops.iter().position(|&op| op == reader).unwrap_or(ops.len());
    function.blocks[body].ops.splice(at..at, made);
    chain.len()
}

/// An operation and those that make its operands, up to `steps` in a row. Inputs that are received count as such.
fn chain(function: &Function, op: Op, steps: usize) -> HashSet<Op> {
    let mut chain = HashSet::from([op]);
    let mut newest = vec![op];
    for _ in 1..steps {
        let operands = newest.iter().flat_map(|&op| function.ops[op].operands.iter());
        let makers = operands.filter_map(|&value| maker(function, value));
        let makers = makers.filter(|&op| matches!(function.ops[op].kind, OpKind::Nn(_)));
        newest = makers.filter(|op| !chain.contains(op)).collect::<HashSet<Op>>().into_iter().collect();
        if newest.is_empty() {
            break;
        }
        chain.extend(&newest);
    }
    chain
}
