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
pub mod split;
pub mod tile;

use crate::analysis::macs;
use crate::pass::{Changed, OptionValue, Pass, PassContext};
use mcunet_ir::diag::Category;
use mcunet_ir::{Diagnostic, Diagnostics, Function, Module};
use std::ops::Range;

/// Which operations are split.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layers(pub Range<usize>);

impl OptionValue for Layers {
    fn description() -> String {
        "a range such as 0..12".to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        let (first, end) = text.split_once("..")?;
        Some(Self(first.parse().ok()?..end.parse().ok()?))
    }
    fn print(&self) -> String {
        format!("{}..{}", self.0.start, self.0.end)
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

crate::declare_pass! {
    /// Computes a run of operations tile by tile.
    ///
    /// What leaves the run is divided into tiles, and every operation is repeated for each of them on the part of the image
    /// that the tile needs. That takes less memory, since only a tile's part of the tensors inside exists at a time, and more
    /// time, since neighbouring tiles need some of the same values: `--stats` tells how many multiply-accumulates there are
    /// before and after. Before `cascade`, so that rows stream through each tile. Fails if an operation of the run can't be
    /// made in tiles. By default nothing is split.
    pub PatchSplit = "patch-split" {
        /// First operation and the one after the last, counted from 0 without constants and reshapes.
        layers: Layers = Layers(0..0),
        /// Tiles down and across.
        tiles: Tiles = Tiles([1, 1]),
    } requires Imported ensures Imported;
}

impl Pass for PatchSplit {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        if self.layers.0.is_empty() || self.tiles == Tiles([1, 1]) {
            return Ok(Changed::No);
        }
        let Some(function) = module.functions.first_mut() else { return Ok(Changed::No) };
        check_range(function, &self.layers.0)?;
        cx.count("macs before", macs::of_function(function));
        split::split(function, self.layers.0.clone(), self.tiles.0)?;
        cx.count("macs after", macs::of_function(function));
        cx.count("tiles", self.tiles.0.iter().product::<usize>() as u64);
        Ok(Changed::Yes)
    }
}

fn check_range(function: &Function, range: &Range<usize>) -> Result<(), Diagnostic> {
    let count = split::operations(function).len();
    if range.end <= count {
        return Ok(());
    }
    let message = format!("expected layers within 0..{count}, got {}..{}", range.start, range.end);
    Err(Diagnostic::error(message).category(Category::Usage))
}
