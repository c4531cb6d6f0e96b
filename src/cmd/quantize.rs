//! `mcunetc quantize`.

mod data;
mod table;

use crate::Io;
use crate::cli::{QuantizeArgs, RoundingArg};
use crate::files;
use crate::session::{self, Failure};
use mcunet_frontends::io_type;
use mcunet_ir::Module;
use mcunet_ir::text::{PrintOptions, print};
use mcunet_passes::quantize::refine::Refinement;
use mcunet_passes::quantize::{Options, quantize};
use std::path::Path;

/// Quantizes a model and writes it.
pub fn run(args: &QuantizeArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let module = session::load(&args.model, &args.model_args(), io)?;
    let ports = module.functions.first().map(|function| function.inputs.as_slice()).unwrap_or_default();
    let samples = data::samples(&args.data, ports)?;
    let quantized = quantize(&module, &samples, &options(args))?;
    let mut module = quantized.module;
    io_type::apply(&mut module, args.io_type.into())?;
    let bytes = written(&module, &args.output)?;
    files::write(&args.output, &bytes, io)?;
    let report = table::render(&quantized.report, samples.len());
    if args.output == Path::new("-") {
        super::progress(io, &report);
        return Ok(());
    }
    super::print(io, &report)
}

fn options(args: &QuantizeArgs) -> Options {
    let learned = args.rounding == RoundingArg::Learned;
    Options {
        activations: args.scheme.into(),
        range: args.range,
        linear_per_tensor: args.linear_per_tensor,
        equalize: args.equalize,
        refinement: Refinement { rounding: learned, bias: args.bias_correction },
    }
}

/// The module as the output's name says: `.tflite`, or else text.
fn written(module: &Module, output: &Path) -> Result<Vec<u8>, Failure> {
    if output.extension().is_some_and(|extension| extension == "tflite") {
        return Ok(mcunet_frontends::tflite::export(module)?);
    }
    let options = PrintOptions { weights: true, ..PrintOptions::default() };
    Ok(print(module, &options).into_bytes())
}
