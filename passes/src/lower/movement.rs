//! Ops that move elements: strided copies, in runs where elements stay neighbours.

use super::LowerOp;
use super::kernel::Kernel;
use super::rows::{Axis, collapse, nest, to_i32};
use mcunet_ir::attr::Number;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::ops::{
    Concat, DepthToSpace, Gather, Insert, Pack, Pad, ShapeOf, Slice, SpaceToDepth, Split, Tile, Transpose,
    Unpack,
};
use mcunet_ir::nn::window::four;
use mcunet_ir::rows::image_rows;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, Shape, Type, Value};

/// Copies along axes whose steps are those of source and target.
fn copy(b: &mut Builder<'_>, axes: Vec<Axis>, source: Value, target: Value, starts: [i64; 2]) {
    copy_from(b, axes, source, target, starts, None);
}

/// [`copy`] with offsets in source and target, where they are not known until run time, added to the starts.
fn copy_from(
    b: &mut Builder<'_>,
    axes: Vec<Axis>,
    source: Value,
    target: Value,
    starts: [i64; 2],
    bases: Option<[Value; 2]>,
) {
    let mut axes = collapse(axes);
    if axes.iter().any(|axis| axis.count == 0) {
        return;
    }
    let run = match axes.last() {
        Some(axis) if axis.steps == [1, 1] => axes.pop().map_or(1, |axis| axis.count),
        _ => 1,
    };
    let starts = [0, 1].map(|side| match bases {
        Some(bases) => b.add_const(bases[side], starts[side] as i32),
        None => b.i32(starts[side] as i32),
    });
    nest(b, &axes, &starts, &mut |b, offsets| {
        if run == 1 {
            let x = b.load(source, offsets[0]);
            b.store(x, target, offsets[1]);
        } else {
            b.op(l::Copy { count: run }, &[source, offsets[0], target, offsets[1]], &[]);
        }
    });
}

/// Axes of a dense tensor of a shape, with the given source steps.
fn to_dense(shape: &Shape, source_steps: &[i64]) -> Vec<Axis> {
    let own = shape.strides();
    (0..shape.rank())
        .map(|axis| Axis { count: shape[axis], steps: vec![source_steps[axis], own[axis] as i64] })
        .collect()
}

fn signed(strides: Vec<usize>) -> Vec<i64> {
    strides.into_iter().map(|stride| stride as i64).collect()
}

impl LowerOp for Transpose {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let strides = signed(kernel.operand_type(0).shape.strides());
        let steps: Vec<i64> = self.permutation.iter().map(|&axis| strides[axis]).collect();
        let axes = to_dense(&kernel.result_type(0).shape, &steps);
        let (source, target) = (kernel.input(0), kernel.output(0));
        copy(&mut kernel.b, axes, source, target, [0, 0]);
        Ok(())
    }
}

impl LowerOp for Slice {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let strides = signed(kernel.operand_type(0).shape.strides());
        let steps: Vec<i64> = strides.iter().zip(&self.stride).map(|(a, b)| a * b).collect();
        let mut axes = to_dense(&kernel.result_type(0).shape, &steps);
        let (source, target) = (kernel.source(0), kernel.target(0));
        let mut starts: Vec<i64> =
            strides.iter().zip(&self.begin).map(|(stride, &begin)| stride * begin as i64).collect();
        let bases = kernel.row().map(|row| {
            // The row gives the place along the height.
            axes[1].count = 1;
            starts[1] = 0;
            let b = &mut kernel.b;
            let way = b.mul_const(row, self.stride[1] as i32);
            let from = b.add_const(way, to_i32(self.begin[1]));
            [source.start(b, from), target.start(b, row)]
        });
        copy_from(&mut kernel.b, axes, source.memory, target.memory, [starts.iter().sum(), 0], bases);
        Ok(())
    }
}

impl LowerOp for Insert {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let (into, tile, target) = (kernel.source(0), kernel.source(1), kernel.target(0));
        // The tile is read after the row is written, which must not be its own.
        if tile.memory != into.memory {
            kernel.allow_in_place(0, 0);
        }
        let shape = kernel.operand_type(1).shape.clone();
        let result = kernel.result_type(0);
        let (elements, to) = (result.elements(), signed(result.shape.strides()));
        let mut starts: Vec<i64> =
            to.iter().zip(&self.begin).map(|(stride, &begin)| stride * begin as i64).collect();
        let from = signed(shape.strides());
        let mut axes: Vec<Axis> = (0..shape.rank())
            .map(|axis| Axis { count: shape[axis], steps: vec![from[axis], to[axis]] })
            .collect();
        let Some(row) = kernel.row() else {
            let zero = kernel.b.i32(0);
            kernel.b.op(l::Copy { count: elements }, &[into.memory, zero, target.memory, zero], &[]);
            copy(&mut kernel.b, axes, tile.memory, target.memory, [0, starts.iter().sum()]);
            return Ok(());
        };
        let (rows, first) = (shape[1], self.begin[1]);
        axes[1].count = 1;
        starts[1] = 0;
        let start: i64 = starts.iter().sum();
        let b = &mut kernel.b;
        let to = target.start(b, row);
        let whole = if into.lies_as(target) { to } else { into.start(b, row) };
        b.op(l::Copy { count: target.elements }, &[into.memory, whole, target.memory, to], &[]);
        if_inside(kernel, row, [first, rows], |b, own| {
            let from = tile.start(b, own);
            copy_from(b, axes, tile.memory, target.memory, [0, start], Some([from, to]));
        });
        Ok(())
    }
}

/// Runs `body` if a row of the result lies among the `rows` that begin at row `first`, with its number among them.
fn if_inside(
    kernel: &mut Kernel<'_>,
    row: Value,
    [first, rows]: [usize; 2],
    body: impl FnOnce(&mut Builder<'_>, Value),
) {
    let all = rows == kernel.rows();
    let b = &mut kernel.b;
    if all {
        return body(b, row);
    }
    // A loop that runs once or not at all.
    let own = b.add_const(row, -to_i32(first));
    let next = b.add_const(own, 1);
    let (lower, upper) = (b.clamp(own, 0, to_i32(rows)), b.clamp(next, 0, to_i32(rows)));
    b.for_loop(lower, upper, 1, &[], |b, own, _| {
        body(b, own);
        Vec::new()
    });
}

impl LowerOp for Tile {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let shape = kernel.operand_type(0).shape.clone();
        let (from, to) = (signed(shape.strides()), signed(kernel.result_type(0).shape.strides()));
        let axes = (0..shape.rank()).flat_map(|axis| {
            let whole = to[axis] * shape[axis] as i64;
            [
                Axis { count: self.multiples[axis], steps: vec![0, whole] },
                Axis { count: shape[axis], steps: vec![from[axis], to[axis]] },
            ]
        });
        let axes = axes.collect();
        let (source, target) = (kernel.input(0), kernel.output(0));
        copy(&mut kernel.b, axes, source, target, [0, 0]);
        Ok(())
    }
}

impl LowerOp for DepthToSpace {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let shape = |ty| four(ty).map_err(|message| kernel.error(message));
        let ([n, h, w, c], [.., depth]) = (shape(kernel.operand_type(0))?, shape(kernel.result_type(0))?);
        let (row, block) = ((w * c) as i64, self.block);
        let dims = Shape(vec![n, h, block, w, block, depth]);
        let steps = [h as i64 * row, row, (block * depth) as i64, c as i64, depth as i64, 1];
        let axes = to_dense(&dims, &steps);
        let (source, target) = (kernel.input(0), kernel.output(0));
        copy(&mut kernel.b, axes, source, target, [0, 0]);
        Ok(())
    }
}

impl LowerOp for SpaceToDepth {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let [n, h, w, c] = four(kernel.operand_type(0)).map_err(|message| kernel.error(message))?;
        let (row, block) = ((w * c) as i64, self.block);
        let dims = Shape(vec![n, h / block, w / block, block, block, c]);
        let steps = [h as i64 * row, block as i64 * row, (block * c) as i64, row, c as i64, 1];
        let axes = to_dense(&dims, &steps);
        let (source, target) = (kernel.input(0), kernel.output(0));
        copy(&mut kernel.b, axes, source, target, [0, 0]);
        Ok(())
    }
}

/// Blocks before an axis and elements of a slice along it.
fn around(shape: &Shape, axis: usize) -> (usize, usize) {
    (shape[..axis].iter().product(), shape[axis + 1..].iter().product())
}

impl LowerOp for Concat {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let (outer, inner) = around(&kernel.result_type(0).shape, self.axis);
        let sizes = (0..kernel.operand_count()).map(|i| kernel.operand_type(i).shape[self.axis] * inner);
        join(kernel, outer, sizes.collect());
        Ok(())
    }
}

impl LowerOp for Pack {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let (outer, inner) = around(&kernel.result_type(0).shape, self.axis);
        join(kernel, outer, vec![inner; kernel.operand_count()]);
        Ok(())
    }
}

/// Joins operands of which each gives runs of `sizes[i]` elements to every of `outer` blocks.
fn join(kernel: &mut Kernel<'_>, outer: usize, sizes: Vec<usize>) {
    let total: usize = sizes.iter().sum();
    let target = kernel.target(0);
    let row = kernel.row();
    let outer = blocks_of_row(kernel, outer);
    let mut start = 0;
    for (operand, &size) in sizes.iter().enumerate() {
        let source = kernel.source(operand);
        let axes = vec![
            Axis { count: outer, steps: vec![size as i64, total as i64] },
            Axis { count: size, steps: vec![1, 1] },
        ];
        let bases = row.map(|row| [source.start(&mut kernel.b, row), target.start(&mut kernel.b, row)]);
        copy_from(&mut kernel.b, axes, source.memory, target.memory, [0, start], bases);
        start += size as i64;
    }
}

/// Of the blocks along an axis behind the height, those of one row, if the kernel makes rows.
fn blocks_of_row(kernel: &mut Kernel<'_>, outer: usize) -> usize {
    match kernel.row() {
        Some(_) => outer / image_rows(&kernel.result_type(0).shape).unwrap_or(1),
        None => outer,
    }
}

/// Cuts the operand's blocks of `sum(sizes)` elements into runs of `sizes[i]`, one per result.
fn cut(kernel: &mut Kernel<'_>, outer: usize, sizes: Vec<usize>) {
    let total: usize = sizes.iter().sum();
    let source = kernel.source(0);
    let row = kernel.row();
    let outer = blocks_of_row(kernel, outer);
    let mut start = 0;
    for (result, &size) in sizes.iter().enumerate() {
        let target = kernel.target(result);
        let axes = vec![
            Axis { count: outer, steps: vec![total as i64, size as i64] },
            Axis { count: size, steps: vec![1, 1] },
        ];
        let bases = row.map(|row| [source.start(&mut kernel.b, row), target.start(&mut kernel.b, row)]);
        copy_from(&mut kernel.b, axes, source.memory, target.memory, [start, 0], bases);
        start += size as i64;
    }
}

impl LowerOp for Split {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let (outer, inner) = around(&kernel.operand_type(0).shape, self.axis);
        cut(kernel, outer, self.sizes.iter().map(|size| size * inner).collect());
        Ok(())
    }
}

impl LowerOp for Unpack {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let (outer, inner) = around(&kernel.operand_type(0).shape, self.axis);
        cut(kernel, outer, vec![inner; kernel.result_count()]);
        Ok(())
    }
}

impl LowerOp for Pad {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let shape = kernel.operand_type(0).shape.clone();
        let result = kernel.result_type(0);
        let strides = signed(result.shape.strides());
        let mut starts: Vec<i64> =
            strides.iter().zip(&self.low).map(|(stride, &low)| stride * low as i64).collect();
        let from = signed(shape.strides());
        let axes =
            (0..shape.rank()).map(|axis| Axis { count: shape[axis], steps: vec![from[axis], strides[axis]] });
        let mut axes: Vec<Axis> = axes.collect();
        let (count, wide) = (result.elements(), result.storage().size_bytes() == 8);
        let (source, target, row) = (kernel.source(0), kernel.target(0), kernel.row());
        let b = &mut kernel.b;
        let value = match self.value {
            Number::Real(value) => b.f32(value.get()),
            Number::Int(value) if wide => b.i64(value),
            Number::Int(value) => b.i32(value as i32),
        };
        let Some(row) = row else {
            let zero = b.i32(0);
            b.op(l::Fill { count }, &[value, target.memory, zero], &[]);
            copy(b, axes, source.memory, target.memory, [0, starts.iter().sum()]);
            return Ok(());
        };
        let to = target.start(b, row);
        b.op(l::Fill { count: target.elements }, &[value, target.memory, to], &[]);
        axes[1].count = 1;
        starts[1] = 0;
        if_inside(kernel, row, [self.low[1], shape[1]], |b, own| {
            let from = source.start(b, own);
            let starts = [0, starts.iter().sum()];
            copy_from(b, axes, source.memory, target.memory, starts, Some([from, to]));
        });
        Ok(())
    }
}

impl LowerOp for Gather {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let shape = kernel.operand_type(0).shape.clone();
        let (outer, inner) = around(&shape, self.axis);
        let dim = shape[self.axis];
        let indices = kernel.expect_constant_data(1, "indices")?.to_i64s().unwrap_or_default();
        let last = dim.saturating_sub(1) as i64;
        let offsets: Vec<i32> = indices.iter().map(|&i| i.clamp(0, last) as i32 * to_i32(inner)).collect();
        let count = offsets.len();
        let offsets = kernel.data("gather_offsets", &Data::I32(offsets));
        let (source, target) = (kernel.input(0), kernel.output(0));
        kernel.b.for_count(outer, |b, block| {
            let from = b.mul_const(block, to_i32(dim * inner));
            let to = b.mul_const(block, to_i32(count * inner));
            b.for_count(count, |b, i| {
                let offset = b.load(offsets, i);
                let from = b.add(from, offset);
                let way = b.mul_const(i, to_i32(inner));
                let to = b.add(to, way);
                b.op(l::Copy { count: inner }, &[source, from, target, to], &[]);
            });
        });
        Ok(())
    }
}

impl LowerOp for ShapeOf {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let dims: Vec<i64> = kernel.operand_type(0).shape.iter().map(|&dim| dim as i64).collect();
        let wide = kernel.result_type(0).storage() == Scalar::I64;
        let output = kernel.output(0);
        let b = &mut kernel.b;
        for (i, dim) in dims.into_iter().enumerate() {
            let value = if wide { b.i64(dim) } else { b.i32(dim as i32) };
            let at = b.index(i);
            debug_assert!(*b.function.ty(value) == if wide { Type::I64 } else { Type::I32 });
            b.store(value, output, at);
        }
        Ok(())
    }
}
