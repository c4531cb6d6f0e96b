//! What `loop.widen` and `loop.matmul` take: their code is written by hand, so that it is known exactly.
//!
//! The C back end's `matmul.rs` has the instructions; a test there counts them against [`Parts`].

use super::mix::Mix;
use mcunet_ir::loops::matmul::{GROUP, pairs_of_run, words_of_group};
use mcunet_ir::loops::ops::{Matmul, Widen};

/// One function behind `loop.matmul`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Function {
    /// Rows of a group.
    pub rows: usize,
    /// Pixels, 1 or 2.
    pub pixels: usize,
    /// Pairs that are loaded together.
    pub together: usize,
    /// Whether neighbouring rows are neighbours in the output.
    pub rows_adjoin: bool,
    /// Whether negative sums are rounded differently.
    pub signed: bool,
    /// Whether results are limited to less than int8.
    pub limited: bool,
    /// Whether inputs are int8 and extended as they are read.
    pub narrow: bool,
    /// Whether biases have 16 bits.
    pub short_bias: bool,
    /// Pairs of the body of its loop.
    pub unrolled: usize,
    /// Whether a round loads what the next one multiplies: software pipelining, which leaves the last round behind the loop.
    pub pipelined: bool,
}

/// Instructions of a function by how often they are executed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Parts {
    /// Once a call.
    pub call: Mix,
    /// Once a group.
    pub group: Mix,
    /// Once for the pairs that are loaded together.
    pub round: Mix,
    /// At the end of the loop's body, without the branch.
    pub body: Mix,
    /// Behind the loop, once a group.
    pub last: Mix,
}

/// Pairs of the body of the loop that takes what is left of rows, at most: it runs once where the loop of fours runs often.
pub const UNROLLED_REST: usize = 4;

impl Function {
    /// The functions that an operation calls, and for how many groups: of four rows, and of what is left.
    pub fn of(op: &Matmul, narrow: bool) -> impl Iterator<Item = (Self, usize)> {
        let function = Self {
            rows: GROUP,
            pixels: op.pixels,
            together: if op.pixels == 1 && op.pairs.is_multiple_of(2) { 2 } else { 1 },
            rows_adjoin: op.row_step == 1,
            signed: op.signed,
            limited: op.limits != [-128, 127],
            narrow,
            short_bias: op.short_bias,
            unrolled: op.unroll,
            pipelined: op.dual_issue && op.pixels == 2,
        };
        let (groups, left) = (op.rows / GROUP, op.rows % GROUP);
        let whole = (groups > 0).then_some((function, groups));
        let rest = Self { rows: left, unrolled: op.unroll.min(UNROLLED_REST), pipelined: false, ..function };
        whole.into_iter().chain((left > 0).then_some((rest, 1)))
    }

    /// Bytes of its code.
    pub fn code_bytes(&self) -> u64 {
        let Parts { call, group, round, body, last } = self.parts();
        let rounds = (self.unrolled / self.together) as f64;
        let instructions = [call, group, body, last].map(|mix| mix.instructions()).iter().sum::<f64>();
        // All of them are wide.
        ((instructions + round.instructions() * rounds) * 4.0) as u64
    }

    /// Its instructions.
    pub fn parts(&self) -> Parts {
        let [rows, pixels, together] = [self.rows, self.pixels, self.together].map(|size| size as f64);
        let words = words_of_group(self.rows) as f64;
        let [signed, limited, narrow, short] =
            [self.signed, self.limited, self.narrow, self.short_bias].map(|is| f64::from(u8::from(is)));
        let [two_pixels, adjoin] = [self.pixels == 2, self.rows_adjoin].map(|is| f64::from(u8::from(is)));
        let shared = (self.rows / 2) as f64;
        let call = Mix {
            saved_words: 18.0,
            alu: 20.0 + two_pixels * adjoin + (together - 1.0) + narrow,
            lane_ops: narrow,
            scheduled_flash_loads: 4.0 + 2.0 * limited + narrow,
            load_runs: 1.0,
            stack_stores: 8.0 + 2.0 * limited,
            ..Mix::default()
        };
        // Rows by themselves and low ones add themselves, signs are added to all.
        let low = rows - shared;
        let sums = shared * 2.0 * pixels + signed * rows * pixels + low * pixels + 2.0 * rows * pixels;
        let has_other = if self.pixels == 2 || !self.rows_adjoin { 1.0 } else { 0.0 };
        // Of the word of shifts the next, and the zero point that is shifted by it.
        let shifts = 2.0 * rows - 1.0;
        let group = Mix {
            alu: rows * (pixels - 1.0)
                + 1.0
                + shifts
                + sums
                + short * shared
                + 4.0 * limited * rows * pixels
                + 1.0
                + (1.0 - adjoin) * rows,
            conditions: 2.0 * limited * rows * pixels,
            multiplies: rows * pixels,
            scheduled_flash_loads: 2.0 * rows + 1.0,
            // The zero point is loaded again once, and kept then.
            scheduled_ram_loads: 5.0 + rows.min(2.0) + has_other + 2.0 * limited * rows,
            // The last two factors are loaded together.
            load_runs: 2.0 + rows.min(3.0) + limited * rows,
            narrow_loads: short * rows,
            ram_stores: rows * pixels,
            stack_stores: 1.0 + two_pixels * adjoin,
            ..Mix::default()
        };
        let round = Mix {
            multiplies: rows * pixels * together,
            alu: shared * together + if self.narrow { 2.0 } else { 0.0 },
            scheduled_ram_loads: if self.narrow { 1.0 } else { pixels * together },
            scheduled_flash_loads: words * together,
            load_runs: 1.0,
            ..Mix::default()
        };
        let body = Mix { alu: 1.0, scheduled_ram_loads: 1.0, load_runs: 1.0, ..Mix::default() };
        if !self.pipelined {
            return Parts { call, group, round, body, last: Mix::default() };
        }
        // Nothing in a round waits, and all but products is issued together with one.
        let paired = Mix {
            multiplies: round.multiplies,
            paired: round.alu,
            paired_ram_loads: round.scheduled_ram_loads,
            paired_flash_loads: round.scheduled_flash_loads,
            ..Mix::default()
        };
        // What the first round multiplies is loaded before, but for the second word of weights.
        let ahead =
            Mix { scheduled_ram_loads: pixels + 1.0, scheduled_flash_loads: words - 1.0, ..Mix::default() };
        let last = Mix { paired_ram_loads: 0.0, paired_flash_loads: words - 1.0, ..paired };
        let call = Mix { stack_stores: call.stack_stores + 1.0, ..call };
        Parts { call, group: group + ahead, round: paired, body, last }
    }
}

/// One execution of `loop.matmul`, of int8 inputs if `narrow`.
pub fn matmul(op: &Matmul, narrow: bool) -> Mix {
    let mut all = Mix::default();
    for (function, groups) in Function::of(op, narrow) {
        let parts = function.parts();
        let groups = groups as f64;
        let looped = op.pairs - usize::from(function.pipelined);
        let rounds = (looped / function.together) as f64;
        let bodies = looped.div_ceil(function.unrolled) as f64;
        // The entry into the loop, its ends, and the end of the group.
        let branches = Mix {
            taken: 1.0 + (bodies - 1.0),
            untaken: 1.0,
            surprises: if bodies > 1.0 { 1.0 } else { 0.0 },
            ..Mix::default()
        };
        let group = parts.group + parts.round * rounds + parts.body * bodies + parts.last + branches;
        let ends = Mix { taken: groups - 1.0, untaken: 1.0, surprises: 1.0, ..Mix::default() };
        all += parts.call + call() + group * groups + ends;
    }
    all
}

/// The arguments of a function, there and back.
pub fn call() -> Mix {
    Mix { alu: 6.0, taken: 2.0, ..Mix::default() }
}

/// Elements from which on a run that is no multiple of eight calls the function that widens instead of having a copy.
const CALLED_FROM: usize = 32;

/// How the emitted C widens a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Widening {
    /// Parts of the run may lie outside.
    Part,
    /// All of it is there, and the code is, too.
    Copied,
    /// All of it is there; what widens it is a function that others call as well.
    Called,
}

impl Widening {
    /// Of a run of which all elements are there if it `is_whole`, and of so many, if that is known.
    pub fn of(is_whole: bool, step: usize, count: Option<usize>) -> Self {
        let is_short = count.is_some_and(|count| count.is_multiple_of(8) || count < CALLED_FROM);
        match is_whole {
            false => Widening::Part,
            true if is_short || step > 2 => Widening::Copied,
            true => Widening::Called,
        }
    }

    /// Code of it: a loop for eight elements, and what is left; the tests of each four; or a call.
    pub fn code(self, op: &Widen) -> Mix {
        Mix::alu(match self {
            Widening::Part => 60.0,
            Widening::Copied if op.count.is_multiple_of(8) => 16.0,
            Widening::Copied => 28.0,
            Widening::Called => 6.0,
        })
    }
}

/// One execution of `loop.widen`.
pub fn widen(op: &Widen, widening: Widening) -> Mix {
    let fours = (op.count / 4) as f64;
    let rest = (op.count % 4) as f64;
    if widening == Widening::Part {
        // Each four are tested. About half of them lie outside.
        let fours = pairs_of_run(op.count).div_ceil(2) as f64;
        return Mix { alu: 8.0, ..Mix::default() }
            + Mix { alu: 5.0, ram_loads: 0.7, ram_stores: 2.0, untaken: 2.0, taken: 1.3, ..Mix::default() }
                * fours;
    }
    let eights = if op.step <= 2 { (op.count / 8) as f64 } else { 0.0 };
    let loops = Mix { taken: eights, untaken: 1.0, alu: eights, ..Mix::default() };
    let eight = Mix {
        alu: 4.0,
        scheduled_ram_loads: 2.0,
        load_runs: 1.0,
        ram_stores: 0.0,
        scheduled_stores: 4.0,
        ..Mix::default()
    };
    let four = Mix { alu: 3.0, ram_loads: 1.0, ram_stores: 2.0, untaken: 1.0, ..Mix::default() };
    let single = Mix { alu: 1.0, ram_loads: 1.0, narrow_loads: 1.0, ram_stores: 1.0, ..Mix::default() };
    let called = match widening {
        // It is there for any number of elements: what is left is looked for.
        Widening::Called => call() + Mix { alu: 4.0, untaken: 2.0, taken: 2.0, ..Mix::default() },
        _ => Mix::default(),
    };
    called + Mix::alu(4.0) + loops + eight * eights + four * (fours - 2.0 * eights) + single * rest
}
