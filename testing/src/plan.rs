//! Broken memory plans: the plan's checker must refuse every one.
//!
//! Lives are taken from what kernels list, not from what the plan declares, so that neither the planner nor the checker
//! is believed.

use crate::Random;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::memory::Place;
use mcunet_ir::loops::ops::{Buffer, Kernel, Role};
use mcunet_ir::verify::memory::check_plan;
use mcunet_ir::{Module, Op, OpKind, Value};

struct Life {
    op: Op,
    value: Value,
    place: Place,
    align: usize,
    role: Role,
    first: usize,
    last: usize,
}

/// Moves one buffer of a planned module onto another that lives at the same time, for up to `count` pairs.
///
/// # Errors
/// The first broken plan that the checker accepts. Otherwise the number of plans that it refused.
pub fn overlaps_are_refused(
    planned: &Module,
    random: &mut Random<'_>,
    count: usize,
) -> Result<usize, String> {
    let lives = lives(planned);
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (i, a) in lives.iter().enumerate() {
        for (j, b) in lives.iter().enumerate() {
            let meet = a.first <= b.last && b.first <= a.last;
            if i != j && meet && a.place.bytes > 0 && b.place.bytes > 0 {
                pairs.push((i, j));
            }
        }
    }
    let mut refused = 0;
    while refused < count && !pairs.is_empty() {
        let (moved, onto) = pairs.swap_remove(random.below(pairs.len()));
        let Some(offset) = overlapping(planned, &lives[moved], &lives[onto]) else { continue };
        let mut broken = planned.clone();
        if let OpKind::Loop(LoopOp::Buffer(Buffer { place: Some(place), .. })) =
            &mut broken.functions[0].ops[lives[moved].op].kind
        {
            place.offset = offset;
        }
        if check_plan(&broken).is_ok() {
            let (moved, onto) = (&lives[moved], &lives[onto]);
            return Err(format!(
                "the checker accepts {:?} at {offset} over {:?} at {} of {} bytes",
                moved.value, onto.value, onto.place.offset, onto.place.bytes
            ));
        }
        refused += 1;
    }
    Ok(refused)
}

/// Where `moved` must not lie: over the start of `onto`; if it may share its start, over the rest.
fn overlapping(planned: &Module, moved: &Life, onto: &Life) -> Option<usize> {
    let start = onto.place.offset;
    if !hands_over(planned, moved, onto) && !hands_over(planned, onto, moved) {
        return Some(start - start % moved.align);
    }
    let shifted = (start + 1).next_multiple_of(moved.align);
    (shifted < start + onto.place.bytes).then_some(shifted)
}

/// Whether the kernel that is the last to use `read` and the first to use `written` lets the one overwrite the other. The
/// caller fills inputs before all kernels and reads outputs after them.
fn hands_over(planned: &Module, written: &Life, read: &Life) -> bool {
    let Some(&(op, head)) = kernels(planned).get(written.first) else { return false };
    let operands = &planned.functions[0].ops[op].operands;
    let listed = head
        .in_place
        .iter()
        .any(|&[i, j]| operands.get(i) == Some(&written.value) && operands.get(j) == Some(&read.value));
    let outlives = written.role == Role::Input || read.role == Role::Output;
    listed && read.last == written.first && !outlives
}

fn kernels(planned: &Module) -> Vec<(Op, &Kernel)> {
    let function = &planned.functions[0];
    let ops = function.blocks[function.body].ops.iter();
    ops.filter_map(|&op| match &function.ops[op].kind {
        OpKind::Loop(LoopOp::Kernel(head)) => Some((op, head)),
        _ => None,
    })
    .collect()
}

fn lives(planned: &Module) -> Vec<Life> {
    let function = &planned.functions[0];
    let kernels = kernels(planned);
    let end = kernels.len().saturating_sub(1);
    let mut lives = Vec::new();
    for &op in &function.blocks[function.body].ops {
        let OpKind::Loop(LoopOp::Buffer(head)) = &function.ops[op].kind else { continue };
        let value = function.ops[op].results[0];
        let listed = |&(kernel, _): &(Op, &Kernel)| function.ops[kernel].operands.contains(&value);
        let first = kernels.iter().position(listed).unwrap_or(0);
        let last = kernels.iter().rposition(listed).unwrap_or(0);
        let (Some(place), Some(memref)) = (head.place.clone(), function.ty(value).as_memref()) else {
            continue;
        };
        lives.push(Life {
            op,
            value,
            place,
            align: memref.element.size_bytes(),
            role: head.role,
            first: if head.role == Role::Input { 0 } else { first },
            last: if head.role == Role::Output { end } else { last },
        });
    }
    lives
}
