//! TensorFlow Lite models: checked reading ([`reader`]), then one row per operator (`ops`) to `nn`; and the way back
//! ([`export`]).

mod export;
mod importer;
mod ops;
pub mod reader;
#[allow(missing_docs)]
pub mod schema;
pub mod text;

pub use export::export;

use mcunet_ir::{Diagnostic, Diagnostics, Module};

/// Imports the main subgraph of a model.
///
/// # Errors
/// Everything that is wrong with the file, or every operator that is not supported, all at once.
pub fn import(bytes: &[u8], file_name: &str) -> Result<Module, Diagnostics> {
    let model = reader::read(bytes).map_err(|errors| {
        let diagnostic = |error: &reader::ReadError| Diagnostic::error(format!("{file_name}: {error}"));
        let mut diagnostics = Diagnostics(errors.iter().map(diagnostic).collect());
        if let Some(last) = diagnostics.0.last_mut() {
            last.help.push("the file is damaged or no TensorFlow Lite model; export it again".to_owned());
        }
        diagnostics
    })?;
    importer::Importer::new(&model, file_name)?.run()
}
