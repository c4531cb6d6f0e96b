//! Mixed precision: bits for every layer's weights, within flash and a loss that is allowed.
//!
//! First each layer alone is given fewer bits and the noise at the outputs measured (its sensitivity), all others having 8. Noises
//! of small errors add up, so that [`super::assign`] finds the least noise for every number of bytes. Along that front
//! the first of some assignments, from the smallest on, is looked for whose outputs, measured on samples of their own, stay within
//! the loss, and then those between it and the one before. Every assignment that is measured is refined first, and is in the report.
//!
//! Where an output is a softmax, noise is measured before it: what is certain has no noise behind it, however near it is to tipping.

use super::assign::{Assignment, Choice, pareto_front};
use super::measure::{Agreement, outputs};
use super::refine::{Alternatives, Refinement, refine};
use super::report::Trial;
use super::rewrite::{self, Plan, rewrite};
use super::scheme::Bits;
use mcunet_ir::diag::Category;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::{NnOp, reads_sub_byte};
use mcunet_ir::{Diagnostic, Diagnostics, Module, Op, Tensor};

/// What may be lost against the float model.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum MaxDrop {
    /// Samples whose greatest output is another one, in percent beyond those that 8 bits lose.
    Top1(f64),
    /// Decibels of the outputs' SQNR below that of 8 bits.
    Decibels(f64),
}

impl Default for MaxDrop {
    fn default() -> Self {
        MaxDrop::Top1(1.0)
    }
}

/// What to assign bits for.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Budget {
    /// Bytes of the constants of the integer module at most.
    pub flash: Option<usize>,
    /// Loss at most.
    pub max_drop: MaxDrop,
}

/// Bits that layers are tried with, fewer than all others have.
const FEWER: [Bits; 2] = [Bits::Four, Bits::Two];
/// Samples that sensitivities are measured on at most.
const SENSITIVITY_SAMPLES: usize = 24;
/// Assignments that are measured at most along the front.
const TRIALS: usize = 8;
/// Assignments that are measured at most between the last that loses too much and the first that does not.
const HALVINGS: usize = 4;

/// A layer whose weights may have fewer bits.
struct Layer {
    op: Op,
    weights: usize,
}

/// Assigns bits and refines the plan; what was tried.
///
/// # Errors
/// A budget of flash that no assignment meets, or an op that fails.
pub fn assign(
    module: &Module,
    plan: &mut Plan,
    (samples, check): (&[Vec<Tensor>], &[Vec<Tensor>]),
    refinement: Refinement,
    budget: Budget,
) -> Result<Vec<Trial>, Diagnostics> {
    let layers = layers(module, plan);
    let alternatives = refine(module, plan, samples, refinement, &FEWER)?;
    let exact = outputs(module, check)?;
    let eight = measure(module, plan, check, &exact)?;
    let sensitivities = sensitivities(module, plan, &layers, samples, &alternatives)?;
    let mut front = pareto_front(&sensitivities);
    let most: usize = layers.iter().map(|layer| Bits::Eight.bytes(layer.weights)).sum();
    if let Some(flash) = budget.flash {
        let rest = super::report::constant_bytes(&rewrite(module, plan).module.functions[0]) - most;
        let least = front.first().map_or(0, |point| point.bytes) + rest;
        front.retain(|point| point.bytes + rest <= flash);
        if front.is_empty() {
            return Err(over_flash(flash, least).into());
        }
    }
    let trials = vec![trial(most, [layers.len(), 0, 0], eight)];
    let start = plan.clone();
    let mut search =
        Search { module, start, layers, sets: (samples, check), exact, refinement, budget, front, trials };
    let taken = match search.smallest()? {
        Some((trial, found)) => {
            *plan = found;
            trial
        }
        None if budget.flash.is_some() && search.front.last().is_none_or(|point| point.bytes < most) => {
            return Err(over_loss(budget, &search.trials).into());
        }
        None => 0,
    };
    let mut trials = search.trials;
    trials[taken].taken = true;
    trials.sort_by_key(|trial| std::cmp::Reverse(trial.weight_bytes));
    Ok(trials)
}

/// Looks along a front for the smallest assignment that is good enough.
struct Search<'a> {
    module: &'a Module,
    /// All layers with 8 bits.
    start: Plan,
    layers: Vec<Layer>,
    /// To learn from, and to check on.
    sets: (&'a [Vec<Tensor>], &'a [Vec<Tensor>]),
    /// The float module's outputs for the latter.
    exact: Vec<Vec<Tensor>>,
    refinement: Refinement,
    budget: Budget,
    front: Vec<Assignment>,
    /// What was measured: 8 bits, then assignments.
    trials: Vec<Trial>,
}

impl Search<'_> {
    /// From the smallest on, in even steps of bytes, to the first that is good enough (losses of neighbours may cross); then between it
    /// and the one before, by halves. Its trial and its plan.
    fn smallest(&mut self) -> Result<Option<(usize, Plan)>, Diagnostics> {
        let (mut found, mut failed) = (None, None);
        for position in spaced(&self.front) {
            match self.measured(position)? {
                Some(plan) => {
                    found = Some((position, self.trials.len() - 1, plan));
                    break;
                }
                None => failed = Some(position),
            }
        }
        let Some(mut best) = found else { return Ok(None) };
        for _ in 0..HALVINGS {
            let Some(low) = failed else { break };
            let bytes = usize::midpoint(self.front[low].bytes, self.front[best.0].bytes);
            let middle = self.front.partition_point(|point| point.bytes <= bytes) - 1;
            if middle == low {
                break;
            }
            match self.measured(middle)? {
                Some(plan) => best = (middle, self.trials.len() - 1, plan),
                None => failed = Some(middle),
            }
        }
        Ok(Some((best.1, best.2)))
    }

    /// Refines and measures an assignment of the front; its plan, if it is good enough.
    fn measured(&mut self, position: usize) -> Result<Option<Plan>, Diagnostics> {
        let point = &self.front[position];
        let mut plan = self.start.clone();
        let counts = choose(&mut plan, &self.layers, point);
        let (samples, check) = self.sets;
        refine(self.module, &mut plan, samples, self.refinement, &[])?;
        let agreement = measure(self.module, &plan, check, &self.exact)?;
        self.trials.push(trial(point.bytes, counts, agreement));
        Ok(self.is_within(&agreement).then_some(plan))
    }

    /// Whether outputs lose no more against those of 8 bits than is allowed.
    fn is_within(&self, agreement: &Agreement) -> bool {
        let eight = &self.trials[0].agreement;
        match self.budget.max_drop {
            MaxDrop::Top1(percent) => agreement.top_1_loss() <= eight.top_1_loss() + percent,
            MaxDrop::Decibels(drop) => agreement.noise.decibels() >= eight.noise.decibels() - drop,
        }
    }
}

/// Positions on a front at even steps of bytes, the first and the last among them.
fn spaced(front: &[Assignment]) -> Vec<usize> {
    let (Some(first), Some(last)) = (front.first(), front.last()) else { return Vec::new() };
    let step = ((last.bytes - first.bytes) / (TRIALS - 1)).max(1);
    let at = |step_number: usize| {
        let bytes = (first.bytes + step_number * step).min(last.bytes);
        front.partition_point(|point| point.bytes <= bytes) - 1
    };
    let mut positions: Vec<usize> = (0..TRIALS - 1).map(at).chain([front.len() - 1]).collect();
    positions.dedup();
    positions
}

/// The module with what its softmaxes read as outputs instead of what they make. Values keep their handles.
fn before_softmax(module: &Module) -> Module {
    let mut module = module.clone();
    let function = &mut module.functions[0];
    let Some(returns) = function.terminator(function.body) else { return module };
    for output in 0..function.ops[returns].operands.len() {
        let value = function.ops[returns].operands[output];
        let Some(op) = function.defining_op(value) else { continue };
        if matches!(
            function.ops[op].kind,
            OpKind::Nn(NnOp::Softmax(_) | NnOp::Logistic(_) | NnOp::LogSoftmax(_))
        ) {
            function.ops[returns].operands[output] = function.ops[op].operands[0];
        }
    }
    module
}

fn trial(weight_bytes: usize, layers: [usize; 3], agreement: Agreement) -> Trial {
    Trial { weight_bytes, layers, agreement, taken: false }
}

fn over_flash(flash: usize, least: usize) -> Diagnostic {
    let message = format!(
        "expected constants of at most {flash} bytes, got {least} with the fewest bits for every layer"
    );
    Diagnostic::error(message)
        .category(Category::Budget)
        .help(format!("raise --flash to {least}, or take a smaller model"))
}

fn over_loss(budget: Budget, trials: &[Trial]) -> Diagnostic {
    let least = trials.last().map_or(0.0, |trial| match budget.max_drop {
        MaxDrop::Top1(_) => trial.agreement.top_1_loss(),
        MaxDrop::Decibels(_) => trial.agreement.noise.decibels(),
    });
    let (limit, found) = match budget.max_drop {
        MaxDrop::Top1(percent) => (format!("{percent} % of top 1"), format!("{least:.2} %")),
        MaxDrop::Decibels(drop) => (format!("{drop} dB of SQNR"), format!("an SQNR of {least:.1} dB")),
    };
    Diagnostic::error(format!("expected a loss of at most {limit} within --flash, got {found}"))
        .category(Category::Budget)
        .help("raise --flash or --max-drop, or try --rounding=learned and --bias-correction")
}

/// Layers with weights whose kernels read fewer bits.
fn layers(module: &Module, plan: &Plan) -> Vec<Layer> {
    let function = &module.functions[0];
    let made = rewrite(module, plan).layers;
    let layer = |op: Op| {
        let OpKind::Nn(kind) = &function.ops[op].kind else { return None };
        let filter = function.ty(*function.ops[op].operands.get(1)?).as_tensor()?;
        let fits = reads_sub_byte(kind, 1) && made.contains_key(&op);
        fits.then(|| Layer { op, weights: filter.elements() })
    };
    function.walk().into_iter().filter_map(layer).collect()
}

/// Gives layers the bits of an assignment; how many have 8, 4 and 2.
fn choose(plan: &mut Plan, layers: &[Layer], assignment: &Assignment) -> [usize; 3] {
    let mut counts = [0; 3];
    for (layer, &option) in layers.iter().zip(&assignment.options) {
        plan.choices.insert(layer.op, rewrite::Choice { bits: Bits::ALL[option], ..Default::default() });
        counts[option] += 1;
    }
    counts
}

fn measure(
    module: &Module,
    plan: &Plan,
    check: &[Vec<Tensor>],
    exact: &[Vec<Tensor>],
) -> Result<Agreement, Diagnostics> {
    Ok(Agreement::of(exact, &outputs(&rewrite(module, plan).module, check)?))
}

/// Bytes and noise of every layer with 8, 4 and 2 bits, the other layers as they are.
fn sensitivities(
    module: &Module,
    plan: &Plan,
    layers: &[Layer],
    samples: &[Vec<Tensor>],
    alternatives: &Alternatives,
) -> Result<Vec<Vec<Choice>>, Diagnostics> {
    let step = samples.len().div_ceil(SENSITIVITY_SAMPLES).max(1);
    let samples: Vec<Vec<Tensor>> = samples.iter().step_by(step).cloned().collect();
    let module = &before_softmax(module);
    let exact = outputs(module, &samples)?;
    let base = measure(module, plan, &samples, &exact)?.noise.noise;
    let mut all = Vec::new();
    for layer in layers {
        let mut options = vec![Choice { bytes: Bits::Eight.bytes(layer.weights), noise: 0.0 }];
        for (at, bits) in FEWER.into_iter().enumerate() {
            let refined = alternatives.get(&layer.op).and_then(|choices| choices.get(at)).cloned();
            let mut tried = plan.clone();
            tried.choices.insert(layer.op, refined.unwrap_or(rewrite::Choice { bits, ..Default::default() }));
            let noise = measure(module, &tried, &samples, &exact)?.noise.noise;
            options.push(Choice { bytes: bits.bytes(layer.weights), noise: (noise - base).max(0.0) });
        }
        all.push(options);
    }
    Ok(all)
}
