//! Reductions over axes, and the position of extremes.
//!
//! Results are made one by one: an outer nest over the kept dimensions, an inner one over the reduced ones. In a cascade,
//! reductions over the height fold the rows of their operand as they come, and keep what they have folded meanwhile.

use super::LowerOp;
use super::kernel::Kernel;
use super::requantize::requantize;
use super::rows::{Axis, FoldedRow, collapse, nest, to_i32};
use super::words::{self, LANES};
use mcunet_ir::attr::Clamp;
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::ops::{ArgMax, ArgMin, Mean, MeanOfMeans, ReduceMax, ReduceMin, Sum};
use mcunet_ir::nn::reduce::reduction_multiplier;
use mcunet_ir::nn::requantize::{integer_limits, reach};
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, TensorType, Type, Value};

/// Kept axes (steps of input and output) and reduced axes (steps of the input), of a row if the kernel works by rows.
/// Axes of `inside` are left out: they belong to the elements.
fn split_axes(kernel: &mut Kernel<'_>, axes: &[usize], inside: &[usize]) -> (Vec<Axis>, Vec<Axis>) {
    let by_rows = kernel.row().is_some() || kernel.folded().is_some();
    let shape = &kernel.operand_type(0).shape;
    let strides = shape.strides();
    let (mut kept, mut reduced) = (Vec::new(), Vec::new());
    let mut output_step = kernel.result_type(0).elements() as i64;
    for (axis, (&size, &stride)) in shape.iter().zip(&strides).enumerate() {
        if inside.contains(&axis) {
            continue;
        }
        let stride = stride as i64;
        let count = if by_rows && axis == 1 { 1 } else { size };
        if axes.contains(&axis) {
            reduced.push(Axis { count, steps: vec![stride] });
        } else {
            output_step = output_step.checked_div(size as i64).unwrap_or(0);
            kept.push(Axis { count, steps: vec![stride, output_step] });
        }
    }
    (collapse(kept), collapse(reduced))
}

/// Folds an element at an offset into carried values.
type Fold<'f> = dyn FnMut(&mut Builder<'_>, Value, &[Value]) -> Vec<Value> + 'f;

/// Folds the elements that `axes` reach from `start` on, as carried values through nested loops.
fn fold(
    b: &mut Builder<'_>,
    axes: &[Axis],
    start: Value,
    carried: Vec<Value>,
    body: &mut Fold<'_>,
) -> Vec<Value> {
    let Some((axis, inner)) = axes.split_first() else { return body(b, start, &carried) };
    let (lower, upper) = (b.i32(0), b.index(axis.count));
    b.for_loop(lower, upper, 1, &carried, |b, i, carried| {
        let way = b.mul_const(i, axis.steps[0] as i32);
        let at = b.add(start, way);
        fold(b, inner, at, carried.to_vec(), body)
    })
}

/// Runs `body` for every combination of the axes' iterations, or for the first of every `lanes` along the last.
fn nest_by(
    b: &mut Builder<'_>,
    lanes: usize,
    axes: &[Axis],
    starts: &[Value],
    body: &mut dyn FnMut(&mut Builder<'_>, &[Value]),
) {
    let Some((last, outer)) = axes.split_last().filter(|_| lanes > 1) else {
        return nest(b, axes, starts, body);
    };
    nest(b, outer, starts, &mut |b, offsets| {
        let (zero, end) = (b.i32(0), b.index(last.count));
        b.for_loop(zero, end, lanes as u32, &[], |b, i, _| {
            let offsets: Vec<Value> = offsets.iter().map(|&offset| b.add(offset, i)).collect();
            body(b, &offsets);
            Vec::new()
        });
    });
}

/// Offsets of neighbouring elements.
fn neighbours(b: &mut Builder<'_>, first: Value, lanes: usize) -> Vec<Value> {
    (0..lanes).map(|lane| b.add_const(first, to_i32(lane))).collect()
}

/// How a reduction folds: `first` makes the start value, `step` folds an element in, `last` makes the stored result.
struct Reduction<F, S, L> {
    /// How elements are made, if they aren't those in memory.
    elements: Option<InnerMean>,
    /// Results that are made together: one, or those of the elements of a word. These are sums.
    lanes: usize,
    first: F,
    step: S,
    last: L,
    /// Whether `last` does anything.
    finishes: bool,
}

impl<F, S, L> Reduction<F, S, L>
where
    F: Fn(&mut Builder<'_>) -> Value,
    S: Fn(&mut Builder<'_>, Value, Value) -> Value,
    L: Fn(&mut Builder<'_>, Value) -> Value,
{
    fn lower(&self, kernel: &mut Kernel<'_>, axes: &[usize]) {
        if let Some(folded) = kernel.folded() {
            return self.fold_rows(kernel, axes, folded);
        }
        let (kept, reduced) = split_axes(kernel, axes, self.inside());
        let (source, target) = (kernel.source(0), kernel.target(0));
        let row = kernel.row();
        let b = &mut kernel.b;
        let starts = match row {
            Some(row) => [source.start(b, row), target.start(b, row)],
            None => [b.i32(0); 2],
        };
        nest_by(b, self.lanes, &kept, &starts, &mut |b, offsets| {
            let start = (self.first)(b);
            let folded = self.fold(b, &reduced, source.memory, offsets[0], vec![start; self.lanes]);
            let places = neighbours(b, offsets[1], self.lanes);
            for (folded, to) in folded.into_iter().zip(places) {
                let result = (self.last)(b, folded);
                b.store(result, target.memory, to);
            }
        });
    }

    /// Folds a row in. What is folded is kept in memory from the first row to the last.
    fn fold_rows(&self, kernel: &mut Kernel<'_>, axes: &[usize], row: FoldedRow) {
        let (kept, reduced) = split_axes(kernel, axes, self.inside());
        let (source, output) = (kernel.source(0), kernel.output(0));
        let (count, values) = (kernel.result_type(0).elements(), kernel.kept_values());
        let b = &mut kernel.b;
        row.if_first(b, |b| {
            let (first, zero) = ((self.first)(b), b.i32(0));
            b.op(l::Fill { count }, &[first, values, zero], &[]);
        });
        let starts = [source.start(b, row.row), b.i32(0)];
        nest_by(b, self.lanes, &kept, &starts, &mut |b, offsets| {
            let places = neighbours(b, offsets[1], self.lanes);
            let before = places.iter().map(|&at| b.load(values, at)).collect();
            let folded = self.fold(b, &reduced, source.memory, offsets[0], before);
            folded.into_iter().zip(places).for_each(|(folded, to)| b.store(folded, values, to));
        });
        if !self.finishes {
            return;
        }
        row.if_last(b, |b| {
            b.for_count(count, |b, i| {
                let folded = b.load(values, i);
                let result = (self.last)(b, folded);
                b.store(result, output, i);
            });
        });
    }

    fn inside(&self) -> &[usize] {
        self.elements.as_ref().map_or(&[], |mean| &mean.inside)
    }

    fn fold(
        &self,
        b: &mut Builder<'_>,
        reduced: &[Axis],
        input: Value,
        offset: Value,
        starts: Vec<Value>,
    ) -> Vec<Value> {
        if let (None, [one, two, three, four]) = (&self.elements, &starts[..]) {
            return sums_of_words(b, reduced, input, offset, [*one, *two, *three, *four]).to_vec();
        }
        fold(b, reduced, offset, starts, &mut |b, at, carried| {
            let elements = match &self.elements {
                Some(mean) => mean.at(b, input, at, carried.len()),
                None => vec![b.load(input, at)],
            };
            carried.iter().zip(elements).map(|(&sum, element)| (self.step)(b, sum, element)).collect()
        })
    }
}

/// Sums over the axes of the elements of words, each added to a number.
fn sums_of_words(
    b: &mut Builder<'_>,
    axes: &[Axis],
    input: Value,
    offset: Value,
    numbers: [Value; LANES],
) -> [Value; LANES] {
    let start = words::start(b, 0).to_vec();
    let sums = fold(b, axes, offset, start, &mut |b, at, sums| {
        let word = b.load_i8x4(input, at);
        words::add(b, [sums[0], sums[1]], word).to_vec()
    });
    words::add_to(b, [sums[0], sums[1]], numbers)
}

/// How many sums are made together, which each have so many elements of 16 bits.
fn lanes(kernel: &mut Kernel<'_>, axes: &[usize], inside: &[usize]) -> usize {
    let (kept, reduced) = split_axes(kernel, axes, inside);
    let inner: Vec<usize> = match inside {
        [] => reduced.iter().map(|axis| axis.count).collect(),
        _ => inside.iter().map(|&axis| kernel.operand_type(0).shape[axis]).collect(),
    };
    let few = inner.iter().fold(1usize, |all, &count| all.saturating_mul(count)) <= words::MOST;
    let side_by_side =
        kept.last().is_some_and(|axis| axis.steps == [1; 2] && axis.count.is_multiple_of(LANES));
    let loaded = words::are_loaded(kernel.features(), [kernel.operand_type(0)].into_iter());
    let many = kernel.operand_type(0).elements() >= words::MANY;
    if many && few && side_by_side && loaded { LANES } else { 1 }
}

/// The arithmetic of a quantized sum or mean.
struct Sums {
    /// What the sum begins with: the zero point of all its elements, negated.
    start: i32,
    /// Whether sums stay within 32 bits.
    fits: bool,
    /// What no sum exceeds in magnitude.
    bound: u64,
    multiplier: QuantizedMultiplier,
    zero_point: i32,
    limits: (i32, i32),
}

impl Sums {
    fn of(input: &TensorType, output: &TensorType, axes: &[usize], mean: bool) -> Option<Self> {
        let count: usize = axes.iter().filter_map(|&axis| input.shape.get(axis)).product();
        let multiplier = reduction_multiplier(input, output, mean.then_some(count))?;
        let start = input.affine()?.zero_point.wrapping_mul(count as i32).wrapping_neg();
        // 2^31 over all that a type has: so many elements and their offset stay within 32 bits.
        let fits = count <= 1 << (30 - input.storage().bits());
        let bound = (count as u64).saturating_mul(reach(input)?);
        let limits = integer_limits(Clamp::None, output.storage());
        Some(Self { start, fits, bound, multiplier, zero_point: output.affine()?.zero_point, limits })
    }

    fn first(&self, b: &mut Builder<'_>) -> Value {
        b.i32(self.start)
    }

    fn step(&self, b: &mut Builder<'_>, sum: Value, element: Value) -> Value {
        if self.fits { b.add(sum, element) } else { b.add_wrap(sum, element) }
    }

    fn last(&self, b: &mut Builder<'_>, sum: Value) -> Value {
        requantize(b, sum, self.multiplier, self.bound, self.zero_point, self.limits)
    }
}

/// A mean that is an element of another one.
struct InnerMean {
    /// Axes that it reduces.
    inside: Vec<usize>,
    /// The same, as steps of the input.
    axes: Vec<Axis>,
    sums: Sums,
}

impl InnerMean {
    fn at(&self, b: &mut Builder<'_>, input: Value, at: Value, lanes: usize) -> Vec<Value> {
        let start = self.sums.first(b);
        let sums = if lanes == LANES {
            sums_of_words(b, &self.axes, input, at, [start; LANES]).to_vec()
        } else {
            fold(b, &self.axes, at, vec![start], &mut |b, at, carried| {
                let element = b.load(input, at);
                vec![self.sums.step(b, carried[0], element)]
            })
        };
        sums.into_iter().map(|sum| self.sums.last(b, sum)).collect()
    }
}

fn lower_sum(kernel: &mut Kernel<'_>, axes: &[usize], mean: bool) -> Result<(), Diagnostic> {
    let (input, output) = (kernel.operand_type(0), kernel.result_type(0));
    if output.storage() == Scalar::F32 {
        let count: usize = axes.iter().filter_map(|&axis| input.shape.get(axis)).product();
        let last = |b: &mut Builder<'_>, sum| {
            if !mean {
                return sum;
            }
            let count = b.f32(count as f32);
            b.value(l::Div {}, &[sum, count], Type::F32)
        };
        let first = |b: &mut Builder<'_>| b.f32(0.0);
        let step = |b: &mut Builder<'_>, sum, element| b.add(sum, element);
        Reduction { elements: None, lanes: 1, first, step, last, finishes: mean }.lower(kernel, axes);
        return Ok(());
    }
    let sums = Sums::of(input, output, axes, mean)
        .ok_or_else(|| kernel.error("expected scales whose ratio can be quantized, got others"))?;
    lower_sums(kernel, None, &sums, axes);
    Ok(())
}

fn lower_sums(kernel: &mut Kernel<'_>, elements: Option<InnerMean>, sums: &Sums, axes: &[usize]) {
    let first = |b: &mut Builder<'_>| sums.first(b);
    let step = |b: &mut Builder<'_>, sum, element| sums.step(b, sum, element);
    let last = |b: &mut Builder<'_>, sum| sums.last(b, sum);
    let inside = elements.as_ref().map_or(&[][..], |mean| &mean.inside);
    let lanes = lanes(kernel, axes, inside);
    Reduction { elements, lanes, first, step, last, finishes: true }.lower(kernel, axes);
}

impl LowerOp for MeanOfMeans {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let (input, output) = (kernel.operand_type(0), kernel.result_type(0));
        let between = self.between(input).map_err(|message| kernel.error(message))?;
        let refused = || "expected scales whose ratio can be quantized, got others";
        let inner = Sums::of(input, &between, &self.inner, true).ok_or_else(|| kernel.error(refused()))?;
        let outer = Sums::of(&between, output, &self.outer, true).ok_or_else(|| kernel.error(refused()))?;
        let strides = input.shape.strides();
        let axes = self
            .inner
            .iter()
            .map(|&axis| Axis { count: input.shape[axis], steps: vec![strides[axis] as i64] });
        let elements = InnerMean { inside: self.inner.clone(), axes: collapse(axes.collect()), sums: inner };
        lower_sums(kernel, Some(elements), &outer, &self.outer);
        Ok(())
    }
}

impl LowerOp for Mean {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        lower_sum(kernel, &self.axes, true)
    }
}

impl LowerOp for Sum {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        lower_sum(kernel, &self.axes, false)
    }
}

fn lower_extreme(kernel: &mut Kernel<'_>, axes: &[usize], greatest: bool) {
    let storage = kernel.result_type(0).storage();
    let (least, most) = integer_limits(Clamp::None, storage);
    let first = |b: &mut Builder<'_>| match (storage.is_float(), greatest) {
        (true, true) => b.f32(f32::MIN),
        (true, false) => b.f32(f32::MAX),
        (false, true) => b.i32(least),
        (false, false) => b.i32(most),
    };
    let step = |b: &mut Builder<'_>, best, element| {
        if greatest { b.max(element, best) } else { b.min(element, best) }
    };
    let last = |_: &mut Builder<'_>, best| best;
    Reduction { elements: None, lanes: 1, first, step, last, finishes: false }.lower(kernel, axes);
}

impl LowerOp for ReduceMax {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        lower_extreme(kernel, &self.axes, true);
        Ok(())
    }
}

impl LowerOp for ReduceMin {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        lower_extreme(kernel, &self.axes, false);
        Ok(())
    }
}

fn lower_argument(kernel: &mut Kernel<'_>, axis: usize, better: l::Predicate) {
    let shape = kernel.operand_type(0).shape.clone();
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let size = shape[axis];
    let (input, output) = (kernel.input(0), kernel.output(0));
    let b = &mut kernel.b;
    b.for_count(outer, |b, o| {
        let block = b.mul_const(o, to_i32(size * inner));
        let row = b.mul_const(o, to_i32(inner));
        b.for_count(inner, |b, i| {
            let first = b.add(block, i);
            let (element, zero) = (b.load(input, first), b.i32(0));
            let (one, count) = (b.i32(1), b.index(size));
            let best = b.for_loop(one, count, 1, &[element, zero], |b, k, best| {
                let way = b.mul_const(k, to_i32(inner));
                let at = b.add(first, way);
                let element = b.load(input, at);
                let is_better = b.cmp(better, element, best[0]);
                vec![b.select(is_better, element, best[0]), b.select(is_better, k, best[1])]
            });
            let at = b.add(row, i);
            b.store(best[1], output, at);
        });
    });
}

impl LowerOp for ArgMax {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        lower_argument(kernel, self.axis, l::Predicate::Gt);
        Ok(())
    }
}

impl LowerOp for ArgMin {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        lower_argument(kernel, self.axis, l::Predicate::Lt);
        Ok(())
    }
}
