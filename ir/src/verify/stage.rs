//! Rules G1 and G2; see the parent module.

use super::Report;
use crate::loops::LoopOp;
use crate::loops::ops::Role;
use crate::loops::program::{Streamed, received, sent};
use crate::module::{Function, Module, OpKind, Port, Stage, Value};
use crate::text::type_name;
use crate::types::Type;

pub(super) fn check(module: &Module, function: &Function, report: &mut Report) {
    dialects(module.stage, function, report);
    match module.stage {
        Stage::Imported => ports_of_tensors(function, report),
        Stage::Lowered | Stage::Planned => ports_of_buffers(function, report),
    }
}

/// G1.
fn dialects(stage: Stage, function: &Function, report: &mut Report) {
    for op in function.walk() {
        let allowed = match &function.ops[op].kind {
            OpKind::Builtin(_) => true,
            OpKind::Nn(_) | OpKind::Tile(_) => stage == Stage::Imported,
            OpKind::Loop(kind) => {
                let packed_later = matches!(kind, LoopOp::Pack(_));
                stage != Stage::Imported && (stage == Stage::Lowered || !packed_later)
            }
        };
        if !allowed {
            report.at(function, op, format!("is not expected in a module of stage '{}'", stage.name()));
        }
    }
}

/// G2 before lowering: arguments and returned values are the ports.
fn ports_of_tensors(function: &Function, report: &mut Report) {
    let returned: &[Value] =
        function.terminator(function.body).map_or(&[], |op| function.ops[op].operands.as_slice());
    let arguments = function.blocks[function.body].args.as_slice();
    for (what, ports, values) in
        [("input", &function.inputs, arguments), ("output", &function.outputs, returned)]
    {
        if ports.len() != values.len() {
            let message = format!("expected {} {what}s as declared, got {}", ports.len(), values.len());
            report.function(function, message);
        }
        for (port, &value) in ports.iter().zip(values) {
            port_type(function, what, port, function.ty(value), report);
        }
    }
}

fn port_type(function: &Function, what: &str, port: &Port, found: &Type, report: &mut Report) {
    if port.ty != *found {
        let (expected, found) = (type_name(&port.ty), type_name(found));
        report.function(function, format!("expected {what} '{}' to be {expected}, got {found}", port.name));
    }
}

/// G2 after lowering: every port has one buffer of its size, or is received or sent row by row.
fn ports_of_buffers(function: &Function, report: &mut Report) {
    let indices = |streamed: Vec<Streamed>| streamed.iter().map(|port| port.index).collect::<Vec<usize>>();
    let sides = [
        ("input", Role::Input, &function.inputs, "received", indices(received(function))),
        ("output", Role::Output, &function.outputs, "sent", indices(sent(function))),
    ];
    for (what, role, ports, happens, streamed) in sides {
        let mut sizes: Vec<Vec<usize>> = vec![Vec::new(); ports.len()];
        for &op in &function.blocks[function.body].ops {
            let OpKind::Loop(LoopOp::Buffer(buffer)) = &function.ops[op].kind else { continue };
            if buffer.role != role {
                continue;
            }
            let size = function.ty(function.ops[op].results[0]).as_memref().map_or(0, |ty| ty.size_bytes());
            match sizes.get_mut(buffer.index) {
                Some(sizes) => sizes.push(size),
                None => report.at(
                    function,
                    op,
                    format!("expected one of {} {what}s, got number {}", ports.len(), buffer.index),
                ),
            }
        }
        for (index, (port, found)) in ports.iter().zip(sizes).enumerate() {
            if streamed.contains(&index) {
                if !found.is_empty() {
                    let name = &port.name;
                    report.function(
                        function,
                        format!("expected no buffer for {what} '{name}', which is {happens}"),
                    );
                }
                continue;
            }
            let expected = port.ty.as_tensor().map_or(0, |ty| ty.size_bytes());
            if found != [expected] {
                let message = format!(
                    "expected one buffer of {expected} bytes for {what} '{}', got {found:?}",
                    port.name
                );
                report.function(function, message);
            }
        }
    }
}
