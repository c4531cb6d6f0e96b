//! What holds for every valid module. Each property takes a module and says what is wrong; the tests run them on seeds,
//! the fuzz targets on a fuzzer's bytes.

use crate::compare::differences;
use crate::compile::{LEVELS, after};
use mcunet_ir::interp::{Executor, Interpreter};
use mcunet_ir::text::{PrintOptions, parse, print};
use mcunet_ir::verify::verify;
use mcunet_ir::{Module, Tensor};
use mcunet_passes::target::Core;

/// The text of a module with everything that is needed to repeat a failure.
pub fn text(module: &Module) -> String {
    print(module, &PrintOptions { generic: false, locations: false, weights: true })
}

/// The module is valid.
///
/// # Errors
/// What the verifier says.
pub fn verifies(module: &Module) -> Result<(), String> {
    verify(module).map(|_| ()).map_err(|errors| errors.to_string())
}

/// In both spellings, with and without locations and weights, the text of the parsed text is the text; with weights,
/// what was parsed is valid.
///
/// # Errors
/// The spelling that does not return.
pub fn round_trips(module: &Module) -> Result<(), String> {
    for bits in 0..8 {
        let options =
            PrintOptions { generic: bits & 1 != 0, locations: bits & 2 != 0, weights: bits & 4 != 0 };
        let text = print(module, &options);
        let parsed = parse(&text, "printed.mcir").map_err(|errors| format!("{options:?}: {errors}"))?;
        let again = print(&parsed, &options);
        if again != text {
            let line = again.lines().zip(text.lines()).find(|(a, b)| a != b);
            let (found, expected) = line.unwrap_or(("fewer or more lines", ""));
            return Err(format!("another text with {options:?}: expected '{expected}', got '{found}'"));
        }
        if options.weights {
            verifies(&parsed).map_err(|errors| format!("parsed with {options:?}: {errors}"))?;
        }
    }
    Ok(())
}

/// What the reference interpreter computes.
///
/// # Errors
/// What stopped it.
pub fn reference(module: &Module, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    Interpreter::new(module).run(inputs).map_err(|error| error.to_string())
}

/// `module` computes `expected` from `inputs`.
fn computes(module: &Module, inputs: &[Tensor], expected: &[Tensor]) -> Result<(), String> {
    let found = reference(module, inputs)?;
    differences(&found, expected).map_or(Ok(()), Err)
}

/// Canonicalized modules compute the same.
///
/// # Errors
/// The output that differs.
pub fn canonicalize_keeps_results(module: &Module, inputs: &[Tensor]) -> Result<(), String> {
    let expected = reference(module, inputs)?;
    let canonical = after("canonicalize", module, Core::CortexM4)?;
    computes(&canonical, inputs, &expected)
}

/// Planned modules of every level, for a core with and one without DSP, compute what the reference does; every read is
/// checked to be of the buffer's own bytes.
///
/// # Errors
/// Level, core, and the output that differs.
pub fn lowered_keeps_results(module: &Module, inputs: &[Tensor]) -> Result<(), String> {
    let expected = reference(module, inputs)?;
    for level in LEVELS {
        for core in [Core::CortexM4, Core::CortexM0plus] {
            let at = |error: String| format!("{level:?} for {}: {error}", core.name());
            let planned = after(level.pipeline(), module, core).map_err(at)?;
            computes(&planned, inputs, &expected).map_err(at)?;
        }
    }
    Ok(())
}
