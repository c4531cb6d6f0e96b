//! Elementwise ops of two operands, with broadcasting.
//!
//! Neighbouring dimensions that all operands walk alike become one loop. An int8 op with a constant scalar operand is a
//! table of 256 results.

use super::LowerOp;
use super::float::clamp_float;
use super::kernel::Kernel;
use super::requantize::{requantize, rescale_small};
use super::rows::{Axis, RowMap, collapse, nest, to_i32};
use super::unary::lower_table;
use super::words::{self, LANES};
use mcunet_ir::attr::Clamp;
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::binary::{CommonScale, prelu_multipliers, product_multiplier};
use mcunet_ir::nn::broadcast::broadcast_strides;
use mcunet_ir::nn::ops::{Add, Div, Maximum, Minimum, Mul, Prelu, SquaredDifference, Sub};
use mcunet_ir::nn::requantize::{integer_limits, reach};
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, Tensor, TensorType, Value};

/// Maps elements of the two operands to one of the result.
type Combine<'c> = dyn FnMut(&mut Builder<'_>, Value, Value) -> Value + 'c;

/// Loops over all elements of the result; `f` maps the operands' elements.
fn lower_elements(kernel: &mut Kernel<'_>, f: &mut Combine<'_>) {
    lower_from(kernel, [0; 2], f);
}

/// The same for the differences of elements and zero points.
fn lower_from(kernel: &mut Kernel<'_>, zero_points: [i32; 2], f: &mut Combine<'_>) {
    let result = &kernel.result_type(0).shape;
    let mut steps = [0, 1].map(|operand| broadcast_strides(&kernel.operand_type(operand).shape, result));
    let row = kernel.row();
    let target = kernel.target(0);
    // A view has the shape of the result.
    let views = [0, 1].map(|operand| kernel.is_view(operand));
    for operand in (0..2).filter(|&operand| views[operand]) {
        steps[operand][2] = kernel.source(operand).steps.pixel;
    }
    let mut own = result.strides();
    if row.is_some() && result.rank() == 4 {
        own[2] = target.steps.pixel;
    }
    let axes = (0..result.rank()).map(|axis| Axis {
        // The kernel's rows take the place of the loop over the height.
        count: if row.is_some() && axis == 1 { 1 } else { result[axis] },
        steps: vec![steps[0][axis] as i64, steps[1][axis] as i64, own[axis] as i64],
    });
    let axes = collapse(axes.collect());
    for operand in 0..2 {
        if kernel.operand_type(operand).shape.elements() == result.elements() {
            kernel.allow_in_place(0, operand);
        }
    }
    let (lhs, rhs, output) = (kernel.source(0), kernel.source(1), kernel.target(0));
    let starts = match row {
        Some(row) => {
            let b = &mut kernel.b;
            // An operand without rows of its own may still have an element for each row, or none.
            let mut operand = |map: RowMap, operand: usize| match map.scattered || views[operand] {
                true => map.start(b, row),
                false => b.mul_const(row, to_i32(steps[operand][1])),
            };
            let (lhs, rhs) = (operand(lhs, 0), operand(rhs, 1));
            [lhs, rhs, output.start(b, row)]
        }
        None => [kernel.b.i32(0); 3],
    };
    let memories = [lhs.memory, rhs.memory, output.memory];
    let words = loads_words(kernel, axes.last());
    let (outer, inner) = match axes.split_last() {
        Some((inner, outer)) if words => (outer, inner.count),
        _ => (&axes[..], 1),
    };
    nest(&mut kernel.b, outer, &starts, &mut |b, offsets| {
        let whole = inner / LANES * LANES;
        if whole > 0 {
            let (zero, end) = (b.i32(0), b.index(whole));
            b.for_loop(zero, end, LANES as u32, &[], |b, i, _| {
                let offsets: Vec<Value> = offsets.iter().map(|&offset| b.add(offset, i)).collect();
                four_elements(b, memories, &offsets, zero_points, f);
                Vec::new()
            });
        }
        for i in whole..inner {
            let [x, y, to] = [0, 1, 2].map(|which| b.add_const(offsets[which], to_i32(i)));
            let (x, y) = (b.load(memories[0], x), b.load(memories[1], y));
            let (x, y) = (b.add_const(x, -zero_points[0]), b.add_const(y, -zero_points[1]));
            let z = f(b, x, y);
            b.store(z, memories[2], to);
        }
    });
}

/// Whether elements of the operands lie so that words of four of them can be loaded, on cores where that is faster.
fn loads_words(kernel: &Kernel<'_>, innermost: Option<&Axis>) -> bool {
    let side_by_side = innermost.is_some_and(|axis| axis.steps == [1; 3] && axis.count >= LANES);
    side_by_side && words::are_loaded(kernel.features(), types(kernel).into_iter())
}

/// Four neighbouring elements: two of a word are extended, and the zero point subtracted, at once.
fn four_elements(
    b: &mut Builder<'_>,
    [lhs, rhs, output]: [Value; 3],
    offsets: &[Value],
    zero_points: [i32; 2],
    f: &mut Combine<'_>,
) {
    let loaded = [b.load_i8x4(lhs, offsets[0]), b.load_i8x4(rhs, offsets[1])];
    let [x, y] = [0, 1].map(|operand| {
        let start = words::start(b, -zero_points[operand]);
        let pairs = words::add(b, start, loaded[operand]);
        let zero = b.i32(0);
        words::add_to(b, pairs, [zero; LANES])
    });
    for lane in 0..LANES {
        let z = f(b, x[lane], y[lane]);
        let to = b.add_const(offsets[2], to_i32(lane));
        b.store(z, output, to);
    }
}

/// The table of an int8 op one of whose operands is a constant scalar; the other operand's position.
fn scalar_table(kernel: &Kernel<'_>, op: &NnOp) -> Option<([i8; 256], usize)> {
    let result = kernel.result_type(0);
    let all = || Data::I8((i8::MIN..=i8::MAX).collect());
    let variable = (0..2).find(|&operand| {
        let other = 1 - operand;
        kernel.operand_type(other).elements() == 1
            && kernel.constant(other).is_some()
            && kernel.operand_type(operand).elements() == result.elements()
    })?;
    if result.storage() != Scalar::I8 {
        return None;
    }
    let constant =
        Tensor::new(kernel.operand_type(1 - variable).with_shape([1]), kernel.constant_data(1 - variable)?)
            .ok()?;
    let inputs = Tensor::new(kernel.operand_type(variable).with_shape([256]), all()).ok()?;
    let operands = if variable == 0 { [&inputs, &constant] } else { [&constant, &inputs] };
    let results = op.semantics().evaluate(&operands, &[&result.with_shape([256])]).ok()?;
    Some((results.first()?.i8s().ok()?.try_into().ok()?, variable))
}

/// Types of operands and result.
fn types<'k>(kernel: &Kernel<'k>) -> [&'k TensorType; 3] {
    [kernel.operand_type(0), kernel.operand_type(1), kernel.result_type(0)]
}

fn zero_points(types: [&TensorType; 3]) -> [i32; 3] {
    types.map(|ty| ty.affine().map_or(0, |affine| affine.zero_point))
}

/// Lowers the types that need no quantization: floats, clamped, and 32-bit integers.
fn lower_plain(
    kernel: &mut Kernel<'_>,
    clamp: Clamp,
    f: &mut dyn FnMut(&mut Builder<'_>, Value, Value) -> Value,
) {
    let storage = kernel.result_type(0).storage();
    lower_elements(kernel, &mut |b, x, y| {
        let z = f(b, x, y);
        if storage.is_float() {
            return clamp_float(b, z, clamp);
        }
        match clamp {
            Clamp::Int(..) => {
                let (low, high) = integer_limits(clamp, storage);
                b.clamp(z, low, high)
            }
            _ => z,
        }
    });
}

/// How far quantized operands are from their zero points at most.
fn operand_reach(operands: [&TensorType; 2]) -> u64 {
    let of = |ty: &TensorType| reach(ty).unwrap_or(u32::MAX.into());
    of(operands[0]).max(of(operands[1]))
}

/// How two numbers of a common scale become one.
#[derive(Clone, Copy)]
struct Combination {
    combine: fn(&mut Builder<'_>, Value, Value) -> Value,
    /// What results do not exceed in magnitude if operands do not exceed the argument.
    reach: fn(u64) -> u64,
}

const ADD: Combination = Combination { combine: add, reach: |operand| 2 * operand };
const SUB: Combination = Combination { combine: sub, reach: |operand| 2 * operand };
const SQUARED_DIFFERENCE: Combination =
    Combination { combine: squared_difference, reach: |operand| (2 * operand).saturating_mul(2 * operand) };

/// By how much to shift left instead, if multiplying a number that was shifted left only takes back some of that: by half,
/// then, of the operand with the larger scale.
fn plain_shift(left_shift: u32, multiplier: QuantizedMultiplier) -> Option<i32> {
    let distance = left_shift as i32 - 1 + multiplier.shift;
    let halves = multiplier.multiplier == 1 << 30 && multiplier.shift <= 0;
    (halves && distance >= 0).then_some(distance)
}

/// An op that brings quantized operands to a common scale, and what it makes of them to the result's.
pub(super) struct Rescaled {
    scale: CommonScale,
    zero_points: [i32; 3],
    limits: (i32, i32),
    /// What operands don't exceed in magnitude, shifted.
    most: u64,
    combination: Combination,
}

impl Rescaled {
    fn new(types: [&TensorType; 3], scale: CommonScale, clamp: Clamp, combination: Combination) -> Self {
        let limits = integer_limits(clamp, types[2].storage());
        let most = operand_reach([types[0], types[1]]) << scale.left_shift;
        Self { scale, zero_points: zero_points(types), limits, most, combination }
    }

    /// A sum; the types are those of its operands and result. `None` if their scales have no multipliers.
    pub(super) fn sum(types: [&TensorType; 3], clamp: Clamp) -> Option<Self> {
        Some(Self::new(types, CommonScale::of_add(types)?, clamp, ADD))
    }

    /// The stored integer that the op makes of two.
    pub(super) fn apply(&self, b: &mut Builder<'_>, x: Value, y: Value) -> Value {
        let [left_zero, right_zero, _] = self.zero_points;
        let (x, y) = (b.add_const(x, -left_zero), b.add_const(y, -right_zero));
        self.apply_from_zero(b, x, y)
    }

    /// The same of the differences of two stored integers and their zero points.
    fn apply_from_zero(&self, b: &mut Builder<'_>, x: Value, y: Value) -> Value {
        let Combination { combine, reach } = self.combination;
        let [_, _, output_zero] = self.zero_points;
        let bring = |b: &mut Builder<'_>, x: Value, multiplier| {
            if let Some(distance) = plain_shift(self.scale.left_shift, multiplier) {
                return b.shl_const(x, distance);
            }
            let x = b.shl_const(x, self.scale.left_shift as i32);
            rescale_small(b, x, multiplier, self.most)
        };
        let x = bring(b, x, self.scale.lhs);
        let y = bring(b, y, self.scale.rhs);
        let z = combine(b, x, y);
        requantize(b, z, self.scale.output, reach(self.most), output_zero, self.limits)
    }
}

/// What the three ops on a common scale share.
fn lower_sum(
    kernel: &mut Kernel<'_>,
    op: NnOp,
    clamp: Clamp,
    scale: Option<CommonScale>,
    combination: Combination,
) -> Result<(), Diagnostic> {
    if !matches!(kernel.result_type(0).storage(), Scalar::I8 | Scalar::I16) {
        lower_plain(kernel, clamp, &mut |b, x, y| (combination.combine)(b, x, y));
        return Ok(());
    }
    if let Some((table, operand)) = scalar_table(kernel, &op) {
        lower_table(kernel, operand, &table);
        return Ok(());
    }
    let scale =
        scale.ok_or_else(|| kernel.error("expected scales whose ratio can be quantized, got others"))?;
    let rescaled = Rescaled::new(types(kernel), scale, clamp, combination);
    let [left_zero, right_zero, _] = rescaled.zero_points;
    lower_from(kernel, [left_zero, right_zero], &mut |b, x, y| rescaled.apply_from_zero(b, x, y));
    Ok(())
}

/// Integers wrap, as the reference's do.
fn wrapping(kind_int: impl Into<mcunet_ir::OpKind>, b: &mut Builder<'_>, x: Value, y: Value) -> Value {
    let ty = b.function.ty(x).clone();
    b.value(kind_int, &[x, y], ty)
}

fn add(b: &mut Builder<'_>, x: Value, y: Value) -> Value {
    wrapping(l::Add { wrap: true }, b, x, y)
}

fn sub(b: &mut Builder<'_>, x: Value, y: Value) -> Value {
    wrapping(l::Sub { wrap: true }, b, x, y)
}

fn mul(b: &mut Builder<'_>, x: Value, y: Value) -> Value {
    wrapping(l::Mul { wrap: true }, b, x, y)
}

fn squared_difference(b: &mut Builder<'_>, x: Value, y: Value) -> Value {
    let difference = sub(b, x, y);
    mul(b, difference, difference)
}

impl LowerOp for Add {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let scale = CommonScale::of_add(types(kernel));
        lower_sum(kernel, self.clone().into(), self.clamp, scale, ADD)
    }
}

impl LowerOp for Sub {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let scale = CommonScale::of_sub(types(kernel));
        lower_sum(kernel, self.clone().into(), self.clamp, scale, SUB)
    }
}

impl LowerOp for SquaredDifference {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let scale = CommonScale::of_squared_difference(types(kernel));
        lower_sum(kernel, self.clone().into(), Clamp::None, scale, SQUARED_DIFFERENCE)
    }
}

impl LowerOp for Mul {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        if !matches!(kernel.result_type(0).storage(), Scalar::I8 | Scalar::I16) {
            lower_plain(kernel, self.clamp, &mut |b, x, y| mul(b, x, y));
            return Ok(());
        }
        if let Some((table, operand)) = scalar_table(kernel, &self.clone().into()) {
            lower_table(kernel, operand, &table);
            return Ok(());
        }
        let multiplier = product_multiplier(types(kernel))
            .ok_or_else(|| kernel.error("expected scales whose ratio can be quantized, got others"))?;
        let [left_zero, right_zero, output_zero] = zero_points(types(kernel));
        let limits = integer_limits(self.clamp, kernel.result_type(0).storage());
        let most = operand_reach([kernel.operand_type(0), kernel.operand_type(1)]);
        lower_from(kernel, [left_zero, right_zero], &mut |b, x, y| {
            let product = b.mul(x, y);
            requantize(b, product, multiplier, most * most, output_zero, limits)
        });
        Ok(())
    }
}

impl LowerOp for Div {
    /// int8 division is a table of all quotients, 256 by 256, only for a constant divisor or dividend; the general
    /// form is a table of 65536 results, made by the reference, so that it is exact by construction.
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        if kernel.result_type(0).storage() != Scalar::I8 {
            lower_plain(kernel, self.clamp, &mut |b, x, y| {
                let ty = b.function.ty(x).clone();
                b.value(l::Div {}, &[x, y], ty)
            });
            return Ok(());
        }
        if let Some((table, operand)) = scalar_table(kernel, &self.clone().into()) {
            lower_table(kernel, operand, &table);
            return Ok(());
        }
        let table = pair_table(kernel, &self.clone().into())
            .ok_or_else(|| kernel.error("expected scales whose ratio can be quantized, got others"))?;
        let table = kernel.data("quotients", &Data::I8(table));
        lower_elements(kernel, &mut |b, x, y| {
            let (x, y) = (b.add_const(x, 128), b.add_const(y, 128));
            let row = b.mul_const(x, 256);
            let at = b.add(row, y);
            b.load(table, at)
        });
        Ok(())
    }
}

/// Results of an int8 op for all pairs of operands.
fn pair_table(kernel: &Kernel<'_>, op: &NnOp) -> Option<Vec<i8>> {
    let all = |shape: [usize; 2], ty: &TensorType| {
        Tensor::new(ty.with_shape(shape), Data::I8((i8::MIN..=i8::MAX).collect())).ok()
    };
    let (lhs, rhs) = (all([256, 1], kernel.operand_type(0))?, all([1, 256], kernel.operand_type(1))?);
    let result = kernel.result_type(0).with_shape([256, 256]);
    let results = op.semantics().evaluate(&[&lhs, &rhs], &[&result]).ok()?;
    results.first()?.i8s().ok().map(<[i8]>::to_vec)
}

macro_rules! extremes {
    ($($op:ident $predicate:ident),*) => {$(
        impl LowerOp for $op {
            fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
                if let Some((table, operand)) = scalar_table(kernel, &self.clone().into()) {
                    lower_table(kernel, operand, &table);
                    return Ok(());
                }
                lower_elements(kernel, &mut |b, x, y| {
                    let first = b.cmp(l::Predicate::$predicate, x, y);
                    b.select(first, x, y)
                });
                Ok(())
            }
        }
    )*};
}
extremes!(Maximum Gt, Minimum Lt);

impl LowerOp for Prelu {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        if kernel.result_type(0).storage() == Scalar::F32 {
            lower_plain(kernel, Clamp::None, &mut |b, x, alpha| {
                let (zero, product) = (b.f32(0.0), b.mul(x, alpha));
                let positive = b.cmp(l::Predicate::Ge, x, zero);
                b.select(positive, x, product)
            });
            return Ok(());
        }
        let [positive, negative] = prelu_multipliers(types(kernel))
            .ok_or_else(|| kernel.error("expected scales whose ratio can be quantized, got others"))?;
        let [input_zero, alpha_zero, output_zero] = zero_points(types(kernel));
        let limits = integer_limits(Clamp::None, kernel.result_type(0).storage());
        let most = operand_reach([kernel.operand_type(0), kernel.operand_type(1)]);
        lower_from(kernel, [input_zero, alpha_zero], &mut |b, x, alpha| {
            let product = b.mul(x, alpha);
            let above = rescale_small(b, x, positive, most);
            let below = rescale_small(b, product, negative, most * 255);
            let zero = b.i32(0);
            let is_positive = b.cmp(l::Predicate::Ge, x, zero);
            let scaled = b.select(is_positive, above, below);
            super::requantize::finish(b, scaled, output_zero, limits)
        });
        Ok(())
    }
}
