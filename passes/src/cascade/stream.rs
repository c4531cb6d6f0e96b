//! Inputs that the caller hands over row by row.
//!
//! An input that is read by rows gets a `tile.receive` before its first reader. From then on its rows are like those of any
//! other stage: made when a reader needs them, held only as long, and none of them there before. Where the search cuts
//! between the receiving stage and its reader, the input is whole after all; it is still received in order.
//!
//! Refused, with the reason: inputs without several rows, those that an operation needs at once (they would have to be
//! whole anyway), and those that are returned as they are. An input that is only seen in another shape is received in that.

use mcunet_ir::diag::{Category, Origin};
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::rows::{RowNeed, image_rows};
use mcunet_ir::tile::ops::Receive;
use mcunet_ir::tile::{Stage, TileOp};
use mcunet_ir::{Diagnostic, Function, Op, Value};

/// How often the caller hands an input's rows over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Streaming {
    /// Never: inputs lie in memory.
    No,
    /// Once.
    Once,
    /// Once for every tile that reads a part of them.
    Again,
}

crate::option_words! { Streaming { No = "no", Once = "once", Again = "again" } }

/// Lets the inputs of a function be received that can be; how many these are.
///
/// # Errors
/// If none can be, with the reason for each.
pub fn receive_inputs(function: &mut Function, streaming: Streaming) -> Result<usize, Diagnostic> {
    let arguments = function.blocks[function.body].args.clone();
    let mut count = 0;
    let mut reasons = Vec::new();
    for (index, argument) in arguments.into_iter().enumerate() {
        match seen_as(function, argument) {
            Ok(seen) => {
                receive(function, argument, seen, streaming);
                count += 1;
            }
            Err(reason) => reasons.push(format!("input '{}' {reason}", function.inputs[index].name)),
        }
    }
    if count > 0 {
        return Ok(count);
    }
    let mut error = Diagnostic::error("expected an input that can be streamed row by row, got none");
    for reason in reasons {
        error = error.note(reason);
    }
    Err(error.category(Category::Input).help("leave stream-input out"))
}

/// The value as which an input's rows are read: itself, or what a reshape makes of it; or why it has to be whole.
fn seen_as(function: &Function, argument: Value) -> Result<Value, String> {
    let mut value = argument;
    loop {
        let readers: Vec<Op> =
            function.walk().into_iter().filter(|&op| function.ops[op].operands.contains(&value)).collect();
        match readers[..] {
            [] => return Err("is not read".to_owned()),
            [only] if matches!(function.ops[only].kind, OpKind::Nn(NnOp::Reshape(_))) => {
                value = function.ops[only].results[0];
            }
            _ => {
                let shape = function.ty(value).as_tensor().map(|ty| ty.shape.clone()).unwrap_or_default();
                let rows = image_rows(&shape).filter(|&rows| rows > 1);
                let rows = rows.ok_or_else(|| format!("is read as {shape}, which has no rows"))?;
                readers.iter().try_for_each(|&reader| reads_rows(function, reader, value, rows))?;
                return Ok(value);
            }
        }
    }
}

/// Whether an operation reads a value row by row, or why not.
fn reads_rows(function: &Function, reader: Op, value: Value, rows: usize) -> Result<(), String> {
    let data = &function.ops[reader];
    let name = data.kind.name();
    if data.kind.spec().has(mcunet_ir::define::Trait::Terminator) {
        return Err("is returned as it is".to_owned());
    }
    let whole = || format!("is needed as a whole by '{name}', {}", data.origin);
    if matches!(data.kind, OpKind::Tile(TileOp::Receive(_))) {
        return Err("is received already".to_owned());
    }
    let stage = Stage::of(function, reader).ok_or_else(whole)?;
    let mut needs = data.operands.iter().zip(&stage.needs).filter(|(operand, _)| **operand == value);
    let by_rows = needs.all(|(_, need)| *need != RowNeed::Whole && need.rows() == rows);
    if by_rows { Ok(()) } else { Err(whole()) }
}

/// Receives an input as the value that its readers see, right before the first of them; if it may be received again, each
/// reader of a part gets it for itself.
fn receive(function: &mut Function, argument: Value, seen: Value, streaming: Streaming) {
    let readers: Vec<Op> =
        function.walk().into_iter().filter(|&op| function.ops[op].operands.contains(&seen)).collect();
    let reads_part = |op: &Op| matches!(function.ops[*op].kind, OpKind::Nn(NnOp::Slice(_)));
    let (alone, together): (Vec<Op>, Vec<Op>) =
        readers.into_iter().partition(|op| streaming == Streaming::Again && reads_part(op));
    remove_reshapes(function, argument, seen);
    let groups = std::iter::once(together).chain(alone.into_iter().map(|op| vec![op]));
    for group in groups.filter(|group| !group.is_empty()) {
        let ty = function.ty(seen).clone();
        let op = function.create_op(Receive {}.into(), vec![argument], vec![ty], Vec::new(), Origin::Unknown);
        let received = function.ops[op].results[0];
        function.values[received].name = function.values[argument].name.clone();
        for &reader in &group {
            for operand in function.ops[reader].operands.iter_mut().filter(|operand| **operand == seen) {
                *operand = received;
            }
        }
        let ops = &function.blocks[function.body].ops;
        let first = ops.iter().position(|op| group.contains(op)).unwrap_or(ops.len());
        function.blocks[function.body].ops.insert(first, op);
    }
}

/// Takes the reshapes between an input and the value that its readers see out of the function.
fn remove_reshapes(function: &mut Function, argument: Value, seen: Value) {
    let mut unread = argument;
    while unread != seen {
        let reshape = function.walk().into_iter().find(|&op| function.ops[op].operands.contains(&unread));
        let Some(reshape) = reshape else { break };
        unread = function.ops[reshape].results[0];
        function.blocks[function.body].ops.retain(|&op| op != reshape);
    }
}
