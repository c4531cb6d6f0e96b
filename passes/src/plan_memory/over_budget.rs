//! What to say when a plan takes more memory than there is.

use super::Regions;
use super::planner::Plan;
use crate::analysis::composition::{LiveBuffer, composition};
use crate::analysis::liveness::Liveness;
use crate::target::{Memory, Target};
use mcunet_ir::loops::ops::Role;
use mcunet_ir::{Diagnostic, Function};

/// Buffers that are listed one by one.
const LISTED: usize = 6;

/// How much memory a plan takes, and how much there is.
pub struct Shortage {
    message: String,
    arena: usize,
    budget: u64,
}

/// An arena of more than `budget` bytes.
pub fn too_many(arena: usize, budget: u64) -> Shortage {
    let over = (arena as u64).saturating_sub(budget);
    let message = format!("expected an arena of at most {budget} bytes, got {arena}: {over} too many");
    Shortage { message, arena, budget }
}

/// A plan that exceeds its regions.
pub fn too_large(plan: &Plan, regions: &[Memory], how: Regions) -> Shortage {
    let arena = plan.bytes.iter().sum();
    if regions.len() == 1 || how == Regions::Single {
        let largest = regions.iter().map(|region| region.bytes).max().unwrap_or(0);
        return too_many(arena, largest);
    }
    let room: Vec<String> = regions.iter().map(|r| format!("{} bytes of '{}'", r.bytes, r.name)).collect();
    let found: Vec<String> = plan.bytes.iter().map(ToString::to_string).collect();
    let over = plan.over(regions).iter().fold(0u64, |sum, &over| sum.saturating_add(over));
    let (room, found) = (room.join(" and "), found.join(" and "));
    let message = format!("expected arenas of at most {room}, got {found}: {over} too many");
    let budget = regions.iter().fold(0u64, |sum, region| sum.saturating_add(region.bytes));
    Shortage { message, arena, budget }
}

/// The error for a plan that takes too much: how small it can be as far as is known, the widest point and what lives there,
/// and what would help.
pub fn over_budget(function: &Function, liveness: &Liveness, shortage: Shortage) -> Diagnostic {
    let Shortage { message, arena, budget } = shortage;
    let step = liveness.peak_step();
    let bound = liveness.lower_bound_bytes();
    let at = liveness.program.steps.get(step);
    let (place, origin) = at.map_or(("the function".to_owned(), Default::default()), |at| {
        let layer = &liveness.program.head(function, at.kernel).layer;
        let kernel = liveness.program.kernels[at.kernel];
        (format!("row {} of layer {}, '{layer}'", at.row, at.kernel), function.ops[kernel].origin.clone())
    });
    let mut diagnostic = Diagnostic::error(message)
        .at(origin)
        .note(format!("the widest point is {place}: {bound} bytes live"));
    diagnostic = diagnostic.note(match arena - bound {
        0 => "no plan of these buffers in this order is smaller".to_owned(),
        above => format!(
            "the plan lies {above} bytes above the lower bound: in this order, no plan of these buffers is below {bound} bytes"
        ),
    });
    let live = composition(function, liveness, step);
    for buffer in live.iter().take(LISTED) {
        diagnostic = diagnostic.note(describe(buffer));
    }
    let rest = live.get(LISTED..).unwrap_or_default();
    if !rest.is_empty() {
        let bytes: usize = rest.iter().map(|buffer| buffer.bytes).sum();
        diagnostic = diagnostic.note(format!("{} more hold {bytes} bytes there", rest.len()));
    }
    if bound as u64 <= budget {
        let help = "the lower bound fits: --search-time=60 looks for a plan that does for a minute";
        diagnostic = diagnostic.help(help);
    }
    if has_image(liveness, function) {
        diagnostic = diagnostic.help("reduce the input's resolution");
    }
    diagnostic.help(more_sram(arena))
}

fn describe(buffer: &LiveBuffer<'_>) -> String {
    let LiveBuffer { name, bytes, rows_live, of_rows, .. } = buffer;
    match of_rows {
        1 => format!("'{name}' holds {bytes} bytes there"),
        _ => format!("'{name}' holds {bytes} bytes there, {rows_live} of {of_rows} rows"),
    }
}

/// Whether an input, or what is received of one, has rows.
fn has_image(liveness: &Liveness, function: &Function) -> bool {
    let mut inputs = liveness.buffers.iter().filter(|life| life.role == Role::Input);
    let received = mcunet_ir::loops::program::received(function);
    inputs.any(|life| life.slots.len() > 1) || received.iter().any(|received| received.rows > 1)
}

fn more_sram(arena: usize) -> String {
    let targets = Target::embedded();
    let bytes = |target: &&Target| target.sram_bytes().filter(|&bytes| bytes >= arena as u64);
    match targets.iter().filter(|target| bytes(target).is_some()).min_by_key(bytes) {
        Some(target) => format!(
            "raise --sram to {arena}, or choose a larger --target, such as {} with {} bytes",
            target.name,
            target.sram_bytes().unwrap_or(0)
        ),
        None => format!("raise --sram to {arena}"),
    }
}
