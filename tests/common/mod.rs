//! What the tests of emitted C share: models with golden outputs, compilers, simulators.

// Every test program uses a part of this.
#![allow(dead_code)]

use mcunet_backends::c::C;
use mcunet_backends::{Backend, EmitOptions, GoldenVector};
use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::verify::verify;
use mcunet_ir::{Module, Tensor};
use mcunet_passes::manager::{Silent, run};
use mcunet_passes::pass::PassContext;
use mcunet_passes::pipeline::{Level, Pipeline};
use mcunet_passes::registry::Registry;
use mcunet_passes::target::Target;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder of real models; `None`, said aloud, where there is none.
pub fn models() -> Option<PathBuf> {
    let folder = std::env::var_os("MCUNETC_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/models"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("NOT CHECKED: no models; set MCUNETC_MODELS to the folder that holds them");
    None
}

/// Core models of a folder, by name.
pub fn core_models(root: &Path) -> Vec<PathBuf> {
    let is_core = |folder: &PathBuf| {
        let info = std::fs::read_to_string(folder.join("info.json")).unwrap_or_default();
        info.lines().any(|line| line.trim().starts_with("\"tier\": \"core\""))
    };
    let entries = std::fs::read_dir(root).expect("a readable folder of models");
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a readable folder").path()).filter(is_core).collect();
    folders.sort();
    folders
}

/// Folders of the single-operator corpus.
pub fn op_cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("frontends/tests/ops/cases");
    let entries = std::fs::read_dir(folder).expect("the corpus is part of the repository");
    let mut cases: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.join("model.tflite").exists())
        .collect();
    cases.sort();
    cases
}

/// Up to `count` samples with their golden outputs.
pub fn golden(io: &Path, module: &Module, count: usize) -> Vec<GoldenVector> {
    let function = &module.functions[0];
    let read = |sample: usize, kind: &str, ports: &[mcunet_ir::module::Port]| {
        let tensor = |(i, port): (usize, &mcunet_ir::module::Port)| {
            let bytes = std::fs::read(io.join(format!("{sample}.{kind}{i}.bin"))).ok()?;
            Tensor::from_bytes(port.ty.as_tensor()?.clone(), &bytes).ok()
        };
        ports.iter().enumerate().map(tensor).collect::<Option<Vec<Tensor>>>()
    };
    (0..count)
        .map_while(|sample| {
            let inputs = read(sample, "in", &function.inputs)?;
            Some(GoldenVector { inputs, outputs: read(sample, "out", &function.outputs)? })
        })
        .collect()
}

/// Compiles a model and writes its project with golden vectors to `folder`.
pub fn write_project(
    model: &Path,
    io: &Path,
    samples: usize,
    level: Level,
    folder: &Path,
) -> Result<(), String> {
    let bytes = std::fs::read(model).map_err(|error| error.to_string())?;
    let text = |errors: mcunet_ir::Diagnostics| errors.to_string();
    let mut module = import(&bytes, "model.tflite", &ImportOptions::default()).map_err(text)?;
    let golden = golden(io, &module, samples);
    if golden.is_empty() {
        return Err("expected samples with golden outputs, got none".to_owned());
    }
    let target = Target::find("cortex-m4").ok_or("expected the embedded target")?;
    let pipeline = Pipeline::parse(level.pipeline(), &Registry::builtin()).map_err(text)?;
    run(&pipeline, &mut module, &PassContext::new(&target), true, &mut Silent).map_err(text)?;
    let options = EmitOptions { name: "model".to_owned(), core: target.core, project: true, golden };
    let artifact = C.emit(verify(&module).map_err(text)?, &options).map_err(text)?;
    for (name, bytes) in artifact.files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(|error| error.to_string())?;
        std::fs::write(path, bytes).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Runs `make` in a project.
pub fn make(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("make")
        .arg("--silent")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .output()
        .map_err(|error| format!("make: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let log = [output.stdout, output.stderr].concat();
    let log = String::from_utf8_lossy(&log);
    Err(log.lines().take(12).collect::<Vec<_>>().join("\n"))
}

/// Whether a tool can be run; said aloud if not.
pub fn has_tool(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("NOT CHECKED with {tool}: it is not installed (scripts/test.sh installs it)");
    }
    found
}

/// Runs `check` for every item on two threads and collects what fails.
pub fn failures<T: Sync>(items: &[T], check: impl Fn(&T) -> Result<(), String> + Sync) -> Vec<String> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    if let Err(error) = check(item) {
                        failures.lock().expect("no thread panics with the lock").push(error);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no thread panics with the lock");
    failures.sort();
    failures
}

/// Name of a model's folder.
pub fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
