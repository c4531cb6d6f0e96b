//! Calibration samples from files: raw bytes or `.npy`, one file a sample, or a folder of them.

use crate::files;
use crate::session::{Failure, usage};
use crate::tensors::{port_type, read};
use mcunet_ir::module::Port;
use mcunet_ir::{Diagnostic, Tensor};
use std::path::{Path, PathBuf};

/// Samples of a model's inputs from files and folders.
///
/// # Errors
/// What cannot be read, does not fit the input, or is nothing at all.
pub fn samples(paths: &[PathBuf], ports: &[Port]) -> Result<Vec<Vec<Tensor>>, Failure> {
    let [port] = ports else {
        return Err(usage(format!("expected a model of one input for --data, got {}", ports.len())).into());
    };
    port_type(port)?;
    let mut samples = Vec::new();
    for path in paths {
        for file in files_of(path)? {
            samples.push(vec![read(&file, port)?]);
        }
    }
    Ok(samples)
}

/// The file itself, or the inputs in a folder, sorted by name.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| files::io_error("read", path, &error))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| files::io_error("read", path, &error))?.path();
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_sample =
            [".npy", ".bin"].iter().any(|ending| name.ends_with(ending)) && !name.contains(".out");
        if is_sample {
            found.push(entry);
        }
    }
    if found.is_empty() {
        let error =
            Diagnostic::error(format!("expected .npy or .bin files in '{}', got none", path.display()));
        return Err(error.help("each file is one sample of the model's input").into());
    }
    found.sort();
    Ok(found)
}
