//! Which buffers go to which memory region: as much traffic as possible to the fast ones, as little as must be to the slow.
//!
//! Every region is a knapsack of as many dimensions as there are steps: at each, the bytes that live must not exceed what it
//! holds. All buffers start in the fastest region. While a region holds too much, the buffer moves that relieves most per
//! cycle that its accesses cost more; of the sums over all steps of what is too much, so that what overflows for long moves
//! first. Then buffers move back into faster regions, or change places, as long as that saves cycles. Whether the buffers
//! of a region can be placed without holes is not seen here: the caller tries, and asks again with less room if not.
//!
//! Source of the ratio: Toyoda, "A Simplified Algorithm for Obtaining Approximate Solutions to Zero-One Programming
//! Problems", Management Science 21 (12), 1975, for one knapsack; here a buffer that leaves one enters another.

use crate::target::Memory;

/// What is to be assigned: a buffer, or several that stay together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Load {
    /// First step at which it lives.
    pub first: usize,
    /// Bytes that live from that step on, step by step.
    pub bytes: Vec<usize>,
    /// Loads and stores of one invocation.
    pub accesses: u64,
}

/// Room that the assignment may fill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Most bytes that may live at a step.
    pub bytes: usize,
    /// What an access costs.
    pub access_cycles: u64,
}

impl Room {
    /// A region as a whole.
    pub fn of(region: &Memory) -> Self {
        let bytes = usize::try_from(region.bytes).unwrap_or(usize::MAX);
        Self { bytes, access_cycles: region.access_cycles() }
    }
}

/// Changes after which improving ends; far more than any network needs.
const MAX_CHANGES: usize = 10_000;

/// The region of every load; fastest first. If they do not fit, some region holds more than it has room for.
pub fn assign(loads: &[Load], rooms: &[Room]) -> Vec<usize> {
    let steps = loads.iter().map(|load| load.first + load.bytes.len()).max().unwrap_or(0);
    let mut used = vec![vec![0; steps]; rooms.len()];
    let region = vec![0; loads.len()];
    for load in loads {
        used[0][load.first..][..load.bytes.len()].iter_mut().zip(&load.bytes).for_each(|(u, b)| *u += b);
    }
    let mut assignment = Assignment { loads, rooms, region, used };
    for _ in 0..MAX_CHANGES {
        if !assignment.relieve() {
            break;
        }
    }
    for _ in 0..MAX_CHANGES {
        if !assignment.improve() {
            break;
        }
    }
    assignment.region
}

/// What all accesses cost.
pub fn cycles(loads: &[Load], rooms: &[Room], region: &[usize]) -> u128 {
    let cost = |(load, &region): (&Load, &usize)| {
        u128::from(load.accesses) * u128::from(rooms[region].access_cycles)
    };
    loads.iter().zip(region).map(cost).sum()
}

struct Assignment<'a> {
    loads: &'a [Load],
    rooms: &'a [Room],
    region: Vec<usize>,
    /// Bytes that live in every region at every step.
    used: Vec<Vec<usize>>,
}

/// A load and the region it goes to.
type Move = (usize, usize);

impl Assignment<'_> {
    /// Makes the change that removes most of what is too much, per cycle; whether there was one.
    fn relieve(&mut self) -> bool {
        let full = |region: usize| self.used[region].iter().any(|&used| used > self.rooms[region].bytes);
        if !(0..self.rooms.len()).any(full) {
            return false;
        }
        let single = self.moves().map(|change| vec![change]);
        let best = self
            .best_relief(single)
            .or_else(|| self.best_relief(self.exchanges(|_, _| true).map(|pair| pair.to_vec())));
        best.map(|changes| changes.into_iter().for_each(|change| self.apply(change))).is_some()
    }

    fn best_relief(&self, candidates: impl Iterator<Item = Vec<Move>>) -> Option<Vec<Move>> {
        let mut best: Option<(u128, u128, Vec<Move>)> = None;
        for changes in candidates {
            let relief = self.relief(&changes);
            if relief <= 0 {
                continue;
            }
            let (relief, cost) = (relief.unsigned_abs(), 1 + self.cost(&changes).max(0).unsigned_abs());
            // The ratios are compared without dividing.
            let better = best
                .as_ref()
                .is_none_or(|(most, least, _)| relief.saturating_mul(*least) > most.saturating_mul(cost));
            if better {
                best = Some((relief, cost, changes));
            }
        }
        best.map(|(_, _, changes)| changes)
    }

    /// Makes the change that saves most cycles and overflows nothing; whether there was one.
    fn improve(&mut self) -> bool {
        let most = |candidates: Vec<Vec<Move>>| {
            let saved = candidates.into_iter().map(|changes| (-self.cost(&changes), changes));
            let fits = saved.filter(|(saved, changes)| *saved > 0 && self.fits(changes));
            // The first of equals, so that the order of regions and buffers decides.
            fits.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, changes)| changes)
        };
        let hotter = |a: usize, b: usize| {
            let cycles = |i: usize| self.rooms[self.region[i]].access_cycles;
            (cycles(a) > cycles(b)) == (self.loads[a].accesses > self.loads[b].accesses)
        };
        let best = most(self.moves().map(|change| vec![change]).collect())
            .or_else(|| most(self.exchanges(hotter).map(|pair| pair.to_vec()).collect()));
        best.map(|changes| changes.into_iter().for_each(|change| self.apply(change))).is_some()
    }

    /// Every load to every other region.
    fn moves(&self) -> impl Iterator<Item = Move> + '_ {
        let regions = 0..self.rooms.len();
        let others = move |load: usize| regions.clone().filter(move |&to| to != self.region[load]);
        (0..self.loads.len()).flat_map(move |load| others(load).map(move |to| (load, to)))
    }

    /// Every two loads of different regions that change places.
    fn exchanges<'s>(
        &'s self,
        keep: impl Fn(usize, usize) -> bool + 's,
    ) -> impl Iterator<Item = [Move; 2]> + 's {
        let pairs = (0..self.loads.len()).flat_map(|a| (a + 1..self.loads.len()).map(move |b| (a, b)));
        pairs
            .filter(move |&(a, b)| self.region[a] != self.region[b] && keep(a, b))
            .map(|(a, b)| [(a, self.region[b]), (b, self.region[a])])
    }

    /// Cycles that changes cost.
    fn cost(&self, changes: &[Move]) -> i128 {
        let cost = |&(load, to): &Move| {
            let cycles = |region: usize| i128::from(self.rooms[region].access_cycles);
            i128::from(self.loads[load].accesses) * (cycles(to) - cycles(self.region[load]))
        };
        changes.iter().map(cost).sum()
    }

    /// How much less the regions overflow after changes, summed up over the steps.
    fn relief(&self, changes: &[Move]) -> i128 {
        let mut relief = 0;
        self.for_each_change(changes, |region, before, after| {
            let over = |bytes: usize| bytes.saturating_sub(self.rooms[region].bytes) as i128;
            relief += over(before) - over(after);
            true
        });
        relief
    }

    /// Whether nothing that changes overflows afterwards.
    fn fits(&self, changes: &[Move]) -> bool {
        self.for_each_change(changes, |region, before, after| {
            after <= before || after <= self.rooms[region].bytes
        })
    }

    /// Visits every step of a region at which one of the changes adds or takes bytes, with the bytes before and after,
    /// until the visitor says no.
    fn for_each_change(&self, changes: &[Move], mut visit: impl FnMut(usize, usize, usize) -> bool) -> bool {
        let spans = changes.iter().map(|&(load, _)| &self.loads[load]);
        let first = spans.clone().map(|load| load.first).min().unwrap_or(0);
        let end = spans.map(|load| load.first + load.bytes.len()).max().unwrap_or(0);
        let mut regions: Vec<usize> =
            changes.iter().flat_map(|&(load, to)| [self.region[load], to]).collect();
        regions.sort_unstable();
        regions.dedup();
        (first..end).all(|step| {
            regions.iter().all(|&region| {
                let before = self.used[region][step];
                let (mut added, mut taken) = (0, 0);
                for &(load, to) in changes {
                    let bytes = self.loads[load].at(step);
                    added += if to == region { bytes } else { 0 };
                    taken += if self.region[load] == region { bytes } else { 0 };
                }
                added == taken || visit(region, before, before + added - taken)
            })
        })
    }

    fn apply(&mut self, (load, to): Move) {
        let from = std::mem::replace(&mut self.region[load], to);
        let Load { first, bytes, .. } = &self.loads[load];
        for (step, bytes) in (*first..).zip(bytes) {
            self.used[from][step] -= bytes;
            self.used[to][step] += bytes;
        }
    }
}

impl Load {
    fn at(&self, step: usize) -> usize {
        step.checked_sub(self.first).and_then(|i| self.bytes.get(i)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(first: usize, bytes: &[usize], accesses: u64) -> Load {
        Load { first, bytes: bytes.to_vec(), accesses }
    }

    fn room(bytes: usize, access_cycles: u64) -> Room {
        Room { bytes, access_cycles }
    }

    #[test]
    fn hot_buffers_stay_in_fast_memory() {
        let loads = [load(0, &[8, 8], 10), load(0, &[8, 8], 100), load(1, &[8, 8], 50), load(5, &[8], 1)];
        let rooms = [room(16, 1), room(64, 3)];
        // At step 1 one of three must leave; what lives alone may stay however cold it is.
        assert_eq!(assign(&loads, &rooms), [1, 0, 0, 0]);
    }

    #[test]
    fn regions_as_fast_are_filled_in_order() {
        let loads = [load(0, &[8], 1), load(0, &[8], 2), load(0, &[8], 3)];
        let region = assign(&loads, &[room(16, 1), room(16, 1)]);
        assert_eq!(region.iter().filter(|&&region| region == 0).count(), 2, "{region:?}");
    }

    #[test]
    fn two_change_places_where_none_can_move() {
        // Both regions are full; the hot buffer is too large to be moved back alone.
        let loads = [load(0, &[12], 90), load(0, &[10], 1), load(0, &[4], 2)];
        let rooms = [room(16, 1), room(14, 4)];
        let region = assign(&loads, &rooms);
        assert_eq!((region[0], region[1]), (0, 1), "{region:?}");
    }

    /// The cheapest assignment that fits, by trying all.
    fn best(loads: &[Load], rooms: &[Room]) -> Option<u128> {
        let count = rooms.len().pow(loads.len() as u32);
        let all = (0..count).map(|mut number| {
            let digits = loads.iter().map(|_| {
                let digit = number % rooms.len();
                number /= rooms.len();
                digit
            });
            digits.collect::<Vec<_>>()
        });
        all.filter(|region| fits(loads, rooms, region)).map(|region| cycles(loads, rooms, &region)).min()
    }

    fn fits(loads: &[Load], rooms: &[Room], region: &[usize]) -> bool {
        let steps = loads.iter().map(|load| load.first + load.bytes.len()).max().unwrap_or(0);
        (0..rooms.len()).all(|r| {
            let live = |step| {
                let here = loads.iter().zip(region).filter(|&(_, &region)| region == r);
                here.map(|(load, _)| load.at(step)).sum::<usize>()
            };
            (0..steps).all(|step| live(step) <= rooms[r].bytes)
        })
    }

    #[test]
    fn assignments_are_near_the_best() {
        let mut random = fastrand::Rng::with_seed(3);
        let (mut found, mut least, mut failed, mut solvable) = (0, 0, 0, 0);
        for _ in 0..300 {
            let loads: Vec<Load> = (0..random.usize(3..8))
                .map(|_| {
                    let bytes: Vec<usize> = (0..random.usize(1..5)).map(|_| random.usize(1..9)).collect();
                    load(random.usize(0..5), &bytes, random.u64(1..100))
                })
                .collect();
            let rooms = [room(random.usize(6..14), 1), room(random.usize(6..14), 3), room(8, 5)];
            let Some(best) = best(&loads, &rooms) else { continue };
            solvable += 1;
            let region = assign(&loads, &rooms);
            if fits(&loads, &rooms, &region) {
                found += cycles(&loads, &rooms, &region);
                least += best;
            } else {
                failed += 1;
            }
        }
        assert!(solvable > 200 && failed * 20 < solvable, "{failed} of {solvable} do not fit");
        assert!(found * 100 <= least * 103, "expected {least} cycles or 3 % more, got {found}");
    }
}
