//! Real models with their weights cut to 4 and 2 bits: every level, export and emitted C compute what the interpreter does, and
//! flash holds the weights packed.

use mcunet_backends::GoldenVector;
use mcunet_ir::Module;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::module::OpKind;
use mcunet_ir::types::Scalar;
use mcunet_passes::pipeline::Level;
use mcunet_testing::compile::{LEVELS, plan, project, reproduces};
use mcunet_testing::corpus::{golden, import_model, models, name};
use mcunet_testing::export::export_keeps_results;
use mcunet_testing::narrow::narrowed;
use mcunet_testing::properties::reference;
use mcunet_testing::tools::{SANITIZE, assert_none_fail, has_tool, make, make_test};
use std::path::{Path, PathBuf};

/// Convolutions of 1, 3 and many channels, depthwise ones and linear layers.
const MODELS: [&str; 4] = ["mlperf-kws-int8", "mlperf-vww-int8", "mlperf-ad-int8", "mlperf-ic-int8"];

fn cases(root: &Path) -> Vec<(PathBuf, Scalar)> {
    MODELS
        .iter()
        .flat_map(|name| [Scalar::I4, Scalar::I2].map(|storage| (root.join(name), storage)))
        .collect()
}

/// The model and samples of what the interpreter makes of golden inputs.
fn narrow_model(folder: &Path, storage: Scalar) -> Result<(Module, Vec<GoldenVector>), String> {
    let module = narrowed(&import_model(folder)?, storage);
    let sample = |golden: GoldenVector| {
        let outputs = reference(&module, &golden.inputs)?;
        Ok(GoldenVector { inputs: golden.inputs, outputs })
    };
    let samples = golden(&folder.join("io"), &module, 1)?.into_iter().map(sample);
    let samples = samples.collect::<Result<_, String>>()?;
    Ok((module, samples))
}

/// Bytes of the constants of a planned module.
fn constant_bytes(planned: &Module) -> usize {
    let function = &planned.functions[0];
    let data = function.walk().into_iter().filter_map(|op| match &function.ops[op].kind {
        OpKind::Loop(LoopOp::Data(_)) => function.ty(function.ops[op].results[0]).as_memref(),
        _ => None,
    });
    data.map(|ty| ty.size_bytes()).sum()
}

#[test]
fn narrow_models_are_exact_at_every_level_and_exported() {
    let Some(root) = models() else { return };
    assert_none_fail(&cases(&root), |(folder, storage)| {
        let check = || {
            let (module, samples) = narrow_model(folder, *storage)?;
            for level in LEVELS {
                reproduces(&plan(&module, level)?, &samples)?;
            }
            let inputs: Vec<_> = samples.into_iter().map(|sample| sample.inputs).collect();
            export_keeps_results(&module, &inputs)
        };
        check().map_err(|error: String| format!("{} {}: {error}", name(folder), storage.name()))
    });
}

/// Filters take half and a quarter of their bytes, but for what fills up bytes and groups, and for depthwise ones, which lie
/// in pairs of 16 bits if they are int8; biases and multipliers stay.
#[test]
fn narrow_models_are_packed_in_flash() {
    let Some(root) = models() else { return };
    assert_none_fail(&cases(&root), |(folder, storage)| {
        let check = || {
            let wide = import_model(folder)?;
            // Without `fuse` and what follows it, which find other things in other weights.
            let bytes = |module: &Module| plan(module, Level::O0).map(|planned| constant_bytes(&planned));
            let (before, after) = (bytes(&wide)?, bytes(&narrowed(&wide, *storage))?);
            let filters: usize =
                wide.resources().filter(|(_, r)| r.element == Scalar::I8).map(|(_, r)| r.count).sum();
            let expected = before - filters + filters * storage.bits() / 8;
            println!("{} {}: {before} to {after} bytes, about {expected}", name(folder), storage.name());
            if after.abs_diff(expected) > expected / 20 {
                return Err(format!("expected about {expected} bytes of constants, got {after}"));
            }
            Ok(())
        };
        check().map_err(|error: String| format!("{} {}: {error}", name(folder), storage.name()))
    });
}

#[test]
fn narrow_models_are_exact_in_c() {
    let Some(root) = models() else { return };
    let (gcc, clang) = (has_tool("gcc"), has_tool("clang"));
    let simulates = has_tool("arm-none-eabi-gcc") && has_tool("qemu-system-arm");
    assert_none_fail(&cases(&root), |(folder, storage)| {
        let check = || {
            let (module, samples) = narrow_model(folder, *storage)?;
            let emitted = project(&plan(&module, Level::O2)?, samples)?;
            if gcc {
                make_test(emitted.path(), "gcc", SANITIZE)?;
            }
            if clang {
                make_test(emitted.path(), "clang", "-O2")?;
            }
            if simulates { make(emitted.path(), &["run-qemu"]) } else { Ok(()) }
        };
        check().map_err(|error: String| format!("{} {}: {error}", name(folder), storage.name()))
    });
}
