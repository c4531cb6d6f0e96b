//! What `loop.depthwise` takes where windows are not 3 x 3: the assembly makes a row of a channel in blocks of a few outputs.
//!
//! The rows of the window are walked over for each block, while its sums stay in registers; those that are missing are skipped, and
//! so are pixels outside. A row of the window is made by the same instructions again and again, in a loop, or, where a block
//! itself is repeated, in as many copies as the window has rows, entered at the first that is there.
//!
//! The C back end's `depthwise_blocks.rs` has the instructions around; a test there counts them against [`Parts`].

use super::depthwise_block::{Instruction, Plan, Windows, plan};
use super::mix::Mix;
use mcunet_ir::loops::ops::Depthwise;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Rows of the window at most.
pub const MAX_ROWS: usize = 7;

/// Columns of the window at most.
const MAX_COLUMNS: usize = 7;

/// Outputs that are made together at most.
const MAX_OUTPUTS: usize = 6;

/// Registers that there are for sums, taps and pixels: all but those for the zero point and the taps' address, and the row's where
/// rows are in a loop.
const REGISTERS: usize = 12;

/// One function behind `loop.depthwise`: what differs between functions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Blocks {
    /// Rows of the window.
    pub rows: usize,
    /// Columns of the window.
    pub columns: usize,
    /// Bytes from a row of taps to the next.
    pub pitch: usize,
    /// Pixels between windows.
    pub stride: usize,
    /// Pixels of the first window that are outside.
    pub before: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Results of a row.
    pub outputs: usize,
    /// Whether negative sums are rounded differently.
    pub signed: bool,
    /// Whether results are limited to less than int8.
    pub limited: bool,
    /// Whether there may be copies of code for the rows of the window.
    pub unroll: bool,
}

/// Outputs that are made together, by code that may be repeated for further ones.
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// Outputs.
    pub outputs: usize,
    /// How often its code runs for a channel.
    pub times: usize,
    /// Whether there is a copy of the code for each row of the window.
    pub unrolled: bool,
    /// The code for a row of the window.
    pub plan: Plan,
}

/// What a row of a channel is made by, and the pixel to which addresses of rows point first.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// In order.
    pub blocks: Vec<Block>,
    /// Pixel to which addresses of rows point at the start of a channel.
    pub position: isize,
}

impl Row {
    /// Whether the code of a block is repeated.
    pub fn repeats(&self) -> bool {
        self.blocks.iter().any(|block| block.times > 1)
    }
}

/// Instructions of a function by how often they are executed.
#[derive(Clone, PartialEq, Debug)]
pub struct Parts {
    /// Once a call.
    pub call: Mix,
    /// Once a call for each row of the window that is there.
    pub table: Mix,
    /// Once a channel.
    pub channel: Mix,
    /// Of each block: once, for each row of the window that is there, and the end of its loop over rows.
    pub blocks: Vec<[Mix; 3]>,
}

thread_local! {
    /// Searching blocks takes longer than anything else about them.
    static FOUND: RefCell<HashMap<Blocks, Option<Rc<Row>>>> = RefCell::default();
}

impl Blocks {
    /// The function of an operation whose window has `rows` rows; `None` if there is none.
    pub fn of(op: &Depthwise, rows: usize) -> Option<Self> {
        let Depthwise { columns, pitch, stride, before, width, outputs, .. } = *op;
        let is_of_size = (1..=MAX_ROWS).contains(&rows)
            && (2..=MAX_COLUMNS).contains(&columns)
            && (1..=3).contains(&stride)
            && before < columns
            && (4..=MAX_WIDTH).contains(&width)
            && pitch <= 8;
        // Of the last window, a column has to be inside.
        let ends = outputs > 0 && is_of_size && (outputs - 1).saturating_mul(stride) < width + before;
        let function = Self {
            rows,
            columns,
            pitch,
            stride,
            before,
            width,
            outputs,
            signed: op.signed,
            limited: op.limits != [-128, 127],
            unroll: op.unroll,
        };
        (ends && op.padding == op.input_zero_point && function.row().is_some()).then_some(function)
    }

    /// How a row is made.
    pub fn row(&self) -> Option<Rc<Row>> {
        let key = Self { signed: false, limited: false, ..*self };
        if let Some(found) = FOUND.with(|found| found.borrow().get(&key).cloned()) {
            return found;
        }
        let row = key.search().map(Rc::new);
        FOUND.with(|found| found.borrow_mut().insert(key, row.clone()));
        row
    }

    /// The cheapest of the ways to divide a row into a block at the left, one that is repeated, and one at the right.
    fn search(&self) -> Option<Row> {
        let mut best: Option<(f64, Row)> = None;
        let mut known = HashMap::new();
        for left in 0..=MAX_OUTPUTS.min(self.outputs) {
            for size in 1..=MAX_OUTPUTS.min((self.outputs - left).max(1)) {
                for right in 0..=MAX_OUTPUTS.min(self.outputs - left) {
                    let rest = self.outputs - left - right;
                    if !rest.is_multiple_of(size) || (rest == 0 && size > 1) {
                        continue;
                    }
                    let Some(row) = self.divided(&mut known, left, (size, rest / size), right) else {
                        continue;
                    };
                    let cost: f64 = row.blocks.iter().map(|block| self.cost(block)).sum();
                    if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                        best = Some((cost, row));
                    }
                }
            }
        }
        best.map(|(_, row)| row)
    }

    /// Cycles of a block for a channel, and something for the size of code.
    fn cost(&self, block: &Block) -> f64 {
        let [once, each, end] =
            self.block(block).map(|mix| mix.instructions() + mix.taken + mix.load_runs + mix.unaligned_loads);
        let (rows, copies) = (self.rows as f64, if block.unrolled { self.rows as f64 } else { 1.0 });
        // A branch back is two cycles, and the last one may be mistaken for another.
        let (back, mistaken) = if block.unrolled { (0.0, 0.0) } else { (2.0, 5.0) };
        (once + (each + back) * rows + end + mistaken) * block.times as f64
            + CODE_WORTH * (once + each * copies)
    }

    /// A block of `left` outputs, `times` of `size`, and one of `right`.
    fn divided(
        &self,
        known: &mut HashMap<(Windows, bool), Option<Plan>>,
        left: usize,
        (size, times): (usize, usize),
        right: usize,
    ) -> Option<Row> {
        let start = |output: usize| (output * self.stride) as isize - self.before as isize;
        let advance = size * self.stride;
        let is_repeated = times > 1;
        if is_repeated {
            // All of its windows lie inside, and something comes after that lets addresses go on to the next channel.
            let last = start(left + size * times - 1) + self.columns as isize;
            if start(left) < 0 || last > self.width as isize || right == 0 {
                return None;
            }
        }
        // The cheaper of a loop over rows and copies for them.
        let mut block_of = |windows: &Windows| {
            let mut of = |unrolled: bool| {
                let registers = REGISTERS - usize::from(!unrolled);
                let registers = registers.checked_sub(windows.starts.len())?;
                let found =
                    known.entry((windows.clone(), unrolled)).or_insert_with(|| plan(windows, registers));
                let (outputs, times) = (windows.starts.len(), windows.times);
                Some(Block { outputs, times, unrolled, plan: found.clone()? })
            };
            let ways = [of(false), if self.unroll { of(true) } else { None }];
            ways.into_iter().flatten().min_by(|a, b| self.cost(a).total_cmp(&self.cost(b)))
        };
        let windows = |first: usize, count: usize| Windows {
            starts: (first..first + count).map(start).collect(),
            columns: self.columns,
            width: self.width,
            pitch: self.pitch,
            times: 1,
            advance: 0,
            position: 0,
            step: 0,
        };
        let mut position = 0;
        let mut repeated = None;
        if is_repeated {
            let windows = Windows { times, advance, ..windows(left, size) };
            // Addresses point to its first word. Which one that is does not depend on where they point.
            position = block_of(&windows)?.plan.first;
            repeated = Some(block_of(&Windows { position, ..windows })?);
        }
        let mut blocks = Vec::new();
        let mut push = |blocks: &mut Vec<Block>, first: usize, count: usize, position: isize, step: isize| {
            if count > 0 {
                blocks.push(block_of(&Windows { position, step, ..windows(first, count) })?);
            }
            Some(())
        };
        let width = self.width as isize;
        let middle = if is_repeated { 0 } else { size * times };
        push(&mut blocks, 0, left, position, if middle + right == 0 { width } else { 0 })?;
        push(&mut blocks, left, middle, position, if right == 0 { width } else { 0 })?;
        let went = repeated.as_ref().map_or(0, |_| (advance * times) as isize);
        blocks.extend(repeated);
        push(&mut blocks, left + size * times, right, position + went, width - went)?;
        let row = Row { blocks, position };
        // Branches have to reach their labels, and there are places for as many entries.
        (self.code_bytes_of(&row) < MAX_CODE_BYTES && row.blocks.len() <= MAX_BLOCKS).then_some(row)
    }

    /// One call for so many channels, where so many rows of the window are there.
    pub fn mix(&self, channels: f64, there: f64) -> Option<Mix> {
        let (row, Parts { call, table, channel, blocks }) = (self.row()?, self.parts()?);
        let mut all = channel;
        for (block, [once, each, end]) in row.blocks.iter().zip(&blocks) {
            // The loop over rows, and that over repetitions.
            let (rows, times) = (if block.unrolled { 0.0 } else { 1.0 }, block.times as f64);
            let back = Mix { taken: rows * (there - 1.0).max(0.0), surprises: rows, ..Mix::default() };
            all += (*once + *each * there + *end + back) * times;
            if times > 1.0 {
                all += Mix { taken: times - 1.0, untaken: 1.0, surprises: 1.0, ..Mix::default() };
            }
        }
        let back = |times: f64| Mix { taken: times - 1.0, untaken: 1.0, surprises: 1.0, ..Mix::default() };
        Some(
            call + super::matmul::call()
                + table * there
                + back(there.max(1.0))
                + all * channels
                + back(channels),
        )
    }

    /// Bytes of its code; all of its instructions are wide.
    pub fn code_bytes(&self) -> u64 {
        self.row().map_or(0, |row| self.code_bytes_of(&row))
    }

    fn code_bytes_of(&self, row: &Row) -> u64 {
        let Parts { call, table, channel, blocks } = self.parts_of(row);
        let blocks = row.blocks.iter().zip(&blocks).map(|(block, [once, each, end])| {
            let copies = if block.unrolled { self.rows as f64 } else { 1.0 };
            once.instructions() + each.instructions() * copies + end.instructions()
        });
        let around = [call, table, channel].map(|mix| mix.instructions());
        (4.0 * (blocks.sum::<f64>() + around.iter().sum::<f64>())) as u64
    }

    /// Its instructions.
    pub fn parts(&self) -> Option<Parts> {
        self.row().map(|row| self.parts_of(&row))
    }

    fn parts_of(&self, row: &Row) -> Parts {
        let limited = f64::from(u8::from(self.limited));
        let entries = row.blocks.iter().filter(|block| block.unrolled).count() as f64;
        let [copies, loops, repeated] =
            [entries > 0.0, row.blocks.iter().any(|block| !block.unrolled), row.repeats()]
                .map(|is| f64::from(u8::from(is)));
        let (ways, moved) = (copies + loops, f64::from(u8::from(row.position != 0)));
        let call = Mix {
            saved_words: 18.0,
            alu: 14.0 + copies + 3.0 * entries,
            multiplies: 3.0 + copies + entries,
            lane_ops: 1.0,
            scheduled_flash_loads: 5.0 + 2.0 * limited,
            scheduled_ram_loads: 3.0,
            load_runs: 2.0,
            stack_stores: 9.0 + 2.0 * limited + copies + entries,
            ..Mix::default()
        };
        let table = Mix {
            alu: 1.0 + moved,
            scheduled_ram_loads: 1.0,
            load_runs: 1.0,
            scheduled_stores: 1.0,
            ..Mix::default()
        };
        let channel = Mix {
            alu: 3.0 + ways + repeated,
            scheduled_ram_loads: 6.0 + ways,
            scheduled_flash_loads: 3.0,
            narrow_loads: 1.0,
            load_runs: 2.0,
            scheduled_stores: 6.0 + ways + repeated,
            ..Mix::default()
        };
        let blocks = row.blocks.iter().map(|block| self.block(block)).collect();
        Parts { call, table, channel, blocks }
    }

    /// Instructions of a block: once, for each row of the window, and at the end of the loop over rows.
    fn block(&self, block: &Block) -> [Mix; 3] {
        let [signed, limited, unrolled, repeated] =
            [self.signed, self.limited, block.unrolled, block.times > 1].map(|is| f64::from(u8::from(is)));
        let outputs = block.outputs as f64;
        let once = Mix {
            // Sums begin with zero; steps of the output.
            alu: outputs * (4.0 + signed + 4.0 * limited) + repeated,
            lane_ops: outputs,
            conditions: 2.0 * outputs * limited,
            multiplies: outputs,
            // Where rows begin, or the code for the first of them, and taps; what a result is made with; limits.
            scheduled_ram_loads: 2.0 + 6.0 + repeated + 2.0 * limited,
            load_runs: 2.0 + limited,
            scheduled_stores: outputs + 1.0 + repeated,
            taken: unrolled,
            ..Mix::default()
        };
        let mut each = Mix {
            unaligned_loads: block.plan.unaligned,
            load_runs: block.plan.load_runs(),
            ..Mix::default()
        };
        for instruction in &block.plan.instructions {
            let place = match instruction {
                Instruction::Row { .. } | Instruction::Pixels { .. } => &mut each.scheduled_ram_loads,
                Instruction::Taps { .. } => &mut each.scheduled_flash_loads,
                Instruction::Tap { .. } => {
                    each.narrow_loads += 1.0;
                    &mut each.scheduled_flash_loads
                }
                Instruction::Step { .. } => &mut each.alu,
                Instruction::Save { .. } => &mut each.scheduled_stores,
                Instruction::Extend { .. } | Instruction::Combine { .. } => &mut each.lane_ops,
                Instruction::Multiply { .. } => &mut each.multiplies,
            };
            *place += 1.0;
        }
        // Those that are issued together with a multiplication.
        let paired = block.plan.paired() as f64;
        each.lane_ops -= paired;
        each.alu += paired;
        let end = Mix { untaken: 1.0 - unrolled, ..Mix::default() };
        if !block.unrolled {
            // The end of rows, and taps where no load lets their address go on.
            each.alu += if block.plan.moves_taps() { 1.0 } else { 2.0 };
        }
        [once, each, end]
    }
}

/// Widest rows: distances of pixels are numbers in instructions.
const MAX_WIDTH: usize = 1024;

/// Blocks of a row at most.
pub const MAX_BLOCKS: usize = 3;

/// Bytes of a function at most.
const MAX_CODE_BYTES: u64 = 4000;

/// Cycles of a channel for an instruction more.
const CODE_WORTH: f64 = 0.15;
