//! What fills the arena where it is fullest, which layers run in cascades, and how many bytes live when.

use super::layers::origin;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::memory::Place;
use mcunet_ir::loops::program::Part;
use mcunet_ir::module::{Function, OpKind};
use mcunet_passes::analysis::composition::{buffer_name, composition, head, row_bytes, rows_held};
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
    /// The row that the layer makes then.
    pub row: usize,
    /// Bytes that `buffers` count twice, since a row is overwritten in place with another at this step.
    pub in_place_bytes: usize,
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
    /// What it is: input, output, activation or scratch.
    pub role: &'static str,
    /// First and last layer that touch it.
    pub layers: [usize; 2],
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
    /// The first step of the program that is one of them.
    pub first_step: usize,
    /// The most bytes that live at one of the steps.
    pub live_bytes: usize,
    /// Who makes a row when: layers counted from the first one, with repetitions rolled up, `0x3 (1 0x2)x2`.
    pub schedule: String,
    /// Tensors of which only a few rows are held at a time.
    pub windows: Vec<Window>,
}

/// A tensor of which only a few rows are held at a time.
#[derive(Serialize, Debug)]
pub struct Window {
    /// Name of the tensor.
    pub name: String,
    /// Index of the layer that makes it.
    pub layer: usize,
    /// Rows that are held at most.
    pub held_rows: usize,
    /// Rows of the whole tensor.
    pub of_rows: usize,
    /// Bytes of a row.
    pub row_bytes: usize,
    /// Bytes of so many rows.
    pub bytes: usize,
}

impl Peak {
    /// The peak of a lowered function; nothing if it runs no kernel.
    pub fn of(function: &Function, liveness: &Liveness) -> Option<Self> {
        let step = liveness.peak_step();
        let at = liveness.program.steps.get(step)?;
        let bytes = liveness.lower_bound_bytes();
        let buffers: Vec<PeakBuffer> = composition(function, liveness, step)
            .into_iter()
            .map(|buffer| PeakBuffer {
                name: buffer.name.to_owned(),
                bytes: buffer.bytes,
                rows_live: buffer.rows_live,
                of_rows: buffer.of_rows,
                role: buffer.life.role.name(),
                layers: buffer.life.kernels,
            })
            .collect();
        let sum: usize = buffers.iter().map(|buffer| buffer.bytes).sum();
        Some(Self {
            step,
            layer: at.kernel,
            op: liveness.program.head(function, at.kernel).layer.to_string(),
            origin: origin(&function.ops[liveness.program.kernels[at.kernel]].origin),
            bytes,
            buffers,
            row: at.row,
            in_place_bytes: sum.saturating_sub(bytes),
        })
    }
}

/// The cascades of a lowered function, in order, given the bytes that live at each step.
pub fn cascades(function: &Function, liveness: &Liveness, live: &[usize]) -> Vec<CascadeSpan> {
    let parts = liveness.program.parts.iter().filter(|part| part.cascade.is_some());
    let span = |part: &Part| CascadeSpan {
        first_layer: part.kernels.start,
        last_layer: part.kernels.end.saturating_sub(1),
        steps: part.steps.len(),
        first_step: part.steps.start,
        live_bytes: live[part.steps.clone()].iter().copied().max().unwrap_or(0),
        schedule: schedule(function, part),
        windows: windows(function, liveness, part),
    };
    parts.map(span).collect()
}

/// The schedule of a cascade as text; empty for a layer by itself.
pub fn schedule(function: &Function, part: &Part) -> String {
    match part.cascade.map(|op| &function.ops[op].kind) {
        Some(OpKind::Loop(LoopOp::Cascade(cascade))) => cascade.schedule.to_string(),
        _ => String::new(),
    }
}

fn windows(function: &Function, liveness: &Liveness, part: &Part) -> Vec<Window> {
    let inside = |life: &&BufferLife| life.scattered && part.kernels.contains(&life.kernels[0]);
    let window = |life: &BufferLife| Window {
        name: buffer_name(function, life).to_owned(),
        layer: life.kernels[0],
        held_rows: rows_held(function, life),
        of_rows: head(function, life).map_or(1, |head| head.rows),
        row_bytes: row_bytes(function, life),
        bytes: rows_held(function, life) * row_bytes(function, life),
    };
    liveness.buffers.iter().filter(inside).map(window).collect()
}

/// The most bytes that live while a layer makes a row, by layer, given the bytes that live at each step.
pub fn by_layer(liveness: &Liveness, live: &[usize]) -> Vec<usize> {
    let mut most = vec![0; liveness.program.kernels.len()];
    for (step, &bytes) in liveness.program.steps.iter().zip(live) {
        most[step.kernel] = bytes.max(most[step.kernel]);
    }
    most
}

/// Bytes that live over time, as pairs of the step from which on and the bytes that live then.
pub fn timeline(live: &[usize]) -> Vec<[usize; 2]> {
    let mut start = 0;
    let runs = live.chunk_by(|a, b| a == b).map(|run| {
        start += run.len();
        [start - run.len(), run[0]]
    });
    runs.collect()
}

/// Where the plan puts a buffer.
pub fn place<'f>(function: &'f Function, life: &BufferLife) -> Option<&'f Place> {
    head(function, life)?.place.as_ref()
}
