//! Orders of preference, and how long each is tried.
//!
//! Which order finds a placement soon differs from problem to problem, and a search that does not find one soon seldom
//! does later. So each run takes another order, for a slice of nodes; the first orders as they are, later ones disturbed.

use super::model::Model;

/// Nodes of the shortest slice, per item.
const SLICE_NODES_PER_ITEM: usize = 2;

/// Keys are disturbed by up to this part of theirs, either way.
const NOISE: f64 = 0.2;

/// Nodes of a run: Luby's sequence 1, 1, 2, 1, 1, 2, 4, ...
pub fn slice(run: usize, items: usize) -> usize {
    let mut position = run + 1;
    while !(position + 1).is_power_of_two() {
        position -= (1 << (position + 1).ilog2()) - 1;
    }
    position.div_ceil(2) * SLICE_NODES_PER_ITEM * items.max(1)
}

/// Position of each item in the order of a run.
pub fn ranks(model: &Model, run: usize) -> Vec<usize> {
    let span = |i: usize| (model.spans[i][1] + 1 - model.spans[i][0]) as f64;
    let bytes = |i: usize| model.bytes[i] as f64;
    let sections = |i: usize| model.in_sections[i].len() as f64;
    let peak = |i: usize| {
        let totals = model.in_sections[i].iter().map(|&(section, _)| model.sections[section].total());
        totals.max().unwrap_or(0) as f64
    };
    let keys: [&dyn Fn(usize) -> (f64, f64); 6] = [
        &|i| (span(i), bytes(i)),
        &|i| (sections(i) * bytes(i), span(i)),
        &|i| (peak(i), span(i)),
        &|i| (sections(i), bytes(i)),
        &|i| (peak(i), span(i) * bytes(i)),
        &|i| (bytes(i), span(i)),
    ];
    let key = keys[run % keys.len()];
    let noise = if run < keys.len() { 0.0 } else { NOISE };
    let mut random = fastrand::Rng::with_seed(run as u64);
    let mut keyed: Vec<(f64, f64, usize)> = (0..model.items())
        .map(|i| {
            let (major, minor) = key(i);
            (major * (1.0 + noise * (2.0 * random.f64() - 1.0)), minor, i)
        })
        .collect();
    keyed.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
    let mut ranks = vec![0; keyed.len()];
    for (rank, &(_, _, item)) in keyed.iter().enumerate() {
        ranks[item] = rank;
    }
    ranks
}
