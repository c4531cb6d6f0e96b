//! TensorFlow Lite models.

pub mod reader;
#[allow(missing_docs)]
pub mod schema;
pub mod text;
