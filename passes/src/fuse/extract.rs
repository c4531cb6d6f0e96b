//! Chooses a node for every e-class so that the graph of what the outputs need costs least, shared parts paid once.
//!
//! The problem is NP-hard (Stepp, *Equality Saturation*, 2011, section 5.3), so this is a heuristic in three steps:
//! 1. bottom up, every e-class gets the node whose whole graph costs least, given what its operands got. Graphs are
//!    kept as sets, so that what two operands share counts once ("greedy DAG" of the extraction gym,
//!    egraphs-good/extraction-gym:src/extract/faster_greedy_dag.rs);
//! 2. each choice is tried otherwise, as long as that makes the whole cheaper, alone and then together with all that may read the same
//!    new operand: what several results are parts of costs more than any of them alone;
//! 3. the same from the graph that came in, which stays unless something is cheaper.
//!
//! Step 1 takes time and memory quadratic in the number of e-classes; beyond `MAX_SHARED_CLASSES` operands are taken
//! as if they shared nothing. All steps look at e-classes and nodes in a fixed order and depend on nothing else.

use super::analysis::Facts;
use super::constants::ConstantId;
use super::cost::{Cost, CostModel, Judged};
use super::language::{Node, OpNode};
use egg::{EGraph, Id};
use mcunet_ir::TensorType;
use std::collections::{BTreeMap, HashMap, HashSet};

/// E-classes up to which sharing is counted bottom up.
const MAX_SHARED_CLASSES: usize = 6000;

/// Rounds over all e-classes at most, in each of the first two steps.
const MAX_ROUNDS: usize = 20;

/// A node for e-classes, by their canonical ids.
pub type Choice = BTreeMap<Id, Node>;

/// A way to make an e-class.
struct Alternative {
    node: Node,
    cost: u64,
    /// What is paid once: constants and operations, whichever of its results is read, by number.
    item: usize,
    /// Positions of the operands' e-classes.
    operands: Vec<usize>,
}

/// An alternative for every e-class, both by position.
type Picks = Vec<Option<usize>>;

/// Extraction from a saturated e-graph.
pub struct Extractor<'e> {
    egraph: &'e EGraph<Node, Facts>,
    cost: &'e dyn CostModel,
    /// E-classes in a fixed order.
    classes: Vec<Id>,
    positions: HashMap<Id, usize>,
    alternatives: Vec<Vec<Alternative>>,
    /// For each e-class, which alternatives of which others read it.
    readers: Vec<Vec<(usize, usize)>>,
    items: usize,
}

impl<'e> Extractor<'e> {
    /// Prepares extraction.
    pub fn new(egraph: &'e EGraph<Node, Facts>, cost: &'e dyn CostModel) -> Self {
        let mut classes: Vec<Id> = egraph.classes().map(|class| class.id).collect();
        classes.sort_unstable();
        let positions: HashMap<Id, usize> =
            classes.iter().enumerate().map(|(position, &class)| (class, position)).collect();
        let mut items: HashMap<Item, usize> = HashMap::new();
        let alternatives = classes.iter().map(|&class| {
            let canonical = |node: &Node| egg::Language::map_children(node.clone(), |id| egraph.find(id));
            let mut nodes: Vec<Node> = egraph[class].iter().map(canonical).collect();
            nodes.sort_unstable();
            nodes.dedup();
            let alternative = |node: Node| {
                let operands = egg::Language::children(&node).iter().map(|id| positions[id]).collect();
                let number = items.len();
                let item = *items.entry(Item::of(&node)).or_insert(number);
                Alternative { cost: cost_of(egraph, cost, &node).total(), node, item, operands }
            };
            nodes.into_iter().map(alternative).collect()
        });
        let alternatives: Vec<Vec<Alternative>> = alternatives.collect();
        let mut readers = vec![Vec::new(); classes.len()];
        for (position, alternatives) in alternatives.iter().enumerate() {
            for (pick, alternative) in alternatives.iter().enumerate() {
                alternative.operands.iter().for_each(|&operand| readers[operand].push((position, pick)));
            }
        }
        Self { egraph, cost, classes, positions, alternatives, readers, items: items.len() }
    }

    /// The cheapest choice that was found; the one that came in if none is cheaper.
    pub fn extract(&self, outputs: &[Id], incoming: &Choice) -> Choice {
        let outputs: Vec<usize> = outputs.iter().map(|id| self.positions[&self.egraph.find(*id)]).collect();
        let incoming = self.picks(incoming);
        let bottom_up = self.bottom_up();
        let mut best = incoming.clone();
        let mut least = self.total(&outputs, &best).unwrap_or(u64::MAX);
        for mut start in [bottom_up.clone(), incoming] {
            // Classes that only other nodes need get what is best for them alone.
            for (pick, best) in start.iter_mut().zip(&bottom_up) {
                *pick = pick.or(*best);
            }
            let (picks, cost) = self.improved(&outputs, start);
            if cost < least {
                (best, least) = (picks, cost);
            }
        }
        let chosen = best.iter().enumerate().filter_map(|(position, pick)| {
            Some((self.classes[position], self.alternatives[position][(*pick)?].node.clone()))
        });
        chosen.collect()
    }

    fn picks(&self, choice: &Choice) -> Picks {
        let pick = |(position, class): (usize, &Id)| {
            let node = choice.get(class)?;
            self.alternatives[position].iter().position(|alternative| alternative.node == *node)
        };
        self.classes.iter().enumerate().map(pick).collect()
    }

    fn bottom_up(&self) -> Picks {
        let shared = self.classes.len() <= MAX_SHARED_CLASSES;
        let mut best: Vec<Option<Graph>> = self.classes.iter().map(|_| None).collect();
        for _ in 0..MAX_ROUNDS {
            let mut changed = false;
            for position in 0..self.classes.len() {
                for (pick, alternative) in self.alternatives[position].iter().enumerate() {
                    let operands = alternative.operands.iter().map(|&operand| best[operand].as_ref());
                    let Some(operands) = operands.collect::<Option<Vec<&Graph>>>() else { continue };
                    let graph = Graph::of((position, pick), alternative.cost, &operands, shared);
                    let Some(graph) = graph else { continue };
                    if best[position].as_ref().is_none_or(|best| graph.total < best.total) {
                        best[position] = Some(graph);
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
        best.into_iter().map(|graph| graph.map(|graph| graph.pick)).collect()
    }

    /// Cost of what the outputs need; `None` if a choice is missing or needs itself.
    fn total(&self, outputs: &[usize], picks: &Picks) -> Option<u64> {
        let mut paid = vec![false; self.items];
        let mut sum = 0u64;
        for position in self.needed(outputs, picks)? {
            let alternative = &self.alternatives[position][picks[position]?];
            if !std::mem::replace(&mut paid[alternative.item], true) {
                sum = sum.saturating_add(alternative.cost);
            }
        }
        Some(sum)
    }

    fn needed(&self, outputs: &[usize], picks: &Picks) -> Option<Vec<usize>> {
        in_order(outputs, self.classes.len(), |position| {
            Some(&self.alternatives[position][picks[position]?].operands)
        })
    }

    /// What a choice costs, by kind; `None` if one is missing or needs itself.
    pub fn cost(&self, outputs: &[Id], choice: &Choice) -> Option<Cost> {
        let mut paid: HashSet<Item> = HashSet::new();
        let mut sum = Cost::default();
        for class in reachable(outputs, choice)? {
            let node = &choice[&class];
            if paid.insert(Item::of(node)) {
                sum = sum + cost_of(self.egraph, self.cost, node);
            }
        }
        Some(sum)
    }

    /// An alternative and those of other classes that read an operand with it which is not there yet; none if there are no
    /// others.
    fn together(&self, position: usize, pick: usize, is_needed: &[bool]) -> Vec<(usize, usize)> {
        let mut change = vec![(position, pick)];
        let operands = self.alternatives[position][pick].operands.iter();
        for &operand in operands.filter(|&&operand| !is_needed[operand]) {
            for &(other, pick) in self.readers[operand].iter().filter(|&&(other, _)| is_needed[other]) {
                if change.iter().all(|&(position, _)| position != other) {
                    change.push((other, pick));
                }
            }
        }
        if change.len() > 1 { change } else { Vec::new() }
    }

    /// Tries every other node of every class that is needed, as long as that helps.
    fn improved(&self, outputs: &[usize], mut picks: Picks) -> (Picks, u64) {
        let Some(mut least) = self.total(outputs, &picks) else { return (picks, u64::MAX) };
        for _ in 0..MAX_ROUNDS {
            let before = least;
            let needed = self.needed(outputs, &picks).unwrap_or_default();
            let mut is_needed = vec![false; self.classes.len()];
            needed.iter().for_each(|&position| is_needed[position] = true);
            for position in needed {
                let count = self.alternatives[position].len();
                for pick in (0..count).filter(|_| count > 1) {
                    let together = self.together(position, pick, &is_needed);
                    let changes = [vec![(position, pick)], together];
                    for change in changes.into_iter().filter(|change| !change.is_empty()) {
                        let old: Vec<Option<usize>> =
                            change.iter().map(|&(position, pick)| picks[position].replace(pick)).collect();
                        match self.total(outputs, &picks) {
                            Some(total) if total < least => {
                                least = total;
                                break;
                            }
                            _ => {
                                change.iter().zip(old).for_each(|(&(position, _), old)| picks[position] = old)
                            }
                        }
                    }
                }
            }
            if least == before {
                break;
            }
        }
        (picks, least)
    }
}

/// What is paid once.
#[derive(PartialEq, Eq, Hash)]
enum Item {
    Argument(usize),
    Constant(ConstantId),
    /// An operation, whichever of its results is read.
    Op(OpNode),
}

impl Item {
    fn of(node: &Node) -> Self {
        match node {
            Node::Argument(index, _) => Item::Argument(*index),
            Node::Constant(id, _) => Item::Constant(*id),
            Node::Op(op) => Item::Op(OpNode { index: 0, ..op.clone() }),
        }
    }
}

/// Cost of a node without its operands.
pub fn cost_of(egraph: &EGraph<Node, Facts>, model: &dyn CostModel, node: &Node) -> Cost {
    match node {
        Node::Argument(..) => Cost::default(),
        Node::Constant(_, ty) => Cost { flash_bytes: ty.packed_bytes() as u64, ..Cost::default() },
        Node::Op(op) => {
            let facts: Vec<_> = op.operands.iter().map(|&id| &egraph[id].data).collect();
            let operands: Vec<&TensorType> = facts.iter().map(|fact| &*fact.ty).collect();
            let constant: Vec<bool> = facts.iter().map(|fact| fact.constant.is_some()).collect();
            let (kind, results) = (&*op.kind, &*op.results);
            model.of(&Judged { kind, operands: &operands, constant: &constant, results })
        }
    }
}

/// Classes that the outputs need, operands first; `None` if one has no choice or needs itself.
pub fn reachable(outputs: &[Id], choice: &Choice) -> Option<Vec<Id>> {
    let ids: Vec<Id> = choice.keys().copied().collect();
    let position = |id: &Id| ids.binary_search(id).ok();
    let operands = |at: usize| -> Option<Vec<usize>> {
        egg::Language::children(&choice[&ids[at]]).iter().map(position).collect()
    };
    let outputs: Vec<usize> = outputs.iter().map(position).collect::<Option<_>>()?;
    let order = in_order(&outputs, ids.len(), operands)?;
    Some(order.into_iter().map(|at| ids[at]).collect())
}

/// Numbers below `count` that `outputs` need, each after all that it needs itself; `None` if something is missing or needs
/// itself.
fn in_order<L: std::borrow::Borrow<Vec<usize>>>(
    outputs: &[usize],
    count: usize,
    operands: impl Fn(usize) -> Option<L>,
) -> Option<Vec<usize>> {
    let mut order = Vec::new();
    // Not met, on the way, or done.
    let mut done: Vec<Option<bool>> = vec![None; count];
    for &output in outputs {
        // A number is left when it comes up the second time, after all its operands.
        let mut stack = vec![(output, false)];
        while let Some((number, left)) = stack.pop() {
            if left {
                done[number] = Some(true);
                order.push(number);
                continue;
            }
            match done[number] {
                Some(true) => continue,
                Some(false) => return None,
                None => {}
            }
            done[number] = Some(false);
            stack.push((number, true));
            let operands = operands(number)?;
            let waiting = operands.borrow().iter().filter(|&&operand| done[operand] != Some(true));
            stack.extend(waiting.rev().map(|&operand| (operand, false)));
        }
    }
    Some(order)
}

/// The graph below an e-class: which classes it needs, and what their nodes cost.
struct Graph {
    pick: usize,
    total: u64,
    /// Costs by position, sorted; empty if sharing isn't counted.
    parts: Vec<(usize, u64)>,
}

impl Graph {
    /// The graph of an alternative of a class; `None` if it needs its own class.
    fn of((class, pick): (usize, usize), cost: u64, operands: &[&Graph], shared: bool) -> Option<Self> {
        if !shared {
            let total = operands.iter().fold(cost, |sum, graph| sum.saturating_add(graph.total));
            return Some(Self { pick, total, parts: Vec::new() });
        }
        let mut parts: Vec<(usize, u64)> = Vec::new();
        for operand in operands {
            parts = union(&parts, &operand.parts);
        }
        match parts.binary_search_by_key(&class, |&(id, _)| id) {
            Ok(_) => return None,
            Err(at) => parts.insert(at, (class, cost)),
        }
        let total = parts.iter().fold(0u64, |sum, (_, cost)| sum.saturating_add(*cost));
        Some(Self { pick, total, parts })
    }
}

/// Both sorted lists in one; of a class in both, the first.
fn union(a: &[(usize, u64)], b: &[(usize, u64)]) -> Vec<(usize, u64)> {
    let mut all = Vec::with_capacity(a.len().max(b.len()));
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some(x), Some(y)) => match x.0.cmp(&y.0) {
                std::cmp::Ordering::Less => all.extend(a.next()),
                std::cmp::Ordering::Greater => all.extend(b.next()),
                std::cmp::Ordering::Equal => {
                    all.extend(a.next());
                    b.next();
                }
            },
            (Some(_), None) => all.extend(a.next()),
            (None, Some(_)) => all.extend(b.next()),
            (None, None) => return all,
        }
    }
}
