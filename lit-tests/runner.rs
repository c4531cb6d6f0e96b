//! Discovers the test cases, reads their RUN lines, and runs these in process.
//!
//! A case is a file whose comments say what to run: `// RUN: mcunetc opt %s | FileCheck %s`. Invariant: what isn't
//! understood fails the case. No RUN line, an unknown keyword, command, feature or substitution, a word that merely
//! resembles a directive of FileCheck: none of them passes, and only an absent feature lets a case be ignored.

mod execute;
mod header;
pub mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::{Completion, Failed, Trial};

use crate::filecheck;
use crate::shell::{self, Pipeline, Substitutions};
use header::{Header, Run};

/// How a command ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub status: u8,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// The compiler: takes arguments without the program's name, and standard input.
pub type Compiler = fn(arguments: &[String], stdin: &[u8]) -> Outcome;

/// Something that not every machine has: `// REQUIRES: name` asks for it, and `%name` is its path.
pub struct Feature {
    pub name: &'static str,
    /// Where it is, or why it isn't there.
    pub path: Result<String, String>,
}

/// What all cases share.
pub struct Suite {
    /// The folder of the cases.
    pub root: PathBuf,
    /// A folder for temporary files; each case gets a folder of its own in it, emptied before the case runs.
    pub scratch: PathBuf,
    pub features: Vec<Feature>,
    pub mcunetc: Compiler,
}

/// Extensions of test cases.
const EXTENSIONS: [&str; 2] = ["mcir", "test"];

/// A folder of this name holds files that cases read, not cases.
const INPUTS: &str = "Inputs";

/// How a case went.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// It needs something that is absent, for the reason given.
    Unsupported(String),
}

/// One trial per case, named by its path relative to the suite's root.
///
/// # Errors
/// A folder that cannot be read, or no case at all.
pub fn trials(suite: &Arc<Suite>) -> Result<Vec<Trial>, String> {
    let mut paths = Vec::new();
    discover(&suite.root, &mut paths)?;
    if paths.is_empty() {
        return Err(format!("expected test cases in {}, got none", suite.root.display()));
    }
    // cargo-nextest shows no reasons, and would count as passed what finds out as late as in its run that it is ignored.
    let flags_ignored = std::env::var_os("NEXTEST").is_some();
    let trial = |path: PathBuf| {
        let name = relative_name(&suite.root, &path);
        let is_ignored = flags_ignored && suite.is_unsupported(&path);
        let suite = Arc::clone(suite);
        Trial::ignorable_test(name, move || {
            match suite.run(&path).map_err(|report| Failed::from(format!("\n{report}")))? {
                Verdict::Passed => Ok(Completion::Completed),
                Verdict::Unsupported(reason) => Ok(Completion::ignored_with(reason)),
            }
        })
        .with_ignored_flag(is_ignored)
    };
    Ok(paths.into_iter().map(trial).collect())
}

/// Collects the cases below `folder`, sorted.
fn discover(folder: &Path, cases: &mut Vec<PathBuf>) -> Result<(), String> {
    let unreadable = |error| format!("expected a readable folder, got '{}': {error}", folder.display());
    let entries =
        std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(unreadable)?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if !path.ends_with(INPUTS) {
                discover(&path, cases)?;
            }
        } else if path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
        {
            cases.push(path);
        }
    }
    Ok(())
}

fn relative_name(root: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(path).iter();
    parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

impl Suite {
    /// Runs the case in the file `path`.
    ///
    /// # Errors
    /// A report: what was run, how it ended, and what it said.
    pub fn run(&self, path: &Path) -> Result<Verdict, String> {
        let text = read_text(path)?;
        let header = Header::parse(&text)?;
        if let Some(reason) = self.missing_feature(&header)? {
            return Ok(Verdict::Unsupported(reason));
        }
        let substitutions = self.substitutions(path)?;
        let parse = |run: &Run| {
            shell::parse(&run.command, &substitutions)
                .map_err(|error| format!("RUN at line {}: {error}", run.line))
        };
        let lines: Vec<Vec<Pipeline>> = header.runs.iter().map(parse).collect::<Result<_, _>>()?;
        refuse_stray_directives(&text, &lines)?;
        for (run, pipelines) in header.runs.iter().zip(&lines) {
            for pipeline in pipelines {
                self.execute(pipeline)
                    .map_err(|report| format!("RUN at line {}: {}\n{report}", run.line, run.command))?;
            }
        }
        Ok(Verdict::Passed)
    }

    /// Whether the case would be ignored. A malformed one would not, so that its run reports it.
    fn is_unsupported(&self, path: &Path) -> bool {
        let header = read_text(path).and_then(|text| Header::parse(&text));
        header.and_then(|header| self.missing_feature(&header)).is_ok_and(|reason| reason.is_some())
    }

    /// Why the case cannot run here, if so.
    fn missing_feature(&self, header: &Header) -> Result<Option<String>, String> {
        let mut missing = Vec::new();
        for name in &header.requires {
            let feature = self.features.iter().find(|feature| feature.name == name).ok_or_else(|| {
                let known: Vec<_> = self.features.iter().map(|feature| feature.name).collect();
                format!("expected a feature among {}, got '{name}'", known.join(", "))
            })?;
            missing.extend(feature.path.as_ref().err().map(|reason| format!("requires {name}: {reason}")));
        }
        Ok((!missing.is_empty()).then(|| missing.join("; ")))
    }

    /// The substitutions of one case. Makes its folder for temporary files.
    fn substitutions(&self, path: &Path) -> Result<Substitutions, String> {
        let scratch = self.scratch.join(relative_name(&self.root, path));
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch)
                .map_err(|error| format!("expected to empty {}: {error}", scratch.display()))?;
        }
        std::fs::create_dir_all(&scratch)
            .map_err(|error| format!("expected to make {}: {error}", scratch.display()))?;
        let folder = path.parent().unwrap_or(&self.root);
        let mut substitutions = vec![("s", utf8(path)), ("S", utf8(folder)), ("t", utf8(&scratch.join("t")))];
        for Feature { name, path } in &self.features {
            let path = path
                .clone()
                .map_err(|reason| format!("expected 'REQUIRES: {name}' before %{name} is used: {reason}"));
            substitutions.push((name, path));
        }
        Ok(substitutions)
    }
}

fn utf8(path: &Path) -> Result<String, String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("expected a path in UTF-8, got '{}'", path.display()))
}

fn read_text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("expected a text file, got '{}': {error}", path.display()))
}

/// Refuses words that resemble directives of the case's FileCheck commands but would check nothing.
fn refuse_stray_directives(text: &str, lines: &[Vec<Pipeline>]) -> Result<(), String> {
    let mut prefixes = Vec::new();
    for command in lines.iter().flatten().flat_map(|pipeline| &pipeline.commands) {
        if let Some((program, arguments)) = command.words.split_first()
            && program == "FileCheck"
        {
            prefixes.extend(filecheck::Options::parse(arguments)?.0.prefixes);
        }
    }
    let strays = filecheck::stray_directives(text, &prefixes);
    if strays.is_empty() {
        return Ok(());
    }
    let listed: Vec<_> = strays.iter().map(|(line, word)| format!("'{word}' at line {line}")).collect();
    Err(format!("expected directives of FileCheck with a prefix of a RUN line, got {}", listed.join(", ")))
}
