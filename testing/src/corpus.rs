//! Where models are: real ones with golden outputs, and the corpus of single operators.
//!
//! Real models are found through `MCUNETC_MODELS` (default `../shared/models` beside the workspace); a test that needs
//! them says NOT CHECKED where there are none.

use mcunet_backends::GoldenVector;
use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::module::Port;
use mcunet_ir::{Module, Tensor};
use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Folder of real models; `None`, said aloud, where there is none.
pub fn models() -> Option<PathBuf> {
    let folder = std::env::var_os("MCUNETC_MODELS")
        .map_or_else(|| workspace().join("../shared/models"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("NOT CHECKED: no models; set MCUNETC_MODELS to the folder that holds them");
    None
}

/// Folder of real data sets, found through `MCUNETC_DATASETS` (default `../shared/datasets` beside the workspace); `None`,
/// said aloud, where there is none.
pub fn datasets() -> Option<PathBuf> {
    let folder = std::env::var_os("MCUNETC_DATASETS")
        .map_or_else(|| workspace().join("../shared/datasets"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("NOT CHECKED: no data sets; set MCUNETC_DATASETS to the folder that holds them");
    None
}

/// Folders below `root` that hold a model, by name.
///
/// # Panics
/// If the folder can't be read.
pub fn model_folders(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).expect("a readable folder of models");
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.join("model.tflite").exists())
        .collect();
    folders.sort();
    folders
}

/// Models beyond the core ones that must compile as well: one of int16 activations, and an older one of int8.
const BEYOND: [&str; 2] = ["mlperf-sww-16x8", "mlperf-sww-old-int8"];

/// Whether a model is one of those that must compile.
pub fn is_core(folder: &Path) -> bool {
    if BEYOND.contains(&name(folder).as_str()) {
        return true;
    }
    let info = std::fs::read_to_string(folder.join("info.json")).unwrap_or_default();
    info.lines().any(|line| line.trim().starts_with("\"tier\": \"core\""))
}

/// Core models of a folder, by name.
///
/// # Panics
/// If there are none.
pub fn core_models(root: &Path) -> Vec<PathBuf> {
    let folders: Vec<PathBuf> = model_folders(root).into_iter().filter(|folder| is_core(folder)).collect();
    assert!(!folders.is_empty(), "expected core models in {}", root.display());
    folders
}

/// Folders of the single-operator corpus.
///
/// # Panics
/// If it is not whole.
pub fn op_cases() -> Vec<PathBuf> {
    let cases = model_folders(&workspace().join("frontends/tests/ops/cases"));
    assert!(cases.len() > 100, "expected the whole corpus, got {} cases", cases.len());
    cases
}

/// Name of a model's folder.
pub fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The model of a folder.
///
/// # Errors
/// A file that can't be read, or what is wrong with the model.
pub fn import_model(folder: &Path) -> Result<Module, String> {
    let bytes = std::fs::read(folder.join("model.tflite")).map_err(|error| error.to_string())?;
    import(&bytes, "model.tflite", &ImportOptions::default()).map_err(|errors| errors.to_string())
}

/// Up to `count` samples in the folder `io` with their golden outputs; a model without inputs has one.
///
/// # Errors
/// Inputs without outputs, files of the wrong size, or no sample at all.
pub fn golden(io: &Path, module: &Module, count: usize) -> Result<Vec<GoldenVector>, String> {
    let function = &module.functions[0];
    let count = if function.inputs.is_empty() { count.min(1) } else { count };
    let mut samples = Vec::new();
    while samples.len() < count {
        let Some(inputs) = read(io, samples.len(), "in", &function.inputs)? else { break };
        let outputs = read(io, samples.len(), "out", &function.outputs)?;
        let outputs = outputs.ok_or("expected outputs beside the inputs")?;
        samples.push(GoldenVector { inputs, outputs });
    }
    if samples.is_empty() {
        return Err("expected samples with golden outputs, got none".to_owned());
    }
    Ok(samples)
}

/// Inputs or outputs of a sample; `None` if there is no such sample.
fn read(io: &Path, sample: usize, kind: &str, ports: &[Port]) -> Result<Option<Vec<Tensor>>, String> {
    let tensor = |(i, port): (usize, &Port)| {
        let bytes = std::fs::read(io.join(format!("{sample}.{kind}{i}.bin"))).ok()?;
        let ty = port.ty.as_tensor()?.clone();
        Some(Tensor::from_bytes(ty, &bytes).map_err(|error| error.to_string()))
    };
    ports.iter().enumerate().map(tensor).collect::<Option<Result<Vec<_>, _>>>().transpose()
}
