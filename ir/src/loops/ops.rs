//! THE `loop` table. What the arithmetic ops compute is in `eval.rs` beside this file.
//!
//! Offsets count elements of the memory they index, as i32. Integer arithmetic marked `wrap` is modulo 2^n; without it
//! the producer promises that no overflow happens, back ends may rely on that, and the interpreter checks it.

use super::LoopSemantics;
use crate::attr::{Number, ResourceRef, attr_enum};
use crate::define::define_ops;
use crate::loops::matmul::UNROLL;
use crate::loops::memory::{PackLayout, Place};
use crate::loops::view::View;
use crate::rows::RowNeed;
use crate::schedule::Schedule;
use std::sync::Arc;

attr_enum! {
    /// What a buffer is for.
    Role {
        /// An input of the model.
        Input = "input",
        /// An output of the model.
        Output = "output",
        /// An activation tensor between kernels.
        Activation = "activation",
        /// Working memory of one kernel.
        Scratch = "scratch",
    }
}

attr_enum! {
    /// A comparison of two numbers; of integers as signed.
    Predicate {
        /// Equal.
        Eq = "eq",
        /// Not equal.
        Ne = "ne",
        /// Less than.
        Lt = "lt",
        /// Less than or equal.
        Le = "le",
        /// Greater than.
        Gt = "gt",
        /// Greater than or equal.
        Ge = "ge",
    }
}

attr_enum! {
    /// Direction of rounding to an integral float.
    Rounding {
        /// To the nearest, ties away from zero.
        HalfAway = "half_away",
        /// To the nearest, ties to the even integer.
        HalfEven = "half_even",
        /// Toward negative infinity.
        Floor = "floor",
        /// Toward zero.
        Trunc = "trunc",
    }
}

define_ops! {
    /// Counted loops over planned memory.
    dialect "loop" enum LoopOp requires LoopSemantics;

    /// Working memory. `index` numbers the model's inputs and outputs. `rows` is the number of rows that its tensor is made
    /// in. They lie one after the other, unless the buffer is `scattered`: then each has a place of its own, which it has
    /// only while it is needed, and `loop.row` tells where. `live` are the first and last step (see
    /// [`crate::loops::program`]) between which the contents matter; inputs live from step 0, outputs to the last. `place`
    /// is given by plan-memory.
    ///
    /// - C1: the rows are of one size.
    /// - C2: only activations of several rows are scattered.
    Buffer = "loop.buffer" {
        attrs {
            role: Role,
            index: usize = 0,
            rows: usize = 1,
            scattered: bool = false,
            live: Option<[usize; 2]> = None,
            place: Option<Place> = None,
        }
        results { memory: MemRef }
    }

    /// Constant data in flash, in the order in which kernels read it.
    Data = "loop.data" {
        attrs { value: ResourceRef }
        results { memory: MemRef }
        traits [Pure]
    }

    /// Constant data that pack-weights computes from the model's: `layout` says how.
    Pack = "loop.pack" {
        attrs { sources: Vec<ResourceRef>, layout: PackLayout }
        results { memory: MemRef }
        traits [Pure]
    }

    /// The loops of one layer. `buffers` are the `loop.buffer`s that the body touches: first the `writes` it writes, then
    /// those it only reads; the body uses them (and `loop.data`) directly. `layer` names the op it was lowered from.
    /// The body runs once for each of `rows` rows, its argument, in order; run number `r` writes row `r` of the buffers it
    /// writes (all of them if `rows` is 1), and reads the rows that `needs` says of those it only reads, in their order (whole ones if it is left out).
    /// A pair `[w, r]` of `in_place` says that buffer `w` may share bytes with buffer `r`, element by element, because the
    /// body reads every element of `r` for the last time before it writes the element at the same place in `w`.
    /// Of a buffer of which `views` have one, the kernel touches nothing else; rows are then those of the view. Several kernels
    /// may write views of one buffer that have nothing in common, and a kernel may list a buffer several times, with another view
    /// each time.
    /// Kernels of one `shared` name are the same code, but for the memory that they work on and integers in it; back ends
    /// make one function of them.
    ///
    /// - C1: there is one need per buffer that is only read, or none at all.
    /// - C2: buffers that are written have as many rows as the kernel, if that makes more than one; or a single one, which it
    ///   keeps from its first row to its last, as the sums of a mean.
    /// - C3: rows that are needed of a scattered buffer are counted as the buffer counts them.
    /// - C4: kernels of one `shared` name have equal code ([`crate::loops::skeleton`]), and hand no rows over.
    /// - C5: there is at most one view per listed buffer; it lies inside of the buffer, its runs are apart, and it divides into the
    ///   rows that are written or needed. Of a scattered buffer, each of these lies within one of the buffer's.
    /// - C6: a buffer is listed once, unless there is another view of it each time; one that is only read, as a whole, too.
    Kernel = "loop.kernel" {
        operands { buffers: [MemRef] }
        attrs {
            layer: Arc<str>,
            writes: usize,
            rows: usize = 1,
            needs: Vec<RowNeed> = Vec::new(),
            in_place: Vec<[usize; 2]> = Vec::new(),
            views: Vec<View> = Vec::new(),
            shared: Option<Arc<str>> = None,
        }
        regions 1
    }

    /// Runs the kernels of its body row by row: `schedule` names them by their position, and each time a kernel is named
    /// it makes its next row.
    ///
    /// - C1: the body consists of kernels.
    /// - C2: the schedule names every kernel as often as it has rows.
    Cascade = "loop.cascade" { attrs { schedule: Schedule } regions 1 }

    /// Runs the body for `i = lower, lower + step, ...` while `i < upper`. The body's arguments are `i` and the carried
    /// values, which start as `inits`; it ends with a `loop.yield` of their next values. The results are their last.
    ///
    /// `rolled` asks the compiler not to unroll the loop: copies of a body that takes all registers spill.
    For = "loop.for" {
        operands { lower: I32, upper: I32, inits: [Register] }
        attrs { step: u32 = 1, rolled: bool = false }
        results { last: [Register] }
        regions 1
    }

    /// Runs the first body if the condition holds, else the second; both yield the results.
    If = "loop.if" {
        operands { condition: I1 }
        results { values: [Register] }
        regions 2
    }

    /// Ends a body and hands its values to the enclosing op.
    Yield = "loop.yield" {
        operands { values: [Register] }
        traits [Terminator]
    }

    /// A literal.
    Const = "loop.const" {
        attrs { value: Number }
        results { output: Number }
        traits [Pure]
    }

    /// Sum.
    Add = "loop.add" {
        operands { lhs: Number, rhs: Number } attrs { wrap: bool = false } results { output: Number } traits [Pure]
    }

    /// Difference.
    Sub = "loop.sub" {
        operands { lhs: Number, rhs: Number } attrs { wrap: bool = false } results { output: Number } traits [Pure]
    }

    /// Product.
    Mul = "loop.mul" {
        operands { lhs: Number, rhs: Number } attrs { wrap: bool = false } results { output: Number } traits [Pure]
    }

    /// Quotient; of integers rounded toward zero, and 0 for a zero divisor.
    Div = "loop.div" { operands { lhs: Number, rhs: Number } results { output: Number } traits [Pure] }

    /// Remainder with the dividend's sign; 0 for a zero divisor.
    Rem = "loop.rem" { operands { lhs: Int, rhs: Int } results { output: Int } traits [Pure] }

    /// Lesser of two. For floats `lhs < rhs ? lhs : rhs`.
    Min = "loop.min" { operands { lhs: Number, rhs: Number } results { output: Number } traits [Pure] }

    /// Greater of two. For floats `lhs > rhs ? lhs : rhs`.
    Max = "loop.max" { operands { lhs: Number, rhs: Number } results { output: Number } traits [Pure] }

    /// Bitwise and.
    And = "loop.and" { operands { lhs: Int, rhs: Int } results { output: Int } traits [Pure] }

    /// Bitwise or.
    Or = "loop.or" { operands { lhs: Int, rhs: Int } results { output: Int } traits [Pure] }

    /// Bitwise exclusive or.
    Xor = "loop.xor" { operands { lhs: Int, rhs: Int } results { output: Int } traits [Pure] }

    /// Shift left, dropping high bits; the distance is taken from 0 to width - 1. `bounded` promises that it lies there.
    Shl = "loop.shl" {
        operands { value: Int, distance: I32 } attrs { bounded: bool = false } results { output: Int } traits [Pure]
    }

    /// Arithmetic shift right; the distance is taken from 0 to width - 1. `bounded` promises that it lies there.
    Shr = "loop.shr" {
        operands { value: Int, distance: I32 } attrs { bounded: bool = false } results { output: Int } traits [Pure]
    }

    /// Logical shift right; the distance is taken from 0 to width - 1.
    ShrU = "loop.shr_u" { operands { value: Int, distance: I32 } results { output: Int } traits [Pure] }

    /// Number of leading zero bits; 32 for zero.
    Clz = "loop.clz" { operands { value: I32 } results { output: I32 } traits [Pure] }

    /// Comparison.
    Cmp = "loop.cmp" {
        operands { lhs: Number, rhs: Number } attrs { predicate: Predicate } results { output: I1 } traits [Pure]
    }

    /// `then` if the condition holds, else `otherwise`.
    Select = "loop.select" {
        operands { condition: I1, then: Register, otherwise: Register } results { output: Register } traits [Pure]
    }

    /// i32 to i64, keeping the sign.
    Extend = "loop.extend" { operands { value: I32 } results { output: I64 } traits [Pure] }

    /// i64 to i32, keeping the low bits.
    Truncate = "loop.truncate" { operands { value: I64 } results { output: I32 } traits [Pure] }

    /// i32 to the nearest f32, ties to even.
    ToFloat = "loop.to_float" { operands { value: I32 } results { output: F32 } traits [Pure] }

    /// f32 to i32 toward zero, saturating; NaN becomes 0.
    ToInt = "loop.to_int" { operands { value: F32 } results { output: I32 } traits [Pure] }

    /// The bits of an f32 as i32.
    FloatBits = "loop.float_bits" { operands { value: F32 } results { output: I32 } traits [Pure] }

    /// The f32 with the given bits.
    BitsFloat = "loop.bits_float" { operands { value: I32 } results { output: F32 } traits [Pure] }

    /// Rounds to an integral float.
    Round = "loop.round" {
        operands { value: F32 } attrs { rounding: Rounding } results { output: F32 } traits [Pure]
    }

    /// Square root, correctly rounded; NaN for negative numbers.
    Sqrt = "loop.sqrt" { operands { value: F32 } results { output: F32 } traits [Pure] }

    /// Offset of the first element of a row of a scattered buffer. The elements of a row lie side by side; nothing is known
    /// of the distance of two rows.
    ///
    /// - C1: the buffer is scattered.
    Row = "loop.row" { operands { memory: MemRef, row: I32 } results { offset: I32 } traits [Pure] }

    /// Reads one element; 8 and 16 bit integers are extended to i32 by the sign of the memory's type. u32 is read as
    /// i32, u64 as i64.
    Load = "loop.load" { operands { memory: MemRef, offset: I32 } results { output: Number } traits [Reads] }

    /// Writes one element, keeping the low bits of an integer.
    Store = "loop.store" { operands { value: Number, memory: MemRef, offset: I32 } traits [Writes] }

    /// Reads four neighbouring i8 elements; the offset need not be a multiple of 4.
    LoadI8x4 = "loop.load_i8x4" { operands { memory: MemRef, offset: I32 } results { output: I8x4 } traits [Reads] }

    /// Reads two neighbouring i16 elements; the offset need not be a multiple of 2.
    LoadI16x2 = "loop.load_i16x2" { operands { memory: MemRef, offset: I32 } results { output: I16x2 } traits [Reads] }

    /// Asks the caller for row `row` of input number `index`, and writes its `count` elements to memory. The input has no
    /// buffer then: it is handed over row by row.
    ///
    /// - C1: it stands in the body of a kernel itself, not in a loop, and `row` is the row that the kernel makes, so that
    ///   every row is asked for once and in order.
    /// - C2: the input consists of the kernel's rows of `count` elements each. Kernels that receive the same input run one
    ///   after the other, not in one cascade: each is a sweep over its rows.
    Receive = "loop.receive" {
        operands { row: I32, memory: MemRef, offset: I32 } attrs { index: usize, count: usize } traits [Writes]
    }

    /// Hands row `row` of output number `index` to the caller, `count` elements of memory. The output has no buffer then: it
    /// is handed over row by row.
    ///
    /// - C1: it stands in the body of a kernel itself, not in a loop, and `row` is the row that the kernel makes, so that
    ///   every row is handed over once and in order. No other operation sends the output.
    /// - C2: the output consists of the kernel's rows of `count` elements each.
    /// - C3: the memory is a buffer of as many rows, of which the kernel needs the row that it sends.
    Send = "loop.send" {
        operands { row: I32, memory: MemRef, offset: I32 } attrs { index: usize, count: usize } traits [Reads]
    }

    /// Copies `count` elements between memories of one element type. The ranges may overlap, and where they are the same
    /// nothing needs to be done: see [`super::copies_onto_itself`].
    Copy = "loop.copy" {
        operands { source: MemRef, source_offset: I32, target: MemRef, target_offset: I32 }
        attrs { count: usize }
        traits [Reads, Writes]
    }

    /// Writes `count` elements equal to `value`.
    Fill = "loop.fill" {
        operands { value: Number, memory: MemRef, offset: I32 } attrs { count: usize } traits [Writes]
    }

    /// Widens a run of `count` i8 elements of `source` to i16 less `zero_point`, in the order in which `loop.matmul` reads
    /// them (see [`super::matmul`]): its pairs go to every `step`th pair of `target` from `target_offset` on. Elements before
    /// number `first` or from number `end` on are not read, but taken for the zero point.
    ///
    /// - C1: `count` and `step` are at least 1.
    Widen = "loop.widen" {
        operands { source: MemRef, offset: I32, first: I32, end: I32, target: MemRef, target_offset: I32 }
        attrs { count: usize, step: usize = 1, zero_point: i32 = 0 }
        traits [Reads, Writes, Dsp]
    }

    /// Multiplies a matrix of `rows` rows of `pairs` pairs of columns, packed as [`super::matmul::pack`] does, with the
    /// inputs of one or two pixels from `inputs_offset` on: i16 elements that `loop.widen` wrote, the pairs of two pixels
    /// alternating, or i8 elements of one pixel as they are, of which `input_zero_point` is subtracted. Biases have 16 bits if `short_bias`. Sums are requantized, the sign of the accumulator taken into account
    /// if `signed`, `zero_point` added, limited, and stored: row `r` of pixel `p` at `offset + r * row_step + p * pixel_step`.
    /// The code is to have a loop over `unroll` pairs at a time; with `dual_issue` it is for cores that issue two instructions
    /// at a time, and loads a pair ahead.
    ///
    /// - C1: `pixels` is 1 or 2; there is a row and a pair; limits and zero point lie within int8; neighbouring rows or neighbouring pixels are
    ///   neighbours in the output.
    /// - C2: weights and inputs have the elements that this takes. Of i8 inputs there is one pixel and an even number of pairs; the
    ///   zero point of others is 0.
    /// - C3: `unroll` is 4, 8 or 16; for `dual_issue` there are two pairs.
    Matmul = "loop.matmul" {
        operands { weights: MemRef, inputs: MemRef, inputs_offset: I32, output: MemRef, offset: I32 }
        attrs {
            rows: usize,
            pairs: usize,
            pixels: usize = 1,
            row_step: usize = 1,
            pixel_step: usize = 1,
            signed: bool = true,
            input_zero_point: i32 = 0,
            zero_point: i32 = 0,
            limits: [i32; 2] = [-128, 127],
            short_bias: bool = false,
            unroll: usize = UNROLL,
            dual_issue: bool = false,
        }
        traits [Reads, Writes, Dsp]
    }

    /// Makes a row of a depthwise convolution of `channels` channels: `outputs` results each, of which result `x` is the sum over
    /// the window's `rows` and `columns` columns of weights times pixels. Pixels of channel `c` lie side by side, `width` of them, in
    /// rows that begin at `rows + c * width`; column `k` meets pixel `x * stride - before + k`. Pixels outside, and those of
    /// rows before number `first` or from `end` on, are taken for `padding`, the input's zero point; `input_zero_point` is subtracted
    /// from all of them, unless weights have it. Weights are packed as [`super::depthwise::pack`] does, rows of taps `pitch` bytes
    /// apart. Sums are requantized, their sign taken into account if `signed`, `zero_point` added, limited, and
    /// stored at `offset + c * channel_step + x * pixel_step`. If `unroll`, the code may have copies for the rows of the window.
    ///
    /// - C1: there are rows, columns, channels and outputs, and a stride, of 31 bits; padding, limits and zero points lie within int8;
    ///   a row of taps fits its pitch, with less than a word to spare.
    /// - C2: weights, pixels and results have the elements that this takes.
    /// - C3: at run time, one of the rows is there.
    Depthwise = "loop.depthwise" {
        operands {
            weights: MemRef,
            input: MemRef,
            output: MemRef,
            offset: I32,
            first: I32,
            end: I32,
            rows: [I32],
        }
        attrs {
            channels: usize,
            width: usize,
            columns: usize,
            outputs: usize,
            stride: usize = 1,
            before: usize = 0,
            padding: i32 = 0,
            input_zero_point: i32 = 0,
            pitch: usize = 4,
            channel_step: usize = 1,
            pixel_step: usize = 1,
            signed: bool = true,
            zero_point: i32 = 0,
            limits: [i32; 2] = [-128, 127],
            unroll: bool = false,
        }
        traits [Reads, Writes, Dsp]
    }

    /// Lanes 0 and 2 (or, if `odd`, 1 and 3), extended with their sign. Arm: SXTB16 with ROR #0 or #8.
    ExtendLanes = "loop.extend_lanes" {
        operands { value: I8x4 } attrs { odd: bool = false } results { output: I16x2 } traits [Pure, Dsp]
    }

    /// Lanes 0 and 2 (or, if `odd`, 1 and 3) of `value`, extended with their sign and added to the lanes of `base`,
    /// modulo 2^16. Arm: SXTAB16 with ROR #0 or #8.
    ExtendAddLanes = "loop.extend_add_lanes" {
        operands { base: I16x2, value: I8x4 }
        attrs { odd: bool = false }
        results { output: I16x2 }
        traits [Pure, Dsp]
    }

    /// Field number `field` of `bits` bits of each lane, counted from the low ones, as the high bits of the lane, with zeros
    /// below: `2^(8 - bits)` times the signed field. Arm: AND with a shifted register.
    ///
    /// - C1: `bits` is 4 or 2, and a lane has the field.
    FieldLanes = "loop.field_lanes" {
        operands { value: I8x4 } attrs { bits: u32, field: u32 } results { output: I8x4 } traits [Pure, Dsp]
    }

    /// Both lanes equal to the low 16 bits of `value`. Arm: PKHBT, or nothing for a literal.
    SplatLanes = "loop.splat_lanes" { operands { value: I32 } results { output: I16x2 } traits [Pure, Dsp] }

    /// `accumulator + a0 * b0 + a1 * b1`, modulo 2^32. Arm: SMLAD.
    DualMac = "loop.dual_mac" {
        operands { lhs: I16x2, rhs: I16x2, accumulator: I32 } results { output: I32 } traits [Pure, Dsp]
    }

    /// `accumulator + a * b` of one lane each, the low one or the high one, modulo 2^32. Arm: SMLABB, SMLABT, SMLATB, SMLATT.
    HalfMac = "loop.half_mac" {
        operands { lhs: I16x2, rhs: I16x2, accumulator: I32 }
        attrs { lhs_high: bool = false, rhs_high: bool = false }
        results { output: I32 }
        traits [Pure, Dsp]
    }

    /// Saturating rounding doubling high multiply: `(2ab + 2^31) >> 32` as [`crate::fixed_point`] defines it.
    DoublingHighMul = "loop.doubling_high_mul" {
        operands { lhs: I32, rhs: I32 } results { output: I32 } traits [Pure, Dsp]
    }

    /// `addend + value * factor / 2^32`, the quotient rounded to the nearest, ties upward, modulo 2^32. Arm: SMMLAR.
    MulAddHigh = "loop.mul_add_high" {
        operands { value: I32, factor: I32, addend: I32 } results { output: I32 } traits [Pure, Dsp]
    }

    /// `value / 2^distance`, rounded to the nearest, ties away from zero; the distance is taken from 0 to 31.
    RoundShift = "loop.round_shift" { operands { value: I32, distance: I32 } results { output: I32 } traits [Pure] }

    /// Multiplies by a quantized multiplier `multiplier * 2^(shift - 31)`, rounding twice: left shift, doubling high
    /// multiply, rounding right shift.
    Requantize = "loop.requantize" {
        operands { value: I32, multiplier: I32, shift: I32 } results { output: I32 } traits [Pure]
    }

    /// Limits an integer to the range of a signed integer of `bits` bits. Arm: SSAT.
    Saturate = "loop.saturate" {
        operands { value: I32 } attrs { bits: u32 } results { output: I32 } traits [Pure, Dsp]
    }
}
