//! Inputs that the caller hands over row by row.

use super::LowerOp;
use super::kernel::Kernel;
use mcunet_ir::Diagnostic;
use mcunet_ir::loops::ops as l;
use mcunet_ir::tile::ops::Receive;

impl LowerOp for Receive {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let Some(index) = kernel.input_number(0) else {
            return Err(kernel.error("expected an input of the function, got another value"));
        };
        let (row, target) = (kernel.run(), kernel.target(0));
        let count = kernel.result_type(0).elements().checked_div(kernel.rows()).unwrap_or(0);
        let first = match kernel.rows() {
            1 => kernel.b.i32(0),
            _ => row,
        };
        let offset = target.start(&mut kernel.b, first);
        kernel.b.op(l::Receive { index, count }, &[row, target.memory, offset], &[]);
        Ok(())
    }
}
