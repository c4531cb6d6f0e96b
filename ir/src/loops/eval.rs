//! What the pure ops of the `loop` dialect compute. Every executor and back end agrees with this file to the bit.

use super::LoopOp;
use super::ops::{Predicate, Rounding};
use crate::attr::Number;
use crate::fixed_point;
use crate::types::{Scalar, Type};

/// The content of a register.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Word {
    /// Truth value.
    I1(bool),
    /// 32-bit integer.
    I32(i32),
    /// 64-bit integer.
    I64(i64),
    /// Float.
    F32(f32),
    /// Packed lanes, lane 0 lowest.
    Packed(u32),
    /// A memory, by number in the machine that runs the program.
    Memory(u32),
}

/// Why a program stopped.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trap {
    /// An operation without `wrap` overflowed: the promise that its producer made is broken.
    #[error("'{0}' op overflows although it promises not to")]
    Overflow(&'static str),
    /// Operands of types the op has no meaning for; verified programs have none.
    #[error("'{0}' op has no meaning for its operands")]
    Operands(&'static str),
    /// An access outside a memory.
    #[error("element {offset} is outside of a memory of {count} elements")]
    Bounds {
        /// Element that was asked for.
        offset: i64,
        /// Elements there are.
        count: usize,
    },
    /// An element outside of the rows that the kernel says it touches.
    #[error("element {offset} of '{memory}' is not in a row that the kernel says it touches")]
    Row {
        /// The buffer.
        memory: String,
        /// Offset in elements.
        offset: usize,
    },
    /// A row of an output that is not the next one.
    #[error("row {row} of output {output} is sent where row {next} is next")]
    Order {
        /// The output.
        output: usize,
        /// The row.
        row: i32,
        /// The next one.
        next: usize,
    },
    /// A read of bytes that another buffer has overwritten, or that nobody has written.
    #[error("buffer '{reader}' is read at {byte}, which {owner}")]
    Clobbered {
        /// The buffer that is read.
        reader: String,
        /// Which byte of which arena.
        byte: String,
        /// Who holds the byte.
        owner: String,
    },
}

/// Result of a pure op.
///
/// # Errors
/// See [`Trap`].
pub fn evaluate(op: &LoopOp, args: &[Word], result: &Type) -> Result<Word, Trap> {
    use Word::{F32, I1, I32, I64, Packed as P};
    let overflow = || Trap::Overflow(op.spec().name);
    Ok(match (op, args) {
        (LoopOp::Const(literal), []) => match (literal.value, result) {
            (Number::Int(value), Type::Scalar(Scalar::I32)) => I32(value as i32),
            (Number::Int(value), Type::Scalar(Scalar::I64)) => I64(value),
            (Number::Real(value), Type::Scalar(Scalar::F32)) => F32(value.get()),
            _ => return Err(Trap::Operands(op.spec().name)),
        },
        (LoopOp::Add(head), &[I32(a), I32(b)]) => {
            I32(checked(head.wrap, a.overflowing_add(b)).ok_or_else(overflow)?)
        }
        (LoopOp::Add(head), &[I64(a), I64(b)]) => {
            I64(checked(head.wrap, a.overflowing_add(b)).ok_or_else(overflow)?)
        }
        (LoopOp::Add(_), &[F32(a), F32(b)]) => F32(a + b),
        (LoopOp::Sub(head), &[I32(a), I32(b)]) => {
            I32(checked(head.wrap, a.overflowing_sub(b)).ok_or_else(overflow)?)
        }
        (LoopOp::Sub(head), &[I64(a), I64(b)]) => {
            I64(checked(head.wrap, a.overflowing_sub(b)).ok_or_else(overflow)?)
        }
        (LoopOp::Sub(_), &[F32(a), F32(b)]) => F32(a - b),
        (LoopOp::Mul(head), &[I32(a), I32(b)]) => {
            I32(checked(head.wrap, a.overflowing_mul(b)).ok_or_else(overflow)?)
        }
        (LoopOp::Mul(head), &[I64(a), I64(b)]) => {
            I64(checked(head.wrap, a.overflowing_mul(b)).ok_or_else(overflow)?)
        }
        (LoopOp::Mul(_), &[F32(a), F32(b)]) => F32(a * b),
        (LoopOp::Div(_), &[I32(a), I32(b)]) => I32(if b == 0 { 0 } else { a.wrapping_div(b) }),
        (LoopOp::Div(_), &[I64(a), I64(b)]) => I64(if b == 0 { 0 } else { a.wrapping_div(b) }),
        (LoopOp::Div(_), &[F32(a), F32(b)]) => F32(a / b),
        (LoopOp::Rem(_), &[I32(a), I32(b)]) => I32(if b == 0 { 0 } else { a.wrapping_rem(b) }),
        (LoopOp::Rem(_), &[I64(a), I64(b)]) => I64(if b == 0 { 0 } else { a.wrapping_rem(b) }),
        (LoopOp::Min(_), &[I32(a), I32(b)]) => I32(a.min(b)),
        (LoopOp::Min(_), &[I64(a), I64(b)]) => I64(a.min(b)),
        (LoopOp::Min(_), &[F32(a), F32(b)]) => F32(if a < b { a } else { b }),
        (LoopOp::Max(_), &[I32(a), I32(b)]) => I32(a.max(b)),
        (LoopOp::Max(_), &[I64(a), I64(b)]) => I64(a.max(b)),
        (LoopOp::Max(_), &[F32(a), F32(b)]) => F32(if a > b { a } else { b }),
        (LoopOp::And(_), &[I32(a), I32(b)]) => I32(a & b),
        (LoopOp::And(_), &[I64(a), I64(b)]) => I64(a & b),
        (LoopOp::Or(_), &[I32(a), I32(b)]) => I32(a | b),
        (LoopOp::Or(_), &[I64(a), I64(b)]) => I64(a | b),
        (LoopOp::Xor(_), &[I32(a), I32(b)]) => I32(a ^ b),
        (LoopOp::Xor(_), &[I64(a), I64(b)]) => I64(a ^ b),
        (LoopOp::Shl(head), &[I32(_), I32(by)]) if head.bounded && !(0..32).contains(&by) => {
            return Err(overflow());
        }
        (LoopOp::Shl(head), &[I64(_), I32(by)]) if head.bounded && !(0..64).contains(&by) => {
            return Err(overflow());
        }
        (LoopOp::Shl(_), &[I32(a), I32(by)]) => I32(a.wrapping_shl(by as u32)),
        (LoopOp::Shl(_), &[I64(a), I32(by)]) => I64(a.wrapping_shl(by as u32)),
        (LoopOp::Shr(head), &[I32(_), I32(by)]) if head.bounded && !(0..32).contains(&by) => {
            return Err(overflow());
        }
        (LoopOp::Shr(head), &[I64(_), I32(by)]) if head.bounded && !(0..64).contains(&by) => {
            return Err(overflow());
        }
        (LoopOp::Shr(_), &[I32(a), I32(by)]) => I32(a.wrapping_shr(by as u32)),
        (LoopOp::Shr(_), &[I64(a), I32(by)]) => I64(a.wrapping_shr(by as u32)),
        (LoopOp::ShrU(_), &[I32(a), I32(by)]) => I32((a as u32).wrapping_shr(by as u32) as i32),
        (LoopOp::ShrU(_), &[I64(a), I32(by)]) => I64((a as u64).wrapping_shr(by as u32) as i64),
        (LoopOp::Clz(_), &[I32(a)]) => I32(a.leading_zeros() as i32),
        (LoopOp::Cmp(head), &[I32(a), I32(b)]) => I1(compare(head.predicate, &a, &b)),
        (LoopOp::Cmp(head), &[I64(a), I64(b)]) => I1(compare(head.predicate, &a, &b)),
        (LoopOp::Cmp(head), &[F32(a), F32(b)]) => I1(compare(head.predicate, &a, &b)),
        (LoopOp::Select(_), &[I1(condition), then, otherwise]) => {
            if condition {
                then
            } else {
                otherwise
            }
        }
        (LoopOp::Extend(_), &[I32(a)]) => I64(a.into()),
        (LoopOp::Truncate(_), &[I64(a)]) => I32(a as i32),
        (LoopOp::ToFloat(_), &[I32(a)]) => F32(a as f32),
        (LoopOp::ToInt(_), &[F32(a)]) => I32(a as i32),
        (LoopOp::FloatBits(_), &[F32(a)]) => I32(a.to_bits() as i32),
        (LoopOp::BitsFloat(_), &[I32(a)]) => F32(f32::from_bits(a as u32)),
        (LoopOp::Round(head), &[F32(a)]) => F32(round(head.rounding, a)),
        (LoopOp::Sqrt(_), &[F32(a)]) => F32(a.sqrt()),
        (LoopOp::ExtendLanes(head), &[P(lanes)]) => P(extend_lanes(lanes, head.odd)),
        (LoopOp::ExtendAddLanes(head), &[P(base), P(lanes)]) => {
            P(add_lanes(base, extend_lanes(lanes, head.odd)))
        }
        (LoopOp::FieldLanes(head), &[P(lanes)]) => {
            P(lanes.wrapping_shl(field_shift(head.bits, head.field)) & field_mask(head.bits))
        }
        (LoopOp::SplatLanes(_), &[I32(a)]) => P((a as u32 & 0xffff) * 0x0001_0001),
        (LoopOp::DualMac(_), &[P(a), P(b), I32(accumulator)]) => I32(dual_mac(a, b, accumulator)),
        (LoopOp::HalfMac(head), &[P(a), P(b), I32(accumulator)]) => {
            let half = |lanes: u32, high: bool| i32::from((if high { lanes >> 16 } else { lanes }) as i16);
            I32(accumulator.wrapping_add(half(a, head.lhs_high) * half(b, head.rhs_high)))
        }
        (LoopOp::DoublingHighMul(_), &[I32(a), I32(b)]) => {
            I32(fixed_point::saturating_rounding_doubling_high_mul(a, b))
        }
        (LoopOp::MulAddHigh(_), &[I32(value), I32(factor), I32(addend)]) => {
            I32(mul_add_high(value, factor, addend))
        }
        (LoopOp::RoundShift(_), &[I32(a), I32(by)]) => {
            I32(fixed_point::rounding_divide_by_pot(a, by as u32 & 31))
        }
        (LoopOp::Requantize(_), &[I32(a), I32(multiplier), I32(shift)]) => {
            let multiplier = fixed_point::QuantizedMultiplier { multiplier, shift };
            I32(fixed_point::multiply_by_quantized_multiplier(a, multiplier))
        }
        (LoopOp::Saturate(head), &[I32(a)]) => {
            let limit = 1i64 << (head.bits.clamp(1, 32) - 1);
            I32(i64::from(a).clamp(-limit, limit - 1) as i32)
        }
        _ => return Err(Trap::Operands(op.spec().name)),
    })
}

fn checked<T>(wrap: bool, (value, overflows): (T, bool)) -> Option<T> {
    (wrap || !overflows).then_some(value)
}

/// Whether two numbers compare as a predicate says; with NaNs, only `Ne` holds.
pub fn compare<T: PartialOrd>(predicate: Predicate, a: &T, b: &T) -> bool {
    match predicate {
        Predicate::Eq => a == b,
        Predicate::Ne => a != b,
        Predicate::Lt => a < b,
        Predicate::Le => a <= b,
        Predicate::Gt => a > b,
        Predicate::Ge => a >= b,
    }
}

fn round(rounding: Rounding, value: f32) -> f32 {
    match rounding {
        Rounding::HalfAway => value.round(),
        Rounding::HalfEven => value.round_ties_even(),
        Rounding::Floor => value.floor(),
        Rounding::Trunc => value.trunc(),
    }
}

/// Source: Arm Architecture Reference Manual, SXTB16.
/// `addend + value * factor / 2^32`, the quotient rounded, modulo 2^32.
pub(super) fn mul_add_high(value: i32, factor: i32, addend: i32) -> i32 {
    let product = i64::from(value) * i64::from(factor);
    addend.wrapping_add(((product + (1 << 31)) >> 32) as i32)
}

pub(super) fn extend_lanes(lanes: u32, odd: bool) -> u32 {
    let lanes = if odd { lanes.rotate_right(8) } else { lanes };
    let extend = |byte: u32| u32::from(i16::from(byte as u8 as i8) as u16);
    extend(lanes) | (extend(lanes >> 16) << 16)
}

/// How far left a field of each lane has to be shifted to be the lane's high bits; see [`super::ops::FieldLanes`].
pub fn field_shift(bits: u32, field: u32) -> u32 {
    8u32.saturating_sub(bits.saturating_mul(field.saturating_add(1)))
}

/// The high `bits` bits of each of four lanes.
pub fn field_mask(bits: u32) -> u32 {
    (0xffu32.wrapping_shl(8u32.saturating_sub(bits)) & 0xff) * 0x0101_0101
}

/// Sums of the 16-bit lanes, each modulo 2^16.
fn add_lanes(a: u32, b: u32) -> u32 {
    let low = (a as u16).wrapping_add(b as u16);
    let high = ((a >> 16) as u16).wrapping_add((b >> 16) as u16);
    u32::from(low) | (u32::from(high) << 16)
}

/// Source: Arm Architecture Reference Manual, SMLAD.
pub(super) fn dual_mac(a: u32, b: u32, accumulator: i32) -> i32 {
    let product = |shift: u32| i32::from((a >> shift) as i16) * i32::from((b >> shift) as i16);
    accumulator.wrapping_add(product(0)).wrapping_add(product(16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::ops as l;

    fn i32_op(op: impl Into<LoopOp>, args: &[i32]) -> Result<Word, Trap> {
        let args: Vec<Word> = args.iter().map(|&arg| Word::I32(arg)).collect();
        evaluate(&op.into(), &args, &Type::I32)
    }

    #[test]
    fn arithmetic_without_wrap_reports_overflow() {
        assert_eq!(i32_op(l::Add { wrap: true }, &[i32::MAX, 1]), Ok(Word::I32(i32::MIN)));
        assert_eq!(i32_op(l::Add { wrap: false }, &[i32::MAX, 1]), Err(Trap::Overflow("loop.add")));
        assert_eq!(i32_op(l::Shr { bounded: true }, &[-8, 31]), Ok(Word::I32(-1)));
        assert_eq!(i32_op(l::Shl { bounded: true }, &[-3, 31]), Ok(Word::I32(i32::MIN)));
        assert_eq!(i32_op(l::Shl { bounded: true }, &[8, 32]), Err(Trap::Overflow("loop.shl")));
        assert_eq!(i32_op(l::Shl { bounded: false }, &[8, 33]), Ok(Word::I32(16)));
        assert_eq!(i32_op(l::Shr { bounded: true }, &[8, 32]), Err(Trap::Overflow("loop.shr")));
        assert_eq!(i32_op(l::Shr { bounded: false }, &[8, 33]), Ok(Word::I32(4)));
        assert_eq!(i32_op(l::Mul { wrap: false }, &[1 << 16, 1 << 15]), Err(Trap::Overflow("loop.mul")));
        assert_eq!(i32_op(l::Div {}, &[-7, 2]), Ok(Word::I32(-3)));
        assert_eq!(i32_op(l::Div {}, &[7, 0]), Ok(Word::I32(0)));
    }

    #[test]
    fn dsp_operations_follow_the_manual() {
        let odd = |odd, lanes| evaluate(&l::ExtendLanes { odd }.into(), &[Word::Packed(lanes)], &Type::I32);
        assert_eq!(odd(false, 0x80_01_7f_ff), Ok(Word::Packed(0x0001_ffff)));
        assert_eq!(odd(true, 0x80_01_7f_ff), Ok(Word::Packed(0xff80_007f)));
        let add = |odd, base, lanes| {
            let args = [Word::Packed(base), Word::Packed(lanes)];
            evaluate(&l::ExtendAddLanes { odd }.into(), &args, &Type::I32)
        };
        assert_eq!(add(false, 0xffff_0001, 0x80_01_7f_ff), Ok(Word::Packed(0x0000_0000)));
        assert_eq!(add(true, 0x0080_7fff, 0x80_01_7f_ff), Ok(Word::Packed(0x0000_807e)));
        assert_eq!(i32_op(l::SplatLanes {}, &[-2]), Ok(Word::Packed(0xfffe_fffe)));
        let field = |bits, field, lanes| {
            evaluate(&l::FieldLanes { bits, field }.into(), &[Word::Packed(lanes)], &Type::I32)
        };
        assert_eq!(field(4, 0, 0x12_34_56_78), Ok(Word::Packed(0x20_40_60_80)));
        assert_eq!(field(4, 1, 0x12_34_56_78), Ok(Word::Packed(0x10_30_50_70)));
        assert_eq!(field(2, 1, 0xff_04_f3_0c), Ok(Word::Packed(0xc0_40_00_c0)));
        assert_eq!(field(2, 3, 0xff_04_f3_0c), Ok(Word::Packed(0xc0_00_c0_00)));
        let mac = [Word::Packed(0xffff_0002), Word::Packed(0x0003_0005), Word::I32(100)];
        assert_eq!(evaluate(&l::DualMac {}.into(), &mac, &Type::I32), Ok(Word::I32(107)));
        assert_eq!(i32_op(l::Saturate { bits: 8 }, &[300]), Ok(Word::I32(127)));
        assert_eq!(i32_op(l::Saturate { bits: 8 }, &[-300]), Ok(Word::I32(-128)));
        assert_eq!(i32_op(l::RoundShift {}, &[-5, 1]), Ok(Word::I32(-3)));
    }
}
