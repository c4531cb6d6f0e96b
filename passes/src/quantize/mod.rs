//! Post-training quantization: a float module and samples of its inputs become a module of integers.
//!
//! The result follows TensorFlow Lite's quantization specification ([`scheme`]) and is a module like any other: its inputs
//! and outputs stay floats, with QUANTIZE and DEQUANTIZE at the borders. Method, in this order:
//!
//! 1. [`prepare`]: fold constants into weights; [`equalize`]: even out the ranges of channels, if wanted.
//! 2. [`observe`]: run the samples through the reference interpreter and keep a histogram of every value.
//! 3. [`share`]: values that an op ties together get one scale, from what they were, by the best [`range`] estimator.
//! 4. [`mod@rewrite`]: make the integer module; what no kernel computes on integers stays in float.
//! 5. [`mod@refine`]: choose roundings of weights ([`rounding`]) and correct biases against the float layers, if wanted ([`fit`]).
//! 6. [`mixed`]: measure what fewer bits cost each layer, and spend bits where they count ([`assign`]), if wanted.
//!
//! The invariant: every step changes only the [`rewrite::Plan`]; the module is always made anew from the float module and
//! the plan, so that steps can be combined and repeated. Time is that of evaluating the samples a few times.

pub mod assign;
pub mod batch;
pub mod equalize;
pub mod fit;
pub mod form;
pub mod gram;
pub mod histogram;
pub mod measure;
pub mod mixed;
pub mod observe;
pub mod prepare;
pub mod range;
pub mod refine;
pub mod report;
pub mod rewrite;
pub mod rounding;
pub mod scheme;
pub mod share;
pub mod weights;

use crate::rewrite::remove_dead_ops;
use mcunet_ir::verify::verify;
use mcunet_ir::{Diagnostics, Module, Tensor};
use measure::Agreement;
use mixed::Budget;
use observe::Observations;
use range::{CANDIDATES, Estimator, Ranges};
use refine::{Refinement, refine};
use report::Report;
use rewrite::{Choice, Plan, Rewritten, rewrite};
use scheme::{Activations, Bits};
use share::Affines;
use std::collections::BTreeMap;

/// What to quantize how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Integers of activations.
    pub activations: Activations,
    /// How ranges follow from what was seen.
    pub ranges: Ranges,
    /// One weight scale for a whole fully connected layer, as kernels before TensorFlow Lite 2.17 want it.
    pub linear_per_tensor: bool,
    /// Even out channels of neighbouring layers first.
    pub equalize: bool,
    /// Learned rounding and corrected biases.
    pub refinement: Refinement,
    /// Bits of weights.
    pub weights: Weights,
}

/// Bits of weights.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Weights {
    /// The same for every layer whose kernel reads them; 8 for all others.
    All(Bits),
    /// As many as each layer needs.
    Mixed(Budget),
}

impl Default for Weights {
    fn default() -> Self {
        Weights::All(Bits::Eight)
    }
}

/// Samples of a model's inputs.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// Those that ranges and everything else is learned from.
    pub calibration: &'a [Vec<Tensor>],
    /// Those that results are measured on.
    pub check: &'a [Vec<Tensor>],
}

/// A quantized module and what is to say about it.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The module of integers.
    pub module: Module,
    /// Scales, noise and sizes.
    pub report: Report,
}

/// Quantizes a float module with samples of its inputs.
///
/// # Errors
/// Modules and samples that do not fit, with all that is wrong at once.
pub fn quantize(module: &Module, samples: Samples<'_>, options: &Options) -> Result<Quantized, Diagnostics> {
    let mut prepared = prepare::prepare(module)?;
    let equalized = if options.equalize { equalize::equalize(&mut prepared) } else { 0 };
    let function = &prepared.functions[0];
    observe::check_samples(function, samples.calibration)?;
    observe::check_samples(function, samples.check)?;
    let seen = observe::observe(&prepared, function, samples.calibration)?;
    let (mut plan, range) = ranged(&prepared, &seen, samples.calibration, options)?;
    let tried = match options.weights {
        Weights::All(bits) => {
            let layers = rewrite(&prepared, &plan).layers;
            plan.choices = layers.into_keys().map(|op| (op, Choice { bits, ..Choice::default() })).collect();
            refine(&prepared, &mut plan, samples.calibration, options.refinement, &[])?;
            Vec::new()
        }
        Weights::Mixed(budget) => {
            let sets = (samples.calibration, samples.check);
            mixed::assign(&prepared, &mut plan, sets, options.refinement, budget)?
        }
    };
    let rewritten = rewrite(&prepared, &plan);
    let mut report = Report::new(&prepared, &seen, &rewritten, samples.check)?;
    report.range = Some(range);
    report.tried = tried;
    report.equalized = equalized;
    Ok(Quantized { module: finished(rewritten)?, report })
}

/// A plan with scales and zero points, and the estimator that they are from.
fn ranged(
    module: &Module,
    seen: &Observations,
    samples: &[Vec<Tensor>],
    options: &Options,
) -> Result<(Plan, Estimator), Diagnostics> {
    let plan = |range| Plan {
        activations: options.activations,
        affines: Affines::estimate(&module.functions[0], seen, range, options.activations),
        linear_per_tensor: options.linear_per_tensor,
        choices: BTreeMap::new(),
    };
    let given = match (options.ranges, options.activations) {
        (Ranges::By(range), _) => Some(range),
        (Ranges::Best, Activations::Int16) => Some(Estimator::MinMax),
        (Ranges::Best, Activations::Int8) => None,
    };
    if let Some(range) = given {
        return Ok((plan(range), range));
    }
    let exact = measure::outputs(module, samples)?;
    let mut best: Option<(Plan, Estimator, f64)> = None;
    for range in CANDIDATES {
        let plan = plan(range);
        let found = measure::outputs(&rewrite(module, &plan).module, samples)?;
        let noise = Agreement::of(&exact, &found).noise.noise;
        if best.as_ref().is_none_or(|(_, _, least)| noise < *least) {
            best = Some((plan, range, noise));
        }
    }
    Ok(best.map_or((plan(Estimator::MinMax), Estimator::MinMax), |(plan, range, _)| (plan, range)))
}

/// The module without what nothing reads, verified.
fn finished(rewritten: Rewritten) -> Result<Module, Diagnostics> {
    let mut module = rewritten.module;
    module.functions.iter_mut().for_each(|function| {
        remove_dead_ops(function);
    });
    module.retain_used_resources();
    verify(&module)?;
    Ok(module)
}
