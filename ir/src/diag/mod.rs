//! Diagnostics: what was expected, what was found, where, and what to do about it.
//!
//! There is one diagnostic type for the whole compiler. Crates report typed errors inside and turn them into
//! [`Diagnostic`]s at their edge; [`render`] is the only place that lays them out for a reader.

pub mod render;

use std::sync::Arc;

/// Where an operation comes from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Origin {
    /// Nothing is known.
    #[default]
    Unknown,
    /// A place in a text.
    Text {
        /// File name as the user gave it.
        file: Arc<str>,
        /// Line, from 1.
        line: u32,
        /// Column in characters, from 1.
        column: u32,
    },
    /// An operator of an imported model.
    Model {
        /// File name without folders, so that output does not depend on where the compiler runs.
        file: Arc<str>,
        /// Position of the operator in the model.
        operator: u32,
        /// Name of its first output tensor.
        name: Arc<str>,
    },
    /// Several origins: the op replaces all of them.
    Fused(Arc<[Origin]>),
}

impl Origin {
    /// Merges origins: unknown ones and repetitions vanish, nested ones are flattened.
    pub fn fuse(origins: impl IntoIterator<Item = Origin>) -> Origin {
        let mut flat: Vec<Origin> = Vec::new();
        for origin in origins {
            let parts: Vec<Origin> = match origin {
                Origin::Unknown => continue,
                Origin::Fused(parts) => parts.to_vec(),
                single => vec![single],
            };
            for part in parts {
                if !flat.contains(&part) {
                    flat.push(part);
                }
            }
        }
        match flat.len() {
            0 => Origin::Unknown,
            1 => flat.swap_remove(0),
            _ => Origin::Fused(flat.into()),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Unknown => f.write_str("unknown origin"),
            Origin::Text { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Origin::Model { file, operator, name } => write!(f, "operator {operator} '{name}' of {file}"),
            Origin::Fused(parts) => {
                for (i, part) in parts.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{part}")?;
                }
                Ok(())
            }
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// The input cannot be compiled.
    Error,
    /// Compiled, but probably not what was meant.
    Warning,
    /// Information.
    Note,
}

/// Why compilation ended; decides the exit code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Category {
    /// The input cannot be compiled: exit code 1.
    #[default]
    Input,
    /// The command line is wrong: exit code 2.
    Usage,
    /// A memory, flash or time budget is not met: exit code 3.
    Budget,
}

/// One message to the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Why compilation ended.
    pub category: Category,
    /// What is wrong: `expected X, got Y`, lower case, no final stop.
    pub message: String,
    /// Where it is wrong.
    pub origin: Origin,
    /// What stands at the place, shown at the caret.
    pub label: Option<String>,
    /// Facts that help to understand.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error in the input.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            category: Category::Input,
            message: message.into(),
            origin: Origin::Unknown,
            label: None,
            notes: Vec::new(),
            help: Vec::new(),
        }
    }

    /// A warning.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Sets where it is wrong.
    #[must_use]
    pub fn at(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Sets what stands at the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Sets why compilation ended.
    #[must_use]
    pub fn category(mut self, category: Category) -> Self {
        self.category = category;
        self
    }
}

/// At least one message, all that could be found at once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds a message.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Whether one of the messages is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// `Err(self)` if there is an error among the messages, `Ok(())` otherwise.
    ///
    /// # Errors
    /// The messages themselves.
    pub fn into_result(self) -> Result<(), Diagnostics> {
        if self.has_errors() { Err(self) } else { Ok(()) }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl std::fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for diagnostic in &self.0 {
            writeln!(f, "{}", diagnostic.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
