//! Functions of one int8 number. Each is a table of 256 results, made by the reference semantics, so that whatever is done
//! with tables is exact by construction.

use super::{Proof, Rule};
use crate::fuse::analysis::index;
use crate::fuse::graph::Graph;
use crate::fuse::language::OpNode;
use egg::Id;
use mcunet_ir::define::Trait;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::nn::unary::int8_table;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Tensor, TensorType};

/// The rules of this family.
pub const RULES: &[Rule] = &[
    Rule {
        name: "compose-tables",
        summary: "`f(g(x))` of int8 functions becomes one `nn.lookup`",
        condition: "both read one int8 number: an operation of one operand, or one of two with a constant that is the \
                    same number everywhere",
        proof: Proof::Exact("the reference evaluates both functions on all 256 numbers"),
        roots: is_function,
        apply: compose,
    },
    Rule {
        name: "join-functions",
        summary: "`op(f(x), g(x))`, such as the product of a hard swish, becomes one `nn.lookup`",
        condition: "`f` and `g` are int8 functions, or nothing, of one `x`; `op` is elementwise",
        proof: Proof::Exact("the reference evaluates all of it on all 256 numbers"),
        roots: is_function,
        apply: join_functions,
    },
    Rule {
        name: "drop-function",
        summary: "`f(x)` becomes `x`",
        condition: "result and operand have one type, and `f` returns every number of the operand's range",
        proof: Proof::Exact("the reference evaluates `f` on all numbers of the range"),
        roots: is_function,
        apply: drop_function,
    },
    Rule {
        name: "function-before-reshape",
        summary: "`f(reshape(x))` becomes `reshape(f(x))`",
        condition: "`f` reads one int8 number",
        proof: Proof::Exact("both apply `f` to the same elements in the same order"),
        roots: is_function,
        apply: before_reshape,
    },
];

fn is_function(kind: &NnOp) -> bool {
    kind.spec().has(Trait::Elementwise)
}

/// All int8 numbers in order, as a tensor of an element type.
fn all_numbers(ty: &TensorType) -> Option<Tensor> {
    Tensor::new(ty.with_shape([256]), Data::I8((i8::MIN..=i8::MAX).collect())).ok()
}

/// The one number that all elements of a constant are, as a tensor of one element.
pub fn uniform(tensor: &Tensor) -> Option<Tensor> {
    let size = tensor.ty.storage().size_bytes();
    let bytes = tensor.data.to_bytes();
    let first = bytes.get(..size)?;
    let same = bytes.chunks_exact(size).all(|item| item == first);
    same.then(|| Tensor::from_bytes(tensor.ty.with_shape([1]), first).ok())?
}

/// The operand that an op is a function of element by element, if it is one: of one operand, or of two of which one is a
/// constant that is the same number everywhere. With the constant, if there is one, in its place.
pub fn variable_operand(graph: &Graph<'_>, op: &OpNode) -> Option<(Id, [Option<Tensor>; 2])> {
    if !op.kind.spec().has(Trait::Elementwise) || op.results.len() != 1 {
        return None;
    }
    match op.operands[..] {
        [input] => Some((input, [None, None])),
        [lhs, rhs] => {
            let constant = |id| graph.tensor(id).and_then(|tensor| uniform(&tensor));
            let keeps_shape = |id| graph.ty(id).shape == op.ty().shape;
            match (constant(lhs), constant(rhs)) {
                (None, Some(rhs)) if keeps_shape(lhs) => Some((lhs, [None, Some(rhs)])),
                (Some(lhs), None) if keeps_shape(rhs) => Some((rhs, [Some(lhs), None])),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Results of an elementwise op with one variable operand for a tensor of inputs, in a shape of theirs.
pub fn evaluate(op: &OpNode, constants: &[Option<Tensor>; 2], input: &Tensor) -> Option<Tensor> {
    let result = op.ty().with_shape(input.ty.shape.clone());
    let operands: Vec<&Tensor> = match constants {
        [Some(lhs), None] => vec![lhs, input],
        [None, Some(rhs)] => vec![input, rhs],
        _ => vec![input],
    };
    op.kind.semantics().evaluate(&operands, &[&result]).ok()?.pop()
}

/// The op as a table, and its operand, if it is a function of an int8 number with int8 results.
pub fn table_of(graph: &Graph<'_>, op: &OpNode) -> Option<(Id, [i8; 256])> {
    if op.ty().storage() != Scalar::I8 {
        return None;
    }
    let (input, constants) = variable_operand(graph, op)?;
    let ty = graph.ty(input);
    if ty.storage() != Scalar::I8 || ty.affine().is_none() || op.ty().affine().is_none() {
        return None;
    }
    if op.operands.len() == 1 {
        return Some((input, int8_table(&op.kind, &ty, op.ty())?));
    }
    let results = evaluate(op, &constants, &all_numbers(&ty)?)?;
    Some((input, results.i8s().ok()?.try_into().ok()?))
}

fn compose(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let Some((middle, outer)) = table_of(graph, root) else { return Vec::new() };
    let Some((input, inner)) = furthest(graph, middle) else { return Vec::new() };
    let table: [i8; 256] = inner.map(|y| outer[index(y)]);
    let lookup = graph.op(n::Lookup { table: table.into() }, &[input], root.ty().clone());
    lookup.into_iter().collect()
}

/// The way in which a value is a function of another one, if it is one. Of several that whose operand is no function itself,
/// since nothing is gained by stopping in the middle of a chain, and a chain has as many middles as operations.
fn furthest(graph: &Graph<'_>, id: Id) -> Option<(Id, [i8; 256])> {
    let ways = graph.ops(id).into_iter().filter_map(|op| table_of(graph, &op));
    let mut ways: Vec<(Id, [i8; 256])> = ways.filter(|&(input, _)| !graph.same(input, id)).collect();
    let is_start =
        |&(input, _): &(Id, [i8; 256])| !graph.ops(input).iter().any(|op| table_of(graph, op).is_some());
    let at = ways.iter().position(is_start).unwrap_or(0);
    (at < ways.len()).then(|| ways.swap_remove(at))
}

/// Ways in which an int8 value is a function of an int8 value of its shape: of itself to begin with.
fn sources(graph: &Graph<'_>, id: Id) -> Vec<(Id, [i8; 256])> {
    let itself = std::array::from_fn(|i| (i as i32 - 128) as i8);
    std::iter::once((id, itself)).chain(furthest(graph, id)).collect()
}

fn join_functions(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let [lhs, rhs] = root.operands[..] else { return Vec::new() };
    let int8 = |ty: &TensorType| ty.storage() == Scalar::I8 && ty.affine().is_some();
    let fits = |id| int8(&graph.ty(id)) && graph.ty(id).shape == root.ty().shape;
    if !fits(lhs) || !fits(rhs) || !int8(root.ty()) || root.results.len() != 1 {
        return Vec::new();
    }
    let (left, right) = (sources(graph, lhs), sources(graph, rhs));
    let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (a, b)));
    let mut common = pairs.filter(|(a, b)| graph.same(a.0, b.0) && fits(a.0));
    let Some((&(source, f), &(_, g))) = common.next() else { return Vec::new() };
    let table = || {
        let numbers = |id: Id, table: [i8; 256]| {
            Tensor::new(graph.ty(id).with_shape([256]), Data::I8(table.to_vec())).ok()
        };
        let (f, g) = (numbers(lhs, f)?, numbers(rhs, g)?);
        let result = root.ty().with_shape([256]);
        let results = root.kind.semantics().evaluate(&[&f, &g], &[&result]).ok()?.pop()?;
        <[i8; 256]>::try_from(results.i8s().ok()?).ok()
    };
    let Some(table) = table() else { return Vec::new() };
    graph.op(n::Lookup { table: table.into() }, &[source], root.ty().clone()).into_iter().collect()
}

fn drop_function(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let Some((input, table)) = table_of(graph, root) else { return Vec::new() };
    let (low, high) = graph.range(input);
    let keeps = (low..=high).all(|x| table[index(x)] == x);
    if keeps && *graph.ty(input) == *root.ty() { vec![input] } else { Vec::new() }
}

fn before_reshape(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let Some((middle, table)) = table_of(graph, root) else { return Vec::new() };
    let reshapes = graph.makers(middle, |kind| match kind {
        NnOp::Reshape(reshape) => Some(reshape),
        _ => None,
    });
    let mut found = Vec::new();
    for (reshape, op) in reshapes {
        let input = op.operands[0];
        let ty = root.ty().with_shape(graph.ty(input).shape.clone());
        // An op of one operand keeps its name, which says more than a table.
        let kind = match root.operands.len() {
            1 => (*root.kind).clone(),
            _ => n::Lookup { table: table.into() }.into(),
        };
        let function = graph.op(kind, &[input], ty);
        found.extend(function.and_then(|value| graph.op(reshape, &[value], root.ty().clone())));
    }
    found
}
