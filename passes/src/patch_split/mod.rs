//! Splits a run of operations into tiles that are computed one after the other.
//!
//! Problem: a window of a few rows of every tensor is still as wide as the images, and where it matters most images are
//! wide. Method: the tensors that leave the run are divided into tiles, for each of which the operations are repeated on just
//! the part of their operands that it needs (MCUNetV2: Lin et al., NeurIPS 2021, section 3.1). What neighbouring tiles both
//! need, the halo, is computed twice. Tiles of full height ("1x3") are the cheapest, since rows still stream through each
//! of them: only columns of the halo are computed again, which StreamNet (Zheng et al., NeurIPS 2023) calls 1D streaming.
//!
//! The rewriting stays within the `nn` dialect ([`split`]), so that everything after it needs to know nothing of tiles; the
//! results are bit-exact by construction ([`tile`]).

pub mod region;
pub mod space;
pub mod split;
pub mod tile;

use crate::analysis::macs;
use crate::cascade::estimate;
use crate::cascade::graph::Graph;
use crate::cascade::stream::{Streaming, receive_inputs};
use crate::pass::{Changed, OptionValue, Pass, PassContext};
use crate::rematerialize;
use mcunet_ir::diag::Category;
use mcunet_ir::{Diagnostic, Diagnostics, Function, Module};
use space::Way;
use std::ops::Range;

/// Smallest ways that are placed if none promises to fit.
const MAX_SMALLEST: usize = 6;

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
    /// The fewest multiply-accumulates in the memory there is.
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
    /// before and after. Before `cascade`, so that rows stream through each tile. Fails if an operation of a given run can't
    /// be made in tiles. By default nothing is split; `layers=search` splits as many runs as it takes for the arena to fit
    /// the target's SRAM, and sweeps twice as `rematerialize` does, in the way that adds the fewest multiply-accumulates; if
    /// it fits anyway nothing changes.
    pub PatchSplit = "patch-split" {
        /// First operation and the one after the last, counted from 0 without constants and reshapes; or `search`.
        layers: Layers = Layers::Given(0..0),
        /// Tiles down and across, of given layers.
        tiles: Tiles = Tiles([1, 1]),
        /// What to search for: the fewest multiply-accumulates that `fit`, or the least `sram`.
        goal: Goal = Goal::Fit,
        /// How `cascade` is going to receive inputs.
        stream_input: Streaming = Streaming::No,
    } requires Imported ensures Imported;
}

impl Pass for PatchSplit {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        let Some(function) = module.functions.first_mut() else { return Ok(Changed::No) };
        let before = macs::of_function(function);
        match &self.layers {
            Layers::Given(range) if range.is_empty() || self.tiles == Tiles([1, 1]) => {
                return Ok(Changed::No);
            }
            Layers::Given(range) => {
                check_range(function, range)?;
                split::split(function, range.clone(), self.tiles.0)?;
                cx.count("tiles", self.tiles.0.iter().product::<usize>() as u64);
            }
            Layers::Search => {
                let Some(way) = self.search(function, cx) else { return Ok(Changed::No) };
                cx.count("operations repeated", apply(function, &way)? as u64);
                cx.count("tiles", way.splits.iter().map(|strips| strips.columns as u64).sum());
            }
        }
        cx.count("macs before", before);
        cx.count("macs after", macs::of_function(function));
        Ok(Changed::Yes)
    }
}

impl PatchSplit {
    /// The way that serves the goal best; `None` if it is the network as it is.
    fn search(&self, function: &Function, cx: &PassContext<'_>) -> Option<Way> {
        let budget = match self.goal {
            Goal::Fit => usize::try_from(cx.target.sram_bytes()?).unwrap_or(usize::MAX),
            Goal::Sram => 0,
        };
        let plain = self.arena_bytes(function, &Way::default(), budget)?;
        if plain <= budget {
            return None;
        }
        let ways = ways(function, self.stream_input);
        // What can't fit even if placed without gaps need not be placed; but the smallest are, if nothing fits.
        let smallest = ways.len().saturating_sub(MAX_SMALLEST);
        let worthwhile =
            ways.iter().enumerate().filter(|(i, way)| way.peak_bytes <= budget || *i >= smallest);
        let mut best: Option<(usize, &Way)> = None;
        for (_, way) in worthwhile.filter(|(_, way)| !way.is_plain()) {
            let Some(bytes) = self.arena_bytes(function, way, budget) else { continue };
            if bytes <= budget {
                return Some(way.clone());
            }
            if best.is_none_or(|(least, _)| bytes < least) {
                best = Some((bytes, way));
            }
        }
        best.filter(|&(bytes, _)| bytes < plain).map(|(_, way)| way.clone())
    }

    /// Bytes of the arena if a function runs in a way, as far as can be told before lowering; `None` if it has cascades
    /// already. `enough` bytes need not be improved.
    fn arena_bytes(&self, function: &Function, way: &Way, enough: usize) -> Option<usize> {
        let mut function = function.clone();
        apply(&mut function, way).ok()?;
        let graph = Graph::of(&received(&function, self.stream_input)?)?;
        Some(estimate::best_cuts(&graph, enough).1)
    }
}

/// The ways of running a canonicalized function that no other beats in both bytes and multiply-accumulates: see
/// [`space::front`]. None if its inputs can't be received as they are to be.
pub fn ways(function: &Function, streaming: Streaming) -> Vec<Way> {
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
        let mut swept = function.clone();
        if again_from > 0 {
            rematerialize::apply(&mut swept, again_from);
        }
        let added = macs::of_function(&swept) - plain;
        let found = received(&swept, streaming).map(|function| space::front(&function)).unwrap_or_default();
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
        split::split(function, strips.layers.clone(), [1, strips.columns])?;
    }
    Ok(repeated)
}

/// The function with its inputs received; `None` if none can be.
fn received(function: &Function, streaming: Streaming) -> Option<Function> {
    let mut function = function.clone();
    if streaming != Streaming::No {
        receive_inputs(&mut function, streaming).ok()?;
    }
    Some(function)
}

fn check_range(function: &Function, range: &Range<usize>) -> Result<(), Diagnostic> {
    let count = split::operations(function).len();
    if range.end <= count {
        return Ok(());
    }
    let message = format!("expected layers within 0..{count}, got {}..{}", range.start, range.end);
    Err(Diagnostic::error(message).category(Category::Usage))
}
