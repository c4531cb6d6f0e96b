//! The `loop` dialect: counted loops over planned memory.
//!
//! A lowered function is a list of `loop.buffer` (arena memory), `loop.data` (constants in flash) and `loop.kernel`
//! operations; a kernel holds the loops of one layer. Registers hold `i1`, `i32`, `i64`, `f32` or packed lanes; 8 and
//! 16 bit integers exist in memory only. Every op has portable semantics, so that all back ends agree to the bit.
//!
//! `loop` is a Rust keyword: the module is `loops`, the dialect stays `loop`.

pub mod depthwise;
pub mod eval;
pub mod interp;
pub mod matmul;
pub mod memory;
pub mod ops;
pub mod packed;
pub mod program;
pub mod skeleton;
mod verify;
pub mod view;

pub use ops::LoopOp;

use crate::module::{Function, Op, OpKind, Value};
use crate::types::{Scalar, Type};

/// What a `loop` op checks beyond the structure that its row declares.
pub trait LoopSemantics {
    /// Adds a message for every constraint on types that does not hold.
    fn verify(&self, operands: &[&Type], results: &[&Type], report: &mut Vec<String>);
}

/// The register type that an element of memory is read into: narrow integers widen to i32.
pub fn register_type(element: Scalar) -> Type {
    match element {
        Scalar::I64 | Scalar::U64 => Type::I64,
        Scalar::F32 => Type::F32,
        _ => Type::I32,
    }
}

/// Whether an op is a `loop.copy` whose source is its target, since both buffers were given the same place: it need not
/// run.
pub fn copies_onto_itself(function: &Function, op: Op) -> bool {
    let data = &function.ops[op];
    let (OpKind::Loop(LoopOp::Copy(_)), [source, from, target, to]) = (&data.kind, &data.operands[..]) else {
        return false;
    };
    let place = |memory: Value| match &function.ops[function.defining_op(memory)?].kind {
        OpKind::Loop(LoopOp::Buffer(buffer)) => buffer.place.as_ref(),
        _ => None,
    };
    let same_place = match (place(*source), place(*target)) {
        (Some(a), Some(b)) => a == b,
        _ => source == target,
    };
    // Constants are made anew where they are used.
    let literal = |value: Value| match &function.ops[function.defining_op(value)?].kind {
        OpKind::Loop(LoopOp::Const(literal)) => Some(literal),
        _ => None,
    };
    let row = |offset: Value, memory: Value| {
        let data = &function.ops[function.defining_op(offset)?];
        let is_row = matches!(data.kind, OpKind::Loop(LoopOp::Row(_))) && data.operands[0] == memory;
        is_row.then(|| data.operands[1])
    };
    let same_offset = from == to
        || literal(*from).is_some_and(|from| Some(from) == literal(*to))
        || row(*from, *source).is_some_and(|from| Some(from) == row(*to, *target));
    same_place && same_offset
}
