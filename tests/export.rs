//! Export of every single-operator case and of real models: imported again, they compute the same to the bit.

use mcunet_ir::Module;
use mcunet_passes::target::Core;
use mcunet_testing::compile::after;
use mcunet_testing::corpus::{golden, import_model, model_folders, models, name, op_cases};
use mcunet_testing::export::{export_keeps_results, is_exportable};
use mcunet_testing::tools::assert_none_fail;
use std::path::Path;

/// Exports a module on the inputs of golden samples, as it is and after `canonicalize`.
fn round_trips(module: &Module, io: &Path, count: usize) -> Result<(), String> {
    let samples: Vec<_> = golden(io, module, count)?.into_iter().map(|sample| sample.inputs).collect();
    export_keeps_results(module, &samples)?;
    let canonical = after("canonicalize", module, Core::CortexM4)?;
    export_keeps_results(&canonical, &samples).map_err(|error| format!("canonicalized: {error}"))
}

#[test]
fn operator_cases_are_exported() {
    assert_none_fail(&op_cases(), |case| {
        let check = || round_trips(&import_model(case)?, case, usize::MAX);
        check().map_err(|error| format!("{}: {error}", name(case)))
    });
}

#[test]
fn models_are_exported() {
    let Some(root) = models() else { return };
    assert_none_fail(&model_folders(&root), |folder| {
        let Ok(module) = import_model(folder) else { return Ok(()) };
        round_trips(&module, &folder.join("io"), 1).map_err(|error| format!("{}: {error}", name(folder)))
    });
}

/// What optimization leaves is exported too, unless it is a table.
#[test]
fn optimized_models_are_exported() {
    let Some(root) = models() else { return };
    let exported = std::sync::atomic::AtomicUsize::new(0);
    assert_none_fail(&model_folders(&root), |folder| {
        let Ok(module) = import_model(folder) else { return Ok(()) };
        let check = || {
            let optimized = after("canonicalize,fuse,eliminate-dead-channels", &module, Core::CortexM4)?;
            if !is_exportable(&optimized.functions[0]) {
                println!("{}: has tables", name(folder));
                return Ok(());
            }
            let samples: Vec<_> =
                golden(&folder.join("io"), &module, 1)?.into_iter().map(|sample| sample.inputs).collect();
            exported.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            export_keeps_results(&optimized, &samples)
        };
        check().map_err(|error: String| format!("{}: {error}", name(folder)))
    });
    println!("{} optimized models exported", exported.into_inner());
}
