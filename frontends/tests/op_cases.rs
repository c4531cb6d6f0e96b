//! Every single-operator case of `tests/ops/cases` through the interpreter, compared with the reference kernels' outputs.

use mcunet_testing::compile::reproduces;
use mcunet_testing::corpus::{golden, import_model, name, op_cases};
use mcunet_testing::properties::verifies;
use mcunet_testing::tools::assert_none_fail;

#[test]
fn the_interpreter_equals_the_reference_kernels_op_by_op() {
    assert_none_fail(&op_cases(), |case| {
        let check = || {
            let module = import_model(case)?;
            verifies(&module)?;
            reproduces(&module, &golden(case, &module, usize::MAX)?)
        };
        check().map_err(|error| format!("{}: {error}", name(case)))
    });
}
