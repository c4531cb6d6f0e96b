//! Passes: rewrite a module toward firmware, one idea per file.
//!
//! A pass is a file with its head (`declare_pass!`: name, options, documentation, stages) and a `run` method; it gets a
//! line in [`registry`], a place in a named pipeline of [`pipeline`], and lit tests in a folder of its own. Passes know
//! targets and costs, never back ends, files or clocks.

pub mod analysis;
pub mod canonicalize;
pub mod cascade;
pub mod cost;
pub mod dead_channels;
pub mod fuse;
pub mod lower;
pub mod manager;
pub mod memo;
pub mod pack_weights;
pub mod pass;
pub mod patch_split;
pub mod pipeline;
pub mod plan_memory;
pub mod quantize;
pub mod registry;
pub mod rematerialize;
pub mod rewrite;
pub mod schedule;
pub mod share_kernels;
pub mod target;
pub mod watch;

/// Names the macros of this crate rely on.
pub mod ir {
    pub use mcunet_ir::Stage;
}
