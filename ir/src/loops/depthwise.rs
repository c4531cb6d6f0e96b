//! What `loop.depthwise` computes, and the order in which it reads weights.
//!
//! A *record* is what a channel needs, one channel after the other: the factor of its requantization, its taps as bytes, each
//! row filled up to words of four, whose even and odd bytes a core extends to pairs, and what its sums begin with. The shift
//! lies in the last byte of the taps, which none takes.
//!
//! Sums are kept doubled, since the multiplication that requantizes them wants twice the sum. The input's zero point is in
//! what they begin with, as if every tap met a pixel; taps that lie outside of the image meet the zero point.
//!
//! Invariant: sums are modulo 2^32.

use super::matmul::Finish;
use crate::tensor::Data;

/// Words of a record beside its taps: the factor before them, and what sums begin with after them.
const CONSTANTS: usize = 2;

/// Bytes of a row of taps.
pub fn row_bytes(columns: usize) -> usize {
    columns.checked_next_multiple_of(4).unwrap_or(usize::MAX)
}

/// Words of the record of a channel of `rows` x `columns` taps.
pub fn record_words(rows: usize, columns: usize) -> usize {
    let taps = rows.saturating_mul(row_bytes(columns) / 4);
    // Rows that fill their words leave no byte for the shift.
    CONSTANTS.saturating_add(taps).saturating_add(usize::from(columns.is_multiple_of(4)))
}

/// Packs a filter of rows x columns of taps x channels, its bias, and for each channel multiplier and shift to the right, at
/// least 1.
///
/// # Errors
/// Sizes or types that do not fit.
pub fn pack(sources: &[Data], [rows, columns]: [usize; 2], zero_point: i64) -> Result<Data, String> {
    let [filter, Data::I32(bias), Data::I32(requantization)] = sources else {
        return Err("expected a filter, a bias of i32 and a requantization of i32".to_owned());
    };
    let Data::I8(filter) = filter else { return Err("expected a filter of i8, got others".to_owned()) };
    let (taps, channels) = (rows.saturating_mul(columns), bias.len());
    let fits = taps.checked_mul(channels) == Some(filter.len()) && requantization.len() == 2 * channels;
    if !fits || taps == 0 {
        return Err(format!("expected {rows}x{columns} taps of {channels} channels, got others"));
    }
    let mut packed = Vec::with_capacity(record_words(rows, columns).saturating_mul(channels));
    for channel in 0..channels {
        let tap = |tap: usize| filter[tap * channels + channel];
        let sum: i64 = (0..taps).map(|number| i64::from(tap(number))).sum();
        let start = i64::from(bias[channel]).wrapping_sub(zero_point.wrapping_mul(sum)).wrapping_mul(2);
        let [multiplier, shift] = [0, 1].map(|at| requantization[2 * channel + at]);
        if !(1..=31).contains(&shift) {
            return Err(format!("expected shifts of 1 to 31 bits, got {shift}"));
        }
        packed.push(multiplier);
        let mut bytes = vec![0; 4 * (record_words(rows, columns) - CONSTANTS)];
        for number in 0..taps {
            bytes[number / columns * row_bytes(columns) + number % columns] = tap(number) as u8;
        }
        if let Some(last) = bytes.last_mut() {
            *last = (shift - 1) as u8;
        }
        packed.extend(
            bytes.chunks_exact(4).map(|word| i32::from_le_bytes([word[0], word[1], word[2], word[3]])),
        );
        packed.push(start as i32);
    }
    Ok(Data::I32(packed))
}

/// A channel's record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'r> {
    words: &'r [i32],
    columns: usize,
}

impl<'r> Record<'r> {
    /// The record in `words`, of rows of `columns` taps.
    pub fn new(words: &'r [i32], columns: usize) -> Self {
        Self { words, columns }
    }

    fn byte(&self, at: usize) -> i8 {
        let word = self.words.get(1 + at / 4).copied().unwrap_or(0);
        word.to_le_bytes()[at % 4] as i8
    }

    /// The result of one output, whose window meets `pixels`, row by row; `None` where a row or a tap lies outside of the
    /// image, whose pixels are `padding`.
    pub fn result(&self, pixels: &[Option<i32>], padding: i32, finish: Finish) -> i32 {
        let products = pixels.iter().enumerate().map(|(number, pixel)| {
            let at = number / self.columns * row_bytes(self.columns) + number % self.columns;
            i32::from(self.byte(at)).wrapping_mul(2).wrapping_mul(pixel.unwrap_or(padding))
        });
        let doubled = products.fold(self.words[self.words.len() - 1], i32::wrapping_add);
        let shift = self.byte(4 * (self.words.len() - CONSTANTS) - 1) as u32 & 31;
        finish.of(doubled, 0, self.words[0], shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two channels of 2 x 3 taps: pixels less the zero point, times weights, plus the bias.
    #[test]
    fn packed_channels_give_their_results() {
        let filter: Vec<i8> = vec![1, -2, 3, -4, 5, -6, 127, -128, 9, -10, 11, -12];
        let (bias, zero_point) = (vec![5, -6], 3);
        // Multiplied by 1/2 and shifted by 1: quarters of the sums.
        let requantization = [1 << 30, 1].repeat(2);
        let sources = [Data::I8(filter.clone()), Data::I32(bias.clone()), Data::I32(requantization)];
        let Ok(Data::I32(packed)) = pack(&sources, [2, 3], zero_point.into()) else { panic!("it packs") };
        assert_eq!(packed.len(), 2 * record_words(2, 3));
        let pixels = [Some(7), Some(-100), None, Some(0), Some(3), Some(50)];
        let finish = Finish { signed: false, limits: [-100, 100], zero_point: -4 };
        for channel in 0..2 {
            let sum = (0..6).fold(bias[channel], |sum, tap| {
                sum + i32::from(filter[tap * 2 + channel]) * (pixels[tap].unwrap_or(zero_point) - zero_point)
            });
            let expected = ((((sum + 1) >> 1) + 1) >> 1).saturating_sub(4).clamp(-100, 100);
            let record = Record::new(&packed[channel * record_words(2, 3)..][..record_words(2, 3)], 3);
            assert_eq!(record.result(&pixels, zero_point, finish), expected, "channel {channel}");
        }
        assert!(pack(&sources, [3, 3], 0).is_err());
        let unshifted = [Data::I8(vec![1]), Data::I32(vec![0]), Data::I32(vec![1 << 30, 0])];
        assert!(pack(&unshifted, [1, 1], 0).is_err());
    }
}
