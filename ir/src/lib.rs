//! The intermediate representation of mcunetc: one IR, four dialects, one printer, parser, verifier and interpreter.
//!
//! What it promises:
//! - An op is declared once, in its dialect's table; everything generic reads the table.
//! - The textual form round-trips byte for byte, in both spellings.
//! - A [`verify::Verified`] module satisfies every rule of its stage, so that back ends need not check again.
//! - `evaluate` of an `nn` op *is* its specification, bit-exact with TensorFlow Lite Micro's reference kernels.
//!
//! Absent on purpose: files, terminals and clocks (they belong to the driver), targets and costs (passes), anything
//! that knows a foreign model format (frontends).

pub mod arena;
pub mod attr;
pub mod builder;
pub mod builtin;
pub mod define;
pub mod diag;
pub mod fixed_point;
pub mod interp;
pub mod loops;
pub mod module;
pub mod nn;
pub mod quant;
pub mod rows;
pub mod schedule;
pub mod sub_byte;
pub mod tensor;
pub mod text;
pub mod tile;
pub mod types;
pub mod verify;

pub use builder::Builder;
pub use diag::{Diagnostic, Diagnostics, Origin};
pub use module::{Block, Function, Module, Op, OpKind, Stage, Value};
pub use tensor::Tensor;
pub use types::{Shape, TensorType, Type};
