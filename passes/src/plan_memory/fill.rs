//! Fills several memory regions: spreads the buffers, and places those of each region.
//!
//! What is assigned to a region may not fit into it without holes; then all is assigned again, as if there were less room. In the
//! end buffers return to faster regions where there is room for them between the others.

use super::planner::{Plan, Planner, Search};
use super::spread::{Load, Room, assign, cycles};
use crate::analysis::traffic::{Traffic, traffic};
use crate::target::Memory;
use mcunet_ir::Function;

/// Assignments to regions that are tried, each with less room where the one before could not be placed.
const MAX_ROUNDS: usize = 12;

/// Buffers that are tried in faster regions at the end.
const MAX_RETURNS: usize = 24;

/// Share of the search that is spent on each of these tries.
const EFFORT_OF_TRIES: usize = 4;

/// The regions to fill, and what lives and is accessed of every group.
pub struct Filling<'p> {
    planner: &'p Planner<'p>,
    regions: &'p [Memory],
    loads: Vec<Load>,
}

impl<'p> Filling<'p> {
    /// The buffers of a function.
    pub fn new(planner: &'p Planner<'p>, function: &Function, regions: &'p [Memory]) -> Self {
        let traffic = traffic(function);
        let buffers = &planner.liveness().buffers;
        let accesses =
            |&buffer: &usize| traffic.get(&buffers[buffer].value).copied().map_or(0, Traffic::accesses);
        Self { planner, regions, loads: planner.loads(accesses) }
    }

    /// A plan of several regions, or `alone`, which has everything in one, if that exceeds them less or costs less.
    pub fn fill(&self, alone: Plan) -> Plan {
        let regions = self.regions;
        let whole: Vec<Room> = regions.iter().map(Room::of).collect();
        let mut rooms = whole.clone();
        let rank = |plan: &Plan| {
            let missing: u64 = plan.over(regions).iter().sum();
            (missing, cycles(&self.loads, &whole, &plan.region))
        };
        let mut best = (rank(&alone), alone);
        for _ in 0..MAX_ROUNDS {
            let plan = self.place_all(assign(&self.loads, &rooms));
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
            self.return_to_faster(&mut plan);
        }
        for region in 0..regions.len() {
            self.settle(&mut plan, region, Search::default());
        }
        plan
    }

    /// Places the groups of every region, until they fit.
    fn place_all(&self, region: Vec<usize>) -> Plan {
        let regions = self.regions;
        let offsets = vec![Vec::new(); region.len()];
        let mut plan = Plan { region, offsets, bytes: vec![0; regions.len()] };
        for (region, memory) in regions.iter().enumerate() {
            let goal = usize::try_from(memory.bytes).unwrap_or(usize::MAX);
            self.settle(&mut plan, region, attempt(goal));
        }
        plan
    }

    /// Moves groups to faster regions that have room for them between the others, those with the most accesses per byte
    /// first.
    fn return_to_faster(&self, plan: &mut Plan) {
        let regions = self.regions;
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
                self.settle(&mut moved, region, attempt(goal));
                if moved.bytes[region] <= goal {
                    // Where the rest of them lie stays as it is.
                    self.settle(&mut moved, from, attempt(usize::MAX));
                    *plan = moved;
                    break;
                }
            }
        }
    }

    /// Places the groups of one region, starting from where they are if all have places.
    fn settle(&self, plan: &mut Plan, region: usize, search: Search) {
        let members = plan.members(region);
        let placed = members.iter().all(|&group| !plan.offsets[group].is_empty());
        let start = placed.then(|| members.iter().flat_map(|&group| plan.offsets[group].clone()).collect());
        let (offsets, bytes) = self.planner.place(&members, Search { start, ..search });
        for (group, offsets) in members.into_iter().zip(offsets) {
            plan.offsets[group] = offsets;
        }
        plan.bytes[region] = bytes;
    }
}

/// A short search for a placement within `goal` bytes.
fn attempt(goal: usize) -> Search {
    Search { goal, effort: EFFORT_OF_TRIES, counts: false, ..Search::default() }
}
