//! `mcunetc check`: the emitted C against the reference interpreter.
//!
//! The generated project contains the test vectors and its own test program; this command builds and runs it as a user
//! would, with the project's Makefile.

use super::compile::{compile, emit_c, golden, random_samples};
use crate::Io;
use crate::cli::{CheckArgs, CheckOn};
use crate::files;
use crate::session::{self, Failure, usage};
use crate::tensors::given_inputs;
use crate::watch::Watcher;
use mcunet_ir::{Diagnostic, Module, Tensor};
use mcunet_passes::pass::PassContext;
use std::path::Path;
use std::process::Command;

/// Compiles a model and compares the C with the interpreter on every place asked for.
pub fn run(args: &CheckArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let target = session::target(&args.target)?;
    let pipeline = session::pipeline(&args.pipeline)?;
    let imported = session::load(&args.model, &args.model_args, io)?;
    let samples = samples(args, &imported)?;
    let count = samples.len();
    let watcher = Watcher::new(args.pipeline.search_time, io.color);
    let compiled = compile(imported, &pipeline, &PassContext::new(&target).watched_by(&watcher))?;
    drop(watcher);
    let vectors = golden(compiled.reference(&args.pipeline), samples)?;
    let temporary = tempfile::tempdir()
        .map_err(|error| files::io_error("create", Path::new("a temporary folder"), &error))?;
    let folder = args.keep.as_deref().unwrap_or(temporary.path());
    files::write_all(folder, &emit_c(&compiled, &target, true, vectors)?)?;
    let mut failed = Vec::new();
    for &place in &args.on {
        let name = place_name(place);
        super::progress(io, &format!("{name}: building and running ...\n"));
        match make(folder, place)? {
            Outcome::Passed => super::print(io, &format!("{name}: {count} of {count} samples equal\n"))?,
            Outcome::Failed(log) => {
                super::print(io, &format!("{name}: FAILED\n"))?;
                failed.push(Diagnostic::error(format!("the emitted C failed on {name}")).note(log));
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(mcunet_ir::Diagnostics(failed).into()) }
}

fn samples(args: &CheckArgs, module: &Module) -> Result<Vec<Vec<Tensor>>, Failure> {
    if args.input.is_empty() {
        return random_samples(module, args.seed, args.samples.max(1));
    }
    let ports = module.functions.first().map(|function| function.inputs.as_slice()).unwrap_or_default();
    let given = given_inputs(&args.input, ports)?;
    let complete: Option<Vec<Tensor>> = given.into_iter().collect();
    let complete = complete.ok_or_else(|| {
        usage(format!("expected {} inputs, got {}", ports.len(), args.input.len()))
            .help("give one --input per input")
    })?;
    Ok(vec![complete])
}

fn place_name(place: CheckOn) -> &'static str {
    match place {
        CheckOn::Host => "host",
        CheckOn::M4 => "m4",
    }
}

enum Outcome {
    Passed,
    Failed(String),
}

/// Builds and runs the project's test on a place.
fn make(folder: &Path, place: CheckOn) -> Result<Outcome, Failure> {
    let (goal, needed) = match place {
        CheckOn::Host => ("test", &["make", "cc"][..]),
        CheckOn::M4 => ("run-qemu", &["make", "arm-none-eabi-gcc", "qemu-system-arm"][..]),
    };
    for tool in needed {
        if *tool != "cc" && !is_on_path(tool) {
            return Err(Diagnostic::error(format!("expected '{tool}' to be installed, found none on PATH"))
                .help("on Debian: apt-get install make gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm")
                .into());
        }
    }
    let mut command = Command::new("make");
    command.arg("--silent").arg("-C").arg(folder).arg(goal);
    let output = command.output().map_err(|error| files::io_error("run make in", folder, &error))?;
    if output.status.success() {
        return Ok(Outcome::Passed);
    }
    let log = [output.stdout, output.stderr].concat();
    Ok(Outcome::Failed(String::from_utf8_lossy(&log).trim_end().to_owned()))
}

fn is_on_path(tool: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|dir| dir.join(tool).is_file()))
}
