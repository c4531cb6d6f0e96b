//! Chains of operations, cut into segments that run without a break.
//!
//! In a chain, every operation but the first waits for nothing but the one before it, which nobody else waits for. What it
//! adds to the live bytes goes up to hills and down to valleys, whatever the rest of the graph does meanwhile. There is a
//! best order that leaves a chain only in some of its valleys: cut at the lowest one, and from there outwards at the
//! lowest one beyond the highest hill that is left. For take any order, and let a segment run as a whole when its highest
//! hill runs: what lay before the hill is put off, and meanwhile the chain takes the bytes of the valley before the
//! segment, which are the least up to the hill; what lay after it comes earlier, and meanwhile the chain takes the bytes
//! of the valley after it, which are the least from the hill on. So nothing is live that was not live before.
//!
//! What the first operation of a chain frees depends on who else reads its operands. It is counted as the most that can
//! be, and the operation is a segment of its own where that is not enough to tell.
//!
//! Source: J. W. H. Liu, "An application of generalized tree pebbling to sparse matrix factorization", SIAM Journal on
//! Algebraic and Discrete Methods 8 (3), 1987, who cuts the subtrees of a tree so.

use super::dag::Dag;
use super::set::Set;

/// Operations that run one after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The operations.
    pub ops: Vec<usize>,
    /// Segments that have to run before.
    waits: Vec<usize>,
    /// Bytes that the first operation makes.
    made: usize,
    /// Bytes that the first operation frees, once the segments with them have run.
    frees: Vec<(usize, Set)>,
    /// Most bytes that the others add to those that live after the first one, and how many they add in the end.
    rest: Option<[i64; 2]>,
}

/// What has run, and how many bytes live.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Segments that have run.
    pub done: Set,
    /// How many these are.
    pub count: usize,
    /// Bytes that live.
    pub live: i64,
}

impl Segment {
    /// Whether it can run next.
    pub fn is_ready(&self, state: &State) -> bool {
        self.waits.iter().all(|&before| state.done.has(before))
    }

    /// Greatest number of bytes that live while it runs, and the number after it.
    pub fn bytes(&self, state: &State) -> [i64; 2] {
        let peak = state.live + self.made as i64;
        let freed = self.frees.iter().filter(|(_, others)| others.is_subset(&state.done));
        let live = peak - freed.map(|(bytes, _)| *bytes as i64).sum::<i64>();
        match self.rest {
            Some([most, end]) => [peak.max(live + most), live + end],
            None => [peak, live],
        }
    }
}

/// The segments of all operations, in the order of their first ones.
pub fn segments(dag: &Dag) -> Vec<Segment> {
    let mut pieces: Vec<Vec<usize>> = chains(dag).iter().flat_map(|chain| cut(dag, chain)).collect();
    pieces.sort_unstable_by_key(|ops| ops[0]);
    let mut segment_of = vec![0; dag.count()];
    for (segment, ops) in pieces.iter().enumerate() {
        ops.iter().for_each(|&op| segment_of[op] = segment);
    }
    let count = pieces.len();
    pieces.into_iter().map(|ops| segment(dag, ops, &segment_of, count)).collect()
}

fn segment(dag: &Dag, ops: Vec<usize>, segment_of: &[usize], count: usize) -> Segment {
    let (first, own) = (ops[0], segment_of[ops[0]]);
    let waits = dag.waits[first].iter().map(|&op| segment_of[op]).collect();
    let mut frees = Vec::new();
    for buffer in dag.uses[first].iter().map(|&buffer| &dag.buffers[buffer]) {
        let later = buffer.users.iter().any(|&user| user != first && segment_of[user] == own);
        if !buffer.is_output && !later {
            let mut others = Set::below(count);
            buffer
                .users
                .iter()
                .filter(|&&user| user != first)
                .for_each(|&user| others.insert(segment_of[user]));
            frees.push((buffer.bytes, others));
        }
    }
    let (mut live, mut most) = (0, 0);
    for &op in &ops[1..] {
        let [made, freed] = changes(dag, op);
        most = most.max(live + made);
        live += made - freed;
    }
    let rest = (ops.len() > 1).then_some([most, live]);
    Segment { made: dag.made_bytes(first), ops, waits, frees, rest }
}

/// All operations as chains.
fn chains(dag: &Dag) -> Vec<Vec<usize>> {
    let mut readers = vec![0; dag.count()];
    dag.waits.iter().flatten().for_each(|&op| readers[op] += 1);
    let follows = |op: usize| match dag.waits[op][..] {
        [before] if readers[before] == 1 => {
            dag.uses[op].iter().all(|&buffer| dag.buffers[buffer].maker.is_some()).then_some(before)
        }
        _ => None,
    };
    let mut chains: Vec<Vec<usize>> = Vec::new();
    let mut chain_of = vec![0; dag.count()];
    for op in 0..dag.count() {
        match follows(op) {
            Some(before) => chain_of[op] = chain_of[before],
            None => {
                chain_of[op] = chains.len();
                chains.push(Vec::new());
            }
        }
        chains[chain_of[op]].push(op);
    }
    chains
}

/// Bytes that an operation makes and frees that is not the first of its chain. Whoever else uses what it frees has run
/// before it in every order.
fn changes(dag: &Dag, op: usize) -> [i64; 2] {
    let used = dag.uses[op].iter().map(|&buffer| &dag.buffers[buffer]);
    let freed = used.filter(|buffer| !buffer.is_output && buffer.users.last() == Some(&op));
    [dag.made_bytes(op) as i64, freed.map(|buffer| buffer.bytes as i64).sum()]
}

/// A chain, cut into segments.
fn cut(dag: &Dag, chain: &[usize]) -> Vec<Vec<usize>> {
    // Bytes that the chain adds before each operation and after the last, and at each operation, against those after the
    // first.
    let first = chain[0];
    let used = dag.uses[first].iter().map(|&buffer| &dag.buffers[buffer]);
    let freed = used.filter(|buffer| {
        !buffer.is_output && buffer.users.iter().all(|&user| user <= first || !chain.contains(&user))
    });
    let freed: i64 = freed.map(|buffer| buffer.bytes as i64).sum();
    let (mut levels, mut peaks) = (vec![freed - dag.made_bytes(first) as i64, 0], vec![freed]);
    for &op in &chain[1..] {
        let (live, [made, freed]) = (levels[levels.len() - 1], changes(dag, op));
        peaks.push(live + made);
        levels.push(live + made - freed);
    }
    let mut borders = valleys(&levels, &peaks);
    // A first operation that may be the highest of its segment is none that others can be put beside.
    let others = peaks[1..borders[1]].iter().max();
    if others.is_none_or(|&others| others <= freed) {
        borders = valleys(&levels[1..], &peaks[1..]).into_iter().map(|border| border + 1).collect();
        borders.insert(0, 0);
    }
    borders.windows(2).map(|border| chain[border[0]..border[1]].to_vec()).collect()
}

/// Where to cut a chain of which operation `i` has the peak `peaks[i]` between `levels[i]` and `levels[i + 1]`: at both
/// ends, and at some of the levels between.
fn valleys(levels: &[i64], peaks: &[i64]) -> Vec<usize> {
    let end = peaks.len();
    let Some(lowest) = (0..=end).min_by_key(|&at| levels[at]) else { return Vec::new() };
    let mut borders = vec![lowest];
    let mut at = lowest;
    while let Some(hill) = (0..at).max_by_key(|&op| (peaks[op], std::cmp::Reverse(op))) {
        at = (0..=hill).min_by_key(|&at| levels[at]).unwrap_or(0);
        borders.push(at);
    }
    at = lowest;
    while let Some(hill) = (at..end).max_by_key(|&op| peaks[op]) {
        at = (hill + 1..=end).min_by_key(|&at| (levels[at], std::cmp::Reverse(at))).unwrap_or(end);
        borders.push(at);
    }
    borders.sort_unstable();
    borders.dedup();
    borders
}
