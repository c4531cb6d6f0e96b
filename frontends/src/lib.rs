//! Front ends: foreign formats to `nn` operations.

pub mod tflite;
