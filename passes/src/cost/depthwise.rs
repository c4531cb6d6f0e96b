//! What `loop.depthwise` takes where it is written by hand: here, for windows of 3 x 3 taps.
//!
//! The C back end's `depthwise.rs` has the instructions; a test there counts them against [`Parts`]. Other windows are in
//! [`super::depthwise_blocks`].

use super::depthwise_blocks::Blocks;
use super::mix::Mix;
use mcunet_ir::loops::ops::Depthwise;

/// Rows and columns of the window.
pub const TAPS: usize = 3;

/// Outputs that a block makes at most.
pub const BLOCK: usize = 3;

/// Outputs that are made from one word of four pixels: where their windows begin in it. The first column of one at -1 is
/// outside of the image, the last column of one at 2.
pub type Block = [Option<isize>; BLOCK];

/// One function behind `loop.depthwise`. It makes the outputs of a row from the left to the right: those of a block at the left
/// border, pairs of outputs in a loop, and those of a block at the right border.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Function {
    /// Pixels between windows, 1 or 2.
    pub stride: usize,
    /// Whether windows of the loop begin at odd pixels.
    pub odd: bool,
    /// The block of the row's first four pixels.
    pub left: Block,
    /// From those to where the loop, or the right block, goes on.
    pub left_step: usize,
    /// Whether there are pairs.
    pub pairs: bool,
    /// The block of the last four pixels.
    pub right: Block,
    /// Where those begin, from where the loop would go on.
    pub right_at: isize,
    /// Whether those end the row.
    pub ends: bool,
    /// Whether negative sums are rounded differently.
    pub signed: bool,
    /// Whether results are limited to less than int8.
    pub limited: bool,
}

/// The assembly behind an operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Form {
    /// For windows of 3 x 3 taps.
    Pairs(Function),
    /// For others.
    Blocks(Blocks),
}

impl Form {
    /// The form of an operation whose window has `rows` rows; `None` if it is not written in assembly.
    pub fn of(op: &Depthwise, rows: usize) -> Option<Self> {
        let pairs = Function::of(op, rows).map(|(function, _)| Form::Pairs(function));
        pairs.or_else(|| Blocks::of(op, rows).map(Form::Blocks))
    }

    /// Bytes of its code.
    pub fn code_bytes(&self) -> u64 {
        match self {
            Form::Pairs(function) => function.code_bytes(),
            Form::Blocks(blocks) => blocks.code_bytes(),
        }
    }
}

/// Instructions of a function by how often they are executed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Parts {
    /// Once a call.
    pub call: Mix,
    /// Once a channel, all but what follows.
    pub channel: Mix,
    /// The left block, once a channel.
    pub left: Mix,
    /// Two outputs.
    pub pair: Mix,
    /// The right block, once a channel.
    pub right: Mix,
}

impl Function {
    /// The function of an operation whose window has `rows` rows, and how many pairs of outputs it makes; `None` if there is
    /// none.
    pub fn of(op: &Depthwise, rows: usize) -> Option<(Self, usize)> {
        let Depthwise { width, columns, outputs, stride, before, .. } = *op;
        // Weights have the zero point, in rows of words.
        let is_packed_so = op.input_zero_point == 0 && op.pitch == 4;
        if !is_packed_so
            || [rows, columns] != [TAPS; 2]
            || !matches!(stride, 1 | 2)
            || before > 1
            || width < 4
        {
            return None;
        }
        let left: &[isize] = match (before, stride) {
            (0, _) => &[],
            (_, 1) => &[-1, 0, 1],
            _ => &[-1],
        };
        let left = &left[..left.len().min(outputs)];
        let rest = outputs - left.len();
        let window = |number: usize| (left.len() + number) * stride - before;
        let pairs = match stride {
            // The last outputs are made together with one that misses a column.
            1 => rest.saturating_sub(rest % 2 + if window(rest) > width - TAPS + 1 { 2 } else { 0 }) / 2,
            // Of pixels 0 to 4, or 0 to 5 if windows begin at odd ones.
            _ => (rest / 2).min((width - 1 - before) / 4),
        };
        if pairs > MAX_PAIRS {
            return None;
        }
        let right = rest - 2 * pairs;
        let four = window(2 * pairs).min(width - 4);
        let places: Vec<isize> =
            (2 * pairs..rest).map(|number| window(number) as isize - four as isize).collect();
        // Of the last window, one column may be outside.
        let fits = |&place: &isize| place < 2 || (place == 2 && four + 4 == width);
        if right > BLOCK || !places.iter().all(fits) {
            return None;
        }
        // Without a loop, the right block is where the left one went.
        let left_step = match (left.is_empty(), pairs, stride) {
            (true, ..) => 0,
            (false, 0, _) => four,
            (false, _, 1) => 2,
            (false, ..) => 0,
        };
        let went_on = left_step + 2 * pairs * stride;
        Some((
            Self {
                stride,
                odd: stride == 2 && before == 1,
                left: block(left),
                left_step,
                pairs: pairs > 0,
                right: block(&places),
                right_at: if right == 0 { 0 } else { four as isize - went_on as isize },
                ends: right > 0 && four + 4 == width,
                signed: op.signed,
                limited: op.limits != [-128, 127],
            },
            pairs,
        ))
    }

    /// Outputs that are not made in pairs.
    pub fn singles(&self) -> usize {
        self.left.iter().chain(&self.right).flatten().count()
    }
}

/// Pairs of outputs that a counter of eight bits counts.
const MAX_PAIRS: usize = 255;

fn block(places: &[isize]) -> Block {
    std::array::from_fn(|number| places.get(number).copied())
}

impl Function {
    /// Bytes of its code; all of its instructions are wide.
    pub fn code_bytes(&self) -> u64 {
        let Parts { call, channel, left, pair, right } = self.parts();
        (4.0 * [call, channel, left, pair, right].map(|mix| mix.instructions()).iter().sum::<f64>()) as u64
    }

    /// Its instructions.
    pub fn parts(&self) -> Parts {
        let [limited, went_on, ends, goes_on, counted] =
            [self.limited, self.left_step > 0, self.ends, self.ends && self.right_at == 0, self.pairs]
                .map(|is| f64::from(u8::from(is)));
        let call = Mix {
            saved_words: 18.0,
            alu: 12.0 + went_on + counted,
            multiplies: 2.0,
            scheduled_flash_loads: 7.0 + 2.0 * limited,
            scheduled_ram_loads: 2.0,
            load_runs: 2.0,
            flash_pairs: 1.0,
            further_words: 1.0,
            stack_stores: 8.0 + 2.0 * limited + counted,
            ..Mix::default()
        };
        let [first, last] = [self.misses(-1), self.misses(2)].map(|is| f64::from(u8::from(is)));
        let outside = first.max(last);
        let channel = Mix {
            alu: 4.0 + counted + 5.0 - 3.0 * goes_on,
            lane_ops: 11.0 + 2.0 * outside,
            multiplies: first + last,
            flash_pairs: 1.0,
            further_words: 3.0,
            scheduled_ram_loads: 2.0 + counted + outside + 4.0 - ends,
            load_runs: 1.0 + outside + 1.0,
            stack_stores: 4.0 + last,
            untaken: 1.0,
            ..Mix::default()
        };
        let [left, right] = [self.left, self.right]
            .map(|block| self.block(block.iter().flatten().count(), block[0] == Some(-1)));
        Parts { call, channel, left, pair: self.pair(), right }
    }

    /// Whether a window that begins there, within a block, is among those of the function.
    pub fn misses(&self, place: isize) -> bool {
        self.left.iter().chain(&self.right).any(|&found| found == Some(place))
    }

    /// A block of so many outputs, of which the first may miss its first column.
    fn block(&self, outputs: usize, misses: bool) -> Mix {
        if outputs == 0 {
            return Mix::default();
        }
        let is_full = if outputs == BLOCK { 1.0 } else { 0.0 };
        let outputs = outputs as f64;
        let products = Mix {
            lane_ops: 6.0,
            multiplies: 6.0 * outputs,
            // What the sum of one that misses its first column begins with is in its register.
            scheduled_ram_loads: 3.0 + outputs - f64::from(u8::from(misses)),
            load_runs: 3.0,
            ..Mix::default()
        };
        // The distance of results, whose register a third output takes.
        let step = Mix { alu: is_full, scheduled_ram_loads: is_full, load_runs: is_full, ..Mix::default() };
        products + self.finish(outputs) + step
    }

    /// Two outputs of the loop, without the branch.
    fn pair(&self) -> Mix {
        let (loads, extensions, multiplies) = match (self.stride, self.odd) {
            (1, _) => (3.0, 6.0, 12.0),
            (_, false) => (6.0, 7.0, 15.0),
            (_, true) => (6.0, 9.0, 12.0),
        };
        let products = Mix {
            // What counts, too.
            alu: 2.0,
            lane_ops: extensions,
            multiplies,
            narrow_loads: if self.stride == 2 && !self.odd { 3.0 } else { 0.0 },
            scheduled_ram_loads: loads + 1.0,
            load_runs: 3.0,
            ..Mix::default()
        };
        products + self.finish(2.0)
    }

    /// From so many sums to stored results.
    fn finish(&self, outputs: f64) -> Mix {
        let [signed, limited] = [self.signed, self.limited].map(|is| f64::from(u8::from(is)));
        let reloaded = signed * (outputs - 1.0);
        Mix {
            alu: outputs * (2.0 + signed + 4.0 * limited),
            lane_ops: outputs,
            conditions: 2.0 * outputs * limited,
            multiplies: outputs,
            ram_pairs: 1.0 + limited,
            scheduled_ram_loads: reloaded,
            load_runs: reloaded,
            scheduled_stores: outputs,
            ..Mix::default()
        }
    }
}

/// One execution of `loop.depthwise` with windows of `rows` rows, of which so many are there on average.
pub fn row(op: &Depthwise, rows: usize, there: f64) -> Mix {
    let Some((function, pairs)) = Function::of(op, rows) else {
        let blocks = Blocks::of(op, rows).and_then(|blocks| blocks.mix(op.channels as f64, there));
        return blocks.unwrap_or_else(|| plain(op, rows));
    };
    let parts = function.parts();
    let (pairs, channels) = (pairs as f64, op.channels as f64);
    let looped = f64::from(u8::from(function.pairs));
    let ends = Mix { taken: pairs - looped, untaken: looped, surprises: looped, ..Mix::default() };
    let loop_loads = Mix { unaligned_loads: TAPS as f64 * unaligned(&function, op.width), ..Mix::default() };
    let channel = parts.channel + parts.left + (parts.pair + loop_loads) * pairs + parts.right + ends;
    let next = Mix { taken: channels - 1.0, untaken: 1.0, surprises: 1.0, ..Mix::default() };
    parts.call + super::matmul::call() + channel * channels + next
}

/// The same by the function in C: what a tap takes, and what an output takes.
fn plain(op: &Depthwise, rows: usize) -> Mix {
    let tap = Mix {
        alu: 8.0,
        multiplies: 1.0,
        ram_loads: 1.0,
        flash_loads: 1.0,
        taken: 1.0,
        untaken: 4.0,
        ..Mix::default()
    };
    let output = Mix { alu: 14.0, multiplies: 2.0, ram_stores: 1.0, taken: 1.0, ..Mix::default() };
    let outputs = (op.outputs * op.channels) as f64;
    (tap * (rows * op.columns) as f64 + output) * outputs
}

/// How many of the loads of a row of the window, for a pair, are not aligned: of words at even pixels of the rows of channels,
/// which begin where the row before ends.
fn unaligned(function: &Function, width: usize) -> f64 {
    let (at_even, at_odd) = match width % 4 {
        0 => (0.0, 1.0),
        2 => (0.5, 0.5),
        _ => (0.75, 0.75),
    };
    match (function.stride, function.odd) {
        // Every other word is two pixels on.
        (1, _) => (at_even + at_odd) / 2.0,
        (_, false) => at_even,
        (_, true) => at_even + at_odd,
    }
}
