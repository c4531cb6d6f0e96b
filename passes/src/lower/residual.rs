//! A tensor that is added to the results of another kernel before they are stored.

use super::binary::Rescaled;
use super::kernel::Kernel;
use super::rows::{ImageRow, RowMap, to_i32};
use mcunet_ir::nn::ops::Add;
use mcunet_ir::{Builder, Diagnostic, TensorType, Value};

/// The last operand of a kernel as the other summand.
pub(super) struct Residual {
    addend: RowMap,
    sum: Rescaled,
}

impl Residual {
    /// For a kernel that makes numbers of type `made` and stores their sums with its last operand, which has the shape of the
    /// result.
    ///
    /// # Errors
    /// If the scales have no multipliers.
    pub(super) fn new(kernel: &mut Kernel<'_>, made: &TensorType, op: &Add) -> Result<Self, Diagnostic> {
        let last = kernel.operand_count() - 1;
        let types = [made, kernel.operand_type(last), kernel.result_type(0)];
        let sum = Rescaled::sum(types, op.clamp)
            .ok_or_else(|| kernel.error("expected scales whose ratio can be quantized, got others"))?;
        let addend = kernel.source(last);
        // Each element is read right before the one in its place is written. What is convolved is read more than once.
        if addend.steps == kernel.target(0).steps && addend.memory != kernel.input(0) {
            kernel.allow_in_place(0, last);
        }
        Ok(Self { addend, sum })
    }

    /// Where a row begins.
    pub(super) fn row(&self, b: &mut Builder<'_>, place: ImageRow) -> Value {
        let start = self.addend.start(b, place.row);
        b.add(place.output_base, start)
    }

    /// The sum of a result and its summand: channel `channel` of the pixel `more` after `x` of the row that begins at `row`.
    pub(super) fn add(
        &self,
        b: &mut Builder<'_>,
        result: Value,
        row: Value,
        x: Value,
        more: usize,
        channel: Value,
    ) -> Value {
        let steps = self.addend.steps;
        let pixel = b.mul_const(x, to_i32(steps.pixel));
        let pixel = b.add(row, pixel);
        let across = b.mul_const(channel, to_i32(steps.channel));
        let at = b.add(pixel, across);
        let at = b.add_const(at, to_i32(more * steps.pixel));
        let summand = b.load(self.addend.memory, at);
        self.sum.apply(b, result, summand)
    }
}
