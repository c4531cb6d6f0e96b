//! Operations that move elements: the channels of results are unions of those of operands.

use super::{Interval, Operand, channel_count};
use mcunet_ir::TensorType;
use mcunet_ir::attr::Number;
use mcunet_ir::nn::NnOp;

pub(super) fn of_kind(
    kind: &NnOp,
    operands: &[Operand<'_>],
    results: &[&TensorType],
) -> Option<Vec<Option<Vec<Interval>>>> {
    let operand = operands.first()?;
    let channels = operand.channels?;
    let last = operand.ty.shape.rank().checked_sub(1)?;
    let count = results.first().map(|ty| channel_count(&ty.shape))?;
    let same = || Some(channels.to_vec());
    let all = |count: usize| Some(vec![operand.hull()?; count]);
    let result = match kind {
        NnOp::Reshape(_) => regrouped(channels, count),
        NnOp::Transpose(op) if op.permutation.last() == Some(&last) => same(),
        NnOp::Transpose(_) => all(count),
        NnOp::Concat(op) if op.axis == last => {
            let parts: Option<Vec<&[Interval]>> = operands.iter().map(|operand| operand.channels).collect();
            parts.map(|parts| parts.concat())
        }
        NnOp::Concat(_) => union(operands),
        NnOp::Pack(op) if op.axis == last + 1 => operands.iter().map(Operand::hull).collect(),
        NnOp::Pack(_) => union(operands),
        NnOp::Split(op) => {
            let mut start = 0;
            let pieces = op.sizes.iter().map(|size| {
                let piece = channels.get(start..start + size).map(<[_]>::to_vec);
                start += size;
                if op.axis == last { piece } else { same() }
            });
            return Some(pieces.collect());
        }
        NnOp::Unpack(op) if op.axis == last => {
            let piece =
                |(&interval, ty): (&Interval, &&TensorType)| Some(vec![interval; channel_count(&ty.shape)]);
            return Some(channels.iter().zip(results).map(piece).collect());
        }
        NnOp::Unpack(_) => return Some(results.iter().map(|_| same()).collect()),
        NnOp::Slice(op) => {
            let (begin, stride) = (*op.begin.get(last)? as i64, *op.stride.get(last)?);
            let at = |i: usize| channels.get(usize::try_from(begin + stride * i as i64).ok()?).copied();
            (0..count).map(at).collect()
        }
        NnOp::Insert(op) => {
            let (tile, begin) = (operands.get(1)?.channels?, *op.begin.get(last)?);
            let mut all = channels.to_vec();
            for (interval, &tile) in all.iter_mut().skip(begin).zip(tile) {
                *interval = interval.union(tile);
            }
            Some(all)
        }
        NnOp::Pad(op) => {
            let Number::Int(value) = op.value else { return None };
            let padding = Interval::point(value);
            let around = op.low.iter().chain(&op.high).enumerate();
            let around = around.filter(|(i, _)| i % (last + 1) != last).any(|(_, &amount)| amount > 0);
            let inner = channels.iter().map(|&x| if around { x.union(padding) } else { x });
            let side = |amount: usize| std::iter::repeat_n(padding, amount);
            Some(side(*op.low.get(last)?).chain(inner).chain(side(*op.high.get(last)?)).collect())
        }
        NnOp::Gather(op) if op.axis != last => same(),
        NnOp::Gather(_) => all(count),
        NnOp::Tile(_) => Some((0..count).map(|i| channels[i % channels.len()]).collect()),
        // Interpolated numbers lie between those they are made of.
        NnOp::ResizeBilinear(_) | NnOp::ResizeNearest(_) => same(),
        NnOp::DepthToSpace(_) => regrouped(channels, count),
        NnOp::SpaceToDepth(_) => Some((0..count).map(|i| channels[i % channels.len()]).collect()),
        _ => None,
    };
    Some(vec![result])
}

/// The same elements in rows of another length. An element's place modulo a common divisor of both lengths stays.
pub(super) fn regrouped(channels: &[Interval], count: usize) -> Option<Vec<Interval>> {
    let period = gcd(channels.len(), count);
    if period == 0 {
        return None;
    }
    let hull = |at: usize| Interval::hull(channels.iter().skip(at).step_by(period).copied());
    let hulls: Vec<Interval> = (0..period).map(hull).collect::<Option<_>>()?;
    Some((0..count).map(|i| hulls[i % period]).collect())
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn union(operands: &[Operand<'_>]) -> Option<Vec<Interval>> {
    let mut parts = operands.iter().map(|operand| operand.channels);
    let first = parts.next()??.to_vec();
    parts.try_fold(first, |mut all, part| {
        all.iter_mut().zip(part?).for_each(|(all, &part)| *all = all.union(part));
        Some(all)
    })
}
