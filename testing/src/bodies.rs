//! What the fuzz targets in `fuzz` run; `tests/fuzz_smoke.rs` runs the same for a while.
//!
//! A body panics if the compiler has an error. That an input is refused, with a reason, is none.

use crate::{Random, graph, properties};
use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::Module;
use mcunet_ir::text::parse;
use mcunet_ir::verify::verify;
use mcunet_passes::lower::{CoreFeatures, Scratch, lower_module};

/// Larger modules are not lowered: the time goes into more inputs instead.
const MAX_VALUES: usize = 200;
/// Larger tensors neither: a kernel may hold a table of its output's size.
const MAX_TENSOR_BYTES: usize = 1 << 20;

/// Bytes as a `.tflite` file: imported or refused; what was imported and verifies is lowered to something that verifies, and
/// exported to something that can be read.
///
/// # Panics
/// See the module.
pub fn tflite(bytes: &[u8]) {
    match import(bytes, "fuzz.tflite", &ImportOptions::default()) {
        Ok(module) => lowers(module),
        Err(errors) => has_reasons(&errors),
    }
}

/// Bytes as text: parsed or refused; what verifies prints, parses and prints the same, and is lowered.
///
/// # Panics
/// See the module.
pub fn mcir(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text, "fuzz.mcir") {
        Ok(module) => {
            if verify(&module).is_ok() {
                properties::round_trips(&module).unwrap_or_else(|error| panic!("{error}\n{text}"));
                lowers(module);
            }
        }
        Err(errors) => has_reasons(&errors),
    }
}

/// Bytes as the choices of the graph generator: the module verifies, and canonicalized, fused and lowered computes the
/// same.
///
/// # Panics
/// See the module.
pub fn graph(bytes: &[u8]) {
    let mut random = Random::from_bytes(bytes);
    let module = graph::module(&mut random);
    let inputs = graph::inputs(&module, &mut random);
    let check = || {
        properties::verifies(&module)?;
        properties::canonicalize_keeps_results(&module, &inputs)?;
        properties::fuse_keeps_results(&module, &inputs)?;
        properties::lowered_keeps_results(&module, &inputs)
    };
    check().unwrap_or_else(|error| panic!("{error}\n{}", properties::text(&module)));
}

fn has_reasons(errors: &mcunet_ir::Diagnostics) {
    assert!(!errors.0.is_empty(), "expected a reason, got none");
    assert!(errors.0.iter().all(|error| !error.message.is_empty()), "expected reasons, got {errors}");
}

/// What is exported can be read.
fn exports(module: &Module) {
    match mcunet_frontends::tflite::export(module) {
        Ok(bytes) => {
            let read = mcunet_frontends::tflite::reader::read(&bytes);
            assert!(read.is_ok(), "the export made a file that can't be read: {:?}", read.err());
        }
        Err(errors) => has_reasons(&errors),
    }
}

fn lowers(mut module: Module) {
    if verify(&module).is_err() || module.stage != mcunet_ir::Stage::Imported {
        return;
    }
    let small = module.functions.iter().all(|function| {
        let sizes = || function.values.keys().filter_map(|value| function.ty(value).as_tensor());
        function.values.len() < MAX_VALUES && sizes().all(|ty| ty.size_bytes() <= MAX_TENSOR_BYTES)
    });
    if small {
        exports(&module);
    }
    if small
        && lower_module(
            &mut module,
            CoreFeatures {
                dsp: true,
                issues_two: false,
                unroll: true,
                narrow_weights: true,
                place_parts: true,
                scratch: Scratch::Always,
            },
        )
        .is_ok()
    {
        let verified = verify(&module).map(|_| ());
        assert!(verified.is_ok(), "lowering made an invalid module: {:?}", verified.err());
    }
}
