//! Real models through the interpreter, against their golden outputs.

use mcunet_frontends::{ImportOptions, import};
use mcunet_testing::compile::reproduces;
use mcunet_testing::corpus::{core_models, golden, import_model, is_core, model_folders, models, name};
use mcunet_testing::properties::verifies;
use mcunet_testing::tools::assert_none_fail;

#[test]
fn core_models_equal_their_golden_outputs() {
    let Some(root) = models() else { return };
    assert_none_fail(&core_models(&root), |folder| {
        let check = || {
            let module = import_model(folder)?;
            verifies(&module)?;
            let samples = golden(&folder.join("io"), &module, usize::MAX)?;
            reproduces(&module, &samples)?;
            println!("{}: {} samples", name(folder), samples.len());
            Ok(())
        };
        check().map_err(|error: String| format!("{}: {error}", name(folder)))
    });
}

#[test]
fn models_outside_the_core_are_imported_or_refused_operator_by_operator() {
    let Some(root) = models() else { return };
    for folder in model_folders(&root).into_iter().filter(|folder| !is_core(folder)) {
        let bytes = std::fs::read(folder.join("model.tflite")).expect("a readable model");
        if let Err(errors) = import(&bytes, "model.tflite", &ImportOptions::default()) {
            for error in &errors.0 {
                assert!(
                    error.message.contains("operator") || error.message.contains("put '"),
                    "{}",
                    error.message
                );
            }
            println!("{}: {} operators refused", folder.display(), errors.0.len());
        }
    }
}
