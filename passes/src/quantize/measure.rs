//! How far integers are off: signal-to-quantization-noise ratios, of every value and of the outputs.

use super::observe::failed;
use super::rewrite::Rewritten;
use mcunet_ir::interp::{Values, evaluate, evaluate_observed};
use mcunet_ir::types::Scalar;
use mcunet_ir::{Diagnostics, Module, Tensor, Value};
use std::collections::{BTreeMap, HashMap};

/// Power of a signal and of its noise, summed over elements and samples.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Noise {
    /// Sum of squares of the exact numbers.
    pub signal: f64,
    /// Sum of squares of the differences.
    pub noise: f64,
}

impl Noise {
    /// Adds a tensor and its approximation.
    pub fn add(&mut self, exact: &[f32], found: &[f32]) {
        for (&exact, &found) in exact.iter().zip(found) {
            let (exact, difference) = (f64::from(exact), f64::from(exact) - f64::from(found));
            self.signal += exact * exact;
            self.noise += difference * difference;
        }
    }

    /// Signal to noise in decibels; infinite where nothing differs.
    pub fn decibels(self) -> f64 {
        if self.noise == 0.0 { f64::INFINITY } else { 10.0 * (self.signal / self.noise).log10() }
    }
}

/// The numbers that a tensor's elements stand for; plain integers stand for themselves.
pub fn reals(tensor: &Tensor) -> Vec<f32> {
    if let Ok(items) = tensor.f32s() {
        return items.to_vec();
    }
    let (scale, zero) = tensor.ty.affine().map_or((1.0, 0), |affine| (affine.scale.get(), affine.zero_point));
    let steps = tensor.data.to_i64s().unwrap_or_default();
    steps.into_iter().map(|step| scale * (step - i64::from(zero)) as f32).collect()
}

/// Outputs of a module for samples.
///
/// # Errors
/// An op that fails.
pub fn outputs(module: &Module, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, Diagnostics> {
    let function = &module.functions[0];
    let run = |sample: &Vec<Tensor>| evaluate(module, function, sample).map_err(failed);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = samples.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = samples
            .chunks(part)
            .map(|part| scope.spawn(move || part.iter().map(run).collect::<Result<Vec<_>, _>>()))
            .collect();
        let mut all = Vec::with_capacity(samples.len());
        for part in parts {
            // A panic of a thread is one of the interpreter's, which is passed on.
            all.extend(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

/// How two sets of outputs differ.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Agreement {
    /// Over all elements of all outputs.
    pub noise: Noise,
    /// Samples whose greatest number is at the same place of every output.
    pub same_top: usize,
    /// Samples.
    pub samples: usize,
}

impl Agreement {
    /// Compares outputs with the exact ones.
    pub fn of(exact: &[Vec<Tensor>], found: &[Vec<Tensor>]) -> Self {
        let mut agreement = Agreement { samples: exact.len(), ..Self::default() };
        for (exact, found) in exact.iter().zip(found) {
            let mut same = true;
            for (exact, found) in exact.iter().zip(found) {
                let (exact, found) = (reals(exact), reals(found));
                agreement.noise.add(&exact, &found);
                same &= top(&exact) == top(&found);
            }
            agreement.same_top += usize::from(same);
        }
        agreement
    }

    /// Share of samples whose greatest number is at another place, in percent.
    pub fn top_1_loss(&self) -> f64 {
        100.0 * (self.samples - self.same_top) as f64 / self.samples.max(1) as f64
    }
}

/// Position of the first greatest number.
fn top(items: &[f32]) -> usize {
    (1..items.len()).fold(0, |best, at| if items[at] > items[best] { at } else { best })
}

/// Samples that values are compared on at most; beyond, their ratios hardly change.
const VALUE_SAMPLES: usize = 32;

/// Noise of every value that has integers, over samples spread evenly.
///
/// # Errors
/// An op that fails.
pub fn of_values(
    module: &Module,
    rewritten: &Rewritten,
    samples: &[Vec<Tensor>],
) -> Result<BTreeMap<Value, Noise>, Diagnostics> {
    let (old, new) = (&module.functions[0], &rewritten.module.functions[0]);
    let by_integers: HashMap<Value, Value> =
        rewritten.integers.iter().map(|(&old, &new)| (new, old)).collect();
    let mut noises: BTreeMap<Value, Noise> = BTreeMap::new();
    for sample in samples.iter().step_by(samples.len().div_ceil(VALUE_SAMPLES).max(1)) {
        let mut exact: Values = Values::new();
        exact.extend(old.blocks[old.body].args.iter().copied().zip(sample.iter().cloned()));
        let keep = &mut |op, values: &Values| {
            let results = old.ops[op].results.iter().filter(|result| rewritten.integers.contains_key(result));
            exact.extend(results.filter_map(|result| Some((*result, values.get(result)?.clone()))));
        };
        evaluate_observed(module, old, sample, keep).map_err(failed)?;
        let compare = &mut |op, values: &Values| {
            for result in &new.ops[op].results {
                let Some(&old) = by_integers.get(result) else { continue };
                let (Some(exact), Some(found)) = (exact.get(&old), values.get(result)) else { continue };
                if exact.ty.storage() == Scalar::F32 {
                    noises.entry(old).or_default().add(exact.f32s().unwrap_or_default(), &reals(found));
                }
            }
        };
        evaluate_observed(&rewritten.module, new, sample, compare).map_err(failed)?;
    }
    Ok(noises)
}
