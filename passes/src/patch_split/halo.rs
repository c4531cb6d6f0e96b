//! Columns that neighbouring strips both need: computed again by each, or kept by the one for the other.
//!
//! Strips run from left to right. Where columns are kept, a strip makes of every tensor only what no strip before it has made;
//! what its windows reach to the left of that it takes from columns that the strip before has left. So a column is made
//! once, and what is kept of a tensor are `kernel - stride` columns or so, of all rows. A strip that is narrower than that passes
//! on columns that it was given.
//!
//! Columns take few bytes where tensors have few channels. What has more than some limit can be made again, from kept
//! columns of what it is made from, so that halos don't grow from layer to layer as they do where all are made again.
//! Source: StreamNet (Zheng et al., NeurIPS 2023, section 4), which keeps a tile's last rows and columns; rows need no
//! buffers here, since strips have full height.

use super::plan::{Run, TilePlan};
use super::region::{Region, hull, whole};
use crate::pass::OptionValue;
use mcunet_ir::{Function, Op, Value};
use std::ops::Range;

/// What happens to columns that a strip shares with the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Halo {
    /// Both compute them.
    Recompute,
    /// The first keeps them for the next, if a column of the tensor takes at most so many bytes.
    Keep {
        /// Bytes of a column: all rows and channels.
        max_column_bytes: usize,
    },
}

impl Halo {
    /// All are kept.
    pub const KEEP: Self = Halo::Keep { max_column_bytes: usize::MAX };
}

impl OptionValue for Halo {
    fn description() -> String {
        "`recompute`, `keep`, or `keep:1024` to keep columns of at most so many bytes".to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        match text {
            "recompute" => Some(Halo::Recompute),
            "keep" => Some(Halo::KEEP),
            _ => Some(Halo::Keep { max_column_bytes: text.strip_prefix("keep:")?.parse().ok()? }),
        }
    }
    fn print(&self) -> String {
        match *self {
            Halo::Recompute => "recompute".to_owned(),
            Halo::KEEP => "keep".to_owned(),
            Halo::Keep { max_column_bytes } => format!("keep:{max_column_bytes}"),
        }
    }
}

/// Columns of a tensor that strips hand on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Kept {
    /// What the strips before have left.
    pub before: Option<Region>,
    /// What this strip leaves.
    pub after: Option<Region>,
}

/// What the strips before a strip have made of the results of each operation of a run.
pub(super) struct Made {
    /// Rows that every strip makes, for operations whose columns are kept.
    rows: Vec<Option<Range<usize>>>,
    /// Columns without a gap up to the last that was made.
    columns: Vec<Option<Range<usize>>>,
}

/// A strip needs rows that others don't make, or columns to the left of all that those before it have made, so that those of this
/// operation can't be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NotKept(pub usize);

impl Made {
    /// Nothing has been made yet, and the columns of the operations of `keeps` will be kept. `whole` is the run in one tile,
    /// which has the rows that are made.
    pub fn nothing(whole: &TilePlan, keeps: &[bool]) -> Self {
        let rows = whole.ops.iter().zip(keeps).map(|(tile, &keeps)| {
            let tile = tile.as_ref().filter(|_| keeps)?;
            Some(tile.made[0].clone())
        });
        Self { rows: rows.collect(), columns: vec![None; keeps.len()] }
    }

    /// Nothing is kept of `count` operations.
    pub fn without_keeping(count: usize) -> Self {
        Self { rows: vec![None; count], columns: vec![None; count] }
    }

    /// Whether columns of the results of operation `index` are kept.
    pub fn keeps(&self, index: usize) -> bool {
        self.rows[index].is_some()
    }

    /// What has to be made of region `needed` of the results of operation `index`; `None` if it has all been.
    pub fn left(&self, index: usize, needed: &Region) -> Result<Option<Region>, NotKept> {
        let Some(rows) = &self.rows[index] else { return Ok(Some(needed.clone())) };
        let columns = &needed[1];
        if needed[0].start < rows.start || needed[0].end > rows.end {
            return Err(NotKept(index));
        }
        let left = match &self.columns[index] {
            Some(made) if columns.start < made.start => return Err(NotKept(index)),
            // Between the two are columns that nobody needs.
            Some(made) if columns.start <= made.end => made.end..columns.end,
            _ => columns.clone(),
        };
        Ok((!left.is_empty()).then(|| [rows.clone(), left]))
    }

    /// Operation `index` makes a region, which continues what was made or comes after a gap.
    pub fn add(&mut self, index: usize, region: &Region) {
        let columns = region[1].clone();
        let made = &mut self.columns[index];
        *made = Some(match made.take() {
            Some(made) if columns.start <= made.end => {
                made.start.min(columns.start)..made.end.max(columns.end)
            }
            _ => columns,
        });
    }
}

/// Which operations of a run have results whose columns are kept.
pub(super) fn keeps(function: &Function, ops: &[Op], halo: Halo) -> Vec<bool> {
    let Halo::Keep { max_column_bytes } = halo else { return vec![false; ops.len()] };
    let fits = |&value: &Value| column_bytes(function, value) <= max_column_bytes;
    ops.iter().map(|&op| function.ops[op].results.iter().all(fits)).collect()
}

/// Bytes of a column of an image: all rows and channels.
pub(super) fn column_bytes(function: &Function, value: Value) -> usize {
    function.ty(value).as_tensor().map_or(0, |ty| ty.size_bytes() / whole(&ty.shape)[1].len().max(1))
}

/// Settles what each of the strips of a run hands on, and so what it holds. Before, `regions` of a plan say for inner tensors
/// whose columns are kept what readers need of them; afterwards, what is held.
pub(super) fn hand_on(function: &Function, run: &Run, keeps: &[bool], plans: &mut [TilePlan]) {
    for (index, &op) in run.ops.iter().enumerate().filter(|&(index, _)| keeps[index]) {
        for &value in &function.ops[op].results {
            hand_on_value(index, value, plans);
        }
    }
}

fn hand_on_value(op: usize, value: Value, plans: &mut [TilePlan]) {
    let Some(rows) = plans.iter().flat_map(|plan| &plan.ops[op]).map(|tile| tile.made[0].clone()).next()
    else {
        return;
    };
    // The end of what has been made after each strip.
    let ends: Vec<usize> = plans
        .iter()
        .scan(0, |end, plan| {
            *end = plan.ops[op].as_ref().map_or(*end, |tile| tile.made[1].end.max(*end));
            Some(*end)
        })
        .collect();
    // What this strip and those after it need of what was made before.
    let mut later: Option<Region> = None;
    for (index, plan) in plans.iter_mut().enumerate().rev() {
        let after = up_to(later.as_ref(), ends[index]);
        let needed = plan.regions.get(&value).map(|region| [rows.clone(), region[1].clone()]);
        let own = plan.ops[op].as_ref().map_or(usize::MAX, |tile| tile.made[1].start);
        if let Some(needed) = &needed
            && needed[1].start < own
        {
            let given = [rows.clone(), needed[1].start..needed[1].end.min(own)];
            later = Some(later.as_ref().map_or(given.clone(), |later| hull(later, &given)));
        }
        let before = index.checked_sub(1).and_then(|left| up_to(later.as_ref(), ends[left]));
        match needed.into_iter().chain(after.clone()).reduce(|a, b| hull(&a, &b)) {
            Some(held) => plan.regions.insert(value, held),
            None => plan.regions.remove(&value),
        };
        plan.kept.insert(value, Kept { before, after });
    }
}

/// The columns of a region before `end`.
fn up_to(region: Option<&Region>, end: usize) -> Option<Region> {
    let [rows, columns] = region?;
    let columns = columns.start..columns.end.min(end);
    (!columns.is_empty()).then(|| [rows.clone(), columns])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(columns: Option<Range<usize>>) -> Made {
        Made { rows: vec![Some(0..4)], columns: vec![columns] }
    }

    #[test]
    fn what_was_made_is_not_made_again() {
        assert_eq!(made(None).left(0, &[0..4, 0..3]), Ok(Some([0..4, 0..3])));
        assert_eq!(made(Some(0..3)).left(0, &[1..3, 1..6]), Ok(Some([0..4, 3..6])));
        assert_eq!(made(Some(0..3)).left(0, &[0..4, 1..3]), Ok(None));
        // Strides leave gaps.
        assert_eq!(made(Some(0..3)).left(0, &[0..4, 5..6]), Ok(Some([0..4, 5..6])));
    }

    #[test]
    fn what_was_skipped_is_not_kept() {
        assert_eq!(made(Some(2..3)).left(0, &[0..4, 1..6]), Err(NotKept(0)));
        assert_eq!(made(Some(0..3)).left(0, &[0..5, 1..6]), Err(NotKept(0)));
    }

    #[test]
    fn limits_print_as_they_are_read() {
        for text in ["recompute", "keep", "keep:704", "keep:0"] {
            assert_eq!(Halo::parse(text).map(|halo| halo.print()).as_deref(), Some(text));
        }
        assert_eq!(Halo::parse("keep:"), None);
    }
}
