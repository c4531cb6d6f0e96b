//! Every single-operator case, lowered by each named pipeline and run with shadow memory, against the reference kernels'
//! outputs.

use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::interp::{Executor, Interpreter};
use mcunet_ir::tensor::Data;
use mcunet_ir::{Module, Tensor};
use mcunet_passes::manager::{Silent, run};
use mcunet_passes::pass::PassContext;
use mcunet_passes::pipeline::{Level, Pipeline};
use mcunet_passes::registry::Registry;
use mcunet_passes::target::Target;
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../frontends/tests/ops/cases");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the corpus is part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.join("model.tflite").exists())
        .collect();
    cases.sort();
    cases
}

fn sample(folder: &Path, module: &Module, index: usize, kind: &str) -> Option<Vec<Tensor>> {
    let function = &module.functions[0];
    let ports = if kind == "in" { &function.inputs } else { &function.outputs };
    ports
        .iter()
        .enumerate()
        .map(|(i, port)| {
            let bytes = std::fs::read(folder.join(format!("{index}.{kind}{i}.bin"))).ok()?;
            Some(
                Tensor::from_bytes(port.ty.as_tensor()?.clone(), &bytes)
                    .expect("a golden of the port's size"),
            )
        })
        .collect()
}

fn equal(found: &Tensor, golden: &Tensor) -> bool {
    match (&found.data, &golden.data) {
        (Data::F32(found), Data::F32(golden)) => found
            .iter()
            .zip(golden)
            .all(|(x, y)| (x - y).abs() <= 1e-5 * y.abs().max(1e-6) || x == y || (x.is_nan() && y.is_nan())),
        (found, golden) => found == golden,
    }
}

fn check(folder: &Path, level: Level) -> Result<(), String> {
    let bytes = std::fs::read(folder.join("model.tflite")).map_err(|error| error.to_string())?;
    let mut module =
        import(&bytes, "model.tflite", &ImportOptions::default()).map_err(|errors| errors.to_string())?;
    let pipeline =
        Pipeline::parse(level.pipeline(), &Registry::builtin()).map_err(|errors| errors.to_string())?;
    let target = Target::find("cortex-m4").ok_or("expected the embedded target")?;
    run(&pipeline, &mut module, &PassContext::new(&target), true, &mut Silent)
        .map_err(|errors| errors.to_string())?;
    let mut samples = 0;
    while let Some(inputs) = sample(folder, &module, samples, "in") {
        let golden = sample(folder, &module, samples, "out").ok_or("expected outputs beside the inputs")?;
        let outputs = Interpreter::new(&module).run(&inputs).map_err(|error| error.to_string())?;
        if let Some(i) = outputs.iter().zip(&golden).position(|(found, golden)| !equal(found, golden)) {
            return Err(format!("sample {samples}: output {i} differs"));
        }
        samples += 1;
        if inputs.is_empty() {
            break;
        }
    }
    if samples == 0 { Err("expected at least one sample, got none".to_owned()) } else { Ok(()) }
}

fn check_all(level: Level) {
    let cases = cases();
    assert!(cases.len() > 100, "expected the whole corpus, got {} cases", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|folder| {
            let name = folder.file_name()?.to_string_lossy().into_owned();
            check(folder, level).err().map(|error| format!("{name}: {error}"))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases fail:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
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
