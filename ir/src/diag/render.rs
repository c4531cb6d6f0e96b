//! Lays a diagnostic out for a reader; see the parent module.
