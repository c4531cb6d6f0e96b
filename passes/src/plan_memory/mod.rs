//! Gives every buffer a byte range of the arena, or of one of several.
//!
//! Buffers are columns of slots (rows) in the plane of time and bytes. Where a row dies another buffer's row may lie from the
//! next step on, so that a result grows over the operand that it is made from. Rows of scattered buffers are placed one by
//! one, wherever there is room while they are needed. Buffers of one size of which the one is overwritten element by
//! element with the other are placed as one. Greedy orders give a first plan; where it is above the lower bound, trying
//! other orders and an exact search improve it. Where the target has several memory regions and the fastest is too small
//! for all buffers, they are spread (see [`spread`]), and those of each region are placed by themselves. The plan is checked
//! by `mcunet_ir::verify`, which shares no code with this pass.

pub mod best_fit;
pub mod exact;
mod fill;
pub mod groups;
pub mod improve;
mod over_budget;
mod placing;
pub mod planner;
pub mod problem;
pub mod spread;

use crate::analysis::liveness::Liveness;
use crate::pass::{Changed, Pass, PassContext};
use crate::target::{Memory, Target};
use mcunet_ir::diag::Category;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::memory::Place;
use mcunet_ir::module::OpKind;
use mcunet_ir::verify::memory::MAX_ARENA_BYTES;
use mcunet_ir::{Diagnostic, Diagnostics, Function, Module, Stage};
use over_budget::{over_budget, too_large, too_many};
use planner::{Plan, Planner};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How hard to search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Solver {
    /// Greedy orders only.
    BestFit,
    /// Greedy, then other orders, then an exact search.
    Exact,
}

crate::option_words! { Solver { BestFit = "best-fit", Exact = "exact" } }

/// How many memory regions to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Regions {
    /// As many as it takes, the fastest first.
    Spread,
    /// The fastest that holds everything.
    Single,
}

crate::option_words! { Regions { Spread = "spread", Single = "single" } }

crate::declare_pass! {
    /// Gives every buffer a byte range of the arena.
    ///
    /// Reads from the kernels which rows live when and what may be overwritten in place, and never reorders them. What
    /// does not fit into the target's fastest SRAM region is spread over several, so that the buffers that are accessed
    /// most are in the fast ones. Fails when the regions are too small, naming the widest op and by how much.
    pub PlanMemory = "plan-memory" {
        /// `best-fit` is greedy; `exact` searches on where greedy misses the lower bound.
        solver: Solver = Solver::Exact,
        /// Alignment of buffers in bytes; elements that need more get it.
        align: usize = 4,
        /// `spread` fills several regions where the fastest is too small; `single` looks for one that holds everything.
        regions: Regions = Regions::Spread,
        /// Let results overwrite operands where the kernel allows it.
        in_place: bool = true,
        /// Nodes that the exact search visits at most.
        max_nodes: usize = 20_000,
        /// Orders of placing that are tried at most, for 100 buffers; fewer for more.
        max_moves: usize = 16_000,
    } requires Lowered ensures Planned;
}

impl Pass for PlanMemory {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        if !self.align.is_power_of_two() {
            let message = format!("expected a power of two as 'align', got {}", self.align);
            return Err(Diagnostic::error(message).category(Category::Usage).into());
        }
        let regions = regions(cx.target);
        let mut errors = Diagnostics::default();
        for function in &mut module.functions {
            let liveness = self.liveness(function);
            let planner = Planner::new(self, &liveness, cx);
            let plan = planner.plan(function, &regions);
            assign(function, &liveness, &planner, &plan, &regions);
            let arena = plan.bytes.iter().sum::<usize>();
            cx.count("arena bytes", arena as u64);
            cx.count("lower bound bytes", liveness.lower_bound_bytes() as u64);
            cx.count("regions used", plan.bytes.iter().filter(|&&bytes| bytes > 0).count() as u64);
            if plan.over(&regions).iter().any(|&over| over > 0) {
                let shortage = too_large(&plan, &regions, self.regions);
                errors.push(over_budget(function, &liveness, shortage).category(Category::Budget));
            } else if arena > MAX_ARENA_BYTES {
                // A limit of the compiler, which holds even where the target has none.
                errors.push(over_budget(function, &liveness, too_many(arena, MAX_ARENA_BYTES as u64)));
            }
        }
        errors.into_result()?;
        module.stage = Stage::Planned;
        Ok(Changed::Yes)
    }
}

impl PlanMemory {
    fn liveness(&self, function: &Function) -> Liveness {
        let mut liveness = Liveness::of(function);
        if !self.in_place {
            liveness.in_place.clear();
        }
        liveness
    }
}

/// The regions to fill, fastest first; one without limits if the target names none.
fn regions(target: &Target) -> Vec<Memory> {
    match target.sram_by_speed()[..] {
        [] => vec![Memory::new("sram", u64::MAX)],
        ref regions => regions.iter().map(|&region| region.clone()).collect(),
    }
}

fn assign(
    function: &mut Function,
    liveness: &Liveness,
    planner: &Planner<'_>,
    plan: &Plan,
    regions: &[Memory],
) {
    let names: Vec<Arc<str>> = regions.iter().map(|region| region.name.as_str().into()).collect();
    for (life, &group) in liveness.buffers.iter().zip(&planner.groups.of_buffer) {
        if let OpKind::Loop(LoopOp::Buffer(buffer)) = &mut function.ops[life.op].kind {
            let bytes = if life.scattered { life.slot_bytes } else { life.bytes };
            let region = names[plan.region[group]].clone();
            buffer.live = Some(life.span());
            buffer.place = Some(Place { region, offsets: plan.offsets[group].clone(), bytes });
        }
    }
}

/// Bytes of the arena in every region that a planned function uses.
pub fn region_bytes(function: &Function) -> BTreeMap<Arc<str>, usize> {
    let mut ends = BTreeMap::new();
    for &op in &function.blocks[function.body].ops {
        if let OpKind::Loop(LoopOp::Buffer(buffer)) = &function.ops[op].kind
            && let Some(place) = &buffer.place
        {
            let end = ends.entry(place.region.clone()).or_insert(0);
            *end = place.end().max(*end);
        }
    }
    ends
}

/// Figures of a planned function, for reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemorySummary {
    /// Bytes of the arena, or of those of all regions together.
    pub arena_bytes: usize,
    /// No plan of these buffers and this order can be smaller.
    pub lower_bound_bytes: usize,
    /// The largest sum of live buffers: what a plan without in-place needs at least.
    pub max_live_bytes: usize,
    /// The step at which most bytes live.
    pub peak_step: usize,
}

impl MemorySummary {
    /// Figures of a planned function.
    pub fn of(function: &Function) -> Self {
        let liveness = Liveness::of(function);
        Self {
            arena_bytes: region_bytes(function).into_values().sum(),
            lower_bound_bytes: liveness.lower_bound_bytes(),
            max_live_bytes: liveness.max_live_bytes(),
            peak_step: liveness.peak_step(),
        }
    }
}
