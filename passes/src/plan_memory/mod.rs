//! Gives every buffer a byte range of the arena.
//!
//! Buffers are columns of slots (rows) in the plane of time and bytes. Where a row dies another buffer's row may lie from the
//! next step on, so that a result grows over the operand that it is made from. Rows of scattered buffers are placed one by
//! one, wherever there is room while they are needed. Buffers of one size of which the one is overwritten element by
//! element with the other are placed as one. Greedy orders give a first plan; where it is above the lower bound, trying
//! other orders and branch and bound improve it. The plan is checked by `mcunet_ir::verify`, which shares no code with this
//! pass.

pub mod best_fit;
pub mod exact;
pub mod improve;
mod over_budget;
pub mod problem;

use crate::analysis::liveness::{BufferLife, Interval, Liveness, merged};
use crate::pass::{Changed, OptionValue, Pass, PassContext};
use mcunet_ir::diag::Category;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::memory::Place;
use mcunet_ir::module::OpKind;
use mcunet_ir::verify::memory::MAX_ARENA_BYTES;
use mcunet_ir::{Diagnostic, Diagnostics, Function, Module, Stage};
use over_budget::over_budget;
use problem::{Item, Problem};
use std::collections::HashSet;

/// Pieces up to which branch and bound has a chance.
const MAX_EXACT_ITEMS: usize = 200;

/// How hard to search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Solver {
    /// Greedy orders only.
    BestFit,
    /// Greedy, then other orders, then branch and bound.
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
    /// Reads from the kernels which rows live when and what may be overwritten in place, and never reorders them. Fails
    /// when the arena exceeds the target's first SRAM region, naming the widest op and by how much.
    pub PlanMemory = "plan-memory" {
        /// `best-fit` is greedy; `exact` searches on where greedy misses the lower bound.
        solver: Solver = Solver::Exact,
        /// Alignment of buffers in bytes; elements that need more get it.
        align: usize = 4,
        /// Let results overwrite operands where the kernel allows it.
        in_place: bool = true,
        /// Nodes that the exact search visits at most.
        max_nodes: usize = 50_000,
        /// Orders of placing that are tried at most, for 100 buffers; fewer for more.
        max_moves: usize = 6_000,
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
            assign(function, &liveness, offsets, region);
            let arena = MemorySummary::of(function).arena_bytes;
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

    /// Offsets of every buffer's pieces.
    fn solve(&self, liveness: &Liveness, cx: &PassContext<'_>) -> Vec<Vec<usize>> {
        let groups = Groups::of(liveness);
        let buffers = groups.members.iter().map(|members| self.items(liveness, members)).collect();
        let pairs = liveness.in_place.iter();
        let pairs: HashSet<[usize; 2]> =
            pairs.map(|pair| [groups.of_buffer[pair.written], groups.of_buffer[pair.read]]).collect();
        let problem =
            Problem::of_buffers(buffers, |written, read| written != read && pairs.contains(&[written, read]));
        let start = best_fit::solve(&problem);
        let offsets = match self.solver {
            Solver::BestFit => start,
            Solver::Exact => {
                let bound = liveness.lower_bound_bytes();
                let better = improve::solve(&problem, start, bound, self.max_moves);
                let nodes = if problem.items.len() > MAX_EXACT_ITEMS { 0 } else { self.max_nodes };
                let solution = exact::solve(&problem, better, bound, nodes);
                cx.count("plans proved optimal", u64::from(solution.optimal));
                solution.offsets
            }
        };
        let of_group = |group: usize| problem.clusters[group].iter().map(|&item| offsets[item]).collect();
        groups.of_buffer.iter().map(|&group| of_group(group)).collect()
    }

    /// Buffers of one group as one, which is in use whenever one of them is; in pieces if it is scattered.
    fn items(&self, liveness: &Liveness, members: &[usize]) -> Vec<Item> {
        let first = &liveness.buffers[members[0]];
        let mut slots = first.slots.clone();
        for &member in &members[1..] {
            for (slot, lives) in slots.iter_mut().zip(&liveness.buffers[member].slots) {
                slot.extend(lives);
            }
        }
        let align = members.iter().map(|&i| liveness.buffers[i].element_bytes).max().unwrap_or(1);
        let (align, slot_bytes) = (self.align.max(align), first.slot_bytes);
        let slots = slots.into_iter().map(merged);
        if first.scattered {
            let row = |lives| Item { bytes: slot_bytes, align, slot_bytes, slots: vec![lives] };
            return slots.map(row).collect();
        }
        vec![Item { bytes: first.bytes, align, slot_bytes, slots: slots.collect() }]
    }
}

/// The first buffer of a group.
fn root(head: &[usize], mut buffer: usize) -> usize {
    while head[buffer] != buffer {
        buffer = head[buffer];
    }
    buffer
}

/// Whether lives meet only in steps in which one of `before` ends and one of `after` begins.
fn hands_over(before: &[Interval], after: &[Interval]) -> bool {
    let apart = |a: &Interval, b: &Interval| a[1] < b[0] || b[1] < a[0] || a[1] == b[0];
    before.iter().all(|a| after.iter().all(|b| apart(a, b)))
}

/// Buffers that are placed together, since each is overwritten in place with the next.
struct Groups {
    /// Group of every buffer.
    of_buffer: Vec<usize>,
    /// Buffers of every group.
    members: Vec<Vec<usize>>,
}

impl Groups {
    /// Groups of the pairs that have slots of the same sizes. Sharing is never worse than lying apart.
    fn of(liveness: &Liveness) -> Self {
        let count = liveness.buffers.len();
        let mut head: Vec<usize> = (0..count).collect();
        // What has been found of a group, at its first buffer.
        let mut lives: Vec<Vec<Vec<Interval>>> = liveness.buffers.iter().map(|b| b.slots.clone()).collect();
        for pair in &liveness.in_place {
            let (written, read) = (&liveness.buffers[pair.written], &liveness.buffers[pair.read]);
            let form = |buffer: &BufferLife| (buffer.bytes, buffer.slots.len(), buffer.scattered);
            let alike = form(written) == form(read);
            let root = root(&head, pair.read);
            // A buffer gets the bytes of one other.
            let fits =
                lives[root].iter().zip(&written.slots).all(|(before, after)| hands_over(before, after));
            if alike && fits && head[pair.written] == pair.written {
                head[pair.written] = root;
                for (slot, more) in lives[root].iter_mut().zip(&written.slots) {
                    slot.extend(more);
                    slot.sort_unstable();
                }
            }
        }
        let root = |i: usize| root(&head, i);
        let roots: Vec<usize> = (0..count).filter(|&i| head[i] == i).collect();
        let of_buffer: Vec<usize> =
            (0..count).map(|i| roots.binary_search(&root(i)).unwrap_or_default()).collect();
        let mut members = vec![Vec::new(); roots.len()];
        for (i, &group) in of_buffer.iter().enumerate() {
            members[group].push(i);
        }
        Self { of_buffer, members }
    }
}

fn assign(function: &mut Function, liveness: &Liveness, offsets: Vec<Vec<usize>>, region: &str) {
    for (life, offsets) in liveness.buffers.iter().zip(offsets) {
        if let OpKind::Loop(LoopOp::Buffer(buffer)) = &mut function.ops[life.op].kind {
            let bytes = if life.scattered { life.slot_bytes } else { life.bytes };
            buffer.live = Some(life.span());
            buffer.place = Some(Place { region: region.into(), offsets, bytes });
        }
    }
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
    /// The step at which most bytes live.
    pub peak_step: usize,
}

impl MemorySummary {
    /// Figures of a planned function.
    pub fn of(function: &Function) -> Self {
        let liveness = Liveness::of(function);
        let ends = liveness.buffers.iter().filter_map(|life| match &function.ops[life.op].kind {
            OpKind::Loop(LoopOp::Buffer(buffer)) => buffer.place.as_ref().map(Place::end),
            _ => None,
        });
        Self {
            arena_bytes: ends.max().unwrap_or(0),
            lower_bound_bytes: liveness.lower_bound_bytes(),
            max_live_bytes: liveness.max_live_bytes(),
            peak_step: liveness.peak_step(),
        }
    }
}
