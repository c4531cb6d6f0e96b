//! The search against trying everything.

use super::{Fit, fit, solve};
use crate::analysis::liveness::Interval;
use crate::plan_memory::best_fit;
use crate::plan_memory::problem::{Item, Problem};
use crate::watch::Unwatched;
use fastrand::Rng;

/// A buffer of one slot.
fn a_box(bytes: usize, align: usize, life: Interval) -> Item {
    Item { bytes, align, slot_bytes: bytes, slots: vec![vec![life]] }
}

fn random_box(random: &mut Rng) -> Item {
    let first = random.usize(..6);
    a_box(random.usize(1..10), 1 << random.usize(..3), [first, first + random.usize(..4)])
}

/// A buffer of slots with lives of their own, in any order.
fn random_column(random: &mut Rng) -> Item {
    let slot_bytes = random.usize(1..4);
    let slots: Vec<Vec<Interval>> = (0..random.usize(1..5))
        .map(|_| {
            let first = random.usize(..6);
            let last = first + random.usize(..3);
            if random.bool() { vec![[first, last]] } else { vec![[first, last], [last + 2, last + 3]] }
        })
        .collect();
    Item { bytes: slot_bytes * slots.len(), align: 1 << random.usize(..2), slot_bytes, slots }
}

/// Up to five buffers, and up to three pairs of them that may share bytes.
fn random_problem(random: &mut Rng, item: fn(&mut Rng) -> Item) -> Problem {
    let items: Vec<Item> = (0..random.usize(2..6)).map(|_| item(random)).collect();
    let pairs: Vec<[usize; 2]> =
        (0..random.usize(..4)).map(|_| [random.usize(..items.len()), random.usize(..items.len())]).collect();
    Problem::new(items, |written, read| written != read && pairs.contains(&[written, read]))
}

fn is_apart(problem: &Problem, i: usize, offset: usize, placed: &[usize]) -> bool {
    problem.conflicts[i].iter().filter(|conflict| conflict.with < placed.len()).all(|conflict| {
        let distance = offset as i64 - placed[conflict.with] as i64;
        conflict.distances.iter().all(|&[first, last]| distance < first || last < distance)
    })
}

fn is_valid(problem: &Problem, offsets: &[usize]) -> bool {
    (0..offsets.len()).all(|i| {
        offsets[i].is_multiple_of(problem.items[i].align) && is_apart(problem, i, offsets[i], &offsets[..i])
    })
}

/// The least height, by trying every offset of every item below the least so far.
fn least_height(problem: &Problem, placed: &mut Vec<usize>, height: usize, least: &mut usize) {
    let i = placed.len();
    let Some(item) = problem.items.get(i) else {
        *least = height;
        return;
    };
    let mut offset = 0;
    while offset + item.bytes < *least && height < *least {
        if is_apart(problem, i, offset, placed) {
            placed.push(offset);
            least_height(problem, placed, height.max(offset + item.bytes), least);
            placed.pop();
        }
        offset += item.align;
    }
}

/// Compares with trying everything; returns whether the best greedy placement is higher.
fn check(problem: &Problem) -> bool {
    let start = best_fit::solve(problem);
    let greedy = problem.height(&start);
    let mut least = greedy;
    least_height(problem, &mut Vec::new(), 0, &mut least);

    let solution = solve(problem, start, 0, 1 << 20, &Unwatched);
    assert!(is_valid(problem, &solution.offsets), "{problem:?} {solution:?}");
    assert_eq!(problem.height(&solution.offsets), least, "{problem:?} {solution:?}");
    assert!(solution.optimal, "{problem:?} {solution:?}");

    let (Fit::Found(offsets), _) = fit(problem, least, 1 << 20, &Unwatched) else {
        panic!("{problem:?} fits {least}")
    };
    assert!(is_valid(problem, &offsets) && problem.height(&offsets) <= least, "{problem:?} {offsets:?}");
    assert_eq!(fit(problem, least - 1, 1 << 20, &Unwatched).0, Fit::Impossible, "{problem:?}");
    least < greedy
}

#[test]
fn boxes_are_placed_as_low_as_possible() {
    let mut random = Rng::with_seed(1);
    let improved = (0..600).filter(|_| check(&random_problem(&mut random, random_box))).count();
    assert!(improved > 10, "expected problems that greedy orders don't solve, got {improved}");
}

#[test]
fn columns_are_placed_as_low_as_possible() {
    let mut random = Rng::with_seed(2);
    let improved = (0..600).filter(|_| check(&random_problem(&mut random, random_column))).count();
    assert!(improved > 10, "expected problems that greedy orders don't solve, got {improved}");
}

#[test]
fn a_buffer_may_lie_under_the_slots_that_remain_of_another() {
    // The first's lower slot is gone when the second comes.
    let late = Item { bytes: 8, align: 4, slot_bytes: 4, slots: vec![vec![[0, 1]], vec![[0, 5]]] };
    let problem = Problem::new(vec![late, a_box(4, 4, [2, 5])], |_, _| false);
    let solution = solve(&problem, vec![0, 8], 0, 1000, &Unwatched);
    assert_eq!(problem.height(&solution.offsets), 8);
    assert!(solution.optimal);
}
