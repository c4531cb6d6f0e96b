//! The order in which a lowered function runs: its kernels, and the steps they are run in.
//!
//! A step makes one row of one kernel. A kernel in the function's body runs all its rows one after the other; the kernels
//! of a cascade run as its schedule says. Steps are the time of everything that has to do with memory.

use super::LoopOp;
use super::ops::Kernel;
use super::view::View;
use crate::module::{Function, Op, OpKind};
use crate::rows::RowNeed;
use std::collections::BTreeSet;

/// Steps that a function may have; tens of times what any network for a microcontroller needs.
pub const MAX_STEPS: usize = 1 << 22;

/// One row of one kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Position in [`Program::kernels`].
    pub kernel: usize,
    /// The row.
    pub row: usize,
}

/// Kernels that run together: one by itself, or those of a cascade.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The cascade; `None` for a kernel in the function's body.
    pub cascade: Option<Op>,
    /// Positions in [`Program::kernels`].
    pub kernels: std::ops::Range<usize>,
    /// Positions in [`Program::steps`].
    pub steps: std::ops::Range<usize>,
}

/// Kernels and steps of a lowered function.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Program {
    /// Kernels in order of the text, those of cascades included.
    pub kernels: Vec<Op>,
    /// Kernels and cascades of the function's body in order.
    pub parts: Vec<Part>,
    /// Steps in order.
    pub steps: Vec<Step>,
}

impl Program {
    /// The program of a function; empty if it has more than [`MAX_STEPS`] steps, which the verifier refuses.
    pub fn of(function: &Function) -> Self {
        let mut program = Self::default();
        if step_count(function) > MAX_STEPS {
            return program;
        }
        for &op in &function.blocks[function.body].ops {
            let (first, start) = (program.kernels.len(), program.steps.len());
            let cascade = match &function.ops[op].kind {
                OpKind::Loop(LoopOp::Kernel(kernel)) => {
                    program.kernels.push(op);
                    program.steps.extend((0..kernel.rows).map(|row| Step { kernel: first, row }));
                    None
                }
                OpKind::Loop(LoopOp::Cascade(cascade)) => {
                    program.kernels.extend(kernels_of(function, op));
                    let count = program.kernels.len() - first;
                    let steps = cascade.schedule.steps().filter(|&(stage, _)| stage < count);
                    program.steps.extend(steps.map(|(stage, row)| Step { kernel: first + stage, row }));
                    Some(op)
                }
                _ => continue,
            };
            let (kernels, steps) = (first..program.kernels.len(), start..program.steps.len());
            program.parts.push(Part { cascade, kernels, steps });
        }
        program
    }

    /// Attributes of kernel `index`.
    ///
    /// # Panics
    /// Never for a program of this function: it lists nothing but kernels.
    pub fn head<'f>(&self, function: &'f Function, index: usize) -> &'f Kernel {
        match &function.ops[self.kernels[index]].kind {
            OpKind::Loop(LoopOp::Kernel(kernel)) => kernel,
            _ => unreachable!("a program lists kernels"),
        }
    }
}

impl Kernel {
    /// Rows that the kernel needs of the `index`th buffer that it only reads.
    pub fn need(&self, index: usize) -> &RowNeed {
        self.needs.get(index).unwrap_or(&RowNeed::Whole)
    }

    /// What the kernel touches of its `index`th buffer, if it is not all of it.
    pub fn view(&self, index: usize) -> Option<&View> {
        self.views.iter().find(|view| view.buffer == index)
    }
}

/// An input that the caller hands over row by row, or an output that is handed to it so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streamed {
    /// Which input or output.
    pub index: usize,
    /// The kernel that receives or sends it.
    pub kernel: Op,
    /// The `loop.receive` or `loop.send` in its body.
    pub op: Op,
    /// Rows that are handed over, one after the other.
    pub rows: usize,
    /// Elements of a row.
    pub row_elements: usize,
}

/// Inputs that are handed over row by row; one that is received several times counts as often.
pub fn received(function: &Function) -> Vec<Streamed> {
    received_by(function, &function.walk())
}

/// Inputs that some kernels receive.
pub fn received_by(function: &Function, kernels: &[Op]) -> Vec<Streamed> {
    streamed(function, kernels, |op| match op {
        LoopOp::Receive(head) => Some((head.index, head.count)),
        _ => None,
    })
}

/// Outputs that are handed over row by row.
pub fn sent(function: &Function) -> Vec<Streamed> {
    sent_by(function, &function.walk())
}

/// Outputs that some kernels send.
pub fn sent_by(function: &Function, kernels: &[Op]) -> Vec<Streamed> {
    streamed(function, kernels, |op| match op {
        LoopOp::Send(head) => Some((head.index, head.count)),
        _ => None,
    })
}

/// Operations in kernels of which `port_of` tells which port's rows they hand over, and elements of a row. What is no kernel
/// hands nothing over.
fn streamed(
    function: &Function,
    kernels: &[Op],
    port_of: impl Fn(&LoopOp) -> Option<(usize, usize)>,
) -> Vec<Streamed> {
    let mut found = Vec::new();
    for &kernel in kernels {
        let OpKind::Loop(LoopOp::Kernel(head)) = &function.ops[kernel].kind else { continue };
        for &body in &function.ops[kernel].regions {
            function.walk_block(body, &mut |op| {
                let OpKind::Loop(kind) = &function.ops[op].kind else { return };
                if let Some((index, row_elements)) = port_of(kind) {
                    found.push(Streamed { index, kernel, op, rows: head.rows, row_elements });
                }
            });
        }
    }
    found
}

/// Bytes of the constants that a function's kernels read.
pub fn constant_bytes(function: &Function) -> usize {
    let mut names = BTreeSet::new();
    let mut bytes = 0;
    for op in function.walk() {
        if let OpKind::Loop(LoopOp::Data(data)) = &function.ops[op].kind
            && names.insert(&data.value.name)
        {
            bytes += data.value.count * data.value.element.size_bytes();
        }
    }
    bytes
}

/// Kernels in the body of a cascade.
pub fn kernels_of(function: &Function, cascade: Op) -> impl Iterator<Item = Op> + '_ {
    let ops = function.ops[cascade].regions.iter().flat_map(|&body| &function.blocks[body].ops);
    ops.copied().filter(|&op| matches!(function.ops[op].kind, OpKind::Loop(LoopOp::Kernel(_))))
}

/// Steps of a function, without making them.
pub fn step_count(function: &Function) -> usize {
    let ops = function.blocks[function.body].ops.iter().map(|&op| match &function.ops[op].kind {
        OpKind::Loop(LoopOp::Kernel(kernel)) => kernel.rows,
        OpKind::Loop(LoopOp::Cascade(cascade)) => cascade.schedule.0.len(),
        _ => 0,
    });
    ops.fold(0, usize::saturating_add)
}
