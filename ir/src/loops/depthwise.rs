//! What `loop.depthwise` computes, and the order in which it reads weights.
//!
//! A *record* is what a channel needs, one channel after the other: the factor of its requantization, its taps as bytes, each
//! row a *pitch* after the one before, and what its sums begin with. A core extends the even and odd bytes of words of four taps
//! to pairs, so that a pitch of whole words is faster to read; one without gaps is smaller. The shift lies in the last byte of
//! the words of taps, which none takes.
//!
//! What sums begin with is doubled, since the multiplication that requantizes them wants twice the sum. The input's zero point is
//! in it, as if every tap met a pixel, unless it is subtracted from pixels; taps that lie outside of the image meet the zero point.
//!
//! Invariant: sums are modulo 2^32.

use super::matmul::Finish;
use crate::tensor::Data;

/// Words of a record beside its taps: the factor before them, and what sums begin with after them.
const CONSTANTS: usize = 2;

/// How taps of a channel are arranged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taps {
    /// Rows of the window.
    pub rows: usize,
    /// Columns of the window.
    pub columns: usize,
    /// Bytes from a row to the next.
    pub pitch: usize,
}

impl Taps {
    /// Where a tap lies.
    pub fn place(&self, number: usize) -> usize {
        number / self.columns * self.pitch + number % self.columns
    }

    /// Words of a record.
    pub fn record_words(&self) -> usize {
        // From the first tap to the last, and the shift after them.
        let whole = self.rows.saturating_sub(1).saturating_mul(self.pitch);
        CONSTANTS.saturating_add(whole.saturating_add(self.columns).saturating_add(1).div_ceil(4))
    }
}

/// Packs a filter of rows x columns of taps x channels, its bias, and for each channel multiplier and shift to the right, at
/// least 1.
///
/// # Errors
/// Sizes or types that do not fit.
pub fn pack(sources: &[Data], arrangement: Taps, zero_point: i64) -> Result<Data, String> {
    let Taps { rows, columns, pitch } = arrangement;
    let [filter, Data::I32(bias), Data::I32(requantization)] = sources else {
        return Err("expected a filter, a bias of i32 and a requantization of i32".to_owned());
    };
    let Data::I8(filter) = filter else { return Err("expected a filter of i8, got others".to_owned()) };
    let (taps, channels) = (rows.saturating_mul(columns), bias.len());
    let fits = taps.checked_mul(channels) == Some(filter.len()) && requantization.len() == 2 * channels;
    if !fits || taps == 0 || pitch < columns || pitch - columns >= 4 {
        return Err(format!("expected {rows}x{columns} taps of {channels} channels, got others"));
    }
    let words = arrangement.record_words();
    let mut packed = Vec::with_capacity(words.saturating_mul(channels));
    for channel in 0..channels {
        let tap = |tap: usize| filter[tap * channels + channel];
        let sum: i64 = (0..taps).map(|number| i64::from(tap(number))).sum();
        let start = i64::from(bias[channel]).wrapping_sub(zero_point.wrapping_mul(sum)).wrapping_mul(2);
        let [multiplier, shift] = [0, 1].map(|at| requantization[2 * channel + at]);
        if !(1..=31).contains(&shift) {
            return Err(format!("expected shifts of 1 to 31 bits, got {shift}"));
        }
        packed.push(multiplier);
        let mut bytes = vec![0; 4 * (words - CONSTANTS)];
        for number in 0..taps {
            bytes[arrangement.place(number)] = tap(number) as u8;
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
    taps: Taps,
}

impl<'r> Record<'r> {
    /// The record in `words`.
    pub fn new(words: &'r [i32], taps: Taps) -> Self {
        Self { words, taps }
    }

    fn byte(&self, at: usize) -> i8 {
        let word = self.words.get(1 + at / 4).copied().unwrap_or(0);
        word.to_le_bytes()[at % 4] as i8
    }

    /// The result of one output, whose window meets `pixels`, row by row; `None` where a row or a tap lies outside of the
    /// image, whose pixels are `padding`. What is subtracted from pixels has been.
    pub fn result(&self, pixels: &[Option<i32>], padding: i32, finish: Finish) -> i32 {
        let products = pixels.iter().enumerate().map(|(number, pixel)| {
            i32::from(self.byte(self.taps.place(number)))
                .wrapping_mul(2)
                .wrapping_mul(pixel.unwrap_or(padding))
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
        let taps = Taps { rows: 2, columns: 3, pitch: 4 };
        let Ok(Data::I32(packed)) = pack(&sources, taps, zero_point.into()) else { panic!("it packs") };
        let words = taps.record_words();
        assert_eq!((packed.len(), words), (8, 4));
        let pixels = [Some(7), Some(-100), None, Some(0), Some(3), Some(50)];
        let finish = Finish { signed: false, limits: [-100, 100], zero_point: -4 };
        for channel in 0..2 {
            let sum = (0..6).fold(bias[channel], |sum, tap| {
                sum + i32::from(filter[tap * 2 + channel]) * (pixels[tap].unwrap_or(zero_point) - zero_point)
            });
            let expected = ((((sum + 1) >> 1) + 1) >> 1).saturating_sub(4).clamp(-100, 100);
            let record = Record::new(&packed[channel * words..][..words], taps);
            assert_eq!(record.result(&pixels, zero_point, finish), expected, "channel {channel}");
        }
        // Without gaps, the shift follows.
        let Ok(Data::I32(dense)) = pack(&sources, Taps { pitch: 3, ..taps }, 0) else { panic!("it packs") };
        assert_eq!(
            dense[1..3].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>(),
            [1, 3, 5, 127, 9, 11, 0, 0]
        );
        assert!(pack(&sources, Taps { pitch: 2, ..taps }, 0).is_err());
        assert!(pack(&sources, Taps { rows: 3, ..taps }, 0).is_err());
        let unshifted = [Data::I8(vec![1]), Data::I32(vec![0]), Data::I32(vec![1 << 30, 0])];
        assert!(pack(&unshifted, Taps { rows: 1, columns: 1, pitch: 1 }, 0).is_err());
    }
}
