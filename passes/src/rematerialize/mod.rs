//! Computes large tensors again instead of keeping them: two sweeps over an image.
//!
//! Problem: in a squeeze-and-excitation block (Hu et al., CVPR 2018, figure 2) every row of an image is needed twice, first
//! for a mean over all of it, and then to be scaled by what was made of that mean. However rows stream, all of the image has
//! to exist when the mean is known. Method: the operations that make it are repeated for its later readers, back to tensors
//! that are small; in the first sweep its rows only live until the mean has seen them, in the second until they are scaled.
//!
//! A reader is late if something else that it reads was made from the tensor through one that has no rows, so that no row
//! can reach the reader before all have been made. Which tensors are made again for which readers can also be [`given`].

pub mod given;

use crate::analysis::macs;
use crate::pass::{Changed, Pass, PassContext};
use given::Values;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::rows::image_rows;
use mcunet_ir::{Diagnostics, Function, Module, Op, Value};
use std::collections::{HashMap, HashSet};

/// Operations that are repeated for a tensor at most.
const MAX_REPEATED: usize = 6;

crate::declare_pass! {
    /// Repeats operations whose large result would have to be kept until all of it was seen.
    ///
    /// Takes less memory and more multiply-accumulates, which `--stats` tells. Before `cascade`, which lets the rows of both
    /// sweeps stream. By default nothing is repeated. Fails if an operation does not read what is to be made again for it.
    pub Rematerialize = "rematerialize" {
        /// Size in bytes from which on tensors are made again; 0 for none.
        min_bytes: usize = 0,
        /// Tensors to make again whatever their size, each for one reader; operations are counted from 0 without constants
        /// and reshapes, before anything is repeated.
        values: Values = Values::default(),
    } requires Imported ensures Imported;
}

impl Pass for Rematerialize {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        let mut changed = false;
        for function in &mut module.functions {
            let before = macs::of_function(function);
            let mut repeated = given::apply(function, &self.values.0)?;
            if self.min_bytes > 0 {
                repeated += apply(function, self.min_bytes);
            }
            if repeated > 0 {
                cx.count("operations repeated", repeated as u64);
                cx.count("macs before", before);
                cx.count("macs after", macs::of_function(function));
                changed = true;
            }
        }
        Ok(changed.into())
    }
}

/// Makes the tensors of at least `min_bytes` again that [`candidates`] finds; how many operations are repeated.
pub fn apply(function: &mut Function, min_bytes: usize) -> usize {
    let found = candidates(function).into_iter().filter(|candidate| candidate.bytes >= min_bytes);
    found.map(|candidate| repeat(function, &candidate)).sum()
}

/// A tensor that may be made again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Its size.
    pub bytes: usize,
    value: Value,
    /// Operations that make it from small tensors, in order.
    makers: Vec<Op>,
    /// Its late readers.
    readers: Vec<Op>,
}

/// Tensors with late readers, in the order in which they are made.
pub fn candidates(function: &Function) -> Vec<Candidate> {
    let ops = function.blocks[function.body].ops.clone();
    let mut readers: HashMap<Value, Vec<Op>> = HashMap::new();
    for &op in &ops {
        for &operand in &function.ops[op].operands {
            readers.entry(operand).or_default().push(op);
        }
    }
    let mut found = Vec::new();
    for &op in &ops {
        if !matches!(&function.ops[op].kind, OpKind::Nn(kind) if !matches!(kind, NnOp::Const(_) | NnOp::Reshape(_)))
        {
            continue;
        }
        for &value in &function.ops[op].results {
            let all = readers.get(&value).map_or(&[][..], Vec::as_slice);
            if rows(function, value) < 2 || all.len() < 2 {
                continue;
            }
            let seen = seen_as_a_whole(function, &ops, value);
            let is_late = |op: &&Op| function.ops[**op].operands.iter().any(|operand| seen.contains(operand));
            let late: Vec<Op> = all.iter().filter(is_late).copied().collect();
            if late.is_empty() || late.len() == all.len() {
                continue;
            }
            if let Some(makers) = makers(function, value) {
                found.push(Candidate { bytes: bytes(function, value), value, makers, readers: late });
            }
        }
    }
    found
}

/// Values that are made from all of a tensor: through one that has no rows.
fn seen_as_a_whole(function: &Function, ops: &[Op], value: Value) -> HashSet<Value> {
    // Values made from the tensor, and whether a value on the way had no rows.
    let mut from: HashMap<Value, bool> = HashMap::from([(value, false)]);
    for &op in ops {
        let data = &function.ops[op];
        let operands = data.operands.iter().filter_map(|operand| from.get(operand).copied());
        let Some(whole) = operands.reduce(|a, b| a || b) else { continue };
        for &result in &data.results {
            from.insert(result, whole || rows(function, result) < 2);
        }
    }
    from.into_iter().filter_map(|(value, whole)| whole.then_some(value)).collect()
}

/// The operations that make a tensor from tensors of at most half its size, in order; `None` if these are too many, or one
/// of its size is an input.
fn makers(function: &Function, value: Value) -> Option<Vec<Op>> {
    let limit = bytes(function, value) / 2;
    let (mut open, mut found) = (vec![value], Vec::new());
    while let Some(value) = open.pop() {
        let op = function.defining_op(value)?;
        if !matches!(function.ops[op].kind, OpKind::Nn(_)) {
            return None;
        }
        if found.contains(&op) {
            continue;
        }
        found.push(op);
        if found.len() > MAX_REPEATED {
            return None;
        }
        let large = function.ops[op].operands.iter().filter(|&&operand| bytes(function, operand) > limit);
        open.extend(large.filter(|&&operand| !is_constant(function, operand)));
    }
    let ops = &function.blocks[function.body].ops;
    found.sort_by_key(|op| ops.iter().position(|other| other == op));
    Some(found)
}

/// Repeats the makers of a tensor right before its first late reader.
fn repeat(function: &mut Function, candidate: &Candidate) -> usize {
    let mut again: HashMap<Value, Value> = HashMap::new();
    let mut made = Vec::new();
    for &op in &candidate.makers {
        let data = function.ops[op].clone();
        let operands = data.operands.iter().map(|operand| again.get(operand).copied().unwrap_or(*operand));
        let operands = operands.collect();
        let types = data.results.iter().map(|&result| function.ty(result).clone()).collect();
        let clone = function.create_op(data.kind, operands, types, Vec::new(), data.origin);
        let results = function.ops[clone].results.clone();
        for (&old, &new) in data.results.iter().zip(&results) {
            function.values[new].name = function.values[old].name.clone();
            again.insert(old, new);
        }
        made.push(clone);
    }
    let Some(&value) = again.get(&candidate.value) else { return 0 };
    for &reader in &candidate.readers {
        for operand in &mut function.ops[reader].operands {
            if *operand == candidate.value {
                *operand = value;
            }
        }
    }
    let ops = &mut function.blocks[function.body].ops;
    let first = ops.iter().position(|op| candidate.readers.contains(op)).unwrap_or(ops.len());
    ops.splice(first..first, made);
    candidate.makers.len()
}

fn rows(function: &Function, value: Value) -> usize {
    function.ty(value).as_tensor().and_then(|ty| image_rows(&ty.shape)).unwrap_or(1)
}

fn bytes(function: &Function, value: Value) -> usize {
    function.ty(value).as_tensor().map_or(0, |ty| ty.size_bytes())
}

fn is_constant(function: &Function, value: Value) -> bool {
    function.defining_op(value).is_some_and(|op| matches!(function.ops[op].kind, OpKind::Nn(NnOp::Const(_))))
}
