//! Emitted C against golden outputs: every single-operator case and every core model, compiled by gcc and clang without a
//! warning, under sanitizers, and on a simulated Cortex-M4.

use mcunet_backends::GoldenVector;
use mcunet_ir::loops::program::received;
use mcunet_ir::module::Port;
use mcunet_ir::{Module, Tensor};
use mcunet_passes::cascade::stream::{Handing, Streaming};
use mcunet_passes::patch_split::Goal;
use mcunet_passes::pipeline::{Choices, Level};
use mcunet_passes::plan_memory::{MemorySummary, region_bytes};
use mcunet_passes::target::{Core, Memory, Target};
use mcunet_testing::compile::{LEVELS, after, after_for, plan, project, reproduces};
use mcunet_testing::corpus::{core_models, golden, import_model, models, name, op_cases, workspace};
use mcunet_testing::properties::{HANDINGS, streamed};
use mcunet_testing::tools::{SANITIZE, assert_none_fail, has_tool, make, make_test};
use std::path::Path;

/// The C project of a model, with up to `samples` of its golden outputs from the folder `io`.
fn emitted(model: &Path, io: &Path, samples: usize) -> Result<tempfile::TempDir, String> {
    let module = import_model(model)?;
    let golden = golden(io, &module, samples)?;
    project(&plan(&module, Level::O2)?, golden)
}

#[test]
fn every_op_case_is_exact_in_c_under_sanitizers() {
    if !has_tool("gcc") {
        return;
    }
    assert_none_fail(&op_cases(), |case| {
        let check = || make_test(emitted(case, case, 3)?.path(), "gcc", SANITIZE);
        check().map_err(|error| format!("{}: {error}", name(case)))
    });
}

#[test]
fn every_core_model_is_exact_in_c_on_the_host() {
    let Some(root) = models() else { return };
    let (gcc, clang) = (has_tool("gcc"), has_tool("clang"));
    assert_none_fail(&core_models(&root), |model| {
        let check = || {
            let folder = emitted(model, &model.join("io"), 2)?;
            if gcc {
                make_test(folder.path(), "gcc", "-O2")?;
                make_test(folder.path(), "gcc", SANITIZE)?;
            }
            if clang {
                make_test(folder.path(), "clang", "-O2")?;
            }
            Ok(())
        };
        check().map_err(|error: String| format!("{}: {error}", name(model)))
    });
}

#[test]
fn every_core_model_is_exact_on_a_simulated_cortex_m4() {
    let Some(root) = models() else { return };
    if !has_tool("arm-none-eabi-gcc") || !has_tool("qemu-system-arm") {
        return;
    }
    assert_none_fail(&core_models(&root), |model| {
        let check = || make(emitted(model, &model.join("io"), 1)?.path(), &["run-qemu"]);
        check().map_err(|error: String| format!("{}: {error}", name(model)))
    });
}

/// Layers share functions wherever they can. What is emitted does not depend on the run.
#[test]
fn models_of_small_code_are_exact_on_the_host() {
    let Some(root) = models() else { return };
    if !has_tool("gcc") {
        return;
    }
    let choices = Choices { small_code: true, ..Choices::default() };
    let pipeline = Level::Os.pipeline_with(&choices).expect("it runs by rows");
    let emitted = |model: &Path| {
        let module = import_model(model)?;
        let golden = golden(&model.join("io"), &module, 1)?;
        project(&after(&pipeline, &module, Core::CortexM4)?, golden)
    };
    assert_none_fail(&core_models(&root), |model| {
        let check = || {
            let [first, second] = [emitted(model)?, emitted(model)?];
            let sources =
                |folder: &Path| std::fs::read(folder.join("model.c")).map_err(|error| error.to_string());
            if sources(first.path())? != sources(second.path())? {
                return Err("two runs differ".to_owned());
            }
            make_test(first.path(), "gcc", SANITIZE)
        };
        check().map_err(|error: String| format!("{}: {error}", name(model)))
    });
}

/// The rows of the golden inputs are handed over in order, each once, by the project's own test, and so are those of outputs
/// to it, of the models that make them by rows.
#[test]
fn streamed_models_are_exact_in_c() {
    if !has_tool("gcc") {
        return;
    }
    let (module, samples) = digits();
    let planned = after(
        &Level::O2
            .pipeline_with(&Choices { handing: HANDINGS[0], ..Choices::default() })
            .expect("it runs by rows"),
        &module,
        Core::CortexM4,
    );
    let folder = project(&planned.expect("it compiles"), samples).expect("it is emitted");
    make_test(folder.path(), "gcc", SANITIZE).expect("the example streams");
    let Some(root) = models() else { return };
    assert_none_fail(&core_models(&root), |model| {
        let check = || {
            let module = import_model(model)?;
            for handing in HANDINGS {
                let Some(planned) = streamed(&module, handing)? else { continue };
                let folder = project(&planned, golden(&model.join("io"), &module, 1)?)?;
                make_test(folder.path(), "gcc", SANITIZE)?;
            }
            Ok(())
        };
        check().map_err(|error: String| format!("{}: {error}", name(model)))
    });
}

/// The module, planned for two memories: a fast one that holds half of its arena, and a slow one for all of it.
fn plan_for_two_memories(module: &Module) -> Result<Module, String> {
    let one = plan(module, Level::O2)?;
    let bytes = MemorySummary::of(&one.functions[0]).arena_bytes as u64;
    let mut target = Target::bare(Core::CortexM4);
    target.sram =
        vec![Memory::new("dtcm", bytes / 2), Memory { wait_cycles: 2, ..Memory::new("sram", bytes) }];
    let planned = after_for(Level::O2.pipeline(), module, &target)?;
    match region_bytes(&planned.functions[0]).len() {
        2 => Ok(planned),
        found => Err(format!("expected 2 regions in use, got {found}")),
    }
}

#[test]
fn models_in_two_memories_are_exact_in_c() {
    if !has_tool("gcc") {
        return;
    }
    let simulates = has_tool("arm-none-eabi-gcc") && has_tool("qemu-system-arm");
    let check = |module: &Module, samples: Vec<GoldenVector>| {
        let folder = project(&plan_for_two_memories(module)?, samples)?;
        make_test(folder.path(), "gcc", SANITIZE)?;
        if simulates { make(folder.path(), &["run-qemu"]) } else { Ok(()) }
    };
    let (module, samples) = digits();
    check(&module, samples).expect("the example is exact");
    let Some(root) = models() else { return };
    let models = ["te-vww", "mlperf-vww-int8", "mcunet-in3"].map(|name| root.join(name));
    assert_none_fail(&models, |model| {
        let check = || {
            let module = import_model(model)?;
            let samples = golden(&model.join("io"), &module, 1)?;
            check(&module, samples)
        };
        check().map_err(|error: String| format!("{}: {error}", name(model)))
    });
}

/// Made as small as can be: split into strips, each of which receives the input again. Few models, since the code of many
/// strips takes long to compile.
#[test]
fn models_that_compute_again_are_exact_in_c() {
    if !has_tool("gcc") {
        return;
    }
    let Some(root) = models() else { return };
    let choices = Choices {
        handing: Handing { input: Streaming::Again, output: false },
        goal: Goal::Sram,
        ..Choices::default()
    };
    let pipeline = Level::O2.pipeline_with(&choices).expect("it runs by rows");
    let models = ["st-mnist-28", "mlperf-vww-int8", "te-vww"].map(|name| root.join(name));
    assert_none_fail(&models, |model| {
        let check = || {
            let module = import_model(model)?;
            let planned = after(&pipeline, &module, Core::CortexM4)?;
            if received(&planned.functions[0]).len() < 2 {
                return Err("expected an input that is received several times over".to_owned());
            }
            let folder = project(&planned, golden(&model.join("io"), &module, 1)?)?;
            make_test(folder.path(), "gcc", SANITIZE)
        };
        check().map_err(|error: String| format!("{}: {error}", name(model)))
    });
}

/// In strips that keep columns of all tensors for the next, or of narrow ones.
#[test]
fn models_that_keep_columns_are_exact_in_c() {
    if !has_tool("gcc") {
        return;
    }
    let Some(root) = models() else { return };
    let cases = [("te-vww", "keep:704"), ("mlperf-vww-int8", "keep")];
    assert_none_fail(&cases, |(name, halo)| {
        let check = || {
            let model = root.join(name);
            let module = import_model(&model)?;
            let pipeline = format!(
                "canonicalize,fuse,patch-split{{layers=0..6,tiles=1x5,halo={halo}}},cascade,lower,pack-weights,plan-memory"
            );
            let planned = after(&pipeline, &module, Core::CortexM4)?;
            let folder = project(&planned, golden(&model.join("io"), &module, 1)?)?;
            make_test(folder.path(), "gcc", SANITIZE)
        };
        check().map_err(|error: String| format!("{name}, {halo}: {error}"))
    });
}

/// The example and its samples.
fn digits() -> (Module, Vec<GoldenVector>) {
    let example = workspace().join("examples/models/digits");
    let bytes = std::fs::read(example.join("digits.tflite")).expect("the example is part of the repository");
    let module = mcunet_frontends::import(&bytes, "digits.tflite", &Default::default()).expect("it imports");
    let function = &module.functions[0];
    let sample = |kind: &str, ports: &[Port], index: usize| {
        let bytes = std::fs::read(example.join(format!("samples/{index:02}.{kind}.bin"))).expect("a sample");
        let ty = ports[0].ty.as_tensor().expect("ports are tensors").clone();
        vec![Tensor::from_bytes(ty, &bytes).expect("a sample of the port's size")]
    };
    let samples = (0..10)
        .map(|index| GoldenVector {
            inputs: sample("in", &function.inputs, index),
            outputs: sample("out", &function.outputs, index),
        })
        .collect();
    (module, samples)
}

#[test]
fn the_example_is_exact_at_every_level() {
    let (module, samples) = digits();
    reproduces(&module, &samples).expect("the interpreter is exact");
    for level in LEVELS {
        let planned = plan(&module, level).expect("it compiles");
        reproduces(&planned, &samples).unwrap_or_else(|error| panic!("{level:?}: {error}"));
    }
}
