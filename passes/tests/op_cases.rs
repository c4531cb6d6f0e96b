//! Every single-operator case, lowered by each named pipeline and run with shadow memory, against the reference kernels'
//! outputs.

use mcunet_passes::pipeline::Level;
use mcunet_testing::compile::{plan, reproduces};
use mcunet_testing::corpus::{golden, import_model, name, op_cases};
use mcunet_testing::tools::assert_none_fail;

fn check_all(level: Level) {
    assert_none_fail(&op_cases(), |case| {
        let check = || {
            let module = import_model(case)?;
            reproduces(&plan(&module, level)?, &golden(case, &module, usize::MAX)?)
        };
        check().map_err(|error| format!("{}: {error}", name(case)))
    });
}

#[test]
fn lowered_at_o0_every_case_equals_the_reference() {
    check_all(Level::O0);
}

#[test]
fn lowered_at_o2_every_case_equals_the_reference() {
    check_all(Level::O2);
}

#[test]
fn lowered_at_os_every_case_equals_the_reference() {
    check_all(Level::Os);
}
