//! Every single-operator case of `tests/ops/cases` through the interpreter, compared with the reference kernels' outputs.

use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::interp::{Executor, Interpreter};
use mcunet_ir::tensor::Data;
use mcunet_ir::{Module, Tensor};
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ops/cases");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the corpus is part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.join("model.tflite").exists())
        .collect();
    cases.sort();
    cases
}

/// Inputs or outputs of a sample; `None` if the case has no such sample.
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

/// Why two outputs differ: integers at all, floats by more than 1e-5 relative.
fn difference(found: &Tensor, golden: &Tensor) -> Option<String> {
    match (&found.data, &golden.data) {
        (Data::F32(found), Data::F32(golden)) => {
            found.iter().zip(golden).enumerate().find_map(|(i, (x, y))| {
                let near = (x - y).abs() <= 1e-5 * y.abs().max(1e-6) || x == y || (x.is_nan() && y.is_nan());
                (!near).then(|| format!("element {i}: {x} instead of {y}"))
            })
        }
        (found, golden) if found == golden => None,
        (found, golden) => {
            let (found, golden) = (found.to_i64s()?, golden.to_i64s()?);
            let count = found.iter().zip(&golden).filter(|(x, y)| x != y).count();
            let first = found.iter().zip(&golden).position(|(x, y)| x != y)?;
            Some(format!(
                "{count} of {} differ; element {first}: {} instead of {}",
                golden.len(),
                found[first],
                golden[first]
            ))
        }
    }
}

fn check(folder: &Path) -> Result<(), String> {
    let bytes = std::fs::read(folder.join("model.tflite")).map_err(|error| error.to_string())?;
    let module =
        import(&bytes, "model.tflite", &ImportOptions::default()).map_err(|errors| errors.to_string())?;
    mcunet_ir::verify::verify(&module).map_err(|errors| errors.to_string())?;
    let mut samples = 0;
    while let Some(inputs) = sample(folder, &module, samples, "in") {
        let golden = sample(folder, &module, samples, "out").ok_or("expected outputs beside the inputs")?;
        let outputs = Interpreter::new(&module).run(&inputs).map_err(|error| error.to_string())?;
        for (i, (found, golden)) in outputs.iter().zip(&golden).enumerate() {
            if let Some(difference) = difference(found, golden) {
                return Err(format!("sample {samples}, output {i}: {difference}"));
            }
        }
        samples += 1;
        // A graph without inputs has one sample.
        if inputs.is_empty() {
            break;
        }
    }
    if samples == 0 { Err("expected at least one sample, got none".to_owned()) } else { Ok(()) }
}

#[test]
fn the_interpreter_equals_the_reference_kernels_op_by_op() {
    let cases = cases();
    assert!(cases.len() > 100, "expected the whole corpus, got {} cases", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|folder| {
            let name = folder.file_name()?.to_string_lossy().into_owned();
            check(folder).err().map(|error| format!("{name}: {error}"))
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
