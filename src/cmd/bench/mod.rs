//! `mcunetc bench`: the emitted C on simulated cores, layer by layer, beside what the cost model expects.
//!
//! One invocation on a random input is measured, from the input in memory to the output; the firmware compares its output
//! with the interpreter's, and figures of a program that computes something else are not shown.

mod firmware;
mod table;
mod tools;

use super::compile::{Compiled, compile, emit_c, golden, random_samples};
use crate::Io;
use crate::cli::BenchArgs;
use crate::files;
use crate::session::{self, Failure, ModelFile};
use crate::watch::Watcher;
use clap::ValueEnum;
use firmware::Firmware;
use mcunet_ir::Diagnostic;
use mcunet_passes::cost;
use mcunet_passes::pass::PassContext;
use mcunet_passes::target::{Core, Target};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Seed of the input.
const SEED: u64 = 1;

/// Prefix of the firmware's names, whatever the model is called.
const PREFIX: &str = "model";

/// A simulated core.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// Cortex-M0+.
    M0plus,
    /// Cortex-M3.
    M3,
    /// Cortex-M4 with FPU.
    M4,
    /// Cortex-M7 with FPU.
    M7,
    /// Cortex-M33 with FPU.
    M33,
}

impl On {
    fn core(self) -> Core {
        match self {
            On::M0plus => Core::CortexM0plus,
            On::M3 => Core::CortexM3,
            On::M4 => Core::CortexM4,
            On::M7 => Core::CortexM7,
            On::M33 => Core::CortexM33,
        }
    }

    /// The simulator's name for it.
    fn simulated(self) -> &'static str {
        match self {
            On::M0plus => "m0",
            On::M3 => "m3",
            On::M4 => "m4",
            On::M7 => "m7",
            On::M33 => "m33",
        }
    }

    /// What gcc is told.
    fn flags(self) -> &'static [&'static str] {
        match self {
            On::M0plus => &["-mcpu=cortex-m0plus"],
            On::M3 => &["-mcpu=cortex-m3"],
            On::M4 => &["-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"],
            On::M7 => &["-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"],
            On::M33 => &["-mcpu=cortex-m33", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"],
        }
    }

    /// Linker script of its board, within the kit.
    fn script(self) -> &'static str {
        match self {
            On::M33 => "mps2-an505.ld",
            _ => "mps2.ld",
        }
    }
}

/// The figures; keys are stable.
#[derive(Serialize, Debug)]
struct Bench {
    model: String,
    cores: BTreeMap<On, Measured>,
}

/// What was measured on a core.
#[derive(Serialize, Debug)]
struct Measured {
    #[serde(flatten)]
    figures: Figures,
    /// Stack below the call.
    stack_bytes: u64,
    arena_bytes: u64,
    /// The model's code in flash.
    code_bytes: u64,
    /// The model's constants in flash.
    weight_bytes: u64,
    layers: Vec<Row>,
}

/// What a layer, or the whole, takes.
#[derive(Serialize, Debug, Clone, Copy)]
struct Figures {
    macs: u64,
    instructions: u64,
    cycles: u64,
    predicted_instructions: u64,
    predicted_cycles: u64,
}

impl Figures {
    /// By how much the cost model is off, as a part of what was measured.
    fn off(&self) -> f64 {
        self.predicted_cycles as f64 / self.cycles.max(1) as f64 - 1.0
    }
}

/// A layer.
#[derive(Serialize, Debug)]
struct Row {
    index: usize,
    op: String,
    origin: String,
    #[serde(flatten)]
    figures: Figures,
    code_bytes: u64,
    weight_bytes: u64,
}

/// The simulator's report, as far as it is read.
#[derive(Deserialize)]
struct Simulated {
    exit_code: i32,
    regions: BTreeMap<String, Region>,
}

#[derive(Deserialize)]
struct Region {
    instructions: u64,
    cycles: u64,
    stack_bytes: u64,
    functions: Vec<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    inclusive_cycles: u64,
    inclusive_instructions: u64,
}

/// Measures a model on every core asked for.
pub fn run(args: &BenchArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let kit = tools::kit(args.simulator.as_deref())?;
    let pipeline = session::pipeline(&args.pipeline)?;
    let given = session::target(&args.target)?;
    let file = ModelFile::read(&args.model, io)?;
    let mut bench = Bench { model: String::new(), cores: BTreeMap::new() };
    for &on in &args.on {
        let target = Target { core: on.core(), ..given.clone() };
        let imported = file.import(&args.model_args)?;
        bench.model = imported.name.to_string();
        super::progress(io, &format!("{}: compiling for {} ...\n", bench.model, on.core().name()));
        let watcher = Watcher::new(args.pipeline.search_time, io.color);
        let compiled = compile(imported, &pipeline, &PassContext::new(&target).watched_by(&watcher))?;
        drop(watcher);
        super::progress(io, &format!("{}: simulating {} ...\n", bench.model, on.core().name()));
        bench.cores.insert(on, measure(args, on, &target, compiled, &kit)?);
    }
    let text = match args.json {
        // Serializing plain numbers and strings cannot fail.
        true => format!("{}\n", serde_json::to_string_pretty(&bench).unwrap_or_default()),
        false => table::render(&bench, args.totals),
    };
    super::print(io, &text)
}

/// Builds and simulates a compiled model.
fn measure(
    args: &BenchArgs,
    on: On,
    target: &Target,
    mut compiled: Compiled,
    kit: &Path,
) -> Result<Measured, Failure> {
    let samples = random_samples(&compiled.imported, SEED, 1)?;
    let vectors = golden(compiled.reference(&args.pipeline), samples)?;
    compiled.module.name = PREFIX.into();
    let project = emit_c(&compiled, target, true, vectors)?;
    let temporary = tempfile::tempdir()
        .map_err(|error| files::io_error("create", Path::new("a temporary folder"), &error))?;
    let folder = match &args.keep {
        Some(folder) => folder.join(on.simulated()),
        None => temporary.path().to_owned(),
    };
    let firmware = firmware::build(on, &project, PREFIX, &args.optimize, kit, &folder)?;
    let region = simulate(args, on, &firmware, kit, &folder)?;
    Ok(measured(&compiled, target, &firmware, &region))
}

/// Runs the firmware on the simulator.
fn simulate(
    args: &BenchArgs,
    on: On,
    firmware: &Firmware,
    kit: &Path,
    folder: &Path,
) -> Result<Region, Failure> {
    let report = folder.join("report.json");
    let mut command = Command::new("python3");
    command.arg(kit.join("cortexm-run")).args(["--cpu", on.simulated(), "--timeout", "3600"]);
    if let Some(cycles) = args.flash_wait {
        command.arg(format!("--flash-ws={cycles}"));
    }
    // It ends as the program does; the report has the program's status, too.
    let ended = tools::run(command.arg("--json").arg(&report).arg(&firmware.elf));
    let Ok(found) = files::read_file(&report) else {
        return Err(ended.err().unwrap_or_else(|| Diagnostic::error("the simulator wrote no report").into()));
    };
    let unreadable = |error: serde_json::Error| {
        Diagnostic::error(format!("the simulator's report cannot be read: {error}"))
    };
    let mut found: Simulated = serde_json::from_slice(&found).map_err(unreadable)?;
    if found.exit_code != 0 {
        let core = on.core().name();
        let message = format!("the emitted C computes other outputs on {core} than the interpreter");
        return Err(Diagnostic::error(message)
            .note(format!("the firmware ended with status {}", found.exit_code))
            .help("this is a bug of mcunetc: please report it with the model")
            .into());
    }
    found.regions.remove("bench").ok_or_else(|| {
        Diagnostic::error("expected a measured region in the simulator's report, got none").into()
    })
}

/// Puts together what was measured and what was expected.
fn measured(compiled: &Compiled, target: &Target, firmware: &Firmware, region: &Region) -> Measured {
    let predicted = cost::of_module(&compiled.module, target);
    let report = &compiled.report;
    let number = |name: &str| name.strip_prefix("layer_")?.split('_').next()?.parse::<usize>().ok();
    let functions: BTreeMap<usize, &Function> =
        region.functions.iter().filter_map(|function| Some((number(&function.name)?, function))).collect();
    let row = |(index, expected): (usize, &cost::Figures)| {
        let layer = report.layers.get(index);
        let function = functions.get(&index);
        Row {
            index,
            // Outputs that are copied at the end are kernels, too, but no layers.
            op: layer.map_or_else(|| "copy".to_owned(), |layer| layer.op.clone()),
            origin: layer.map(|layer| layer.origin.clone()).unwrap_or_default(),
            figures: Figures {
                macs: layer.map_or(0, |layer| layer.macs),
                instructions: function.map_or(0, |function| function.inclusive_instructions),
                cycles: function.map_or(0, |function| function.inclusive_cycles),
                predicted_instructions: expected.instructions,
                predicted_cycles: expected.cycles,
            },
            code_bytes: firmware.layers.get(&index).copied().unwrap_or(0),
            weight_bytes: layer.map_or(0, |layer| layer.weight_bytes as u64),
        }
    };
    Measured {
        figures: Figures {
            macs: report.effective_macs,
            instructions: region.instructions,
            cycles: region.cycles,
            predicted_instructions: predicted.total.instructions,
            predicted_cycles: predicted.total.cycles,
        },
        stack_bytes: region.stack_bytes,
        arena_bytes: report.arena_bytes as u64,
        code_bytes: firmware.code_bytes,
        weight_bytes: firmware.constant_bytes,
        layers: predicted.layers.iter().enumerate().map(row).collect(),
    }
}
