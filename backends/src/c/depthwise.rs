//! The functions behind `loop.depthwise`: assembly where the DSP extension is and there is a form for the window, plain C elsewhere.
//!
//! Weights, sums and pixels take all registers, which compilers don't manage without reloading weights in the loop. So functions are
//! *naked*, as that of `loop.matmul` is, and serve all layers of a form.

use super::assembly::statements;
use super::depthwise_blocks::OfBlocks;
use super::depthwise_pairs::Pairs;
use mcunet_ir::loops::ops::Depthwise;
use mcunet_passes::cost::depthwise;

/// The function behind `loop.depthwise` in C, for all forms and for windows without one.
pub const IN_C: &str = "/* A row of a depthwise convolution, channel by channel. `rows` are the rows under the window, of which those before number
 * `first` or from `end` on are missing. `shape` has the number of channels, pixels and outputs of a row, the distance of two
 * channels and of two pixels of the output, the value of pixels outside, the zero point of results twice and one, what is
 * subtracted from pixels, and limits of results, if there are. Rows of taps are `pitch` bytes apart. */
UNUSED static void depthwise_row(const int32_t *weights, const int8_t *const *rows, int8_t *output, const int32_t *shape,
                                 int32_t first, int32_t end, int32_t height, int32_t width, int32_t pitch,
                                 int32_t stride, int32_t before, bool is_signed, bool has_limits)
{
    const int32_t words = 2 + ((height - 1) * pitch + width + 4) / 4;
    for (int32_t channel = 0; channel < shape[0]; channel++) {
        const int32_t *const record = weights + channel * words;
        const int8_t *const taps = (const int8_t *)(record + 1);
        const int32_t shift = taps[4 * (words - 2) - 1] & 31;
        const int32_t offset = (int32_t)((uint32_t)shape[6] << shift);
        for (int32_t x = 0; x < shape[2]; x++) {
            /* Twice the sum. */
            int32_t sum = record[words - 1];
            for (int32_t ky = 0; ky < height; ky++) {
                for (int32_t kx = 0; kx < width; kx++) {
                    const int32_t at = x * stride - before + kx;
                    const bool inside = ky >= first && ky < end && at >= 0 && at < shape[1];
                    const int32_t pixel = inside ? rows[ky][channel * shape[1] + at] : shape[5];
                    sum = add_wrap(sum, 2 * taps[ky * pitch + kx] * (pixel - shape[7]));
                }
            }
            const int32_t addend = add_wrap(offset, is_signed ? sum >> 31 : 0);
            const int32_t scaled = mul_add_high(sum, record[0], addend) >> shift >> 1;
            const int32_t result = saturate_8(scaled);
            output[channel * shape[3] + x * shape[4]] = (int8_t)(has_limits ? min_i32(max_i32(result, shape[8]), shape[9]) : result);
        }
    }
}
";

/// A function as assembly, or as a call of that in C with what it needs to know of the `window`.
pub fn definition(what: &str, name: &str, lines: &[String], window: &str) -> String {
    let assembly = statements(lines);
    format!(
        "/* {what} */\n\
         #if HAS_NAKED\n\
         NAKED static void {name}(const int32_t *weights UNUSED, const int8_t *const *rows UNUSED, int8_t *output UNUSED, \
         const int32_t *shape UNUSED, int32_t first UNUSED, int32_t end UNUSED)\n{{\n{assembly}}}\n\
         #else\n\
         static void {name}(const int32_t *weights, const int8_t *const *rows, int8_t *output, const int32_t *shape, \
         int32_t first, int32_t end)\n{{\n    \
         depthwise_row(weights, rows, output, shape, first, end, {window});\n}}\n\
         #endif\n\n"
    )
}

/// What one function does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Form(depthwise::Form);

impl Form {
    /// The form of an operation whose window has `rows` rows; `None` if it is not written in assembly.
    pub fn of(op: &Depthwise, rows: usize) -> Option<Self> {
        depthwise::Form::of(op, rows).map(Form)
    }

    /// The function's name: what differs between functions.
    pub fn name(&self) -> String {
        match self.0 {
            depthwise::Form::Pairs(function) => Pairs(function).name(),
            depthwise::Form::Blocks(blocks) => OfBlocks(blocks).name(),
        }
    }

    /// The function.
    pub fn text(&self) -> String {
        match self.0 {
            depthwise::Form::Pairs(function) => Pairs(function).text(),
            depthwise::Form::Blocks(blocks) => OfBlocks(blocks).text(),
        }
    }
}
