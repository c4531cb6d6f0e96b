//! Layouts of filters whose elements have 4 or 2 bits: several share a byte, which a kernel takes apart as it reads it.
//!
//! What one step of a kernel reads lies in whole bytes, so that where a field lies in its byte is known when the kernel is made:
//! the first in the low bits, zeros after the last.

use super::memory::{PackLayout, interleaved};
use crate::sub_byte;
use crate::tensor::Data;

/// Bytes that `count` elements of `bits` bits take.
pub fn packed_bytes(bits: usize, count: usize) -> usize {
    count.saturating_mul(bits).div_ceil(8)
}

/// Bytes of an interleaved filter: see [`PackLayout::PackedInterleave`].
pub(super) fn interleaved_bytes(bits: usize, rows: usize, columns: usize, block: usize) -> usize {
    let block = block.max(1);
    let of_column = (rows / block)
        .saturating_mul(packed_bytes(bits, block))
        .saturating_add(packed_bytes(bits, rows % block));
    of_column.saturating_mul(columns)
}

/// Bytes of rows that are packed each by itself: see [`PackLayout::PackedRows`].
pub(super) fn row_bytes(bits: usize, count: usize, columns: usize) -> usize {
    count.checked_div(columns).unwrap_or(0).saturating_mul(packed_bytes(bits, columns))
}

/// The elements of a filter, if they have at most `bits` bits.
fn elements(source: &Data, bits: usize) -> Result<&[i8], String> {
    if !matches!(bits, 2 | 4) {
        return Err(format!("expected elements of 4 or 2 bits, got {bits}"));
    }
    let Data::I8(items) = source else {
        return Err(format!("expected a filter of i8, got {}", source.scalar().name()));
    };
    let end = 1i8 << (bits - 1);
    match items.iter().find(|&&item| item < -end || item >= end) {
        Some(item) => Err(format!("expected elements of {bits} bits, got {item}")),
        None => Ok(items),
    }
}

fn bytes(bits: usize, runs: impl Iterator<Item = Vec<i8>>) -> Data {
    Data::I8(runs.flat_map(|run| sub_byte::pack(&run, bits)).map(|byte| byte as i8).collect())
}

/// [`PackLayout::PackedRows`].
pub(super) fn pack_rows(source: &Data, bits: usize, columns: usize) -> Result<Data, String> {
    let items = elements(source, bits)?;
    if columns == 0 || !items.len().is_multiple_of(columns) {
        return Err(format!("expected rows of {columns} elements, got {}", items.len()));
    }
    Ok(bytes(bits, items.chunks(columns).map(<[i8]>::to_vec)))
}

/// [`PackLayout::PackedInterleave`].
pub(super) fn pack_interleaved(
    source: &Data,
    bits: usize,
    [rows, columns, block]: [usize; 3],
) -> Result<Data, String> {
    let items = elements(source, bits)?;
    let block = block.max(1);
    let order = interleaved(rows, columns, block, 1);
    let whole = rows / block * block * columns;
    let part = |part: &[usize], rows: usize| -> Vec<Vec<i8>> {
        part.chunks(rows.max(1)).map(|run| run.iter().map(|&i| items[i]).collect()).collect()
    };
    let runs = part(&order[..whole], block).into_iter().chain(part(&order[whole..], rows % block));
    Ok(bytes(bits, runs))
}

/// [`PackLayout::PackedPaired`].
pub(super) fn pack_paired(
    source: &Data,
    bits: usize,
    [rows, columns, block]: [usize; 3],
) -> Result<Data, String> {
    elements(source, bits)?;
    let words_together = 8 / bits;
    if !block.is_multiple_of(words_together) {
        return Err(format!("expected a multiple of {words_together} rows in a group, got {block}"));
    }
    let paired = PackLayout::Paired { rows, columns, block }.evaluate(std::slice::from_ref(source))?;
    let Data::I8(paired) = paired else { return Err("expected a filter of i8, got another".to_owned()) };
    let lane = |words: &[i8], lane: usize| words.iter().skip(lane).step_by(4).copied().collect::<Vec<_>>();
    let words = paired.chunks(4 * words_together);
    Ok(bytes(bits, words.flat_map(|words| (0..4).map(move |i| lane(words, i)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::{AttrValue, ResourceRef};
    use crate::types::Scalar;

    fn pack(layout: PackLayout, source: Vec<i8>) -> Result<Vec<u8>, String> {
        assert_eq!(PackLayout::from_attr(&layout.to_attr()), Ok(layout.clone()));
        let sources = [ResourceRef { name: "w".into(), element: Scalar::I4, count: source.len() }];
        let packed = layout.evaluate(&[Data::I8(source)])?;
        assert_eq!(layout.result(&sources), (Scalar::I8, packed.len()));
        Ok(packed.to_bytes())
    }

    #[test]
    fn rows_begin_with_a_byte() {
        let layout = |bits| PackLayout::PackedRows { bits, columns: 3 };
        assert_eq!(pack(layout(4), vec![1, 2, 3, -1, -2, -3]), Ok(vec![0x21, 0x03, 0xef, 0x0d]));
        assert_eq!(pack(layout(2), vec![1, -2, -1, 0, 1, 0]), Ok(vec![0b11_10_01, 0b00_01_00]));
        assert!(pack(layout(4), vec![8, 0, 0]).is_err());
        assert!(pack(layout(3), vec![1, 0, 0]).is_err());
    }

    /// Three rows in groups of two: the last group has a byte for each of its elements.
    #[test]
    fn groups_of_rows_share_bytes() {
        let layout = PackLayout::PackedInterleave { bits: 4, rows: 3, columns: 2, block: 2 };
        assert_eq!(pack(layout, vec![1, 2, 3, 4, 5, 6]), Ok(vec![0x31, 0x42, 0x05, 0x06]));
    }

    /// The words `a0 b0 a2 b2` and `a1 b1 a3 b3` become the low and the high half of bytes.
    #[test]
    fn pairs_of_words_share_bytes() {
        let layout = |bits, block| PackLayout::PackedPaired { bits, rows: 2, columns: 4, block };
        let filter = vec![1, -1, 0, 1, 0, -2, -1, 1];
        assert_eq!(pack(layout(4, 2), filter.clone()), Ok(vec![0xf1, 0xe0, 0x10, 0x1f]));
        assert_eq!(pack(layout(2, 4), filter.clone()), Ok(vec![0b1101, 0b1000, 0b0100, 0b0111]));
        assert!(pack(layout(2, 2), filter).is_err());
    }
}
