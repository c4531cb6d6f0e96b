//! A layer's integers and bias, fitted to what its inputs look like and what the float layer makes of them.
//!
//! How far weights may move from the float ones depends on how much the samples show. Several ridges are tried on most of the
//! samples, and the one with the least error on the others is taken for all of them.

use super::gram::{Moments, Split};
use super::refine::Refinement;
use super::rewrite::Choice;
use super::rounding::{Problem, error, scales};
use super::scheme::{Bits, StoredWeights};
use super::weights::{self, Integers, Parameters};
use mcunet_ir::quant::Affine;

/// Weights of staying at the float weights to choose from, as shares of the mean square of an input.
const RIDGES: [f64; 7] = [3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0];

/// A layer with what it is fitted to.
#[derive(Debug)]
pub struct Fit<'a> {
    /// Moments of its windows, for groups of output channels.
    pub splits: Vec<Split>,
    /// Its parameters as floats.
    pub parameters: Parameters<'a>,
    /// Scale and zero point of its input.
    pub input: Affine,
    /// One weight scale for all channels.
    pub per_tensor: bool,
}

impl Fit<'_> {
    /// The layer with weights of the given bits, refined as wanted.
    pub fn choose(&self, bits: Bits, refinement: Refinement) -> Choice {
        let scales = weights::scales(self.parameters, self.input, bits, self.per_tensor);
        let nearest = weights::nearest(self.parameters, scales, bits);
        let all: Vec<Moments> = self.splits.iter().map(Split::all).collect();
        let integers =
            if refinement.rounding { self.learn(&all, nearest, bits, refinement.bias) } else { nearest };
        let shift = if refinement.bias { self.shifts(&all, &integers) } else { Vec::new() };
        Choice { bits, shift, integers: refinement.rounding.then_some(integers) }
    }

    /// Integers with the least error, and scales as well where each channel may have its own.
    fn learn(&self, all: &[Moments], mut integers: Integers, bits: Bits, centered: bool) -> Integers {
        let ridge = self.best_ridge(&integers, bits, centered);
        let least = weights::least_scales(self.parameters, self.input);
        for moments in all {
            let Some(problem) = Problem::new(moments, centered, ridge) else { continue };
            for (position, &output) in moments.outputs.iter().enumerate() {
                let scale = integers.scales[output];
                let scales = if self.per_tensor { vec![scale] } else { scales(scale, least[output], bits) };
                let (places, weights) = self.channel(output);
                let Some(learned) = problem.learn(position, &weights, &scales, bits) else { continue };
                places.iter().zip(learned.steps).for_each(|(&at, step)| integers.steps[at] = step);
                integers.scales[output] = learned.scale;
            }
        }
        integers
    }

    /// The ridge whose weights have the least error on samples that they were not learned from.
    fn best_ridge(&self, nearest: &Integers, bits: Bits, centered: bool) -> f64 {
        let error_of = |ridge: f64| -> f64 {
            let of_group = |split: &Split| -> f64 {
                let problem = Problem::new(&split.learned, centered, ridge);
                let of_channel = |(position, &output): (usize, &usize)| {
                    let (places, weights) = self.channel(output);
                    let scale = nearest.scales[output];
                    let steps = || places.iter().map(|&at| nearest.steps[at]).collect();
                    let learned = problem.as_ref().and_then(|p| p.learn(position, &weights, &[scale], bits));
                    let learned = learned.unwrap_or_else(|| StoredWeights { scale, steps: steps() });
                    error(&split.learned, &split.checked, position, &learned, centered)
                };
                split.learned.outputs.iter().enumerate().map(of_channel).sum()
            };
            self.splits.iter().map(of_group).sum()
        };
        let errors = RIDGES.map(|ridge| (ridge, error_of(ridge)));
        errors.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(1.0, |(ridge, _)| ridge)
    }

    /// The mean error of every output channel, which its bias takes away.
    fn shifts(&self, all: &[Moments], integers: &Integers) -> Vec<f32> {
        let mut shifts = vec![0.0; integers.scales.len()];
        for moments in all {
            for (position, &output) in moments.outputs.iter().enumerate() {
                let scale = f64::from(integers.scales[output]);
                let (places, _) = self.channel(output);
                let weights = places.iter().map(|&at| scale * integers.steps[at] as f64);
                let made: f64 = weights.zip(&moments.inputs).map(|(w, x)| w * x).sum();
                shifts[output] = ((moments.wanted[position] - made) / moments.count.max(1.0)) as f32;
            }
        }
        shifts
    }

    /// An output channel's weights and their positions in the filter.
    fn channel(&self, output: usize) -> (Vec<usize>, Vec<f32>) {
        let Parameters { filter, axis, .. } = self.parameters;
        let channel = weights::channels(&filter.ty, axis);
        let weights = filter.f32s().unwrap_or_default().iter().enumerate();
        weights.filter(|(at, _)| channel(*at) == output).map(|(at, &weight)| (at, weight)).unzip()
    }
}
