//! The search against all orders of small graphs.

use super::dag::{Buffer, Dag};
use super::{Ordered, best_order};
use crate::watch::Unwatched;
use fastrand::Rng;

/// A graph of operations with one result each, some of which overwrite an operand that nobody else reads.
fn random_dag(random: &mut Rng, count: usize) -> Dag {
    let mut dag = Dag { waits: vec![Vec::new(); count], uses: vec![Vec::new(); count], buffers: Vec::new() };
    let buffer = |bytes, maker, random: &mut Rng| Buffer {
        bytes,
        maker,
        users: Vec::from_iter(maker),
        is_output: random.u8(..6) == 0,
    };
    // Buffers with the operation that wrote them last.
    let mut values: Vec<(usize, Option<usize>)> = Vec::new();
    for input in 0..random.usize(1..3) {
        dag.buffers.push(buffer(random.usize(1..9), None, random));
        values.push((input, None));
    }
    for op in 0..count {
        let wanted = random.usize(1..3);
        let recent = values.len().saturating_sub(random.usize(1..6));
        let mut operands: Vec<usize> = (0..wanted).map(|_| random.usize(recent..values.len())).collect();
        operands.sort_unstable();
        operands.dedup();
        for &operand in &operands {
            let (index, writer) = values[operand];
            dag.waits[op].extend(writer);
            dag.uses[op].push(index);
            dag.buffers[index].users.push(op);
        }
        let (index, writer) = values[operands[0]];
        let own = writer.is_some()
            && dag.buffers[index].users.iter().all(|&user| user == op || Some(user) <= writer);
        if own && !dag.buffers[index].is_output && random.bool() {
            values[operands[0]].0 = usize::MAX;
            values.retain(|&(index, _)| index != usize::MAX);
            values.push((index, Some(op)));
        } else {
            dag.uses[op].push(dag.buffers.len());
            values.push((dag.buffers.len(), Some(op)));
            dag.buffers.push(buffer(random.usize(1..9), Some(op), random));
        }
    }
    for list in dag.waits.iter_mut().chain(&mut dag.uses) {
        list.sort_unstable();
        list.dedup();
    }
    dag
}

/// The least peak of all orders that begin so.
fn brute_force(dag: &Dag, order: &mut Vec<usize>) -> usize {
    if order.len() == dag.count() {
        return dag.peak_bytes(order);
    }
    let mut least = usize::MAX;
    for op in 0..dag.count() {
        if !order.contains(&op) && dag.waits[op].iter().all(|before| order.contains(before)) {
            order.push(op);
            least = least.min(brute_force(dag, order));
            order.pop();
        }
    }
    least
}

fn check_order(dag: &Dag, Ordered { order, peak_before, peak, bound }: &Ordered) {
    for (at, &op) in order.iter().enumerate() {
        assert!(dag.waits[op].iter().all(|before| order[..at].contains(before)), "{op} comes too early");
    }
    assert_eq!(order.len(), dag.count());
    assert_eq!(dag.peak_bytes(order), *peak);
    assert!(bound <= peak && peak <= peak_before);
}

#[test]
fn the_search_finds_the_least_peak_of_all_orders() {
    let (mut random, mut improved, mut bounded) = (Rng::with_seed(1), 0, 0);
    for round in 0..3000 {
        let count = random.usize(1..9);
        let dag = random_dag(&mut random, count);
        let least = brute_force(&dag, &mut Vec::new());
        let found = best_order(&dag, usize::MAX, &Unwatched);
        check_order(&dag, &found);
        assert_eq!((found.peak, found.bound), (least, least), "round {round}: {dag:?}");
        improved += usize::from(found.peak < found.peak_before);
        let cut_short = best_order(&dag, 2, &Unwatched);
        check_order(&dag, &cut_short);
        assert!(cut_short.bound <= least && least <= cut_short.peak, "round {round}: {cut_short:?} {dag:?}");
        bounded += usize::from(cut_short.bound < cut_short.peak);
    }
    assert!(
        improved > 300 && bounded > 30,
        "{improved} orders are better, {bounded} are not known to be best"
    );
}

#[test]
fn an_order_that_cannot_be_better_stays() {
    let mut random = Rng::with_seed(2);
    for round in 0..1000 {
        let dag = random_dag(&mut random, 7);
        let runs = dag.runs();
        let found = best_order(&dag, usize::MAX, &Unwatched);
        if runs.len() == 1 && found.peak == found.peak_before {
            assert!(found.order.is_sorted(), "round {round}: {found:?} {dag:?}");
        }
        // What was ordered stays as it is.
        let again = best_order(&renumbered(&dag, &found.order), usize::MAX, &Unwatched);
        assert!(again.order.is_sorted(), "round {round}: {again:?} {dag:?}");
    }
}

/// The graph with its operations in another order.
fn renumbered(dag: &Dag, order: &[usize]) -> Dag {
    let mut number = vec![0; order.len()];
    order.iter().enumerate().for_each(|(new, &old)| number[old] = new);
    let sorted = |ops: &[usize]| -> Vec<usize> {
        let mut ops: Vec<usize> = ops.iter().map(|&op| number[op]).collect();
        ops.sort_unstable();
        ops
    };
    Dag {
        waits: order.iter().map(|&old| sorted(&dag.waits[old])).collect(),
        uses: order.iter().map(|&old| dag.uses[old].clone()).collect(),
        buffers: dag
            .buffers
            .iter()
            .map(|buffer| Buffer {
                maker: buffer.maker.map(|op| number[op]),
                users: sorted(&buffer.users),
                ..buffer.clone()
            })
            .collect(),
    }
}

/// `branches` chains from one input to one result, whose levels rise and fall.
fn parallel_chains(branches: usize, length: usize) -> Dag {
    let mut random = Rng::with_seed(3);
    let count = branches * length + 1;
    let mut dag = Dag { waits: vec![Vec::new(); count], uses: vec![Vec::new(); count], buffers: Vec::new() };
    let add = |bytes, maker, users: Vec<usize>, dag: &mut Dag| {
        users.iter().for_each(|&user| dag.uses[user].push(dag.buffers.len()));
        dag.buffers.push(Buffer { bytes, maker, users, is_output: false });
    };
    add(10, None, (0..branches).map(|branch| branch * length).collect(), &mut dag);
    for op in 0..count - 1 {
        let reader = if (op + 1) % length == 0 { count - 1 } else { op + 1 };
        dag.waits[reader].push(op);
        add(random.usize(1..100), Some(op), vec![op, reader], &mut dag);
    }
    add(1, Some(count - 1), vec![count - 1], &mut dag);
    dag
}

/// Without chains there were 21 to the power of 6 sets of operations.
#[test]
fn chains_cost_few_states() {
    let dag = parallel_chains(6, 20);
    let found = best_order(&dag, 20_000, &Unwatched);
    check_order(&dag, &found);
    assert!(found.bound == found.peak && found.peak < found.peak_before, "{found:?}");
}
