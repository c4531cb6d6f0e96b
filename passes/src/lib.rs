//! Passes: rewrite a module toward firmware, one idea per file.

pub mod lower;
