//! The function behind `loop.depthwise` for windows that are not 3 x 3, as assembly: a row of a channel is made in blocks of a few
//! outputs.
//!
//! `mcunet_passes::cost::depthwise_blocks` says which blocks, and which instructions make a row of the window; here is what is around
//! them. The rows of the window that are there have a table of addresses, which ends where an address on the stack is a multiple of
//! 32, so that its end needs no register. Addresses in it go on from block to block, and from channel to channel.
//!
//! Registers: r0 the place in the table, r1 taps, r2 minus the zero point of pixels, in both halves; of the others the first are
//! sums, and the rest what was loaded. Where a block has a copy of its code for each row, r0 is one of them: the table is as
//! long as the window, its first rows are missing, and so is what they would run.

use super::assembly::Lines;
use super::depthwise::definition;
use mcunet_ir::loops::depthwise::Taps;
use mcunet_passes::cost::depthwise_block::{Half, Instruction};
use mcunet_passes::cost::depthwise_blocks::{Block, Blocks, Row};
use std::rc::Rc;

/// One function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OfBlocks(pub Blocks);

/// What lies on the stack, in bytes from its pointer, which is a multiple of 32.
mod frame {
    /// The stack's pointer before.
    pub const BEFORE: usize = 0;
    /// Where the table of rows ends.
    pub const TABLE_END: usize = 32;
    /// The first row of the table.
    pub const ROWS: usize = 32;
    /// Taps of that row, for blocks with a loop over rows.
    pub const TAPS: usize = 36;
    /// Where those of the window's first row would be, for blocks with copies, whose rows are the last of the table.
    pub const TAPS_OF_COPIES: usize = 40;
    pub const FACTOR: usize = 44;
    pub const ADDEND: usize = 48;
    pub const SHIFT: usize = 52;
    /// What sums begin with.
    pub const START: usize = 56;
    pub const OUTPUT: usize = 60;
    /// The distance of two results.
    pub const STEP: usize = 64;
    /// Repetitions that are left.
    pub const TIMES: usize = 68;
    /// The record of the next channel, and where records end.
    pub const RECORD: usize = 72;
    pub const RECORDS_END: usize = 76;
    /// From the end of a channel's results to the next channel's.
    pub const NEXT_OUTPUT: usize = 80;
    /// From the next channel's record to the taps, in both ways.
    pub const TAPS_AT: usize = 84;
    pub const TAPS_OF_COPIES_AT: usize = 88;
    /// Twice the zero point and one.
    pub const ZERO_POINT: usize = 92;
    pub const LOW: usize = 96;
    pub const HIGH: usize = 100;
    /// Of each block with copies, the first that is run.
    pub const ENTRIES: usize = 104;
    pub const BYTES: usize = 116;
    /// Arguments beyond the fourth, above nine saved registers, from the pointer before.
    pub const FIRST: usize = 36;
    pub const END: usize = 40;
}

/// Registers of sums, and after them those of taps and pixels; the last only where there is no loop over rows.
const REGISTERS: [&str; 12] = ["r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "r0"];

impl OfBlocks {
    /// The function's name: what differs between functions.
    pub fn name(&self) -> String {
        let Blocks { rows, columns, pitch, stride, before, width, outputs, signed, limited, unroll } = self.0;
        let mut name = format!("depthwise_{rows}x{columns}_stride_{stride}_{width}_to_{outputs}");
        let parts = [
            (before > 0, format!("_before_{before}")),
            (pitch != columns, "_words".to_owned()),
            (!unroll, "_rolled".to_owned()),
            (signed, "_signed".to_owned()),
            (limited, "_limited".to_owned()),
        ];
        parts.iter().filter(|part| part.0).for_each(|part| name.push_str(&part.1));
        name
    }

    /// The function.
    pub fn text(&self) -> String {
        let Blocks { rows, columns, pitch, stride, before, width, outputs, signed, limited, .. } = self.0;
        let Some(assembly) = Assembly::of(self.0) else { return String::new() };
        let made = assembly.blocks_text();
        let what = format!(
            "Windows of {rows} x {columns} pixels, {stride} apart, the first one {before} before the image: of rows of {width} pixels, \
             {outputs} results, {made}."
        );
        let window = format!("{rows}, {columns}, {pitch}, {stride}, {before}, {signed}, {limited}");
        definition(&what, &self.name(), &assembly.whole(), &window)
    }
}

/// Instructions of a function.
struct Assembly {
    of: Blocks,
    row: Rc<Row>,
    lines: Vec<String>,
}

impl Lines for Assembly {
    fn lines(&mut self) -> &mut Vec<String> {
        &mut self.lines
    }
}

impl Assembly {
    fn of(of: Blocks) -> Option<Self> {
        Some(Self { of, row: of.row()?, lines: Vec::new() })
    }

    /// How results are made, in words.
    fn blocks_text(&self) -> String {
        let of = |block: &Block| match block.times {
            1 => block.outputs.to_string(),
            times => format!("{times} times {}", block.outputs),
        };
        self.row.blocks.iter().map(of).collect::<Vec<_>>().join(", ")
    }

    fn whole(mut self) -> Vec<String> {
        self.prologue();
        self.label("2:");
        self.start_of_channel();
        let row = self.row.clone();
        let mut copies = 0;
        for block in &row.blocks {
            self.block(block, copies);
            copies += usize::from(block.unrolled);
        }
        self.end_of_channel();
        self.lines
    }

    fn has(&self, is: impl Fn(&Block) -> bool) -> bool {
        self.row.blocks.iter().any(is)
    }

    fn record_bytes(&self) -> usize {
        let Blocks { rows, columns, pitch, .. } = self.of;
        4 * Taps { rows, columns, pitch }.record_words()
    }

    /// Computes what is the same for all channels, and makes the table of rows.
    fn prologue(&mut self) {
        let Blocks { rows, pitch, outputs, limited, .. } = self.of;
        self.line("push {r4-r11, lr}");
        self.line("mov.w r12, sp");
        self.line(format!("sub.w lr, sp, #{}", frame::BYTES));
        self.line("bic.w lr, lr, #31");
        self.line("mov.w sp, lr");
        self.save("r12", frame::BEFORE);
        self.line(format!("ldr.w r4, [r12, #{}]", frame::FIRST));
        self.line(format!("ldr.w r5, [r12, #{}]", frame::END));
        for (register, number) in [("r6", 0), ("r7", 3), ("r8", 4), ("r9", 5), ("r10", 6)] {
            self.line(format!("ldr.w {register}, [r3, #{}]", 4 * number));
        }
        if limited {
            self.line("ldr.w r11, [r3, #32]");
            self.line("ldr.w lr, [r3, #36]");
            self.save("r11", frame::LOW);
            self.save("lr", frame::HIGH);
        }
        self.save("r2", frame::OUTPUT);
        self.save("r8", frame::STEP);
        self.save("r10", frame::ZERO_POINT);
        self.save("r0", frame::RECORD);
        self.line(format!("movw r12, #{}", self.record_bytes()));
        self.line("mla r6, r6, r12, r0");
        self.save("r6", frame::RECORDS_END);
        self.line(format!("movw r12, #{outputs}"));
        self.line("mls r7, r8, r12, r7");
        self.save("r7", frame::NEXT_OUTPUT);
        self.line("rsb.w r9, r9, #0");
        self.line("pkhbt r2, r9, r9, lsl #16");
        // From the record after to the taps of the first row that is there.
        self.line(format!("movw r12, #{pitch}"));
        self.line("mul r6, r4, r12");
        self.line(format!("sub.w r6, r6, #{}", self.record_bytes() - 4));
        self.save("r6", frame::TAPS_AT);
        self.line("add.w r1, r1, r4, lsl #2");
        self.line("sub.w r5, r5, r4");
        self.line(format!("add.w r0, sp, #{}", frame::TABLE_END));
        self.line("sub.w r0, r0, r5, lsl #2");
        self.save("r0", frame::ROWS);
        if self.has(|block| block.unrolled) {
            // Rows that are missing, of which neither taps are read nor code is run.
            self.line(format!("rsb.w r5, r5, #{rows}"));
            self.line("mls r6, r5, r12, r6");
            self.save("r6", frame::TAPS_OF_COPIES_AT);
            self.entries();
        }
        self.table();
    }

    /// Where the code of blocks with copies is entered.
    fn entries(&mut self) {
        let row = self.row.clone();
        for (number, block) in row.blocks.iter().filter(|block| block.unrolled).enumerate() {
            self.line(format!("adr.w r7, {}f", ENTRY_LABELS[number]));
            self.line(format!("movw r12, #{}", 4 * block.plan.instructions.len()));
            self.line("mla r7, r5, r12, r7");
            // Addresses to jump to are odd.
            self.line("orr.w r7, r7, #1");
            self.save("r7", frame::ENTRIES + 4 * number);
        }
    }

    fn table(&mut self) {
        self.label("1:");
        self.line("ldr.w r4, [r1], #4");
        self.step("r4", self.row.position);
        self.line("str.w r4, [r0], #4");
        self.line("tst.w r0, #31");
        self.line("bne.w 1b");
    }

    /// Lets an address go on.
    fn step(&mut self, register: &str, by: isize) {
        let name = if by < 0 { "subw" } else { "addw" };
        if by != 0 {
            self.line(format!("{name} {register}, {register}, #{}", by.unsigned_abs()));
        }
    }

    /// Finds a channel's taps, and what its sums begin and end with.
    fn start_of_channel(&mut self) {
        let bytes = self.record_bytes();
        let ways = self.ways();
        self.load("r3", frame::RECORD);
        self.load("r7", frame::ZERO_POINT);
        for &(register, at, _) in &ways {
            self.load(register, at);
        }
        self.line(format!("ldr.w r4, [r3], #{bytes}"));
        self.line("ldrb.w r5, [r3, #-5]");
        self.line("ldr.w r6, [r3, #-4]");
        self.save("r3", frame::RECORD);
        for &(register, _, at) in &ways {
            self.line(format!("add.w {register}, {register}, r3"));
            self.save(register, at);
        }
        self.line("lsl.w r7, r7, r5");
        self.save("r7", frame::ADDEND);
        self.save("r4", frame::FACTOR);
        self.save("r5", frame::SHIFT);
        self.save("r6", frame::START);
        if let Some(block) = self.row.clone().blocks.iter().find(|block| block.times > 1) {
            self.line(format!("movw r3, #{}", block.times));
            self.save("r3", frame::TIMES);
        }
    }

    /// Registers, distances and places of taps, in the ways in which blocks read them.
    fn ways(&self) -> Vec<(&'static str, usize, usize)> {
        let ways = [
            ("r8", frame::TAPS_AT, frame::TAPS, false),
            ("r9", frame::TAPS_OF_COPIES_AT, frame::TAPS_OF_COPIES, true),
        ];
        let used = ways.into_iter().filter(|way| self.has(|block| block.unrolled == way.3));
        used.map(|(register, at, place, _)| (register, at, place)).collect()
    }

    /// The outputs of a block; so many before it have copies.
    fn block(&mut self, block: &Block, number: usize) {
        let sums = &REGISTERS[..block.outputs];
        if block.times > 1 {
            self.label("4:");
        }
        if block.unrolled {
            self.load("r0", frame::ENTRIES + 4 * number);
            self.load("r1", frame::TAPS_OF_COPIES);
        } else {
            self.load("r0", frame::ROWS);
            self.load("r1", frame::TAPS);
        }
        for sum in sums {
            self.line(format!("mov.w {sum}, #0"));
        }
        if block.unrolled {
            self.line("bx r0");
            self.label(&format!("{}:", ENTRY_LABELS[number]));
            (0..self.of.rows).for_each(|row| self.products(block, Some(row)));
        } else {
            self.label("3:");
            self.products(block, None);
            self.line("tst.w r0, #31");
            self.line("bne.w 3b");
        }
        self.finish(block);
        if block.times > 1 {
            self.line("bne.w 4b");
        }
    }

    /// The products of a row of the window: of one that is known, or of the next.
    fn products(&mut self, block: &Block, known: Option<usize>) {
        let Blocks { rows, pitch, .. } = self.of;
        let moves = known.is_none() && block.plan.moves_taps();
        let mut moved = false;
        for instruction in &block.plan.instructions {
            let text = self.product(block, instruction, known.map(|row| frame::TABLE_END - 4 * (rows - row)));
            let text = text.unwrap_or_else(|(name, to, column)| {
                let place = match known {
                    Some(row) => format!("[r1, #{}]", row * pitch + column),
                    None if moves && !moved => format!("[r1], #{pitch}"),
                    None if moves => format!("[r1, #{}]", column as isize - pitch as isize),
                    None => format!("[r1, #{column}]"),
                };
                moved = true;
                format!("{name} {to}, {place}")
            });
            self.line(text);
        }
        if known.is_none() && !moves {
            self.line(format!("add.w r1, r1, #{pitch}"));
        }
    }

    /// An instruction, with the place of the row's address on the stack, if it is known; of loads of taps the name, the register and the
    /// column.
    fn product(
        &self,
        block: &Block,
        instruction: &Instruction,
        row_at: Option<usize>,
    ) -> Result<String, (&'static str, &'static str, usize)> {
        let register = |number: usize| REGISTERS[block.outputs + number];
        let row_place = |again: bool| match (row_at, again) {
            (Some(at), _) => format!("[sp, #{at}]"),
            (None, true) => "[r0, #-4]".to_owned(),
            (None, false) => "[r0], #4".to_owned(),
        };
        let rotated = |odd: bool| if odd { ", ror #8" } else { "" };
        Ok(match *instruction {
            Instruction::Row { to, again } => format!("ldr.w {}, {}", register(to), row_place(again)),
            Instruction::Save { row } => format!("str.w {}, {}", register(row), row_place(true)),
            Instruction::Taps { to, column } => return Err(("ldr.w", register(to), column)),
            Instruction::Tap { to, column } => return Err(("ldrsb.w", register(to), column)),
            Instruction::Pixels { to, row, at, advance } => match advance {
                0 => format!("ldr.w {}, [{}, #{at}]", register(to), register(row)),
                _ => format!("ldr.w {}, [{}], #{advance}", register(to), register(row)),
            },
            Instruction::Step { row, by } => {
                let name = if by < 0 { "subw" } else { "addw" };
                format!("{name} {0}, {0}, #{1}", register(row), by.unsigned_abs())
            }
            Instruction::Extend { to, of, odd, pixels: true } => {
                format!("sxtab16 {}, r2, {}{}", register(to), register(of), rotated(odd))
            }
            Instruction::Extend { to, of, odd, pixels: false } => {
                format!("sxtb16.w {}, {}{}", register(to), register(of), rotated(odd))
            }
            Instruction::Combine { to, first, second } => {
                let (a, b) = (register(first.0), register(second.0));
                let to = register(to);
                match (first.1, second.1) {
                    (Half::Low, Half::Low) => format!("pkhbt {to}, {a}, {b}, lsl #16"),
                    (Half::Low, Half::High) => format!("pkhbt {to}, {a}, {b}"),
                    (Half::High, Half::High) => format!("pkhtb {to}, {b}, {a}, asr #16"),
                    (Half::High, Half::Low) => format!("pkhbt {to}, {b}, {a}"),
                }
            }
            Instruction::Multiply { sum, pixels, taps, halves, crossed } => {
                let letter = |half: Half| if half == Half::Low { 'b' } else { 't' };
                let name = match (halves, crossed) {
                    (Some((pixel, tap)), _) => format!("smla{}{}", letter(pixel), letter(tap)),
                    (None, true) => "smladx".to_owned(),
                    (None, false) => "smlad".to_owned(),
                };
                let sum = REGISTERS[sum];
                format!("{name} {sum}, {}, {}, {sum}", register(pixels), register(taps))
            }
        })
    }

    /// Requantizes and stores the sums of a block.
    fn finish(&mut self, block: &Block) {
        let Blocks { signed, limited, .. } = self.of;
        let (sums, rest) = REGISTERS[..11].split_at(block.outputs);
        let free: Vec<&str> = ["r0", "r1"].iter().chain(rest).copied().collect();
        let [start, factor, addend, shift, output, step] =
            [free[0], free[1], free[2], free[3], free[4], free[5]];
        let places = [frame::START, frame::FACTOR, frame::ADDEND, frame::SHIFT, frame::OUTPUT, frame::STEP];
        for (register, at) in free.iter().zip(places) {
            self.load(register, at);
        }
        if block.times > 1 {
            self.load(free[6], frame::TIMES);
        }
        for sum in sums {
            self.line(format!("add.w {sum}, {start}, {sum}, lsl #1"));
        }
        for sum in sums {
            let mut with = addend;
            if signed {
                self.line(format!("add.w {start}, {addend}, {sum}, asr #31"));
                with = start;
            }
            self.line(format!("smmlar {sum}, {sum}, {factor}, {with}"));
        }
        for sum in sums {
            self.line(format!("asr.w {sum}, {sum}, {shift}"));
        }
        let saturate = |sum: &str| format!("ssat {sum}, #8, {sum}, asr #1");
        // An address that has just been computed would make a store wait.
        let early = if limited { sums.len() } else { 1 };
        sums[..early].iter().for_each(|sum| self.line(saturate(sum)));
        if limited {
            self.limit(sums, [factor, addend]);
        }
        for (number, sum) in sums.iter().enumerate() {
            if let Some(next) = sums.get(number + 1).filter(|_| number + 1 >= early) {
                self.line(saturate(next));
            }
            self.line(format!("strb.w {sum}, [{output}]"));
            self.line(format!("add.w {output}, {output}, {step}"));
        }
        if block.times > 1 {
            // Stores don't change flags.
            self.line(format!("subs.w {0}, {0}, #1", free[6]));
            self.save(free[6], frame::TIMES);
        }
        self.save(output, frame::OUTPUT);
    }

    fn limit(&mut self, sums: &[&str], [low, high]: [&str; 2]) {
        self.load(low, frame::LOW);
        self.load(high, frame::HIGH);
        for sum in sums {
            for (condition, limit) in [("lt", low), ("gt", high)] {
                self.line(format!("cmp.w {sum}, {limit}"));
                self.line(format!("it {condition}"));
                self.line(format!("mov{condition}.w {sum}, {limit}"));
            }
        }
    }

    /// Goes to the next channel, or returns.
    fn end_of_channel(&mut self) {
        for (register, at) in [
            ("r0", frame::OUTPUT),
            ("r5", frame::NEXT_OUTPUT),
            ("r3", frame::RECORD),
            ("r4", frame::RECORDS_END),
        ] {
            self.load(register, at);
        }
        self.line("add.w r0, r0, r5");
        self.line("cmp.w r3, r4");
        self.save("r0", frame::OUTPUT);
        self.line("bne.w 2b");
        self.load("r12", frame::BEFORE);
        self.line("mov.w sp, r12");
        self.line("pop {r4-r11, pc}");
    }
}

/// Labels of the code of blocks with copies.
const ENTRY_LABELS: [&str; 3] = ["5", "6", "7"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::c::assembly::tests::{count, literals_are_short};

    /// The functions of many shapes of rows.
    fn functions() -> Vec<Blocks> {
        let mut found = Vec::new();
        for (columns, stride) in [(5, 1), (5, 2), (7, 1), (7, 2), (4, 1), (6, 2), (2_usize, 3)] {
            for (width, unroll) in
                [4, 7, 13, 20, 31].into_iter().flat_map(|width| [(width, false), (width, true)])
            {
                let (before, signed) = (columns / 2, width % 2 == 1);
                let outputs = (width + 2 * before).saturating_sub(columns) / stride + 1;
                let pitch = if unroll { columns } else { columns.next_multiple_of(4) };
                let of = Blocks {
                    rows: columns,
                    columns,
                    pitch,
                    stride,
                    before,
                    width,
                    outputs,
                    signed,
                    limited: !signed,
                    unroll,
                };
                found.extend(of.row().map(|_| of));
            }
        }
        found
    }

    #[test]
    fn the_cost_model_counts_what_is_printed() {
        let functions = functions();
        assert!(functions.len() > 50, "there are many forms, got {}", functions.len());
        for of in functions {
            let parts = of.parts().expect("it has parts");
            let mut assembly = Assembly::of(of).expect("it has instructions");
            let mut instructions = |emit: &mut dyn FnMut(&mut Assembly)| {
                assembly.lines.clear();
                emit(&mut assembly);
                count(&assembly.lines) as f64
            };
            let table = instructions(&mut Assembly::table) - 1.0;
            // The last three restore what the function saved, and a branch belongs to the table.
            let call = instructions(&mut Assembly::prologue) - table - 1.0 + 3.0;
            assert_eq!(call, parts.call.instructions(), "{of:?}");
            assert_eq!(table, parts.table.instructions(), "{of:?}");
            // Without the branch to the next channel.
            let channel = instructions(&mut Assembly::start_of_channel)
                + instructions(&mut Assembly::end_of_channel)
                - 1.0
                - 3.0;
            assert_eq!(channel, parts.channel.instructions(), "{of:?}");
            let row = of.row().expect("it has blocks");
            for (block, [once, each, end]) in row.blocks.iter().zip(&parts.blocks) {
                let all = instructions(&mut |assembly| assembly.block(block, 0));
                let copies = if block.unrolled { of.rows as f64 } else { 1.0 };
                let back = if block.times > 1 { 1.0 } else { 0.0 };
                let expected = once.instructions() + each.instructions() * copies + end.instructions() + back;
                assert_eq!(all, expected, "{of:?}");
            }
            assert!(of.code_bytes() < 4096, "branches reach their labels");
        }
    }

    #[test]
    fn literals_are_as_long_as_compilers_have_to_take() {
        functions().into_iter().for_each(|of| literals_are_short(&OfBlocks(of).text()));
    }
}
