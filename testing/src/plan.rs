//! Broken memory plans: the plan's checker must refuse every one.
//!
//! Which rows live when is taken from the planner's analysis, which shares no code with the checker.

use crate::Random;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::memory::Place;
use mcunet_ir::loops::ops::Buffer;
use mcunet_ir::verify::memory::check_plan;
use mcunet_ir::{Module, Op, OpKind};
use mcunet_passes::analysis::liveness::{BufferLife, Interval, Liveness};

/// Moves one buffer of a planned module so that a row of it lies on a row of another that lives at the same time, to another
/// memory region if need be, for up to `count` pairs of buffers.
///
/// # Errors
/// The first broken plan that the checker accepts. Otherwise the number of plans that it refused.
pub fn overlaps_are_refused(
    planned: &Module,
    random: &mut Random<'_>,
    count: usize,
) -> Result<usize, String> {
    let liveness = Liveness::of(&planned.functions[0]);
    let buffers = &liveness.buffers;
    let mut pairs: Vec<(usize, usize)> = (0..buffers.len())
        .flat_map(|i| (0..buffers.len()).map(move |j| (i, j)))
        .filter(|&(i, j)| i != j && buffers[i].kernels[0] != buffers[j].kernels[0])
        .filter(|&(i, j)| !liveness.in_place.iter().any(|p| [(i, j), (j, i)].contains(&(p.written, p.read))))
        .collect();
    let mut refused = 0;
    while refused < count && !pairs.is_empty() {
        let (moved, onto) = pairs.swap_remove(random.below(pairs.len()));
        let (moved, onto) = (&buffers[moved], &buffers[onto]);
        let mut broken = planned.clone();
        let Some(under) = place_of(&mut broken, onto.op).cloned() else { continue };
        let Some((piece, offset)) = clashing_offset(&under, moved, onto) else { continue };
        if let Some(place) = place_of(&mut broken, moved.op) {
            place.region = under.region;
            place.offsets[piece] = offset;
        }
        if check_plan(&broken).is_ok() {
            return Err(format!(
                "the checker accepts {:?} at {offset} over {:?} of {} bytes",
                moved.value, onto.value, onto.bytes
            ));
        }
        refused += 1;
    }
    Ok(refused)
}

/// Views that kernels write.
pub fn views(planned: &Module) -> usize {
    written_views(planned).len()
}

/// Kernels and positions among their views of what they write.
fn written_views(planned: &Module) -> Vec<(Op, usize)> {
    let function = &planned.functions[0];
    let mut found = Vec::new();
    for op in function.walk() {
        if let OpKind::Loop(LoopOp::Kernel(head)) = &function.ops[op].kind {
            let written = head.views.iter().enumerate().filter(|(_, view)| view.buffer < head.writes);
            found.extend(written.map(|(index, _)| (op, index)));
        }
    }
    found
}

/// Moves each view that a kernel writes onto its neighbour, which others write.
///
/// # Errors
/// The first plan that the checker accepts. Otherwise the number of those that it refused.
pub fn overlapping_views_are_refused(planned: &Module) -> Result<usize, String> {
    let mut refused = 0;
    for (op, index) in written_views(planned) {
        let mut broken = planned.clone();
        let function = &mut broken.functions[0];
        let OpKind::Loop(LoopOp::Kernel(head)) = &mut function.ops[op].kind else { continue };
        let view = &mut head.views[index];
        // By one element, to where there are some.
        view.first = if view.first > 0 { view.first - 1 } else { view.first + 1 };
        let moved = *view;
        let value = function.ops[op].operands[moved.buffer];
        let elements = function.ty(value).as_memref().map_or(0, |ty| ty.shape.elements());
        if moved.end() > elements {
            continue;
        }
        if check_plan(&broken).is_ok() {
            return Err(format!("the checker accepts {moved:?} of {value:?}, which overlaps another view"));
        }
        refused += 1;
    }
    Ok(refused)
}

fn place_of(module: &mut Module, buffer: Op) -> Option<&mut Place> {
    match &mut module.functions[0].ops[buffer].kind {
        OpKind::Loop(LoopOp::Buffer(Buffer { place, .. })) => place.as_mut(),
        _ => None,
    }
}

/// A piece of `moved` and an offset for it at which a row of it lies on a row of `onto`, which lies at `place`, that is made
/// before it and read after, or the other way round.
fn clashing_offset(place: &Place, moved: &BufferLife, onto: &BufferLife) -> Option<(usize, usize)> {
    let slots =
        |buffer: &BufferLife| (0..buffer.slots.len()).filter(|&i| buffer.bytes_of(i) > 0).collect::<Vec<_>>();
    for p in slots(moved) {
        for q in slots(onto) {
            if !clash(&moved.slots[p], &onto.slots[q]) {
                continue;
            }
            // The first bytes of both rows meet, as nearly as alignment allows.
            let met = if onto.scattered { place.offsets[q] } else { place.start() + q * onto.slot_bytes };
            let (piece, before) = if moved.scattered { (p, 0) } else { (0, p * moved.slot_bytes) };
            let wanted = met.checked_sub(before);
            let aligned = wanted.map(|offset| offset.next_multiple_of(moved.element_bytes.max(1)));
            let shift = aligned.zip(wanted).map(|(aligned, wanted)| aligned - wanted);
            if shift.is_some_and(|shift| shift < onto.bytes_of(q)) {
                return aligned.map(|offset| (piece, offset));
            }
        }
    }
    None
}

/// Whether one of two lives begins strictly within the other.
fn clash(a: &[Interval], b: &[Interval]) -> bool {
    let within = |inner: &Interval, outer: &Interval| outer[0] < inner[0] && inner[0] < outer[1];
    a.iter().any(|x| b.iter().any(|y| within(x, y) || within(y, x)))
}
