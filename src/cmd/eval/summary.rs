//! The figures over all samples; as JSON, keys are stable.

use super::Names;
use super::run::{Evaluation, Outcome, Role};
use crate::metrics::{Confusion, Deviation, auc, ratio};
use serde::Serialize;

/// Classes that count as right in `top5`, which is left out unless there are more.
const TOP: usize = 5;

/// What was found. Keys without a value are left out.
#[derive(Serialize)]
pub struct Summary {
    pub model: String,
    pub samples: usize,
    /// What ran the model: `c` or `interp`.
    pub executor: &'static str,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    pub classification: Option<Classification>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconstruction: Option<Reconstruction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

/// How often the label's class was predicted.
#[derive(Serialize)]
pub struct Classification {
    /// Part of the samples whose class got the greatest number.
    pub accuracy: f64,
    pub correct: u64,
    /// Part of the samples whose class got one of the five greatest numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    pub classes: Vec<Class>,
    /// By class, then by predicted class.
    pub confusion: Vec<Vec<u64>>,
}

#[derive(Serialize)]
pub struct Class {
    pub name: String,
    pub samples: u64,
    pub recall: Option<f64>,
    pub precision: Option<f64>,
}

/// How well outputs give back inputs.
#[derive(Serialize)]
pub struct Reconstruction {
    /// Mean over all samples of the mean squared difference, in real numbers.
    pub mean_square_error: f64,
    /// Area under the curve of telling label 1 from label 0 by the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auc: Option<f64>,
}

/// The difference from a reference.
#[derive(Serialize)]
pub struct Reference {
    pub model: String,
    pub executor: &'static str,
    /// Part of the samples where both predict the same class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    pub outputs: Vec<Output>,
}

#[derive(Serialize)]
pub struct Output {
    pub name: String,
    /// Signal to noise of the output in dB; `null` where nothing differs, or with NaN.
    pub sqnr_db: Option<f64>,
    /// Greatest difference of a number, in real numbers; `null` with NaN.
    pub max_abs_difference: Option<f64>,
}

impl Summary {
    /// Sums outcomes up.
    pub fn new(evaluation: &Evaluation<'_>, names: &Names, outcomes: &[Outcome]) -> Self {
        Self {
            model: names.model.clone(),
            samples: outcomes.len(),
            executor: evaluation.model.0.executor(),
            classification: classification(evaluation, outcomes),
            reconstruction: reconstruction(evaluation, outcomes),
            reference: evaluation.reference.map(|(program, _)| Reference {
                model: names.reference.clone().unwrap_or_default(),
                executor: program.executor(),
                agreement: agreement(outcomes),
                outputs: outputs(evaluation, outcomes),
            }),
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        // Serializing plain numbers and strings cannot fail.
        format!("{}\n", serde_json::to_string_pretty(self).unwrap_or_default())
    }
}

fn classification(evaluation: &Evaluation<'_>, outcomes: &[Outcome]) -> Option<Classification> {
    let Role::Classification { classes, .. } = evaluation.role else { return None };
    let (mut confusion, mut top) = (Confusion::new(classes), 0);
    for (label, predicted, rank) in outcomes.iter().filter_map(|outcome| outcome.class) {
        confusion.add(label, predicted);
        top += u64::from(rank < TOP);
    }
    let count = outcomes.len() as u64;
    let names = evaluation.model.1.classes();
    let name =
        |class: usize| names.and_then(|names| names.get(class)).filter(|name| !name.is_empty()).cloned();
    let class = |class: usize| Class {
        name: name(class).unwrap_or_else(|| class.to_string()),
        samples: confusion.samples(class),
        recall: confusion.recall(class),
        precision: confusion.precision(class),
    };
    Some(Classification {
        accuracy: ratio(confusion.correct(), count)?,
        correct: confusion.correct(),
        top5: ratio(top, count).filter(|_| classes > TOP),
        classes: (0..classes).map(class).collect(),
        confusion: confusion.counts().to_vec(),
    })
}

fn reconstruction(evaluation: &Evaluation<'_>, outcomes: &[Outcome]) -> Option<Reconstruction> {
    if evaluation.role != Role::Reconstruction {
        return None;
    }
    let errors: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.error).collect();
    let data = evaluation.model.1;
    let scores: Vec<(f64, bool)> = errors
        .iter()
        .enumerate()
        .filter_map(|(sample, &error)| Some((error, data.label(sample)? == 1)))
        .collect();
    Some(Reconstruction {
        mean_square_error: errors.iter().sum::<f64>() / errors.len().max(1) as f64,
        auc: auc(&scores),
    })
}

fn agreement(outcomes: &[Outcome]) -> Option<f64> {
    let agrees: Vec<bool> = outcomes.iter().filter_map(|outcome| outcome.agrees).collect();
    ratio(agrees.iter().filter(|&&agrees| agrees).count() as u64, agrees.len() as u64)
}

fn outputs(evaluation: &Evaluation<'_>, outcomes: &[Outcome]) -> Vec<Output> {
    let output = |(index, name): (usize, String)| {
        let mut deviation = Deviation::default();
        for outcome in outcomes {
            deviation.add(outcome.deviations.get(index).copied().unwrap_or_default());
        }
        let finite = |number: f64| number.is_finite().then_some(number);
        Output { name, sqnr_db: finite(deviation.sqnr_db()), max_abs_difference: finite(deviation.max_abs) }
    };
    evaluation.model.0.output_names().into_iter().enumerate().map(output).collect()
}
