//! Fully connected layers: rows of the input times the filter's rows (see `dense`).

use super::LowerOp;
use super::accumulator::{FILTER, INPUT};
use super::dense::{Dense, DenseShape, Length};
use super::kernel::Kernel;
use super::window::constant;
use mcunet_ir::Diagnostic;
use mcunet_ir::nn::ops::FullyConnected;
use mcunet_ir::nn::requantize::fully_connected_multipliers;

impl LowerOp for FullyConnected {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let filter = kernel.operand_type(FILTER);
        let [outputs, inputs] = filter.shape.0[..] else {
            return Err(kernel.error(format!("expected a filter of 2 dimensions, got {}", filter.shape)));
        };
        let rows = kernel.operand_type(INPUT).elements().checked_div(inputs).unwrap_or(0);
        let shape = DenseShape {
            rows: outputs,
            columns: inputs,
            groups: 1,
            run: inputs,
            aligned: inputs.is_multiple_of(4),
            whole: true,
            filter_zero_point: true,
        };
        let multipliers = |i: &_, f: &_, o: &_| fully_connected_multipliers(i, f, o, outputs);
        let dense = Dense::new(kernel, &shape, multipliers, self.clamp)?;
        kernel.b.for_count(rows, |b, row| {
            let output_at = b.mul_const(row, constant(outputs));
            let first = b.mul_const(row, constant(inputs));
            let zero = b.index(0);
            dense.pixel(b, output_at, zero, |b, rows, sums| {
                dense.run(b, rows, first, zero, Length::Constant(inputs), &sums)
            });
        });
        Ok(())
    }
}
