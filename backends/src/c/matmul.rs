//! The function behind `loop.matmul`: assembly where the DSP extension is, plain C elsewhere.
//!
//! Compilers spill when eight accumulators live in a loop, part loads that would follow each other, and mix encodings, which
//! takes a third more cycles on a Cortex-M4. So the function is *naked*: it saves what it uses, and asks nothing of
//! the compiler's registers, options or version. One function serves all layers of a form, whatever their size: it enters a
//! loop of many pairs in the middle.
//!
//! Registers: r0 inputs, r1 weights, r2, r3, r12 and lr what was loaded, r4 to r11 sums, two pixels of a row side by side; for one pixel r8
//! and r9 are loaded, too, and r10 is what int8 inputs are extended and added to: the zero point, negated, twice. r0 and
//! r1 point to the last pair of the loop's body, so that offsets are small and the last loads move them on.
//!
//! Where the parts of a group's data lie is said in `mcunet_ir::loops::matmul`. Loads follow each other (on the M4 each but the
//! first then takes one cycle), those that the M7 takes at once being neighbours; all instructions are 32 bits wide and aligned.

use super::assembly::{Lines, statements};
use mcunet_ir::loops::matmul::{GROUP, UNROLL, bias_words, words_of_group};
use mcunet_ir::loops::ops::Matmul;
use mcunet_passes::cost::matmul::{Function, UNROLLED_REST};
use std::fmt::Write;

/// The functions behind `loop.matmul` in C, for all forms.
pub const IN_C: &str = "/* Products of packed weights and inputs, from sums to results: a group of rows after the other. `shape` has the bytes of
 * the groups, the pairs of a row, the distance of two pixels or rows of the output, the zero point of results
 * twice and one, the zero point of inputs if they were not widened, and limits of results, if there are. */
#if !HAS_NAKED
static void matmul_rows(const int32_t *weights, const int8_t *inputs, const int16_t *widened, int8_t *output,
                        const int32_t *shape, int32_t rows, int32_t pixels, bool is_signed, bool rows_adjoin,
                        bool has_short_biases, bool has_limits)
{
    const int32_t pairs = shape[1];
    const int32_t words = (rows + 1) / 2;
    const int32_t row_step = rows_adjoin ? 1 : shape[2];
    const int32_t pixel_step = rows_adjoin ? shape[2] : 1;
    const uint32_t negated = inputs == NULL ? 0u : (uint32_t)(uint16_t)-shape[4] * 0x10001u;
    const int32_t *const limits = shape + (inputs == NULL ? 4 : 5);
    const int32_t *const end = weights + shape[0] / 4;
    while (weights != end) {
        const int32_t *const products = weights + (has_short_biases ? words : rows);
        const int32_t *const constants = products + pairs * words;
        for (int32_t pixel = 0; pixel < pixels; pixel++) {
            int32_t sums[4];
            for (int32_t row = 0; row < rows; row++) {
                const int32_t both = weights[has_short_biases ? row / 2 : row];
                sums[row] = has_short_biases ? (row % 2 == 1 ? (both >> 16) * 256 : (int32_t)(int16_t)both) : both;
                if (has_short_biases && row % 2 == 1) {
                    sums[row] += sums[row - 1];
                }
            }
            for (int32_t pair = 0; pair < pairs; pair++) {
                const uint32_t input = inputs == NULL ? load_i16x2(&widened[2 * (pair * pixels + pixel)])
                                                      : add_lanes(sign_extend_lanes(load_i8x4(&inputs[pair / 2 * 4]) >> (pair % 2 * 8)), negated);
                for (int32_t row = 0; row < rows; row += 2) {
                    const uint32_t both = (uint32_t)products[pair * words + row / 2];
                    const bool two = row + 1 < rows;
                    if (two) {
                        sums[row + 1] = dual_mac(both, input, sums[row + 1]);
                    }
                    sums[row] = dual_mac(two ? sign_extend_lanes(both) : both, input, sums[row]);
                }
            }
            for (int32_t row = 0; row < rows; row++) {
                const bool high = row % 2 == 1;
                const int32_t value = high ? sub_wrap(sums[row], sums[row - 1]) >> 7 : sums[row];
                const int32_t sign = is_signed ? value >> 31 : 0;
                const int32_t shift = (constants[rows] >> (8 * row)) & 31;
                const int32_t offset = (int32_t)((uint32_t)shape[3] << shift);
                const int32_t addend = add_wrap(offset, add_wrap(high ? 0 : value, sign));
                const int32_t scaled = mul_add_high(value, constants[row], addend) >> shift >> 1;
                const int32_t result = saturate_8(scaled);
                const int32_t limited = has_limits ? min_i32(max_i32(result, limits[0]), limits[1]) : result;
                output[row * row_step + pixel * pixel_step] = (int8_t)limited;
            }
        }
        weights = constants + rows + 1;
        output += rows * row_step;
    }
}
#endif
";

/// What one function does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Form(Function);

impl Form {
    /// The forms of the functions that an operation calls: for groups of four rows, and for what is left.
    pub fn of(op: &Matmul, narrow: bool) -> impl Iterator<Item = Form> {
        Function::of(op, narrow).map(|(function, _)| Form(function))
    }

    /// Rows of a group.
    pub fn rows(&self) -> usize {
        self.0.rows
    }

    /// The function's name.
    pub fn name(&self) -> String {
        let Function { rows, pixels, together, rows_adjoin, signed, limited, .. } = self.0;
        let Function { narrow, short_bias, unrolled, pipelined, .. } = self.0;
        let mut name = format!("matmul_{rows}x{pixels}");
        let parts = [
            (narrow, "_narrow"),
            (together == 2 && !narrow, "_even"),
            (signed, "_signed"),
            (limited, "_limited"),
            (!rows_adjoin, "_planar"),
            (short_bias, "_short"),
            (pipelined, "_ahead"),
        ];
        parts.iter().filter(|part| part.0).for_each(|part| name.push_str(part.1));
        let usual = if rows == GROUP { UNROLL } else { UNROLLED_REST };
        if unrolled != usual {
            let _ = write!(name, "_by_{unrolled}");
        }
        name
    }

    /// The function.
    pub fn text(&self) -> String {
        let Function { rows, pixels, rows_adjoin, signed, limited, narrow, short_bias, .. } = self.0;
        let layout = if rows_adjoin { "channels" } else { "pixels" };
        let element = if narrow { "int8_t" } else { "int16_t" };
        let (name, asm) = (self.name(), statements(&Assembly::of(self).lines));
        let [inputs, widened] = match narrow {
            true => ["inputs", "NULL"],
            false => ["NULL", "inputs"],
        };
        format!(
            "/* {rows} channels at a time, {pixels} pixels; neighbouring {layout} are neighbours in memory. */\n\
             #if HAS_NAKED\n\
             NAKED static void {name}(const int32_t *weights UNUSED, const {element} *inputs UNUSED, \
             int8_t *output UNUSED, const int32_t *shape UNUSED)\n{{\n{asm}}}\n\
             #else\n\
             static void {name}(const int32_t *weights, const {element} *inputs, int8_t *output, const int32_t *shape)\n{{\n    \
             matmul_rows(weights, {inputs}, {widened}, output, shape, {rows}, {pixels}, {signed}, {rows_adjoin}, {short_bias}, {limited});\n}}\n\
             #endif\n\n"
        )
    }
}

/// Instructions of a function, in the parts that a string literal may be long.
struct Assembly {
    form: Function,
    lines: Vec<String>,
}

/// What lies on the stack, in bytes from its pointer.
mod frame {
    pub const INPUTS: usize = 0;
    pub const NEXT: usize = 4;
    pub const ENTRY: usize = 8;
    pub const INPUTS_END: usize = 12;
    pub const OUTPUT: usize = 16;
    /// The second pixel's place, or the distance of two rows.
    pub const OTHER: usize = 20;
    pub const WEIGHTS_END: usize = 24;
    /// Twice the zero point and one.
    pub const ZERO_POINT: usize = 28;
    pub const LOW: usize = 32;
    pub const HIGH: usize = 36;
    /// Inputs of the first pair.
    pub const FIRST: usize = 40;
    pub const BYTES: usize = 48;
}

impl Lines for Assembly {
    fn lines(&mut self) -> &mut Vec<String> {
        &mut self.lines
    }
}

impl Assembly {
    fn of(form: &Form) -> Self {
        let mut assembly = Self { form: form.0, lines: Vec::new() };
        assembly.prologue();
        assembly.start_of_group();
        assembly.products();
        assembly.end_of_group();
        assembly
    }

    /// Words of weights for each pair.
    fn words(&self) -> usize {
        words_of_group(self.form.rows)
    }

    /// From the first pair of the body to its last, in bytes of inputs and of weights.
    fn spans(&self) -> [usize; 2] {
        let last = self.form.unrolled - self.form.together;
        [last * self.input_bytes(), last * 4 * self.words()]
    }

    /// Bytes of inputs for each pair of columns.
    fn input_bytes(&self) -> usize {
        if self.form.narrow { 2 } else { 4 * self.form.pixels }
    }

    /// The register of the sum of a row and a pixel.
    fn sum(&self, row: usize, pixel: usize) -> String {
        format!("r{}", 4 + row * self.form.pixels + pixel)
    }

    fn sums(&self, row: usize) -> Vec<String> {
        (0..self.form.pixels).map(|pixel| self.sum(row, pixel)).collect()
    }

    /// Whether the last row has halfwords of its own.
    fn is_alone(&self, row: usize) -> bool {
        row + 1 == self.form.rows && row.is_multiple_of(2)
    }

    /// Computes what lies on the stack.
    fn prologue(&mut self) {
        let Function { rows, pixels, together, rows_adjoin, limited, pipelined, .. } = self.form;
        let [inputs, weights] = self.spans();
        // A pipelined loop has a pair less, and points to the one after it.
        let ahead = usize::from(pipelined);
        let (head, tail) = (4 * bias_words(rows, self.form.short_bias), self.constant_bytes());
        self.line("push {r4-r11, lr}");
        self.line(format!("sub sp, sp, #{}", frame::BYTES));
        // Bytes of the groups, pairs of a row, the distance of pixels or rows, and what zero points become.
        for (register, at) in [("r4", 0), ("r5", 4), ("r6", 8), ("r7", 12)] {
            self.line(format!("ldr {register}, [r3, #{at}]"));
        }
        if limited {
            let [low, high] = if self.form.narrow { [20, 24] } else { [16, 20] };
            self.line(format!("ldr r8, [r3, #{low}]"));
            self.line(format!("ldr r9, [r3, #{high}]"));
            self.line(format!("str r8, [sp, #{}]", frame::LOW));
            self.line(format!("str r9, [sp, #{}]", frame::HIGH));
        }
        if self.form.narrow {
            self.line("ldr r10, [r3, #16]");
            self.line("rsb r10, r10, #0");
            self.line("pkhbt r10, r10, r10, lsl #16");
        }
        self.line(format!("str r7, [sp, #{}]", frame::ZERO_POINT));
        self.line(format!("str r2, [sp, #{}]", frame::OUTPUT));
        if pixels == 2 && rows_adjoin {
            self.line("add r6, r2, r6");
        }
        self.line(format!("str r6, [sp, #{}]", frame::OTHER));
        self.line("add r4, r0, r4");
        self.line(format!("add r4, r4, #{weights}"));
        self.line(format!("sub r4, r4, #{tail}"));
        self.line(format!("str r4, [sp, #{}]", frame::WEIGHTS_END));
        // Pairs of the body that the first round leaves out.
        self.line(format!("rsb r4, r5, #{ahead}"));
        self.line(format!("and r4, r4, #{}", self.form.unrolled - 1));
        let scale = |bytes: usize| bytes.ilog2();
        let per_pair = self.input_bytes();
        self.line(format!("add r6, r1, r5, lsl #{}", scale(per_pair)));
        self.line(format!("add r6, r6, #{inputs}"));
        self.line(format!("str r6, [sp, #{}]", frame::INPUTS_END));
        if pipelined {
            self.line(format!("str r1, [sp, #{}]", frame::FIRST));
        }
        self.line(format!("sub r1, r1, r4, lsl #{}", scale(per_pair)));
        self.line(format!("add r1, r1, #{}", inputs + ahead * per_pair));
        self.line(format!("str r1, [sp, #{}]", frame::INPUTS));
        self.line(format!("lsl r6, r4, #{}", scale(4 * self.words())));
        self.line(format!("rsb r6, r6, #{}", head + tail + ahead * 4 * self.words()));
        self.line(format!("str r6, [sp, #{}]", frame::NEXT));
        if together == 2 {
            self.line("lsr r4, r4, #1");
        }
        self.line(format!("movw r6, #{}", 4 * self.round().len()));
        self.line("mul r4, r4, r6");
        self.line("adr.w r6, 3f");
        self.line("add r4, r4, r6");
        self.line("orr r4, r4, #1");
        self.line(format!("str r4, [sp, #{}]", frame::ENTRY));
        // As if a group had ended before the first.
        self.line(format!("add r1, r0, #{weights}"));
        self.line(format!("sub r1, r1, #{tail}"));
    }

    /// Loads what sums begin with, and enters the loop.
    fn start_of_group(&mut self) {
        let Function { rows, pixels, short_bias, pipelined, .. } = self.form;
        self.label("2:");
        let after = self.after_weights() + self.constant_bytes() as isize;
        let (load, bytes) = if short_bias { ("ldrsh.w", 2) } else { ("ldr.w", 4) };
        for row in 0..rows {
            let at = after + (bytes * row) as isize;
            self.line(format!("{load} {}, [r1, #{at}]", self.sum(row, 0)));
        }
        // The second word of weights is loaded in the loop, whose first round leaves its register alone.
        let [next, entry] = if pipelined { ["lr", "lr"] } else { ["r2", "r3"] };
        if pipelined {
            self.line(format!("ldr.w r0, [sp, #{}]", frame::FIRST));
            self.line(format!("ldr.w r12, [r1, #{}]", after + 4 * bias_words(rows, short_bias) as isize));
            self.line("ldr.w r2, [r0]");
            self.line("ldr.w r3, [r0, #4]");
        }
        self.line(format!("ldr.w r0, [sp, #{}]", frame::INPUTS));
        self.line(format!("ldr.w {next}, [sp, #{}]", frame::NEXT));
        if !pipelined {
            self.line(format!("ldr.w {entry}, [sp, #{}]", frame::ENTRY));
        }
        for row in (1..rows).step_by(2).filter(|_| short_bias) {
            let (low, high) = (self.sum(row - 1, 0), self.sum(row, 0));
            self.line(format!("add.w {high}, {low}, {high}, lsl #8"));
        }
        for row in (0..rows).filter(|_| pixels == 2) {
            self.line(format!("mov.w {}, {}", self.sum(row, 1), self.sum(row, 0)));
        }
        self.line(format!("add.w r1, r1, {next}"));
        if pipelined {
            self.line(format!("ldr.w {entry}, [sp, #{}]", frame::ENTRY));
        }
        self.line(format!("bx {entry}"));
    }

    /// Bytes of what follows a group's weights: a factor for each row, and shifts.
    fn constant_bytes(&self) -> usize {
        4 * self.form.rows + 4
    }

    /// From where r1 points after the loop to the end of the weights.
    fn after_weights(&self) -> isize {
        -(self.spans()[1] as isize)
    }

    /// Registers of the inputs and of the weights that are loaded together.
    fn loaded(&self) -> [Vec<&'static str>; 2] {
        let Function { pixels, together, narrow, .. } = self.form;
        let inputs = ["r2", "r3"][..if narrow { 1 } else { pixels * together }].to_vec();
        let weights = ["r12", "lr", "r8", "r9"][..self.words() * together].to_vec();
        [inputs, weights]
    }

    /// Instructions of one round but the last, as macros of `\\k`, the distance from the last in pairs.
    fn round(&self) -> Vec<String> {
        if self.form.pipelined {
            return self.pipelined_round(|register, base, at| {
                Some(format!("ldr.w {register}, [{base}, #(\\\\k*8+{at})]"))
            });
        }
        let [inputs, weights] = self.loaded();
        let load = |register: &str, base: &str, bytes: usize, at: usize| {
            format!("ldr.w {register}, [{base}, #(\\\\k*{bytes}+{})]", 4 * at)
        };
        let [of_input, of_weight] = [self.input_bytes(), 4 * self.words()];
        let of_inputs = inputs.iter().enumerate().map(|(at, register)| load(register, "r0", of_input, at));
        let of_weights = weights.iter().enumerate().map(|(at, register)| load(register, "r1", of_weight, at));
        let mut lines = alternating(of_inputs.collect(), of_weights.collect());
        lines.extend(self.multiplications());
        lines
    }

    /// Instructions of the last round: its loads move the pointers on.
    fn last_round(&self) -> Vec<String> {
        if self.form.pipelined {
            let bytes = 8 * self.form.unrolled as isize;
            return self.pipelined_round(|register, base, at| {
                Some(match (register, at) {
                    // The second inputs follow the first, which moved their pointer on.
                    ("r3", _) => format!("ldr.w r3, [{base}, #{}]", at - bytes),
                    (_, 0) => format!("ldr.w {register}, [{base}], #{bytes}"),
                    _ => format!("ldr.w {register}, [{base}, #{at}]"),
                })
            });
        }
        let [inputs, weights] = self.loaded();
        let load = |registers: &[&str], base: &str, per_pair: usize| -> Vec<String> {
            let bytes = self.form.unrolled * per_pair;
            let moving = format!("ldr.w {}, [{base}], #{bytes}", registers[0]);
            let others = registers.iter().enumerate().skip(1);
            let others = others.map(|(at, register)| {
                format!("ldr.w {register}, [{base}, #{}]", 4 * at as isize - bytes as isize)
            });
            std::iter::once(moving).chain(others).collect()
        };
        let mut lines =
            alternating(load(&inputs, "r0", self.input_bytes()), load(&weights, "r1", 4 * self.words()));
        lines.extend(self.multiplications());
        lines
    }

    /// A round of a pipelined loop, which a Cortex-M7 takes 8 cycles for: with each product it issues one of the others, of
    /// which nothing waits for the one before it. `load` gives the load of a register from so many bytes after a pointer,
    /// which is at the next pair.
    fn pipelined_round(&self, load: impl Fn(&str, &str, isize) -> Option<String>) -> Vec<String> {
        let mac = |row: usize, pixel: usize| {
            let sum = self.sum(row, pixel);
            Some(format!("smlad {sum}, {}, {}, {sum}", ["r12", "lr"][row / 2], ["r2", "r3"][pixel]))
        };
        let extend = |register: &str| Some(format!("sxtb16.w {register}, {register}"));
        let lines = [
            mac(1, 0),
            load("lr", "r1", -4),
            mac(1, 1),
            extend("r12"),
            mac(3, 0),
            mac(3, 1),
            extend("lr"),
            mac(0, 0),
            mac(0, 1),
            load("r12", "r1", 0),
            mac(2, 0),
            load("r2", "r0", 0),
            mac(2, 1),
            load("r3", "r0", 4),
        ];
        lines.into_iter().flatten().collect()
    }

    /// The last round of a pipelined loop, behind it: nothing but the second word of weights is left to load.
    fn round_behind(&self) -> Vec<String> {
        let back = 8 * self.form.unrolled as isize;
        self.pipelined_round(|register, base, at| {
            (register == "lr").then(|| format!("ldr.w lr, [{base}, #{}]", at + 8 - back))
        })
    }

    /// Products of what a round has loaded. Between an extension and what waits for it are other products.
    fn multiplications(&self) -> Vec<String> {
        let Function { rows, pixels, together, narrow, .. } = self.form;
        let [_, weights] = self.loaded();
        let (inputs, words) = (["r2", "r3"], self.words());
        let mut lines = Vec::new();
        if narrow {
            lines.extend(["sxtab16.w r3, r10, r2, ror #8", "sxtab16.w r2, r10, r2"].map(str::to_owned));
        }
        for pair in 0..together {
            let mac = |row: usize, pixel: usize| {
                let (sum, weight) = (self.sum(row, pixel), weights[pair * words + row / 2]);
                format!("smlad {sum}, {weight}, {}, {sum}", inputs[pair * pixels + pixel])
            };
            let pixels = 0..pixels;
            for word in 0..words {
                let row = if self.is_alone(2 * word) { 2 * word } else { 2 * word + 1 };
                lines.extend(pixels.clone().map(|pixel| mac(row, pixel)));
                if row % 2 == 1 {
                    let weight = weights[pair * words + word];
                    lines.push(format!("sxtb16.w {weight}, {weight}"));
                }
            }
            let low = (0..rows).filter(|&row| row % 2 == 0 && !self.is_alone(row));
            lines.extend(
                low.flat_map(|row| pixels.clone().map(move |pixel| (row, pixel))).map(|(r, p)| mac(r, p)),
            );
        }
        lines
    }

    fn products(&mut self) {
        self.label("3:");
        let together = self.form.together;
        let rounds: Vec<String> =
            (1..self.form.unrolled / together).rev().map(|round| format!("-{}", round * together)).collect();
        self.line(format!(".irp k, {}", rounds.join(", ")));
        let round = self.round();
        self.lines.extend(round);
        self.line(".endr");
        let last = self.last_round();
        self.lines.extend(last);
        let free = if self.form.pipelined { "lr" } else { "r2" };
        self.line(format!("ldr.w {free}, [sp, #{}]", frame::INPUTS_END));
        self.line(format!("cmp.w r0, {free}"));
        self.line("bne.w 3b");
        if self.form.pipelined {
            let behind = self.round_behind();
            self.lines.extend(behind);
        }
    }

    /// Requantizes and stores. Twice the zero point and one is in r3, the shift less 1 in the low byte of r12; registers of sums that
    /// were stored take the rest.
    fn end_of_group(&mut self) {
        let Function { rows, pixels, rows_adjoin, .. } = self.form;
        let has_other = pixels == 2 || !rows_adjoin;
        self.line(format!("ldr.w r0, [sp, #{}]", frame::OUTPUT));
        self.load_factor(0);
        self.line(format!("ldr.w r3, [sp, #{}]", frame::ZERO_POINT));
        self.line(format!("ldr.w r12, [r1, #{}]", self.after_weights() + 4 * rows as isize));
        for row in 0..rows {
            self.scale(row);
            if row == 0 && has_other {
                self.line(format!("ldr.w lr, [sp, #{}]", frame::OTHER));
            }
            match row + 1 {
                next if next == rows => self.line(format!("ldr.w r2, [sp, #{}]", frame::WEIGHTS_END)),
                1 => {
                    self.load_factor(1);
                    self.line(format!("ldr.w r3, [sp, #{}]", frame::ZERO_POINT));
                }
                2 => (2..rows).for_each(|row| self.load_factor(row)),
                _ => {}
            }
            let sums = self.sums(row);
            if rows_adjoin {
                for (sum, place) in sums.iter().zip(["r0", "lr"]) {
                    self.line(format!("strb.w {sum}, [{place}], #1"));
                }
            } else {
                for (pixel, sum) in sums.iter().enumerate() {
                    self.line(format!("strb.w {sum}, [r0, #{pixel}]"));
                }
                self.line("add.w r0, r0, lr");
            }
        }
        self.line(format!("str.w r0, [sp, #{}]", frame::OUTPUT));
        if pixels == 2 && rows_adjoin {
            self.line(format!("str.w lr, [sp, #{}]", frame::OTHER));
        }
        self.line("cmp.w r1, r2");
        self.line("bne.w 2b");
        self.line(format!("add sp, sp, #{}", frame::BYTES));
        self.line("pop {r4-r11, pc}");
    }

    /// The register of a row's multiplier.
    fn factor(&self, row: usize) -> &'static str {
        // The last one is loaded with the one before it.
        match (row, self.form.pixels) {
            (3, 1) => "r9",
            (3, _) => "r5",
            _ => "r2",
        }
    }

    /// The register of what is added to a row's sums; that of the first is needed once only.
    fn addend(row: usize) -> &'static str {
        if row == 0 { "r3" } else { "r4" }
    }

    /// A register for what is added to one sum.
    fn own_addend(&self, row: usize) -> &'static str {
        match (row, self.form.pixels) {
            (0, _) => "lr",
            (_, 1) => "r8",
            (1, _) => "r5",
            _ => "r6",
        }
    }

    fn load_factor(&mut self, row: usize) {
        let (register, at) = (self.factor(row), self.after_weights() + 4 * row as isize);
        self.line(format!("ldr.w {register}, [r1, #{at}]"));
    }

    /// From the sums of a row to its results.
    fn scale(&mut self, row: usize) {
        let signed = self.form.signed;
        let sums = self.sums(row);
        if row > 0 {
            self.line("lsr.w r12, r12, #8");
        }
        let (factor, common, free) = (self.factor(row), Self::addend(row), self.own_addend(row));
        self.line(format!("lsl.w {common}, r3, r12"));
        if row % 2 == 1 {
            // 256 times the sum of the high row, as twice it.
            for sum in &sums {
                self.line(format!("asr.w {sum}, {sum}, #7"));
            }
        } else if row + 1 < self.form.rows {
            for (high, low) in self.sums(row + 1).iter().zip(&sums) {
                self.line(format!("sub.w {high}, {high}, {low}"));
            }
        }
        for sum in &sums {
            match (row % 2 == 1, signed) {
                (false, true) => {
                    self.line(format!("add.w {free}, {sum}, {sum}, asr #31"));
                    self.line(format!("add.w {free}, {free}, {common}"));
                }
                (false, false) => self.line(format!("add.w {free}, {sum}, {common}")),
                (true, true) => self.line(format!("add.w {free}, {common}, {sum}, asr #31")),
                (true, false) => {}
            }
            let addend = if row % 2 == 1 && !signed { common } else { free };
            self.line(format!("smmlar {sum}, {sum}, {factor}, {addend}"));
        }
        for sum in &sums {
            self.line(format!("asr.w {sum}, {sum}, r12"));
        }
        for sum in &sums {
            self.line(format!("ssat {sum}, #8, {sum}, asr #1"));
        }
        if self.form.limited {
            self.line(format!("ldr.w r2, [sp, #{}]", frame::LOW));
            self.line(format!("ldr.w {common}, [sp, #{}]", frame::HIGH));
            for sum in &sums {
                for (condition, limit) in [("lt", "r2"), ("gt", common)] {
                    self.line(format!("cmp.w {sum}, {limit}"));
                    self.line(format!("it {condition}"));
                    self.line(format!("mov{condition}.w {sum}, {limit}"));
                }
            }
        }
    }
}

/// One of each in turn, as long as both have one.
fn alternating(first: Vec<String>, second: Vec<String>) -> Vec<String> {
    let (mut lines, mut first, mut second) = (Vec::new(), first.into_iter(), second.into_iter());
    loop {
        match (first.next(), second.next()) {
            (None, None) => return lines,
            (a, b) => lines.extend(a.into_iter().chain(b)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::c::assembly::tests::{count, literals_are_short};
    use mcunet_passes::cost::matmul::Parts;

    fn forms() -> impl Iterator<Item = Function> {
        (0..4 * 3 * 8).map(|number| {
            let [rows_adjoin, signed, limited] = [1, 2, 4].map(|bit| (number / 12) & bit != 0);
            let (rows, kind) = (1 + number % 4, number / 4 % 3);
            let (pixels, together) = [(1, 1), (1, 2), (2, 1)][kind];
            Function {
                rows,
                pixels,
                together,
                rows_adjoin,
                signed,
                limited,
                narrow: false,
                short_bias: false,
                unrolled: UNROLL,
                pipelined: false,
            }
        })
    }

    #[test]
    fn the_cost_model_counts_what_is_printed() {
        let narrow = forms().filter(|form| form.together == 2).map(|form| Function { narrow: true, ..form });
        let ahead = forms().filter(|form| form.rows == GROUP && form.pixels == 2);
        let ahead = ahead.map(|form| Function { pipelined: true, ..form });
        let short = forms().map(|form| Function { short_bias: true, ..form });
        let small = forms().map(|form| Function { unrolled: UNROLLED_REST, ..form });
        for form in forms().chain(short).chain(narrow).chain(ahead).chain(small) {
            let (parts, whole) = (form.parts(), Assembly::of(&Form(form)));
            let mut assembly = Assembly { form, lines: Vec::new() };
            let round = count(&assembly.round());
            assembly.prologue();
            // The last two restore what it saved.
            let call = count(&assembly.lines) + 2;
            assembly.lines.clear();
            assembly.start_of_group();
            assembly.end_of_group();
            // Two branches, and what belongs to the call.
            let group = count(&assembly.lines) - 2 - 2;
            let behind = if form.pipelined { count(&assembly.round_behind()) } else { 0 };
            let rest = count(&whole.lines) - call - group - 2 - 2 * round - behind;
            let found = [call, group, round, behind, rest];
            // The comparison, the load before it, and the branch.
            let Parts { call, group, round, body, last } = parts;
            let expected = [call, group, round, last, body].map(|mix| mix.instructions());
            assert_eq!(
                found.map(|count| count as f64),
                [expected[0], expected[1], expected[2], expected[3], expected[4] + 1.0],
                "{form:?}"
            );
        }
    }

    #[test]
    fn literals_are_as_long_as_compilers_have_to_take() {
        forms().for_each(|form| literals_are_short(&Form(form).text()));
    }
}
