//! Clamps as fused activations, and as operators of their own where no activation has their limits.

use super::graph::Id;
use super::{Exporter, Refusal, stored};
use crate::tflite::ops;
use crate::tflite::reader::{Activation, BuiltinOperator as B, OperatorOptions};
use mcunet_ir::attr::Clamp;
use mcunet_ir::nn::requantize::{integer_limits, real_limits};
use mcunet_ir::types::{Element, Scalar};
use std::sync::Arc;

/// Activations that are clamps, the simplest first.
pub(super) const CLAMPS: [Activation; 4] =
    [Activation::None, Activation::Relu, Activation::Relu6, Activation::ReluN1To1];

/// Limits of a clamp on results of a type, comparable: stored integers, or floats by their bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Limits {
    Int(i32, i32),
    Real(u32, u32),
}

impl Limits {
    fn of(clamp: Clamp, storage: Scalar) -> Self {
        if storage == Scalar::F32 {
            let (low, high) = real_limits(clamp);
            return Limits::Real(low.to_bits(), high.to_bits());
        }
        let (low, high) = integer_limits(clamp, storage);
        Limits::Int(low, high)
    }
}

/// Whether an activation, as it is imported, clamps results of a type as `clamp` does.
pub(super) fn equals(activation: Activation, clamp: Clamp, element: &Element) -> bool {
    let imported = ops::clamp(activation, &stored(element));
    imported
        .is_ok_and(|imported| Limits::of(imported, element.storage()) == Limits::of(clamp, element.storage()))
}

/// The activation among `allowed` that equals a clamp.
pub(super) fn fused(clamp: Clamp, element: &Element, allowed: &[Activation]) -> Option<Activation> {
    allowed.iter().copied().find(|&activation| equals(activation, clamp, element))
}

/// One number of a tensor's storage type: constants of clamps.
fn limit(storage: Scalar, integer: i32, real: f32) -> Result<Vec<u8>, Refusal> {
    Ok(match storage {
        Scalar::F32 => real.to_le_bytes().to_vec(),
        Scalar::I32 => integer.to_le_bytes().to_vec(),
        Scalar::I8 => {
            let small = i8::try_from(integer);
            small.map_err(|_| format!("expected limits of 8 bits, got {integer}"))?.to_le_bytes().to_vec()
        }
        Scalar::I16 => {
            let small = i16::try_from(integer);
            small.map_err(|_| format!("expected limits of 16 bits, got {integer}"))?.to_le_bytes().to_vec()
        }
        other => return Err(format!("expected no clamp of {}, got one", other.name())),
    })
}

impl Exporter<'_> {
    /// Appends an operator with a fused activation out of `allowed`, or without and then clamps of their own.
    pub(super) fn push_clamped(
        &mut self,
        result: Id,
        clamp: Clamp,
        allowed: &[Activation],
        code: B,
        inputs: Vec<Id>,
        options: impl FnOnce(Activation) -> OperatorOptions<'static>,
    ) -> Result<(), Refusal> {
        let ty = self.graph.tensor(result).ty.clone();
        if let Some(activation) = fused(clamp, &ty.element, allowed) {
            self.push(code, inputs, vec![result], options(activation));
            return Ok(());
        }
        let open = self.between(result, ty.clone())?;
        self.push(code, inputs, vec![open], options(Activation::None));
        self.clamp(open, clamp, result)
    }

    /// Appends MAXIMUM and MINIMUM that clamp `from` into `to`, which have one type. The limit is the first operand: of
    /// equals and NaN both operators give the second.
    pub(super) fn clamp(&mut self, from: Id, clamp: Clamp, to: Id) -> Result<(), Refusal> {
        let ty = self.graph.tensor(to).ty.clone();
        let storage = ty.storage();
        if storage == Scalar::I8 && ty.affine().is_none() {
            return Err(
                "expected a tensor quantized per tensor under a clamp that is no activation, got another"
                    .to_owned(),
            );
        }
        let (all, wanted) = (Clamp::None, clamp);
        let (integers, whole) = (integer_limits(wanted, storage), integer_limits(all, storage));
        let (reals, finite) = (real_limits(wanted), real_limits(all));
        // Limits that cross end at the upper one, as everywhere.
        let low = limit(storage, integers.0.min(whole.1), reals.0)?;
        let high = limit(storage, integers.1, reals.1)?;
        let mut steps = Vec::new();
        if low != limit(storage, whole.0, finite.0)? {
            steps.push((B::MAXIMUM, "least", low));
        }
        if high != limit(storage, whole.1, finite.1)? {
            steps.push((B::MINIMUM, "greatest", high));
        }
        let mut from = from;
        let count = steps.len();
        for (step, (code, name, bytes)) in steps.into_iter().enumerate() {
            let bound =
                self.graph.constant(name, ty.with_shape(vec![1; ty.shape.rank().min(1)]), Arc::from(bytes));
            let next = if step + 1 == count { to } else { self.between(to, ty.clone())? };
            self.push(code, vec![bound, from], vec![next], OperatorOptions::MaximumMinimum);
            from = next;
        }
        if count == 0 { super::movement::write_reshape(self, from, to) } else { Ok(()) }
    }
}
