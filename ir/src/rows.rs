//! Rows: the unit in which tensors are made, held and forgotten.
//!
//! A row of an image is one line of it, all columns and channels: row `r` of a tensor `1xHxWxC` is its elements
//! `[0, r, :, :]`, which lie side by side. An op that makes its result row by row needs a span of rows of each operand
//! for each of them. Schedules, windows and memory plans are all built from these spans.

use crate::attr::{Attr, AttrError, AttrValue};
use crate::types::Shape;
use std::ops::Range;

/// Most rows that a tensor is divided into; one with more counts as a whole.
pub const MAX_ROWS: usize = 1 << 16;

/// Rows of a tensor of batch 1 with a height; `None` if it has no such rows.
pub fn image_rows(shape: &Shape) -> Option<usize> {
    match shape.nhwc() {
        Some([1, height, ..]) if (1..=MAX_ROWS).contains(&height) => Some(height),
        _ => None,
    }
}

/// Which rows of an operand one row of the result needs. Every form says how many rows the operand has, so that a need
/// can be read without its type, and also if the operand's memory is divided otherwise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RowNeed {
    /// All of it: the operand counts as a single row.
    Whole,
    /// Row `r` needs rows `r * stride - before` and the `extent - 1` after it, as far as they are among `0..rows`.
    Window {
        /// Rows from one result's window to the next one's.
        stride: usize,
        /// Rows of the first window that lie before the operand; negative if it starts further down.
        before: i64,
        /// Rows from the first of a window to its last, both included.
        extent: usize,
        /// Rows of the operand.
        rows: usize,
    },
    /// Row `r` needs rows `spans[r][0]..spans[r][1]`.
    Spans {
        /// First row, and one past the last, per row of the result.
        spans: Vec<[usize; 2]>,
        /// Rows of the operand.
        rows: usize,
    },
}

impl RowNeed {
    /// Row `r` needs row `r`.
    pub fn same(rows: usize) -> Self {
        RowNeed::Window { stride: 1, before: 0, extent: 1, rows }
    }

    /// Rows of the operand.
    pub fn rows(&self) -> usize {
        match self {
            RowNeed::Whole => 1,
            RowNeed::Window { rows, .. } | RowNeed::Spans { rows, .. } => *rows,
        }
    }

    /// For a result of `count` rows, what covers this need and another one of the same operand; `None` if they count its
    /// rows differently.
    pub fn union(&self, other: &Self, count: usize) -> Option<Self> {
        if self == other {
            return Some(self.clone());
        }
        if self.rows() != other.rows() {
            return None;
        }
        let both = |row| match (self.span(row), other.span(row)) {
            (a, b) if a.is_empty() => [b.start, b.end],
            (a, b) if b.is_empty() => [a.start, a.end],
            (a, b) => [a.start.min(b.start), a.end.max(b.end)],
        };
        Some(RowNeed::Spans { spans: (0..count).map(both).collect(), rows: self.rows() })
    }

    /// Rows that row `row` of the result needs; empty if it needs none.
    pub fn span(&self, row: usize) -> Range<usize> {
        match self {
            RowNeed::Whole => 0..1,
            RowNeed::Window { stride, before, extent, rows } => {
                let clip = |at: i64| at.clamp(0, *rows as i64) as usize;
                let first = (row as i64).saturating_mul(*stride as i64).saturating_sub(*before);
                clip(first)..clip(first.saturating_add(*extent as i64))
            }
            RowNeed::Spans { spans, .. } => {
                spans.get(row).map_or(0..0, |&[first, end]| first..end.max(first))
            }
        }
    }
}

impl AttrValue for RowNeed {
    fn description() -> String {
        "`#loop.whole`, `#loop.window<stride, before, extent, rows>` or `#loop.spans<rows, spans>`".to_owned()
    }

    fn to_attr(&self) -> Attr {
        let (name, items) = match self {
            RowNeed::Whole => ("loop.whole", Vec::new()),
            RowNeed::Window { stride, before, extent, rows } => {
                ("loop.window", vec![stride.to_attr(), before.to_attr(), extent.to_attr(), rows.to_attr()])
            }
            RowNeed::Spans { spans, rows } => ("loop.spans", vec![rows.to_attr(), spans.to_attr()]),
        };
        Attr::Tuple(name.into(), items)
    }

    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        let error = || AttrError::Kind { expected: "rows that are needed", found: attr.kind().to_owned() };
        let Attr::Tuple(name, items) = attr else { return Err(error()) };
        match (&**name, items.as_slice()) {
            ("loop.whole", []) => Ok(RowNeed::Whole),
            ("loop.window", [stride, before, extent, rows]) => Ok(RowNeed::Window {
                stride: AttrValue::from_attr(stride)?,
                before: AttrValue::from_attr(before)?,
                extent: AttrValue::from_attr(extent)?,
                rows: AttrValue::from_attr(rows)?,
            }),
            ("loop.spans", [rows, spans]) => {
                Ok(RowNeed::Spans { spans: AttrValue::from_attr(spans)?, rows: AttrValue::from_attr(rows)? })
            }
            _ => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_clipped_at_both_ends() {
        let need = RowNeed::Window { stride: 2, before: 1, extent: 3, rows: 6 };
        assert_eq!((0..4).map(|row| need.span(row)).collect::<Vec<_>>(), [0..2, 1..4, 3..6, 5..6]);
        assert!(RowNeed::Window { stride: 1, before: 2, extent: 1, rows: 4 }.span(1).is_empty());
        assert_eq!(RowNeed::Window { stride: 1, before: -2, extent: 1, rows: 4 }.span(1), 3..4);
    }

    #[test]
    fn a_union_covers_both_needs() {
        let upper = RowNeed::same(2);
        let lower = RowNeed::Window { stride: 1, before: 2, extent: 1, rows: 2 };
        let spans = vec![[0, 1], [1, 2], [0, 1], [1, 2]];
        assert_eq!(upper.union(&lower, 4), Some(RowNeed::Spans { spans, rows: 2 }));
        let last = RowNeed::Spans { spans: vec![[1, 2], [1, 2]], rows: 2 };
        assert_eq!(upper.union(&last, 2), Some(RowNeed::Spans { spans: vec![[0, 2], [1, 2]], rows: 2 }));
        assert_eq!(upper.union(&upper, 2), Some(upper.clone()));
        assert_eq!(upper.union(&RowNeed::Whole, 2), None);
    }

    #[test]
    fn needs_survive_text() {
        let spans = RowNeed::Spans { spans: vec![[0, 2], [1, 3]], rows: 3 };
        for need in [RowNeed::Whole, RowNeed::same(7), spans] {
            assert_eq!(RowNeed::from_attr(&need.to_attr()), Ok(need));
        }
    }
}
