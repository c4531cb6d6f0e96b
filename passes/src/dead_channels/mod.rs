//! Leaves channels out that are constant or that nobody reads.
//!
//! Problem: training with regularization drives channels to zero, and quantization makes the rest of the way: a bias beyond the
//! clamp, weights that all became 0. Such a channel holds one number whatever the input, but the network still computes it
//! and multiplies it with weights.
//!
//! Method, repeated until nothing changes, since what is left out makes more channels constant or unread:
//! 1. the interval of each channel for every input ([`crate::analysis::range`]);
//! 2. tensors all of whose channels are constant are no longer made (`whole`);
//! 3. channels that only go together form classes (`graph`, `links`); a class goes if each member is unread, or constant
//!    and foldable into the biases of its readers (`demand`, `edit`);
//! 4. equal channels are merged where the sums of their weights can be stored (`twins`);
//! 5. outer rows and columns of filters that are zero are cut off (`taps`).
//!
//! Exactness: accumulators wrap modulo 2^32, so that what a constant contributes can be added to the bias instead. A tap that
//! meets padding at some pixels contributes nothing there; so a constant is folded only if it is the zero point (and contributes
//! nothing anywhere) or if no such tap has a weight. An output that is constant loses its weights and gets a bias that gives
//! the constant; then its inputs are not read for it.
//!
//! Refused: functions that have cascades; channels of the function's inputs and outputs, and of what is read by operations that mix channels (softmax,
//! grouped convolutions, float filters, reshapes that move elements to other channels). The cost is a few visits of every weight per round.
//!
//! Source: for the identities, Jacob et al., "Quantization and Training of Neural Networks for Efficient
//! Integer-Arithmetic-Only Inference", section 2.3; for the search, sparse conditional constant propagation, Wegman and Zadeck,
//! TOPLAS 1991, whose optimistic start it shares.

mod demand;
mod edit;
mod filter;
mod graph;
mod links;
mod taps;
mod twins;
mod whole;

use crate::analysis::macs;
use crate::analysis::range::{Ranges, constants};
use crate::pass::{Changed, Pass, PassContext};
use crate::rewrite::remove_dead_ops;
use demand::{Demand, Reasons};
use edit::Edits;
use graph::Graph;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::{Diagnostics, Function, Module, Tensor, Value};
use std::collections::HashMap;
use twins::Twins;

crate::declare_pass! {
    /// Leaves channels out that are constant or that nobody reads.
    ///
    /// A channel is constant if it holds one number whatever the input, which intervals of all channels tell; what it
    /// contributes goes into the biases of its readers, where that is exact. It is unread if all weights that meet it are
    /// zero, or only make channels that are left out. Both go with all that belongs to them: through depthwise convolutions,
    /// additions, concatenations, pools and other operations that keep channels apart. Equal channels are merged, and rows
    /// and columns of filters that are zero are cut off. `--stats` tells what was found and what it was worth. Channels of
    /// inputs and outputs stay, and functions with cascades are left alone.
    pub EliminateDeadChannels = "eliminate-dead-channels" {
        /// Leave channels out that are constant.
        constant: bool = true,
        /// Leave channels out that nobody reads.
        unread: bool = true,
        /// Merge equal channels.
        equal: bool = true,
        /// Cut rows and columns off filters that are zero.
        zero_taps: bool = true,
        /// Largest constant tensor, in bytes, that is stored instead of being made.
        max_constant_bytes: usize = 1024,
    } requires Imported ensures Imported;
}

/// Rounds after which the pass stops even if there is more to leave out.
const MAX_ROUNDS: usize = 64;

impl Pass for EliminateDeadChannels {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        let mut functions = std::mem::take(&mut module.functions);
        let mut changed = false;
        let has_regions =
            |function: &Function| function.walk().into_iter().any(|op| !function.ops[op].regions.is_empty());
        for function in functions.iter_mut().filter(|function| !has_regions(function)) {
            cx.count("macs before", macs::of_function(function));
            cx.count("weights before", filter_elements(function));
            let mut run = Run { pass: self, module, function, cx, facts: None };
            changed |= run.until_nothing_changes();
            cx.count("macs after", macs::of_function(function));
            cx.count("weights after", filter_elements(function));
        }
        module.functions = functions;
        if changed {
            module.retain_used_resources();
        }
        Ok(changed.into())
    }
}

/// Elements of the filters of all convolutions and linear layers.
fn filter_elements(function: &Function) -> u64 {
    let elements = |op: mcunet_ir::Op| {
        let data = &function.ops[op];
        let has_filter = matches!(
            &data.kind,
            OpKind::Nn(
                NnOp::Conv2d(_)
                    | NnOp::Conv2dAdd(_)
                    | NnOp::DepthwiseConv2d(_)
                    | NnOp::TransposeConv2d(_)
                    | NnOp::FullyConnected(_)
            )
        );
        let filter = data.operands.get(1).filter(|_| has_filter)?;
        function.ty(*filter).as_tensor().map(|ty| ty.elements() as u64)
    };
    function.walk().into_iter().filter_map(elements).sum()
}

/// A step of a round, told whether it is the first; returns whether it changed the function.
type Step<R> = fn(&mut R, bool) -> bool;

/// The pass at work on a function.
struct Run<'r, 'c> {
    pass: &'r EliminateDeadChannels,
    module: &'r mut Module,
    function: &'r mut Function,
    cx: &'r PassContext<'c>,
    /// Of the function as it is now, if they are known.
    facts: Option<Facts>,
}

/// Constants and ranges of a function.
struct Facts {
    constants: HashMap<Value, Tensor>,
    ranges: Ranges,
}

impl Run<'_, '_> {
    fn until_nothing_changes(&mut self) -> bool {
        let steps: [(&'static str, Step<Self>); 4] = [
            ("macs saved by constant tensors", Self::constant_tensors),
            ("macs saved by constant and unread channels", Self::dead_channels),
            ("macs saved by equal channels", Self::equal_channels),
            ("macs saved by zero taps", Self::zero_taps),
        ];
        let mut changed = false;
        for round in 0..MAX_ROUNDS {
            let mut again = false;
            for (saved, step) in steps {
                let before = macs::of_function(self.function);
                if step(self, round == 0) {
                    again = true;
                    self.facts = None;
                    remove_dead_ops(self.function);
                    self.cx.count(saved, before.saturating_sub(macs::of_function(self.function)));
                }
            }
            if !again {
                break;
            }
            changed = true;
        }
        changed
    }

    fn facts(&mut self) -> Facts {
        self.facts.take().unwrap_or_else(|| Facts {
            constants: constants(self.module, self.function),
            ranges: Ranges::of(self.module, self.function),
        })
    }

    fn constant_tensors(&mut self, _first: bool) -> bool {
        if !self.pass.constant {
            return false;
        }
        let facts = self.facts();
        let count = whole::replace(self.module, self.function, &facts.ranges, self.pass.max_constant_bytes);
        self.cx.count("constant tensors", count);
        self.facts = Some(facts);
        count > 0
    }

    fn dead_channels(&mut self, first: bool) -> bool {
        let facts = self.facts();
        let graph = Graph::of(self.function, &facts.constants, &facts.ranges, self.pass.constant);
        let reasons = Reasons { constant: self.pass.constant, unread: self.pass.unread };
        let demand = Demand::of(&graph, reasons);
        if first {
            self.cx.count("channels", graph.count() as u64);
        }
        self.cx.count("channels removed", demand.removed_count());
        let edits = edit::edits(&graph, &facts.constants, &demand, true);
        if edits.is_empty() {
            self.cx.count("constant channels that stay", graph.constant_count());
            self.cx.count("macs of constant channels that stay", graph.idle_macs());
        }
        self.apply(edits, facts)
    }

    fn equal_channels(&mut self, first: bool) -> bool {
        if !self.pass.equal {
            return false;
        }
        let facts = self.facts();
        let mut graph = Graph::of(self.function, &facts.constants, &facts.ranges, false);
        let twins = Twins::of(&graph, &facts.constants);
        let demand = twins.merge(&mut graph);
        let edits = edit::edits(&graph, &facts.constants, &demand, false);
        if first {
            self.cx.count("outputs with equal weights", twins.equal_weights as u64);
            self.cx.count("channels equal to others", twins.count() as u64);
        }
        self.cx.count("equal channels merged", demand.removed_count());
        self.apply(edits, facts)
    }

    fn zero_taps(&mut self, first: bool) -> bool {
        if !self.pass.zero_taps {
            return false;
        }
        let facts = self.facts();
        let cuts = taps::cuts(&Graph::of(self.function, &facts.constants, &facts.ranges, false));
        if first {
            self.cx.count("zero rows and columns of filters", cuts.found as u64);
        }
        self.cx.count("zero rows and columns cut off", cuts.cut as u64);
        self.apply(Edits { ops: cuts.edits, types: Vec::new() }, facts)
    }

    /// Makes edits, if there are any; else what is known of the function stays true.
    fn apply(&mut self, edits: Edits, facts: Facts) -> bool {
        let changes = !edits.is_empty();
        edits.apply(self.module, self.function);
        self.facts = Some(facts).filter(|_| !changes);
        changes
    }
}
