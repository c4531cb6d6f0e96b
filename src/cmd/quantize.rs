//! `mcunetc quantize`.

mod table;

use crate::Io;
use crate::cli::{IoTypeArg, QuantizeArgs, RoundingArg, WeightsArg};
use crate::data::DataSet;
use crate::data::args::DataArgs;
use crate::files;
use crate::session::{self, Failure, ModelFile};
use mcunet_frontends::io_type;
use mcunet_ir::text::{PrintOptions, print};
use mcunet_ir::{Diagnostics, Module, Tensor};
use mcunet_passes::manager::Silent;
use mcunet_passes::pass::PassContext;
use mcunet_passes::pipeline::{Level, Pipeline};
use mcunet_passes::quantize::measure::{self, Agreement};
use mcunet_passes::quantize::mixed::Budget;
use mcunet_passes::quantize::refine::Refinement;
use mcunet_passes::quantize::scheme::Bits;
use mcunet_passes::quantize::{Options, Samples, Weights, quantize};
use mcunet_passes::registry::Registry;
use mcunet_passes::target::{Core, Memory, Target};
use std::path::Path;

/// From so many samples on, some are kept from calibration to measure results on.
const ENOUGH_TO_SPLIT: usize = 16;
/// Of those, one in so many is kept.
const KEPT: usize = 4;

/// Quantizes a model and writes it.
pub fn run(args: &QuantizeArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    check_usage(args)?;
    let float = session::load(&args.model, &args.model_args(), io)?;
    let sets = Sets::read(args, &float, io)?;
    let quantized = quantize(&float, sets.samples(), &options(args))?;
    let mut module = quantized.module;
    if args.io_type != IoTypeArg::Model {
        io_type::apply(&mut module, args.io_type.into())?;
    }
    check_sram(args, &module)?;
    let bytes = written(&module, &args.output)?;
    files::write(&args.output, &bytes, io)?;
    let mut report = format!("{}{}", table::render(&quantized.report), sets.split());
    if let Some(path) = &args.compare {
        let other = ModelFile::read(path, io)?.import(&args.as_floats())?;
        report.push_str(&table::comparison(path, compared(&float, &other, sets.samples().check)?));
    }
    if args.output == Path::new("-") {
        super::progress(io, &report);
        return Ok(());
    }
    super::print(io, &report)
}

/// Another model's outputs against the float model's.
fn compared(float: &Module, other: &Module, samples: &[Vec<Tensor>]) -> Result<Agreement, Failure> {
    let (exact, found) = (measure::outputs(float, samples)?, measure::outputs(other, samples)?);
    Ok(Agreement::of(&exact, &found))
}

/// Options that mean nothing without mixed weights are no options then.
fn check_usage(args: &QuantizeArgs) -> Result<(), Failure> {
    if args.flash.is_some() && args.weights != WeightsArg::Mixed {
        let message = "expected --weights=mixed with --flash, got weights of one size";
        return Err(session::usage(message)
            .help("bits are assigned to layers only with --weights=mixed")
            .into());
    }
    Ok(())
}

/// All samples of a data set; what is wrong with any of them, all at once.
fn read_all(args: &DataArgs, module: &Module, io: &mut Io<'_>) -> Result<Vec<Vec<Tensor>>, Failure> {
    let set = DataSet::open(args, module)?;
    for note in set.notes() {
        super::progress(io, &format!("{note}\n"));
    }
    let mut errors = Diagnostics::default();
    let mut samples = Vec::new();
    for index in 0..set.len() {
        match set.inputs(index) {
            Ok(sample) => samples.push(sample),
            Err(found) => errors.0.extend(found.0),
        }
    }
    errors.into_result()?;
    Ok(samples)
}

/// Samples to learn from, and samples to measure on.
struct Sets {
    calibration: Vec<Vec<Tensor>>,
    /// Nothing if there are too few: then those to learn from serve for both.
    check: Vec<Vec<Tensor>>,
}

impl Sets {
    fn read(args: &QuantizeArgs, module: &Module, io: &mut Io<'_>) -> Result<Self, Failure> {
        let all = read_all(&args.data, module, io)?;
        if !args.check_data.is_empty() {
            let check = DataArgs {
                data: args.check_data.clone(),
                labels: None,
                skip: 0,
                limit: None,
                ..args.data.clone()
            };
            return Ok(Self { calibration: all, check: read_all(&check, module, io)? });
        }
        if all.len() < ENOUGH_TO_SPLIT {
            return Ok(Self { calibration: all, check: Vec::new() });
        }
        let (mut calibration, mut check) = (Vec::new(), Vec::new());
        for (number, sample) in all.into_iter().enumerate() {
            if number % KEPT == KEPT - 1 { check.push(sample) } else { calibration.push(sample) }
        }
        Ok(Self { calibration, check })
    }

    fn samples(&self) -> Samples<'_> {
        let check = if self.check.is_empty() { &self.calibration } else { &self.check };
        Samples { calibration: &self.calibration, check }
    }

    /// How the samples were used, for the report.
    fn split(&self) -> String {
        match (self.calibration.len(), self.check.len()) {
            (learned, 0) => format!("learned from and measured on the same {learned} samples\n"),
            (learned, measured) => format!("learned from {learned} samples, measured on {measured} others\n"),
        }
    }
}

fn options(args: &QuantizeArgs) -> Options {
    let learned = args.rounding == RoundingArg::Learned;
    let flash = args.flash.and_then(|flash| usize::try_from(flash).ok());
    Options {
        activations: args.scheme.into(),
        ranges: args.range,
        linear_per_tensor: args.linear_per_tensor,
        equalize: args.equalize,
        refinement: Refinement { rounding: learned, bias: args.bias_correction },
        weights: match args.weights {
            WeightsArg::Int8 => Weights::All(Bits::Eight),
            WeightsArg::Int4 => Weights::All(Bits::Four),
            WeightsArg::Int2 => Weights::All(Bits::Two),
            WeightsArg::Mixed => Weights::Mixed(Budget { flash, max_drop: args.max_drop }),
        },
    }
}

/// Whether the compiled module's arena fits, if that is asked for.
fn check_sram(args: &QuantizeArgs, module: &Module) -> Result<(), Failure> {
    let Some(bytes) = args.sram else { return Ok(()) };
    let mut target = Target::bare(Core::CortexM4);
    target.sram = vec![Memory::new("sram", bytes)];
    let pipeline = Pipeline::parse(Level::O2.pipeline(), &Registry::builtin())?;
    session::optimize(&mut module.clone(), &pipeline, &mut Silent, &PassContext::new(&target))
}

/// The module as the output's name says: `.tflite`, or else text.
fn written(module: &Module, output: &Path) -> Result<Vec<u8>, Failure> {
    if output.extension().is_some_and(|extension| extension == "tflite") {
        return Ok(mcunet_frontends::tflite::export(module)?);
    }
    let options = PrintOptions { weights: true, ..PrintOptions::default() };
    Ok(print(module, &options).into_bytes())
}
