//! Chooses a node for every e-class so that the graph of what the outputs need costs least, shared parts paid once.
//!
//! The problem is NP-hard (Stepp, *Equality Saturation*, 2011, section 5.3), so this is a heuristic in three steps:
//! 1. bottom up, every e-class gets the node whose whole graph costs least, given what its operands got. Graphs are
//!    kept as sets, so that what two operands share counts once ("greedy DAG" of the extraction gym,
//!    egraphs-good/extraction-gym:src/extract/faster_greedy_dag.rs);
//! 2. each choice is tried otherwise, as long as that makes the whole cheaper;
//! 3. the same from the graph that came in, which stays unless something is cheaper.
//!
//! Step 1 takes time and memory quadratic in the number of e-classes; beyond [`MAX_SHARED_CLASSES`] operands are taken
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

/// What is paid once.
#[derive(PartialEq, Eq, Hash)]
enum Item {
    /// An operation, whichever of its results is read.
    Op(OpNode),
    Constant(ConstantId),
}

/// Extraction from a saturated e-graph.
pub struct Extractor<'e> {
    egraph: &'e EGraph<Node, Facts>,
    cost: &'e dyn CostModel,
    /// E-classes in a fixed order.
    classes: Vec<Id>,
    /// Their nodes, with canonical operands, sorted.
    nodes: HashMap<Id, Vec<(Node, u64)>>,
}

impl<'e> Extractor<'e> {
    /// Prepares extraction.
    pub fn new(egraph: &'e EGraph<Node, Facts>, cost: &'e dyn CostModel) -> Self {
        let mut classes: Vec<Id> = egraph.classes().map(|class| class.id).collect();
        classes.sort_unstable();
        let mut extractor = Self { egraph, cost, classes, nodes: HashMap::new() };
        for class in egraph.classes() {
            let mut nodes: Vec<Node> =
                class.nodes.iter().map(|node| extractor.canonical(node.clone())).collect();
            nodes.sort_unstable();
            nodes.dedup();
            // A node that reads its own class can't make it.
            nodes.retain(|node| node.op().is_none_or(|op| !op.operands.contains(&class.id)));
            let priced = nodes.into_iter().map(|node| {
                let cost = extractor.cost_of(&node).total();
                (node, cost)
            });
            let priced = priced.collect();
            extractor.nodes.insert(class.id, priced);
        }
        extractor
    }

    /// A node with the ids of its operands' e-classes.
    pub fn canonical(&self, node: Node) -> Node {
        egg::Language::map_children(node, |id| self.egraph.find(id))
    }

    /// The cheapest choice that was found, and its cost; the one that came in if none is cheaper.
    pub fn extract(&self, outputs: &[Id], incoming: &Choice) -> Choice {
        let mut best = incoming.clone();
        let mut least = self.total(outputs, &best).unwrap_or(u64::MAX);
        let bottom_up = self.bottom_up();
        for start in [bottom_up, incoming.clone()] {
            let (choice, cost) = self.improved(outputs, start);
            if cost < least {
                (best, least) = (choice, cost);
            }
        }
        best
    }

    fn cost_of(&self, node: &Node) -> Cost {
        cost_of(self.egraph, self.cost, node)
    }

    fn bottom_up(&self) -> Choice {
        let shared = self.classes.len() <= MAX_SHARED_CLASSES;
        let mut best: HashMap<Id, Graph> = HashMap::new();
        for _ in 0..MAX_ROUNDS {
            let mut changed = false;
            for class in &self.classes {
                for (node, cost) in &self.nodes[class] {
                    let operands = egg::Language::children(node).iter().map(|id| best.get(id));
                    let Some(operands) = operands.collect::<Option<Vec<&Graph>>>() else { continue };
                    let Some(graph) = Graph::of(*class, node, *cost, &operands, shared) else { continue };
                    if best.get(class).is_none_or(|best| graph.total < best.total) {
                        best.insert(*class, graph);
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
        best.into_iter().map(|(class, graph)| (class, graph.node)).collect()
    }

    /// Cost of what the outputs need; `None` if a choice is missing or needs itself.
    pub fn total(&self, outputs: &[Id], choice: &Choice) -> Option<u64> {
        Some(self.cost(outputs, choice)?.total())
    }

    /// As [`Self::total`], by kind.
    pub fn cost(&self, outputs: &[Id], choice: &Choice) -> Option<Cost> {
        let mut paid: HashSet<Item> = HashSet::new();
        let mut sum = Cost::default();
        for class in reachable(outputs, choice)? {
            let node = &choice[&class];
            let item = match node {
                Node::Argument(..) => continue,
                Node::Constant(id, _) => Item::Constant(*id),
                Node::Op(op) => Item::Op(OpNode { index: 0, ..op.clone() }),
            };
            if paid.insert(item) {
                sum = sum + self.cost_of(node);
            }
        }
        Some(sum)
    }

    /// Tries every other node of every class that is needed, as long as that helps.
    fn improved(&self, outputs: &[Id], mut choice: Choice) -> (Choice, u64) {
        let Some(mut least) = self.total(outputs, &choice) else { return (choice, u64::MAX) };
        // Classes that only other nodes need have the choice that is best for them alone.
        for (class, node) in self.bottom_up_if_missing(&choice) {
            choice.entry(class).or_insert(node);
        }
        for _ in 0..MAX_ROUNDS {
            let before = least;
            for class in reachable(outputs, &choice).unwrap_or_default() {
                let alternatives = &self.nodes[&class];
                if alternatives.len() < 2 {
                    continue;
                }
                for (node, _) in alternatives {
                    let old = choice.insert(class, node.clone());
                    match self.total(outputs, &choice) {
                        Some(total) if total < least => least = total,
                        _ => {
                            old.and_then(|old| choice.insert(class, old));
                        }
                    }
                }
            }
            if least == before {
                break;
            }
        }
        (choice, least)
    }

    fn bottom_up_if_missing(&self, choice: &Choice) -> Choice {
        let complete = self.classes.iter().all(|class| choice.contains_key(class));
        if complete { Choice::new() } else { self.bottom_up() }
    }
}

/// Cost of a node without its operands.
pub fn cost_of(egraph: &EGraph<Node, Facts>, model: &dyn CostModel, node: &Node) -> Cost {
    match node {
        Node::Argument(..) => Cost::default(),
        Node::Constant(_, ty) => Cost { flash_bytes: ty.size_bytes() as u64, ..Cost::default() },
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
    let mut order = Vec::new();
    let mut done: HashMap<Id, bool> = HashMap::new();
    for &output in outputs {
        // A class is left when it comes up the second time, after all its operands.
        let mut stack = vec![(output, false)];
        while let Some((class, left)) = stack.pop() {
            if left {
                done.insert(class, true);
                order.push(class);
                continue;
            }
            match done.get(&class) {
                Some(true) => continue,
                Some(false) => return None,
                None => {}
            }
            done.insert(class, false);
            stack.push((class, true));
            let node = choice.get(&class)?;
            let waiting = egg::Language::children(node).iter().filter(|id| done.get(id) != Some(&true));
            stack.extend(waiting.rev().map(|&id| (id, false)));
        }
    }
    Some(order)
}

/// The graph below an e-class: which classes it needs, and what their nodes cost.
struct Graph {
    node: Node,
    total: u64,
    /// Costs by class, sorted; empty if sharing isn't counted.
    parts: Vec<(Id, u64)>,
}

impl Graph {
    /// The graph of a node; `None` if it needs its own class.
    fn of(class: Id, node: &Node, cost: u64, operands: &[&Graph], shared: bool) -> Option<Self> {
        if !shared {
            let total = operands.iter().fold(cost, |sum, graph| sum.saturating_add(graph.total));
            return Some(Self { node: node.clone(), total, parts: Vec::new() });
        }
        let mut parts: Vec<(Id, u64)> = Vec::new();
        for operand in operands {
            parts = union(&parts, &operand.parts);
        }
        match parts.binary_search_by_key(&class, |&(id, _)| id) {
            Ok(_) => return None,
            Err(at) => parts.insert(at, (class, cost)),
        }
        let total = parts.iter().fold(0u64, |sum, (_, cost)| sum.saturating_add(*cost));
        Some(Self { node: node.clone(), total, parts })
    }
}

/// Both sorted lists in one; of a class in both, the first.
fn union(a: &[(Id, u64)], b: &[(Id, u64)]) -> Vec<(Id, u64)> {
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
