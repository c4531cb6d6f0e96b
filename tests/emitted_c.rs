//! Emitted C against golden outputs: every single-operator case and every core model, compiled by gcc and clang without a
//! warning, under sanitizers, and on a simulated Cortex-M4.

mod common;

use common::{core_models, failures, has_tool, make, models, name, op_cases, write_project};
use mcunet_passes::pipeline::Level;
use std::path::Path;

/// Compilers and flags on the host; all treat warnings as errors.
const WARNINGS: &str = "-Wall -Wextra -Wpedantic -Wconversion -Werror";

fn host(folder: &Path, compiler: &str, flags: &str) -> Result<(), String> {
    let (compiler, flags) = (format!("CC={compiler}"), format!("CFLAGS={flags} {WARNINGS}"));
    make(folder, &["clean"])?;
    make(folder, &[&compiler, &flags, "test"]).map_err(|error| format!("{compiler} {flags}: {error}"))
}

fn project(model: &Path, io: &Path, samples: usize, level: Level) -> Result<tempfile::TempDir, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    write_project(model, io, samples, level, folder.path())?;
    Ok(folder)
}

#[test]
fn every_op_case_is_exact_in_c_under_sanitizers() {
    if !has_tool("gcc") {
        return;
    }
    let failures = failures(&op_cases(), |case| {
        let folder = project(&case.join("model.tflite"), case, 3, Level::O2)
            .map_err(|error| format!("{}: {error}", name(case)))?;
        host(folder.path(), "gcc", "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all")
            .map_err(|error| format!("{}: {error}", name(case)))
    });
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_core_model_is_exact_in_c_on_the_host() {
    let Some(root) = models() else { return };
    let (gcc, clang) = (has_tool("gcc"), has_tool("clang"));
    let failures = failures(&core_models(&root), |model| {
        let check = || {
            let folder = project(&model.join("model.tflite"), &model.join("io"), 2, Level::O2)?;
            if gcc {
                host(folder.path(), "gcc", "-O2")?;
                host(folder.path(), "gcc", "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all")?;
            }
            if clang {
                host(folder.path(), "clang", "-O2")?;
            }
            Ok(())
        };
        check().map_err(|error: String| format!("{}: {error}", name(model)))
    });
    assert!(failures.is_empty(), "models that fail:\n{}", failures.join("\n"));
}

#[test]
fn every_core_model_is_exact_on_a_simulated_cortex_m4() {
    let Some(root) = models() else { return };
    if !has_tool("arm-none-eabi-gcc") || !has_tool("qemu-system-arm") {
        return;
    }
    let failures = failures(&core_models(&root), |model| {
        let check = || {
            let folder = project(&model.join("model.tflite"), &model.join("io"), 1, Level::O2)?;
            make(folder.path(), &["run-qemu"])
        };
        check().map_err(|error: String| format!("{}: {error}", name(model)))
    });
    assert!(failures.is_empty(), "models that fail:\n{}", failures.join("\n"));
}

#[test]
fn the_example_is_exact_at_every_level() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models/digits");
    let bytes = std::fs::read(example.join("digits.tflite")).expect("the example is part of the repository");
    let module = mcunet_frontends::import(&bytes, "digits.tflite", &Default::default()).expect("it imports");
    let function = &module.functions[0];
    let sample = |kind: &str, ports: &[mcunet_ir::module::Port], index: usize| {
        let bytes = std::fs::read(example.join(format!("samples/{index:02}.{kind}.bin"))).expect("a sample");
        let ty = ports[0].ty.as_tensor().expect("ports are tensors").clone();
        mcunet_ir::Tensor::from_bytes(ty, &bytes).expect("a sample of the port's size")
    };
    for level in [Level::O0, Level::O2, Level::Os] {
        let mut lowered = module.clone();
        let registry = mcunet_passes::registry::Registry::builtin();
        let pipeline =
            mcunet_passes::pipeline::Pipeline::parse(level.pipeline(), &registry).expect("it parses");
        let target = mcunet_passes::target::Target::find("cortex-m4").expect("an embedded target");
        let cx = mcunet_passes::pass::PassContext::new(&target);
        mcunet_passes::manager::run(&pipeline, &mut lowered, &cx, true, &mut mcunet_passes::manager::Silent)
            .expect("it compiles");
        for index in 0..10 {
            let input = sample("in", &function.inputs, index);
            let golden = sample("out", &function.outputs, index);
            for module in [&module, &lowered] {
                use mcunet_ir::interp::Executor;
                let outputs = mcunet_ir::interp::Interpreter::new(module)
                    .run(std::slice::from_ref(&input))
                    .expect("it runs");
                assert_eq!(outputs[0].data, golden.data, "sample {index} at {level:?}");
            }
        }
    }
}
