//! Plans one function: finds the places of its buffers, in one region or in several.

use super::exact::{self, Solution};
use super::fill::Filling;
use super::groups::Groups;
use super::problem::{Item, Offsets, Problem};
use super::spread::Load;
use super::{PlanMemory, Regions, Solver, best_fit, improve};
use crate::analysis::liveness::{LiveBytes, Liveness, merged};
use crate::pass::PassContext;
use crate::target::Memory;
use mcunet_ir::Function;
use std::cell::OnceCell;
use std::collections::HashSet;

/// Pieces up to which the exact search has a chance.
const MAX_EXACT_ITEMS: usize = 200;

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

    /// Groups that lie in a region.
    pub fn members(&self, region: usize) -> Vec<usize> {
        (0..self.region.len()).filter(|&group| self.region[group] == region).collect()
    }
}

/// What is known of a function's buffers.
pub struct Planner<'p> {
    pass: &'p PlanMemory,
    liveness: &'p Liveness,
    cx: &'p PassContext<'p>,
    /// Buffers that are placed as one.
    pub groups: Groups,
    /// Pieces of every group.
    buffers: Vec<Vec<Item>>,
    /// Groups of which the first may take over bytes of the second.
    pairs: HashSet<[usize; 2]>,
    /// What all groups forbid each other, once it has been asked for.
    problem: OnceCell<Problem>,
}

/// How a placement is searched for, for [`Planner::place`].
#[derive(Clone, Debug)]
pub struct Search {
    /// Offsets of all pieces to start from, if there are any.
    pub start: Option<Offsets>,
    /// Bytes that need not be improved.
    pub goal: usize,
    /// Divides how long it may take.
    pub effort: usize,
    /// Whether its result counts among the statistics.
    pub counts: bool,
}

impl Default for Search {
    fn default() -> Self {
        Self { start: None, goal: 0, effort: 1, counts: true }
    }
}

/// All that a placement depends on, unless the search for it is ended.
#[derive(PartialEq, Eq, Debug)]
struct Question {
    buffers: Vec<Vec<Item>>,
    /// Positions of those that may share.
    pairs: Vec<[usize; 2]>,
    start: Option<Offsets>,
    enough: usize,
    nodes: usize,
    moves: usize,
}

impl<'p> Planner<'p> {
    /// Buffers of a lowered function.
    pub fn new(pass: &'p PlanMemory, liveness: &'p Liveness, cx: &'p PassContext<'p>) -> Self {
        let groups = Groups::of(liveness);
        let buffers = groups.members.iter().map(|members| items(pass.align, liveness, members)).collect();
        let pairs = liveness.in_place.iter();
        let pairs = pairs.map(|pair| [groups.of_buffer[pair.written], groups.of_buffer[pair.read]]);
        let pairs = pairs.filter(|[written, read]| written != read).collect();
        Self { pass, liveness, cx, groups, buffers, pairs, problem: OnceCell::new() }
    }

    /// The best plan that was found; it may exceed its regions. They are sorted, fastest first.
    pub fn plan(&self, function: &Function, regions: &[Memory]) -> Plan {
        let all: Vec<usize> = (0..self.groups.members.len()).collect();
        let (offsets, bytes) = self.place(&all, Search::default());
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
        if spread && regions.len() > 1 { Filling::new(self, function, regions).fill(alone) } else { alone }
    }

    /// What lives of every group, and how many of `accesses` of its buffers there are.
    pub fn loads(&self, accesses: impl Fn(&usize) -> u64) -> Vec<Load> {
        let groups = self.groups.members.iter().zip(&self.buffers);
        let load = |(members, items): (&Vec<usize>, &Vec<Item>)| {
            load(items.iter(), self.liveness.program.steps.len(), members.iter().map(&accesses).sum())
        };
        groups.map(load).collect()
    }

    /// The buffers in the order of their positions.
    pub fn liveness(&self) -> &Liveness {
        self.liveness
    }

    /// Offsets of the pieces of some groups, and the bytes that they take.
    pub fn place(&self, groups: &[usize], search: Search) -> (Vec<Offsets>, usize) {
        let problem = OnceCell::new();
        let problem = || problem.get_or_init(|| self.problem().restricted(groups));
        let offsets = match self.pass.solver {
            Solver::BestFit => search.start.unwrap_or_else(|| best_fit::solve(problem())),
            Solver::Exact => {
                let counts = search.counts;
                let solution = self.search(self.question(groups, search), &problem);
                if counts {
                    self.cx.count("plans proved optimal", u64::from(solution.optimal));
                }
                solution.offsets
            }
        };
        let mut rest = &offsets[..];
        let (mut of_groups, mut bytes) = (Vec::new(), 0);
        for &group in groups {
            let items = &self.buffers[group];
            let (of_group, others) = rest.split_at(items.len());
            let ends = of_group.iter().zip(items).map(|(offset, item)| offset + item.bytes);
            bytes = ends.fold(bytes, usize::max);
            of_groups.push(of_group.to_vec());
            rest = others;
        }
        (of_groups, bytes)
    }

    fn problem(&self) -> &Problem {
        self.problem.get_or_init(|| {
            Problem::of_buffers(self.buffers.clone(), |written, read| self.pairs.contains(&[written, read]))
        })
    }

    fn question(&self, groups: &[usize], search: Search) -> Question {
        let mut position = vec![None; self.buffers.len()];
        groups.iter().enumerate().for_each(|(index, &group)| position[group] = Some(index));
        let pairs = self.pairs.iter().filter_map(|&[a, b]| Some([position[a]?, position[b]?]));
        let mut pairs: Vec<[usize; 2]> = pairs.collect();
        pairs.sort_unstable();
        let buffers: Vec<Vec<Item>> = groups.iter().map(|&group| self.buffers[group].clone()).collect();
        let least = self.liveness.least_bytes_of(|buffer| position[self.groups.of_buffer[buffer]].is_some());
        let few = buffers.iter().map(Vec::len).sum::<usize>() <= MAX_EXACT_ITEMS;
        Question {
            buffers,
            pairs,
            start: search.start,
            enough: least.into_iter().max().unwrap_or(0).max(search.goal),
            nodes: if few { self.pass.max_nodes / search.effort } else { 0 },
            moves: self.pass.max_moves / search.effort,
        }
    }

    /// Searches in turns of trying other orders and searching exactly: one, unless the watch is patient.
    fn search<'q>(&self, question: Question, problem: &impl Fn() -> &'q Problem) -> Solution {
        let watch = self.cx.watch;
        let Question { enough, nodes, moves, .. } = question;
        let search = |start: Offsets, turn: u32| {
            let more = |usual: usize| usual.saturating_mul(1 << turn.min(32));
            watch.progress(turn as usize, turn as usize + 1);
            let seed = SEED + u64::from(turn);
            let better = improve::solve(problem(), start, enough, more(moves), seed, watch);
            exact::solve(problem(), better, enough, more(nodes), watch)
        };
        let mut solution = self.cx.memo.recall(question, |question| {
            search(question.start.clone().unwrap_or_else(|| best_fit::solve(problem())), 0)
        });
        for turn in 1.. {
            if solution.optimal || !watch.is_patient() || watch.is_over() {
                break;
            }
            solution = search(solution.offsets, turn);
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
