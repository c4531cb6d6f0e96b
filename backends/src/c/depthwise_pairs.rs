//! The function behind `loop.depthwise` for windows of 3 x 3 taps, as assembly: outputs are made in pairs.
//!
//! Three pointers, nine weights, two sums and what was loaded take all registers, which compilers don't manage without
//! reloading weights in the loop. So the function is *naked*, as that of `loop.matmul` is, and serves all layers of a form.
//!
//! Registers: r0 to r2 pixels of the window's rows; r3 to r5 the pairs `w0 w2` of its rows, doubled; r6 their `w1`, two of
//! them; r7 the third, with the pairs that are left to do in bits 8 to 15 and the shift in bits 0 to 7; r8 results; r9 the
//! distance of two; r10 and r11 sums; r12 and lr what was loaded.
//!
//! A word of pixels `x0 x1 x2 x3` is extended to *even* `x0 x2` and *odd* `x1 x3`. Then `y0` is `even . (w0 w2) + x1 * w1`, and
//! `y1` is `odd . (w0 w2) + x2 * w1`. Words begin at even pixels, so that every other one is aligned where rows are.

use super::assembly::Lines;
use super::depthwise::definition;
use mcunet_ir::loops::depthwise::Taps;
use mcunet_passes::cost::depthwise::{Block, Function, TAPS};

/// Arrangement of weights.
const ARRANGEMENT: Taps = Taps { rows: TAPS, columns: TAPS, pitch: 4 };

/// What one function does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pairs(pub Function);

/// What lies on the stack, in bytes from its pointer.
mod frame {
    /// What sums begin with; `ADDEND` and `FACTOR` follow each other.
    pub const BIAS: usize = 0;
    pub const ADDEND: usize = 4;
    pub const FACTOR: usize = 8;
    /// What sums begin with whose last column is outside.
    pub const RIGHT: usize = 12;
    pub const WEIGHTS: usize = 16;
    pub const WEIGHTS_END: usize = 20;
    /// Pairs of outputs, shifted to their place in r7.
    pub const PAIRS: usize = 24;
    /// To the pixels and the results of the next channel.
    pub const NEXT: usize = 28;
    pub const NEXT_OUTPUT: usize = 32;
    /// The value of pixels outside, in both halves.
    pub const PADDING: usize = 36;
    /// Twice the zero point and one.
    pub const ZERO_POINT: usize = 40;
    /// A bit for each row that is missing.
    pub const MISSING: usize = 44;
    /// Limits follow each other.
    pub const LOW: usize = 48;
    pub const HIGH: usize = 52;
    /// The distance of two results.
    pub const STEP: usize = 56;
    pub const BYTES: usize = 64;
    /// Arguments beyond the fourth, above nine saved registers.
    pub const FIRST: usize = BYTES + 36;
    pub const END: usize = FIRST + 4;
}

/// The registers of a row of the window: pixels, `w0 w2`, and `w1` with its half.
const ROWS: [(&str, &str, &str, char); TAPS] =
    [("r0", "r3", "r6", 'b'), ("r1", "r4", "r6", 't'), ("r2", "r5", "r7", 't')];

impl Pairs {
    /// The function's name: what differs between functions.
    pub fn name(&self) -> String {
        let Function { stride, odd, left, left_step, pairs, right, right_at, ends, signed, limited } = self.0;
        let mut name = format!("depthwise_{TAPS}x{TAPS}_stride_{stride}");
        let blocks = [("_left", left), ("_right", right)].map(|(side, block)| {
            let places = block.iter().flatten().map(|&place| format!("_{}", place + 1));
            if block[0].is_some() { side.to_owned() + &places.collect::<String>() } else { String::new() }
        });
        let at = if right_at < 0 { format!("_from_m{}", -right_at) } else { format!("_from_{right_at}") };
        let parts = [
            (odd, "_odd"),
            (true, &blocks[0]),
            (!pairs, &format!("_step_{left_step}")),
            (true, &blocks[1]),
            (right[0].is_some() && right_at != 0, &at),
            (right[0].is_some() && !ends, "_inside"),
            (signed, "_signed"),
            (limited, "_limited"),
        ];
        parts.iter().filter(|part| part.0).for_each(|part| name.push_str(part.1));
        name
    }

    /// The function.
    pub fn text(&self) -> String {
        let Function { stride, odd, left, signed, limited, .. } = self.0;
        let lines = Assembly::of(self.0).lines;
        let before = usize::from(odd || left[0].is_some());
        let first = if before == 1 { ", the first one a pixel before the image" } else { "" };
        let what = format!("Windows of {TAPS} x {TAPS} pixels, {stride} apart{first}.");
        let window = format!("{TAPS}, {TAPS}, 4, {stride}, {before}, {signed}, {limited}");
        definition(&what, &self.name(), &lines, &window)
    }
}

/// Where a block has its pixels.
#[derive(Clone, Copy)]
enum Step {
    /// So far from where pointers are.
    At(isize),
    /// Where pointers are, which go on by so many.
    Advance(usize),
}

impl Step {
    fn of(at: isize, step: usize) -> Self {
        if step == 0 { Step::At(at) } else { Step::Advance(step) }
    }
}

/// Instructions of a function.
struct Assembly {
    function: Function,
    lines: Vec<String>,
}

impl Lines for Assembly {
    fn lines(&mut self) -> &mut Vec<String> {
        &mut self.lines
    }
}

impl Assembly {
    fn of(function: Function) -> Self {
        let mut assembly = Self { function, lines: Vec::new() };
        assembly.prologue();
        assembly.label("2:");
        assembly.start_of_channel();
        assembly.block(function.left, Step::of(0, function.left_step));
        if function.pairs {
            assembly.label("1:");
            assembly.pair();
            assembly.line("bne.w 1b");
        }
        let step = if function.ends && function.right_at == 0 { 4 } else { 0 };
        assembly.block(function.right, Step::of(function.right_at, step));
        assembly.end_of_channel();
        assembly.missing_rows();
        assembly
    }

    /// Computes what is the same for all channels.
    fn prologue(&mut self) {
        let Function { stride, limited, .. } = self.function;
        self.line("push {r4-r11, lr}");
        self.line(format!("sub sp, sp, #{}", frame::BYTES));
        let shape = ["r4", "r5", "r6", "r7", "r9", "r10", "r11"];
        for (number, register) in shape.iter().enumerate() {
            self.line(format!("ldr.w {register}, [r3, #{}]", 4 * number));
        }
        if limited {
            // Behind what is subtracted from pixels, which is in what sums begin with.
            self.line(format!("ldr.w r12, [r3, #{}]", 4 * shape.len() + 4));
            self.line(format!("ldr.w lr, [r3, #{}]", 4 * shape.len() + 8));
            self.save("r12", frame::LOW);
            self.save("lr", frame::HIGH);
        }
        self.save("r9", frame::STEP);
        self.save("r11", frame::ZERO_POINT);
        self.line("pkhbt r10, r10, r10, lsl #16");
        self.save("r10", frame::PADDING);
        self.line(format!("movw r12, #{}", 4 * ARRANGEMENT.record_words()));
        self.line("mla r4, r4, r12, r0");
        self.save("r4", frame::WEIGHTS_END);
        self.line("mls r7, r6, r9, r7");
        self.save("r7", frame::NEXT_OUTPUT);
        // Twice the pairs; how far pixels went, but for what a left block went.
        self.line(format!("sub.w r6, r6, #{}", self.function.singles()));
        self.line(format!("sub.w r5, r5, r6, lsl #{}", stride.ilog2()));
        if self.function.left_step > 0 {
            self.line(format!("sub.w r5, r5, #{}", self.function.left_step));
        }
        self.save("r5", frame::NEXT);
        if self.function.pairs {
            self.line("lsl.w r6, r6, #7");
            self.save("r6", frame::PAIRS);
        }
        // Rows before number `first` or from `end` on.
        self.load("r4", frame::FIRST);
        self.load("r5", frame::END);
        self.line("movs.w r6, #1");
        self.line("lsl.w r4, r6, r4");
        self.line("lsl.w r5, r6, r5");
        self.line("sub.w r4, r5, r4");
        self.line(format!("eor.w r4, r4, #{}", (1 << TAPS) - 1));
        self.save("r4", frame::MISSING);
        self.line("mov.w r8, r2");
        self.line("mov.w r3, r0");
        self.line("ldm.w r1, {r0, r1, r2}");
    }

    /// Extends a channel's weights, and computes what its sums begin and end with.
    fn start_of_channel(&mut self) {
        self.line("ldm.w r3!, {r6, r10, r11, r12, lr}");
        self.save("r3", frame::WEIGHTS);
        self.save("r6", frame::FACTOR);
        // A load right after a store would wait.
        self.line("lsr.w r7, r12, #24");
        self.load("r4", frame::ZERO_POINT);
        if self.function.pairs {
            self.load("r5", frame::PAIRS);
        }
        self.load("r6", frame::MISSING);
        self.line("lsl.w r4, r4, r7");
        self.save("r4", frame::ADDEND);
        if self.function.pairs {
            self.line("orr.w r7, r7, r5");
        }
        // Nothing until the branch changes flags.
        self.line("cmp.w r6, #0");
        for (row, word) in ["r10", "r11", "r12"].iter().enumerate() {
            let pair = ROWS[row].1;
            self.line(format!("sxtb16.w {pair}, {word}"));
            self.line(format!("sxtb16.w {word}, {word}, ror #8"));
        }
        self.line("pkhbt r6, r10, r11, lsl #16");
        // Twice the weight, above what r7 has.
        self.line("orr.w r7, r7, r12, lsl #17");
        for register in ["r3", "r4", "r5", "r6"] {
            self.line(format!("sadd16 {register}, {register}, {register}"));
        }
        self.line("bne.w 5f");
        self.label("4:");
        self.save("lr", frame::BIAS);
        self.borders();
    }

    /// What sums begin with whose windows miss a column: padding times the weights of that.
    fn borders(&mut self) {
        let [left, right] = [-1, 2].map(|place| self.function.misses(place));
        if !left && !right {
            return;
        }
        self.load("r12", frame::PADDING);
        self.line("sadd16 r11, r3, r4");
        self.line("sadd16 r11, r11, r5");
        if right {
            self.line("smlatb r10, r11, r12, lr");
            self.save("r10", frame::RIGHT);
        }
        if left {
            self.line("smlabb r10, r11, r12, lr");
        }
    }

    /// Two outputs, and the flag for the end of the loop.
    fn pair(&mut self) {
        let Function { stride, odd, .. } = self.function;
        let mut sum = "r11";
        for (row, (pixels, pair, single, half)) in ROWS.into_iter().enumerate() {
            match stride {
                1 => {
                    self.line(format!("ldr.w r12, [{pixels}], #2"));
                    self.start_of_sums(row);
                    self.line("sxtb16.w lr, r12, ror #8");
                    self.line("sxtb16.w r12, r12");
                    self.line(format!("smlab{half} r10, lr, {single}, {sum}"));
                    self.line(format!("smlad r11, lr, {pair}, r11"));
                    self.line(format!("smlad r10, r12, {pair}, r10"));
                    self.line(format!("smlat{half} r11, r12, {single}, r11"));
                }
                _ => {
                    self.line(format!("ldr.w r12, [{pixels}], #4"));
                    let load = if odd {
                        format!("ldr.w lr, [{pixels}, #-2]")
                    } else {
                        format!("ldrsb.w lr, [{pixels}]")
                    };
                    self.line(load);
                    self.start_of_sums(row);
                    if odd {
                        self.odd_windows(pair, single, half, sum);
                    } else {
                        self.even_windows(pair, single, half, sum);
                    }
                }
            }
            sum = "r10";
        }
        self.finish_and_count();
    }

    fn start_of_sums(&mut self, row: usize) {
        if row == 0 {
            self.load("r11", frame::BIAS);
        }
    }

    /// Products of the windows that begin at pixels 0 and 2: of a word in r12, and of pixel 4 in lr.
    fn even_windows(&mut self, pair: &str, single: &str, half: char, sum: &str) {
        // If both sums begin with r11, the first of y0 has to come before the first of y1.
        let first = sum == "r11";
        if first {
            self.line("sxtb16.w r10, r12");
            self.line(format!("smlad r10, r10, {pair}, {sum}"));
        }
        self.line(format!("smlabt r11, lr, {pair}, r11"));
        self.line("sxtb16.w lr, r12, ror #8");
        self.line("sxtb16.w r12, r12");
        if !first {
            self.line(format!("smlad r10, r12, {pair}, r10"));
        }
        self.line(format!("smlatb r11, r12, {pair}, r11"));
        self.line(format!("smlab{half} r10, lr, {single}, r10"));
        self.line(format!("smlat{half} r11, lr, {single}, r11"));
    }

    /// Products of the windows that begin at pixels 1 and 3: of words from pixel 0 in r12 and from pixel 2 in lr.
    fn odd_windows(&mut self, pair: &str, single: &str, half: char, sum: &str) {
        self.line("sxtb16.w r12, r12, ror #8");
        self.line(format!("smlad r10, r12, {pair}, {sum}"));
        self.line("sxtb16.w r12, lr");
        self.line("sxtb16.w lr, lr, ror #8");
        self.line(format!("smlab{half} r10, r12, {single}, r10"));
        self.line(format!("smlat{half} r11, r12, {single}, r11"));
        self.line(format!("smlad r11, lr, {pair}, r11"));
    }

    /// The outputs of a block.
    fn block(&mut self, block: Block, step: Step) {
        let places: Vec<isize> = block.into_iter().flatten().collect();
        let sums = &["r10", "r11", "r9"][..places.len()];
        if places.is_empty() {
            return;
        }
        for (row, (pixels, pair, single, half)) in ROWS.into_iter().enumerate() {
            self.line(match step {
                Step::At(at) => format!("ldr.w r12, [{pixels}, #{at}]"),
                Step::Advance(by) => format!("ldr.w r12, [{pixels}], #{by}"),
            });
            if row == 0 {
                // The sum of one that misses its first column has begun.
                for (&place, sum) in places.iter().zip(sums).filter(|(place, _)| **place >= 0) {
                    self.load(sum, if place == 2 { frame::RIGHT } else { frame::BIAS });
                }
            }
            self.line("sxtb16.w lr, r12, ror #8");
            self.line("sxtb16.w r12, r12");
            let (even, odd) = ("r12", "lr");
            // One product of each sum after the other, so that none waits for the one before.
            for number in 0..2 {
                for (&place, sum) in places.iter().zip(sums) {
                    let product = match (place, number) {
                        (-1, 0) => format!("smlabt {sum}, {odd}, {pair}"),
                        (0, 0) => format!("smlad {sum}, {even}, {pair}"),
                        (1, 0) => format!("smlad {sum}, {odd}, {pair}"),
                        (_, 0) => format!("smlatb {sum}, {even}, {pair}"),
                        (-1, _) => format!("smlab{half} {sum}, {even}, {single}"),
                        (0, _) => format!("smlab{half} {sum}, {odd}, {single}"),
                        (1, _) => format!("smlat{half} {sum}, {even}, {single}"),
                        _ => format!("smlat{half} {sum}, {odd}, {single}"),
                    };
                    self.line(format!("{product}, {sum}"));
                }
            }
        }
        self.finish(sums);
    }

    /// Requantizes sums, which leaves r12 and lr free.
    fn requantize(&mut self, sums: &[&str]) {
        self.line(format!("ldrd r12, lr, [sp, #{}]", frame::ADDEND));
        for (number, sum) in sums.iter().enumerate() {
            if self.function.signed {
                if number > 0 {
                    self.load("r12", frame::ADDEND);
                }
                self.line(format!("add.w r12, r12, {sum}, asr #31"));
            }
            self.line(format!("smmlar {sum}, {sum}, lr, r12"));
        }
        for sum in sums {
            self.line(format!("asr.w {sum}, {sum}, r7"));
        }
        for sum in sums {
            self.line(format!("ssat {sum}, #8, {sum}, asr #1"));
        }
        if self.function.limited {
            self.line(format!("ldrd r12, lr, [sp, #{}]", frame::LOW));
            for sum in sums {
                for (condition, limit) in [("lt", "r12"), ("gt", "lr")] {
                    self.line(format!("cmp.w {sum}, {limit}"));
                    self.line(format!("it {condition}"));
                    self.line(format!("mov{condition}.w {sum}, {limit}"));
                }
            }
        }
    }

    /// Requantizes and stores the sums of a block.
    fn finish(&mut self, sums: &[&str]) {
        self.requantize(sums);
        let took_step = sums.contains(&"r9");
        let step = if took_step { "r12" } else { "r9" };
        if took_step {
            self.load(step, frame::STEP);
        }
        for sum in sums {
            self.line(format!("strb.w {sum}, [r8]"));
            self.line(format!("add.w r8, r8, {step}"));
        }
        if took_step {
            self.line(format!("mov.w r9, {step}"));
        }
    }

    /// The same for two, and counts them. An address that has just been computed would make a store wait.
    fn finish_and_count(&mut self) {
        self.requantize(&["r10", "r11"]);
        self.line("strb.w r10, [r8]");
        self.line("add.w r8, r8, r9");
        self.line("sub.w r7, r7, #256");
        self.line("strb.w r11, [r8]");
        self.line("add.w r8, r8, r9");
        self.line("tst.w r7, #0xff00");
    }

    /// Goes to the next channel, or returns.
    fn end_of_channel(&mut self) {
        let Function { ends, right_at, .. } = self.function;
        if !ends {
            self.load("r12", frame::NEXT);
        }
        for (register, at) in
            [("lr", frame::NEXT_OUTPUT), ("r3", frame::WEIGHTS), ("r11", frame::WEIGHTS_END)]
        {
            self.load(register, at);
        }
        for (pixels, ..) in ROWS {
            match (ends, right_at) {
                (false, _) => self.line(format!("add.w {pixels}, {pixels}, r12")),
                (true, 0) => {}
                (true, at) => self.line(format!("add.w {pixels}, {pixels}, #{}", at + 4)),
            }
        }
        self.line("add.w r8, r8, lr");
        self.line("cmp.w r3, r11");
        self.line("bne.w 2b");
        self.line(format!("add sp, sp, #{}", frame::BYTES));
        self.line("pop {r4-r11, pc}");
    }

    /// Lets rows that are missing count as padding: their products go into what sums begin with, in lr, and their weights become zero.
    fn missing_rows(&mut self) {
        self.label("5:");
        self.load("r11", frame::PADDING);
        self.load("r12", frame::MISSING);
        for (row, (_, pair, single, half)) in ROWS.into_iter().enumerate() {
            self.line(format!("tst.w r12, #{}", 1 << row));
            self.line("beq.w 6f");
            self.line(format!("smlad lr, {pair}, r11, lr"));
            self.line(format!("smla{half}b lr, {single}, r11, lr"));
            self.line(format!("mov.w {pair}, #0"));
            self.line(format!("bfc {single}, #{}, #16", if half == 't' { 16 } else { 0 }));
            self.label("6:");
        }
        self.line("b.w 4b");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::c::assembly::tests::{count, literals_are_short};
    use mcunet_ir::loops::ops::Depthwise;

    /// The functions of many shapes of rows.
    fn functions() -> Vec<Function> {
        let mut found = std::collections::BTreeSet::new();
        for width in 4..40 {
            for (stride, before, after) in
                (1..=2).flat_map(|stride| (0..4).map(move |pad| (stride, pad / 2, pad % 2)))
            {
                let outputs = (width + before + after - TAPS) / stride + 1;
                for (signed, limits) in [(false, [-128, 127]), (true, [-100, 100])] {
                    let op = Depthwise {
                        channels: 2,
                        width,
                        columns: TAPS,
                        outputs,
                        stride,
                        before,
                        padding: 0,
                        input_zero_point: 0,
                        pitch: 4,
                        channel_step: 1,
                        pixel_step: 2,
                        signed,
                        zero_point: 0,
                        limits,
                        unroll: false,
                    };
                    found.extend(Function::of(&op, TAPS).map(|(function, _)| function));
                }
            }
        }
        found.into_iter().collect()
    }

    #[test]
    fn the_cost_model_counts_what_is_printed() {
        let functions = functions();
        assert!(functions.len() > 20, "there are many forms, got {}", functions.len());
        for function in functions {
            let parts = function.parts();
            let mut assembly = Assembly { function, lines: Vec::new() };
            let mut instructions = |emit: &mut dyn FnMut(&mut Assembly)| {
                assembly.lines.clear();
                emit(&mut assembly);
                count(&assembly.lines) as f64
            };
            // The last two restore what the function saved.
            let call = instructions(&mut Assembly::prologue) + 2.0;
            assert_eq!(call, parts.call.instructions(), "{function:?}");
            let channel = instructions(&mut |assembly| {
                assembly.start_of_channel();
                assembly.end_of_channel();
            });
            // Without the branch to the next channel.
            assert_eq!(channel - 3.0, parts.channel.instructions(), "{function:?}");
            let left = instructions(&mut |assembly| assembly.block(function.left, Step::At(0)));
            assert_eq!(left, parts.left.instructions(), "{function:?}");
            let right = instructions(&mut |assembly| assembly.block(function.right, Step::At(0)));
            assert_eq!(right, parts.right.instructions(), "{function:?}");
            assert_eq!(instructions(&mut Assembly::pair), parts.pair.instructions(), "{function:?}");
        }
    }

    #[test]
    fn functions_have_names_of_their_own() {
        let functions = functions();
        let names: std::collections::BTreeSet<String> =
            functions.iter().map(|&function| Pairs(function).name()).collect();
        assert_eq!(names.len(), functions.len());
    }

    #[test]
    fn literals_are_as_long_as_compilers_have_to_take() {
        functions().into_iter().for_each(|function| literals_are_short(&Pairs(function).text()));
    }
}
