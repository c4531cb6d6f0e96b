//! Front ends: foreign formats to `nn` operations.
//!
//! A front end takes bytes and gives a module of stage *imported*, or everything that is wrong with the bytes. It does
//! no I/O, never trusts an index, and maps what it supports exactly or not at all.

pub mod io_type;
pub mod tflite;

pub use io_type::IoType;

use mcunet_ir::{Diagnostic, Diagnostics, Module};

/// How to import.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImportOptions {
    /// Type of the model's inputs and outputs.
    pub io_type: IoType,
}

/// Imports a model of any known format; `file_name` is for messages only.
///
/// # Errors
/// An unknown format, or everything that is wrong with or unsupported in the model.
pub fn import(bytes: &[u8], file_name: &str, options: &ImportOptions) -> Result<Module, Diagnostics> {
    let mut module = if bytes.get(4..8) == Some(b"TFL3") || file_name.ends_with(".tflite") {
        tflite::import(bytes, file_name)?
    } else {
        match std::str::from_utf8(bytes) {
            Ok(text) if looks_like_text(text, file_name) => mcunet_ir::text::parse(text, file_name)?,
            _ => return Err(unknown_format(file_name).into()),
        }
    };
    if options.io_type != IoType::Model {
        io_type::apply(&mut module, options.io_type)?;
    }
    Ok(module)
}

fn looks_like_text(text: &str, file_name: &str) -> bool {
    let first = text.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with("//"));
    let starts = ["module", "\"builtin.module\"", "!"];
    file_name.ends_with(".mcir")
        || first.is_some_and(|line| starts.iter().any(|start| line.starts_with(start)))
}

fn unknown_format(file_name: &str) -> Diagnostic {
    Diagnostic::error(format!("expected a model of a known format, got '{file_name}'"))
        .help("known formats: TensorFlow Lite (.tflite) and mcunetc's own text (.mcir)")
}
