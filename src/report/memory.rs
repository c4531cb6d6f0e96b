//! What fills the arena where it is fullest, and which layers run in cascades.

use super::layers::origin;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::memory::Place;
use mcunet_ir::loops::ops::Buffer;
use mcunet_ir::module::{Function, OpKind};
use mcunet_passes::analysis::liveness::{BufferLife, Liveness};
use serde::Serialize;

/// The step at which most bytes live.
#[derive(Serialize, Debug)]
pub struct Peak {
    /// The first such step; a step makes one row of one layer.
    pub step: usize,
    /// Index of the layer that runs then; what only copies to an output counts after all layers.
    pub layer: usize,
    /// Its operation.
    pub op: String,
    /// Where it comes from in the model.
    pub origin: String,
    /// Bytes that live then, where those that are overwritten in place count once.
    pub bytes: usize,
    /// What lives then, largest first.
    pub buffers: Vec<PeakBuffer>,
}

/// A buffer that lives at the peak.
#[derive(Serialize, Debug)]
pub struct PeakBuffer {
    /// Name of its tensor.
    pub name: String,
    /// Bytes of it that live.
    pub bytes: usize,
    /// Rows of it that live.
    pub rows_live: usize,
    /// Rows of the whole tensor.
    pub of_rows: usize,
}

/// Layers that run row by row in turns.
#[derive(Serialize, Debug)]
pub struct CascadeSpan {
    /// Index of the first layer.
    pub first_layer: usize,
    /// Index of the last layer.
    pub last_layer: usize,
    /// Rows that they make in all.
    pub steps: usize,
}

impl Peak {
    /// The peak of a lowered function; nothing if it runs no kernel.
    pub fn of(function: &Function, liveness: &Liveness) -> Option<Self> {
        let step = liveness.peak_step();
        let layer = liveness.program.steps.get(step)?.kernel;
        let buffers = liveness.live_at(step).into_iter().map(|(life, bytes)| PeakBuffer {
            name: buffer_name(function, life).to_owned(),
            bytes,
            rows_live: rows_live(function, life, step),
            of_rows: head(function, life).map_or(1, |head| head.rows),
        });
        Some(Self {
            step,
            layer,
            op: liveness.program.head(function, layer).layer.to_string(),
            origin: origin(&function.ops[liveness.program.kernels[layer]].origin),
            bytes: liveness.lower_bound_bytes(),
            buffers: buffers.collect(),
        })
    }
}

/// The cascades of a lowered function, in order.
pub fn cascades(liveness: &Liveness) -> Vec<CascadeSpan> {
    let parts = liveness.program.parts.iter().filter(|part| part.cascade.is_some());
    let span = |part: &mcunet_ir::loops::program::Part| CascadeSpan {
        first_layer: part.kernels.start,
        last_layer: part.kernels.end.saturating_sub(1),
        steps: part.steps.len(),
    };
    parts.map(span).collect()
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

/// Where the plan puts a buffer.
pub fn place<'f>(function: &'f Function, life: &BufferLife) -> Option<&'f Place> {
    head(function, life)?.place.as_ref()
}

fn rows_live(function: &Function, life: &BufferLife, step: usize) -> usize {
    let held = head(function, life).map_or(1, |head| head.rows);
    let per_slot = held.div_ceil(life.slots.len().max(1));
    let lives = |slot: &usize| life.slots[*slot].iter().any(|life| life[0] <= step && step <= life[1]);
    let live = (0..life.slots.len()).filter(lives);
    live.map(|slot| per_slot.min(held.saturating_sub(slot * per_slot))).sum()
}
