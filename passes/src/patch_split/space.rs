//! Which runs to split, and into how many strips: the ways that are best in memory for the multiply-accumulates they add.
//!
//! A way of running a network is a sequence of runs of operations, each of them a cascade, or split into strips of full
//! height with a cascade in each. At the ends of runs tensors exist as a whole, so the peak of a way is the greatest of its
//! runs' and what it computes twice is their sum: the best ways are the paths with the best pairs of both (as in msf-CNN,
//! Huang and Baccelli, NeurIPS 2025, whose edges are fused blocks). Here every pair that no other beats in both is kept at
//! each position, instead of one constraint at a time.
//!
//! Strips that keep columns for the next add less and hold more. Limits of what is kept are tried by themselves, since what to keep
//! depends on the run: between the blocks of a network tensors are narrow, inside of them they are not.
//!
//! The peaks are those of rows, in the order in which `cascade` makes them, with ideal placement. Splitting downward as well
//! is not looked for: rows stream through a strip anyway, so that it adds work and saves nothing.

use super::halo::{Halo, Kept, column_bytes};
use super::plan::{Run, TilePlan, Users};
use super::region::{Region, whole};
use crate::analysis::liveness::LiveBytes;
use crate::analysis::macs;
use crate::cascade::cut::Peaks;
use crate::cascade::graph::Graph;
use crate::cascade::pull::Pulled;
use crate::pass::OptionValue;
use crate::watch::Watch;
use mcunet_ir::{Function, Op, Value};
use std::ops::Range;

/// Numbers of strips that are looked at.
const STRIPS: [usize; 8] = [2, 3, 4, 5, 6, 8, 11, 16];

/// Operations in a split run at most.
const MAX_OPERATIONS: usize = 64;

/// Numbers of strips in a row that save nothing before larger ones are given up.
const MAX_IN_VAIN: usize = 2;

/// Largest columns that are kept, as parts of the largest there are.
const KEPT_PARTS: [usize; 5] = [1, 2, 4, 8, 16];

/// The part of a way's peak by which its arena may be smaller, since rows of strips are rounded up to words.
const ERROR_OF_PEAKS: usize = 32;

/// Ways that are kept per position.
const MAX_WAYS: usize = 48;

/// A run that is split into strips.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Strips {
    /// Its operations, as `patch-split` counts them.
    pub layers: Range<usize>,
    /// Strips side by side.
    pub columns: usize,
    /// What becomes of columns that two of them need.
    pub halo: Halo,
}

impl std::fmt::Display for Strips {
    /// The pass that splits so.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { layers, columns, halo } = self;
        write!(f, "patch-split{{layers={}..{},tiles=1x{columns}", layers.start, layers.end)?;
        match halo {
            Halo::Recompute => f.write_str("}"),
            Halo::Keep { .. } => write!(f, ",halo={}}}", halo.print()),
        }
    }
}

/// A way of running a network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Way {
    /// Size in bytes from which on tensors are made again in a second sweep: see [`crate::rematerialize`]. 0 for none.
    pub again_from: usize,
    /// Runs that are split, in order.
    pub splits: Vec<Strips>,
    /// Bytes at the peak, if all rows could be placed without gaps.
    pub peak_bytes: usize,
    /// Multiply-accumulates beyond those of the network.
    pub added_macs: u64,
}

/// The ways of running a function that no other beats in both bytes and multiply-accumulates, from the fewest of the latter
/// on. Inputs that are received row by row are told by `tile.receive`; they are received again for each strip. Outputs that are
/// sent are told by `tile.send`; strips are put together before.
pub fn front(function: &Function, watch: &dyn Watch) -> Vec<Way> {
    let Some(graph) = Graph::of(function) else { return Vec::new() };
    let mut peaks = Peaks::new(&graph);
    // What takes more is no better than the network as it is.
    let limit = peaks.least(true).0;
    let strips = StripRuns::new(function, &graph);
    let count = graph.nodes.len();
    let mut ways = vec![Vec::new(); count + 1];
    ways[0].push(Way::default());
    for start in 0..count {
        let here = prune(std::mem::take(&mut ways[start]));
        if here.is_empty() {
            continue;
        }
        for end in peaks.ends(start, limit) {
            let peak = peaks.of(start..end);
            ways[end].extend(here.iter().map(|way| way.and(peak, 0, None)));
        }
        watch.progress(start, count);
        let splits = if watch.is_over() { Vec::new() } else { strips.from(start) };
        let splits = splits.into_iter().filter(|split| peaks.may_cut(split.end, limit));
        for Split { end, columns, halo, peak_bytes, added_macs } in splits {
            let strips = Strips { layers: strips.number(start)..strips.number(end), columns, halo };
            ways[end].extend(here.iter().map(|way| way.and(peak_bytes, added_macs, Some(strips.clone()))));
        }
    }
    prune(std::mem::take(&mut ways[count]))
}

impl std::fmt::Display for Way {
    /// The passes that make a network run so; nothing if it runs as it is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let again = (self.again_from > 0).then(|| format!("rematerialize{{min-bytes={}}}", self.again_from));
        // From the last on, since the numbers of the layers before stay as they are.
        let passes = again.into_iter().chain(self.splits.iter().rev().map(Strips::to_string));
        f.write_str(&passes.collect::<Vec<_>>().join(","))
    }
}

impl Way {
    /// Whether the network runs as it is.
    pub fn is_plain(&self) -> bool {
        self.again_from == 0 && self.splits.is_empty()
    }

    /// Whether its arena may be of at most that many bytes, if it can be placed without gaps.
    pub fn may_fit(&self, bytes: usize) -> bool {
        self.peak_bytes <= bytes.saturating_add(bytes / ERROR_OF_PEAKS)
    }

    /// Whether strips keep columns for the next.
    fn keeps(&self) -> bool {
        self.splits.iter().any(|strips| strips.halo != Halo::Recompute)
    }

    fn and(&self, peak: usize, added: u64, strips: Option<Strips>) -> Self {
        Self {
            again_from: self.again_from,
            splits: self.splits.iter().cloned().chain(strips).collect(),
            peak_bytes: self.peak_bytes.max(peak),
            added_macs: self.added_macs + added,
        }
    }
}

/// The ways that no other beats, by multiply-accumulates. Of equal ones the first, which has the fewest splits. What keeps columns
/// doesn't beat what computes them again: its many buffers are harder to place than its peak says.
pub fn prune(ways: Vec<Way>) -> Vec<Way> {
    let (keeping, recomputing): (Vec<Way>, Vec<Way>) = ways.into_iter().partition(Way::keeps);
    let mut ways = best(recomputing);
    let beats = |a: &Way, b: &Way| a.added_macs <= b.added_macs && a.peak_bytes <= b.peak_bytes;
    let keeping = keeping.into_iter().filter(|way| !ways.iter().any(|other| beats(other, way))).collect();
    ways.extend(best(keeping));
    ways.sort_by_key(|way| (way.added_macs, way.peak_bytes, way.splits.len()));
    ways
}

fn best(mut ways: Vec<Way>) -> Vec<Way> {
    ways.sort_by_key(|way| (way.added_macs, way.peak_bytes, way.splits.len()));
    let mut best = usize::MAX;
    ways.retain(|way| {
        let better = way.peak_bytes < best;
        best = best.min(way.peak_bytes);
        better
    });
    // Of too many those that save little are left out; the smallest and the fastest stay.
    while ways.len() > MAX_WAYS {
        let saved = |i: &usize| ways[*i - 1].peak_bytes - ways[*i].peak_bytes;
        let least = (1..ways.len() - 1).min_by_key(saved).unwrap_or(1);
        ways.remove(least);
    }
    ways
}

/// A run from a given position in strips.
struct Split {
    end: usize,
    columns: usize,
    halo: Halo,
    peak_bytes: usize,
    added_macs: u64,
}

/// Runs that can be split.
struct StripRuns<'g> {
    function: &'g Function,
    graph: &'g Graph,
    users: Users,
    /// Whether one tensor alone crosses a position, or none where everything has been sent.
    narrow: Vec<bool>,
    /// Operations before a position, those that hand rows over aside.
    numbers: Vec<usize>,
}

impl<'g> StripRuns<'g> {
    fn new(function: &'g Function, graph: &'g Graph) -> Self {
        let count = graph.nodes.len();
        let crosses = |position: usize| {
            let crossing = graph.buffers.iter().filter(|buffer| {
                buffer.first.is_none_or(|first| first < position) && buffer.last >= position
            });
            crossing.count()
        };
        let narrow = (0..=count).map(|position| position == 0 || crosses(position) <= 1).collect();
        let mut numbers = vec![0];
        for node in &graph.nodes {
            numbers.push(numbers[numbers.len() - 1] + usize::from(!node.hands_over()));
        }
        Self { function, graph, users: Users::of(function), narrow, numbers }
    }

    fn number(&self, position: usize) -> usize {
        self.numbers[position]
    }

    /// Splits of the runs that begin at a position.
    fn from(&self, start: usize) -> Vec<Split> {
        let mut found = Vec::new();
        if !self.narrow[start] {
            return found;
        }
        let last = self.graph.nodes.len().min(start + MAX_OPERATIONS);
        for end in (start + 2..=last).filter(|&end| self.narrow[end]) {
            let stages = start..end;
            let ops = self.graph.nodes[stages.clone()].iter();
            let ops: Vec<Op> = ops.filter(|node| !node.hands_over()).map(|node| node.op).collect();
            let run = Run::of(self.function, &self.users, ops);
            if run.escaping.len() != 1 {
                continue;
            }
            let pulled = Pulled::of(self.graph, stages.clone());
            let split = |halo| self.splits(&run, &pulled, &stages, halo);
            let recomputing = split(Halo::Recompute);
            // What can't be split won't be with more operations.
            if recomputing.is_empty() && run.refused(self.function) {
                break;
            }
            let adds_macs = recomputing.iter().any(|split| split.added_macs > 0);
            found.extend(recomputing);
            if adds_macs {
                found.extend(self.halos(&run).into_iter().flat_map(split));
            }
        }
        found
    }

    /// A run in more and more strips, as long as that saves memory.
    fn splits(&self, run: &Run, pulled: &Pulled, stages: &Range<usize>, halo: Halo) -> Vec<Split> {
        let mut found: Vec<Split> = Vec::new();
        let mut in_vain = 0;
        let whole: u64 = run.ops.iter().map(|&op| macs::of_op(self.function, op)).sum();
        for columns in STRIPS {
            let Ok(plans) = run.plans(self.function, [1, columns], halo) else { break };
            // At both borders, and the widest between them.
            let inner = plans[1..columns - 1].iter().max_by_key(|plan| plan.width());
            let different = [&plans[0], &plans[columns - 1]].into_iter().chain(inner);
            let peak_bytes = different.map(|plan| self.peak(pulled, stages, plan)).max().unwrap_or(0);
            if found.last().is_some_and(|last| last.peak_bytes <= peak_bytes) {
                in_vain += 1;
                if in_vain == MAX_IN_VAIN {
                    break;
                }
                continue;
            }
            let macs: u64 = plans.iter().map(|plan| self.macs(run, plan)).sum();
            let added_macs = macs.saturating_sub(whole);
            found.push(Split { end: stages.end, columns, halo, peak_bytes, added_macs });
        }
        found
    }

    /// Limits of what is kept: columns of all tensors inside, and of narrower ones.
    fn halos(&self, run: &Run) -> Vec<Halo> {
        let results = run.ops.iter().flat_map(|&op| &self.function.ops[op].results);
        let inner = results.filter(|result| !run.escaping.contains(result));
        let mut sizes: Vec<usize> = inner.map(|&value| column_bytes(self.function, value)).collect();
        sizes.sort_unstable();
        let largest = sizes.last().copied().unwrap_or(0);
        let mut limits: Vec<usize> = KEPT_PARTS
            .iter()
            .filter_map(|part| sizes.iter().rev().copied().find(|&size| size <= largest / part))
            .collect();
        limits.dedup();
        let keep = |size| if size == largest { Halo::KEEP } else { Halo::Keep { max_column_bytes: size } };
        limits.into_iter().map(keep).collect()
    }

    /// Bytes at the peak of a strip. The tensors before and after the run exist as a whole.
    fn peak(&self, pulled: &Pulled, stages: &Range<usize>, plan: &TilePlan) -> usize {
        let end = pulled.steps.len();
        let mut live = LiveBytes::none(end);
        let mut constant = 0;
        for (index, buffer) in self.graph.buffers.iter().enumerate() {
            let before = buffer.first.is_none_or(|first| first < stages.start);
            if before && buffer.last >= stages.start {
                constant += buffer.bytes();
            }
            let mut writers = buffer.writers.iter().filter(|stage| stages.contains(stage)).peekable();
            let (Some(rows), true) = (&pulled.buffers[index], writers.peek().is_some()) else { continue };
            if writers.any(|&stage| self.graph.nodes[stage].receives.is_some()) {
                // Rows come whole, before a strip is cut out of them.
                constant += buffer.row_bytes;
            }
            let mut nodes = self.graph.nodes[stages.clone()].iter();
            // What is sent is put together before.
            let sent = nodes.any(|node| node.sends && node.reads.iter().any(|read| read.buffer == index));
            let escapes = sent || buffer.last >= stages.end;
            if escapes {
                constant += buffer.bytes();
            }
            let row_bytes = self.strip_bytes(index, stages, plan);
            let [before, after] = self.kept_bytes(index, stages, plan);
            for (made, read) in rows.made.iter().zip(&rows.read) {
                let made = made.unwrap_or(0);
                // A row of the strip is put into the whole as soon as it is made.
                let read = if escapes { made } else { read.unwrap_or(end) };
                live.add([made, read.max(made)], row_bytes);
                // Columns of a row that were kept are read when the row is made, and others take their place.
                live.add([0, made], before);
                live.add([made, end], after);
                if before > 0 {
                    // The row is joined of two.
                    live.add([made, made], row_bytes - before.min(row_bytes));
                }
            }
        }
        live.peak() + constant
    }

    /// Bytes of a row of a strip.
    fn strip_bytes(&self, index: usize, stages: &Range<usize>, plan: &TilePlan) -> usize {
        let part = |value| self.part_bytes(index, value, plan.regions.get(&value)?);
        let parts = self.written(index, stages).filter_map(part);
        parts.max().unwrap_or(self.graph.buffers[index].row_bytes).next_multiple_of(4)
    }

    /// Bytes of a row of the columns that strips before have left, and of those that this one leaves.
    fn kept_bytes(&self, index: usize, stages: &Range<usize>, plan: &TilePlan) -> [usize; 2] {
        let of = |region: &dyn Fn(&Kept) -> Option<Region>| {
            let part = |value| self.part_bytes(index, value, &region(plan.kept.get(&value)?)?);
            self.written(index, stages).filter_map(part).max().unwrap_or(0)
        };
        [of(&|kept| kept.before.clone()), of(&|kept| kept.after.clone())]
    }

    /// Values that stages write to a buffer.
    fn written(&self, index: usize, stages: &Range<usize>) -> impl Iterator<Item = Value> {
        let writers = self.graph.buffers[index].writers.iter().filter(|stage| stages.contains(stage));
        writers.flat_map(|&stage| self.function.ops[self.graph.nodes[stage].op].results.iter().copied())
    }

    /// Bytes of a row of the columns of a region.
    fn part_bytes(&self, index: usize, value: Value, region: &Region) -> Option<usize> {
        let width = whole(&self.function.ty(value).as_tensor()?.shape)[1].len();
        Some((self.graph.buffers[index].row_bytes * region[1].len()).div_ceil(width.max(1)))
    }

    fn macs(&self, run: &Run, plan: &TilePlan) -> u64 {
        let of = |(&op, tile): (&Op, &Option<super::tile::OpTile>)| {
            let Some(tile) = tile else { return 0 };
            let result = self.function.ops[op].results[0];
            let all = self.function.ty(result).as_tensor().map_or([0..1, 0..1], |ty| whole(&ty.shape));
            let area = |region: &Region| (region[0].len() * region[1].len()) as u64;
            macs::of_op(self.function, op) * area(&tile.made) / area(&all).max(1)
        };
        run.ops.iter().zip(&plan.ops).map(of).sum()
    }
}
