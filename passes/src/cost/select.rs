//! Which instructions the C compiler makes of an operation.
//!
//! Counted in the assembly that arm-none-eabi-gcc 12.2 -O3 makes of the emitted C. Literals cost nothing, since they are
//! immediate operands or stay in a register.

use super::Isa;
use super::mix::Mix;
use mcunet_ir::attr::Number;
use mcunet_ir::loops::eval::field_shift;
use mcunet_ir::loops::{LoopOp, ops as l};
use mcunet_ir::module::{Function, Op, OpKind, Value};
use mcunet_ir::types::Type;

/// The integer that a value always is.
pub fn literal(function: &Function, value: Value) -> Option<i64> {
    match &function.ops[function.defining_op(value)?].kind {
        OpKind::Loop(LoopOp::Const(head)) => match head.value {
            Number::Int(value) => Some(value),
            Number::Real(_) => None,
        },
        _ => None,
    }
}

/// Instructions of an operation that computes a value from values; `fused` if its only user takes it in.
pub fn computation(function: &Function, op: Op, kind: &LoopOp, isa: &Isa, fused: bool) -> Mix {
    let data = &function.ops[op];
    let ty = data.results.first().map_or(Type::I32, |&result| function.ty(result).clone());
    let operand = data.operands.first().map_or(Type::I32, |&value| function.ty(value).clone());
    let by_literal = data.operands.get(1).and_then(|&value| literal(function, value));
    let (long, float) = (ty == Type::I64, ty == Type::F32);
    match kind {
        // From one kind of register to the other.
        LoopOp::FloatBits(_) | LoopOp::BitsFloat(_) => Mix::alu(if isa.float { 1.0 } else { 0.0 }),
        LoopOp::Add(_) | LoopOp::Sub(_) if float => float_mix(isa, |mix| mix.float_adds = 1.0, 60.0),
        LoopOp::Mul(_) if float => float_mix(isa, |mix| mix.float_multiplies = 1.0, 50.0),
        LoopOp::Div(_) if float => float_mix(isa, |mix| mix.float_divisions = 1.0, 150.0),
        // Carry from one word to the other; both words.
        LoopOp::Add(_) | LoopOp::Sub(_) | LoopOp::And(_) | LoopOp::Or(_) | LoopOp::Xor(_) => {
            Mix::alu(if long { 2.0 } else { 1.0 })
        }
        LoopOp::Mul(_) if long => {
            let extended = data.operands.iter().all(|&value| {
                literal(function, value).is_some_and(|value| i32::try_from(value).is_ok())
                    || function
                        .defining_op(value)
                        .is_some_and(|op| matches!(function.ops[op].kind, OpKind::Loop(LoopOp::Extend(_))))
            });
            let words = if extended { 0.0 } else { 2.0 };
            isa.long_multiply() + Mix { multiplies: words, ..Mix::default() }
        }
        LoopOp::Mul(_) => match by_literal {
            Some(factor) if factor.unsigned_abs().is_power_of_two() => Mix::alu(1.0),
            // The addition that follows is the multiplication's own.
            _ => Mix {
                multiplies: 1.0,
                alu: if fused && isa.multiply_accumulate { -1.0 } else { 0.0 },
                ..Mix::default()
            },
        },
        LoopOp::Div(_) | LoopOp::Rem(_) => division(by_literal, long, matches!(kind, LoopOp::Rem(_)), isa),
        LoopOp::Min(_) | LoopOp::Max(_) if float => {
            float_mix(isa, |mix| (mix.float_adds, mix.alu) = (2.0, 2.0), 60.0)
        }
        LoopOp::Max(_) if by_literal == Some(0) && !long => Mix::alu(1.0),
        LoopOp::Min(_) | LoopOp::Max(_) => conditional(if long { 4.0 } else { 2.0 }, 1.0),
        LoopOp::Shr(l::Shr { bounded: true }) | LoopOp::Shl(l::Shl { bounded: true }) if !long => {
            Mix::alu(1.0)
        }
        LoopOp::Shl(_) | LoopOp::Shr(_) | LoopOp::ShrU(_) => Mix::alu(match (long, by_literal) {
            (false, Some(_)) => 1.0,
            (false, None) => 2.0,
            (true, Some(32..)) => 2.0,
            (true, Some(_)) => 3.0,
            (true, None) => 9.0,
        }),
        LoopOp::Clz(_) => Mix::alu(if isa.wide { 1.0 } else { 16.0 }),
        LoopOp::Cmp(_) if operand == Type::F32 => float_mix(isa, |mix| mix.float_adds = 2.0, 40.0),
        LoopOp::Cmp(_) => Mix::alu(if operand == Type::I64 { 3.0 } else { 1.0 }),
        // The comparison's flags, then a conditional move.
        LoopOp::Select(_) => conditional(if long { 2.0 } else { 1.0 }, 1.0),
        LoopOp::Extend(_) => Mix::alu(if fused { 0.0 } else { 1.0 }),
        LoopOp::Truncate(_) => Mix::default(),
        LoopOp::ToFloat(_) => float_mix(isa, |mix| mix.float_adds = 2.0, 40.0),
        LoopOp::ToInt(_) => {
            float_mix(isa, |mix| (mix.float_adds, mix.alu, mix.untaken) = (6.0, 2.0, 3.0), 60.0)
        }
        LoopOp::Round(_) => {
            float_mix(isa, |mix| (mix.float_adds, mix.alu, mix.untaken) = (9.0, 4.0, 4.0), 150.0)
        }
        // 25 digits, by subtraction of 64-bit integers.
        LoopOp::Sqrt(_) => {
            Mix { alu: 25.0 * 11.0 + 30.0, taken: 25.0 * 1.5, untaken: 25.0, ..Mix::default() }
        }
        LoopOp::ExtendLanes(_) | LoopOp::ExtendAddLanes(_) => Mix::alu(if isa.dsp { 1.0 } else { 6.0 }),
        // The mask is an immediate operand, and then nothing is shifted along the way.
        LoopOp::FieldLanes(head) => Mix::alu(if field_shift(head.bits, head.field) == 0 { 1.0 } else { 2.0 }),
        LoopOp::SplatLanes(_) => {
            Mix::alu(if literal(function, data.operands[0]).is_some() { 0.0 } else { 2.0 })
        }
        LoopOp::HalfMac(_) if isa.dsp => Mix { multiplies: 1.0, ..Mix::default() },
        LoopOp::HalfMac(_) => Mix { multiplies: 1.0, alu: 3.0, ..Mix::default() },
        LoopOp::DualMac(_) if isa.dsp => Mix { multiplies: 1.0, ..Mix::default() },
        LoopOp::DualMac(_) => Mix { multiplies: 2.0, alu: 4.0, ..Mix::default() },
        LoopOp::DoublingHighMul(_) => doubling_high_mul(by_literal.is_some(), isa),
        LoopOp::MulAddHigh(_) if isa.dsp => Mix { multiplies: 1.0, ..Mix::default() },
        // 2^31 is added to the 64-bit product, and its high word is what remains.
        LoopOp::MulAddHigh(_) => isa.long_multiply() + Mix::alu(3.0),
        LoopOp::RoundShift(_) => round_shift(by_literal.is_some()),
        // The left shift by the positive part of the distance, the right shift by the negative one.
        LoopOp::Requantize(_) => {
            let literal = data.operands[1..].iter().all(|&value| literal(function, value).is_some());
            let shifts = if literal { Mix::alu(1.0) } else { Mix::alu(6.0) + round_shift(false) };
            doubling_high_mul(literal, isa) + shifts
        }
        LoopOp::Saturate(_) => Mix::alu(if isa.wide { 1.0 } else { 6.0 }),
        _ => Mix::default(),
    }
}

/// Arithmetic of which some is conditional.
fn conditional(alu: f64, conditions: f64) -> Mix {
    Mix { alu, conditions, ..Mix::default() }
}

/// Instructions of a floating-point unit, or so many of a library.
fn float_mix(isa: &Isa, with: impl Fn(&mut Mix), soft: f64) -> Mix {
    let mut mix = Mix::default();
    if isa.float {
        with(&mut mix);
        return mix;
    }
    Mix { alu: soft, untaken: 4.0, taken: 4.0, ..mix }
}

fn division(by_literal: Option<i64>, long: bool, remainder: bool, isa: &Isa) -> Mix {
    let back = if remainder { Mix { multiplies: 1.0, ..Mix::default() } } else { Mix::default() };
    match by_literal {
        _ if long => Mix { alu: 80.0, taken: 10.0, untaken: 10.0, ..back },
        Some(divisor) if divisor > 0 && (divisor as u64).is_power_of_two() => Mix { alu: 3.0, ..back },
        // By multiplication with the reciprocal.
        Some(divisor) if divisor > 0 => isa.long_multiply() + Mix { alu: 3.0, ..back },
        _ if isa.wide => Mix { alu: 2.0, divisions: 1.0, untaken: 2.0, ..back },
        _ => Mix { alu: 60.0, taken: 20.0, untaken: 20.0, ..back },
    }
}

/// Multipliers are at least 2^30, so that the one instruction of the DSP extension does it. From a table that is tested, and
/// the code for that lies elsewhere: a branch there and one back.
fn doubling_high_mul(literal: bool, isa: &Isa) -> Mix {
    match (isa.dsp, literal) {
        (true, true) => Mix { multiplies: 1.0, ..Mix::default() },
        (true, false) => Mix { multiplies: 1.0, alu: 2.0, taken: 2.0, ..Mix::default() },
        // The product that overflows is tested for; 64 bits are rounded and shifted.
        (false, _) => {
            isa.long_multiply() + Mix { alu: if literal { 4.0 } else { 6.0 }, untaken: 1.0, ..Mix::default() }
        }
    }
}

/// Mask and threshold, shift, and the comparison that decides about one more.
fn round_shift(literal: bool) -> Mix {
    if literal { conditional(7.0, 2.0) } else { conditional(9.0, 1.0) }
}
