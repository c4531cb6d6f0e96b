//! THE `tile` table. What a cascade computes is in `eval.rs` beside this file.

use super::TileSemantics;
use crate::define::define_ops;
use crate::schedule::Schedule;
use crate::text::type_name;
use crate::types::Type;

define_ops! {
    /// Tensor operations that run row by row, so that only windows of their tensors exist at a time.
    dialect "tile" enum TileOp requires TileSemantics;

    /// Runs the tensor operations of its body as `schedule` says, which names them by their position; each time an
    /// operation is named it makes the next row of its results (all of them, if its results have no rows or need all of an
    /// operand at once). An operation that folds the height of its operand, as a mean over an image, folds in the next row
    /// of it instead, and has made its results with the last one.
    ///
    /// `held[i]` is the number of rows that the results of operation `i` are held for: row `r` is gone once row
    /// `r + held[i]` is made. Results of the cascade are held whole. The body may use values from around the cascade.
    ///
    /// - C1: the body consists of tensor operations other than constants and reshapes, and of `tile.receive` and `tile.send`,
    ///   and ends with `tile.yield`.
    /// - C2: `held` has an entry per operation, at least 1 and at most as many rows as the results have.
    /// - C3: the schedule names every operation as often as it has rows, or as it has rows to fold.
    /// - C4: whenever a row is made, the rows that it needs have been made and are still held.
    /// - C5: results of the cascade are held whole.
    Cascade = "tile.cascade" {
        attrs { schedule: Schedule, held: Vec<usize> }
        results { outputs: [Tensor] }
        regions 1
        traits [Pure]
    }

    /// An input of the function that the caller hands over row by row, when a row is asked for, instead of having it lie in
    /// memory from the start. The rows are those of the result; the input may have another shape.
    ///
    /// - C1: `input` is an input of the function, and nothing uses it but operations that receive it: each gets all its rows,
    ///   from the first to the last, in a sweep of its own.
    /// - C2: the result has the input's element type and as many elements.
    Receive = "tile.receive" {
        operands { input: Tensor }
        results { output: Tensor }
        traits [Pure]
    }

    /// An output of the function that is handed over to the caller row by row, each as soon as it is made, instead of being
    /// left in memory. The rows are those of the operand; the result, which is the output, may have another shape. It is
    /// nowhere as a whole; in a cascade all its rows count as held, since the caller has them.
    ///
    /// - C1: the result is returned by the function, through the cascade that yields it if there is one, and nothing else uses
    ///   it: the caller gets all its rows once, from the first to the last.
    /// - C2: the result has the operand's element type and as many elements.
    Send = "tile.send" {
        operands { input: Tensor }
        results { output: Tensor }
    }

    /// Ends the body of a cascade and names its results.
    Yield = "tile.yield" {
        operands { outputs: [Tensor] }
        traits [Terminator]
    }
}

impl TileSemantics for Cascade {
    fn verify(&self, _operands: &[&Type], _results: &[&Type], _report: &mut Vec<String>) {
        // Its rules are about its body: see `verify::cascade`.
    }
}

impl TileSemantics for Receive {
    fn verify(&self, operands: &[&Type], results: &[&Type], report: &mut Vec<String>) {
        // tile.receive C2; C1 is in `verify::cascade`.
        has_the_same_elements(operands[0], results[0], report);
    }
}

impl TileSemantics for Send {
    fn verify(&self, operands: &[&Type], results: &[&Type], report: &mut Vec<String>) {
        // tile.send C2; C1 is in `verify::cascade`.
        has_the_same_elements(operands[0], results[0], report);
    }
}

/// Reports a result that is not the operand in another shape.
fn has_the_same_elements(operand: &Type, result: &Type, report: &mut Vec<String>) {
    let (Some(input), Some(output)) = (operand.as_tensor(), result.as_tensor()) else { return };
    if input.element != output.element || input.elements() != output.elements() {
        let (expected, found) = (type_name(operand), type_name(result));
        report.push(format!("expected a result with the elements of {expected}, got {found}"));
    }
}

impl TileSemantics for Yield {
    fn verify(&self, _operands: &[&Type], _results: &[&Type], _report: &mut Vec<String>) {
        // Its operands are compared with the results of the cascade it ends.
    }
}
