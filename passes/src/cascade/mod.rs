//! Cuts a function into cascades, so that few rows of its tensors exist at a time.
//!
//! Problem: layer by layer, the largest pair of neighbouring tensors has to fit into SRAM. Row by row, most tensors are
//! needed for a few rows only. But a cascade over everything is not best either: near the end of a network tensors are
//! small, while a window of a few rows of each of many layers is not.
//!
//! Method: rows are pulled through a run of stages ([`pull`]), which recomputes nothing; where to cut is found by dynamic
//! programming over the peaks of all runs ([`cut`]), in O(n^2) runs for n stages, and of the two ways that this gives the
//! one is taken whose buffers can be placed in the fewest bytes ([`estimate`]). Tensors at cuts are whole, but their rows
//! die as they are read, and grow as they are made, so that even a cut costs less than layer by layer.
//!
//! Refused: functions that have cascades already, and constants and reshapes as stages (a reshape is free, but a cascade
//! does not look through it).

pub mod cut;
pub mod estimate;
pub mod graph;
pub mod pull;
pub mod stream;
pub mod windows;

use crate::pass::{Changed, OptionValue, Pass, PassContext};
use crate::plan_memory::spread::Room;
use estimate::Effort;
use graph::Graph;
use mcunet_ir::diag::{Category, Origin};
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::schedule::Schedule;
use mcunet_ir::tile::ops::{Cascade as CascadeOp, Yield};
use mcunet_ir::{Block, Diagnostic, Diagnostics, Function, Module, Op, Type, Value};
use pull::Pulled;
use std::collections::HashSet;
use std::ops::Range;
use stream::{Handing, Streaming};

/// Where to cut: found by search, or given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cuts {
    /// Where the peak is least.
    Search,
    /// Before the stages of these numbers.
    Given(Vec<usize>),
}

impl OptionValue for Cuts {
    fn description() -> String {
        "`search`, or numbers of stages such as 3:6:16".to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        if text == "search" {
            return Some(Cuts::Search);
        }
        let cuts: Option<Vec<usize>> = text.split(':').map(|cut| cut.parse().ok()).collect();
        cuts.filter(|cuts| cuts.is_sorted_by(|a, b| a < b)).map(Cuts::Given)
    }
    fn print(&self) -> String {
        match self {
            Cuts::Search => "search".to_owned(),
            Cuts::Given(cuts) => cuts.iter().map(ToString::to_string).collect::<Vec<_>>().join(":"),
        }
    }
}

crate::declare_pass! {
    /// Runs layers row by row where that takes less memory.
    ///
    /// Cuts each function into runs of operations; a run of several becomes a `tile.cascade`, in which every row is made
    /// once, when it is needed, and held only as long. The cuts are placed where the peak of SRAM is least. Inputs can be
    /// cut into rows as well, which the caller then hands over one by one, and outputs, which are then handed to the caller
    /// so. Fails if that is asked for and no input is read by rows or no output made by rows.
    pub Cascade = "cascade" {
        /// Operations before which to cut, counted from 0 without constants and reshapes; `search` finds the best.
        cuts: Cuts = Cuts::Search,
        /// Receive inputs row by row from the caller, where they are read so, instead of having them lie in memory: `no`,
        /// `once`, or `again`, if the caller can hand the rows over as often as they are wanted, once for each tile. An
        /// operation that receives counts as one of the first that reads.
        stream_input: Streaming = Streaming::No,
        /// Send outputs to the caller row by row, each as soon as it is made, where they are made so, instead of leaving them
        /// in memory. An operation that sends counts as one behind the maker.
        stream_output: bool = false,
    } requires Imported ensures Imported;
}

impl Pass for Cascade {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        let mut changed = Changed::No;
        for function in &mut module.functions {
            let handing = Handing { input: self.stream_input, output: self.stream_output };
            let [received, sent] = handing.apply(function)?;
            for (what, count) in [("inputs received", received), ("outputs sent", sent)] {
                if count > 0 {
                    cx.count(what, count as u64);
                    changed = Changed::Yes;
                }
            }
            let Some(graph) = Graph::of(function) else { continue };
            let rooms: Vec<Room> = cx.target.sram_by_speed().into_iter().map(Room::of).collect();
            let ends = self.ends(&graph, &rooms, cx)?;
            cx.count("operations", graph.nodes.len() as u64);
            let mut start = 0;
            for end in ends {
                if end - start > 1 {
                    form(function, &graph, start..end);
                    cx.count("cascades", 1);
                    cx.count("operations in cascades", (end - start) as u64);
                    changed = Changed::Yes;
                }
                start = end;
            }
        }
        Ok(changed)
    }
}

impl Cascade {
    /// Ends of the runs. If they don't fit into the fastest of several `rooms`, those of the arenas that fit into all of them.
    fn ends(&self, graph: &Graph, rooms: &[Room], cx: &PassContext<'_>) -> Result<Vec<usize>, Diagnostics> {
        match &self.cuts {
            Cuts::Search => {
                let (ends, bytes) = estimate::best_cuts(graph, 0, Effort::Usual, cx);
                Ok(match rooms {
                    [fastest, _, ..] if bytes > fastest.bytes => estimate::best_cuts_for(graph, rooms, cx),
                    _ => ends,
                })
            }
            Cuts::Given(cuts) => {
                let count = graph.nodes.len();
                if let Some(cut) = cuts.iter().find(|&&cut| cut == 0 || cut >= count) {
                    let message =
                        format!("expected cuts between 1 and {}, got {cut}", count.saturating_sub(1));
                    return Err(Diagnostic::error(message).category(Category::Usage).into());
                }
                let ends: Vec<usize> = cuts.iter().copied().chain([count]).collect();
                let mut start = 0;
                for &end in &ends {
                    if let Some(stage) = cut::unreachable_stage(graph, start..end) {
                        let message = format!(
                            "expected a cut before operation {stage}, which reads a reshaped result of one before it or \
                             receives the same input again, got operations {start} to {} together",
                            end - 1
                        );
                        return Err(Diagnostic::error(message).category(Category::Usage).into());
                    }
                    start = end;
                }
                Ok(ends)
            }
        }
    }
}

/// Makes a run of stages a cascade.
fn form(function: &mut Function, graph: &Graph, range: Range<usize>) {
    let pulled = Pulled::of(graph, range.clone());
    let schedule = Schedule(pulled.steps.iter().map(|&(stage, _)| (stage - range.start) as u16).collect());
    let held = range.clone().map(|stage| {
        let node = &graph.nodes[stage];
        if node.sends {
            return node.rows;
        }
        let windows = node.writes.iter().filter_map(|&buffer| pulled.buffers[buffer].as_ref());
        windows.map(|rows| rows.held).max().unwrap_or(1).min(node.rows)
    });
    let held = held.collect();
    let inner: Vec<Op> = graph.nodes[range].iter().map(|node| node.op).collect();
    let body = function.create_block();
    let escaping = escaping(function, &inner);
    let types: Vec<Type> = escaping.iter().map(|&value| function.ty(value).clone()).collect();
    let end = function.create_op(Yield {}.into(), escaping.clone(), Vec::new(), Vec::new(), Origin::Unknown);
    function.blocks[body].ops = inner.iter().copied().chain([end]).collect();
    let origin = Origin::fuse(inner.iter().map(|&op| function.ops[op].origin.clone()));
    let kind = CascadeOp { schedule, held };
    let cascade = function.create_op(kind.into(), Vec::new(), types, vec![body], origin);
    let results = function.ops[cascade].results.clone();
    for (&value, &result) in escaping.iter().zip(&results) {
        function.values[result].name = function.values[value].name.clone();
        replace_outside(function, body, value, result);
    }
    place(function, cascade, &inner);
}

/// Results of the operations that others use.
fn escaping(function: &Function, inner: &[Op]) -> Vec<Value> {
    let inside: HashSet<Op> = inner.iter().copied().collect();
    let mut used = HashSet::new();
    for op in function.walk().into_iter().filter(|op| !inside.contains(op)) {
        used.extend(function.ops[op].operands.iter().copied());
    }
    let results = inner.iter().flat_map(|&op| function.ops[op].results.iter().copied());
    results.filter(|result| used.contains(result)).collect()
}

/// Lets everybody outside of `body` use `result` instead of `value`.
fn replace_outside(function: &mut Function, body: Block, value: Value, result: Value) {
    let inside: HashSet<Op> = function.blocks[body].ops.iter().copied().collect();
    for op in function.walk().into_iter().filter(|op| !inside.contains(op)) {
        for operand in &mut function.ops[op].operands {
            if *operand == value {
                *operand = result;
            }
        }
    }
}

/// Puts the cascade in the place of its operations: after what they use, that is after the constants and reshapes among
/// them that don't use its results, and before those that do.
fn place(function: &mut Function, cascade: Op, inner: &[Op]) {
    let inside: HashSet<Op> = inner.iter().copied().collect();
    let results: HashSet<Value> = function.ops[cascade].results.iter().copied().collect();
    let ops = std::mem::take(&mut function.blocks[function.body].ops);
    let last = ops.iter().rposition(|op| inside.contains(op)).unwrap_or(0);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut from_cascade = results;
    for &op in ops[..=last].iter().filter(|op| !inside.contains(op)) {
        let data = &function.ops[op];
        let is_alias = matches!(data.kind, OpKind::Nn(NnOp::Reshape(_)));
        if is_alias && data.operands.iter().any(|operand| from_cascade.contains(operand)) {
            from_cascade.extend(data.results.iter().copied());
            after.push(op);
        } else {
            before.push(op);
        }
    }
    let block = &mut function.blocks[function.body];
    block.ops =
        before.into_iter().chain([cascade]).chain(after).chain(ops[last + 1..].iter().copied()).collect();
}
