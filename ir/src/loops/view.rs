//! Views of buffers: what a kernel touches of a buffer that is the memory of several tensors.
//!
//! The parts of a concatenation lie in the buffer of the whole, and a kernel that makes or reads one of them works on that
//! buffer. A view says which elements these are: runs of neighbouring ones, at equal distances.

use crate::attr::{Attr, AttrError, AttrValue};
use std::ops::Range;

/// Elements of a buffer that are a tensor: `count` runs of `run` neighbouring ones, of which the first begins at `first` and
/// the next ones every `step` elements: `#loop.view<buffer, first, run, step, count>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct View {
    /// Position among the buffers of the kernel.
    pub buffer: usize,
    /// First element.
    pub first: usize,
    /// Elements of a run.
    pub run: usize,
    /// From a run to the next.
    pub step: usize,
    /// Runs.
    pub count: usize,
}

impl View {
    /// Elements of the tensor.
    pub fn elements(&self) -> usize {
        self.run.saturating_mul(self.count)
    }

    /// One past the last element in the buffer.
    pub fn end(&self) -> usize {
        let last = self.count.saturating_sub(1).saturating_mul(self.step);
        self.first.saturating_add(last).saturating_add(self.run)
    }

    /// Where the elements of rows `rows` of the tensor, of `all` of them, are in the buffer: ranges in order, at most one for
    /// each run.
    pub fn spans(&self, rows: Range<usize>, all: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let view = *self;
        let (all, elements) = (all.max(1), view.elements());
        let (from, to) = (rows.start * elements / all, rows.end.max(rows.start) * elements / all);
        let run = view.run.max(1);
        let runs = if from < to { from / run..to.div_ceil(run) } else { 0..0 };
        runs.map(move |index| {
            let inside = |element: usize| element.clamp(index * run, (index + 1) * run) - index * run;
            let start = view.first + index * view.step;
            start + inside(from)..start + inside(to)
        })
    }

    /// Where an element of the tensor is in the buffer.
    pub fn element(&self, position: usize) -> usize {
        let run = self.run.max(1);
        self.first + position / run * self.step + position % run
    }

    /// The view of the buffer that `inner`, a view of the tensor, is, if its runs are at equal distances there.
    pub fn of(&self, inner: &View) -> Option<View> {
        let first = self.element(inner.first);
        if inner.count == 1 && inner.first % self.run.max(1) + inner.run <= self.run {
            return Some(View { first, ..*inner });
        }
        // Whole runs, or as much of each.
        let whole =
            inner.count == 1 && inner.first.is_multiple_of(self.run) && inner.run.is_multiple_of(self.run);
        if whole {
            let count = inner.run / self.run;
            return Some(View { first, run: self.run, step: self.step, count, ..*inner });
        }
        if self.count == 1 {
            return Some(View { first, ..*inner });
        }
        let one_each = inner.step == self.run && inner.first % self.run + inner.run <= self.run;
        one_each.then_some(View { first, step: self.step, ..*inner })
    }

    /// Which element of the tensor an element of the buffer is, if it is one.
    pub fn position(&self, element: usize) -> Option<usize> {
        let way = element.checked_sub(self.first)?;
        let (index, rest) = match self.count {
            1 => (0, way),
            _ => (way.checked_div(self.step)?, way % self.step),
        };
        (index < self.count && rest < self.run).then(|| index * self.run + rest)
    }
}

impl AttrValue for View {
    fn description() -> String {
        "`#loop.view<buffer, first, run, step, count>`".to_owned()
    }

    fn to_attr(&self) -> Attr {
        let Self { buffer, first, run, step, count } = self;
        let numbers = [buffer, first, run, step, count];
        Attr::Tuple("loop.view".into(), numbers.into_iter().map(AttrValue::to_attr).collect())
    }

    fn from_attr(attr: &Attr) -> Result<Self, AttrError> {
        match attr {
            Attr::Tuple(name, items) if &**name == "loop.view" && items.len() == 5 => {
                let number = |at: usize| usize::from_attr(&items[at]);
                let (buffer, first) = (number(0)?, number(1)?);
                Ok(Self { buffer, first, run: number(2)?, step: number(3)?, count: number(4)? })
            }
            other => Err(AttrError::Kind {
                expected: "#loop.view<buffer, first, run, step, count>",
                found: other.kind().to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_view_are_where_its_elements_are() {
        // Channels 1 and 2 of 5, of 2 rows of 3 pixels.
        let view = View { buffer: 0, first: 1, run: 2, step: 5, count: 6 };
        assert_eq!(view.spans(1..2, 2).collect::<Vec<_>>(), [16..18, 21..23, 26..28]);
        assert_eq!(view.end(), 28);
        for (row, span) in [(0, 0..6), (1, 6..12)] {
            let found = view.spans(row..row + 1, 2).flatten().map(|at| view.position(at));
            assert_eq!(found.collect::<Option<Vec<_>>>(), Some(span.collect()));
        }
        assert_eq!([0, 3, 5, 31].map(|at| view.position(at)), [None; 4]);
    }

    #[test]
    fn rows_divide_a_run() {
        let view = View { buffer: 0, first: 10, run: 12, step: 12, count: 1 };
        assert_eq!(view.spans(1..3, 4).collect::<Vec<_>>(), vec![13..19; 1]);
        assert_eq!(view.spans(2..2, 4).count(), 0);
        assert_eq!(view.position(21), Some(11));
    }

    #[test]
    fn a_view_of_a_view_has_the_same_elements() {
        let view = |first, run, step, count| View { buffer: 0, first, run, step, count };
        // Channels of channels, a pixel, two pixels, rows in one piece, and columns of rows.
        let cases = [
            (view(1, 4, 7, 6), view(1, 2, 4, 6)),
            (view(1, 4, 7, 6), view(5, 3, 3, 1)),
            (view(1, 4, 7, 6), view(4, 8, 8, 1)),
            (view(3, 24, 24, 1), view(2, 3, 8, 3)),
            (view(3, 12, 20, 2), view(12, 12, 12, 1)),
        ];
        for (outer, inner) in cases {
            let expected: Vec<usize> = inner.spans(0..1, 1).flatten().map(|at| outer.element(at)).collect();
            let found = outer.of(&inner).map(|both| both.spans(0..1, 1).flatten().collect());
            assert_eq!(found, Some(expected), "{outer:?} {inner:?}");
        }
        // Runs that straddle those of the other, and every second one of them.
        assert_eq!(view(1, 4, 7, 6).of(&view(2, 4, 4, 1)), None);
        assert_eq!(view(1, 4, 7, 6).of(&view(0, 2, 8, 3)), None);
    }

    #[test]
    fn views_survive_text() {
        let view = View { buffer: 1, first: 2, run: 3, step: 4, count: 5 };
        assert_eq!(View::from_attr(&view.to_attr()), Ok(view));
        assert!(View::from_attr(&Attr::Int(1)).is_err());
    }
}
