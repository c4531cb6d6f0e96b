//! Ops that move elements: strided copies, in runs where elements stay neighbours.

use super::LowerOp;
use super::kernel::Kernel;
use super::parts::view_of_operand;
use super::rows::{Axis, collapse, for_runs, nest, to_i32};
use mcunet_ir::attr::Number;
use mcunet_ir::loops::ops as l;
use mcunet_ir::loops::view::View;
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

/// Copies along the axes of the result, of which the second is the height: for the row that the kernel makes, from the
/// operand's row that `from` tells, or for all of them. `starts` are offsets in the operand, and in a row of it.
fn copy_rows(
    kernel: &mut Kernel<'_>,
    mut axes: Vec<Axis>,
    starts: [i64; 2],
    from: impl FnOnce(&mut Builder<'_>, Value) -> Value,
) {
    let (source, target) = (kernel.source(0), kernel.target(0));
    let row = kernel.row();
    let b = &mut kernel.b;
    let bases = row.map(|row| {
        axes.remove(1);
        let from = from(b, row);
        [source.start(b, from), target.start(b, row)]
    });
    let start = starts[usize::from(row.is_some())];
    copy_from(b, axes, source.memory, target.memory, [start, 0], bases);
}

impl LowerOp for Transpose {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let strides = signed(kernel.operand_type(0).shape.strides());
        let steps: Vec<i64> = self.permutation.iter().map(|&axis| strides[axis]).collect();
        let axes = to_dense(&kernel.result_type(0).shape, &steps);
        copy_rows(kernel, axes, [0, 0], |_, row| row);
        Ok(())
    }
}

impl LowerOp for Slice {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let strides = signed(kernel.operand_type(0).shape.strides());
        let steps: Vec<i64> = strides.iter().zip(&self.stride).map(|(a, b)| a * b).collect();
        let starts = strides.iter().zip(&self.begin).map(|(stride, &begin)| stride * begin as i64);
        let in_row = starts.clone().skip(2).sum();
        let axes = to_dense(&kernel.result_type(0).shape, &steps);
        let from = |b: &mut Builder<'_>, row| {
            let way = b.mul_const(row, self.stride[1] as i32);
            b.add_const(way, to_i32(self.begin[1]))
        };
        copy_rows(kernel, axes, [starts.sum(), in_row], from);
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
        if_among(b, row, first, rows, |b, own| {
            let from = tile.start(b, own);
            copy_from(b, axes, tile.memory, target.memory, [0, start], Some([from, to]));
        });
        Ok(())
    }
}

impl LowerOp for Tile {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let shape = kernel.operand_type(0).shape.clone();
        let (from, to) = (signed(shape.strides()), signed(kernel.result_type(0).shape.strides()));
        let axis = |axis: usize| {
            let whole = to[axis] * shape[axis] as i64;
            [
                Axis { count: self.multiples[axis], steps: vec![0, whole] },
                Axis { count: shape[axis], steps: vec![from[axis], to[axis]] },
            ]
        };
        let (source, target) = (kernel.source(0), kernel.target(0));
        let row = kernel.row();
        let b = &mut kernel.b;
        let bases = row.map(|row| {
            let height = b.index(shape[1]);
            let from =
                if self.multiples[1] == 1 { row } else { b.value(l::Rem {}, &[row, height], Type::I32) };
            [source.start(b, from), target.start(b, row)]
        });
        let axes = (if row.is_some() { 2 } else { 0 }..shape.rank()).flat_map(axis).collect();
        copy_from(b, axes, source.memory, target.memory, [0, 0], bases);
        Ok(())
    }
}

impl LowerOp for DepthToSpace {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let shape = |ty| four(ty).map_err(|message| kernel.error(message));
        let ([n, h, w, c], [.., depth]) = (shape(kernel.operand_type(0))?, shape(kernel.result_type(0))?);
        let (row_elements, block) = ((w * c) as i64, self.block);
        // A row of the operand holds `block` rows of the result, side by side in each pixel.
        let across = block * depth;
        let (source, target) = (kernel.source(0), kernel.target(0));
        if let Some(row) = kernel.row() {
            let b = &mut kernel.b;
            let axes = to_dense(&Shape(vec![w, across]), &[c as i64, 1]);
            let divisor = b.index(block);
            let [above, below] = [
                b.value(l::Div {}, &[row, divisor], Type::I32),
                b.value(l::Rem {}, &[row, divisor], Type::I32),
            ];
            let (from, way) = (source.start(b, above), b.mul_const(below, to_i32(across)));
            let bases = [b.add(from, way), target.start(b, row)];
            copy_from(b, axes, source.memory, target.memory, [0, 0], Some(bases));
            return Ok(());
        }
        let dims = Shape(vec![n, h, block, w, across]);
        let steps = [h as i64 * row_elements, row_elements, across as i64, c as i64, 1];
        let axes = to_dense(&dims, &steps);
        copy(&mut kernel.b, axes, source.memory, target.memory, [0, 0]);
        Ok(())
    }
}

impl LowerOp for SpaceToDepth {
    fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
        let [n, h, w, c] = four(kernel.operand_type(0)).map_err(|message| kernel.error(message))?;
        let (row_elements, block) = ((w * c) as i64, self.block);
        // A row of the result holds `block` rows of the operand, side by side in each pixel.
        let across = block * c;
        let (source, target) = (kernel.source(0), kernel.target(0));
        if let Some(row) = kernel.row() {
            kernel.b.for_count(block, |b, below| {
                let pixel = (block * across) as i64;
                let axes = [(w / block, [across as i64, pixel]), (across, [1, 1])];
                let axes = axes.map(|(count, steps)| Axis { count, steps: steps.to_vec() });
                let above = b.mul_const(row, to_i32(block));
                let from = b.add(above, below);
                let (way, to) = (b.mul_const(below, to_i32(across)), target.start(b, row));
                let bases = [source.start(b, from), b.add(to, way)];
                copy_from(b, axes.to_vec(), source.memory, target.memory, [0, 0], Some(bases));
            });
            return Ok(());
        }
        let dims = Shape(vec![n, h / block, w / block, block, across]);
        let steps = [h as i64 * row_elements, block as i64 * row_elements, across as i64, row_elements, 1];
        let axes = to_dense(&dims, &steps);
        copy(&mut kernel.b, axes, source.memory, target.memory, [0, 0]);
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
        if self.axis == 1 && kernel.row().is_some() {
            stack(kernel);
            return Ok(());
        }
        if kernel.row().is_none() || !(kernel.makes_views() || kernel.reads_views()) {
            let sizes = (0..kernel.operand_count()).map(|i| kernel.operand_type(i).shape[self.axis] * inner);
            let sizes = sizes.collect();
            join(kernel, outer, sizes);
            return Ok(());
        }
        let (whole, mut begin) = (kernel.result_type(0), 0);
        for operand in 0..kernel.operand_count() {
            let ty = kernel.operand_type(operand);
            let view = view_of_operand(whole, self.axis, begin, ty.shape[self.axis]);
            begin += ty.shape[self.axis];
            if view.elements() == 0 || kernel.lies_in_result(operand) {
                continue;
            }
            let maps = [kernel.source(operand), kernel.target_view(view, ty)];
            let Some(row) = kernel.row() else { continue };
            let b = &mut kernel.b;
            let starts = maps.map(|map| map.start(b, row));
            for_runs(b, maps, starts, &mut |b, [from, to], count| {
                b.op(l::Copy { count }, &[maps[0].memory, from, maps[1].memory, to], &[]);
            });
        }
        Ok(())
    }
}

/// The row of the one operand among those that lie below one another that has it.
fn stack(kernel: &mut Kernel<'_>) {
    let target = kernel.target(0);
    let mut first = 0;
    for operand in 0..kernel.operand_count() {
        let (source, rows) = (kernel.source(operand), kernel.operand_type(operand).shape[1]);
        if let Some(row) = kernel.row() {
            if_among(&mut kernel.b, row, first, rows, |b, own| {
                let (from, to) = (source.start(b, own), target.start(b, row));
                b.op(l::Copy { count: target.elements }, &[source.memory, from, target.memory, to], &[]);
            });
        }
        first += rows;
    }
}

/// Runs `body` if a row is among the `rows` that begin with `first`, with its number among these.
fn if_among(
    b: &mut Builder<'_>,
    row: Value,
    first: usize,
    rows: usize,
    body: impl FnOnce(&mut Builder<'_>, Value),
) {
    // A loop over the row and nothing else, if it lies between the bounds.
    let (lowest, bound, next) = (b.index(first), b.index(first + rows), b.add_const(row, 1));
    let (lower, upper) = (b.max(row, lowest), b.min(next, bound));
    b.for_loop(lower, upper, 1, &[], |b, row, _| {
        let own = b.add_const(row, -to_i32(first));
        body(b, own);
        Vec::new()
    });
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
    let row = kernel.row();
    let outer = blocks_of_row(kernel, outer);
    let views = kernel.makes_views();
    let mut start = 0;
    for (operand, &size) in sizes.iter().enumerate() {
        let view = View { buffer: 0, first: start as usize, run: size, step: total, count: outer };
        start += size as i64;
        if view.elements() == 0 || kernel.lies_in_result(operand) {
            continue;
        }
        let start = view.first as i64;
        let target = match views {
            // It has no rows, and is in one piece.
            true => kernel.target_view(view, kernel.operand_type(operand)),
            false => kernel.target(0),
        };
        let source = kernel.source(operand);
        let axes = vec![
            Axis { count: outer, steps: vec![size as i64, total as i64] },
            Axis { count: size, steps: vec![1, 1] },
        ];
        let bases = row.map(|row| [source.start(&mut kernel.b, row), target.start(&mut kernel.b, row)]);
        copy_from(&mut kernel.b, axes, source.memory, target.memory, [0, start], bases);
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
        if kernel.is_view_of_operand(result) {
            start += size as i64;
            continue;
        }
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
        let starts = strides.iter().zip(&self.low).map(|(stride, &low)| stride * low as i64);
        let (in_row, start): (i64, i64) = (starts.clone().skip(2).sum(), starts.sum());
        let from = signed(shape.strides());
        let axes =
            (0..shape.rank()).map(|axis| Axis { count: shape[axis], steps: vec![from[axis], strides[axis]] });
        let mut axes: Vec<Axis> = axes.collect();
        let (all, wide) = (result.elements(), result.storage().size_bytes() == 8);
        let (source, target) = (kernel.source(0), kernel.target(0));
        let row = kernel.row();
        let b = &mut kernel.b;
        let value = match self.value {
            Number::Real(value) => b.f32(value.get()),
            Number::Int(value) if wide => b.i64(value),
            Number::Int(value) => b.i32(value as i32),
        };
        if let Some(row) = row {
            let to = target.start(b, row);
            b.op(l::Fill { count: target.elements }, &[value, target.memory, to], &[]);
            axes.remove(1);
            if_among(b, row, self.low[1], shape[1], |b, own| {
                let bases = [source.start(b, own), to];
                copy_from(b, axes, source.memory, target.memory, [0, in_row], Some(bases));
            });
            return Ok(());
        }
        let zero = b.i32(0);
        b.op(l::Fill { count: all }, &[value, target.memory, zero], &[]);
        copy(b, axes, source.memory, target.memory, [0, start]);
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
        let (source, target) = (kernel.source(0), kernel.target(0));
        let outer = blocks_of_row(kernel, outer);
        let row = kernel.row();
        let b = &mut kernel.b;
        let starts = match row {
            Some(row) => [source.start(b, row), target.start(b, row)],
            None => [b.i32(0); 2],
        };
        let (source, target) = (source.memory, target.memory);
        b.for_count(outer, |b, block| {
            let from = b.mul_const(block, to_i32(dim * inner));
            let to = b.mul_const(block, to_i32(count * inner));
            let (from, to) = (b.add(starts[0], from), b.add(starts[1], to));
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
