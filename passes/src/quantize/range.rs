//! Range estimators: from the values that a tensor took to the range that its integers cover.
//!
//! - *min-max*: everything that was seen. Nothing saturates on the samples, at the price of wide steps if there are outliers.
//! - *percentile*: a share of all values, half of the rest lost on either side.
//! - *MSE*: the range with the least mean squared error of quantizing what was seen, found by shrinking either end.
//!
//! None of them is best for every network: where outliers carry the result only min-max will do, where they are rare it wastes half
//! of the integers. So by default each makes a module of int8, and the one whose outputs are nearest on the samples is taken.
//!
//! Source: Nagel et al., "A White Paper on Neural Network Quantization", arXiv:2106.08295, section 3.1; Krishnamoorthi,
//! arXiv:1806.08342, section 3.

use super::histogram::Histogram;
use super::scheme::Activations;
use mcunet_ir::quant::Affine;
use std::fmt;

/// How a tensor's range follows from its values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Estimator {
    /// From the least value to the greatest.
    MinMax,
    /// The range of this share of the values, above 0 and at most 1.
    Percentile(f64),
    /// The range with the least squared error.
    Mse,
}

/// The share of the values that percentiles have inside if no other is given.
pub const PERCENTILE: f64 = 0.9999;

/// Estimators that the best is chosen from for int8. int16 has room for outliers: only min-max counts there.
pub const CANDIDATES: [Estimator; 3] = [Estimator::MinMax, Estimator::Percentile(PERCENTILE), Estimator::Mse];

impl fmt::Display for Estimator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Estimator::MinMax => write!(f, "minmax"),
            Estimator::Percentile(inside) => write!(f, "percentile={}", 100.0 * inside),
            Estimator::Mse => write!(f, "mse"),
        }
    }
}

/// The estimator that ranges are taken with.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Ranges {
    /// Of [`CANDIDATES`] the one whose outputs are nearest to the float module's on the samples.
    #[default]
    Best,
    /// This one.
    By(Estimator),
}

/// Steps in which the MSE estimator shrinks an end of the range.
const SHRINK_STEPS: u32 = 64;

impl Estimator {
    /// The range of a tensor, with 0 in it: zero must be a stored number, since padding is zero.
    pub fn range(self, values: &Histogram, activations: Activations) -> (f32, f32) {
        let range = match self {
            Estimator::MinMax => values.extremes(),
            Estimator::Percentile(inside) => values.percentile(inside),
            Estimator::Mse => least_squares(values, activations),
        };
        (range.0.min(0.0), range.1.max(0.0))
    }
}

/// Shrinks the upper and the lower end in turn, each to where the error is least while the other stays.
fn least_squares(values: &Histogram, activations: Activations) -> (f32, f32) {
    let (min, max) = values.extremes();
    let (min, max) = (min.min(0.0), max.max(0.0));
    let bins: Vec<(f64, u64)> = values.bins().collect();
    let error = |range: (f32, f32)| squared_error(&bins, activations.affine(range), activations);
    let shrunk = |end: f32, step: u32| end * (step as f32 / SHRINK_STEPS as f32);
    let steps = || (SHRINK_STEPS / 8..=SHRINK_STEPS).rev();
    let mut best = ((min, max), error((min, max)));
    for _ in 0..2 {
        for step in steps() {
            for range in [(best.0.0, shrunk(max, step)), (shrunk(min, step), best.0.1)] {
                let found = error(range);
                if found < best.1 {
                    best = (range, found);
                }
            }
        }
    }
    best.0
}

/// Sum of squared differences between numbers and what their integers stand for.
fn squared_error(bins: &[(f64, u64)], affine: Affine, activations: Activations) -> f64 {
    let (min, max) = activations.limits();
    let (scale, zero) = (f64::from(affine.scale.get()), f64::from(affine.zero_point));
    bins.iter()
        .map(|&(value, count)| {
            let stored = ((value / scale).round() + zero).clamp(min as f64, max as f64);
            let error = value - (stored - zero) * scale;
            error * error * count as f64
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.add(values);
        histogram
    }

    #[test]
    fn min_max_is_what_was_seen_and_zero() {
        assert_eq!(Estimator::MinMax.range(&of(&[1.0, 3.0]), Activations::Int8), (0.0, 3.0));
        assert_eq!(Estimator::MinMax.range(&of(&[-2.0, 3.0]), Activations::Int8), (-2.0, 3.0));
    }

    #[test]
    fn an_outlier_moves_only_min_max() {
        let mut values: Vec<f32> = (0..100_000).map(|i| (i % 1000) as f32 / 1000.0).collect();
        values.push(50.0);
        let values = of(&values);
        assert_eq!(Estimator::MinMax.range(&values, Activations::Int8).1, 50.0);
        assert!(Estimator::Percentile(0.999).range(&values, Activations::Int8).1 < 1.1);
    }

    #[test]
    fn the_least_squares_range_gives_up_an_outlier() {
        let values: Vec<f32> = (0..200_000).map(|i| (i % 1000) as f32 / 1000.0).collect();
        let mut values = of(&values);
        values.add(&[40.0]);
        let bins: Vec<(f64, u64)> = values.bins().collect();
        let error = |range| squared_error(&bins, Activations::Int8.affine(range), Activations::Int8);
        let found = Estimator::Mse.range(&values, Activations::Int8);
        assert!(found.1 < 40.0, "{found:?}");
        assert!(error(found) < error((0.0, 40.0)));
    }
}
