//! Rules C1 to C5 of `tile.cascade`, and C1 of `tile.receive` and `tile.send`; see their rows of the table.

use super::Report;
use crate::module::{Block, Function, Op, OpKind, Value};
use crate::tile::ops::Cascade;
use crate::tile::{Stage, TileOp, body_of};
use std::collections::HashMap;

pub(super) fn check(function: &Function, report: &mut Report) {
    let mut ends: Vec<Op> = Vec::new();
    for op in function.walk() {
        match &function.ops[op].kind {
            OpKind::Tile(TileOp::Cascade(cascade)) => {
                check_cascade(function, op, cascade, report);
                ends.extend(function.ops[op].regions.iter().filter_map(|&body| function.terminator(body)));
            }
            OpKind::Tile(TileOp::Yield(_)) if !ends.contains(&op) => {
                report.at(function, op, "expected to end the body of a cascade, got another place");
            }
            OpKind::Tile(TileOp::Receive(_)) => {
                // tile.receive C1
                let input = function.ops[op].operands[0];
                if !function.blocks[function.body].args.contains(&input) {
                    report.at(function, op, "expected an input of the function, got another value");
                } else if let Some(other) = other_use(function, input) {
                    let message = format!("expected nothing else to use the input, got a use by '{other}'");
                    report.at(function, op, message);
                }
            }
            OpKind::Tile(TileOp::Send(_)) if !is_only_returned(function, function.ops[op].results[0]) => {
                // tile.send C1
                let message = "expected the function to return the result once, and nothing else to use it, got another use";
                report.at(function, op, message);
            }
            _ => {}
        }
    }
}

/// Whether the function returns a value, or what a cascade that yields it results in, and nothing else uses it.
fn is_only_returned(function: &Function, value: Value) -> bool {
    let end = function.terminator(function.body);
    match only_use(function, value) {
        Some((user, _)) if Some(user) == end => true,
        Some((user, position)) => {
            let yields = |&body: &Block| function.terminator(body) == Some(user);
            let mut ops = function.walk().into_iter().map(|op| &function.ops[op]);
            let cascade = ops.find(|data| data.regions.iter().any(yields));
            let result = cascade.and_then(|data| data.results.get(position));
            let used = result.and_then(|&result| only_use(function, result));
            end.is_some() && used.map(|(user, _)| user) == end
        }
        None => false,
    }
}

/// The operation that uses a value, and as which operand, if there is one use.
fn only_use(function: &Function, value: Value) -> Option<(Op, usize)> {
    let mut uses = Vec::new();
    for op in function.walk() {
        let operands = function.ops[op].operands.iter().enumerate();
        uses.extend(operands.filter(|&(_, &operand)| operand == value).map(|(position, _)| (op, position)));
    }
    (uses.len() == 1).then(|| uses[0])
}

/// The name of an operation that uses a value without receiving it.
fn other_use(function: &Function, value: Value) -> Option<&'static str> {
    let users = function.walk().into_iter().map(|op| &function.ops[op]);
    let mut users = users.filter(|data| data.operands.contains(&value)).map(|data| &data.kind);
    users.find(|kind| !matches!(kind, OpKind::Tile(TileOp::Receive(_)))).map(|kind| kind.name())
}

fn check_cascade(function: &Function, op: Op, cascade: &Cascade, report: &mut Report) {
    // tile.cascade C1
    let Some((stages, yielded)) = body_of(function, op) else {
        let message = "expected a body of tensor operations other than constants and reshapes that ends with \
                       'tile.yield', got other ops";
        return report.at(function, op, message);
    };
    let types = |values: &[Value]| values.iter().map(|&value| function.ty(value).clone()).collect::<Vec<_>>();
    if types(yielded) != types(&function.ops[op].results) {
        report.at(function, op, "expected results of the types that the body yields, got others");
    }
    // tile.cascade C2
    if cascade.held.len() != stages.len() {
        let (expected, found) = (stages.len(), cascade.held.len());
        return report.at(function, op, format!("expected {expected} entries in 'held', got {found}"));
    }
    for (index, (stage, &held)) in stages.iter().zip(&cascade.held).enumerate() {
        let rows = stage.result_rows();
        if held == 0 || held > rows {
            report.at(
                function,
                op,
                format!("expected operation {index} to hold 1 to {rows} rows, got {held}"),
            );
        }
    }
    // tile.cascade C3
    let counts = cascade.schedule.row_counts(stages.len());
    let complete = counts.iter().sum::<usize>() == cascade.schedule.0.len()
        && counts.iter().zip(&stages).all(|(&count, stage)| count == stage.rows);
    if !complete {
        let rows: Vec<usize> = stages.iter().map(|stage| stage.rows).collect();
        let message =
            format!("expected a schedule that names the operations {rows:?} times, got {counts:?} times");
        return report.at(function, op, message);
    }
    check_windows(function, op, cascade, &stages, report);
    // tile.cascade C5
    let makers = makers(function, &stages);
    for value in yielded {
        match makers.get(value) {
            Some(&maker) if cascade.held[maker] == stages[maker].result_rows() => {}
            Some(&maker) => {
                let (rows, held) = (stages[maker].result_rows(), cascade.held[maker]);
                let message = format!("expected what is yielded to be held for all {rows} rows, got {held}");
                report.at(function, op, message);
            }
            None => report.at(function, op, "expected to yield results of the body's operations, got others"),
        }
    }
}

/// Which stage makes a value.
fn makers(function: &Function, stages: &[Stage]) -> HashMap<Value, usize> {
    let results = stages
        .iter()
        .enumerate()
        .flat_map(|(index, stage)| function.ops[stage.op].results.iter().map(move |&result| (result, index)));
    results.collect()
}

/// C4; stops at the first row that is missing.
fn check_windows(function: &Function, op: Op, cascade: &Cascade, stages: &[Stage], report: &mut Report) {
    let makers = makers(function, stages);
    let mut named: Vec<usize> = vec![0; stages.len()];
    for (index, row) in cascade.schedule.steps() {
        let stage = &stages[index];
        for (operand, need) in function.ops[stage.op].operands.iter().zip(&stage.needs) {
            let Some(&maker) = makers.get(operand) else { continue };
            // Rows of what is made at once, or counted otherwise, are needed all or none.
            let rows = stages[maker].result_rows();
            let span = match need.span(row) {
                span if span.is_empty() || need.rows() == rows => span,
                _ => 0..rows,
            };
            let made = stages[maker].made(named[maker]);
            let held = made.saturating_sub(cascade.held[maker])..made;
            if !span.is_empty() && (span.start < held.start || span.end > held.end) {
                let message = format!(
                    "expected rows {span:?} of operation {maker} to be held for row {row} of operation {index}, got {held:?}"
                );
                return report.at(function, op, message);
            }
        }
        named[index] = row + 1;
    }
}
