//! The classes of samples, from a file of their own.

use super::Place;
use super::array;
use crate::files;
use crate::session::Failure;
use mcunet_ir::{Diagnostic, Diagnostics};
use std::collections::HashMap;
use std::path::Path;

/// Longest file of labels, in bytes.
const MAX_BYTES: u64 = 1 << 28;

/// Classes as a file gives them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Labels {
    /// One for each sample, in order.
    InOrder(Vec<usize>),
    /// By name of the file without folders and extension, in the order of the lines.
    ByFile(Vec<(String, usize)>),
}

impl Labels {
    /// Reads `.npy`, `.csv`, or one class a line.
    ///
    /// # Errors
    /// What is no class: names, negative numbers, fractions.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path);
        file.and_then(|file| {
            std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_BYTES), &mut bytes)
        })
        .map_err(|error| files::io_error("read", path, &error))?;
        if bytes.starts_with(array::NPY_MAGIC) {
            return Ok(Labels::InOrder(classes(path, array::integers(path, &bytes)?)?));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            Diagnostic::error(format!(
                "'{}': expected labels as text or .npy, got other bytes",
                path.display()
            ))
        })?;
        Self::parse(path, text)
    }

    /// Labels in a text; see [`super::args::DataArgs::labels`] for its form.
    fn parse(path: &Path, text: &str) -> Result<Self, Diagnostics> {
        let (mut in_order, mut by_file) = (Vec::new(), Vec::new());
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).peekable();
        if lines.peek().is_some_and(|(_, line)| is_heading(line)) {
            lines.next();
        }
        for (number, line) in lines {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let wrong = |found: &str| {
                let message = format!(
                    "'{}', line {}: expected a class from 0 on, got '{found}'",
                    path.display(),
                    number + 1
                );
                Diagnostics::from(Diagnostic::error(message).help(
                    "lines are `class`, `file,class` or `file,classes,class`, and a class is the index of its output",
                ))
            };
            let class = |text: &str| text.parse::<usize>().map_err(|_| wrong(text));
            match fields[..] {
                [text] => in_order.push(class(text)?),
                [file, text] | [file, _, text] => by_file.push((stem(Path::new(file)), class(text)?)),
                _ => return Err(wrong(line)),
            }
        }
        match (in_order.is_empty(), by_file.is_empty()) {
            (true, true) => {
                Err(Diagnostic::error(format!("expected labels in '{}', got none", path.display())).into())
            }
            (false, false) => {
                let message = format!(
                    "'{}': expected either classes alone or all with files, got both",
                    path.display()
                );
                Err(Diagnostic::error(message).into())
            }
            (_, true) => Ok(Labels::InOrder(in_order)),
            (true, false) => Ok(Labels::ByFile(by_file)),
        }
    }

    /// The class of each sample.
    ///
    /// # Errors
    /// Another number of labels than of samples, samples without a label, labels without a sample.
    pub fn of(self, path: &Path, samples: &[&Place]) -> Result<Vec<usize>, Failure> {
        match self {
            Labels::InOrder(labels) if labels.len() == samples.len() => Ok(labels),
            Labels::InOrder(labels) => {
                let message = format!(
                    "expected {} labels in '{}', one for each sample, got {}",
                    samples.len(),
                    path.display(),
                    labels.len()
                );
                let help = "labels are for the whole set: --skip and --limit choose from both";
                Err(Diagnostic::error(message).help(help).into())
            }
            Labels::ByFile(labels) => Ok(by_file(path, &labels, samples)?),
        }
    }
}

fn by_file(path: &Path, labels: &[(String, usize)], samples: &[&Place]) -> Result<Vec<usize>, Diagnostics> {
    let file = path.display();
    let mut classes: HashMap<&str, usize> = HashMap::new();
    for (name, class) in labels {
        if let Some(other) = classes.insert(name, *class).filter(|other| other != class) {
            return Err(Diagnostic::error(format!(
                "'{file}': expected one class for '{name}', got {other} and {class}"
            ))
            .into());
        }
    }
    let mut found = Vec::with_capacity(samples.len());
    let mut seen: std::collections::HashSet<String> = std::collections::HashSet::new();
    for sample in samples {
        if sample.source.len() > 1 {
            let message = format!(
                "expected one sample in '{}' for labels by file, got {}",
                sample.source.path().display(),
                sample.source.len()
            );
            return Err(Diagnostic::error(message)
                .help("give one class a line, or a .npy, in the order of the samples")
                .into());
        }
        let name = stem(sample.source.path());
        let Some(&class) = classes.get(name.as_str()) else {
            return Err(Diagnostic::error(format!("expected a label for '{name}' in '{file}', got none"))
                .help("lines are `file,class`; folders and extension of the file don't matter")
                .into());
        };
        found.push(class);
        seen.insert(name);
    }
    if let Some((missing, _)) = labels.iter().find(|(name, _)| !seen.contains(name.as_str())) {
        let count = classes.keys().filter(|name| !seen.contains(**name)).count();
        return Err(Diagnostic::error(format!(
            "expected a sample for every label in '{file}', got none for '{missing}'"
        ))
        .note(format!("{count} of {} labels have no sample", classes.len()))
        .help("--limit and --skip choose from the whole set; give --data all of it, or remove the lines")
        .into());
    }
    Ok(found)
}

/// Whether the first line names columns: its last field is a word.
fn is_heading(line: &str) -> bool {
    let last = line.rsplit(',').next().unwrap_or_default().trim();
    line.contains(',') && last.starts_with(char::is_alphabetic)
}

/// A file's name without folders and extension.
fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Integers as classes.
///
/// # Errors
/// Negative ones.
pub fn classes(path: &Path, integers: Vec<i64>) -> Result<Vec<usize>, Diagnostics> {
    let class = |integer: i64| {
        usize::try_from(integer).map_err(|_| {
            let message = format!("'{}': expected classes from 0 on, got {integer}", path.display());
            Diagnostics::from(Diagnostic::error(message))
        })
    };
    integers.into_iter().map(class).collect()
}
