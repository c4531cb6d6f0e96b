//! Splits a run of operations into tiles that are computed one after the other.
//!
//! Problem: a window of a few rows of every tensor is still as wide as the images, and where it matters most images are
//! wide. Method: the tensors that leave the run are divided into tiles, for each of which the operations are repeated on just
//! the part of their operands that it needs (MCUNetV2: Lin et al., NeurIPS 2021, section 3.1). What neighbouring tiles both
//! need, the halo, is computed twice. Tiles of full height ("1x3") are the cheapest, since rows still stream through each
//! of them: only columns of the halo are computed again, which StreamNet (Zheng et al., NeurIPS 2023) calls 1D streaming. Or
//! they are kept from one strip for the next, where that takes little memory ([`halo`]).
//!
//! The rewriting stays within the `nn` dialect ([`split`]), so that everything after it needs to know nothing of tiles; the
//! results are bit-exact by construction ([`tile`]).

pub mod halo;
mod plan;
pub mod region;
pub mod space;
pub mod split;
pub mod tile;

use crate::analysis::macs;
use crate::cascade::estimate::{self, Effort};
use crate::cascade::graph::Graph;
use crate::cascade::stream::{Handing, Streaming};
use crate::cost;
use crate::pass::{Changed, OptionValue, Pass, PassContext};
use crate::plan_memory::region_bytes;
use crate::rematerialize;
use crate::target::Target;
use crate::watch::Watch;
use halo::Halo;
use mcunet_ir::diag::Category;
use mcunet_ir::{Diagnostic, Diagnostics, Function, Module, Stage};
use space::Way;
use std::ops::Range;

/// Ways that are placed at least, the smallest of those that can't fit if there are too few that may.
const MAX_SMALLEST: usize = 6;

/// Of these, ways whose programs are made to find the smallest.
const MAX_MEASURED: usize = 3;

/// Ways that fit whose cycles are compared with those of the first.
const MAX_RIVALS: usize = 2;

/// The part of a network's multiply-accumulates that they may add to the first's, to be worth comparing.
const FEW_MACS: u64 = 16;

/// The part of a budget by which an estimate may be too high: a longer search finds a smaller arena.
const LITTLE: usize = 12;

/// And by which it may be too low: kernels may need scratch memory.
const MUCH: usize = 4;

/// Which operations are split.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Layers {
    /// Those of these numbers.
    Given(Range<usize>),
    /// Whatever has to be for the arena to fit.
    Search,
}

impl OptionValue for Layers {
    fn description() -> String {
        "`search`, or a range such as 0..12".to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        if text == "search" {
            return Some(Layers::Search);
        }
        let (first, end) = text.split_once("..")?;
        Some(Layers::Given(first.parse().ok()?..end.parse().ok()?))
    }
    fn print(&self) -> String {
        match self {
            Layers::Search => "search".to_owned(),
            Layers::Given(range) => format!("{}..{}", range.start, range.end),
        }
    }
}

/// Tiles of an image: how many downward and across.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tiles(pub [usize; 2]);

impl OptionValue for Tiles {
    fn description() -> String {
        "rows and columns of tiles, such as 3x3".to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        let (rows, columns) = text.split_once('x')?;
        let tiles = [rows.parse().ok()?, columns.parse().ok()?];
        tiles.iter().all(|&count| count > 0).then_some(Self(tiles))
    }
    fn print(&self) -> String {
        format!("{}x{}", self.0[0], self.0[1])
    }
}

/// What a search is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    /// The fewest cycles in the memory there is.
    Fit,
    /// The smallest arena.
    Sram,
}

crate::option_words! { Goal { Fit = "fit", Sram = "sram" } }

crate::declare_pass! {
    /// Computes runs of operations tile by tile.
    ///
    /// What leaves a run is divided into tiles, and every operation is repeated for each of them on the part of the image
    /// that the tile needs. That takes less memory, since only a tile's part of the tensors inside exists at a time, and more
    /// time, since neighbouring tiles need some of the same values: `--stats` tells how many multiply-accumulates there are
    /// before and after. Strips of full height can keep these values instead. Before `cascade`, so that rows stream through each tile. Fails if an operation of a given run can't
    /// be made in tiles. By default nothing is split; `layers=search` splits as many runs as it takes for the arena to fit
    /// the target's SRAM, and sweeps twice as `rematerialize` does, in the way that takes the fewest cycles of those that add
    /// the fewest multiply-accumulates; if it fits anyway nothing changes.
    pub PatchSplit = "patch-split" {
        /// First operation and the one after the last, counted from 0 without constants and reshapes; or `search`.
        layers: Layers = Layers::Given(0..0),
        /// Tiles down and across, of given layers.
        tiles: Tiles = Tiles([1, 1]),
        /// What given strips do with columns that the next needs, too: both compute them, or the first keeps them, if they
        /// are narrow enough. Strips have full height then.
        halo: Halo = Halo::Recompute,
        /// What to search for: the fewest cycles that `fit`, or the least `sram`.
        goal: Goal = Goal::Fit,
        /// How `cascade` is going to receive inputs.
        stream_input: Streaming = Streaming::No,
        /// Whether `cascade` is going to send outputs.
        stream_output: bool = false,
    } requires Imported ensures Imported;
}

impl Pass for PatchSplit {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        let Some(function) = module.functions.first() else { return Ok(Changed::No) };
        let before = macs::of_function(function);
        let way = match &self.layers {
            Layers::Given(_) => None,
            Layers::Search => self.search(module, cx),
        };
        let Some(function) = module.functions.first_mut() else { return Ok(Changed::No) };
        match (&self.layers, way) {
            (Layers::Given(range), _) if !range.is_empty() && self.tiles != Tiles([1, 1]) => {
                check_range(function, range)?;
                split::split(function, range.clone(), self.tiles.0, self.halo)?;
                cx.count("tiles", self.tiles.0.iter().product::<usize>() as u64);
            }
            (Layers::Search, Some(way)) => {
                cx.count("operations repeated", apply(function, &way)? as u64);
                cx.count("tiles", way.splits.iter().map(|strips| strips.columns as u64).sum());
            }
            _ => return Ok(Changed::No),
        }
        cx.count("macs before", before);
        cx.count("macs after", macs::of_function(function));
        Ok(Changed::Yes)
    }
}

/// A way, and bytes of its arena as far as can be told.
type Estimated<'w> = (usize, &'w Way);

impl PatchSplit {
    /// The way that serves the goal best; `None` if it is the network as it is.
    fn search(&self, module: &Module, cx: &PassContext<'_>) -> Option<Way> {
        let function = module.functions.first()?;
        let budget = match self.goal {
            Goal::Fit => usize::try_from(cx.target.sram_bytes()?).unwrap_or(usize::MAX),
            Goal::Sram => 0,
        };
        let plain = Way::default();
        let plain = (self.estimate(function, &plain, budget, Effort::Usual, cx)?, &plain);
        if self.cycles_if_it_fits(module, plain, budget, cx).is_some() {
            return None;
        }
        let ways = ways(function, self.handing(), cx.watch);
        // What can't fit even if placed without gaps need not be placed; but the smallest are, if nothing fits.
        let (may_fit, too_large): (Vec<&Way>, Vec<&Way>) =
            ways.iter().filter(|way| !way.is_plain()).partition(|way| way.may_fit(budget));
        let smallest = too_large.iter().rev().take(MAX_SMALLEST.saturating_sub(may_fit.len()));
        let candidates: Vec<&Way> = may_fit.iter().chain(smallest).copied().collect();
        let (mut fitting, mut others): (Vec<(u64, &Way)>, Vec<Estimated<'_>>) = (Vec::new(), Vec::new());
        let slower = macs::of_function(function) / FEW_MACS;
        for (index, &way) in candidates.iter().enumerate() {
            let is_slower =
                fitting.first().is_some_and(|(_, first)| way.added_macs > first.added_macs + slower);
            if is_slower || fitting.len() > MAX_RIVALS {
                break;
            }
            if cx.watch.is_over() {
                let rest = candidates[index..].iter();
                others.extend(rest.map(|&way| (way.peak_bytes + way.peak_bytes / LITTLE, way)));
                break;
            }
            cx.watch.progress(index, candidates.len());
            let Some(bytes) = self.estimate(function, way, budget, Effort::Quick, cx) else { continue };
            match self.cycles_if_it_fits(module, (bytes, way), budget, cx) {
                Some(cycles) => fitting.push((cycles, way)),
                None => others.push((bytes, way)),
            }
        }
        let fastest = fitting.into_iter().min_by_key(|&(cycles, _)| cycles);
        let best = fastest.map(|(_, way)| way).or_else(|| self.smallest(module, plain, others, cx));
        best.filter(|way| !way.is_plain()).cloned()
    }

    /// The way of the smallest arena, if there is one below that of the network as it is.
    fn smallest<'w>(
        &self,
        module: &Module,
        plain: Estimated<'w>,
        mut others: Vec<Estimated<'w>>,
        cx: &PassContext<'_>,
    ) -> Option<&'w Way> {
        others.retain(|&(bytes, _)| bytes < plain.0);
        others.sort_by_key(|&(bytes, _)| bytes);
        // Estimates are near enough to tell the first few, whose programs tell the best.
        others.truncate(MAX_MEASURED);
        let &(least, smallest) = others.first()?;
        let near = plain.0 - plain.0 / LITTLE <= least;
        let rivals = near.then_some(plain).into_iter().chain(others.iter().copied());
        let in_time = rivals.take_while(|_| !cx.watch.is_over());
        let measured = in_time.map(|way| (self.measure(module, way, cx), way.1));
        // Of equal ones the first.
        measured.min_by_key(|&(bytes, _)| bytes).map_or(Some(smallest), |(_, way)| Some(way))
    }

    /// What `cascade` is going to do at the borders.
    fn handing(&self) -> Handing {
        Handing { input: self.stream_input, output: self.stream_output }
    }

    /// Bytes of the arena if a function runs in a way, as far as can be told before lowering; `None` if it has cascades
    /// already. `enough` bytes need not be improved.
    fn estimate(
        &self,
        function: &Function,
        way: &Way,
        enough: usize,
        effort: Effort,
        cx: &PassContext<'_>,
    ) -> Option<usize> {
        let mut function = function.clone();
        apply(&mut function, way).ok()?;
        self.handing().apply(&mut function).ok()?;
        let graph = Graph::of(&function)?;
        Some(estimate::best_cuts(&graph, enough, effort, cx).1)
    }

    /// Cycles of the program that the rest of the pipeline makes of a way, if it fits the target. If the pipeline doesn't go as
    /// far as to place its buffers, the estimate decides, and added multiply-accumulates stand for cycles.
    fn cycles_if_it_fits(
        &self,
        module: &Module,
        (bytes, way): Estimated<'_>,
        budget: usize,
        cx: &PassContext<'_>,
    ) -> Option<u64> {
        // Far from it, programs need not be made.
        if bytes > budget + budget / LITTLE || self.goal == Goal::Sram {
            return None;
        }
        // Nor where there is no doubt, if there is nothing to compare with either.
        if way.is_plain() && bytes <= budget - budget / MUCH && cx.target.sram.len() == 1 {
            return Some(0);
        }
        match program(module, way, cx.target, cx) {
            Some(planned) => Some(cost::of_module(&planned.ok()?, cx.target).total.cycles),
            None => (bytes <= budget).then_some(way.added_macs),
        }
    }

    /// Bytes of the arena of a way's program, or if the pipeline doesn't go so far the estimate.
    fn measure(&self, module: &Module, (bytes, way): Estimated<'_>, cx: &PassContext<'_>) -> usize {
        let unlimited = Target { sram: Vec::new(), ..cx.target.clone() };
        let planned = program(module, way, &unlimited, cx).and_then(Result::ok);
        let arena = |planned: Module| planned.functions.first().map(|f| region_bytes(f).into_values().sum());
        planned.and_then(arena).unwrap_or(bytes)
    }
}

/// What the rest of the pipeline makes of a way; `None` if it doesn't place buffers.
fn program(
    module: &Module,
    way: &Way,
    target: &Target,
    cx: &PassContext<'_>,
) -> Option<Result<Module, Diagnostics>> {
    let mut module = module.clone();
    apply(module.functions.first_mut()?, way).ok()?;
    cx.count("programs made to compare", 1);
    match cx.ahead(module, target) {
        Ok(planned) if planned.stage == Stage::Planned => Some(Ok(planned)),
        Ok(_) => None,
        Err(errors) => Some(Err(errors)),
    }
}

/// The ways of running a canonicalized function that no other beats in both bytes and multiply-accumulates: see
/// [`space::front`]. None if its inputs or outputs can't be handed over as they are to be.
pub fn ways(function: &Function, handing: Handing, watch: &dyn Watch) -> Vec<Way> {
    let mut sizes: Vec<usize> = rematerialize::candidates(function).iter().map(|found| found.bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    // Large ones, those of at least half that size, and all.
    let largest = sizes.last().copied().unwrap_or(0);
    let mut limits: Vec<usize> = [largest, largest / 2, 1]
        .iter()
        .filter_map(|&limit| sizes.iter().copied().find(|&size| size >= limit))
        .collect();
    limits.dedup();
    let plain = macs::of_function(function);
    let mut ways = Vec::new();
    for again_from in std::iter::once(0).chain(limits) {
        if again_from > 0 && watch.is_over() {
            break;
        }
        let mut swept = function.clone();
        if again_from > 0 {
            rematerialize::apply(&mut swept, again_from);
        }
        let added = macs::of_function(&swept) - plain;
        let found = match handing.apply(&mut swept) {
            Ok(_) => space::front(&swept, watch),
            Err(_) => Vec::new(),
        };
        ways.extend(found.into_iter().map(|way| Way {
            again_from,
            added_macs: way.added_macs + added,
            ..way
        }));
    }
    space::prune(ways)
}

/// Lets a function run as a way says; how many operations are repeated for second sweeps.
///
/// # Errors
/// As [`split::split`].
pub fn apply(function: &mut Function, way: &Way) -> Result<usize, Diagnostics> {
    let repeated = if way.again_from > 0 { rematerialize::apply(function, way.again_from) } else { 0 };
    // From the last on, since the numbers of those before stay as they are.
    for strips in way.splits.iter().rev() {
        split::split(function, strips.layers.clone(), [1, strips.columns], strips.halo)?;
    }
    Ok(repeated)
}

fn check_range(function: &Function, range: &Range<usize>) -> Result<(), Diagnostic> {
    let count = split::operations(function).len();
    if range.end <= count {
        return Ok(());
    }
    let message = format!("expected layers within 0..{count}, got {}..{}", range.start, range.end);
    Err(Diagnostic::error(message).category(Category::Usage))
}
