//! A partial placement, what follows from it, and how to take it back.
//!
//! Invariant between two nodes: an item is placed, or `earliest` says where it fits among the placed ones at the lowest;
//! every section's measure is that of its unplaced items.

use super::model::Model;

/// What is known of a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Measure {
    /// Bytes of unplaced items.
    pub unplaced: i64,
    /// Bytes that would stay free if all unplaced ones lay as low as the lowest of them can.
    pub slack: i64,
    /// Items that can be the lowest of those that are not placed yet.
    pub candidates: usize,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Earliest(usize, i64),
    Postponed(usize, Option<i64>),
    Placed(usize),
    Measured(usize, Measure),
}

/// A partial placement.
#[derive(Debug)]
pub struct State<'m> {
    model: &'m Model,
    capacity: i64,
    /// Lowest offset that an item may have; of a placed one, its offset.
    pub earliest: Vec<i64>,
    /// Whether an item is placed.
    pub placed: Vec<bool>,
    /// Offset at which something must come to be in the way of the item, as long as nothing is.
    pub postponed: Vec<Option<i64>>,
    /// What is known of each section.
    pub measures: Vec<Measure>,
    /// How often each section was the reason for which a branch died; never taken back.
    pub blame: Vec<u32>,
    changes: Vec<Change>,
    /// Sections to measure anew.
    touched: Vec<usize>,
    is_touched: Vec<bool>,
}

impl<'m> State<'m> {
    /// Nothing is placed; `blame` is that of earlier runs, or empty. `None` if some section cannot fit.
    pub fn new(model: &'m Model, capacity: i64, mut blame: Vec<u32>) -> Option<Self> {
        let (items, sections) = (model.items(), model.sections.len());
        blame.resize(sections, 0);
        let measures =
            model.sections.iter().map(|section| Measure { unplaced: section.total(), ..Measure::default() });
        let mut state = Self {
            model,
            capacity,
            earliest: vec![0; items],
            placed: vec![false; items],
            postponed: vec![None; items],
            measures: measures.collect(),
            blame,
            changes: Vec::new(),
            touched: (0..sections).collect(),
            is_touched: vec![true; sections],
        };
        let fits = state.measure() && model.bytes.iter().all(|&bytes| bytes <= capacity);
        fits.then_some(state)
    }

    /// A mark to go back to.
    pub fn mark(&self) -> usize {
        self.changes.len()
    }

    /// Takes back everything since a mark.
    pub fn undo(&mut self, mark: usize) {
        for change in self.changes.drain(mark..).rev() {
            match change {
                Change::Earliest(item, offset) => self.earliest[item] = offset,
                Change::Postponed(item, offset) => self.postponed[item] = offset,
                Change::Placed(item) => self.placed[item] = false,
                Change::Measured(section, measure) => self.measures[section] = measure,
            }
        }
    }

    /// Places an item of a part at its earliest offset. Returns whether all others may still fit.
    pub fn place(&mut self, item: usize, part: &[usize]) -> bool {
        let (model, offset) = (self.model, self.earliest[item]);
        self.set_postponed(item, None);
        self.placed[item] = true;
        self.changes.push(Change::Placed(item));
        for &(section, live) in &model.in_sections[item] {
            self.changes.push(Change::Measured(section, self.measures[section]));
            self.measures[section].unplaced -= live.bytes;
        }
        self.touch(item);
        let mut fits = true;
        for edge in &model.edges[item] {
            if self.placed[edge.with] {
                continue;
            }
            let is_between = |other: i64| (edge.first..=edge.last).contains(&(other - offset));
            if self.postponed[edge.with].is_some_and(is_between) {
                self.set_postponed(edge.with, None);
            }
            if is_between(self.earliest[edge.with]) {
                fits = fits && self.raise(edge.with, offset + edge.last + 1);
            }
        }
        self.settle(fits, part)
    }

    /// Decides that an item of a part does not start where it may at the earliest. Returns whether all may still fit.
    pub fn postpone(&mut self, item: usize, part: &[usize]) -> bool {
        self.set_postponed(item, Some(self.earliest[item]));
        self.settle(true, part)
    }

    /// Draws all conclusions about the items of a part, unless it is known that they don't fit.
    fn settle(&mut self, mut fits: bool, part: &[usize]) -> bool {
        let mut is_settled = false;
        while fits && !is_settled {
            is_settled = true;
            for &item in part {
                let Some(offset) = self.postponed[item].filter(|_| !self.placed[item]) else { continue };
                let Some(end) = self.earliest_end_in_the_way(item, offset) else {
                    fits = false;
                    break;
                };
                if end > self.earliest[item] {
                    fits = self.raise(item, end);
                    is_settled = false;
                }
                if !fits {
                    break;
                }
            }
        }
        if fits {
            return self.measure();
        }
        self.touched.drain(..).for_each(|section| self.is_touched[section] = false);
        false
    }

    /// Where an item may start that something unplaced is in the way of at `offset`; `None` if nothing can be. Exact only
    /// where that is above what is known already.
    fn earliest_end_in_the_way(&self, item: usize, offset: i64) -> Option<i64> {
        let mut earliest = None;
        for edge in self.model.edges[item].iter().filter(|edge| !self.placed[edge.with]) {
            // The other starts at `offset + first` to `offset + last`, and this one above the range that it forbids.
            if self.earliest[edge.with] <= offset + edge.last {
                let end = (self.earliest[edge.with] - edge.first + 1).max(offset + 1);
                if end <= self.earliest[item] {
                    return Some(end);
                }
                earliest = Some(earliest.map_or(end, |least: i64| least.min(end)));
            }
        }
        earliest
    }

    /// Raises an item's earliest offset to the lowest fit from an offset up. Returns whether it stays within the capacity.
    fn raise(&mut self, item: usize, offset: i64) -> bool {
        let offset = self.lowest_fit(item, offset);
        self.changes.push(Change::Earliest(item, self.earliest[item]));
        self.earliest[item] = offset;
        self.touch(item);
        let fits = offset + self.model.bytes[item] <= self.capacity;
        if !fits {
            for &(section, _) in &self.model.in_sections[item] {
                self.blame(section);
            }
        }
        fits
    }

    fn lowest_fit(&self, item: usize, offset: i64) -> i64 {
        let align = self.model.align[item];
        let aligned = |offset: i64| (offset + align - 1) / align * align;
        let mut offset = aligned(offset);
        // Placed neighbours of a plain item start below it, so nothing above what it was raised to is forbidden.
        if self.model.plain[item] {
            return offset;
        }
        loop {
            let mut edges = self.model.edges[item].iter().filter(|edge| self.placed[edge.with]);
            let blocked =
                edges.find(|edge| (edge.first..=edge.last).contains(&(self.earliest[edge.with] - offset)));
            let Some(edge) = blocked else { return offset };
            offset = aligned(self.earliest[edge.with] - edge.first + 1);
        }
    }

    fn blame(&mut self, section: usize) {
        self.blame[section] = self.blame[section].saturating_add(1);
    }

    fn set_postponed(&mut self, item: usize, offset: Option<i64>) {
        if self.postponed[item] != offset {
            self.changes.push(Change::Postponed(item, self.postponed[item]));
            self.postponed[item] = offset;
            self.touch(item);
        }
    }

    fn touch(&mut self, item: usize) {
        for &(section, _) in &self.model.in_sections[item] {
            if !self.is_touched[section] {
                self.is_touched[section] = true;
                self.touched.push(section);
            }
        }
    }

    /// Measures all touched sections. Returns whether their items may still fit.
    fn measure(&mut self) -> bool {
        let mut fits = true;
        for section in std::mem::take(&mut self.touched) {
            self.is_touched[section] = false;
            if fits {
                let measure = self.measure_of(section);
                self.changes.push(Change::Measured(section, self.measures[section]));
                self.measures[section] = measure;
                fits = measure.slack >= 0;
                if !fits {
                    self.blame(section);
                }
            }
        }
        fits
    }

    fn measure_of(&self, section: usize) -> Measure {
        let unplaced = self.measures[section].unplaced;
        let section = &self.model.sections[section];
        // The lowest item starts no higher, or the others don't fit above it.
        let limit = self.capacity - (unplaced - section.savings).max(0);
        let (mut floor, mut candidates) = (None, 0);
        for live in section.live.iter().filter(|live| !self.placed[live.item]) {
            let first = self.earliest[live.item] + live.first_byte;
            floor = Some(floor.map_or(first, |floor: i64| floor.min(first)));
            candidates += usize::from(first <= limit && self.postponed[live.item].is_none());
        }
        Measure { unplaced, slack: limit - floor.unwrap_or(0), candidates }
    }
}
