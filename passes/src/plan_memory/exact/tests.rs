use super::*;
use crate::plan_memory::best_fit;
use crate::plan_memory::problem::Item;
use crate::watch::Unwatched;

fn a_box(bytes: usize, align: usize, life: [usize; 2]) -> Item {
    Item { bytes, align, slot_bytes: bytes, slots: vec![vec![life]] }
}

fn boxes(items: Vec<Item>) -> Problem {
    Problem::new(items, |_, _| false)
}

/// A rectangle of 64 bytes and 64 steps, cut into boxes: they fill it without a gap.
fn cut_rectangle(random: &mut fastrand::Rng, cuts: usize) -> Problem {
    let mut parts = vec![[0, 64, 0, 64]];
    for _ in 0..cuts {
        let k = random.usize(..parts.len());
        let [bottom, top, first, end] = parts[k];
        let across = random.bool();
        let (low, high) = if across { (bottom, top) } else { (first, end) };
        if high - low < 2 {
            continue;
        }
        let at = random.usize(low + 1..high);
        if across {
            parts[k] = [bottom, at, first, end];
            parts.push([at, top, first, end]);
        } else {
            parts[k] = [bottom, top, first, at];
            parts.push([bottom, top, at, end]);
        }
    }
    random.shuffle(&mut parts);
    boxes(parts.iter().map(|&[bottom, top, first, end]| a_box(top - bottom, 1, [first, end - 1])).collect())
}

#[test]
fn boxes_without_a_gap_are_put_together_again() {
    let mut random = fastrand::Rng::with_seed(3);
    for round in 0..50 {
        let problem = cut_rectangle(&mut random, 24);
        let (found, _) = fit(&problem, 64, 100_000, &Unwatched);
        let Fit::Found(offsets) = found else { panic!("round {round}: {found:?}") };
        assert_eq!(problem.height(&offsets), 64, "round {round}");
        assert_eq!(fit(&problem, 63, 100_000, &Unwatched).0, Fit::Impossible, "round {round}");
    }
}

#[test]
fn offsets_are_aligned_and_that_costs_what_it_must() {
    // Three of 3 bytes at once: at 0, 4 and 8.
    let problem = boxes(vec![a_box(3, 4, [0, 1]); 3]);
    assert_eq!(fit(&problem, 10, usize::MAX, &Unwatched).0, Fit::Impossible);
    let (Fit::Found(mut offsets), _) = fit(&problem, 11, usize::MAX, &Unwatched) else {
        panic!("expected a placement")
    };
    offsets.sort_unstable();
    assert_eq!(offsets, [0, 4, 8]);
    // Alignments of which neither divides the other.
    let problem = boxes(vec![a_box(12, 8, [0, 1]), a_box(8, 12, [0, 1])]);
    let solution = solve(&problem, vec![24, 0], 0, usize::MAX, &Unwatched);
    assert!(solution.optimal && problem.height(&solution.offsets) == 20);
}

#[test]
fn what_fits_at_every_step_need_not_fit() {
    // At most 5 bytes at once.
    let problem = boxes(vec![
        a_box(3, 1, [5, 6]),
        a_box(2, 1, [0, 0]),
        a_box(2, 1, [2, 4]),
        a_box(1, 1, [1, 2]),
        a_box(2, 1, [4, 6]),
        a_box(1, 1, [1, 4]),
        a_box(3, 1, [0, 1]),
    ]);
    assert_eq!(lower_bound(&problem), 5);
    assert_eq!(fit(&problem, 5, usize::MAX, &Unwatched).0, Fit::Impossible);
    let solution = solve(&problem, best_fit::solve(&problem), 5, usize::MAX, &Unwatched);
    assert!(solution.optimal);
    assert_eq!(problem.height(&solution.offsets), 6);
}

#[test]
fn the_limit_of_nodes_holds_and_results_repeat() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..20 {
        let problem = cut_rectangle(&mut random, 60);
        let start = best_fit::solve(&problem);
        for max_nodes in [0, 1, 10, 1000] {
            let solution = solve(&problem, start.clone(), 0, max_nodes, &Unwatched);
            assert!(solution.nodes <= max_nodes);
            assert!(problem.height(&solution.offsets) <= problem.height(&start));
            assert_eq!(solution, solve(&problem, start.clone(), 0, max_nodes, &Unwatched));
        }
    }
}

#[test]
fn nothing_to_place_fits() {
    let problem = boxes(Vec::new());
    assert_eq!(fit(&problem, 0, 10, &Unwatched), (Fit::Found(Vec::new()), 0));
    assert!(solve(&problem, Vec::new(), 0, 10, &Unwatched).optimal);
}

#[test]
fn slices_are_those_of_luby() {
    let lengths: Vec<usize> = (0..15).map(|run| orders::slice(run, 1) / orders::slice(0, 1)).collect();
    assert_eq!(lengths, [1, 1, 2, 1, 1, 2, 4, 1, 1, 2, 1, 1, 2, 4, 8]);
}
