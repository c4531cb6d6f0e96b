//! Plans one function: finds the regions of its buffers, and their places in them.

use super::exact::{self, Solution};
use super::groups::Groups;
use super::problem::{Item, Offsets, Problem};
use super::spread::{Load, Room, assign, cycles};
use super::{PlanMemory, Regions, Solver, best_fit, improve};
use crate::analysis::liveness::{LiveBytes, Liveness, merged};
use crate::analysis::traffic::{Traffic, traffic};
use crate::pass::PassContext;
use crate::target::Memory;
use crate::watch::Watch;
use mcunet_ir::Function;
use std::collections::HashSet;

/// Pieces up to which the exact search has a chance.
const MAX_EXACT_ITEMS: usize = 200;

/// Assignments to regions that are tried, each with less room where the one before could not be placed.
const MAX_ROUNDS: usize = 12;

/// Buffers that are tried in faster regions at the end.
const MAX_RETURNS: usize = 24;

/// Share of the search that is spent on each of these tries.
const EFFORT_OF_TRIES: usize = 4;

/// Seed of the orders that are tried.
const SEED: u64 = 0x5eed;

/// Where the buffers lie, by groups.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Region of every group.
    pub region: Vec<usize>,
    /// Offsets of every group's pieces.
    pub offsets: Vec<Offsets>,
    /// Bytes of every region's arena.
    pub bytes: Vec<usize>,
}

impl Plan {
    /// Bytes that every arena exceeds its region by.
    pub fn over(&self, regions: &[Memory]) -> Vec<u64> {
        self.bytes
            .iter()
            .zip(regions)
            .map(|(&bytes, region)| (bytes as u64).saturating_sub(region.bytes))
            .collect()
    }

    fn members(&self, region: usize) -> Vec<usize> {
        (0..self.region.len()).filter(|&group| self.region[group] == region).collect()
    }
}

/// What is known of a function's buffers.
pub struct Planner<'p> {
    pass: &'p PlanMemory,
    liveness: &'p Liveness,
    watch: &'p dyn Watch,
    /// Buffers that are placed as one.
    pub groups: Groups,
    problem: Problem,
    loads: Vec<Load>,
}

impl<'p> Planner<'p> {
    /// Buffers of a lowered function.
    pub fn new(
        pass: &'p PlanMemory,
        function: &Function,
        liveness: &'p Liveness,
        watch: &'p dyn Watch,
    ) -> Self {
        let groups = Groups::of(liveness);
        let buffers = groups.members.iter().map(|members| items(pass.align, liveness, members)).collect();
        let pairs = liveness.in_place.iter();
        let pairs: HashSet<[usize; 2]> =
            pairs.map(|pair| [groups.of_buffer[pair.written], groups.of_buffer[pair.read]]).collect();
        let problem =
            Problem::of_buffers(buffers, |written, read| written != read && pairs.contains(&[written, read]));
        let traffic = traffic(function);
        let accesses = |&buffer: &usize| {
            traffic.get(&liveness.buffers[buffer].value).copied().map_or(0, Traffic::accesses)
        };
        let loads = groups.members.iter().zip(&problem.clusters).map(|(members, cluster)| {
            let items = cluster.iter().map(|&item| &problem.items[item]);
            load(items, liveness.program.steps.len(), members.iter().map(accesses).sum())
        });
        let loads = loads.collect();
        Self { pass, liveness, watch, groups, problem, loads }
    }

    /// The best plan that was found; it may exceed its regions. They are sorted, fastest first.
    pub fn plan(&self, regions: &[Memory], cx: &PassContext<'_>) -> Plan {
        let all: Vec<usize> = (0..self.groups.members.len()).collect();
        let (offsets, bytes) = self.place(&all, None, 0, 1, Some(cx));
        let alone = |region: usize| {
            let mut of_region = vec![0; regions.len()];
            of_region[region] = bytes;
            Plan { region: vec![region; all.len()], offsets: offsets.clone(), bytes: of_region }
        };
        let spread = self.pass.regions == Regions::Spread;
        let may_hold = |region: &Memory| !spread || region.wait_cycles == regions[0].wait_cycles;
        let holds = |region: &Memory| may_hold(region) && bytes as u64 <= region.bytes;
        if let Some(region) = regions.iter().position(holds) {
            return alone(region);
        }
        let largest = (0..regions.len()).rev().max_by_key(|&region| regions[region].bytes);
        let alone = alone(largest.unwrap_or(0));
        if spread && regions.len() > 1 { self.spread(regions, alone, cx) } else { alone }
    }

    /// A plan of several regions, or `alone`, which has everything in one, if that exceeds them less or costs less.
    fn spread(&self, regions: &[Memory], alone: Plan, cx: &PassContext<'_>) -> Plan {
        let whole: Vec<Room> = regions.iter().map(Room::of).collect();
        let mut rooms = whole.clone();
        let rank = |plan: &Plan| {
            let missing: u64 = plan.over(regions).iter().sum();
            (missing, cycles(&self.loads, &whole, &plan.region))
        };
        let mut best = (rank(&alone), alone);
        for _ in 0..MAX_ROUNDS {
            let plan = self.place_all(assign(&self.loads, &rooms), regions);
            let (over, rank) = (plan.over(regions), rank(&plan));
            if rank < best.0 {
                best = (rank, plan);
            }
            if rank.0 == 0 {
                break;
            }
            for (room, over) in rooms.iter_mut().zip(over) {
                room.bytes = room.bytes.saturating_sub(usize::try_from(over).unwrap_or(usize::MAX));
            }
        }
        let ((missing, _), mut plan) = best;
        if missing == 0 {
            self.return_to_faster(&mut plan, regions);
        }
        for region in 0..regions.len() {
            self.settle(&mut plan, region, 0, 1, Some(cx));
        }
        plan
    }

    /// Places the groups of every region, until they fit.
    fn place_all(&self, region: Vec<usize>, regions: &[Memory]) -> Plan {
        let offsets = vec![Vec::new(); region.len()];
        let mut plan = Plan { region, offsets, bytes: vec![0; regions.len()] };
        for (region, memory) in regions.iter().enumerate() {
            let goal = usize::try_from(memory.bytes).unwrap_or(usize::MAX);
            self.settle(&mut plan, region, goal, EFFORT_OF_TRIES, None);
        }
        plan
    }

    /// Moves groups to faster regions that have room for them between the others, those with the most accesses per byte
    /// first.
    fn return_to_faster(&self, plan: &mut Plan, regions: &[Memory]) {
        let most_bytes =
            |group: usize| self.loads[group].bytes.iter().max().copied().unwrap_or(0).max(1) as u64;
        let mut hot: Vec<usize> = (0..self.loads.len())
            .filter(|&group| plan.region[group] > 0 && self.loads[group].accesses > 0)
            .collect();
        hot.sort_by_key(|&group| (std::cmp::Reverse(self.loads[group].accesses / most_bytes(group)), group));
        for group in hot.into_iter().take(MAX_RETURNS) {
            for region in 0..plan.region[group] {
                if regions[region].wait_cycles == regions[plan.region[group]].wait_cycles {
                    break;
                }
                let goal = usize::try_from(regions[region].bytes).unwrap_or(usize::MAX);
                let mut moved = plan.clone();
                let from = std::mem::replace(&mut moved.region[group], region);
                moved.offsets[group] = Vec::new();
                self.settle(&mut moved, region, goal, EFFORT_OF_TRIES, None);
                if moved.bytes[region] <= goal {
                    // Where the rest of them lie stays as it is.
                    self.settle(&mut moved, from, usize::MAX, EFFORT_OF_TRIES, None);
                    *plan = moved;
                    break;
                }
            }
        }
    }

    /// Places the groups of one region, starting from where they are if all have places.
    fn settle(
        &self,
        plan: &mut Plan,
        region: usize,
        goal: usize,
        effort: usize,
        cx: Option<&PassContext<'_>>,
    ) {
        let members = plan.members(region);
        let placed = members.iter().all(|&group| !plan.offsets[group].is_empty());
        let start = placed.then(|| members.iter().flat_map(|&group| plan.offsets[group].clone()).collect());
        let (offsets, bytes) = self.place(&members, start, goal, effort, cx);
        for (group, offsets) in members.into_iter().zip(offsets) {
            plan.offsets[group] = offsets;
        }
        plan.bytes[region] = bytes;
    }

    /// Offsets of the pieces of some groups, and the bytes that they take. The search ends at the lower bound or at
    /// `goal`; `effort` divides how long it may take. With a context, its result is counted there.
    fn place(
        &self,
        groups: &[usize],
        start: Option<Offsets>,
        goal: usize,
        effort: usize,
        cx: Option<&PassContext<'_>>,
    ) -> (Vec<Offsets>, usize) {
        let problem = self.problem.restricted(groups);
        let start = start.unwrap_or_else(|| best_fit::solve(&problem));
        let offsets = match self.pass.solver {
            Solver::BestFit => start,
            Solver::Exact => {
                let mut kept = vec![false; self.groups.members.len()];
                groups.iter().for_each(|&group| kept[group] = true);
                let least = self.liveness.least_bytes_of(|buffer| kept[self.groups.of_buffer[buffer]]);
                let enough = least.into_iter().max().unwrap_or(0).max(goal);
                let solution = self.search(&problem, start, enough, effort);
                if let Some(cx) = cx {
                    cx.count("plans proved optimal", u64::from(solution.optimal));
                }
                solution.offsets
            }
        };
        let bytes = problem.height(&offsets);
        let of = |cluster: &Vec<usize>| cluster.iter().map(|&item| offsets[item]).collect();
        (problem.clusters.iter().map(of).collect(), bytes)
    }

    /// Improves on `start`, in turns of trying other orders and searching exactly: one, unless the watch is patient.
    fn search(&self, problem: &Problem, start: Offsets, enough: usize, effort: usize) -> Solution {
        let nodes = if problem.items.len() > MAX_EXACT_ITEMS { 0 } else { self.pass.max_nodes / effort };
        let moves = self.pass.max_moves / effort;
        let mut solution = Solution { offsets: start, optimal: false, nodes: 0 };
        for turn in 0.. {
            let more = |usual: usize| usual.saturating_mul(1 << turn.min(32));
            self.watch.progress(turn, turn + 1);
            let better = improve::solve(
                problem,
                solution.offsets,
                enough,
                more(moves),
                SEED + turn as u64,
                self.watch,
            );
            solution = exact::solve(problem, better, enough, more(nodes), self.watch);
            if solution.optimal || !self.watch.is_patient() || self.watch.is_over() {
                break;
            }
        }
        solution
    }
}

/// Buffers of one group as one, which is in use whenever one of them is; in pieces if it is scattered.
fn items(align: usize, liveness: &Liveness, members: &[usize]) -> Vec<Item> {
    let first = &liveness.buffers[members[0]];
    let mut slots = first.slots.clone();
    for &member in &members[1..] {
        for (slot, lives) in slots.iter_mut().zip(&liveness.buffers[member].slots) {
            slot.extend(lives);
        }
    }
    let needed = members.iter().map(|&i| liveness.buffers[i].element_bytes).max().unwrap_or(1);
    let (align, slot_bytes) = (align.max(needed), first.slot_bytes);
    let slots = slots.into_iter().map(merged);
    if first.scattered {
        let row = |lives| Item { bytes: slot_bytes, align, slot_bytes, slots: vec![lives] };
        return slots.map(row).collect();
    }
    vec![Item { bytes: first.bytes, align, slot_bytes, slots: slots.collect() }]
}

/// The bytes of items that live at every step.
pub fn load<'i>(items: impl Iterator<Item = &'i Item>, steps: usize, accesses: u64) -> Load {
    let mut live = LiveBytes::none(steps);
    for item in items {
        for (slot, lives) in item.slots.iter().enumerate() {
            let (first, last) = item.bytes_of(slot);
            let bytes = usize::try_from(last + 1 - first).unwrap_or(0);
            lives.iter().for_each(|&life| live.add(life, bytes));
        }
    }
    let bytes: Vec<usize> = live.by_step().collect();
    let first = bytes.iter().position(|&bytes| bytes > 0).unwrap_or(0);
    let end = bytes.iter().rposition(|&bytes| bytes > 0).map_or(first, |last| last + 1);
    Load { first, bytes: bytes[first..end].to_vec(), accesses }
}
