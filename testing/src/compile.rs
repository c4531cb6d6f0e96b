//! Compiles modules as the driver does.

use mcunet_backends::c::C;
use mcunet_backends::{Backend, EmitOptions, GoldenVector};
use mcunet_ir::Module;
use mcunet_ir::interp::{Executor, Interpreter};
use mcunet_ir::verify::verify;
use mcunet_passes::manager::{Silent, run};
use mcunet_passes::pass::PassContext;
use mcunet_passes::pipeline::{Level, Pipeline};
use mcunet_passes::registry::Registry;
use mcunet_passes::target::{Core, Target};
use mcunet_passes::watch::{Unwatched, Watch};
use std::path::Path;

/// All levels.
pub const LEVELS: [Level; 3] = [Level::O0, Level::O2, Level::Os];

/// The module after a pipeline for a core, verified after every pass.
///
/// # Errors
/// What the passes say.
pub fn after(pipeline: &str, module: &Module, core: Core) -> Result<Module, String> {
    after_for(pipeline, module, &Target::bare(core))
}

/// The module after a pipeline for a target, verified after every pass.
///
/// # Errors
/// What the passes say.
pub fn after_for(pipeline: &str, module: &Module, target: &Target) -> Result<Module, String> {
    after_watched(pipeline, module, target, &Unwatched)
}

/// [`after_for`], with searches that are watched.
///
/// # Errors
/// What the passes say.
pub fn after_watched(
    pipeline: &str,
    module: &Module,
    target: &Target,
    watch: &dyn Watch,
) -> Result<Module, String> {
    let pipeline = Pipeline::parse(pipeline, &Registry::builtin()).map_err(|errors| errors.to_string())?;
    let mut module = module.clone();
    run(&pipeline, &mut module, &PassContext::new(target).watched_by(watch), true, &mut Silent)
        .map_err(|errors| errors.to_string())?;
    Ok(module)
}

/// The module, planned for a Cortex-M4.
///
/// # Errors
/// What the passes say.
pub fn plan(module: &Module, level: Level) -> Result<Module, String> {
    after(level.pipeline(), module, Core::CortexM4)
}

/// Runs a module of any stage on each sample's inputs and compares with its outputs.
///
/// # Errors
/// The first sample that differs, or what stopped the run.
pub fn reproduces(module: &Module, samples: &[GoldenVector]) -> Result<(), String> {
    for (i, sample) in samples.iter().enumerate() {
        let found = Interpreter::new(module).run(&sample.inputs).map_err(|error| error.to_string())?;
        if let Some(difference) = crate::compare::differences(&found, &sample.outputs) {
            return Err(format!("sample {i}, {difference}"));
        }
    }
    Ok(())
}

/// Writes the C project of a planned module, with samples as its test vectors, to `folder`.
///
/// # Errors
/// What the back end cannot express, or a file that cannot be written.
pub fn write_project(planned: &Module, golden: Vec<GoldenVector>, folder: &Path) -> Result<(), String> {
    let (name, memories) = ("model".to_owned(), Vec::new());
    let options = EmitOptions { name, core: Core::CortexM4, memories, project: true, golden };
    let verified = verify(planned).map_err(|errors| errors.to_string())?;
    let artifact = C.emit(verified, &options).map_err(|errors| errors.to_string())?;
    for (name, bytes) in artifact.files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(|error| error.to_string())?;
        std::fs::write(path, bytes).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// [`write_project`] to a temporary folder.
///
/// # Errors
/// See there.
pub fn project(planned: &Module, golden: Vec<GoldenVector>) -> Result<tempfile::TempDir, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    write_project(planned, golden, folder.path())?;
    Ok(folder)
}
