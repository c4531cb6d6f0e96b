//! Runs every sample through the model, and through the reference if there is one.

use crate::data::{DataSet, reals};
use crate::execute::{Program, Runner};
use crate::metrics::{Deviation, argmax, mean_square, rank};
use crate::watch::Watcher;
use mcunet_ir::{Diagnostic, Diagnostics, Tensor};
use mcunet_passes::watch::Watch;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// What is measured of a sample, besides the difference from a reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The class that an output gives, against the label.
    Classification { output: usize, classes: usize },
    /// The same without labels: only against the reference.
    Agreement { output: usize },
    /// How well the output gives back the input.
    Reconstruction,
    /// Nothing.
    Nothing,
}

/// What is run on what.
pub struct Evaluation<'a> {
    pub role: Role,
    pub model: (&'a Program, &'a DataSet),
    pub reference: Option<(&'a Program, &'a DataSet)>,
}

/// What was found of one sample.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The label and the predicted class, where there are labels, and how many classes rank before that of the label.
    pub class: Option<(usize, usize, usize)>,
    /// Whether the reference predicts the same class.
    pub agrees: Option<bool>,
    /// Each output's difference from the reference's.
    pub deviations: Vec<Deviation>,
    /// Mean of the squared differences between output and input.
    pub error: Option<f64>,
}

impl<'a> Evaluation<'a> {
    /// Outcomes of all samples, in order.
    ///
    /// # Errors
    /// That of the first sample that fails.
    pub fn run(&self, jobs: usize, watcher: &Watcher) -> Result<Vec<Outcome>, Diagnostics> {
        let count = self.model.1.len();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        let mut found: Vec<Option<Result<Outcome, Diagnostics>>> = vec![None; count];
        std::thread::scope(|scope| {
            for _ in 0..jobs.min(count).max(1) {
                let (sender, next, stop) = (sender.clone(), &next, &stop);
                scope.spawn(move || self.work(next, stop, &sender));
            }
            drop(sender);
            for (done, (sample, outcome)) in receiver.iter().enumerate() {
                if outcome.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
                found[sample] = Some(outcome);
                watcher.pass(done + 1, count, "samples evaluated");
            }
        });
        let mut outcomes = Vec::with_capacity(count);
        // Samples are begun in order: what comes before the first failure is there.
        for outcome in found.into_iter().flatten() {
            outcomes.push(outcome?);
        }
        if outcomes.len() < count {
            return Err(
                Diagnostic::error("expected outcomes of all samples, but a thread ended too early").into()
            );
        }
        Ok(outcomes)
    }

    /// Takes samples until there are none, or one failed.
    fn work(
        &self,
        next: &AtomicUsize,
        stop: &AtomicBool,
        sender: &mpsc::Sender<(usize, Result<Outcome, Diagnostics>)>,
    ) {
        let mut runners = None;
        while !stop.load(Ordering::Relaxed) {
            let sample = next.fetch_add(1, Ordering::Relaxed);
            if sample >= self.model.1.len() {
                break;
            }
            let outcome = self.sample(&mut runners, sample);
            // Nobody listens any more only if the main thread is gone.
            if sender.send((sample, outcome)).is_err() {
                break;
            }
        }
    }

    fn sample(&self, runners: &mut Option<Runners<'a>>, sample: usize) -> Result<Outcome, Diagnostics> {
        let (program, data) = self.model;
        let runners = match runners {
            Some(runners) => runners,
            None => runners.insert(Runners {
                model: program.runner()?,
                reference: self.reference.map(|(program, _)| program.runner()).transpose()?,
            }),
        };
        let inputs = data.inputs(sample)?;
        let outputs = numbers(&runners.model.run(&inputs)?)?;
        let mut outcome = Outcome::default();
        let predicted =
            |outputs: &[Vec<f32>], output: usize| outputs.get(output).and_then(|numbers| argmax(numbers));
        match self.role {
            Role::Classification { output, .. } => {
                let label = data.label(sample);
                let ranked = label.zip(outputs.get(output)).map(|(label, numbers)| rank(numbers, label));
                outcome.class = label
                    .zip(predicted(&outputs, output))
                    .zip(ranked)
                    .map(|((label, class), rank)| (label, class, rank));
            }
            Role::Reconstruction => {
                let input = numbers(&inputs)?;
                outcome.error =
                    input.first().zip(outputs.first()).map(|(input, output)| mean_square(output, input));
            }
            Role::Agreement { .. } | Role::Nothing => {}
        }
        if let (Some((_, data)), Some(reference)) = (self.reference, &mut runners.reference) {
            let expected = numbers(&reference.run(&data.inputs(sample)?)?)?;
            if let Role::Classification { output, .. } | Role::Agreement { output } = self.role {
                outcome.agrees = Some(predicted(&outputs, output) == predicted(&expected, output));
            }
            outcome.deviations = outputs
                .iter()
                .zip(&expected)
                .map(|(found, expected)| Deviation::of(found, expected))
                .collect();
        }
        Ok(outcome)
    }
}

/// What runs the samples of one thread.
struct Runners<'a> {
    model: Runner<'a>,
    reference: Option<Runner<'a>>,
}

/// Tensors as real numbers.
fn numbers(tensors: &[Tensor]) -> Result<Vec<Vec<f32>>, Diagnostics> {
    let real = |tensor: &Tensor| {
        reals(&tensor.data, &tensor.ty).map_err(|error| Diagnostic::error(error.to_string()).into())
    };
    tensors.iter().map(real).collect()
}
