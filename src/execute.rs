//! Runs a model many times on this machine.
//!
//! Two executors with equal results: the reference interpreter, and the emitted C compiled by the host's compiler, which
//! is about four times as fast once the compiler has run for some seconds. A [`Program`] is made once; each thread asks it for a [`Runner`] of its own. Every
//! run starts from the state after `init`.

use crate::Io;
use crate::cmd::compile::{self, emit_c};
use crate::files;
use crate::session::Failure;
use mcunet_ir::interp::{Executor, Interpreter};
use mcunet_ir::module::Port;
use mcunet_ir::{Diagnostic, Diagnostics, Module, Stage, Tensor};
use mcunet_passes::pass::PassContext;
use mcunet_passes::pipeline::Pipeline;
use mcunet_passes::registry::Registry;
use mcunet_passes::target::{Core, Target};
use mcunet_passes::watch::Watch;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What turns a model into C for the host: every exact rewrite, and plain loops, which a host's compiler handles best.
const PIPELINE: &str =
    "canonicalize,fuse,eliminate-dead-channels,lower{dsp=false},pack-weights,plan-memory{in-place=false}";

/// Which executor is wanted.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wanted {
    /// C for 200 samples or more if there is a compiler for it, else the interpreter.
    #[default]
    Auto,
    /// The reference interpreter.
    Interp,
    /// The emitted C, compiled by $CC or cc.
    C,
}

/// From how many samples on compiling pays, for networks of 10 million multiply-accumulates.
const WORTH_COMPILING: usize = 200;

/// A model that is ready to run.
pub struct Program {
    module: Module,
    c: Option<HostC>,
}

impl Program {
    /// Prepares a model for a number of samples. With [`Wanted::Auto`], why C can't be used is written to standard error.
    ///
    /// # Errors
    /// C is wanted, and there is no compiler or the model has no lowering.
    pub fn new(
        module: Module,
        wanted: Wanted,
        samples: usize,
        watch: &dyn Watch,
        io: &mut Io<'_>,
    ) -> Result<Self, Failure> {
        let c = match wanted {
            Wanted::Interp => None,
            Wanted::Auto if samples < WORTH_COMPILING => None,
            Wanted::C => Some(HostC::compile(&module, watch)?),
            Wanted::Auto => match HostC::compile(&module, watch) {
                Ok(c) => Some(c),
                Err(failure) => {
                    let reason = failure.diagnostics().0.first().map(|error| error.message.clone());
                    let name = &module.name;
                    let text = format!("{name} runs in the interpreter: {}\n", reason.unwrap_or_default());
                    crate::cmd::progress(io, &text);
                    None
                }
            },
        };
        Ok(Self { module, c })
    }

    /// Which executor runs it: `c` or `interp`.
    pub fn executor(&self) -> &'static str {
        if self.c.is_some() { "c" } else { "interp" }
    }

    /// Names of its outputs.
    pub fn output_names(&self) -> Vec<String> {
        outputs(&self.module).iter().map(|port| port.name.to_string()).collect()
    }

    /// Something that runs it, for one thread.
    ///
    /// # Errors
    /// The compiled program can't be started.
    pub fn runner(&self) -> Result<Runner<'_>, Diagnostics> {
        Ok(match &self.c {
            None => Runner::Interpreter(Interpreter::new(&self.module)),
            Some(c) => Runner::C(c.start(outputs(&self.module))?),
        })
    }
}

fn outputs(module: &Module) -> &[Port] {
    module.functions.first().map(|function| function.outputs.as_slice()).unwrap_or_default()
}

/// Runs one sample after the other.
pub enum Runner<'p> {
    /// In this process.
    Interpreter(Interpreter<'p>),
    /// In a process of its own.
    C(Process<'p>),
}

impl Runner<'_> {
    /// Outputs of the model for a sample's inputs, from reset state.
    ///
    /// # Errors
    /// A failure of the executor.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Diagnostics> {
        match self {
            Runner::Interpreter(interpreter) => {
                interpreter.run(inputs).map_err(|error| Diagnostic::error(error.to_string()).into())
            }
            Runner::C(process) => process.run(inputs),
        }
    }
}

/// The emitted C as a program that reads inputs and writes outputs until its input ends.
struct HostC {
    /// Holds the program; removed with it.
    _folder: tempfile::TempDir,
    program: PathBuf,
}

impl HostC {
    fn compile(module: &Module, watch: &dyn Watch) -> Result<Self, Failure> {
        let compiler =
            std::env::var("CC").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "cc".to_owned());
        if module.stage != Stage::Imported {
            let message = format!(
                "expected a module of stage 'imported' to compile, got one of stage '{}'",
                module.stage.name()
            );
            return Err(Diagnostic::error(message).into());
        }
        let folder = tempfile::tempdir()
            .map_err(|error| files::io_error("create", Path::new("a temporary folder"), &error))?;
        let sources = sources(module, watch)?;
        files::write_all(folder.path(), &sources)?;
        let program = folder.path().join("run");
        let mut command = Command::new(&compiler);
        command.current_dir(folder.path()).args(["-std=c99", "-O2", "-ffp-contract=off", "-w", "-o", "run"]);
        command.args(sources.iter().map(|(name, _)| name).filter(|name| name.ends_with(".c")));
        let output = command.stdin(Stdio::null()).output().map_err(|error| {
            Diagnostic::error(format!("expected a C compiler, but '{compiler}' cannot be run: {error}"))
                .help("install one, set CC to its name, or say --executor=interp")
        })?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr).lines().take(12).collect::<Vec<_>>().join("\n");
            return Err(Diagnostic::error(format!("'{compiler}' cannot compile the emitted C"))
                .note(log)
                .into());
        }
        Ok(Self { _folder: folder, program })
    }

    fn start<'p>(&self, outputs: &'p [Port]) -> Result<Process<'p>, Diagnostics> {
        let failed = |error: &std::io::Error| files::io_error("run", &self.program, error);
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or_else(|| failed(&std::io::Error::other("it has no pipes")))?;
        Ok(Process { child, stdin: Some(stdin), stdout, outputs })
    }
}

/// The C files of the program.
fn sources(module: &Module, watch: &dyn Watch) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut module = module.clone();
    // The names in the program below.
    module.name = "model".into();
    let target = Target::bare(Core::CortexM4);
    let pipeline = Pipeline::parse(PIPELINE, &Registry::builtin())?;
    let compiled = compile::compile(module, &pipeline, &PassContext::new(&target).watched_by(watch))?;
    let mut files = emit_c(&compiled, &target, false, Vec::new())?;
    let function = compiled.imported.functions.first();
    let counts = function.map_or((0, 0), |function| (function.inputs.len(), function.outputs.len()));
    files.push(("run.c".to_owned(), main_program(counts.0, counts.1).into_bytes()));
    Ok(files)
}

/// The main program. What the arena held before must not matter, so it is the same for every sample.
fn main_program(inputs: usize, outputs: usize) -> String {
    let read = |i: usize| {
        let end = if i == 0 { 0 } else { 2 };
        format!(
            "        if (fread(model_input_{i}(&ctx), 1, MODEL_INPUT_{i}_BYTES, stdin) != MODEL_INPUT_{i}_BYTES)\n            return {end};\n"
        )
    };
    let write =
        |i: usize| format!("        fwrite(model_output_{i}(&ctx), 1, MODEL_OUTPUT_{i}_BYTES, stdout);\n");
    let reads: String = (0..inputs).map(read).collect();
    let writes: String = (0..outputs).map(write).collect();
    format!(
        "#include <stdio.h>
#include <string.h>
#include \"model.h\"

static uint64_t arena[(MODEL_ARENA_BYTES + 7u) / 8u + 1u];

int main(void)
{{
    model_ctx ctx;
    for (;;) {{
        memset(arena, 0xa5, sizeof arena);
        if (model_init(&ctx, arena, sizeof arena) != MODEL_OK)
            return 2;
{reads}        if (model_invoke(&ctx) != MODEL_OK)
            return 2;
{writes}        if (fflush(stdout) != 0)
            return 2;
    }}
}}
"
    )
}

/// A running program.
pub struct Process<'p> {
    child: Child,
    /// Closed to end the program.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    outputs: &'p [Port],
}

impl Process<'_> {
    /// The program reads all inputs before it writes the first output, so neither side waits for the other.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Diagnostics> {
        let failed = |error: std::io::Error| {
            Diagnostics::from(
                Diagnostic::error(format!("the compiled model ended too early: {error}"))
                    .help("--executor=interp runs the reference interpreter instead"),
            )
        };
        if let Some(stdin) = &mut self.stdin {
            for input in inputs {
                stdin.write_all(&input.data.to_bytes()).map_err(failed)?;
            }
            stdin.flush().map_err(failed)?;
        }
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for port in self.outputs {
            let ty =
                port.ty.as_tensor().ok_or_else(|| Diagnostic::error("expected outputs that are tensors"))?;
            let mut bytes = vec![0; ty.size_bytes()];
            self.stdout.read_exact(&mut bytes).map_err(failed)?;
            let tensor = Tensor::from_bytes(ty.clone(), &bytes);
            outputs.push(tensor.map_err(|error| Diagnostic::error(error.to_string()))?);
        }
        Ok(outputs)
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        self.stdin = None;
        // It ends by itself when its input does, unless a thread failed in the midst of a sample.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
