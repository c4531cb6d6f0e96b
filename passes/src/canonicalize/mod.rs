//! Brings a graph into its normal form: nothing dead, nothing that could be computed now, nothing that does nothing.
//!
//! Every rewrite is bit-exact for integers. Constants are folded by the reference interpreter, so folding and running
//! can't disagree.

mod fold;
pub(crate) mod identity;
mod padding;

use crate::pass::{Changed, Pass, PassContext};
use crate::rewrite::{Pattern, rewrite_greedily};
use mcunet_ir::{Diagnostics, Module};

crate::declare_pass! {
    /// Dead code, constant folding, reshape and identity aliasing, explicit padding into convolutions and pools.
    ///
    /// Removes ops nobody needs, computes ops whose operands are all constant, drops ops that change nothing (an identity
    /// transpose, a concatenation of one), merges reshapes, turns transposes that only move dimensions of size 1 into
    /// reshapes, and folds PAD into the convolution or max pool that reads it where that is exact.
    pub Canonicalize = "canonicalize" {
        /// Fold explicit padding into convolutions and pools.
        fold_padding: bool = true,
        /// Largest result of constant folding, in bytes, that may be larger than its operands.
        max_folded_growth_bytes: usize = 1024,
    } requires Imported ensures Imported;
}

impl Pass for Canonicalize {
    fn run(&self, module: &mut Module, cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
        let fold = fold::FoldConstants { max_growth_bytes: self.max_folded_growth_bytes };
        let mut patterns: Vec<&dyn Pattern> =
            vec![&fold, &identity::DropIdentity, &identity::MergeReshapes, &identity::TransposeOfOnes];
        if self.fold_padding {
            patterns.push(&padding::FoldPadding);
        }
        let counts = rewrite_greedily(module, &patterns);
        module.retain_used_resources();
        for (&statistic, &count) in &counts {
            cx.count(statistic, count);
        }
        Ok((!counts.is_empty()).into())
    }
}
