//! Rectangles of an image: which rows and columns of a tensor a tile has.

use std::ops::Range;

/// Rows and columns of an NHWC tensor.
pub type Region = [Range<usize>; 2];

/// The dimension of a tensor of `rank` dimensions that is its height (`axis` 0) or width (1), if it has one; tensors of
/// lower rank are aligned as broadcasting aligns them.
pub fn dimension(rank: usize, axis: usize) -> Option<usize> {
    (1 + axis + rank).checked_sub(4)
}

/// All rows and columns of a tensor; 1 where it has no such dimension.
pub fn whole(shape: &[usize]) -> Region {
    [0, 1].map(|axis| 0..dimension(shape.len(), axis).map_or(1, |dimension| shape[dimension]))
}

/// The smallest region that covers both.
pub fn hull(a: &Region, b: &Region) -> Region {
    [0, 1].map(|axis| a[axis].start.min(b[axis].start)..a[axis].end.max(b[axis].end))
}

/// Part `index` of `count` parts of `0..length` that are as equal as can be.
pub fn part(length: usize, index: usize, count: usize) -> Range<usize> {
    index * length / count..(index + 1) * length / count
}

/// A shape cut down to a region.
pub fn cut(shape: &[usize], region: &Region) -> Vec<usize> {
    let mut cut = shape.to_vec();
    for (axis, span) in region.iter().enumerate() {
        if let Some(dimension) = dimension(shape.len(), axis) {
            cut[dimension] = span.len();
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_length_once() {
        for (length, count) in [(7, 3), (3, 3), (96, 5), (1, 1)] {
            let parts: Vec<usize> = (0..count).flat_map(|index| part(length, index, count)).collect();
            assert_eq!(parts, (0..length).collect::<Vec<_>>());
        }
    }

    #[test]
    fn lower_ranks_align_at_the_end() {
        assert_eq!(whole(&[2, 3, 5, 7]), [0..3, 0..5]);
        assert_eq!(whole(&[5, 7]), [0..1, 0..5]);
        assert_eq!(whole(&[7]), [0..1, 0..1]);
        assert_eq!(cut(&[3, 5, 7], &[1..2, 0..5]), [1, 5, 7]);
    }
}
