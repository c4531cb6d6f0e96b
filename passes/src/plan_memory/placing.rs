//! Places buffers one after the other in a given order, each as low as it fits.
//!
//! Searches try many orders that differ little. A buffer lies where it lay if the buffers in its way that come before it are the
//! same and lie where they lay; so after a change in the order only those are placed anew that it reaches.
//!
//! Invariant between two orders: `placed` has the offsets of the order that was kept last, which is also in `offsets`.

use super::problem::{Offsets, Problem};

/// Offset of what is not placed: whatever it forbids is below all offsets.
const UNPLACED: i64 = i64::MIN / 4;

/// Offsets that a placed neighbour forbids an item: from its own to those at these distances.
#[derive(Clone, Copy, Debug)]
struct Forbidden {
    neighbour: usize,
    first: i64,
    last: i64,
}

/// The placement of the order that was kept last.
#[derive(Debug)]
pub struct Placing<'p> {
    problem: &'p Problem,
    /// What neighbours forbid each item, one item after the other, and where those of each begin.
    forbidden: Vec<Forbidden>,
    begin: Vec<usize>,
    offsets: Offsets,
    height: usize,
    placed: Vec<i64>,
    /// Memory to work in.
    taken: Vec<[i64; 2]>,
    marks: Marks,
}

/// A change of an order: clusters between these positions, both included, are in another order than before, in which all but
/// `moved` follow each other as they did.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// First and last position.
    pub positions: [usize; 2],
    /// Clusters that were moved; one twice if it is alone.
    pub moved: [usize; 2],
}

/// What a change has reached, in the attempt of this number.
#[derive(Debug)]
struct Marks {
    attempt: u32,
    /// Attempts in which an item, or a neighbour of it, was moved in the order.
    near: Vec<u32>,
    /// Attempts in which a neighbour of an item got another offset.
    reached: Vec<u32>,
}

impl<'p> Placing<'p> {
    /// Nothing is placed.
    pub fn new(problem: &'p Problem) -> Self {
        let count = problem.items.len();
        let (mut forbidden, mut begin) = (Vec::new(), vec![0]);
        for conflicts in &problem.conflicts {
            forbidden.extend(conflicts.iter().flat_map(|conflict| {
                let of = |&[first, last]: &[i64; 2]| Forbidden { neighbour: conflict.with, first, last };
                conflict.distances.iter().map(of)
            }));
            begin.push(forbidden.len());
        }
        Self {
            problem,
            forbidden,
            begin,
            offsets: vec![0; count],
            height: usize::MAX,
            placed: vec![UNPLACED; count],
            taken: Vec::new(),
            marks: Marks { attempt: 0, near: vec![0; count], reached: vec![0; count] },
        }
    }

    /// Offsets in the order that was kept last.
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// Bytes that they need; the greatest number before the first.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Places items in an order, and keeps that if it is no higher than the one before.
    pub fn place(&mut self, order: &[usize]) -> bool {
        self.placed.fill(UNPLACED);
        for &item in order {
            if !self.place_item(item) {
                self.take_back(order.iter().copied());
                return false;
            }
        }
        self.keep();
        true
    }

    /// Places clusters in the order that a change makes of the one that was kept last, and keeps that if it is no higher.
    pub fn place_changed(&mut self, order: &[usize], change: Change) -> bool {
        let problem = self.problem;
        let Change { positions: [first, last], moved } = change;
        self.marks.attempt += 1;
        for &item in moved.iter().flat_map(|&cluster| &problem.clusters[cluster]) {
            self.marks.near[item] = self.marks.attempt;
            self.for_each_neighbour(item, |marks, neighbour| marks.near[neighbour] = marks.attempt);
        }
        let items = || order[first..].iter().flat_map(|&cluster| &problem.clusters[cluster]).copied();
        items().for_each(|item| self.placed[item] = UNPLACED);
        for (position, &cluster) in order.iter().enumerate().skip(first) {
            for &item in &problem.clusters[cluster] {
                let Marks { attempt, near, reached } = &self.marks;
                if reached[item] != *attempt && (position > last || near[item] != *attempt) {
                    self.placed[item] = self.offsets[item] as i64;
                    continue;
                }
                if !self.place_item(item) {
                    self.take_back(items());
                    return false;
                }
                if self.placed[item] != self.offsets[item] as i64 {
                    self.for_each_neighbour(item, |marks, neighbour| {
                        marks.reached[neighbour] = marks.attempt
                    });
                }
            }
        }
        self.keep();
        true
    }

    fn for_each_neighbour(&mut self, item: usize, mut mark: impl FnMut(&mut Marks, usize)) {
        let Self { forbidden, begin, marks, .. } = self;
        forbidden[begin[item]..begin[item + 1]].iter().for_each(|by| mark(marks, by.neighbour));
    }

    /// Places an item as low as it fits among the placed ones; whether it stays within the height of the order that was kept.
    fn place_item(&mut self, item: usize) -> bool {
        let offset = self.lowest_fit(item);
        self.placed[item] = offset as i64;
        // No order that begins so can be kept.
        offset + self.problem.items[item].bytes <= self.height
    }

    fn take_back(&mut self, items: impl Iterator<Item = usize>) {
        items.for_each(|item| self.placed[item] = self.offsets[item] as i64);
    }

    fn keep(&mut self) {
        for (offset, &placed) in self.offsets.iter_mut().zip(&self.placed) {
            *offset = placed as usize;
        }
        self.height = self.problem.height(&self.offsets);
    }

    /// Lowest offset at which an item fits among the placed ones.
    fn lowest_fit(&mut self, item: usize) -> usize {
        let Self { forbidden, begin, placed, taken, .. } = self;
        let align = self.problem.items[item].align.max(1);
        taken.clear();
        for by in &forbidden[begin[item]..begin[item + 1]] {
            let start = placed[by.neighbour];
            if by.last + start >= 0 {
                taken.push([by.first + start, by.last + start]);
            }
        }
        let mut offset = 0i64;
        loop {
            // All that begins so low is passed at once; what ends below is in nobody's way any more.
            let mut free = offset;
            taken.retain(|&[first, last]| {
                if first <= offset {
                    free = free.max(last + 1);
                }
                first > offset
            });
            if free == offset {
                return offset as usize;
            }
            offset = (free as usize).next_multiple_of(align) as i64;
        }
    }
}
