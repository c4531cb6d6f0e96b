//! The command line as types. Help on passes comes from their registry, help on targets from their files.

use crate::cmd::bench::On;
use crate::data::args::DataArgs;
use crate::execute::Wanted;
use clap::{Args, Parser, Subcommand, ValueEnum};
use mcunet_frontends::IoType;
use mcunet_passes::cascade::stream::{Handing, Streaming};
use mcunet_passes::patch_split::Goal;
use mcunet_passes::pipeline::Level;
use mcunet_passes::quantize::mixed::MaxDrop;
use mcunet_passes::quantize::range::{Estimator, PERCENTILE, Ranges};
use mcunet_passes::quantize::scheme::Activations;
use std::path::PathBuf;
use std::time::Duration;

/// Compiles a trained neural network to firmware source for a microcontroller.
///
/// `mcunetc model.tflite` writes C99 without malloc, interpreter or runtime library to `./model/`.
#[derive(Parser, Debug)]
#[command(name = "mcunetc", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(arg_required_else_help = true)]
#[command(after_help = "Examples:
  mcunetc model.tflite                              write model/model.{h,c} and model/model_weights.c
  mcunetc model.tflite --emit=project -o demo       a project with test vectors, Makefile and a QEMU example
  mcunetc model.tflite --target stm32f746 --report=html   a page on memory, flash and layers
  mcunetc model.tflite --emit=tflite --io-type=int8 -o int8.tflite   the same model with int8 inputs and outputs
  mcunetc check model.tflite --on=host,m4           compile and run the C, compare with the interpreter
  mcunetc cost model.tflite                         estimated cycles of each layer
  mcunetc bench model.tflite --on=m4,m7             cycles on simulated cores, beside the estimate
  mcunetc eval model.tflite --data images           accuracy over a folder of pictures for each class
  mcunetc inspect model.tflite                      operators, shapes, quantization, multiply-accumulates

Exit codes: 0 done, 1 the input can't be compiled, 2 wrong usage, 3 a budget is not met.")]
pub struct Cli {
    /// Other things to do than to compile.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Compile a model.
    #[command(flatten)]
    pub compile: CompileArgs,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run passes over a module and print the result: our mlir-opt.
    Opt(OptArgs),
    /// Run a model on given inputs and write its outputs.
    Run(RunArgs),
    /// Compile and run the emitted C, and compare it with the interpreter.
    Check(CheckArgs),
    /// Show operators, shapes, quantization and multiply-accumulates.
    Inspect(InspectArgs),
    /// Show what each layer of the compiled program costs: estimated cycles and instructions.
    Cost(CostArgs),
    /// Measure the emitted C on simulated cores: instructions, cycles, stack and flash, layer by layer.
    Bench(BenchArgs),
    /// Turn a float model into one of integers, with ranges measured on samples of its inputs.
    Quantize(QuantizeArgs),
    /// Measure accuracy over a data set, or how far a model is from a reference.
    Eval(EvalArgs),
    /// List the devices that can be compiled for.
    Targets(TargetsArgs),
}

/// What to write.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Emit {
    /// C sources: NAME.h, NAME.c, NAME_weights.c.
    C,
    /// The C sources with Makefile, CMakeLists.txt, test vectors and a bare-metal example for QEMU.
    Project,
    /// The module after the pipeline, in mcunetc's own text.
    Mcir,
    /// The same in MLIR's generic form, for mlir-opt --allow-unregistered-dialect.
    Mlir,
    /// The arena over time as a picture, with its peak: NAME_memory.svg.
    Svg,
    /// The model as NAME.tflite, after `canonicalize` or the given --pass-pipeline instead of a level's passes.
    Tflite,
}

/// Type of the model's inputs and outputs.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoTypeArg {
    /// As the model says.
    Model,
    /// Quantized to int8; QUANTIZE and DEQUANTIZE at the borders are dropped or added.
    Int8,
    /// Quantized to uint8.
    Uint8,
    /// Floats.
    Float32,
}

impl From<IoTypeArg> for IoType {
    fn from(arg: IoTypeArg) -> Self {
        match arg {
            IoTypeArg::Model => IoType::Model,
            IoTypeArg::Int8 => IoType::Int8,
            IoTypeArg::Uint8 => IoType::Uint8,
            IoTypeArg::Float32 => IoType::Float32,
        }
    }
}

/// Optimization level.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LevelArg {
    /// Reference lowering, layer by layer, nothing in place.
    #[value(name = "0")]
    O0,
    /// Fast and small.
    #[value(name = "2")]
    O2,
    /// Flash first.
    #[value(name = "s")]
    Os,
}

impl From<LevelArg> for Level {
    fn from(arg: LevelArg) -> Self {
        match arg {
            LevelArg::O0 => Level::O0,
            LevelArg::O2 => Level::O2,
            LevelArg::Os => Level::Os,
        }
    }
}

/// Form of the report.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReportFormat {
    /// NAME_report.json: the figures, with stable keys.
    Json,
    /// NAME_report.html: a page to read or print, with the memory map; it needs no other file.
    Html,
}

/// The device that is compiled for.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// Device: a name from `mcunetc targets`, or a TOML file of your own.
    #[arg(long, value_name = "NAME|FILE", default_value = "cortex-m4")]
    pub target: String,
    /// Processor core instead of the target's, such as cortex-m7.
    #[arg(long, value_name = "CORE")]
    pub core: Option<String>,
    /// SRAM for the arena instead of the target's, such as 64KiB; exceeding it is an error.
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub sram: Option<u64>,
    /// Flash instead of the target's, such as 1MiB: layers share code as far as it takes for constants and code, by estimate, to
    /// fit. Constants that exceed it are an error.
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub flash: Option<u64>,
    /// Clock in Hz instead of the target's.
    #[arg(long, value_name = "HZ")]
    pub clock: Option<u64>,
}

/// How the model is read.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Type of inputs and outputs.
    #[arg(long, value_enum, default_value = "model", value_name = "TYPE")]
    pub io_type: IoTypeArg,
    /// Name in the generated code; the file's name by default.
    #[arg(long, value_parser = parse_name)]
    pub name: Option<String>,
}

/// What to save.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum GoalArg {
    /// Time, within the memory that there is.
    Cycles,
    /// Working memory.
    Sram,
    /// Code and constants.
    Flash,
}

impl From<GoalArg> for Goal {
    fn from(arg: GoalArg) -> Self {
        match arg {
            GoalArg::Cycles | GoalArg::Flash => Goal::Fit,
            GoalArg::Sram => Goal::Sram,
        }
    }
}

/// How often rows of an input can be handed over.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamArg {
    /// From the first to the last, as from a camera.
    Once,
    /// As often as they are wanted, as from a file or another memory.
    Again,
}

impl From<StreamArg> for Streaming {
    fn from(arg: StreamArg) -> Self {
        match arg {
            StreamArg::Once => Streaming::Once,
            StreamArg::Again => Streaming::Again,
        }
    }
}

impl PipelineArgs {
    /// What is handed over row by row.
    pub fn handing(&self) -> Handing {
        let input = self.stream_input.map_or(Streaming::No, Streaming::from);
        Handing { input, output: self.stream_output }
    }

    /// Whether anything is.
    pub fn streams(&self) -> bool {
        self.stream_input.is_some() || self.stream_output
    }
}

/// Which passes run.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Optimization")]
pub struct PipelineArgs {
    /// Optimization level: -O0, -O2 or -Os.
    #[arg(short = 'O', value_enum, default_value = "2", value_name = "LEVEL")]
    pub level: LevelArg,
    /// Passes to run instead of the level's, such as 'canonicalize,lower,pack-weights,plan-memory'.
    #[arg(long, value_name = "PASSES")]
    pub pass_pipeline: Option<String>,
    /// Let the program ask for the rows of its inputs when it needs them: NAME_invoke_rows instead of NAME_invoke. With
    /// `again` the source can hand them over several times, once for each tile of a split network.
    #[arg(long, conflicts_with = "pass_pipeline", value_name = "once|again", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "once", value_enum)]
    pub stream_input: Option<StreamArg>,
    /// Let the program hand the rows of its outputs over as soon as they are made, where they are made by rows:
    /// NAME_invoke_rows instead of NAME_invoke.
    #[arg(long, conflicts_with = "pass_pipeline")]
    pub stream_output: bool,
    /// What to save where one thing costs the other. Within the SRAM that there is, `cycles` computes nothing twice if that
    /// fits, and else as little as possible; `sram` makes the arena as small as can be; `flash` the code, more so than -Os: layers
    /// share functions wherever they can.
    #[arg(long, conflicts_with = "pass_pipeline", value_enum, default_value = "cycles", value_name = "GOAL")]
    pub goal: GoalArg,
    /// Seconds to search for a smaller arena, all of which are used unless one is proved to be the smallest. Without, the
    /// search ends by itself, after a few seconds, and results are the same on every machine.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub search_time: Option<Duration>,
    /// Rewrite by this rule as well, though results then differ a little from the model's; may be given several times.
    /// docs/fusion.md says what each rule does and how far it is off.
    #[arg(long, conflicts_with = "pass_pipeline", value_delimiter = '+', value_name = "RULE")]
    pub approximate: Vec<String>,
}

/// Arguments of the default command.
#[derive(Args, Debug)]
pub struct CompileArgs {
    /// Model: .tflite or .mcir; `-` reads standard input.
    #[arg(required = true)]
    pub model: Option<PathBuf>,
    /// What to write; may be given several times.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "c")]
    pub emit: Vec<Emit>,
    /// Folder for the output (a file or `-` for --emit=mcir, mlir, svg or tflite alone, without --report); ./NAME by default.
    #[arg(short, long, value_name = "DIR|FILE|-")]
    pub output: Option<PathBuf>,
    /// Write a report of memory, flash and layers beside the output; may be given several times.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FORMAT")]
    pub report: Vec<ReportFormat>,
    /// Print which arenas the network can run in and what each costs, and write a plot of that, NAME_pareto.svg.
    #[arg(long, conflicts_with = "pass_pipeline")]
    pub pareto: bool,
    /// Print weights in --emit=mcir and mlir instead of leaving them out.
    #[arg(long)]
    pub print_weights: bool,
    /// Explain every pass and its options, and exit.
    #[arg(long, exclusive = true)]
    pub help_passes: bool,
    #[command(flatten)]
    pub model_args: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
}

/// Arguments of `opt`.
#[derive(Args, Debug)]
pub struct OptArgs {
    /// Module or model; `-` reads standard input.
    pub file: PathBuf,
    /// Passes to run, such as 'canonicalize,lower{dsp=false}'; none by default.
    #[arg(long, value_name = "PASSES", default_value = "", hide_default_value = true)]
    pub pass_pipeline: String,
    /// Where the result goes.
    #[arg(short, long, default_value = "-", value_name = "FILE|-")]
    pub output: PathBuf,
    /// Print the module before these passes, to standard error.
    #[arg(long, value_name = "PASS", value_delimiter = ',')]
    pub print_ir_before: Vec<String>,
    /// Print the module after these passes, to standard error.
    #[arg(long, value_name = "PASS", value_delimiter = ',')]
    pub print_ir_after: Vec<String>,
    /// Print the module before every pass.
    #[arg(long)]
    pub print_ir_before_all: bool,
    /// Print the module after every pass.
    #[arg(long)]
    pub print_ir_after_all: bool,
    /// Verify the module after every pass.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub verify_each: bool,
    /// Print how long each pass took, to standard error.
    #[arg(long)]
    pub timing: bool,
    /// Print the statistics of each pass, to standard error.
    #[arg(long)]
    pub stats: bool,
    /// Print what each pass changed as a textual diff, to standard error.
    #[arg(long)]
    pub diff: bool,
    /// Print MLIR's generic form.
    #[arg(long)]
    pub print_generic: bool,
    /// Print locations.
    #[arg(long)]
    pub print_locations: bool,
    /// Print weights instead of leaving them out.
    #[arg(long)]
    pub print_weights: bool,
    /// Treat the input as several modules, separated by lines `// -----`.
    #[arg(long)]
    pub split_input_file: bool,
    /// Check that exactly the errors announced by `// expected-error {{...}}` comments occur.
    #[arg(long)]
    pub verify_diagnostics: bool,
    /// Run only the first N passes, to find the one that breaks something.
    #[arg(long, value_name = "N")]
    pub bisect_limit: Option<usize>,
    /// If a pass fails, write the module as it was before that pass, with the command that repeats the failure.
    #[arg(long, value_name = "FILE")]
    pub reproducer: Option<PathBuf>,
    /// Type of a model's inputs and outputs.
    #[arg(long, value_enum, default_value = "model", value_name = "TYPE")]
    pub io_type: IoTypeArg,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Which executor runs the model.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExecutorArg {
    /// The reference interpreter of tensor operations.
    Interp,
    /// The interpreter of the lowered program, after the pipeline, with memory checks.
    Lowered,
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Model: .tflite or .mcir.
    pub model: PathBuf,
    /// Input, by position or name: `input=image.npy`, `0=frame.bin` or just a file. `.npy`, or raw little-endian bytes.
    #[arg(short, long, value_name = "[I=]FILE")]
    pub input: Vec<String>,
    /// Fill inputs that are not given with random data from this seed.
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Folder for out0.bin, out1.bin, ...; `-` prints the outputs as text.
    #[arg(short, long, default_value = ".", value_name = "DIR|-")]
    pub output: PathBuf,
    /// Write .npy instead of raw bytes.
    #[arg(long)]
    pub npy: bool,
    /// Executor.
    #[arg(long, value_enum, default_value = "interp")]
    pub executor: ExecutorArg,
    #[command(flatten)]
    pub model_args: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
}

/// Where `check` runs the emitted C.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckOn {
    /// The host's C compiler ($CC, or cc).
    Host,
    /// arm-none-eabi-gcc and a simulated Cortex-M4 (QEMU mps2-an386).
    M4,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Model: .tflite or .mcir.
    pub model: PathBuf,
    /// Where to run the emitted C.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "host")]
    pub on: Vec<CheckOn>,
    /// Input, by position or name, as for `run`; all inputs of one sample.
    #[arg(short, long, value_name = "[I=]FILE")]
    pub input: Vec<String>,
    /// Random samples to try when no input is given.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub samples: u64,
    /// Seed of the random samples.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep the generated project here instead of in a temporary folder.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    #[command(flatten)]
    pub model_args: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
}

/// Arguments of `inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// Model: .tflite or .mcir.
    pub model: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model_args: ModelArgs,
}

/// Arguments of `cost`.
#[derive(Args, Debug)]
pub struct CostArgs {
    /// Model: .tflite or .mcir.
    pub model: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model_args: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
}

/// Arguments of `bench`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  mcunetc bench model.tflite                        each layer on a Cortex-M4
  mcunetc bench model.tflite --on=m4,m7 --totals    two lines a core
  mcunetc bench model.tflite --json | jq .cores.m4.cycles

The firmware is built with arm-none-eabi-gcc and runs on QEMU; cycles are estimated from the executed instructions, with
memory without wait states unless --flash-wait is given (bench/cortexm/README.md says how well that agrees with hardware).
The program compares its outputs with the interpreter's.")]
pub struct BenchArgs {
    /// Model: .tflite or .mcir.
    pub model: PathBuf,
    /// Simulated cores; each gets a program of its own.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "m4", value_name = "CORES")]
    pub on: Vec<On>,
    /// Leave the layers out.
    #[arg(long, conflicts_with = "json")]
    pub totals: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// How the C compiler optimizes.
    #[arg(long, default_value = "-O3", allow_hyphen_values = true, value_name = "FLAG")]
    pub optimize: String,
    /// Cycles that a read from flash waits if it misses the read buffer, such as 5 for an STM32L4 at 120 MHz.
    #[arg(long, value_name = "CYCLES")]
    pub flash_wait: Option<u32>,
    /// Folder of the simulator; by default that in the environment's MCUNETC_CORTEXM, or bench/cortexm of the sources.
    #[arg(long, value_name = "DIR")]
    pub simulator: Option<PathBuf>,
    /// Keep the firmware and the simulator's report here, in a folder for each core.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    #[command(flatten)]
    pub model_args: ModelArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
}

/// What is measured besides the difference from a reference.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskArg {
    /// Reconstruction if the one output has the shape of the one input, else classification.
    Auto,
    /// The greatest number of an output is the class.
    Classification,
    /// An output is compared with the input; labels say 0 for normal and 1 for anomalous.
    Reconstruction,
}

/// Arguments of `eval`.
#[derive(Args, Debug)]
#[command(override_usage = "mcunetc eval <MODEL> --data <[INPUT=]PATH>... [OPTIONS]")]
#[command(after_long_help = "Examples:
  mcunetc eval vww.tflite --data images --labels y_labels.csv      accuracy; labels by file name
  mcunetc eval vww.tflite --data images/                           a folder for each class
  mcunetc eval vww.tflite --data images --reference float.tflite   agreement with the float model, SQNR of each output
  mcunetc eval ic.tflite --data cifar/*.bin --data-type=uint8      raw bytes that are pixels
  mcunetc eval ad.tflite --data x.npy --labels y.npy               an autoencoder: mean square error and AUC
  mcunetc eval model.tflite --data test.npz --json | jq .accuracy  inputs by name, and an array 'y' of classes

Results go to standard output, progress and notes to standard error. docs/evaluation.md says what the figures mean.")]
pub struct EvalArgs {
    /// Model: .tflite or .mcir.
    pub model: PathBuf,
    /// Compare with this model on the same inputs, in real numbers.
    #[arg(long, value_name = "MODEL")]
    pub reference: Option<PathBuf>,
    /// What the model does.
    #[arg(long, value_enum, default_value = "auto")]
    pub task: TaskArg,
    /// The output that gives the class, by position or name; needed where there are several.
    #[arg(long, value_name = "OUTPUT")]
    pub output: Option<String>,
    /// What runs the models; results are the same.
    #[arg(long, value_enum, default_value = "auto")]
    pub executor: Wanted,
    /// Threads; as many as there are processors by default.
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub jobs: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Type of the models' inputs and outputs.
    #[arg(long, value_enum, default_value = "model", value_name = "TYPE")]
    pub io_type: IoTypeArg,
    #[command(flatten)]
    pub data: DataArgs,
}

/// Integers of activations.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum SchemeArg {
    /// int8 activations and weights.
    Int8,
    /// int16 activations with int8 weights: twice the working memory, far less noise.
    #[value(name = "int16x8")]
    Int16x8,
}

impl From<SchemeArg> for Activations {
    fn from(arg: SchemeArg) -> Self {
        match arg {
            SchemeArg::Int8 => Activations::Int8,
            SchemeArg::Int16x8 => Activations::Int16,
        }
    }
}

/// Bits of weights.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum WeightsArg {
    /// -127..127, a byte each.
    Int8,
    /// -7..7, two in a byte of flash.
    Int4,
    /// -1..1, four in a byte of flash.
    Int2,
    /// 8, 4 or 2 for each layer, as --flash and --max-drop allow.
    Mixed,
}

/// How weights become integers.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoundingArg {
    /// Each to the nearest integer.
    Nearest,
    /// So that layers make the least error on the samples.
    Learned,
}

/// Arguments of `quantize`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  mcunetc quantize model.tflite --data samples/ -o int8.tflite   int8, with the best of three ways to find ranges
  mcunetc quantize model.tflite --data samples/ --range=mse -o int8.tflite
  mcunetc quantize model.tflite --data samples/ --rounding=learned --bias-correction -o int8.tflite
  mcunetc quantize model.tflite --data samples/ --scheme=int16x8 -o 16x8.tflite
  mcunetc quantize model.tflite --data samples/ --weights=mixed --flash=96KiB --rounding=learned -o mixed.tflite

The report says for every tensor its range on the samples, scale and zero point, and how far the integers are off (SQNR, the
signal's power over that of the difference, in dB: 6 dB more are half the error). A tensor far worse than the one before it
is where to look. docs/quantization.md explains the choices and what they are worth.")]
pub struct QuantizeArgs {
    /// Model of floats: .tflite or .mcir; `-` reads standard input.
    pub model: PathBuf,
    /// Where the quantized model goes: a name that ends in .tflite, or text (with weights).
    #[arg(short, long, value_name = "FILE|-")]
    pub output: PathBuf,
    /// Integers of activations.
    #[arg(long, value_enum, default_value = "int8", value_name = "SCHEME")]
    pub scheme: SchemeArg,
    /// Bits of weights.
    #[arg(long, value_enum, default_value = "int8", value_name = "WEIGHTS")]
    pub weights: WeightsArg,
    /// With --weights=mixed: constants of at most so many bytes, such as 128KiB. Code comes on top.
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub flash: Option<u64>,
    /// With --weights=mixed: what may be lost beyond what 8 bits lose. `1%` of the checked samples may have their greatest output
    /// elsewhere; `3dB` is for outputs that are no classes.
    #[arg(long, value_parser = parse_max_drop, default_value = "1%", value_name = "LOSS")]
    pub max_drop: MaxDrop,
    /// Working memory that the compiled model may need, such as 64KiB; more is an error.
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub sram: Option<u64>,
    /// Samples that results are measured on, in the same form as --data, and that nothing is learned from. Without, every fourth
    /// sample of --data is kept for that if there are at least 16.
    #[arg(long, num_args = 1.., value_name = "[INPUT=]PATH")]
    pub check_data: Vec<String>,
    /// Another model of the same inputs and outputs, such as one that was quantized elsewhere: it is measured on the same samples.
    #[arg(long, value_name = "MODEL")]
    pub compare: Option<PathBuf>,
    /// How ranges follow from the samples: `minmax` covers all that was seen, `percentile` (of 99.99 %, or as `percentile=99.9`)
    /// leaves out the tails, `mse` takes the range with the least squared error. `best` tries all three, and takes the one whose
    /// outputs are nearest to the float model's on the samples.
    #[arg(long, value_parser = parse_range, default_value = "best", value_name = "RANGE")]
    pub range: Ranges,
    /// Even out the channels of neighbouring layers before anything is measured. Helps where a few channels are far larger
    /// than the others; weights that have a scale per channel gain little.
    #[arg(long)]
    pub equalize: bool,
    /// Shift biases by the mean error that quantization makes of each channel on the samples.
    #[arg(long)]
    pub bias_correction: bool,
    /// How weights become integers: each the nearest, or `learned`, so that the results of a layer are nearest on the samples.
    #[arg(long, value_enum, default_value = "nearest", value_name = "ROUNDING")]
    pub rounding: RoundingArg,
    /// One weight scale for each fully connected layer instead of one per output, as runtimes of before 2024 want it.
    #[arg(long)]
    pub linear_per_tensor: bool,
    /// Type of inputs and outputs: floats with conversions at the borders, or integers.
    #[arg(long, value_enum, default_value = "model", value_name = "TYPE")]
    pub io_type: IoTypeArg,
    /// Name of the model; the file's name by default.
    #[arg(long, value_parser = parse_name)]
    pub name: Option<String>,
    /// Samples of the model's input: some tens of typical ones. What they never show, the integers may not hold.
    #[command(flatten)]
    pub data: DataArgs,
}

impl QuantizeArgs {
    /// How the float model is read.
    pub fn model_args(&self) -> ModelArgs {
        ModelArgs { io_type: IoTypeArg::Model, name: self.name.clone() }
    }

    /// How a model is read that is compared with the float one.
    pub fn as_floats(&self) -> ModelArgs {
        ModelArgs { io_type: IoTypeArg::Float32, name: None }
    }
}

/// Reads a loss: `1%` or `3dB`.
fn parse_max_drop(text: &str) -> Result<MaxDrop, String> {
    let error = || format!("expected a loss such as 1% (of top 1) or 3dB (of SQNR), got '{text}'");
    let number = |text: &str| text.trim().parse().ok().filter(|loss: &f64| loss.is_finite() && *loss >= 0.0);
    let lower = text.to_ascii_lowercase();
    match (lower.strip_suffix('%'), lower.strip_suffix("db")) {
        (Some(percent), _) => number(percent).map(MaxDrop::Top1),
        (_, Some(decibels)) => number(decibels).map(MaxDrop::Decibels),
        _ => None,
    }
    .ok_or_else(error)
}

/// Reads a range estimator: `best`, `minmax`, `percentile`, `percentile=99.9`, `mse`.
fn parse_range(text: &str) -> Result<Ranges, String> {
    let error = || {
        format!(
            "expected best, minmax, percentile, percentile=NUMBER above 50 and at most 100, or mse, got '{text}'"
        )
    };
    let estimator = match text.split_once('=') {
        None if text == "best" => return Ok(Ranges::Best),
        None if text == "minmax" => Estimator::MinMax,
        None if text == "mse" => Estimator::Mse,
        None if text == "percentile" => Estimator::Percentile(PERCENTILE),
        Some(("percentile", percent)) => {
            let percent: f64 = percent.parse().map_err(|_| error())?;
            if !(percent > 50.0 && percent <= 100.0) {
                return Err(error());
            }
            Estimator::Percentile(percent / 100.0)
        }
        _ => return Err(error()),
    };
    Ok(Ranges::By(estimator))
}

/// Arguments of `targets`.
#[derive(Args, Debug)]
pub struct TargetsArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Reads a name, which also names files and folders.
fn parse_name(text: &str) -> Result<String, String> {
    let fits =
        text.contains(char::is_alphanumeric) && !text.contains(['/', '\\', ':']) && !text.starts_with('.');
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected a name with a letter or digit, and no path".to_owned())
    }
}

/// Reads a size: `65536`, `64KiB`, `320kB`, `1MiB`, `1.5MB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let error = || format!("expected a size such as 65536, 64KiB, 320kB or 1MiB, got '{text}'");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.replace('_', "").parse().map_err(|_| error())?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kib" | "k" => 1024.0,
        "kb" => 1e3,
        "mib" | "m" => 1024.0 * 1024.0,
        "mb" => 1e6,
        _ => return Err(error()),
    };
    let bytes = number * factor;
    if bytes == 0.0 {
        return Err(format!("expected a size above 0, got '{text}'"));
    }
    if bytes.fract() == 0.0 && bytes < 2f64.powi(53) { Ok(bytes as u64) } else { Err(error()) }
}

/// Reads a time in seconds, above 0.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let error = || format!("expected seconds above 0, such as 10 or 0.5, got '{text}'");
    seconds.filter(|time| !time.is_zero()).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn sizes_take_decimal_and_binary_units() {
        assert_eq!(parse_size("65536"), Ok(65536));
        assert_eq!(parse_size("64KiB"), Ok(65536));
        assert_eq!(parse_size("320kB"), Ok(320_000));
        assert_eq!(parse_size("1.5MiB"), Ok(1_572_864));
        assert!(parse_size("64 apples").is_err());
        assert!(parse_size("").is_err());
        assert!(parse_size("-1").is_err());
        assert!(parse_size("0").is_err());
    }

    #[test]
    fn names_are_no_paths() {
        for name in ["digits", "my model", "9lives", "größe", "while"] {
            assert_eq!(parse_name(name), Ok(name.to_owned()));
        }
        for name in ["", " ", "..", "../x", "a/b", "a\\b", ".hidden", "---"] {
            assert!(parse_name(name).is_err(), "{name}");
        }
    }
}
