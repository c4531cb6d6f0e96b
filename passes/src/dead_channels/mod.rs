//! Leaves channels out that are constant or that nobody reads.
//!
//! Work in progress.

mod demand;
mod edit;
mod filter;
mod graph;
mod links;

use crate::analysis::macs;
use crate::analysis::range::{Ranges, constants};
use crate::pass::{Changed, Pass, PassContext};
use crate::rewrite::remove_dead_ops;
use demand::{Demand, Reasons};
use graph::Graph;
use mcunet_ir::{Diagnostics, Function, Module};

crate::declare_pass! {
    /// Leaves channels out that are constant or that nobody reads.
    pub EliminateDeadChannels = "eliminate-dead-channels" {
        /// Leave channels out that are constant.
        constant: bool = true,
        /// Leave channels out that nobody reads.
        unread: bool = true,
    } requires Imported ensures Imported;
}

/// Rounds after which the pass stops even if there is more to leave out.
const MAX_ROUNDS: usize = 64;

impl Pass for EliminateDeadChannels {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        let mut functions = std::mem::take(&mut module.functions);
        let mut changed = Changed::No;
        for function in &mut functions {
            let before = macs::of_function(function);
            for _ in 0..MAX_ROUNDS {
                if !self.round(module, function, cx) {
                    break;
                }
                changed = Changed::Yes;
            }
            cx.count("macs before", before);
            cx.count("macs after", macs::of_function(function));
        }
        module.functions = functions;
        if changed == Changed::Yes {
            module.retain_used_resources();
        }
        Ok(changed)
    }
}

impl EliminateDeadChannels {
    fn round(&self, module: &mut Module, function: &mut Function, cx: &PassContext<'_>) -> bool {
        let constants = constants(module, function);
        let ranges = Ranges::of(module, function);
        let reasons = Reasons { constant: self.constant, unread: self.unread };
        let graph = Graph::of(function, &constants, &ranges, self.constant);
        let demand = Demand::of(&graph, reasons);
        cx.count("channels removed", demand.removed.iter().filter(|&&removed| removed).count() as u64);
        let edits = edit::edits(&graph, &constants, &demand);
        if edits.is_empty() {
            return false;
        }
        edits.apply(module, function);
        remove_dead_ops(function);
        true
    }
}
