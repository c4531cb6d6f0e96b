//! Rules of rows: what kernels, buffers and cascades say about the rows that they make, hold and need.
//!
//! P1: a function has at most [`MAX_STEPS`] steps. P2: buffers divide into their rows; only those of several are scattered.
//! P3: a kernel says what it needs of every buffer that it only reads, counted as the buffer counts, and makes the rows
//! that the buffers have which it writes. P4: a cascade consists of kernels, and its schedule runs each to its end. P5: an
//! input that is received row by row is asked for every row once and in order, in one or several sweeps. P6: an output that
//! is sent row by row is handed over once, every row in order, by a kernel that needs the row whole. P7: kernels that share
//! a function are the same code. P8: views lie in their buffers (`views.rs`).

use super::Report;
use crate::loops::LoopOp;
use crate::loops::ops::{Buffer, Cascade, Kernel, Role};
use crate::loops::program::{MAX_STEPS, Streamed, kernels_of, received, sent, step_count};
use crate::loops::skeleton::{Code, Skeleton};
use crate::module::{Function, Op, OpKind, Port, Value};
use crate::rows::{MAX_ROWS, RowNeed};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

pub(super) fn check(function: &Function, report: &mut Report) {
    let steps = step_count(function);
    if steps > MAX_STEPS {
        report.function(function, format!("expected at most {MAX_STEPS} steps, got {steps}"));
        return;
    }
    for op in function.walk() {
        match &function.ops[op].kind {
            OpKind::Loop(LoopOp::Buffer(buffer)) => check_buffer(function, op, buffer, report),
            OpKind::Loop(LoopOp::Kernel(kernel)) => check_kernel(function, op, kernel, report),
            OpKind::Loop(LoopOp::Cascade(cascade)) => check_cascade(function, op, cascade, report),
            OpKind::Loop(LoopOp::Row(_)) => check_row(function, op, report),
            _ => {}
        }
    }
    check_shared(function, report);
    let received = received(function);
    for (position, found) in received.iter().enumerate() {
        let earlier = received[..position].iter().filter(|other| other.index == found.index);
        let differs = earlier.clone().any(|other| other.rows != found.rows);
        let part = enclosing(function, found.kernel);
        let meets = part.is_none_or(|part| {
            earlier.map(|other| enclosing(function, other.kernel)).any(|other| other == Some(part))
        });
        if differs {
            let message = format!("expected every sweep over input {} to be of the same rows", found.index);
            report.at(function, found.op, message);
        }
        check_received(function, found, meets, report);
    }
    let sent = sent(function);
    for (position, found) in sent.iter().enumerate() {
        // loop.send C1
        if sent[..position].iter().any(|other| other.index == found.index) {
            let message = format!("expected output {} to be sent once, got another time", found.index);
            report.at(function, found.op, message);
        }
        check_sent(function, found, report);
    }
}

/// P7.
fn check_shared(function: &Function, report: &mut Report) {
    let mut first_of: BTreeMap<&str, Code> = BTreeMap::new();
    for op in function.walk() {
        let OpKind::Loop(LoopOp::Kernel(Kernel { shared: Some(name), .. })) = &function.ops[op].kind else {
            continue;
        };
        // loop.kernel C4
        let Some(Skeleton { code, .. }) = Skeleton::of(function, op) else {
            report.at(function, op, "expected no kernel that hands rows over to share its code, got one");
            continue;
        };
        match first_of.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(code);
            }
            Entry::Occupied(entry) if *entry.get() != code => {
                let message =
                    format!("expected the same code as other kernels that share '{name}', got another");
                report.at(function, op, message);
            }
            Entry::Occupied(_) => {}
        }
    }
}

/// The cascade that a kernel is in, or the kernel.
fn enclosing(function: &Function, kernel: Op) -> Option<Op> {
    let outer = function.blocks[function.body].ops.iter().copied();
    let mut outer = outer.filter(|&op| op == kernel || kernels_of(function, op).any(|inner| inner == kernel));
    outer.next()
}

/// P5.
fn check_received(function: &Function, found: &Streamed, meets_another: bool, report: &mut Report) {
    // loop.receive C1
    check_place(function, found, report);
    // loop.receive C2
    if meets_another {
        let index = found.index;
        let message = format!("expected input {index} to be received once at a time, got two sweeps at once");
        report.at(function, found.op, message);
    }
    check_rows(function, found, "inputs", &function.inputs, report);
}

/// P6.
fn check_sent(function: &Function, found: &Streamed, report: &mut Report) {
    // loop.send C1
    check_place(function, found, report);
    // loop.send C2
    check_rows(function, found, "outputs", &function.outputs, report);
    // loop.send C3
    let memory = function.ops[found.op].operands[1];
    let OpKind::Loop(LoopOp::Kernel(kernel)) = &function.ops[found.kernel].kind else { return };
    let reads = function.ops[found.kernel].operands.iter().skip(kernel.writes);
    let mut needs = reads.enumerate().filter(|&(_, &read)| read == memory);
    let row_by_row = |need: &RowNeed| {
        need.rows() == found.rows && (0..found.rows).all(|row| need.span(row) == (row..row + 1))
    };
    let is_row = needs.any(|(index, _)| row_by_row(kernel.need(index)));
    if !is_row || buffer_of(function, memory).is_none_or(|buffer| buffer.rows != found.rows) {
        let message = format!(
            "expected to send rows of a buffer of {}, of which the kernel needs the row that it sends, got another",
            found.rows
        );
        report.at(function, found.op, message);
    }
}

/// A row is handed over when the kernel makes it.
fn check_place(function: &Function, found: &Streamed, report: &mut Report) {
    let makes_row = function.ops[found.kernel].regions.iter().any(|&body| {
        let block = &function.blocks[body];
        block.ops.contains(&found.op) && block.args.first() == Some(&function.ops[found.op].operands[0])
    });
    if !makes_row {
        report.at(
            function,
            found.op,
            "expected the row that a kernel makes, in its body itself, got another place or row",
        );
    }
}

/// The rows are those of one of the `ports`.
fn check_rows(function: &Function, found: &Streamed, what: &str, ports: &[Port], report: &mut Report) {
    let Streamed { index, op, rows, row_elements, .. } = *found;
    let data = &function.ops[op];
    let Some(port) = ports.get(index).and_then(|port| port.ty.as_tensor()) else {
        let count = ports.len();
        return report.at(function, op, format!("expected one of {count} {what}, got number {index}"));
    };
    let memory = function.ty(data.operands[1]).as_memref().map(|memory| memory.element);
    if rows.checked_mul(row_elements) != Some(port.elements()) || memory != Some(port.storage()) {
        let (expected, element) = (port.elements(), port.storage().name());
        let message =
            format!("expected {expected} elements of {element} in rows, got {rows} of {row_elements}");
        report.at(function, op, message);
    }
}

/// P2.
fn check_buffer(function: &Function, op: Op, buffer: &Buffer, report: &mut Report) {
    let elements = function.ty(function.ops[op].results[0]).as_memref().map_or(0, |ty| ty.shape.elements());
    // loop.buffer C1
    let rows = buffer.rows;
    if rows == 0 || !elements.is_multiple_of(rows) || rows > MAX_ROWS {
        report.at(function, op, format!("expected {rows} rows of one size, got {elements} elements"));
    }
    // loop.buffer C2
    if buffer.scattered && (buffer.role != Role::Activation || rows < 2) {
        report.at(
            function,
            op,
            "expected only activations of several rows to be scattered, got another buffer",
        );
    }
}

/// loop.row C1
fn check_row(function: &Function, op: Op, report: &mut Report) {
    let is_scattered =
        buffer_of(function, function.ops[op].operands[0]).is_some_and(|buffer| buffer.scattered);
    if !is_scattered {
        report.at(function, op, "expected a scattered buffer, got another memory");
    }
}

/// The buffer that a value is.
pub(super) fn buffer_of(function: &Function, value: Value) -> Option<&Buffer> {
    match &function.ops[function.defining_op(value)?].kind {
        OpKind::Loop(LoopOp::Buffer(buffer)) => Some(buffer),
        _ => None,
    }
}

/// P3.
fn check_kernel(function: &Function, op: Op, kernel: &Kernel, report: &mut Report) {
    let operands = &function.ops[op].operands;
    let Some(reads) = operands.get(kernel.writes..) else { return };
    // loop.kernel C1
    if !kernel.needs.is_empty() && kernel.needs.len() != reads.len() {
        let (expected, found) = (reads.len(), kernel.needs.len());
        return report.at(
            function,
            op,
            format!("expected a need for each of {expected} buffers that are only read, got {found}"),
        );
    }
    if kernel.rows == 0 {
        report.at(function, op, "expected at least one row, got none");
    }
    super::views::check(function, op, kernel, report);
    for (index, &value) in operands[..kernel.writes].iter().enumerate() {
        let Some(buffer) = buffer_of(function, value) else { continue };
        // Views have rows of their own.
        if kernel.view(index).is_some() {
            continue;
        }
        // loop.kernel C2; what makes all at once makes no scattered rows.
        let fits = match kernel.rows {
            1 => !buffer.scattered,
            rows => rows == buffer.rows || (buffer.rows == 1 && !buffer.scattered),
        };
        if buffer.role != Role::Scratch && !fits {
            let (rows, found) = (kernel.rows, buffer.rows);
            report.at(function, op, format!("expected buffers of {rows} rows to write, got {found} rows"));
        }
    }
    for (index, &value) in reads.iter().enumerate() {
        let need = kernel.need(index);
        let spans = match need {
            RowNeed::Spans { spans, .. } => spans.len(),
            _ => kernel.rows,
        };
        if spans != kernel.rows || need.rows() == 0 {
            report.at(function, op, format!("expected needs of {} rows, got {spans}", kernel.rows));
        }
        // loop.kernel C3
        if let Some(buffer) = buffer_of(function, value).filter(|buffer| buffer.scattered)
            && kernel.view(kernel.writes + index).is_none()
            && need.rows() != buffer.rows
        {
            let (rows, found) = (buffer.rows, need.rows());
            report.at(
                function,
                op,
                format!("expected a need of the buffer's {rows} rows, got one of {found}"),
            );
        }
    }
}

/// P4.
fn check_cascade(function: &Function, op: Op, cascade: &Cascade, report: &mut Report) {
    let kernels: Vec<Op> = kernels_of(function, op).collect();
    // loop.cascade C1
    let ops: usize = function.ops[op].regions.iter().map(|&body| function.blocks[body].ops.len()).sum();
    if ops != kernels.len() + 1 {
        report.at(function, op, "expected a body of kernels and a 'loop.yield', got other ops");
    }
    // loop.cascade C2
    let found = cascade.schedule.row_counts(kernels.len());
    let total: usize = found.iter().sum();
    if total != cascade.schedule.0.len() {
        let message = format!("expected a schedule of {} kernels, got one that names more", kernels.len());
        report.at(function, op, message);
    }
    for (index, (&kernel, found)) in kernels.iter().zip(found).enumerate() {
        let OpKind::Loop(LoopOp::Kernel(head)) = &function.ops[kernel].kind else { continue };
        if head.rows != found {
            let message = format!(
                "expected the schedule to name kernel {index} for its {} rows, got {found}",
                head.rows
            );
            report.at(function, op, message);
        }
    }
}
