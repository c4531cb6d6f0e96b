//! What `loop` ops check beyond the constraints of their rows: that types agree with each other and with attributes.

use super::ops::*;
use super::{LoopSemantics, depthwise, matmul, register_type};
use crate::attr::{Number, ResourceRef};
use crate::text::type_name;
use crate::types::{Scalar, Type};

/// Reports types that are not all the same.
fn alike(what: &str, types: &[&Type], report: &mut Vec<String>) {
    if types.windows(2).any(|pair| pair[0] != pair[1]) {
        let found: Vec<String> = types.iter().map(|ty| type_name(ty)).collect();
        report.push(format!("expected {what} of one type, got {}", found.join(", ")));
    }
}

/// Reports a register of another type than elements of `memory` have there.
fn fits_memory(what: &str, register: &Type, memory: &Type, report: &mut Vec<String>) {
    let Some(memory) = memory.as_memref() else { return };
    let expected = register_type(memory.element);
    if *register != expected {
        let (expected, found) = (type_name(&expected), type_name(register));
        let element = memory.element.name();
        report.push(format!("expected {what} of {expected} for memory of {element}, got {found}"));
    }
}

/// Reports memory of other elements than `expected`.
fn of_elements(memory: &Type, expected: Scalar, report: &mut Vec<String>) {
    if memory.as_memref().is_some_and(|memory| memory.element != expected) {
        report.push(format!("expected memory of {}, got {}", expected.name(), type_name(memory)));
    }
}

/// Reports memory of fewer elements than `least`.
fn has_elements(what: &str, memory: &Type, least: usize, report: &mut Vec<String>) {
    let found = memory.as_memref().map_or(0, |memory| memory.shape.elements());
    if found < least {
        report.push(format!("expected {what} of at least {least} elements, got {found}"));
    }
}

/// Reports limits or a zero point of results that int8 does not have.
fn results_of_i8([low, high]: [i32; 2], zero_point: i32, report: &mut Vec<String>) {
    if !(-128 <= low && low <= high && high <= 127) {
        report.push(format!("expected limits within int8, got [{low}, {high}]"));
    }
    if i8::try_from(zero_point).is_err() {
        report.push(format!("expected a zero point within int8, got {zero_point}"));
    }
}

/// Reports constant data of another size or type than the memory that it fills.
fn fills(memory: &Type, (element, count): (Scalar, usize), report: &mut Vec<String>) {
    let Some(ty) = memory.as_memref() else { return };
    if ty.element != element || ty.shape.elements() != count {
        let (element, found) = (element.name(), type_name(memory));
        report.push(format!("expected memory of {count} elements of {element}, got {found}"));
    }
}

/// Ops whose row says it all.
macro_rules! unconstrained {
    ($($op:ident)*) => {$(
        impl LoopSemantics for $op {
            fn verify(&self, _operands: &[&Type], _results: &[&Type], _report: &mut Vec<String>) {}
        }
    )*};
}
unconstrained! {
    Cascade Receive Send Row If Yield Clz Extend Truncate ToFloat ToInt FloatBits BitsFloat Round Sqrt ExtendLanes ExtendAddLanes SplatLanes
    DualMac HalfMac DoublingHighMul MulAddHigh RoundShift Requantize
}

macro_rules! semantics {
    ($($($op:ident)* |$self:ident, $operands:ident, $results:ident, $report:ident| $check:block)*) => {$($(
        impl LoopSemantics for $op {
            fn verify(&self, $operands: &[&Type], $results: &[&Type], $report: &mut Vec<String>) {
                let $self = self;
                $check
            }
        }
    )*)*};
}
semantics! {
    Add Sub Mul Div Rem Min Max And Or Xor |_op, operands, results, report| {
        alike("operands and result", &[operands, results].concat(), report);
    }
    Shl Shr ShrU |_op, operands, results, report| {
        alike("value and result", &[operands[0], results[0]], report);
    }
    Cmp |_op, operands, _results, report| {
        alike("operands", operands, report);
    }
    Select |_op, operands, results, report| {
        alike("alternatives and result", &[operands[1], operands[2], results[0]], report);
    }
    Const |op, _operands, results, report| {
        let fits = match (op.value, results[0]) {
            (Number::Int(value), Type::Scalar(Scalar::I32)) => i32::try_from(value).is_ok(),
            (Number::Int(_), Type::Scalar(Scalar::I64)) | (Number::Real(_), Type::Scalar(Scalar::F32)) => true,
            _ => false,
        };
        if !fits {
            report.push(format!("expected a literal of {}, got another", type_name(results[0])));
        }
    }
    Load |_op, operands, results, report| {
        fits_memory("a result", results[0], operands[0], report);
    }
    Store |_op, operands, _results, report| {
        fits_memory("a value", operands[0], operands[1], report);
    }
    Fill |_op, operands, _results, report| {
        fits_memory("a value", operands[0], operands[1], report);
    }
    LoadI8x4 |_op, operands, _results, report| {
        of_elements(operands[0], Scalar::I8, report);
    }
    LoadI16x2 |_op, operands, _results, report| {
        of_elements(operands[0], Scalar::I16, report);
    }
    Widen |op, operands, _results, report| {
        of_elements(operands[0], Scalar::I8, report);
        of_elements(operands[4], Scalar::I16, report);
        // widen C1
        if op.count == 0 || op.step == 0 {
            report.push(format!("expected elements and a step, got {} and {}", op.count, op.step));
        }
    }
    Matmul |op, operands, _results, report| {
        let words = matmul::packed_words(op.rows, op.pairs, op.short_bias);
        let inputs = op.pairs.saturating_mul(op.pixels).saturating_mul(2);
        let narrow = operands[1].as_memref().is_some_and(|memory| memory.element == Scalar::I8);
        of_elements(operands[0], Scalar::I32, report);
        if !narrow {
            of_elements(operands[1], Scalar::I16, report);
        }
        of_elements(operands[3], Scalar::I8, report);
        // matmul C1
        if op.rows == 0 || op.pairs == 0 || !matches!(op.pixels, 1 | 2) {
            let (rows, pairs, pixels) = (op.rows, op.pairs, op.pixels);
            report.push(format!("expected rows, pairs, and 1 or 2 pixels, got {rows}, {pairs} and {pixels}"));
        }
        results_of_i8(op.limits, op.zero_point, report);
        if op.row_step != 1 && op.pixels == 2 && op.pixel_step != 1 {
            let (rows, pixels) = (op.row_step, op.pixel_step);
            report.push(format!("expected a step of 1 for rows or pixels, got {rows} and {pixels}"));
        }
        // matmul C3
        if !matches!(op.unroll, 4 | 8 | 16) {
            report.push(format!("expected to unroll 4, 8 or 16 pairs, got {}", op.unroll));
        }
        if op.dual_issue && op.pairs < 2 {
            report.push(format!("expected two pairs for dual issue, got {}", op.pairs));
        }
        // matmul C2
        if narrow && (op.pixels != 1 || !op.pairs.is_multiple_of(2)) {
            let (pixels, pairs) = (op.pixels, op.pairs);
            report.push(format!("expected i8 inputs of one pixel in fours, got {pixels} pixels of {pairs} pairs"));
        }
        let zero_point = op.input_zero_point;
        if zero_point != 0 && (!narrow || i8::try_from(zero_point).is_err()) {
            report.push(format!("expected a zero point within int8, of i8 inputs, got {zero_point}"));
        }
        has_elements("weights", operands[0], words, report);
        has_elements("inputs", operands[1], inputs, report);
    }
    Depthwise |op, operands, _results, report| {
        let rows = Depthwise::rows(operands).len();
        of_elements(operands[0], Scalar::I32, report);
        of_elements(operands[1], Scalar::I8, report);
        of_elements(operands[2], Scalar::I8, report);
        // depthwise C1
        let Depthwise { channels, columns, outputs, stride, .. } = *op;
        if [rows, columns, channels, outputs, stride].contains(&0) {
            report.push(format!(
                "expected rows, columns, channels, outputs and a stride, got {rows}, {columns}, {channels}, {outputs} and {stride}"
            ));
        }
        if [stride, op.before, columns].iter().any(|&size| i32::try_from(size).is_err()) {
            let before = op.before;
            report.push(format!("expected sizes of 31 bits, got {columns} columns, stride {stride}, {before} before"));
        }
        if i8::try_from(op.padding).is_err() {
            report.push(format!("expected padding within int8, got {}", op.padding));
        }
        if i8::try_from(op.input_zero_point).is_err() {
            report.push(format!("expected an input zero point within int8, got {}", op.input_zero_point));
        }
        if op.pitch < columns || op.pitch - columns >= 4 {
            let pitch = op.pitch;
            report.push(format!("expected a pitch of {columns} bytes or up to three more, got {pitch}"));
        }
        results_of_i8(op.limits, op.zero_point, report);
        // depthwise C2
        let taps = depthwise::Taps { rows, columns, pitch: op.pitch };
        let words = taps.record_words().saturating_mul(channels);
        has_elements("weights", operands[0], words, report);
        has_elements("pixels", operands[1], op.width.saturating_mul(channels), report);
        has_elements("results", operands[2], outputs.saturating_mul(channels), report);
    }
    Copy |_op, operands, _results, report| {
        if let (Some(source), Some(target)) = (operands[0].as_memref(), operands[2].as_memref())
            && source.element != target.element
        {
            let (source, target) = (source.element.name(), target.element.name());
            report.push(format!("expected memories of one element type, got {source} and {target}"));
        }
    }
    Saturate |op, _operands, _results, report| {
        if !(1..=32).contains(&op.bits) {
            report.push(format!("expected 1 to 32 bits, got {}", op.bits));
        }
    }
    FieldLanes |op, _operands, _results, report| {
        // field_lanes C1
        if !matches!(op.bits, 2 | 4) || op.field >= 8 / op.bits {
            let (bits, field) = (op.bits, op.field);
            report.push(format!("expected a field of 4 or 2 bits of a byte, got number {field} of {bits} bits"));
        }
    }
    For |op, _operands, _results, report| {
        // With a step of 0 the loop would not end.
        if op.step == 0 {
            report.push("expected a step of at least 1, got 0".to_owned());
        }
    }
    Buffer |op, _operands, _results, report| {
        if let Some([first, last]) = op.live
            && first > last
        {
            report.push(format!("expected a life that ends after its start, got [{first}, {last}]"));
        }
    }
    Data |op, _operands, results, report| {
        let ResourceRef { element, count, .. } = op.value;
        fills(results[0], (element, count), report);
    }
    Pack |op, _operands, results, report| {
        fills(results[0], op.layout.result(&op.sources), report);
    }
    Kernel |op, operands, _results, report| {
        let count = operands.len();
        if op.writes > count {
            report.push(format!("expected at most {count} written buffers, got {}", op.writes));
        }
        for &[written, read] in &op.in_place {
            if written >= op.writes || read >= count || written == read {
                report.push(format!(
                    "expected a written buffer and another one in place, got [{written}, {read}] of {count}"
                ));
            }
        }
    }
}
