//! What every subcommand does: read a model, find the target, run a pipeline, fail readably.

use crate::Io;
use crate::cli::{GoalArg, ModelArgs, PipelineArgs, TargetArgs};
use crate::files;
use mcunet_frontends::{ImportOptions, import};
use mcunet_ir::diag::{Category, render};
use mcunet_ir::{Diagnostic, Diagnostics, Module};
use mcunet_passes::fuse::Approximations;
use mcunet_passes::manager::{self, Observer};
use mcunet_passes::pass::OptionValue;
use mcunet_passes::pass::PassContext;
use mcunet_passes::patch_split::space::Way;
use mcunet_passes::pipeline::{Choices, Level, Pipeline};
use mcunet_passes::registry::Registry;
use mcunet_passes::target::{Core, Memory, Target};
use std::path::Path;
use std::sync::Arc;

/// Why a command failed, with the texts that its locations point into.
#[derive(Debug, Default)]
pub struct Failure {
    diagnostics: Diagnostics,
    sources: Vec<(Arc<str>, Arc<str>)>,
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self { diagnostics, sources: Vec::new() }
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Diagnostics::from(diagnostic).into()
    }
}

impl Failure {
    /// Adds the text that locations in `file` point into.
    #[must_use]
    pub fn with_source(mut self, file: &str, text: &str) -> Self {
        self.sources.push((file.into(), text.into()));
        self
    }

    /// The gravest reason among the messages: usage before input before budget.
    pub fn category(&self) -> Category {
        let has = |category| self.diagnostics.0.iter().any(|diagnostic| diagnostic.category == category);
        if has(Category::Usage) {
            Category::Usage
        } else if has(Category::Budget) && !has(Category::Input) {
            Category::Budget
        } else {
            Category::Input
        }
    }

    /// The messages as the user reads them.
    pub fn render(&self, color: bool) -> String {
        let mut sources = render::SourceMap::default();
        for (file, text) in &self.sources {
            sources.add(file.clone(), text.clone());
        }
        render::render(&self.diagnostics, &sources, color)
    }

    /// The messages.
    pub fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }

    /// Adds the messages of another failure.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.diagnostics.0.extend(other.diagnostics.0);
        self.sources.extend(other.sources);
        self
    }

    /// Puts advice before that of the first message about a budget.
    #[must_use]
    pub fn advise(mut self, advice: Vec<String>) -> Self {
        let mut messages = self.diagnostics.0.iter_mut();
        if let Some(message) = messages.find(|message| message.category == Category::Budget) {
            message.help.splice(0..0, advice);
        }
        self
    }
}

/// A wrong command line.
pub fn usage(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(message).category(Category::Usage)
}

/// File name without folders, so that no output depends on where the compiler runs.
pub fn base_name(path: &Path) -> String {
    if path == Path::new("-") {
        return "stdin".to_owned();
    }
    path.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A model as it was read, which can be imported in several ways.
pub struct ModelFile {
    bytes: Vec<u8>,
    /// Its name without folders.
    name: String,
}

impl ModelFile {
    /// Reads a model.
    pub fn read(path: &Path, io: &mut Io<'_>) -> Result<Self, Failure> {
        Ok(Self { bytes: files::read(path, io)?, name: base_name(path) })
    }

    /// Imports the model and names the module.
    pub fn import(&self, args: &ModelArgs) -> Result<Module, Failure> {
        let Self { bytes, name: file } = self;
        let options = ImportOptions { io_type: args.io_type.into() };
        let mut module = import(bytes, file, &options)
            .map_err(|diagnostics| with_text(diagnostics.into(), file, bytes))?;
        mcunet_ir::verify::verify(&module)
            .map_err(|diagnostics| with_text(diagnostics.into(), file, bytes))?;
        if let Some(name) = &args.name {
            module.name = name.as_str().into();
        } else if module.name.is_empty() {
            module.name = file.split('.').find(|part| !part.is_empty()).unwrap_or("model").into();
        }
        Ok(module)
    }
}

/// Reads and imports a model and names the module.
pub fn load(path: &Path, args: &ModelArgs, io: &mut Io<'_>) -> Result<Module, Failure> {
    ModelFile::read(path, io)?.import(args)
}

/// A module's name as that of a file or folder: a name in a model must not lead anywhere else.
pub fn file_stem(name: &str) -> String {
    let stem: String =
        name.chars().map(|c| if c.is_control() || "/\\:".contains(c) { '_' } else { c }).collect();
    let stem = stem.trim_start_matches('.');
    if stem.is_empty() { "model".to_owned() } else { stem.to_owned() }
}

/// Lets locations in a textual input show their line.
pub fn with_text(failure: Failure, file: &str, bytes: &[u8]) -> Failure {
    match std::str::from_utf8(bytes) {
        Ok(text) => failure.with_source(file, text),
        Err(_) => failure,
    }
}

/// The target of the command line.
pub fn target(args: &TargetArgs) -> Result<Target, Failure> {
    let mut target = named_target(&args.target)?;
    if let Some(core) = &args.core {
        target.core = Core::from_name(core).ok_or_else(|| {
            let known: Vec<&str> = Core::ALL.iter().map(|core| core.name()).collect();
            usage(format!("unknown core '{core}'")).help(format!("cores are {}", known.join(", ")))
        })?;
    }
    if let Some(bytes) = args.sram {
        target.sram = vec![Memory::new("sram", bytes)];
    }
    if let Some(bytes) = args.flash {
        target.flash_bytes = bytes;
    }
    if let Some(hz) = args.clock {
        target.clock_hz = hz;
    }
    Ok(target)
}

fn named_target(name: &str) -> Result<Target, Failure> {
    if let Some(target) = Target::find(name) {
        return Ok(target);
    }
    if !name.ends_with(".toml") {
        let message = format!("unknown target '{name}'");
        let help = "`mcunetc targets` lists the known ones; a file of your own ends in .toml";
        return Err(usage(message).help(help).into());
    }
    let text =
        std::fs::read_to_string(name).map_err(|error| files::io_error("read", Path::new(name), &error))?;
    Target::from_toml(&text).map_err(|error| {
        Diagnostic::error(format!("'{name}' is no target: {}", error.trim()))
            .help("the files under passes/targets show the form")
            .into()
    })
}

/// The pipeline of the command line.
pub fn pipeline(args: &PipelineArgs) -> Result<Pipeline, Failure> {
    let level: Level = args.level.into();
    let text = match &args.pass_pipeline {
        Some(text) => text.clone(),
        None if !args.streams() && args.goal == GoalArg::Cycles => {
            level.pipeline_approximating(&approximations(args)?).ok_or_else(|| {
                usage("expected a level that applies rules for --approximate, got -O0")
                    .help("leave -O0 or --approximate out")
            })?
        }
        None => pipeline_with(args, None)?,
    };
    Ok(Pipeline::parse(&text, &Registry::builtin())?)
}

/// The approximate rules that the command line names.
///
/// # Errors
/// A name that is none of theirs.
pub fn approximations(args: &PipelineArgs) -> Result<Approximations, Failure> {
    let text = args.approximate.join("+");
    Approximations::parse(&text).ok_or_else(|| {
        usage(format!("expected {} for --approximate, got '{text}'", Approximations::description()))
            .help("docs/fusion.md explains the rules; exact ones always apply")
            .into()
    })
}

/// The level's pipeline with what the command line chooses, and with the given way, if there is one, instead of a search.
///
/// # Errors
/// If the level runs layer by layer.
pub fn pipeline_with(args: &PipelineArgs, way: Option<&Way>) -> Result<String, Failure> {
    let level: Level = args.level.into();
    level.pipeline_with(&choices(args, way, true)?).ok_or_else(|| layer_by_layer(args))
}

/// The end of that pipeline, after what runs before anything is split; `scratch` lets kernels take working memory to be faster.
///
/// # Errors
/// If the level runs layer by layer.
pub fn pipeline_from_splitting(args: &PipelineArgs, way: &Way, scratch: bool) -> Result<Pipeline, Failure> {
    let level: Level = args.level.into();
    let text =
        level.from_splitting(&choices(args, Some(way), scratch)?).ok_or_else(|| layer_by_layer(args))?;
    Ok(Pipeline::parse(&text, &Registry::builtin())?)
}

fn choices(args: &PipelineArgs, way: Option<&Way>, scratch: bool) -> Result<Choices, Failure> {
    Ok(Choices {
        handing: args.handing(),
        goal: args.goal.into(),
        way: way.cloned(),
        approximate: approximations(args)?,
        scratch,
        small_code: args.goal == GoalArg::Flash,
    })
}

fn layer_by_layer(args: &PipelineArgs) -> Failure {
    let option = match args.goal {
        _ if args.stream_input.is_some() => "--stream-input",
        _ if args.stream_output => "--stream-output",
        GoalArg::Sram => "--goal=sram",
        GoalArg::Flash => "--goal=flash",
        GoalArg::Cycles => "--pareto",
    };
    usage(format!("expected a level that runs layers row by row for {option}, got -O0"))
        .help(format!("leave -O0 or {option} out"))
        .into()
}

/// Runs a pipeline over a module and verifies it after every pass.
pub fn optimize(
    module: &mut Module,
    pipeline: &Pipeline,
    observer: &mut dyn Observer,
    cx: &PassContext<'_>,
) -> Result<(), Failure> {
    Ok(manager::run(pipeline, module, cx, true, observer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_stay_in_their_folder() {
        assert_eq!(file_stem("my model"), "my model");
        assert_eq!(file_stem("../../evil"), "_.._evil");
        assert_eq!(file_stem(".."), "model");
        assert_eq!(file_stem("a\\b\nc"), "a_b_c");
    }
}
