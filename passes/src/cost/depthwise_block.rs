//! Products of one row of the window for a few outputs, whose sums stay in registers: which pixels are loaded, how they become
//! pairs, and which registers hold them.
//!
//! A word of pixels `x0 x1 x2 x3` is extended to the pairs `x0 x2` and `x1 x3`; those across two words are combined of halves, and a
//! multiplication may take a pair in either order. Pixels outside of the image are not multiplied: zero points have been
//! subtracted from the others, so that they would be zeros.
//!
//! There are several orders in which to load, extend and multiply, which need different numbers of registers: all are tried, and the
//! cheapest for which registers suffice is taken.

mod planner;

use planner::{Order, Planner};

/// A half of a register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Half {
    /// Bits 0 to 15.
    Low,
    /// Bits 16 to 31.
    High,
}

/// An instruction; registers are numbers of their own, from 0 on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instruction {
    /// Loads the address of the row's pixels.
    Row {
        /// Register.
        to: usize,
        /// Whether this row's was loaded before.
        again: bool,
    },
    /// Loads four taps of the row.
    Taps {
        /// Register.
        to: usize,
        /// The first of them.
        column: usize,
    },
    /// Loads one tap, extended.
    Tap {
        /// Register.
        to: usize,
        /// Which.
        column: usize,
    },
    /// Loads four pixels.
    Pixels {
        /// Register.
        to: usize,
        /// That of the row's address.
        row: usize,
        /// Distance from the address.
        at: isize,
        /// By how much the address then goes on; only where there is no distance.
        advance: usize,
    },
    /// Lets the address go on.
    Step {
        /// Register.
        row: usize,
        /// By how many pixels.
        by: isize,
    },
    /// Stores the address for the next block.
    Save {
        /// Register.
        row: usize,
    },
    /// Extends bytes 0 and 2, or 1 and 3.
    Extend {
        /// Register.
        to: usize,
        /// That of the word.
        of: usize,
        /// Which bytes.
        odd: bool,
        /// Whether they are pixels, whose zero point is subtracted.
        pixels: bool,
    },
    /// Makes a pair of halves: in their order unless they are a high and a low one.
    Combine {
        /// Register.
        to: usize,
        /// Register and half.
        first: (usize, Half),
        /// Register and half.
        second: (usize, Half),
    },
    /// Adds to a sum.
    Multiply {
        /// Number of the sum.
        sum: usize,
        /// Register of pixels.
        pixels: usize,
        /// Register of taps.
        taps: usize,
        /// Which half of each is multiplied; both if `None`.
        halves: Option<(Half, Half)>,
        /// Whether both are, in opposite order.
        crossed: bool,
    },
}

use Instruction::{Combine, Extend, Multiply, Pixels, Row, Save, Step, Tap, Taps};

impl Instruction {
    /// Registers that it reads.
    fn uses(&self) -> [Option<usize>; 2] {
        match *self {
            Row { .. } | Taps { .. } | Tap { .. } => [None; 2],
            Pixels { row, .. } | Step { row, .. } | Save { row } => [Some(row), None],
            Extend { of, .. } => [Some(of), None],
            Combine { first, second, .. } => [Some(first.0), Some(second.0)],
            Multiply { pixels, taps, .. } => [Some(pixels), Some(taps)],
        }
    }

    /// The register that it writes for the first time.
    fn made(&self) -> Option<usize> {
        match *self {
            Row { to, .. } | Taps { to, .. } | Tap { to, .. } | Pixels { to, .. } => Some(to),
            Extend { to, .. } | Combine { to, .. } => Some(to),
            Step { .. } | Save { .. } | Multiply { .. } => None,
        }
    }

    /// Whether it is a load.
    pub fn is_load(&self) -> bool {
        matches!(self, Row { .. } | Taps { .. } | Tap { .. } | Pixels { .. })
    }

    /// The same with other registers; `made` becomes `to`.
    fn renamed(&self, of: &dyn Fn(usize) -> usize, new: usize) -> Self {
        match *self {
            Row { again, .. } => Row { to: new, again },
            Taps { column, .. } => Taps { to: new, column },
            Tap { column, .. } => Tap { to: new, column },
            Pixels { row, at, advance, .. } => Pixels { to: new, row: of(row), at, advance },
            Step { row, by } => Step { row: of(row), by },
            Save { row } => Save { row: of(row) },
            Extend { of: source, odd, pixels, .. } => Extend { to: new, of: of(source), odd, pixels },
            Combine { first, second, .. } => {
                Combine { to: new, first: (of(first.0), first.1), second: (of(second.0), second.1) }
            }
            Multiply { sum, pixels, taps, halves, crossed } => {
                Multiply { sum, pixels: of(pixels), taps: of(taps), halves, crossed }
            }
        }
    }
}

/// What a block is made from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Windows {
    /// Where the outputs' windows begin, in pixels of the row.
    pub starts: Vec<isize>,
    /// Taps of a row.
    pub columns: usize,
    /// Pixels of the row.
    pub width: usize,
    /// From a row of taps to the next.
    pub pitch: usize,
    /// How often the block is repeated, each time `advance` pixels on.
    pub times: usize,
    /// Pixels from a repetition to the next.
    pub advance: usize,
    /// The pixel to which addresses of rows point; where the block is repeated, they point to its first word.
    pub position: isize,
    /// How far they go on after the block, if it is the last.
    pub step: isize,
}

/// The products of a row.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Instructions, in order.
    pub instructions: Vec<Instruction>,
    /// Loads whose address is not a multiple of four, on average.
    pub unaligned: f64,
    /// The first pixel that is loaded.
    pub first: isize,
}

impl Plan {
    /// Loads after which something else follows.
    pub fn load_runs(&self) -> f64 {
        let list = &self.instructions;
        let ends = (0..list.len())
            .filter(|&at| list[at].is_load() && !list.get(at + 1).is_some_and(Instruction::is_load));
        ends.count() as f64
    }

    /// Whether the first load of taps may let their address go on: it begins where they do.
    pub fn moves_taps(&self) -> bool {
        let first = self.instructions.iter().find_map(|instruction| match instruction {
            Taps { column, .. } | Tap { column, .. } => Some(*column),
            _ => None,
        });
        first == Some(0)
    }

    /// Extensions and combinations that a multiplication follows which does not wait for them: some cores issue both at once.
    pub fn paired(&self) -> usize {
        (1..self.instructions.len()).filter(|&at| is_pair(&self.instructions, at)).count()
    }

    /// Cycles on a core that executes one instruction at a time.
    fn cycles(&self) -> f64 {
        let saves = self.instructions.iter().filter(|instruction| matches!(instruction, Save { .. })).count();
        self.instructions.len() as f64 + self.load_runs() + self.unaligned + 0.01 * saves as f64
    }
}

/// The cheapest plan for which so many registers suffice, beside those of sums.
pub fn plan(windows: &Windows, registers: usize) -> Option<Plan> {
    let both = [true, false];
    let mut best: Option<(f64, Order, Plan)> = None;
    for (together, keep) in [(true, true), (false, true), (false, false)] {
        for (run, reload) in [(usize::MAX, false), (2, false), (2, true), (1, false), (1, true)] {
            for (combine, aligned) in both.iter().flat_map(|&combine| both.map(|aligned| (combine, aligned)))
            {
                let order = Order { together, keep, run, reload, combine, aligned, mixed: false };
                let Some(found) = Planner::plan(windows, order, registers) else { continue };
                let cycles = found.cycles();
                if best.as_ref().is_none_or(|(least, ..)| cycles < *least) {
                    best = Some((cycles, order, found));
                }
            }
        }
    }
    let (_, order, found) = best?;
    let mixed = Planner::plan(windows, Order { mixed: true, ..order }, registers);
    let is_better = |mixed: &Plan| mixed.paired() > found.paired();
    Some(mixed.filter(is_better).unwrap_or(found))
}

/// Whether a multiplication stands there after an extension or combination that it does not wait for.
fn is_pair(list: &[Instruction], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return false };
    match (&list[before], &list[at]) {
        (Extend { .. } | Combine { .. }, Multiply { .. }) => !list[at].uses().contains(&list[before].made()),
        _ => false,
    }
}

/// Moves multiplications behind extensions and combinations. Loads stay where they are; sums may be added to in any order.
fn pair(list: &mut Vec<Instruction>) {
    let is_between =
        |instruction: &Instruction| matches!(instruction, Extend { .. } | Combine { .. } | Multiply { .. });
    for at in 0..list.len() {
        if !matches!(list[at], Extend { .. } | Combine { .. })
            || (at + 1 < list.len() && is_pair(list, at + 1))
        {
            continue;
        }
        let is_free =
            |list: &[Instruction], from: usize| matches!(list[from], Multiply { .. }) && !is_pair(list, from);
        // From before, if no register that it reads is written in between.
        let earlier = (0..at).rev().take_while(|&from| is_between(&list[from])).find(|&from| {
            let unchanged = list[from..=at]
                .iter()
                .all(|other| other.made().is_none_or(|made| !list[from].uses().contains(&Some(made))));
            is_free(list, from) && unchanged
        });
        if let Some(from) = earlier {
            let moved = list.remove(from);
            list.insert(at, moved);
            continue;
        }
        // From after, if it waits for nothing in between, whose registers it leaves alone.
        let later = (at + 1..list.len()).take_while(|&from| is_between(&list[from])).find(|&from| {
            let known = list[at..from]
                .iter()
                .all(|other| other.made().is_none_or(|made| !list[from].uses().contains(&Some(made))));
            is_free(list, from) && known
        });
        if let Some(from) = later {
            let moved = list.remove(from);
            list.insert(at + 1, moved);
        }
    }
}

#[cfg(test)]
mod tests;
