//! Gives every buffer a byte range of the arena.
//!
//! Buffers are boxes in the plane of time and bytes. A buffer that is written in place may start where the buffer it
//! replaces starts; otherwise buffers that live at the same time are disjoint. Greedy orders give a first plan; where it
//! is above the lower bound, branch and bound improves it. The plan is checked by `mcunet_ir::verify`, which shares no
//! code with this pass.

pub mod best_fit;
pub mod exact;
pub mod problem;

use crate::analysis::liveness::{BufferLife, Liveness};
use crate::pass::{Changed, OptionValue, Pass, PassContext};
use mcunet_ir::diag::Category;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::memory::Place;
use mcunet_ir::module::OpKind;
use mcunet_ir::verify::memory::MAX_ARENA_BYTES;
use mcunet_ir::{Diagnostic, Diagnostics, Function, Module, Stage};
use problem::{Item, Problem};

/// How hard to search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Solver {
    /// Greedy orders only.
    BestFit,
    /// Greedy, then branch and bound.
    Exact,
}

impl OptionValue for Solver {
    fn description() -> String {
        "best-fit or exact".to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        match text {
            "best-fit" => Some(Solver::BestFit),
            "exact" => Some(Solver::Exact),
            _ => None,
        }
    }
    fn print(&self) -> String {
        match self {
            Solver::BestFit => "best-fit".to_owned(),
            Solver::Exact => "exact".to_owned(),
        }
    }
}

crate::declare_pass! {
    /// Gives every buffer a byte range of the arena.
    ///
    /// Reads lives and in-place permissions from the kernels and never reorders them. Fails when the arena exceeds the
    /// target's first SRAM region, naming the widest op and by how much.
    pub PlanMemory = "plan-memory" {
        /// `best-fit` is greedy; `exact` searches on where greedy misses the lower bound.
        solver: Solver = Solver::Exact,
        /// Alignment of buffers in bytes; elements that need more get it.
        align: usize = 4,
        /// Let results overwrite operands where the kernel allows it.
        in_place: bool = true,
        /// Nodes that the exact search visits at most.
        max_nodes: usize = 200_000,
    } requires Lowered ensures Planned;
}

impl Pass for PlanMemory {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        if !self.align.is_power_of_two() {
            let message = format!("expected a power of two as 'align', got {}", self.align);
            return Err(Diagnostic::error(message).category(Category::Usage).into());
        }
        let region = cx.target.sram.first().map_or("sram", |memory| memory.name.as_str());
        let mut errors = Diagnostics::default();
        for function in &mut module.functions {
            let liveness = self.liveness(function);
            let offsets = self.solve(&liveness, cx);
            assign(function, &liveness, &offsets, region);
            let arena = arena_bytes(&liveness.buffers, &offsets);
            cx.count("arena bytes", arena as u64);
            cx.count("lower bound bytes", liveness.lower_bound_bytes() as u64);
            if let Some(budget) = cx.target.sram_bytes().filter(|&budget| arena as u64 > budget) {
                errors.push(over_budget(function, &liveness, arena, budget).category(Category::Budget));
            } else if arena > MAX_ARENA_BYTES {
                // A limit of the compiler, which holds even where the target has none.
                errors.push(over_budget(function, &liveness, arena, MAX_ARENA_BYTES as u64));
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

    fn solve(&self, liveness: &Liveness, cx: &PassContext<'_>) -> Vec<usize> {
        let items = liveness.buffers.iter().map(|buffer| Item {
            bytes: buffer.bytes,
            align: self.align.max(buffer.element_bytes),
            first: buffer.first,
            last: buffer.last,
        });
        let problem = Problem::new(items.collect(), |a, b| liveness.may_share(a, b));
        let start = best_fit::solve(&problem);
        match self.solver {
            Solver::BestFit => start,
            Solver::Exact => {
                let bound = liveness.lower_bound_bytes();
                let solution = exact::solve(&problem, start, bound, self.max_nodes);
                cx.count("plans proved optimal", u64::from(solution.optimal));
                solution.offsets
            }
        }
    }
}

fn arena_bytes(buffers: &[BufferLife], offsets: &[usize]) -> usize {
    buffers.iter().zip(offsets).map(|(buffer, offset)| offset + buffer.bytes).max().unwrap_or(0)
}

fn assign(function: &mut Function, liveness: &Liveness, offsets: &[usize], region: &str) {
    for (life, &offset) in liveness.buffers.iter().zip(offsets) {
        if let OpKind::Loop(LoopOp::Buffer(buffer)) = &mut function.ops[life.op].kind {
            buffer.live = Some([life.first, life.last]);
            buffer.place = Some(Place { region: region.into(), offset, bytes: life.bytes });
        }
    }
}

fn over_budget(function: &Function, liveness: &Liveness, arena: usize, budget: u64) -> Diagnostic {
    let time = liveness.peak_time();
    let (layer, origin) =
        liveness.kernels.get(time).map_or(("the function".into(), Default::default()), |&op| {
            let layer = match &function.ops[op].kind {
                OpKind::Loop(LoopOp::Kernel(kernel)) => kernel.layer.to_string(),
                other => other.name().to_owned(),
            };
            (layer, function.ops[op].origin.clone())
        });
    let mut live: Vec<&BufferLife> =
        liveness.buffers.iter().filter(|b| b.first <= time && time <= b.last).collect();
    live.sort_by_key(|buffer| std::cmp::Reverse(buffer.bytes));
    let mut diagnostic = Diagnostic::error(format!(
        "expected an arena of at most {budget} bytes, got {arena}: {} too many",
        arena as u64 - budget
    ))
    .at(origin)
    .note(format!(
        "the widest point is kernel {time}, '{layer}': {} bytes live; no plan is below {} bytes",
        liveness.live_bytes(time),
        liveness.lower_bound_bytes()
    ));
    for buffer in live.iter().take(4) {
        let name = function.values[buffer.value].name.as_deref().unwrap_or("unnamed");
        diagnostic = diagnostic.note(format!("'{name}' holds {} bytes there", buffer.bytes));
    }
    diagnostic.help("raise --sram, choose a larger --target, or reduce the input's resolution")
}

/// Figures of a planned function, for reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemorySummary {
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// No plan of these buffers and this order can be smaller.
    pub lower_bound_bytes: usize,
    /// The largest sum of live buffers: what a plan without in-place needs at least.
    pub max_live_bytes: usize,
    /// The kernel at which most bytes live.
    pub peak_kernel: usize,
}

impl MemorySummary {
    /// Figures of a planned function.
    pub fn of(function: &Function) -> Self {
        let liveness = Liveness::of(function);
        let ends = liveness.buffers.iter().filter_map(|life| match &function.ops[life.op].kind {
            OpKind::Loop(LoopOp::Buffer(buffer)) => buffer.place.as_ref().map(|p| p.offset + p.bytes),
            _ => None,
        });
        Self {
            arena_bytes: ends.max().unwrap_or(0),
            lower_bound_bytes: liveness.lower_bound_bytes(),
            max_live_bytes: liveness.max_live_bytes(),
            peak_kernel: liveness.peak_time(),
        }
    }
}
