//! What the tests and fuzz targets share: corpora, golden samples, comparison, compilers, random modules, and the bodies
//! of the properties.
//!
//! Every helper that two test programs need stands here once. The crate is a dev-dependency of the others and never part
//! of the compiler. Absent on purpose: expectations about one op or pass, which belong to the test that has them.

pub mod bodies;
pub mod compare;
pub mod compile;
pub mod corpus;
pub mod damage;
mod emit;
pub mod export;
pub mod fusion;
pub mod graph;
pub mod minimalloc;
pub mod narrow;
pub mod plan;
pub mod properties;
pub mod random;
pub mod seeds;
pub mod tensors;
pub mod tools;

pub use random::Random;
