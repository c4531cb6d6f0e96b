//! The list of passes. A pass of another crate joins by adding its head.

use crate::pass::PassHead;

/// Passes by name, in the order in which they usually run.
#[derive(Clone, Debug)]
pub struct Registry {
    heads: Vec<PassHead>,
}

impl Registry {
    /// The passes of this crate.
    pub fn builtin() -> Self {
        Self {
            heads: vec![
                crate::canonicalize::Canonicalize::HEAD,
                crate::fuse::Fuse::HEAD,
                crate::dead_channels::EliminateDeadChannels::HEAD,
                crate::schedule::Schedule::HEAD,
                crate::rematerialize::Rematerialize::HEAD,
                crate::patch_split::PatchSplit::HEAD,
                crate::cascade::Cascade::HEAD,
                crate::lower::Lower::HEAD,
                crate::pack_weights::PackWeights::HEAD,
                crate::plan_memory::PlanMemory::HEAD,
                crate::share_kernels::ShareKernels::HEAD,
            ],
        }
    }

    /// Adds a pass, for example of another crate; one of the same name is replaced.
    pub fn register(&mut self, head: PassHead) {
        self.heads.retain(|other| other.name != head.name);
        self.heads.push(head);
    }

    /// The pass called `name`.
    pub fn find(&self, name: &str) -> Option<&PassHead> {
        self.heads.iter().find(|head| head.name == name)
    }

    /// All passes.
    pub fn heads(&self) -> &[PassHead] {
        &self.heads
    }

    /// The text of `docs/passes.md`.
    pub fn reference(&self) -> String {
        let mut out = String::from(
            "# Passes\n\nGenerated from the passes' own files; `mcunetc --help-passes` prints the same.\n\n",
        );
        for head in &self.heads {
            out.push_str(&head.reference());
        }
        out
    }
}
