//! Operations element by element, by evaluating them where their extremes lie.

use super::{Interval, Operand, channel_count, is_monotone};
use mcunet_ir::attr::Clamp;
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::binary::{CommonScale, product_multiplier};
use mcunet_ir::nn::quantize::requantize_multiplier;
use mcunet_ir::nn::requantize::{integer_limits, reach};
use mcunet_ir::nn::unary::{int8_table, rescale_multiplier};
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Tensor, TensorType};

/// Pairs of operands of a channel that are tried one by one, where extremes may lie anywhere.
const MAX_PAIRS: i64 = 4096;

pub(super) fn unary(kind: &NnOp, operands: &[Operand<'_>], result: &TensorType) -> Option<Vec<Interval>> {
    let operand = operands.first()?;
    let channels = operand.channels?;
    if let Some(table) = int8_table(kind, operand.ty, result) {
        let hull = |x: &Interval| {
            let inputs = usize::try_from(x.min + 128).ok()?..=usize::try_from(x.max + 128).ok()?;
            Interval::hull(table.get(inputs)?.iter().map(|&y| Interval::point(y.into())))
        };
        return channels.iter().map(hull).collect();
    }
    let grows = |multiplier: QuantizedMultiplier| {
        let (from, to) = (operand.ty.affine()?, result.affine()?);
        let centered = operand.hull()?.minus(from.zero_point);
        is_monotone(centered, multiplier, to.zero_point).then_some(())
    };
    match kind {
        // Between other integers than int8; the ends are where the extremes are.
        NnOp::Quantize(_) => {
            grows(requantize_multiplier(operand.ty.affine()?, result.affine()?)?)?;
            between_ends(kind, channels, operand.ty, result)
        }
        NnOp::Relu(_) => {
            grows(rescale_multiplier(operand.ty.affine()?, result.affine()?)?)?;
            between_ends(kind, channels, operand.ty, result)
        }
        // Lines of a growing table.
        NnOp::Tanh(_) | NnOp::Logistic(_) => between_ends(kind, channels, operand.ty, result),
        NnOp::Cast(_) => {
            let all = Interval::of_storage(result.storage())?;
            // What does not fit keeps its low bits, which can be any.
            let kept = |x: &Interval| if all.contains(x.min) && all.contains(x.max) { *x } else { all };
            Some(channels.iter().map(kept).collect())
        }
        _ => None,
    }
}

/// Intervals of a function that grows with its operand.
fn between_ends(
    kind: &NnOp,
    channels: &[Interval],
    operand: &TensorType,
    result: &TensorType,
) -> Option<Vec<Interval>> {
    let ends = |end: fn(&Interval) -> i64| -> Option<Vec<i64>> {
        let ends: Vec<i64> = channels.iter().map(end).collect();
        evaluate(kind, &[(operand, ends)], result)
    };
    let (low, high) = (ends(|x| x.min)?, ends(|x| x.max)?);
    Some(low.into_iter().zip(high).map(|(low, high)| Interval::between(low, high)).collect())
}

pub(super) fn binary(kind: &NnOp, operands: &[Operand<'_>], result: &TensorType) -> Option<Vec<Interval>> {
    let [lhs, rhs] = operands else { return None };
    let count = channel_count(&result.shape);
    let pair = |c: usize| Some((channel(lhs, c, count)?, channel(rhs, c, count)?));
    let pairs: Vec<(Interval, Interval)> = (0..count).map(pair).collect::<Option<_>>()?;
    let limits = integer_limits(clamp(kind), result.storage());
    if let (Scalar::I32, NnOp::Add(_) | NnOp::Sub(_) | NnOp::Mul(_)) = (result.storage(), kind) {
        return Some(pairs.iter().map(|&(a, b)| integers(kind, a, b).limited(limits)).collect());
    }
    let [lhs, rhs] = [lhs.ty, rhs.ty];
    let at_corners = match kind {
        NnOp::Add(_) => {
            let scale = CommonScale::of_add([lhs, rhs, result])?;
            sum_is_monotone(scale, operand_reach([lhs, rhs])?, result)?
        }
        NnOp::Sub(_) => {
            let scale = CommonScale::of_sub([lhs, rhs, result])?;
            sum_is_monotone(scale, operand_reach([lhs, rhs])?, result)?
        }
        NnOp::Mul(_) => {
            let most = operand_reach([lhs, rhs])?;
            let products = Interval { min: -most * most, max: most * most };
            is_monotone(products, product_multiplier([lhs, rhs, result])?, result.affine()?.zero_point)
        }
        NnOp::Maximum(_) | NnOp::Minimum(_) => true,
        _ => false,
    };
    let whole = Interval::of_storage(result.storage())?.limited(limits);
    let mut samples = (Vec::new(), Vec::new(), Vec::new());
    let mut add = |c: usize, a: i64, b: i64| {
        samples.0.push(c);
        samples.1.push(a);
        samples.2.push(b);
    };
    let mut channels: Vec<Option<Interval>> = vec![None; count];
    for (c, &(a, b)) in pairs.iter().enumerate() {
        if at_corners {
            [(a.min, b.min), (a.min, b.max), (a.max, b.min), (a.max, b.max)]
                .into_iter()
                .for_each(|(a, b)| add(c, a, b));
        } else if (a.max - a.min + 1).saturating_mul(b.max - b.min + 1) <= MAX_PAIRS {
            (a.min..=a.max).for_each(|x| (b.min..=b.max).for_each(|y| add(c, x, y)));
        } else {
            channels[c] = Some(whole);
        }
    }
    let (of, left, right) = samples;
    let found = evaluate(kind, &[(lhs, left), (rhs, right)], result)?;
    for (c, value) in of.into_iter().zip(found) {
        let value = Interval::point(value);
        channels[c] = Some(channels[c].map_or(value, |interval| interval.union(value)));
    }
    channels.into_iter().collect()
}

/// The interval of the operand's channel that meets channel `c` of `count`.
fn channel(operand: &Operand<'_>, c: usize, count: usize) -> Option<Interval> {
    let channels = operand.channels?;
    match channels {
        [all] => Some(*all),
        _ if channels.len() == count => channels.get(c).copied(),
        _ => None,
    }
}

fn clamp(kind: &NnOp) -> Clamp {
    match kind {
        NnOp::Add(op) => op.clamp,
        NnOp::Sub(op) => op.clamp,
        NnOp::Mul(op) => op.clamp,
        NnOp::Div(op) => op.clamp,
        _ => Clamp::None,
    }
}

/// How far the operands are from their zero points at most.
fn operand_reach(operands: [&TensorType; 2]) -> Option<i64> {
    let [lhs, rhs] = operands.map(reach);
    i64::try_from(lhs?.max(rhs?)).ok()
}

/// Whether a sum or difference of quantized numbers of at most `most` never wraps.
fn sum_is_monotone(scale: CommonScale, most: i64, result: &TensorType) -> Option<bool> {
    let shrinks = |m: QuantizedMultiplier| m.multiplier >= 0 && m.shift <= 0;
    let most = 2 * (most << scale.left_shift);
    let sums = Interval { min: -most, max: most };
    let zero_point = result.affine()?.zero_point;
    Some(shrinks(scale.lhs) && shrinks(scale.rhs) && is_monotone(sums, scale.output, zero_point))
}

/// Plain i32 arithmetic, which wraps.
fn integers(kind: &NnOp, a: Interval, b: Interval) -> Interval {
    let exact = match kind {
        NnOp::Add(_) => a.plus(b),
        NnOp::Sub(_) => a.plus(b.times(-1)),
        _ => a.times(b.min).union(a.times(b.max)),
    };
    let all = Interval { min: i32::MIN.into(), max: i32::MAX.into() };
    if all.contains(exact.min) && all.contains(exact.max) { exact } else { all }
}

/// The operation's own results for lists of operands.
fn evaluate(kind: &NnOp, operands: &[(&TensorType, Vec<i64>)], result: &TensorType) -> Option<Vec<i64>> {
    let count = operands.first()?.1.len();
    let tensor = |(ty, items): &(&TensorType, Vec<i64>)| {
        let data = Data::from_i64s(ty.storage(), items.iter().copied())?;
        Tensor::new(ty.with_shape([count]), data).ok()
    };
    let operands: Vec<Tensor> = operands.iter().map(tensor).collect::<Option<_>>()?;
    let operands: Vec<&Tensor> = operands.iter().collect();
    let results = kind.semantics().evaluate(&operands, &[&result.with_shape([count])]).ok()?;
    results.first()?.data.to_i64s()
}
