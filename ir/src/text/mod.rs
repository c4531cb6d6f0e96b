//! The textual form of the IR, in two spellings that carry the same content.
//!
//! The *generic* spelling is MLIR's: `mlir-opt --allow-unregistered-dialect` reads it. The *readable* one drops quotes,
//! parentheses and what types repeat: operand types are known from their definitions, so only result types are written.
//! Neither knows any op: both are driven by the op tables. Printing is canonical and total (broken modules print too),
//! and `print(parse(print(m))) == print(m)` to the byte, in both spellings; the parser accepts either.

mod cursor;
mod literal;
mod parser;
mod printer;
mod types;

pub use literal::print_tensor;
pub use parser::parse;
pub use printer::{PrintOptions, print};
pub use types::print_type as type_name;

#[cfg(test)]
mod tests;
