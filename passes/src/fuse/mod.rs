//! Rewrites a graph by equality saturation.
//!
//! Problem: a rewrite can stand in the way of a better one, and many pay off only together, such as moving a transpose
//! through ten layers to where it vanishes. Method: the graph becomes an e-graph, in which every rule adds what is equal
//! and removes nothing; when no rule has anything to add, the cheapest of all graphs in it is extracted (Tate et al.,
//! *Equality Saturation: a New Approach to Optimization*, POPL 2009; Willsey et al., *egg: Fast and Extensible Equality
//! Saturation*, POPL 2021; for tensor graphs Yang et al., *Equality Saturation for Tensor Graph Superoptimization*, MLSys
//! 2021).
//!
//! - [`language`]: an e-node is an `nn` operation with the types of its results; [`constants`] go by their content.
//! - [`analysis`]: type, constant data and range of every e-class.
//! - [`rules`]: the rules, as data; [`graph`] is what they see.
//! - [`cost`], `oracle` and [`extract`]: what is cheapest, with shared parts paid once.
//! - [`mod@translate`]: from a function to an e-graph and back, with names and origins.
//!
//! Invariant: all nodes of an e-class compute the same tensor of the same type, to the bit unless an approximate rule was
//! named. Results depend on the module and the options alone: saturation is bounded by nodes and rounds, not by time.
//!
//! Refuses functions with anything but pure tensor operations, such as cascades: they stay as they are.

pub mod analysis;
pub mod check;
pub mod constants;
pub mod cost;
pub mod extract;
pub mod graph;
pub mod language;
mod oracle;
pub mod rules;
mod select;
pub mod translate;

use crate::pass::{Changed, Pass, PassContext};
use analysis::Facts;
use cost::{Cost, CostModel};
use egg::{
    Applier, EGraph, Id, Rewrite, Runner, SearchMatches, Searcher, SimpleScheduler, StopReason, Subst,
};
use extract::Extractor;
use language::Node;
use mcunet_ir::{Diagnostics, Function, Module};
use oracle::Oracle;
use rules::Rule;
pub use select::{Approximations, RuleNames};
use std::time::Duration;
use translate::{Translated, put_back, translate};

crate::declare_pass! {
    /// Rewrites the graph by rules, all at once, and takes the cheapest of all equal graphs.
    ///
    /// Composes int8 functions into tables, merges activations into the operations before them, means of means into one
    /// operation, and operations that only move data into one another or nothing; see docs/fusion.md for all rules. Equal
    /// operations are computed once. Rules are exact to the bit, but for those that are approximate, which apply only
    /// where `approximate` names them. `--stats` tells how often each rule found something new, whether the
    /// rules came to an end, and the estimated cost before and after.
    pub Fuse = "fuse" {
        /// Approximate rules to apply as well, such as merge-means+scale-into-weights.
        approximate: Approximations = Approximations::default(),
        /// Rules to apply instead of all exact ones, joined by +; for tests.
        rules: RuleNames = RuleNames::default(),
        /// Apply, of the exact rules, those that make operations of which other passes know less than of their parts.
        late: bool = false,
        /// Nodes of the e-graph from which on no more are added.
        max_nodes: usize = 20_000,
        /// Times that all rules are tried at most.
        max_rounds: usize = 40,
    } requires Imported ensures Imported;
}

impl Pass for Fuse {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        let mut changed = false;
        let mut functions = std::mem::take(&mut module.functions);
        for function in &mut functions {
            changed |= self.fuse(module, function, cx).unwrap_or(false);
        }
        module.functions = functions;
        if changed {
            module.retain_used_resources();
        }
        Ok(changed.into())
    }
}

impl Fuse {
    /// Rules that apply.
    pub fn rules(&self) -> Vec<&'static Rule> {
        let named = |rule: &&Rule| match self.rules.0.is_empty() {
            true => rule.is_exact() && rules::is_late(rule) == self.late,
            false => self.rules.0.iter().any(|name| name == rule.name),
        };
        let approximate = |rule: &&Rule| self.approximate.0.iter().any(|name| name == rule.name);
        rules::all().filter(|rule| named(rule) || approximate(rule)).collect()
    }

    /// Rewrites a function; whether it changed, or `None` if it can't be translated.
    fn fuse(&self, module: &mut Module, function: &mut Function, cx: &PassContext<'_>) -> Option<bool> {
        let mut all = translate(module, function)?;
        let saturation = self.saturate(&mut all);
        for (rule, count) in &saturation.applied {
            cx.count(rule, *count);
        }
        cx.count("e-nodes", all.egraph.total_size() as u64);
        cx.count("e-classes", all.egraph.number_of_classes() as u64);
        cx.count("rounds", saturation.rounds);
        cx.count("functions that were not saturated", u64::from(!saturation.ended));
        let cost: &dyn CostModel = &Oracle::new(cx);
        let extractor = Extractor::new(&all.egraph, cost);
        let (outputs, incoming) = (all.outputs(function)?, all.incoming(function));
        let choice = extractor.extract(&outputs, &incoming);
        let costs = [all.cost(function, cost)?, extractor.cost(&outputs, &choice)?];
        report(cx, costs);
        // What is no better stays as it is.
        let better = costs[1].total() < costs[0].total();
        count_operations(cx, function, ["operations before", "multiply-accumulates before"]);
        if better {
            put_back(module, function, &all, &choice)?;
        }
        count_operations(cx, function, ["operations after", "multiply-accumulates after"]);
        Some(better)
    }

    /// Applies the rules until they find nothing new.
    pub fn saturate(&self, all: &mut Translated) -> Saturation {
        let rewrites: Vec<Rewrite<Node, Facts>> = self.rules().into_iter().map(rewrite).collect();
        let egraph = std::mem::replace(&mut all.egraph, EGraph::new(Facts::default()));
        let runner: Runner<Node, Facts> = Runner::new(Facts::default())
            .with_egraph(egraph)
            .with_node_limit(self.max_nodes)
            .with_iter_limit(self.max_rounds)
            .with_time_limit(Duration::MAX)
            // Without favour: a rule that matches often is no reason to look away.
            .with_scheduler(SimpleScheduler)
            .run(&rewrites);
        let mut applied = Vec::new();
        for rule in rules::all() {
            let name = egg::Symbol::from(rule.name);
            let of_round = |round: &egg::Iteration<()>| round.applied.get(&name).copied();
            let count: usize = runner.iterations.iter().filter_map(of_round).sum();
            if count > 0 {
                applied.push((rule.name, count as u64));
            }
        }
        let ended = matches!(runner.stop_reason, Some(StopReason::Saturated));
        let rounds = runner.iterations.len() as u64;
        all.egraph = runner.egraph;
        Saturation { applied, rounds, ended }
    }
}

/// What saturation did.
#[derive(Clone, Debug)]
pub struct Saturation {
    /// How often rules found something new.
    pub applied: Vec<(&'static str, u64)>,
    /// Times that all rules were tried.
    pub rounds: u64,
    /// Whether no rule had anything to add at the end.
    pub ended: bool,
}

/// Operations that become kernels.
fn count_operations(cx: &PassContext<'_>, function: &Function, [operations, macs]: [&'static str; 2]) {
    cx.count(operations, crate::patch_split::split::operations(function).len() as u64);
    cx.count(macs, crate::analysis::macs::of_function(function));
}

fn report(cx: &PassContext<'_>, [before, after]: [Cost; 2]) {
    cx.count("estimated cycles before", before.cycles);
    cx.count("estimated cycles after", after.cycles);
    cx.count("estimated bytes of flash before", before.flash_bytes);
    cx.count("estimated bytes of flash after", after.flash_bytes);
    cx.count("estimated bytes held before", before.held_bytes);
    cx.count("estimated bytes held after", after.held_bytes);
}

/// A rule in the form that egg runs.
fn rewrite(rule: &'static Rule) -> Rewrite<Node, Facts> {
    let rewrite = Rewrite::new(rule.name, Roots(rule), Additions(rule));
    rewrite.expect("only variables can be unbound, and there are none")
}

/// Finds the classes in which a rule has a root.
struct Roots(&'static Rule);

impl Searcher<Node, Facts> for Roots {
    fn search_eclass_with_limit(
        &self,
        egraph: &EGraph<Node, Facts>,
        class: Id,
        _limit: usize,
    ) -> Option<SearchMatches<'_, Node>> {
        let is_root = |node: &Node| node.op().is_some_and(|op| (self.0.roots)(&op.kind));
        let found = egraph[class].iter().any(is_root);
        found.then(|| SearchMatches { eclass: class, substs: vec![Subst::default()], ast: None })
    }

    fn vars(&self) -> Vec<egg::Var> {
        Vec::new()
    }
}

/// Nodes of an e-class beyond which no rule looks for more: a value that can be made in so many ways stands in a chain that
/// feeds on itself.
const MAX_CLASS_NODES: usize = 32;

/// Adds what a rule finds for the roots of a class.
struct Additions(&'static Rule);

impl Applier<Node, Facts> for Additions {
    fn apply_one(
        &self,
        egraph: &mut EGraph<Node, Facts>,
        class: Id,
        _subst: &Subst,
        _searcher_ast: Option<&egg::PatternAst<Node>>,
        _rule: egg::Symbol,
    ) -> Vec<Id> {
        if egraph[class].len() > MAX_CLASS_NODES {
            return Vec::new();
        }
        let roots: Vec<_> = egraph[class].iter().filter_map(Node::op).cloned().collect();
        let mut changed = Vec::new();
        for root in roots.iter().filter(|root| (self.0.roots)(&root.kind)) {
            for equal in (self.0.apply)(&mut graph::Graph::new(egraph), root) {
                if egraph.union(class, equal) {
                    changed.push(equal);
                }
            }
        }
        changed
    }
}
