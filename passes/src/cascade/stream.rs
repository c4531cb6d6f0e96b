//! Inputs that the caller hands over row by row, and outputs that it gets so.
//!
//! An input that is read by rows gets a `tile.receive` before its first reader. From then on its rows are like those of any
//! other stage: made when a reader needs them, held only as long, and none of them there before. Where the search cuts
//! between the receiving stage and its reader, the input is whole after all; it is still received in order.
//!
//! Refused, with the reason: inputs without several rows, those that an operation needs at once (they would have to be
//! whole anyway), and those that are returned as they are. An input that is only seen in another shape is received in that.
//!
//! An output that is made by rows gets a `tile.send` behind its maker, which sends each row as soon as it is made: the search
//! never cuts between the two. So no row need be held unless it is read as well. Refused, with the reason: outputs without several rows, those that an operation
//! makes at once, those that are an input or a constant, and those that are returned twice. An output that is only returned
//! in another shape is sent in that in which it is made: the order of its bytes is the same.

use mcunet_ir::diag::{Category, Origin};
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::rows::{RowNeed, image_rows};
use mcunet_ir::tile::ops::{Receive, Send};
use mcunet_ir::tile::{Stage, TileOp};
use mcunet_ir::{Diagnostic, Diagnostics, Function, Op, Value};

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

/// What is handed over row by row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handing {
    /// How inputs are received.
    pub input: Streaming,
    /// Whether outputs are sent.
    pub output: bool,
}

impl Handing {
    /// Lets the inputs of a function be received and its outputs be sent, as far as that is asked for and can be; how many
    /// these are.
    ///
    /// # Errors
    /// If it is asked for and can't be for any input or for any output, with the reason for each.
    pub fn apply(self, function: &mut Function) -> Result<[usize; 2], Diagnostics> {
        let mut errors = Diagnostics::default();
        let mut counts = [0; 2];
        if self.input != Streaming::No {
            receive_inputs(function, self.input)
                .map_or_else(|error| errors.push(error), |count| counts[0] = count);
        }
        if self.output {
            send_outputs(function).map_or_else(|error| errors.push(error), |count| counts[1] = count);
        }
        errors.into_result().map(|()| counts)
    }
}

/// Lets the inputs of a function be received that can be; how many these are.
fn receive_inputs(function: &mut Function, streaming: Streaming) -> Result<usize, Diagnostic> {
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
    if count > 0 { Ok(count) } else { Err(none_streams("an input", reasons, "stream-input")) }
}

/// An error that lists why nothing can be handed over by rows.
fn none_streams(what: &str, reasons: Vec<String>, option: &str) -> Diagnostic {
    let mut error = Diagnostic::error(format!("expected {what} that can be streamed row by row, got none"));
    for reason in reasons {
        error = error.note(reason);
    }
    error.category(Category::Input).help(format!("leave {option} out"))
}

/// Lets the outputs of a function be sent that can be; how many these are.
fn send_outputs(function: &mut Function) -> Result<usize, Diagnostic> {
    let Some(end) = function.terminator(function.body) else { return Ok(0) };
    let returned = function.ops[end].operands.clone();
    let made: Vec<Value> = returned.iter().map(|&value| unshaped(function, value)).collect();
    let mut count = 0;
    let mut reasons = Vec::new();
    for (index, &value) in made.iter().enumerate() {
        let twin = (0..made.len()).find(|&other| other != index && made[other] == value);
        let reason = match twin {
            Some(other) => Some(format!("is output '{}', too", function.outputs[other].name)),
            None => whole_output(function, value).err(),
        };
        match reason {
            None => {
                send(function, end, index, value);
                count += 1;
            }
            Some(reason) => reasons.push(format!("output '{}' {reason}", function.outputs[index].name)),
        }
    }
    if count > 0 { Ok(count) } else { Err(none_streams("an output", reasons, "stream-output")) }
}

/// The value of which an output is a reshape, or the output.
fn unshaped(function: &Function, value: Value) -> Value {
    let mut value = value;
    while let Some(op) = function.defining_op(value) {
        let data = &function.ops[op];
        if !matches!(data.kind, OpKind::Nn(NnOp::Reshape(_))) {
            break;
        }
        value = data.operands[0];
    }
    value
}

/// Whether a value is made by rows, or why it has to be whole.
fn whole_output(function: &Function, value: Value) -> Result<(), String> {
    let Some(maker) = function.defining_op(value) else {
        return Err("is an input as it is".to_owned());
    };
    let data = &function.ops[maker];
    match &data.kind {
        OpKind::Nn(NnOp::Const(_)) => return Err("is constant".to_owned()),
        OpKind::Tile(TileOp::Send(_)) => return Err("is sent already".to_owned()),
        _ => {}
    }
    let shape = function.ty(value).as_tensor().map(|ty| ty.shape.clone()).unwrap_or_default();
    let rows = image_rows(&shape).filter(|&rows| rows > 1);
    let rows = rows.ok_or_else(|| format!("is made as {shape}, which has no rows"))?;
    match Stage::of(function, maker) {
        Some(stage) if stage.result_rows() == rows => Ok(()),
        _ => Err(format!("is made as a whole by '{}', {}", data.kind.name(), data.origin)),
    }
}

/// Sends a value as an output, right behind the operation that makes it, and takes the reshapes between them out of the
/// function that nothing else needs.
fn send(function: &mut Function, end: Op, index: usize, value: Value) {
    let returned = function.ops[end].operands[index];
    let (ty, name) = (function.ty(returned).clone(), function.values[returned].name.clone());
    let op = function.create_op(Send {}.into(), vec![value], vec![ty], Vec::new(), Origin::Unknown);
    let sent = function.ops[op].results[0];
    function.values[sent].name = name;
    function.ops[end].operands[index] = sent;
    let maker = function.defining_op(value);
    let ops = &mut function.blocks[function.body].ops;
    let behind = ops.iter().position(|&other| Some(other) == maker).map_or(0, |position| position + 1);
    ops.insert(behind, op);
    let mut unused = returned;
    while unused != value && !function.use_counts().contains_key(&unused) {
        let Some(reshape) = function.defining_op(unused) else { break };
        unused = function.ops[reshape].operands[0];
        function.blocks[function.body].ops.retain(|&op| op != reshape);
    }
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
