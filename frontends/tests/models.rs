//! Real models through the interpreter, against their golden outputs. Models are found through `MCUNETC_MODELS`
//! (default `../shared/models` beside the workspace); without them the test says so and checks nothing.

use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::interp::{Executor, Interpreter};
use mcunet_ir::tensor::Data;
use mcunet_ir::{Module, Tensor};
use std::path::{Path, PathBuf};

fn models() -> Option<PathBuf> {
    let folder = std::env::var_os("MCUNETC_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/models"), PathBuf::from);
    folder.is_dir().then_some(folder)
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root)
        .expect("a readable folder of models")
        .map(|entry| entry.expect("a readable folder of models").path())
        .filter(|path| path.join("model.tflite").exists())
        .collect();
    folders.sort();
    folders
}

fn is_core(folder: &Path) -> bool {
    let info = std::fs::read_to_string(folder.join("info.json")).unwrap_or_default();
    info.lines().any(|line| line.trim().starts_with("\"tier\": \"core\""))
}

fn read_all(folder: &Path, module: &Module, sample: usize, kind: &str) -> Option<Vec<Tensor>> {
    let function = &module.functions[0];
    let ports = if kind == "in" { &function.inputs } else { &function.outputs };
    ports
        .iter()
        .enumerate()
        .map(|(i, port)| {
            let bytes = std::fs::read(folder.join(format!("io/{sample}.{kind}{i}.bin"))).ok()?;
            Some(Tensor::from_bytes(port.ty.as_tensor()?.clone(), &bytes).expect("a file of the port's size"))
        })
        .collect()
}

/// Greatest relative difference of floats, or the number of differing integers.
fn distance(found: &Tensor, golden: &Tensor) -> f64 {
    match (&found.data, &golden.data) {
        (Data::F32(found), Data::F32(golden)) => found
            .iter()
            .zip(golden)
            .map(|(x, y)| f64::from((x - y).abs()) / f64::from(y.abs()).max(1e-6))
            .fold(0.0, f64::max),
        (found, golden) => {
            let (found, golden) = (found.to_bytes(), golden.to_bytes());
            found.iter().zip(&golden).filter(|(x, y)| x != y).count() as f64
        }
    }
}

fn check(folder: &Path) -> Result<String, String> {
    let bytes = std::fs::read(folder.join("model.tflite")).map_err(|error| error.to_string())?;
    let module =
        import(&bytes, "model.tflite", &ImportOptions::default()).map_err(|errors| errors.to_string())?;
    mcunet_ir::verify::verify(&module).map_err(|errors| errors.to_string())?;
    let mut worst = 0.0f64;
    let mut samples = 0;
    while let Some(inputs) = read_all(folder, &module, samples, "in") {
        let golden = read_all(folder, &module, samples, "out").ok_or("expected outputs beside the inputs")?;
        let outputs = Interpreter::new(&module).run(&inputs).map_err(|error| error.to_string())?;
        for (found, golden) in outputs.iter().zip(&golden) {
            worst = worst.max(distance(found, golden));
        }
        samples += 1;
    }
    let (integer, limit) =
        match module.functions[0].outputs[0].ty.as_tensor().map(|ty| ty.storage().is_float()) {
            Some(true) => (false, 1e-5),
            _ => (true, 0.0),
        };
    let unit = if integer { "bytes differ" } else { "greatest relative difference" };
    if samples == 0 {
        Err("expected at least one sample, got none".to_owned())
    } else if worst > limit {
        Err(format!("{samples} samples, {unit}: {worst}"))
    } else {
        Ok(format!("{samples} samples, {unit}: {worst}"))
    }
}

#[test]
fn core_models_equal_their_golden_outputs() {
    let Some(root) = models() else {
        println!("NOT CHECKED: no models; set MCUNETC_MODELS to the folder that holds them");
        return;
    };
    let mut failures = Vec::new();
    let folders: Vec<PathBuf> = folders(&root).into_iter().filter(|folder| is_core(folder)).collect();
    assert!(!folders.is_empty(), "expected core models in {}", root.display());
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match check(&folder) {
            Ok(summary) => println!("{name}: {summary}"),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(failures.is_empty(), "models that differ:\n{}", failures.join("\n"));
}

#[test]
fn models_outside_the_core_are_imported_or_refused_operator_by_operator() {
    let Some(root) = models() else {
        println!("NOT CHECKED: no models; set MCUNETC_MODELS to the folder that holds them");
        return;
    };
    for folder in folders(&root).into_iter().filter(|folder| !is_core(folder)) {
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
