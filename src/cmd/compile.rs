//! The default command: a model in, firmware source out.

use super::alternatives::{self, Setup};
use super::{budget, pareto};
use crate::Io;
use crate::cli::{CompileArgs, Emit, GoalArg, PipelineArgs, ReportFormat};
use crate::files;
use crate::report::layers::{LayerObserver, macs};
use crate::report::{Report, html, memory_map};
use crate::session::{self, Failure, ModelFile, usage};
use crate::tensors::{RandomTensors, port_type};
use crate::watch::Watcher;
use mcunet_backends::c::C;
use mcunet_backends::{Backend, EmitOptions, GoldenVector};
use mcunet_ir::diag::Category;
use mcunet_ir::interp::{Executor, Interpreter};
use mcunet_ir::text::{PrintOptions, print};
use mcunet_ir::verify::verify;
use mcunet_ir::{Diagnostic, Module, Tensor};
use mcunet_passes::pass::PassContext;
use mcunet_passes::pipeline::Pipeline;
use mcunet_passes::registry::Registry;
use mcunet_passes::target::Target;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Random test vectors in a generated project.
const PROJECT_VECTORS: u64 = 2;

/// A model after its pipeline.
pub struct Compiled {
    /// The module as imported: the reference.
    pub imported: Module,
    /// The module after the pipeline.
    pub module: Module,
    /// Its figures.
    pub report: Report,
}

impl Compiled {
    /// What the emitted program has to agree with: the model, unless it was asked to be approximate.
    pub fn reference(&self, pipeline: &PipelineArgs) -> &Module {
        if pipeline.approximate.is_empty() { &self.imported } else { &self.module }
    }
}

/// Compiles and writes what was asked for.
pub fn run(args: &CompileArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    if args.help_passes {
        return super::print(io, &Registry::builtin().reference());
    }
    let Some(model) = &args.model else { return Err(usage("expected a model").into()) };
    let target = session::target(&args.target)?;
    let pipeline = if args.emit.contains(&Emit::Tflite) {
        tflite_pipeline(args)?
    } else {
        session::pipeline(&args.pipeline)?
    };
    let file = ModelFile::read(model, io)?;
    let imported = file.import(&args.model_args)?;
    let name = imported.name.to_string();
    let place = place(args, &name)?;
    let watcher = Watcher::new(args.pipeline.search_time, io.color);
    let setup = Setup { file, target, watcher: &watcher, memo: Rc::default() };
    let front = if args.pareto { Some(pareto::front(&setup, args)?) } else { None };
    if let Some(front) = &front {
        watcher.aside(|| super::print(io, &front.table()))?;
    }
    let cx = PassContext::new(&setup.target).watched_by(&watcher).remembering(setup.memo.clone());
    let mut compiled = compile(imported, &pipeline, &cx)
        .map_err(|failure| budget::advise(failure, &setup, &args.model_args, &args.pipeline))?;
    if !args.report.is_empty() {
        let report = &mut compiled.report;
        report.alternatives =
            alternatives::below(report.arena_bytes, &setup, &args.model_args, &args.pipeline);
    }
    watcher.clear();
    let target = &setup.target;
    compiled.report.alternatives.extend(front.iter().flat_map(pareto::Front::alternatives));
    let mut outputs = outputs(args, &compiled, target)?;
    if let Some(front) = front {
        outputs.push((format!("{}_pareto.svg", session::file_stem(&name)), front.plot(&name)?.into_bytes()));
    }
    match &place {
        Place::Folder(folder) => files::write_all(folder, &outputs)?,
        Place::Single(path) => {
            let bytes: Vec<u8> = outputs.into_iter().flat_map(|(_, bytes)| bytes).collect();
            files::write(path, &bytes, io)?;
        }
    }
    super::progress(io, &format!("{name} for {}: {}", target.name, compiled.report.summary()));
    if let Some(warning) = budget::warn_of_code(&compiled.report, target) {
        super::progress(io, &warning);
    }
    if watcher.has_ended_a_search() {
        super::progress(io, "the search ended with --search-time; more time may find a smaller arena\n");
    }
    Ok(())
}

/// Runs the pipeline over an imported module and checks the budgets of SRAM and flash.
pub fn compile(imported: Module, pipeline: &Pipeline, cx: &PassContext<'_>) -> Result<Compiled, Failure> {
    check_interface(&imported)?;
    let mut module = imported.clone();
    let mut observer = LayerObserver::default();
    let optimized = session::optimize(&mut module, pipeline, &mut observer, cx);
    let target = cx.target;
    if let Err(failure) = optimized {
        // A network may be too large in two ways; one message at a time would be a nuisance.
        let too_large = failure.category() == Category::Budget;
        let flash = if too_large { budget::check_flash(&module, observer.layers, target) } else { Ok(()) };
        return Err(match flash {
            Ok(()) => failure,
            Err(flash) => failure.and(flash),
        });
    }
    let report = Report::new(&module, target, macs(&imported), observer.layers.clone());
    budget::check_flash(&module, observer.layers, target)?;
    Ok(Compiled { imported, module, report })
}

/// A program is one function that computes something.
fn check_interface(module: &Module) -> Result<(), Failure> {
    if module.functions.len() > 1 {
        let names: Vec<String> =
            module.functions.iter().map(|function| format!("'{}'", function.name)).collect();
        let message = format!("expected a model of one function, got {}: {}", names.len(), names.join(", "));
        return Err(Diagnostic::error(message).help("compile each from a file of its own").into());
    }
    if module.functions.first().is_some_and(|function| function.outputs.is_empty()) {
        let error = Diagnostic::error("expected a model with at least one output, got none");
        return Err(error.help("export the model with the tensors that you want to read").into());
    }
    Ok(())
}

/// The passes before an export: `canonicalize` unless others are given, since those of every level end in planned loops.
fn tflite_pipeline(args: &CompileArgs) -> Result<Pipeline, Failure> {
    let lowered = args.emit.iter().find_map(|emit| match emit {
        Emit::C => Some("--emit=c"),
        Emit::Project => Some("--emit=project"),
        Emit::Svg => Some("--emit=svg"),
        Emit::Mcir | Emit::Mlir | Emit::Tflite => None,
    });
    let options = [
        (!args.report.is_empty(), "--report"),
        (args.pareto, "--pareto"),
        (args.pipeline.stream_input.is_some(), "--stream-input"),
        (args.pipeline.stream_output, "--stream-output"),
        (args.pipeline.goal != GoalArg::Cycles, "--goal"),
        (!args.pipeline.approximate.is_empty(), "--approximate"),
    ];
    let given = options.into_iter().find_map(|(given, option)| given.then_some(option));
    if let Some(option) = lowered.or(given) {
        let message =
            format!("expected --emit=tflite without what only compiled programs have, got {option}");
        return Err(usage(message)
            .help(
                "run mcunetc once for each; --pass-pipeline says which passes an exported model goes through",
            )
            .into());
    }
    let text = args.pipeline.pass_pipeline.as_deref().unwrap_or("canonicalize");
    Ok(Pipeline::parse(text, &Registry::builtin())?)
}

/// Files to write, by path relative to the output folder.
fn outputs(
    args: &CompileArgs,
    compiled: &Compiled,
    target: &Target,
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let name = session::file_stem(&compiled.module.name);
    let mut files = Vec::new();
    for emit in &args.emit {
        match emit {
            Emit::Mcir | Emit::Mlir => {
                let generic = *emit == Emit::Mlir;
                let options =
                    PrintOptions { generic, weights: args.print_weights, ..PrintOptions::default() };
                let extension = if generic { "mlir" } else { "mcir" };
                files.push((format!("{name}.{extension}"), print(&compiled.module, &options).into_bytes()));
            }
            Emit::Svg => {
                check_planned(&compiled.module, "a memory map")?;
                let function = compiled.module.functions.first();
                let picture = function.map(|function| memory_map::draw(&compiled.module.name, function));
                files.push((format!("{name}_memory.svg"), picture.unwrap_or_default().into_bytes()));
            }
            Emit::Tflite => {
                files.push((format!("{name}.tflite"), mcunet_frontends::tflite::export(&compiled.module)?));
            }
            // A project contains the sources.
            Emit::C if args.emit.contains(&Emit::Project) => {}
            Emit::C => files.extend(emit_c(compiled, target, false, Vec::new())?),
            Emit::Project => {
                let samples = random_samples(&compiled.imported, 1, PROJECT_VECTORS)?;
                let golden = golden(compiled.reference(&args.pipeline), samples)?;
                files.extend(emit_c(compiled, target, true, golden)?);
            }
        }
    }
    for (format, extension) in [(ReportFormat::Json, "json"), (ReportFormat::Html, "html")] {
        if !args.report.contains(&format) {
            continue;
        }
        let text = match format {
            ReportFormat::Json => compiled.report.to_json(),
            ReportFormat::Html => {
                check_planned(&compiled.module, "a page")?;
                let function = compiled.module.functions.first();
                let map = function.map(|function| memory_map::draw(&compiled.module.name, function));
                html::page(&compiled.report, &map.unwrap_or_default())
            }
        };
        files.push((format!("{name}_report.{extension}"), text.into_bytes()));
    }
    Ok(files)
}

/// The C sources, or a whole project, of a planned module.
pub fn emit_c(
    compiled: &Compiled,
    target: &Target,
    project: bool,
    golden: Vec<GoldenVector>,
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    check_planned(&compiled.module, "C")?;
    let verified = verify(&compiled.module)?;
    let (name, memories) = (compiled.module.name.to_string(), target.sram.clone());
    let options = EmitOptions { name, core: target.core, memories, project, golden };
    Ok(C.emit(verified, &options)?.files)
}

/// Some outputs say where things lie in memory.
fn check_planned(module: &Module, output: &str) -> Result<(), Failure> {
    if module.stage == mcunet_ir::Stage::Planned {
        return Ok(());
    }
    let message =
        format!("expected a planned module for {output}, got one of stage '{}'", module.stage.name());
    Err(usage(message).help("end the pipeline with lower,pack-weights,plan-memory").into())
}

/// Random inputs of a model, one vector per sample.
pub fn random_samples(module: &Module, seed: u64, count: u64) -> Result<Vec<Vec<Tensor>>, Failure> {
    let ports = module.functions.first().map(|function| function.inputs.as_slice()).unwrap_or_default();
    let mut random = RandomTensors::new(seed);
    (0..count)
        .map(|_| {
            ports.iter().map(|port| Ok(random.tensor(port_type(port)?))).collect::<Result<Vec<_>, Failure>>()
        })
        .collect()
}

/// What the reference interpreter says of samples.
pub fn golden(module: &Module, samples: Vec<Vec<Tensor>>) -> Result<Vec<GoldenVector>, Failure> {
    let mut interpreter = Interpreter::new(module);
    samples
        .into_iter()
        .map(|inputs| {
            let outputs = interpreter.run(&inputs).map_err(|error| Diagnostic::error(error.to_string()))?;
            Ok(GoldenVector { inputs, outputs })
        })
        .collect()
}

enum Place {
    Folder(PathBuf),
    Single(PathBuf),
}

/// Where the output goes: a folder, or for a single text a file or standard output.
fn place(args: &CompileArgs, name: &str) -> Result<Place, Failure> {
    let single = matches!(args.emit[..], [Emit::Mcir | Emit::Mlir | Emit::Svg | Emit::Tflite])
        && args.report.is_empty()
        && !args.pareto;
    let Some(path) = &args.output else { return Ok(Place::Folder(session::file_stem(name).into())) };
    if single && (path == Path::new("-") || path.extension().is_some()) {
        return Ok(Place::Single(path.clone()));
    }
    if path == Path::new("-") || names_a_text(path) {
        let message = format!("expected a folder for several files, got '{}'", path.display());
        return Err(usage(message)
            .help("only --emit=mcir, --emit=mlir, --emit=svg or --emit=tflite alone fits one file; a report lies beside the output")
            .into());
    }
    Ok(Place::Folder(path.clone()))
}

/// Whether a path looks like one of the files that are written, so that nobody wants a folder of that name.
fn names_a_text(path: &Path) -> bool {
    let extensions = ["c", "h", "mcir", "mlir", "json", "html", "svg", "tflite"];
    path.extension().is_some_and(|found| extensions.iter().any(|extension| found == *extension))
}
