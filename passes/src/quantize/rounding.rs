//! Learned rounding: the integers of a layer for which its results, not its weights, are nearest.
//!
//! Rounding to nearest is best for each weight alone, but errors of weights whose inputs go together add up. For the second
//! moments of the layer's inputs, the error of a channel is a quadratic function of its integers: finding its least is the
//! closest-vector problem. Inputs are those that the layer gets from the integer layers before it and the wanted results those of
//! the float layer, so that a layer also makes good what the layers before it got wrong; a ridge keeps near the weights what
//! few samples don't show. Method:
//!
//! 1. The real weights with the least error, by a Cholesky factorization that all channels of the layer share.
//! 2. One weight after the other is rounded, those with the largest inputs first, and its error passed on to the real weights that are
//!    still to come (Babai's nearest plane; as in GPTQ, Frantar et al. 2022, arXiv:2210.17323). With few bits for several
//!    scales, of which the one with the least error is taken.
//! 3. Coordinate descent: each weight goes to the integer that is best for what the others are, until none moves.
//!
//! The objective is the layer-wise one of AdaRound (Nagel et al. 2020, arXiv:2004.10568, equation 13). Time: cubic in the
//! weights of a channel once per layer, then quadratic for each channel and scale.

use super::gram::Moments;
use super::scheme::{Bits, StoredWeights};

/// Sweeps over the weights at most.
const SWEEPS: usize = 32;
/// Scales that are tried for few bits, as parts of the one with the least error of the weights alone.
const SCALE_PARTS: [f32; 13] = [0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3];

/// Scales to choose from, given the best one for the weights alone and the least that is allowed. With 8 bits outliers are not worth
/// giving up.
pub fn scales(best: f32, least: f32, bits: Bits) -> Vec<f32> {
    if bits == Bits::Eight {
        return vec![best];
    }
    SCALE_PARTS.iter().map(|part| (best * part).max(least)).collect()
}

/// The error of channels that share their inputs.
#[derive(Debug)]
pub struct Problem<'a> {
    moments: &'a Moments,
    /// Whether biases will be corrected afterwards, so that means don't count.
    centered: bool,
    ridge: f64,
    /// Half the second derivative of the error.
    rows: Vec<f64>,
    /// Weights by the size of their inputs, ascending.
    order: Vec<usize>,
    /// Lower Cholesky factor of the rows in this order, row-major.
    factor: Vec<f64>,
}

impl<'a> Problem<'a> {
    /// With `ridge` as the weight of staying at the float weights, a share of the mean square of an input. `None` if inputs are
    /// nothing but zeros.
    pub fn new(moments: &'a Moments, centered: bool, ridge: f64) -> Option<Self> {
        let size = moments.size;
        let count = moments.count.max(1.0);
        let mean_square = |i: usize, j: usize| {
            let means = if centered { moments.inputs[i] * moments.inputs[j] / count } else { 0.0 };
            (moments.squares[i * size + j] - means) / count
        };
        let diagonal: Vec<f64> = (0..size).map(|i| mean_square(i, i)).collect();
        let mean = diagonal.iter().sum::<f64>() / size.max(1) as f64;
        if mean <= 0.0 {
            return None;
        }
        let ridge = ridge * mean;
        let mut rows = Vec::with_capacity(size * size);
        for i in 0..size {
            rows.extend((0..size).map(|j| mean_square(i, j) + if i == j { ridge } else { 0.0 }));
        }
        let mut order: Vec<usize> = (0..size).collect();
        order.sort_by(|&i, &j| rows[i * size + i].total_cmp(&rows[j * size + j]));
        let factor = cholesky(&rows, &order)?;
        Some(Self { moments, centered, ridge, rows, order, factor })
    }

    /// The best integers that were found for the channel at a position of the moments, from its float weights, with one of the given
    /// scales.
    pub fn learn(
        &self,
        position: usize,
        weights: &[f32],
        scales: &[f32],
        bits: Bits,
    ) -> Option<StoredWeights> {
        let target = self.target(position, weights);
        let free = self.solve(&target);
        let start = |&scale: &f32| {
            let (steps, error) = self.nearest_plane(&free, f64::from(scale), bits);
            (StoredWeights { scale, steps }, error)
        };
        let (mut learned, _) = scales.iter().map(start).min_by(|a, b| a.1.total_cmp(&b.1))?;
        self.descend(&target, &mut learned, bits);
        Some(learned)
    }

    /// What rows times weights should be.
    fn target(&self, position: usize, weights: &[f32]) -> Vec<f64> {
        let count = self.moments.count.max(1.0);
        let wanted = if self.centered { self.moments.wanted[position] / count } else { 0.0 };
        let products = self.moments.products[position].iter().zip(&self.moments.inputs);
        products
            .zip(weights)
            .map(|((product, input), &weight)| {
                (product - input * wanted) / count + self.ridge * f64::from(weight)
            })
            .collect()
    }

    /// The real weights with the least error, in order.
    fn solve(&self, target: &[f64]) -> Vec<f64> {
        let size = self.order.len();
        let mut x: Vec<f64> = self.order.iter().map(|&i| target[i]).collect();
        for i in 0..size {
            let row = &self.factor[i * size..][..=i];
            let sum: f64 = row[..i].iter().zip(&x).map(|(l, x)| l * x).sum();
            x[i] = (x[i] - sum) / row[i];
        }
        for i in (0..size).rev() {
            let row = &self.factor[i * size..][..=i];
            let own = x[i] / row[i];
            x[i] = own;
            x[..i].iter_mut().zip(row).for_each(|(x, l)| *x -= l * own);
        }
        x
    }

    /// Rounds one weight after the other, from the last in order on, and moves those before by what makes its error good. The integers
    /// and their error beyond that of the real weights.
    fn nearest_plane(&self, free: &[f64], scale: f64, bits: Bits) -> (Vec<i64>, f64) {
        let size = self.order.len();
        let (mut steps, mut total) = (vec![0; size], 0.0);
        // Sums of factor times error of the weights that are rounded.
        let mut passed_on = vec![0.0; size];
        for k in (0..size).rev() {
            let row = &self.factor[k * size..][..=k];
            let moved = free[k] + passed_on[k] / row[k];
            let step = ((moved / scale).round() as i64).clamp(-bits.greatest(), bits.greatest());
            steps[self.order[k]] = step;
            let rounded = scale * step as f64;
            total += (row[k] * (moved - rounded)).powi(2);
            let error = free[k] - rounded;
            passed_on.iter_mut().zip(&row[..k]).for_each(|(sum, l)| *sum += l * error);
        }
        (steps, total)
    }

    /// Moves single weights while that makes the error smaller.
    fn descend(&self, target: &[f64], learned: &mut StoredWeights, bits: Bits) {
        let size = self.order.len();
        let (scale, steps) = (f64::from(learned.scale), &mut learned.steps);
        let row = |i: usize| &self.rows[i * size..][..size];
        // Gradient of half the error.
        let product =
            |i: usize| row(i).iter().zip(&*steps).map(|(h, &step)| h * scale * step as f64).sum::<f64>();
        let mut gradient: Vec<f64> = (0..size).map(|i| product(i) - target[i]).collect();
        for _ in 0..SWEEPS {
            let mut moved = false;
            for i in 0..size {
                let best = scale * steps[i] as f64 - gradient[i] / row(i)[i];
                let step = ((best / scale).round() as i64).clamp(-bits.greatest(), bits.greatest());
                let change = scale * (step - steps[i]) as f64;
                if change != 0.0 {
                    moved = true;
                    steps[i] = step;
                    gradient.iter_mut().zip(row(i)).for_each(|(sum, h)| *sum += h * change);
                }
            }
            if !moved {
                break;
            }
        }
    }
}

/// Mean squared error of a channel on other moments than those that its integers and, if `centered`, its bias were learned from, but
/// for what does not depend on them.
pub fn error(
    learned: &Moments,
    checked: &Moments,
    position: usize,
    channel: &StoredWeights,
    centered: bool,
) -> f64 {
    let weights: Vec<f64> =
        channel.steps.iter().map(|&step| f64::from(channel.scale) * step as f64).collect();
    let dot =
        |a: &[f64], count: f64| a.iter().zip(&weights).map(|(a, w)| a * w).sum::<f64>() / count.max(1.0);
    let mean_error = |moments: &Moments| {
        dot(&moments.inputs, moments.count) - moments.wanted[position] / moments.count.max(1.0)
    };
    let square: f64 = checked
        .squares
        .chunks(checked.size.max(1))
        .zip(&weights)
        .map(|(row, w)| w * dot(row, checked.count))
        .sum();
    let shift = if centered { -mean_error(learned) } else { 0.0 };
    square - 2.0 * dot(&checked.products[position], checked.count)
        + 2.0 * shift * mean_error(checked)
        + shift * shift
}

/// The lower Cholesky factor of a symmetric matrix whose rows and columns are taken in an order; `None` if it is not positive
/// definite.
fn cholesky(rows: &[f64], order: &[usize]) -> Option<Vec<f64>> {
    let size = order.len();
    let mut factor = vec![0.0; size * size];
    for i in 0..size {
        let (above, own) = factor.split_at_mut(i * size);
        for j in 0..=i {
            let before = if j == i { &own[..j] } else { &above[j * size..][..j] };
            let sum: f64 = before.iter().zip(&own[..j]).map(|(a, b)| a * b).sum();
            let rest = rows[order[i] * size + order[j]] - sum;
            own[j] = if j < i {
                rest / above[j * size + j]
            } else if rest > 0.0 {
                rest.sqrt()
            } else {
                return None;
            };
        }
    }
    Some(factor)
}

#[cfg(test)]
mod tests {
    use super::super::scheme::round_weight;
    use super::*;

    /// Moments of random windows of correlated inputs, with the results of the given weights.
    fn moments(weights: &[f32], random: &mut fastrand::Rng) -> Moments {
        let size = weights.len();
        let mut moments = Moments::new(vec![0], size, true);
        for _ in 0..64 {
            let common = random.f32();
            let window: Vec<f32> = (0..size).map(|_| common + random.f32() * 0.5).collect();
            let wanted: f32 = window.iter().zip(weights).map(|(x, w)| x * w).sum();
            moments.add(&window, |_| wanted);
        }
        moments
    }

    /// Mean squared error beyond what does not depend on the weights.
    fn error_of(moments: &Moments, scale: f32, steps: Vec<i64>) -> f64 {
        error(moments, moments, 0, &StoredWeights { scale, steps }, false)
    }

    #[test]
    fn learned_integers_are_hardly_worse_than_the_best_and_far_better_than_the_nearest() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut learned_total, mut best_total, mut nearest_total) = (0.0, 0.0, 0.0);
        for _ in 0..50 {
            let weights: Vec<f32> = (0..6).map(|_| random.f32() * 2.0 - 1.0).collect();
            let moments = moments(&weights, &mut random);
            let scale = 1.0;
            // All that 2 bits can store.
            let every = (0..3i64.pow(6)).map(|code| (0..6).map(|at| code / 3i64.pow(at) % 3 - 1).collect());
            let best = every.map(|steps| error_of(&moments, scale, steps)).fold(f64::INFINITY, f64::min);
            let problem = Problem::new(&moments, false, 1e-6).expect("inputs are not zero");
            let learned = problem.learn(0, &weights, &[scale], Bits::Two).expect("a scale was given");
            let nearest = weights.iter().map(|&w| round_weight(w, scale, Bits::Two)).collect();
            // The float weights have no error, so that its constant part is what they lack.
            let exact = moments.products[0].iter().zip(&weights).map(|(p, &w)| p * f64::from(w)).sum::<f64>()
                / moments.count;
            learned_total += error_of(&moments, scale, learned.steps) + exact;
            best_total += best + exact;
            nearest_total += error_of(&moments, scale, nearest) + exact;
        }
        assert!(learned_total < 1.5 * best_total, "{learned_total} learned, {best_total} best");
        assert!(learned_total < 0.2 * nearest_total, "{learned_total} learned, {nearest_total} nearest");
    }

    #[test]
    fn a_large_ridge_rounds_to_nearest() {
        let mut random = fastrand::Rng::with_seed(2);
        let weights = [0.3, -0.6, 0.9, 0.1];
        let moments = moments(&weights, &mut random);
        let problem = Problem::new(&moments, true, 1e9).expect("inputs are not zero");
        let learned = problem.learn(0, &weights, &[0.125], Bits::Four).expect("a scale was given");
        assert_eq!(learned.steps, weights.map(|w| round_weight(w, 0.125, Bits::Four)));
    }

    #[test]
    fn inputs_of_zeros_say_nothing() {
        assert!(Problem::new(&Moments::new(vec![0], 3, true), true, 1e-2).is_none());
    }
}
