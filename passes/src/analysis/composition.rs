//! What the arena is made of at a step: which tensors live, and with how many of their rows.

use super::liveness::{BufferLife, Interval, Liveness};
use mcunet_ir::Function;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::ops::Buffer;
use mcunet_ir::module::OpKind;

/// A buffer and what of it lives at a step.
#[derive(Clone, Debug)]
pub struct LiveBuffer<'l> {
    /// The buffer and all its lives.
    pub life: &'l BufferLife,
    /// Name of its tensor; that of memory in which one kernel works is `scratch`.
    pub name: &'l str,
    /// Bytes of it that live.
    pub bytes: usize,
    /// Rows of it that live.
    pub rows_live: usize,
    /// Rows of the whole tensor.
    pub of_rows: usize,
}

/// What lives at a step, largest first.
pub fn composition<'l>(function: &'l Function, liveness: &'l Liveness, step: usize) -> Vec<LiveBuffer<'l>> {
    let live = liveness.live_at(step).into_iter();
    let describe = |(life, bytes): (&'l BufferLife, usize)| LiveBuffer {
        life,
        name: buffer_name(function, life),
        bytes,
        rows_live: rows_live(function, life, step),
        of_rows: head(function, life).map_or(1, |head| head.rows),
    };
    live.map(describe).collect()
}

/// Name of a buffer's tensor; memory that only one kernel works in has none.
pub fn buffer_name<'f>(function: &'f Function, life: &BufferLife) -> &'f str {
    function.values[life.value].name.as_deref().unwrap_or("scratch")
}

/// Attributes of a buffer.
pub fn head<'f>(function: &'f Function, life: &BufferLife) -> Option<&'f Buffer> {
    match &function.ops[life.op].kind {
        OpKind::Loop(LoopOp::Buffer(buffer)) => Some(buffer),
        _ => None,
    }
}

/// Bytes of a row of a buffer's tensor.
pub fn row_bytes(function: &Function, life: &BufferLife) -> usize {
    life.bytes / head(function, life).map_or(1, |head| head.rows.max(1))
}

/// Rows of a buffer that have a place at a time, at most.
pub fn rows_held(function: &Function, life: &BufferLife) -> usize {
    if life.scattered { life.most_slots() } else { head(function, life).map_or(1, |head| head.rows) }
}

fn rows_live(function: &Function, life: &BufferLife, step: usize) -> usize {
    let rows = head(function, life).map_or(1, |head| head.rows);
    let per_slot = rows.div_ceil(life.slots.len().max(1));
    let lives = |slot: &usize| {
        life.slots[*slot].iter().any(|&[first, last]: &Interval| (first..=last).contains(&step))
    };
    let live = (0..life.slots.len()).filter(lives);
    live.map(|slot| per_slot.min(rows.saturating_sub(slot * per_slot))).sum()
}
