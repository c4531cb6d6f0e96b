//! The placement problem, free of the IR: boxes in the plane of time and bytes.

/// A buffer to place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// Size in bytes.
    pub bytes: usize,
    /// The offset must be a multiple of this; at least 1.
    pub align: usize,
    /// First time of its life.
    pub first: usize,
    /// Last time of its life.
    pub last: usize,
}

/// Buffers to place, and the pairs among them that may start at the same byte.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// The buffers.
    pub items: Vec<Item>,
    /// For every buffer, those it must not overlap in bytes, and whether starting at the same byte is allowed instead.
    pub conflicts: Vec<Vec<(usize, bool)>>,
}

/// An offset per buffer.
pub type Offsets = Vec<usize>;

impl Problem {
    /// The problem of items that must not overlap while both live, except `shared` pairs at equal offsets.
    pub fn new(items: Vec<Item>, may_share: impl Fn(usize, usize) -> bool) -> Self {
        let meets = |a: &Item, b: &Item| a.first <= b.last && b.first <= a.last;
        let conflicts = (0..items.len())
            .map(|i| {
                (0..items.len())
                    .filter(|&j| j != i && items[i].bytes > 0 && items[j].bytes > 0)
                    .filter(|&j| meets(&items[i], &items[j]))
                    .map(|j| (j, may_share(i, j)))
                    .collect()
            })
            .collect();
        Self { items, conflicts }
    }

    /// Bytes that a placement needs.
    pub fn height(&self, offsets: &[usize]) -> usize {
        self.items.iter().zip(offsets).map(|(item, offset)| offset + item.bytes).max().unwrap_or(0)
    }

    /// Lowest offset from `floor` up at which item `i` fits among the placed ones.
    pub fn lowest_fit(&self, i: usize, placed: &[Option<usize>], floor: usize) -> usize {
        let item = self.items[i];
        let mut taken: Vec<(usize, usize, bool)> = self.conflicts[i]
            .iter()
            .filter_map(|&(j, share)| {
                let start = placed[j]?;
                Some((start, start + self.items[j].bytes, share))
            })
            .collect();
        taken.sort_unstable();
        let mut offset = floor.next_multiple_of(item.align);
        loop {
            let end = offset + item.bytes;
            let blocker = taken
                .iter()
                .filter(|&&(start, stop, share)| start < end && offset < stop && !(share && start == offset))
                .map(|&(start, stop, share)| {
                    // A partner above the offset can be met at its start; otherwise the next chance is its end.
                    if share && start > offset && start % item.align == 0 { start } else { stop }
                })
                .min();
            match blocker {
                None => return offset,
                Some(next) => {
                    offset = next.next_multiple_of(item.align).max(offset + 1).next_multiple_of(item.align)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{best_fit, exact};
    use super::*;

    /// A small deterministic generator, so that a failure repeats.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((self.0 >> 33) % limit as u64) as usize
        }
    }

    fn random_problem(random: &mut Random, count: usize) -> Problem {
        let items: Vec<Item> = (0..count)
            .map(|_| {
                let first = random.below(6);
                Item {
                    bytes: 1 + random.below(12),
                    align: 1 << random.below(3),
                    first,
                    last: first + random.below(3),
                }
            })
            .collect();
        let pair = (random.below(count), random.below(count));
        let shares = pair.0 != pair.1 && items[pair.0].last == items[pair.1].first;
        Problem::new(items, |a, b| shares && ((a, b) == pair || (b, a) == pair))
    }

    fn is_valid(problem: &Problem, offsets: &[usize]) -> bool {
        (0..problem.items.len()).all(|i| {
            let (item, start) = (problem.items[i], offsets[i]);
            let disjoint =
                |j: usize| start + item.bytes <= offsets[j] || offsets[j] + problem.items[j].bytes <= start;
            start % item.align == 0
                && problem.conflicts[i]
                    .iter()
                    .all(|&(j, share)| disjoint(j) || (share && offsets[j] == start))
        })
    }

    /// The least height of any placement, by trying every order and every offset up to `limit`.
    fn brute_force(problem: &Problem, placed: &mut Vec<usize>, limit: usize) -> usize {
        let i = placed.len();
        if i == problem.items.len() {
            return if is_valid(problem, placed) { problem.height(placed) } else { usize::MAX };
        }
        let mut least = usize::MAX;
        for offset in (0..=limit.saturating_sub(problem.items[i].bytes)).step_by(problem.items[i].align) {
            let fits = problem.conflicts[i].iter().filter(|&&(j, _)| j < i).all(|&(j, share)| {
                let bytes = problem.items[j].bytes;
                let disjoint = offset + problem.items[i].bytes <= placed[j] || placed[j] + bytes <= offset;
                disjoint || (share && placed[j] == offset)
            });
            if fits {
                placed.push(offset);
                least = least.min(brute_force(problem, placed, limit));
                placed.pop();
            }
        }
        least
    }

    #[test]
    fn plans_are_valid_and_exact_search_finds_the_least_height() {
        let mut random = Random(7);
        for round in 0..300 {
            let count = 2 + random.below(4);
            let problem = random_problem(&mut random, count);
            let greedy = best_fit::solve(&problem);
            assert!(is_valid(&problem, &greedy), "round {round}: {problem:?} {greedy:?}");
            let limit = problem.height(&greedy);
            let solution = exact::solve(&problem, greedy, 0, usize::MAX);
            assert!(is_valid(&problem, &solution.offsets), "round {round}: {problem:?} {solution:?}");
            assert!(solution.optimal);
            let least = brute_force(&problem, &mut Vec::new(), limit);
            assert_eq!(problem.height(&solution.offsets), least, "round {round}: {problem:?} {solution:?}");
        }
    }

    #[test]
    fn a_partner_is_placed_at_the_same_byte() {
        let item = |first, last| Item { bytes: 8, align: 4, first, last };
        let problem = Problem::new(vec![item(0, 1), item(1, 2)], |_, _| true);
        assert_eq!(best_fit::solve(&problem), [0, 0]);
        let apart = Problem::new(vec![item(0, 1), item(1, 2)], |_, _| false);
        assert_eq!(apart.height(&best_fit::solve(&apart)), 16);
    }
}
