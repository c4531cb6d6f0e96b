//! Functions of 16-bit numbers as tables between whose entries lines are drawn: 65536 results would be too many.
//!
//! Entries are moved by half of what a line misses in its middle, so that the error is as large there as at its ends.
//!
//! Source: `LUTPopulateInt16`, `LUTLookup` and `sigmoid_table_uint16`, tensorflow/lite/kernels/internal/common.h. The last is
//! given as numbers there; the formula that makes them is ours and gives every one.

/// How 16-bit integers stand for real numbers, in single precision.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RealScale {
    /// Real step between neighbours.
    pub scale: f32,
    /// The integer that is zero.
    pub zero_point: i32,
}

impl RealScale {
    fn real(self, stored: i16) -> f32 {
        self.scale * (i32::from(stored) - self.zero_point) as f32
    }

    fn extent(self) -> [f32; 2] {
        [self.real(i16::MIN), self.real(i16::MAX)]
    }
}

/// A function of i16 with i16 results: 512 lines, each over 128 numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interpolation {
    entries: Vec<i16>,
}

/// Lines of a table.
const LINES: usize = 512;

/// Numbers to a line, as a power of two.
pub const LINE_BITS: u32 = 7;

impl Interpolation {
    /// The table of a real function between two types.
    pub fn new(input: RealScale, output: RealScale, function: impl Fn(f32) -> f32) -> Self {
        let [input_min, input_max] = input.extent();
        let [output_min, output_max] = output.extent();
        let step = (input_max - input_min) / LINES as f32;
        let half_step = step / 2.0;
        let inverse = 65536.0 / (output_max - output_min);
        let limited = |x: f32| x.max(i16::MIN.into()).min(i16::MAX.into()) as i16;
        let mut entries: Vec<i16> = (0..LINES)
            .map(|i| {
                let at = input_min + i as f32 * step;
                let here = (function(at) * inverse).round();
                let next = function(input_min + (i + 1) as f32 * step);
                let drawn = ((next * inverse + here) / 2.0).round();
                let middle = (function(at + half_step) * inverse).round();
                limited(here - ((drawn - middle) / 2.0).round())
            })
            .collect();
        entries.push(limited((function(input_max) * inverse).round()));
        Self { entries }
    }

    /// The ends of all lines, from the least number on: 513.
    pub fn entries(&self) -> &[i16] {
        &self.entries
    }

    /// The function's result.
    pub fn of(&self, x: i16) -> i16 {
        let line = (i32::from(x >> LINE_BITS) + LINES as i32 / 2) as usize;
        let offset = i32::from(x & 0x7f);
        let [base, next] = [self.entries[line], self.entries[line + 1]];
        let slope = i32::from(next.wrapping_sub(base));
        base.wrapping_add(((slope * offset + 64) >> LINE_BITS) as i16)
    }
}

/// The logistic function of `i / 24` for `i` from 0 to 255, with 16 fractional bits. The last is the number beyond which
/// results are not told apart.
pub fn sigmoid_table() -> Vec<u16> {
    let real = |x: f64| 65536.0 / (1.0 + (-x / 24.0).exp());
    let entry = |i: u8| {
        let x = f64::from(i);
        let missed = real(x + 0.5) - (real(x) + real(x + 1.0)) / 2.0;
        (real(x) + missed / 2.0).round() as u16
    };
    (0..255).map(entry).chain([u16::MAX]).collect()
}

/// Factor and shift that bring an int16 argument of LOGISTIC or TANH to the table's: `(x * multiplier + half) >> shift`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SigmoidScaling {
    /// At most 32767.
    pub multiplier: i32,
    /// At most 31.
    pub shift: u32,
}

impl SigmoidScaling {
    /// For arguments of the given scale. Scales of 2^-12 times up to 2^`most_exact` are taken as powers of two if they nearly
    /// are.
    ///
    /// `None` where the reference's arithmetic overflows: for scales above 2.6 and below 2^-44.
    ///
    /// Source: `LogisticPrepare` and `TanhPrepare`, tensorflow/lite/micro/kernels.
    pub fn new(scale: f32, most_exact: i32) -> Option<Self> {
        let exponent = checked_log2(scale).map(|log2| log2 + 12);
        if let Some(exponent) = exponent.filter(|exponent| (0..=most_exact).contains(exponent)) {
            return Some(Self { multiplier: 3 << exponent, shift: 0 });
        }
        let mut multiplier = f64::from(scale) * 4096.0 * 3.0;
        let mut shift = 0;
        while multiplier <= 32767.0 / 2.0 && shift <= 30 {
            shift += 1;
            multiplier *= 2.0;
        }
        let fits = multiplier.is_finite() && (1.0..32768.0).contains(&multiplier);
        fits.then_some(Self { multiplier: multiplier as i32, shift })
    }

    /// What is added before the shift.
    pub fn half(self) -> i32 {
        if self.shift == 0 { 0 } else { 1 << (self.shift - 1) }
    }

    fn scaled(self, x: i16) -> i32 {
        (i32::from(x) * self.multiplier + self.half()) >> self.shift
    }
}

/// LOGISTIC of int16, whose result has scale 2^-15.
///
/// Source: tensorflow/lite/kernels/internal/reference/integer_ops/logistic.h.
pub fn logistic_i16(x: i16, scaling: SigmoidScaling, table: &[u16]) -> i16 {
    let scaled = scaling.scaled(x);
    let result = line(scaled, 9, table);
    let result = if scaled >= 0 { result + (1 << 9) } else { (1 << 25) - result + (1 << 9) - 1 };
    (result >> 10) as i16
}

/// TANH of int16, whose result has scale 2^-15: `2 logistic(2x) - 1`.
///
/// Source: tensorflow/lite/kernels/internal/reference/integer_ops/tanh.h.
pub fn tanh_i16(x: i16, scaling: SigmoidScaling, table: &[u16]) -> i16 {
    let scaled = scaling.scaled(x);
    let result = line(scaled, 8, table);
    let half = 1 << 7;
    let result = if scaled >= 0 { result - (1 << 23) + half } else { (1 << 23) - result + half - 1 };
    (result >> 8) as i16
}

/// The logistic function of a magnitude whose lines are 2^`bits` long, with 16 + `bits` fractional bits. Beyond the table the
/// last number that it knows serves, which results can't tell from what the reference has there.
fn line(scaled: i32, bits: u32, table: &[u16]) -> i32 {
    let most = (255 << bits) - 1;
    let magnitude = scaled.unsigned_abs().min(most) as i32;
    let at = (magnitude >> bits) as usize;
    let [base, next] = [at, at + 1].map(|at| i32::from(table[at]));
    (base << bits) + (magnitude & ((1 << bits) - 1)) * (next - base)
}

/// The nearest power of two's exponent, if a scale is within a thousandth of it, in the logarithm.
///
/// Source: `CheckedLog2`, tensorflow/lite/kernels/internal/quantization_util.cc.
pub fn checked_log2(x: f32) -> Option<i32> {
    let log2 = x.ln() * (1.0 / 2.0f32.ln());
    let rounded = log2.round();
    ((log2 - rounded).abs() < 1e-3).then_some(rounded as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_near_their_function() {
        let input = RealScale { scale: 10.0 / 65535.0, zero_point: 32767 };
        let output = RealScale { scale: 2.0 / 65535.0, zero_point: 0 };
        let table = Interpolation::new(input, output, f32::exp);
        assert_eq!(table.entries().len(), 513);
        // 512 lines divide what the input spans, 65535 steps, so that each is a little shorter than the 128 steps that it is
        // used for: results belong to an input up to a step away, beside roundings.
        for x in i16::MIN..=i16::MAX {
            let exact = input.real(x).exp() / output.scale;
            let allowed = 2.0 + 2.0 * exact * input.scale;
            assert!((f32::from(table.of(x)) - exact).abs() < allowed, "{x}: {exact}, got {}", table.of(x));
        }
    }

    #[test]
    fn sigmoids_are_near_their_function() {
        let table = sigmoid_table();
        for scale in [1.0 / 4096.0, 1.0 / 2048.0, 0.0003, 0.000_01, 0.01, 1.3] {
            for x in (i16::MIN..=i16::MAX).step_by(7) {
                let real = f64::from(x) * f64::from(scale);
                let logistic = 1.0 / (1.0 + (-real).exp()) * 32768.0;
                let found = logistic_i16(x, SigmoidScaling::new(scale, 0).unwrap(), &table);
                assert!((f64::from(found) - logistic).abs() < 3.0, "{scale}, {x}: {logistic}, got {found}");
                let tanh = real.tanh() * 32768.0;
                let found = tanh_i16(x, SigmoidScaling::new(scale, 1).unwrap(), &table);
                assert!((f64::from(found) - tanh).abs() < 5.0, "{scale}, {x}: {tanh}, got {found}");
            }
        }
    }

    /// Written out as the reference has it, with its limit at the end of the table.
    #[test]
    fn the_last_line_serves_beyond_the_table() {
        let table = sigmoid_table();
        let saturated = |bits: u32| if bits == 9 { 0x7fff << 10 } else { 0xffff << 8 };
        let ends = |sum: i32| [(sum + (1 << 9)) >> 10, ((1 << 25) - sum + (1 << 9) - 1) >> 10];
        assert_eq!(ends(line(i32::MAX, 9, &table)), ends(saturated(9)));
        let ends = |sum: i32| [(sum - (1 << 23) + 128) >> 8, (-sum + (1 << 23) + 127) >> 8];
        assert_eq!(ends(line(i32::MAX, 8, &table)), ends(saturated(8)));
    }

    #[test]
    fn scales_are_powers_of_two_or_not() {
        let scaling = |multiplier, shift| Some(SigmoidScaling { multiplier, shift });
        assert_eq!(SigmoidScaling::new(1.0 / 4096.0, 0), scaling(3, 0));
        assert_eq!(SigmoidScaling::new(1.0006 / 4096.0, 0), scaling(3, 0), "nearly a power of two");
        assert_eq!(SigmoidScaling::new(1.0 / 2048.0, 0), scaling(24576, 12));
        assert_eq!(SigmoidScaling::new(1.0 / 2048.0, 1), scaling(6, 0));
        assert_eq!(SigmoidScaling::new(2.0, 1), scaling(24576, 0));
        for scale in [2.7, f32::MAX, 1e-20, 0.0, f32::NAN] {
            assert_eq!(SigmoidScaling::new(scale, 1), None, "{scale}");
        }
    }
}
