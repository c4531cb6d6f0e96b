//! Analyses: pure functions from a function to facts about it.

pub mod composition;
pub mod index_range;
pub mod liveness;
pub mod macs;
pub mod range;
pub mod traffic;
