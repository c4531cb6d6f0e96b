//! The placement problem, free of the IR: buffers in the plane of time and bytes.
//!
//! A buffer is a column of slots, each with intervals of time in which it is in use. Two buffers conflict where slots of
//! theirs would share bytes while both are in use; since slots are at fixed places in their buffers, that depends on
//! nothing but the distance between the two buffers. So all that a search has to know of two buffers is the list of
//! distances that are forbidden: one range for two boxes, but a shorter one, or several, where the one buffer's last rows
//! may lie over the other's first.

use crate::analysis::liveness::Interval;

/// A buffer to place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Size in bytes.
    pub bytes: usize,
    /// The offset must be a multiple of this; at least 1.
    pub align: usize,
    /// Size of a slot in bytes; the last one may be smaller.
    pub slot_bytes: usize,
    /// When each slot is in use: sorted and disjoint.
    pub slots: Vec<Vec<Interval>>,
}

impl Item {
    /// First and last byte of a slot.
    pub fn bytes_of(&self, slot: usize) -> (i64, i64) {
        let first = (slot * self.slot_bytes).min(self.bytes);
        let end = (first + self.slot_bytes).min(self.bytes);
        (first as i64, end as i64 - 1)
    }

    /// Whether every slot has bytes and is in use once, and none is before the slot above it.
    fn is_in_order(&self) -> bool {
        let once = self.slots.iter().all(|lives| lives.len() == 1);
        let later = |pair: &[Vec<Interval>]| pair[0][0][0] <= pair[1][0][0] && pair[0][0][1] <= pair[1][0][1];
        let filled = self.slots.len().saturating_sub(1) * self.slot_bytes < self.bytes;
        once && filled && self.slots.windows(2).all(later)
    }

    /// First and last step in which anything of it is in use.
    pub fn span(&self) -> Interval {
        let lives = self.slots.iter().flatten();
        let first = lives.clone().map(|life| life[0]).min().unwrap_or(0);
        [first, lives.map(|life| life[1]).max().unwrap_or(0)]
    }
}

/// Distances that another buffer forbids, in bytes from its offset to this one's: inclusive ranges, sorted and disjoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The other buffer.
    pub with: usize,
    /// First and last forbidden distance.
    pub distances: Vec<[i64; 2]>,
}

/// Buffers to place and what they forbid each other.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// The buffers; of one whose rows are scattered, the rows.
    pub items: Vec<Item>,
    /// Items that are best placed one after the other: buffers in one piece, and the rows of scattered ones.
    pub clusters: Vec<Vec<usize>>,
    /// For every buffer, what others forbid it.
    pub conflicts: Vec<Vec<Conflict>>,
}

/// An offset per buffer.
pub type Offsets = Vec<usize>;

impl Problem {
    /// The problem of items that must not overlap while in use. `may_share(w, r)` says that item `w` may start at the byte at
    /// which `r` starts although it is born at the very step in which `r` dies.
    pub fn new(items: Vec<Item>, may_share: impl Fn(usize, usize) -> bool) -> Self {
        let mut conflicts = vec![Vec::new(); items.len()];
        for [j, i] in pairs_in_use_together(&items) {
            let distances = forbidden(&items[j], &items[i], [may_share(i, j), may_share(j, i)]);
            if distances.is_empty() {
                continue;
            }
            let back = distances.iter().rev().map(|&[first, last]| [-last, -first]).collect();
            conflicts[j].push(Conflict { with: i, distances: back });
            conflicts[i].push(Conflict { with: j, distances });
        }
        conflicts.iter_mut().for_each(|found| found.sort_unstable_by_key(|conflict| conflict.with));
        let clusters = (0..items.len()).map(|i| vec![i]).collect();
        Self { items, clusters, conflicts }
    }

    /// The problem of buffers in one piece, or in several: the rows of scattered ones, in the order in which they are
    /// made. `may_share` counts buffers.
    pub fn of_buffers(buffers: Vec<Vec<Item>>, may_share: impl Fn(usize, usize) -> bool) -> Self {
        let (mut clusters, mut buffer_of, mut items) = (Vec::new(), Vec::new(), Vec::new());
        for (index, pieces) in buffers.into_iter().enumerate() {
            clusters.push((items.len()..items.len() + pieces.len()).collect::<Vec<_>>());
            // Rows never share with other rows than those of their own place, which are one item with them.
            buffer_of.extend(pieces.iter().map(|_| (pieces.len() == 1).then_some(index)));
            items.extend(pieces);
        }
        let share = |written: usize, read: usize| match (buffer_of[written], buffer_of[read]) {
            (Some(written), Some(read)) => may_share(written, read),
            _ => false,
        };
        Self { clusters, ..Self::new(items, share) }
    }

    /// The problem of some clusters alone, in the order given.
    pub fn restricted(&self, clusters: &[usize]) -> Self {
        let mut index = vec![None; self.items.len()];
        let mut kept = Vec::new();
        for &item in clusters.iter().flat_map(|&cluster| &self.clusters[cluster]) {
            index[item] = Some(kept.len());
            kept.push(item);
        }
        let conflicts = |&item: &usize| {
            let all = self.conflicts[item].iter();
            all.filter_map(|conflict| {
                Some(Conflict { with: index[conflict.with]?, distances: conflict.distances.clone() })
            })
        };
        Self {
            items: kept.iter().map(|&item| self.items[item].clone()).collect(),
            clusters: clusters
                .iter()
                .map(|&cluster| self.clusters[cluster].iter().filter_map(|&item| index[item]).collect())
                .collect(),
            conflicts: kept.iter().map(|item| conflicts(item).collect()).collect(),
        }
    }

    /// Bytes that a placement needs.
    pub fn height(&self, offsets: &[usize]) -> usize {
        self.items.iter().zip(offsets).map(|(item, offset)| offset + item.bytes).max().unwrap_or(0)
    }
}

/// Pairs of items whose spans meet, the lower number first.
fn pairs_in_use_together(items: &[Item]) -> Vec<[usize; 2]> {
    let spans: Vec<Interval> = items.iter().map(Item::span).collect();
    let mut by_first: Vec<usize> = (0..items.len()).collect();
    by_first.sort_by_key(|&i| spans[i][0]);
    let (mut pairs, mut in_use) = (Vec::new(), Vec::new());
    for i in by_first {
        in_use.retain(|&j: &usize| spans[j][1] >= spans[i][0]);
        pairs.extend(in_use.iter().map(|&j| [i.min(j), i.max(j)]));
        in_use.push(i);
    }
    pairs
}

/// Distances from `a` to `b` at which slots of theirs would share bytes while both are in use. `share` says whether `a` may
/// hand its bytes to `b`, and the other way round.
fn forbidden(a: &Item, b: &Item, share: [bool; 2]) -> Vec<[i64; 2]> {
    if !share.contains(&true) && a.is_in_order() && b.is_in_order() {
        return merged(forbidden_in_order(a, b));
    }
    let mut ranges = Vec::new();
    let mut handed_over = share.contains(&true);
    for (p, a_lives) in a.slots.iter().enumerate() {
        let (a_first, a_last) = a.bytes_of(p);
        for (q, b_lives) in b.slots.iter().enumerate() {
            let (b_first, b_last) = b.bytes_of(q);
            if a_last < a_first || b_last < b_first {
                continue;
            }
            match meeting(a_lives, b_lives, share) {
                Meeting::Never => continue,
                Meeting::HandedOver => {}
                Meeting::Together => handed_over &= a_first > b_last || b_first > a_last,
            }
            ranges.push([a_first - b_last, a_last - b_first]);
        }
    }
    if handed_over { without_zero(merged(ranges)) } else { merged(ranges) }
}

/// [`forbidden`] distances of items that are in order, as ranges that may overlap: the slots of `b` that meet one of `a` follow
/// one another, and so do those that meet the next.
fn forbidden_in_order(a: &Item, b: &Item) -> Vec<[i64; 2]> {
    let (mut start, mut end) = (0, 0);
    let mut ranges = Vec::new();
    for (p, a_lives) in a.slots.iter().enumerate() {
        while start < b.slots.len() && b.slots[start][0][1] < a_lives[0][0] {
            start += 1;
        }
        while end < b.slots.len() && b.slots[end][0][0] <= a_lives[0][1] {
            end += 1;
        }
        if start < end {
            let (first, last) = a.bytes_of(p);
            ranges.push([first - b.bytes_of(end - 1).1, last - b.bytes_of(start).0]);
        }
    }
    ranges
}

/// Ranges sorted, and joined where they touch.
fn merged(mut ranges: Vec<[i64; 2]>) -> Vec<[i64; 2]> {
    ranges.sort_unstable();
    let mut merged: Vec<[i64; 2]> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range[0] <= last[1] + 1 => last[1] = last[1].max(range[1]),
            _ => merged.push(range),
        }
    }
    merged
}

fn without_zero(ranges: Vec<[i64; 2]>) -> Vec<[i64; 2]> {
    let split = ranges.into_iter().flat_map(|[first, last]| {
        if first <= 0 && 0 <= last { [[first, -1], [1, last]] } else { [[first, last], [1, 0]] }
    });
    split.filter(|[first, last]| first <= last).collect()
}

/// How two slots' uses meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meeting {
    Never,
    /// Only in steps in which the use of the one ends that may hand its bytes over, and that of the other begins.
    HandedOver,
    Together,
}

fn meeting(a: &[Interval], b: &[Interval], [a_to_b, b_to_a]: [bool; 2]) -> Meeting {
    let mut found = Meeting::Never;
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        if x[0] <= y[1] && y[0] <= x[1] {
            let handed_over = (a_to_b && x[1] == y[0]) || (b_to_a && y[1] == x[0]);
            if !handed_over {
                return Meeting::Together;
            }
            found = Meeting::HandedOver;
        }
        if x[1] < y[1] { i += 1 } else { j += 1 }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::exact::{self, Fit};
    use super::super::{best_fit, improve};
    use super::*;
    use crate::watch::Unwatched;

    /// A small deterministic generator, so that a failure repeats.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((self.0 >> 33) % limit as u64) as usize
        }
    }

    /// A buffer that lives all at once.
    fn a_box(bytes: usize, align: usize, life: Interval) -> Item {
        Item { bytes, align, slot_bytes: bytes, slots: vec![vec![life]] }
    }

    /// A buffer of a few slots with lives of their own.
    fn a_column(random: &mut Random) -> Item {
        let slots: Vec<Vec<Interval>> = (0..1 + random.below(4))
            .map(|_| {
                let first = random.below(6);
                let last = first + random.below(3);
                if random.below(3) == 0 {
                    vec![[first, last], [last + 2, last + 3]]
                } else {
                    vec![[first, last]]
                }
            })
            .collect();
        let slot_bytes = 1 + random.below(4);
        Item { bytes: slot_bytes * slots.len(), align: 1, slot_bytes, slots }
    }

    /// Buffers, and a pair of them that may share.
    fn random_items(random: &mut Random, count: usize, columns: bool) -> (Vec<Item>, [usize; 2]) {
        let items: Vec<Item> = (0..count)
            .map(|_| {
                if columns {
                    return a_column(random);
                }
                let first = random.below(6);
                let (bytes, align) = (1 + random.below(12), 1 << random.below(3));
                a_box(bytes, align, [first, first + random.below(3)])
            })
            .collect();
        let pair = [random.below(count), random.below(count)];
        (items, pair)
    }

    /// Whether no two slots in use share a byte, unless the pair starts at one byte and hands its bytes over.
    fn is_valid(problem: &Problem, offsets: &[usize], share: impl Fn(usize, usize) -> bool) -> bool {
        (0..problem.items.len()).all(|i| {
            offsets[i].is_multiple_of(problem.items[i].align)
                && (0..i).all(|j| is_apart(problem, [i, j], [offsets[i], offsets[j]], share(i, j)))
        })
    }

    fn is_apart(problem: &Problem, pair: [usize; 2], offsets: [usize; 2], share: bool) -> bool {
        let [a, b] = pair.map(|i| &problem.items[i]);
        let byte = |item: &Item, slot: usize, offset: usize| {
            let (first, last) = item.bytes_of(slot);
            (first + offset as i64, last + offset as i64)
        };
        (0..a.slots.len()).all(|p| {
            (0..b.slots.len()).all(|q| {
                let ((first, last), (other_first, other_last)) =
                    (byte(a, p, offsets[0]), byte(b, q, offsets[1]));
                let together = a.slots[p].iter().any(|x| {
                    b.slots[q].iter().any(|y| {
                        let meet = x[0] <= y[1] && y[0] <= x[1];
                        let handed_over = share && offsets[0] == offsets[1] && (x[1] == y[0] || y[1] == x[0]);
                        meet && !handed_over
                    })
                });
                !together || last < other_first || other_last < first
            })
        })
    }

    /// The least height of any placement, by trying every order and every offset up to `limit`.
    fn brute_force(
        problem: &Problem,
        placed: &mut Vec<usize>,
        limit: usize,
        share: &dyn Fn(usize, usize) -> bool,
    ) -> usize {
        let i = placed.len();
        if i == problem.items.len() {
            return problem.height(placed);
        }
        let mut least = usize::MAX;
        for offset in (0..=limit.saturating_sub(problem.items[i].bytes)).step_by(problem.items[i].align) {
            let fits = (0..i).all(|j| is_apart(problem, [i, j], [offset, placed[j]], share(i, j)));
            if fits {
                placed.push(offset);
                least = least.min(brute_force(problem, placed, limit, share));
                placed.pop();
            }
        }
        least
    }

    #[test]
    fn plans_are_valid_and_exact_search_finds_the_least_height() {
        let mut random = Random(7);
        for round in 0..400 {
            let count = 2 + random.below(4);
            let (items, pair) = random_items(&mut random, count, round % 2 == 1);
            let share = |a: usize, b: usize| a != b && pair.contains(&a) && pair.contains(&b);
            let problem = Problem::new(items, share);
            let greedy = best_fit::solve(&problem);
            assert!(is_valid(&problem, &greedy, share), "round {round}: {problem:?} {greedy:?}");
            let limit = problem.height(&greedy);
            let better = improve::solve(&problem, greedy, 0, 200, 1, &Unwatched);
            assert!(is_valid(&problem, &better, share), "round {round}: {problem:?} {better:?}");
            assert!(problem.height(&better) <= limit);
            let solution = exact::solve(&problem, better, 0, usize::MAX, &Unwatched);
            assert!(is_valid(&problem, &solution.offsets, share), "round {round}: {problem:?} {solution:?}");
            assert!(solution.optimal);
            let least = brute_force(&problem, &mut Vec::new(), limit, &share);
            assert_eq!(problem.height(&solution.offsets), least, "round {round}: {problem:?} {solution:?}");
            assert!(exact::lower_bound(&problem) <= least, "round {round}: {problem:?}");
            let (below, _) = exact::fit(&problem, least - 1, usize::MAX, &Unwatched);
            assert_eq!(below, Fit::Impossible, "round {round}: {problem:?}");
            let (Fit::Found(offsets), _) = exact::fit(&problem, least, usize::MAX, &Unwatched) else {
                panic!("round {round}: expected a placement within {least}: {problem:?}")
            };
            assert!(
                is_valid(&problem, &offsets, share) && problem.height(&offsets) == least,
                "round {round}"
            );
        }
    }

    #[test]
    fn a_partner_is_placed_at_the_same_byte() {
        let items = || vec![a_box(8, 4, [0, 1]), a_box(8, 4, [1, 2])];
        assert_eq!(best_fit::solve(&Problem::new(items(), |_, _| true)), [0, 0]);
        let apart = Problem::new(items(), |_, _| false);
        assert_eq!(apart.height(&best_fit::solve(&apart)), 16);
    }

    #[test]
    fn rows_that_are_made_may_lie_over_rows_that_are_gone() {
        // Four rows of 4 bytes: row r of `read` dies at step r + 1, row r of `made` is made at step r.
        let column = |life: &dyn Fn(usize) -> Interval| Item {
            bytes: 16,
            align: 4,
            slot_bytes: 4,
            slots: (0..4).map(|row| vec![life(row)]).collect(),
        };
        let problem = Problem::new(vec![column(&|row| [0, row + 1]), column(&|row| [row, 9])], |_, _| false);
        assert_eq!(problem.conflicts[1], [Conflict { with: 0, distances: vec![[-7, 15]] }]);
        assert_eq!(problem.height(&best_fit::solve(&problem)), 24);
    }
}
