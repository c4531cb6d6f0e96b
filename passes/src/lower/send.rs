//! Outputs that the caller gets row by row.

use super::LowerOp;
use super::kernel::Kernel;
use mcunet_ir::Diagnostic;
use mcunet_ir::loops::ops as l;
use mcunet_ir::tile::ops::Send;

impl LowerOp for Send {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let Some(index) = kernel.output_number(0) else {
            return Err(kernel.error("expected an output of the function, got another value"));
        };
        if kernel.constant(0).is_some() {
            return Err(kernel.error("expected a value that is computed at run time, got a constant"));
        }
        let (row, source) = (kernel.run(), kernel.source(0));
        let count = kernel.operand_type(0).elements().checked_div(kernel.rows()).unwrap_or(0);
        let offset = match kernel.rows() {
            1 => kernel.b.i32(0),
            _ => source.start(&mut kernel.b, row),
        };
        kernel.b.op(l::Send { index, count }, &[row, source.memory, offset], &[]);
        Ok(())
    }
}
