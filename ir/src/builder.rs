//! Builds operations at an insertion point, checking arity and operand types as it goes.

use crate::diag::Origin;
use crate::module::{Block, Function, Op, OpKind, Value};
use crate::types::{Packed, Scalar, Type};
use crate::{attr::Number, loops, loops::ops as l, quant::F32};

/// Appends operations to a block of a function, all with one origin.
#[derive(Debug)]
pub struct Builder<'f> {
    /// The function that is being built.
    pub function: &'f mut Function,
    block: Block,
    origin: Origin,
}

impl<'f> Builder<'f> {
    /// A builder that appends to `block`.
    pub fn at_end(function: &'f mut Function, block: Block) -> Self {
        Self { function, block, origin: Origin::Unknown }
    }

    /// Sets the origin of what is built from now on.
    pub fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// The block that operations are appended to.
    pub fn block(&self) -> Block {
        self.block
    }

    /// Appends an operation with regions.
    ///
    /// # Panics
    /// In debug builds, if operands or regions contradict the op's row of the table: that is an error of the calling
    /// pass, never of its input.
    pub fn op_with_regions(
        &mut self,
        kind: impl Into<OpKind>,
        operands: &[Value],
        result_types: &[Type],
        regions: &[Block],
    ) -> Op {
        let kind = kind.into();
        debug_assert_eq!(self.mismatch(&kind, operands, regions), None);
        let op = self.function.create_op(
            kind,
            operands.to_vec(),
            result_types.to_vec(),
            regions.to_vec(),
            self.origin.clone(),
        );
        self.function.blocks[self.block].ops.push(op);
        op
    }

    /// Appends an operation without regions.
    pub fn op(&mut self, kind: impl Into<OpKind>, operands: &[Value], result_types: &[Type]) -> Op {
        self.op_with_regions(kind, operands, result_types, &[])
    }

    /// Appends an operation with one result and returns that.
    pub fn value(&mut self, kind: impl Into<OpKind>, operands: &[Value], result_type: Type) -> Value {
        let op = self.op(kind, operands, &[result_type]);
        self.function.ops[op].results[0]
    }

    /// Runs `body` with the insertion point at the end of `block`, then returns to where it was.
    pub fn within<R>(&mut self, block: Block, body: impl FnOnce(&mut Self) -> R) -> R {
        let outer = std::mem::replace(&mut self.block, block);
        let result = body(self);
        self.block = outer;
        result
    }

    fn mismatch(&self, kind: &OpKind, operands: &[Value], regions: &[Block]) -> Option<String> {
        let spec = kind.spec();
        if regions.len() != spec.regions {
            return Some(format!("{}: expected {} regions, got {}", spec.name, spec.regions, regions.len()));
        }
        let fixed = spec.operands.iter().filter(|operand| !operand.variadic).count();
        let variadic = spec.operands.iter().find(|operand| operand.variadic);
        if operands.len() < fixed || (variadic.is_none() && operands.len() > fixed) {
            return Some(format!("{}: expected {fixed} operands, got {}", spec.name, operands.len()));
        }
        operands.iter().enumerate().find_map(|(i, &operand)| {
            let wanted = spec.operands.get(i).or(variadic)?.constraint;
            let ty = self.function.ty(operand);
            (!wanted.accepts(ty)).then(|| {
                format!("{}: expected operand {i} to be {}, got {ty:?}", spec.name, wanted.description())
            })
        })
    }
}

/// Short forms for the `loop` dialect, in which one line of a kernel is one call.
impl Builder<'_> {
    /// A literal i32.
    pub fn i32(&mut self, value: i32) -> Value {
        self.value(l::Const { value: Number::Int(value.into()) }, &[], Type::I32)
    }

    /// A literal i32 from a size or index.
    ///
    /// # Panics
    /// Beyond 2^31 - 1; the verifier bounds every tensor below that.
    pub fn index(&mut self, value: usize) -> Value {
        self.i32(i32::try_from(value).expect("tensors are smaller than 2^31 bytes"))
    }

    /// A literal i64.
    pub fn i64(&mut self, value: i64) -> Value {
        self.value(l::Const { value: Number::Int(value) }, &[], Type::I64)
    }

    /// A literal f32.
    pub fn f32(&mut self, value: f32) -> Value {
        self.value(l::Const { value: Number::Real(F32(value)) }, &[], Type::F32)
    }

    fn like(&mut self, kind: impl Into<OpKind>, operands: &[Value]) -> Value {
        let ty = self.function.ty(operands[0]).clone();
        self.value(kind, operands, ty)
    }

    /// The number of a literal i32.
    pub fn known_i32(&self, value: Value) -> Option<i32> {
        let op = self.function.defining_op(value)?;
        match &self.function.ops[op].kind {
            OpKind::Loop(loops::LoopOp::Const(literal)) if *self.function.ty(value) == Type::I32 => {
                match literal.value {
                    Number::Int(value) => i32::try_from(value).ok(),
                    Number::Real(_) => None,
                }
            }
            _ => None,
        }
    }

    /// The result of an i32 operation whose operands are literals and that does not overflow.
    fn folded(&mut self, lhs: Value, rhs: Value, f: fn(i32, i32) -> Option<i32>) -> Option<Value> {
        let result = f(self.known_i32(lhs)?, self.known_i32(rhs)?)?;
        Some(self.i32(result))
    }

    /// `lhs + rhs`, promised not to overflow.
    pub fn add(&mut self, lhs: Value, rhs: Value) -> Value {
        if let Some(sum) = self.folded(lhs, rhs, i32::checked_add) {
            return sum;
        }
        match (self.known_i32(lhs), self.known_i32(rhs)) {
            (Some(0), _) => return rhs,
            (_, Some(0)) => return lhs,
            _ => {}
        }
        self.like(l::Add { wrap: false }, &[lhs, rhs])
    }

    /// `lhs + rhs` modulo 2^n.
    pub fn add_wrap(&mut self, lhs: Value, rhs: Value) -> Value {
        self.like(l::Add { wrap: true }, &[lhs, rhs])
    }

    /// `lhs - rhs`, promised not to overflow.
    pub fn sub(&mut self, lhs: Value, rhs: Value) -> Value {
        if let Some(difference) = self.folded(lhs, rhs, i32::checked_sub) {
            return difference;
        }
        if self.known_i32(rhs) == Some(0) {
            return lhs;
        }
        self.like(l::Sub { wrap: false }, &[lhs, rhs])
    }

    /// `lhs * rhs`, promised not to overflow.
    pub fn mul(&mut self, lhs: Value, rhs: Value) -> Value {
        if let Some(product) = self.folded(lhs, rhs, i32::checked_mul) {
            return product;
        }
        self.like(l::Mul { wrap: false }, &[lhs, rhs])
    }

    /// `value + constant` for an i32; the value itself if the constant is 0.
    pub fn add_const(&mut self, value: Value, constant: i32) -> Value {
        if constant == 0 {
            return value;
        }
        let constant = self.i32(constant);
        self.add(value, constant)
    }

    /// `value * constant` for an i32; the value itself if the constant is 1.
    pub fn mul_const(&mut self, value: Value, constant: i32) -> Value {
        if constant == 1 {
            return value;
        }
        let constant = self.i32(constant);
        self.mul(value, constant)
    }

    /// Lesser of two.
    pub fn min(&mut self, lhs: Value, rhs: Value) -> Value {
        self.like(l::Min {}, &[lhs, rhs])
    }

    /// Greater of two.
    pub fn max(&mut self, lhs: Value, rhs: Value) -> Value {
        self.like(l::Max {}, &[lhs, rhs])
    }

    /// Limits an i32 to a range.
    pub fn clamp(&mut self, value: Value, min: i32, max: i32) -> Value {
        let (min, max) = (self.i32(min), self.i32(max));
        let value = self.max(value, min);
        self.min(value, max)
    }

    /// Comparison.
    pub fn cmp(&mut self, predicate: l::Predicate, lhs: Value, rhs: Value) -> Value {
        self.value(l::Cmp { predicate }, &[lhs, rhs], Type::I1)
    }

    /// `then` if the condition holds, else `otherwise`.
    pub fn select(&mut self, condition: Value, then: Value, otherwise: Value) -> Value {
        let ty = self.function.ty(then).clone();
        self.value(l::Select {}, &[condition, then, otherwise], ty)
    }

    /// Reads an element of a memory.
    pub fn load(&mut self, memory: Value, offset: Value) -> Value {
        let element = self.function.ty(memory).as_memref().map_or(Scalar::I32, |memref| memref.element);
        self.value(l::Load {}, &[memory, offset], loops::register_type(element))
    }

    /// Reads four neighbouring i8 elements of a memory.
    pub fn load_i8x4(&mut self, memory: Value, offset: Value) -> Value {
        self.value(l::LoadI8x4 {}, &[memory, offset], Type::Packed(Packed::I8x4))
    }

    /// Every other lane of an i8x4, widened: the even ones first, then the odd. With a `base`, its lanes are added.
    pub fn widen_lanes(&mut self, value: Value, base: Option<Value>) -> [Value; 2] {
        let ty = Type::Packed(Packed::I16x2);
        [false, true].map(|odd| match base {
            Some(base) => self.value(l::ExtendAddLanes { odd }, &[base, value], ty.clone()),
            None => self.value(l::ExtendLanes { odd }, &[value], ty.clone()),
        })
    }

    /// A field of `bits` bits of each lane, times `2^(8 - bits)`.
    pub fn field_lanes(&mut self, value: Value, bits: u32, field: u32) -> Value {
        self.value(l::FieldLanes { bits, field }, &[value], Type::Packed(Packed::I8x4))
    }

    /// Both 16-bit lanes equal to `value`.
    pub fn splat_lanes(&mut self, value: Value) -> Value {
        self.value(l::SplatLanes {}, &[value], Type::Packed(Packed::I16x2))
    }

    /// `accumulator + lhs . rhs`, modulo 2^32.
    pub fn dual_mac(&mut self, lhs: Value, rhs: Value, accumulator: Value) -> Value {
        self.value(l::DualMac {}, &[lhs, rhs, accumulator], Type::I32)
    }

    /// `accumulator + lhs * rhs` of one lane each, the high one where the flag says so, modulo 2^32.
    pub fn half_mac(
        &mut self,
        (lhs, lhs_high): (Value, bool),
        (rhs, rhs_high): (Value, bool),
        accumulator: Value,
    ) -> Value {
        self.value(l::HalfMac { lhs_high, rhs_high }, &[lhs, rhs, accumulator], Type::I32)
    }

    /// Saturating rounding doubling high multiply.
    pub fn doubling_high_mul(&mut self, lhs: Value, rhs: Value) -> Value {
        self.value(l::DoublingHighMul {}, &[lhs, rhs], Type::I32)
    }

    /// `value / 2^distance`, ties away from zero; the distance is an i32 from 0 to 31.
    pub fn round_shift(&mut self, value: Value, distance: Value) -> Value {
        self.value(l::RoundShift {}, &[value, distance], Type::I32)
    }

    /// Multiplies by the quantized multiplier `multiplier * 2^(shift - 31)`.
    pub fn requantize(&mut self, value: Value, multiplier: Value, shift: Value) -> Value {
        self.value(l::Requantize {}, &[value, multiplier, shift], Type::I32)
    }

    /// Shifts left by a constant, dropping high bits.
    pub fn shl_const(&mut self, value: Value, distance: i32) -> Value {
        let distance = self.i32(distance);
        self.like(l::Shl { bounded: false }, &[value, distance])
    }

    /// Shifts right by a constant, keeping the sign.
    pub fn shr_const(&mut self, value: Value, distance: i32) -> Value {
        let distance = self.i32(distance);
        self.like(l::Shr { bounded: false }, &[value, distance])
    }

    /// `lhs / rhs`; of integers rounded toward zero.
    pub fn div(&mut self, lhs: Value, rhs: Value) -> Value {
        self.like(l::Div {}, &[lhs, rhs])
    }

    /// `lhs - rhs` modulo 2^n.
    pub fn sub_wrap(&mut self, lhs: Value, rhs: Value) -> Value {
        self.like(l::Sub { wrap: true }, &[lhs, rhs])
    }

    /// Writes an element of a memory.
    pub fn store(&mut self, value: Value, memory: Value, offset: Value) {
        self.op(l::Store {}, &[value, memory, offset], &[]);
    }

    /// A counted loop. `body` gets the induction variable and the carried values and returns their next values; the
    /// result are their last.
    pub fn for_loop(
        &mut self,
        lower: Value,
        upper: Value,
        step: u32,
        inits: &[Value],
        body: impl FnOnce(&mut Self, Value, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        self.counted_loop([lower, upper], l::For { step, rolled: false }, inits, body)
    }

    /// As [`Self::for_loop`], for a body that takes all registers: the compiler is asked not to unroll it.
    pub fn rolled_loop(
        &mut self,
        lower: Value,
        upper: Value,
        step: u32,
        inits: &[Value],
        body: impl FnOnce(&mut Self, Value, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        self.counted_loop([lower, upper], l::For { step, rolled: true }, inits, body)
    }

    fn counted_loop(
        &mut self,
        [lower, upper]: [Value; 2],
        head: l::For,
        inits: &[Value],
        body: impl FnOnce(&mut Self, Value, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        // A loop that runs once is its body; one that never runs is nothing.
        if let (Some(first), Some(end)) = (self.known_i32(lower), self.known_i32(upper)) {
            if first >= end {
                return inits.to_vec();
            }
            if i64::from(first) + i64::from(head.step.max(1)) >= i64::from(end) {
                return body(self, lower, inits);
            }
        }
        let types: Vec<Type> = inits.iter().map(|&init| self.function.ty(init).clone()).collect();
        let block = self.function.create_block();
        let induction = self.function.add_argument(block, Type::I32, None);
        let carried: Vec<Value> =
            types.iter().map(|ty| self.function.add_argument(block, ty.clone(), None)).collect();
        self.within(block, |builder| {
            let next = body(builder, induction, &carried);
            builder.op(l::Yield {}, &next, &[]);
        });
        let operands: Vec<Value> = [lower, upper].iter().chain(inits).copied().collect();
        let op = self.op_with_regions(head, &operands, &types, &[block]);
        self.function.ops[op].results.clone()
    }

    /// Either of two bodies, neither of which yields a value.
    pub fn if_else(
        &mut self,
        condition: Value,
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        let blocks = [self.function.create_block(), self.function.create_block()];
        self.within(blocks[0], |b| {
            then(b);
            b.op(l::Yield {}, &[], &[]);
        });
        self.within(blocks[1], |b| {
            otherwise(b);
            b.op(l::Yield {}, &[], &[]);
        });
        self.op_with_regions(l::If {}, &[condition], &[], &blocks);
    }

    /// A counted loop from 0 to a constant, without carried values.
    pub fn for_count(&mut self, count: usize, body: impl FnOnce(&mut Self, Value)) {
        let (lower, upper) = (self.i32(0), self.index(count));
        self.for_loop(lower, upper, 1, &[], |builder, i, _| {
            body(builder, i);
            Vec::new()
        });
    }
}
