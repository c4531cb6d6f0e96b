//! Rules of views: which elements of a buffer a kernel may say that it touches.

use super::Report;
use super::program::buffer_of;
use crate::loops::ops::{Buffer, Kernel};
use crate::loops::view::View;
use crate::module::{Function, Op};

/// P8.
pub(super) fn check(function: &Function, op: Op, kernel: &Kernel, report: &mut Report) {
    let operands = &function.ops[op].operands;
    for (position, view) in kernel.views.iter().enumerate() {
        // loop.kernel C5
        let again = kernel.views[..position].iter().any(|other| other.buffer == view.buffer);
        let buffer = operands.get(view.buffer).and_then(|&value| Some((value, buffer_of(function, value)?)));
        match buffer.filter(|_| !again) {
            Some((value, buffer)) => {
                let elements = function.ty(value).as_memref().map_or(0, |ty| ty.shape.elements());
                if let Err(message) = check_view(kernel, view, buffer, elements) {
                    report.at(function, op, message);
                }
            }
            None => {
                let found = view.buffer;
                let message = format!("expected at most one view of each buffer, got one of number {found}");
                report.at(function, op, message);
            }
        }
    }
    // loop.kernel C6
    let is_another = |first: usize, second: usize| match (kernel.view(first), kernel.view(second)) {
        (Some(a), Some(b)) => View { buffer: 0, ..*a } != View { buffer: 0, ..*b },
        (a, b) => (a.is_some() || b.is_some()) && [first, second].iter().all(|&index| index >= kernel.writes),
    };
    for (index, value) in operands.iter().enumerate() {
        if (0..index).any(|other| operands[other] == *value && !is_another(other, index)) {
            report.at(function, op, "expected another view of a buffer that is listed again, got the same");
        }
    }
}

fn check_view(kernel: &Kernel, view: &View, buffer: &Buffer, elements: usize) -> Result<(), String> {
    let View { run, step, count, .. } = *view;
    if run == 0 || count == 0 || (count > 1 && step < run) || view.end() > elements {
        let end = view.end();
        return Err(format!(
            "expected a view of runs that are apart, within {elements} elements, got {count} runs of {run} elements every \
             {step} up to {end}"
        ));
    }
    let rows = match view.buffer.checked_sub(kernel.writes) {
        Some(read) => kernel.need(read).rows(),
        None => kernel.rows,
    };
    if rows == 0 || !view.elements().is_multiple_of(rows) {
        let found = view.elements();
        return Err(format!("expected a view of {rows} rows of one size, got {found} elements"));
    }
    let of_row = (elements / buffer.rows.max(1)).max(1);
    let lies_in_row = |row: usize| {
        let mut spans = view.spans(row..row + 1, rows);
        let first = spans.next().map_or(0, |span| span.start / of_row);
        let mut all = view.spans(row..row + 1, rows);
        all.all(|span| span.start / of_row == first && (span.end - 1) / of_row == first)
    };
    if buffer.scattered && !(0..rows).all(lies_in_row) {
        return Err("expected rows of a view within rows of the scattered buffer, got others".to_owned());
    }
    Ok(())
}
