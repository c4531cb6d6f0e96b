//! Learned rounding: which way each weight is rounded so that the layer's results, not the weights, are nearest.
//!
//! Rounding to nearest is best for each weight alone, but errors of weights whose inputs go together add up. For the second
//! moments of the layer's inputs, the error of a channel is a quadratic function of its integers; it is made smaller one weight
//! at a time, each by at most one step from the nearest, until no weight moves. Inputs are those that the layer gets from the
//! integer layers before it and the wanted results those of the float layer, so that a layer also makes good what the
//! layers before it got wrong. This is the layer-wise objective of AdaRound (Nagel et al. 2020, arXiv:2004.10568, equation
//! 13) with the coordinate descent of its quadratic form instead of a gradient descent on a relaxation of it; a ridge
//! keeps what few samples don't show near the weights.
//!
//! Time: a sweep takes as many additions per channel as weights times moved weights.

use super::gram::Moments;
use super::scheme::Bits;

/// Weight of staying at the float weights, as a share of the mean square of an input.
const RIDGE: f64 = 1e-2;
/// Sweeps over the weights at most.
const SWEEPS: usize = 32;

/// The integers of a channel that were found, from its float weights.
///
/// `output` is the channel's position in the moments. If `centered`, the bias will be corrected afterwards, so that means don't
/// count.
pub fn learn(
    moments: &Moments,
    output: usize,
    weights: &[f32],
    scale: f32,
    bits: Bits,
    centered: bool,
) -> Vec<i64> {
    let (size, scale) = (moments.size, f64::from(scale));
    let limit = bits.greatest();
    let mean = |sum: f64| sum / moments.count.max(1.0);
    let inputs: Vec<f64> = moments.inputs.iter().map(|&sum| mean(sum)).collect();
    let wanted = mean(moments.wanted[output]);
    let off = |value: f64| if centered { value } else { 0.0 };
    let square = |i: usize, j: usize| mean(moments.squares[i * size + j]) - off(inputs[i] * inputs[j]);
    let ridge = RIDGE * (0..size).map(|i| square(i, i)).sum::<f64>() / size.max(1) as f64;
    if ridge <= 0.0 {
        return weights.iter().map(|&w| super::scheme::round_weight(w, scale as f32, bits)).collect();
    }
    let rows: Vec<f64> = (0..size * size)
        .map(|at| square(at / size, at % size) + if at / size == at % size { ridge } else { 0.0 })
        .collect();
    let nearest: Vec<i64> =
        weights.iter().map(|&w| super::scheme::round_weight(w, scale as f32, bits)).collect();
    let mut steps = nearest.clone();
    // Gradient of half the error: rows * (scale * steps) - target.
    let mut gradient: Vec<f64> = (0..size)
        .map(|i| {
            let row = &rows[i * size..][..size];
            let product: f64 = row.iter().zip(&steps).map(|(h, &step)| h * scale * step as f64).sum();
            let target =
                mean(moments.products[output][i]) - off(inputs[i] * wanted) + ridge * f64::from(weights[i]);
            product - target
        })
        .collect();
    for _ in 0..SWEEPS {
        let mut moved = false;
        for i in 0..size {
            let best = scale * steps[i] as f64 - gradient[i] / rows[i * size + i];
            let low = (nearest[i] - 1).max(-limit);
            let high = (nearest[i] + 1).min(limit);
            let step = ((best / scale).round() as i64).clamp(low, high);
            let change = scale * (step - steps[i]) as f64;
            if change != 0.0 {
                moved = true;
                steps[i] = step;
                let row = &rows[i * size..][..size];
                gradient.iter_mut().zip(row).for_each(|(sum, h)| *sum += h * change);
            }
        }
        if !moved {
            break;
        }
    }
    steps
}
