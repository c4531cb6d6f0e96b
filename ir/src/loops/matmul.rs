//! What `loop.widen` and `loop.matmul` agree on: the order of inputs and weights, and what is computed of them.
//!
//! A *pair* is two columns of the matrix, which one dual multiplication takes. A run of neighbouring int8 inputs becomes
//! pairs in the order in which a core extends the bytes of a word: columns 0 and 2, then 1 and 3. Weights of two rows lie
//! in one halfword, `256 * high + low`. Products with it sum up to `256 * sum(high) + sum(low)`, and those with its low
//! byte, extended, to `sum(low)`: the difference is the sum of the high row. So two rows take a byte a weight, and one
//! extension serves both.
//!
//! Invariant: sums are modulo 2^32. A high row is exact if its sum with the bias is below 2^23 in magnitude, which the
//! producer promises.

use super::eval::{dual_mac, extend_lanes, mul_add_high};
use crate::tensor::Data;

/// Rows of a group; the last one may have fewer.
pub const GROUP: usize = 4;

/// Words of a row beside its weights and its bias: the factor of its requantization. A group has one more, of shifts.
const CONSTANTS: usize = 1;

/// Pairs of columns that the body of a loop multiplies, where nothing else is asked for.
pub const UNROLL: usize = 16;

/// Where code is to be small.
pub const LEAST_UNROLL: usize = 4;

/// Pairs of a run of `count` columns; the last one is filled up with zero.
pub fn pairs_of_run(count: usize) -> usize {
    count.div_ceil(2)
}

/// The pair of column `column` of a run of `count`, and whether it is the second of the two.
pub fn place_in_run(column: usize, count: usize) -> (usize, bool) {
    let (four, within) = (column / 4, column % 4);
    // The last two columns of a run are a pair, too: they are in no word of four.
    if count % 4 == 2 && column >= count / 4 * 4 {
        return (four * 2, within == 1);
    }
    (four * 2 + within % 2, within >= 2)
}

/// Words of weights of a group for each pair of columns.
pub fn words_of_group(rows: usize) -> usize {
    rows.div_ceil(2)
}

/// Words of the biases of a group.
pub fn bias_words(rows: usize, short_bias: bool) -> usize {
    if short_bias { rows.div_ceil(2) } else { rows }
}

/// Words of a packed matrix of `rows` rows of `pairs` pairs, with biases of 16 bits if `short_bias`.
pub fn packed_words(rows: usize, pairs: usize, short_bias: bool) -> usize {
    let weights = (rows / GROUP * words_of_group(GROUP)).saturating_add(words_of_group(rows % GROUP));
    weights
        .saturating_mul(pairs)
        .saturating_add(bias_words(rows, short_bias))
        .saturating_add(rows.saturating_mul(CONSTANTS))
        .saturating_add(rows.div_ceil(GROUP))
}

/// Packs a filter whose rows are runs of `run` columns, its bias, and for each row multiplier and shift to the right, at least 1.
/// Before the weights of a group are its biases: of 16 bits if `short_bias`, else as sums begin with them.
///
/// # Errors
/// Sizes or types that do not fit, or weights of two rows or a short bias that do not fit 16 bits.
pub fn pack(sources: &[Data], columns: usize, run: usize, short_bias: bool) -> Result<Data, String> {
    let [filter, Data::I32(bias), Data::I32(requantization)] = sources else {
        return Err("expected a filter, a bias of i32 and a requantization of i32".to_owned());
    };
    let weights = filter.to_i64s().ok_or("expected an integer filter, got floats")?;
    let rows = bias.len();
    let fits = rows.checked_mul(columns) == Some(weights.len()) && requantization.len() == 2 * rows;
    if !fits || run == 0 || columns == 0 || !columns.is_multiple_of(run) {
        return Err(format!("expected {rows} rows of {columns} columns in runs of {run}, got others"));
    }
    let per_run = pairs_of_run(run);
    let pairs = columns / run * per_run;
    let mut packed = Vec::with_capacity(packed_words(rows, pairs, short_bias));
    for first in (0..rows).step_by(GROUP) {
        let group: Vec<usize> = (first..rows.min(first + GROUP)).collect();
        for two in group.chunks(2) {
            let low = bias[two[0]];
            let high = two.get(1).map(|&high| bias[high]);
            if short_bias {
                let halves = [low, high.unwrap_or(0)].map(i16::try_from);
                let [Ok(low), Ok(high)] = halves else {
                    return Err(format!("expected biases of 16 bits, got {low} and {}", high.unwrap_or(0)));
                };
                packed.push(i32::from(low) & 0xffff | i32::from(high) << 16);
                continue;
            }
            packed.push(low);
            packed.extend(high.map(|high| high.wrapping_mul(256).wrapping_add(low)));
        }
        let mut words = vec![0u32; pairs * words_of_group(group.len())];
        for column in 0..columns {
            let (pair, second) = place_in_run(column % run, run);
            let pair = column / run * per_run + pair;
            for (word, two) in group.chunks(2).enumerate() {
                let weight = |row: usize| weights[row * columns + column];
                let both = 256 * two.get(1).map_or(0, |&high| weight(high)) + weight(two[0]);
                let both = i16::try_from(both)
                    .map_err(|_| "expected weights of two rows in 16 bits, got greater ones".to_owned())?;
                words[pair * words_of_group(group.len()) + word] |=
                    u32::from(both as u16) << (16 * u32::from(second));
            }
        }
        packed.extend(words.into_iter().map(|word| word as i32));
        let mut shifts = 0;
        for (i, &row) in group.iter().enumerate() {
            let [multiplier, shift] = [0, 1].map(|at| requantization[row * 2 + at]);
            if !(1..=31).contains(&shift) {
                return Err(format!("expected shifts of 1 to 31 bits, got {shift}"));
            }
            // High rows are doubled, others add themselves instead.
            packed.push(if i % 2 == 1 { multiplier } else { multiplier.wrapping_mul(2) });
            shifts |= (shift - 1) << (8 * i);
        }
        packed.push(shifts);
    }
    Ok(Data::I32(packed))
}

/// How results are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finish {
    /// Whether negative sums are rounded differently.
    pub signed: bool,
    /// Least and greatest result.
    pub limits: [i32; 2],
    /// Zero point of the results.
    pub zero_point: i32,
}

impl Finish {
    /// From a sum to its result: `factor` times `value` over 2^32, plus `own`, shifted to the right by `shift`, which is below
    /// 32, and one more.
    pub fn of(self, value: i32, own: i32, factor: i32, shift: u32) -> i32 {
        // The zero point, and a half to round.
        let addend = (2 * self.zero_point + 1).wrapping_shl(shift);
        let sign = if self.signed { value >> 31 } else { 0 };
        let sum = own.wrapping_add(sign).wrapping_add(addend);
        let scaled = mul_add_high(value, factor, sum) >> shift >> 1;
        scaled.clamp(-128, 127).clamp(self.limits[0], self.limits[1])
    }
}

/// What the sums of a group of `rows` rows begin with, and the words after them.
fn starts(rows: usize, group: &[i32], short_bias: bool) -> (Vec<i32>, &[i32]) {
    let (biases, rest) = group.split_at(bias_words(rows, short_bias));
    if !short_bias {
        return (biases.to_vec(), rest);
    }
    let half = |row: usize| biases[row / 2] << (16 * (1 - row % 2)) >> 16;
    let start = |row: usize| match row % 2 {
        1 => 256 * half(row) + half(row - 1),
        _ => half(row),
    };
    ((0..rows).map(start).collect(), rest)
}

/// The results of one group of `rows` rows for one pixel. `group` are its packed words, `input` the pixel's pairs.
pub fn group_results(
    rows: usize,
    group: &[i32],
    short_bias: bool,
    inputs: &[u32],
    finish: Finish,
) -> Vec<i32> {
    let words = words_of_group(rows);
    let (mut sums, rest) = starts(rows, group, short_bias);
    let (weights, constants) = rest.split_at(inputs.len() * words);
    for (pair, &input) in inputs.iter().enumerate() {
        for word in 0..words {
            let both = weights[pair * words + word] as u32;
            let (low, high) = (2 * word, 2 * word + 1);
            if high < rows {
                sums[high] = dual_mac(both, input, sums[high]);
                sums[low] = dual_mac(extend_lanes(both, false), input, sums[low]);
            } else {
                // A row by itself has whole halfwords.
                sums[low] = dual_mac(both, input, sums[low]);
            }
        }
    }
    (0..rows)
        .map(|row| {
            let (factor, shift) = (constants[row], constants[rows] >> (8 * row) & 31);
            let (value, own) = match row % 2 {
                1 => (sums[row].wrapping_sub(sums[row - 1]) >> 7, 0),
                _ => (sums[row], sums[row]),
            };
            finish.of(value, own, factor, shift as u32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three rows of five columns: rows 0 and 1 share halfwords, row 2 has its own.
    #[test]
    fn packed_rows_give_their_sums() {
        let filter: Vec<i8> = vec![1, -2, 3, -4, 127, -127, 6, -7, 8, -9, 10, 11, 12, 13, -14];
        let bias = vec![5, -6, 7];
        // Multiplied by 1/2 and shifted by 1: quarters of the sums.
        let requantization = [1 << 30, 1].repeat(3);
        let sources = [Data::I8(filter.clone()), Data::I32(bias.clone()), Data::I32(requantization)];
        let x: [i32; 5] = [3, -1, 2, 0, 1];
        let mut inputs = [0u32; 3];
        for (column, &x) in x.iter().enumerate() {
            let (pair, second) = place_in_run(column, 5);
            inputs[pair] |= u32::from(x as u16) << (16 * u32::from(second));
        }
        let sum = |row: usize| bias[row] + (0..5).map(|i| i32::from(filter[row * 5 + i]) * x[i]).sum::<i32>();
        let finish = Finish { signed: false, limits: [-40, 100], zero_point: 3 };
        let expected: Vec<i32> =
            (0..3).map(|row| (((((sum(row) + 1) >> 1) + 1) >> 1) + 3).clamp(-40, 100)).collect();
        for short_bias in [false, true] {
            let Ok(Data::I32(packed)) = pack(&sources, 5, 5, short_bias) else { panic!("it packs") };
            assert_eq!(packed.len(), packed_words(3, 3, short_bias));
            assert_eq!(group_results(3, &packed, short_bias, &inputs, finish), expected);
        }
        let too_wide = [Data::I8(vec![-1, -128]), Data::I32(vec![0; 2]), Data::I32(vec![1; 4])];
        assert!(pack(&too_wide, 1, 1, false).is_err());
        let long_bias = [Data::I8(vec![1]), Data::I32(vec![1 << 15]), Data::I32(vec![1; 2])];
        assert!(pack(&long_bias, 1, 1, false).is_ok() && pack(&long_bias, 1, 1, true).is_err());
    }

    #[test]
    fn runs_fill_pairs() {
        for count in 1..=13 {
            let mut places: Vec<(usize, bool)> =
                (0..count).map(|column| place_in_run(column, count)).collect();
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), count, "{count} columns have places of their own");
            assert!(places.iter().all(|&(pair, _)| pair < pairs_of_run(count)), "{count}: {places:?}");
        }
    }
}
