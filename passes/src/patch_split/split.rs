//! The rewriting: a run of operations becomes one copy per tile, and the tiles are put together.
//!
//! The operations of each tile are built forward, as they are planned (`plan.rs`). The first tile is padded to the size of
//! the whole, the others are inserted, which overwrites the tensor in place: it never exists twice. Columns that a strip keeps
//! for the next are slices, which the next puts in front of its own.

use super::halo::Halo;
use super::plan::{Run, TilePlan, Users, origin_of, shape_of};
use super::region::{Region, cut, whole};
use super::tile::OpTile;
use mcunet_ir::attr::Number;
use mcunet_ir::diag::Origin;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops::{Concat, Insert, Pad, Slice};
use mcunet_ir::{Diagnostics, Function, Op, Shape, TensorType, Type, Value};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// The operations of a function in order, without constants and reshapes.
pub fn operations(function: &Function) -> Vec<Op> {
    let ops = function.blocks[function.body].ops.iter().copied();
    let counts = |op: &Op| match &function.ops[*op].kind {
        OpKind::Nn(NnOp::Const(_) | NnOp::Reshape(_)) => false,
        OpKind::Nn(_) | OpKind::Tile(_) => true,
        _ => false,
    };
    ops.filter(counts).collect()
}

/// Splits operations `range` into `tiles` down and across.
///
/// # Errors
/// As `Run::plans`.
pub fn split(
    function: &mut Function,
    range: Range<usize>,
    tiles: [usize; 2],
    halo: Halo,
) -> Result<(), Diagnostics> {
    let all = operations(function);
    let run = Run::of(function, &Users::of(function), all.get(range).unwrap_or_default().to_vec());
    let plans = run.plans(function, tiles, halo)?;
    let (made, results) = (Vec::new(), HashMap::new());
    let mut building = Building { function, run: &run, made, results, kept: HashMap::new() };
    for plan in &plans {
        building.tile(plan);
    }
    let Building { made, results, .. } = building;
    replace(&run, function, made, &results);
    Ok(())
}

/// Puts the new operations in the place of the run, and lets everybody use their results.
fn replace(run: &Run, function: &mut Function, made: Vec<Op>, results: &HashMap<Value, Value>) {
    let inside: HashSet<Op> = run.ops.iter().copied().collect();
    let old = std::mem::take(&mut function.blocks[function.body].ops);
    let last = old.iter().rposition(|op| inside.contains(op)).unwrap_or(0);
    // Reshapes of what the run makes may stand between its operations; they come after it now.
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut late: HashSet<Value> = run.escaping.iter().copied().collect();
    for &op in old[..=last].iter().filter(|op| !inside.contains(op)) {
        if function.ops[op].operands.iter().any(|operand| late.contains(operand)) {
            late.extend(function.ops[op].results.iter().copied());
            after.push(op);
        } else {
            before.push(op);
        }
    }
    let rest = old[last + 1..].iter().copied();
    for op in after.iter().copied().chain(rest.clone()) {
        for operand in &mut function.ops[op].operands {
            *operand = results.get(operand).copied().unwrap_or(*operand);
        }
    }
    let ops = before.into_iter().chain(made).chain(after).chain(rest).collect();
    function.blocks[function.body].ops = ops;
}

/// Builds the operations of tiles.
struct Building<'b> {
    function: &'b mut Function,
    run: &'b Run,
    made: Vec<Op>,
    /// Tensors that leave the run, as far as they are put together.
    results: HashMap<Value, Value>,
    /// Columns that the last tile has left of a tensor.
    kept: HashMap<Value, Value>,
}

impl Building<'_> {
    /// Builds a tile, and adds it to the results.
    fn tile(&mut self, plan: &TilePlan) {
        let mut parts: HashMap<Value, Value> = HashMap::new();
        for (&op, tile) in self.run.ops.iter().zip(&plan.ops) {
            if let Some(tile) = tile {
                self.op(op, tile, plan, &mut parts);
            }
            for result in self.function.ops[op].results.clone() {
                self.hold(result, tile.as_ref(), plan, &mut parts);
            }
        }
        for (&value, part) in self.run.escaping.iter().zip(&plan.parts) {
            let origin = origin_of(self.function, value);
            let tile = self.region(value, part, plan, &mut parts, &origin);
            let put = self.put(value, self.results.get(&value).copied(), tile, part, &origin);
            self.results.insert(value, put);
        }
    }

    /// Builds an operation of a tile.
    fn op(&mut self, op: Op, tile: &OpTile, plan: &TilePlan, parts: &mut HashMap<Value, Value>) {
        let data = self.function.ops[op].clone();
        let mut operands = Vec::new();
        for (&operand, region) in data.operands.iter().zip(&tile.operands) {
            operands.push(match region {
                Some(region) => self.region(operand, region, plan, parts, &data.origin),
                None => operand,
            });
        }
        let ty = |&result: &Value| self.cut_type(result, &tile.made);
        let types: Vec<Type> = data.results.iter().map(ty).collect();
        let built = self.push(tile.kind.clone().into(), operands, types, &data.origin);
        for (&result, value) in data.results.iter().zip(built) {
            self.name_as(value, result);
            parts.insert(result, value);
        }
    }

    /// Puts columns that the tile before has left in front of those that this one makes of a tensor, and leaves columns to the
    /// next.
    fn hold(
        &mut self,
        value: Value,
        tile: Option<&OpTile>,
        plan: &TilePlan,
        parts: &mut HashMap<Value, Value>,
    ) {
        let Some(handed) = plan.kept.get(&value) else { return };
        let own = tile.map(|tile| &tile.made).zip(parts.remove(&value));
        let before = handed.before.as_ref().zip(self.kept.remove(&value));
        let origin = origin_of(self.function, value);
        let held = plan.regions.get(&value).and_then(|region| {
            let part = self.joined(before, own, region, &origin)?;
            parts.insert(value, part);
            Some((region, part))
        });
        // Rather of what is made alone than of both, which exists later.
        let covers = |(has, _): &(&Region, Value), after: &Region| has[1].start <= after[1].start;
        if let Some(after) = &handed.after
            && let Some((has, part)) = own.filter(|own| covers(own, after)).or(held)
        {
            let left = self.slice(part, has, after, &origin);
            self.kept.insert(value, left);
        }
    }

    /// A region that begins in columns that were kept, or in those that were made after them.
    fn joined(
        &mut self,
        before: Option<(&Region, Value)>,
        own: Option<(&Region, Value)>,
        region: &Region,
        origin: &Origin,
    ) -> Option<Value> {
        let [rows, columns] = region.clone();
        let Some((has, made)) = own.filter(|(has, _)| has[1].start < columns.end) else {
            let (has, kept) = before?;
            return Some(self.slice(kept, has, region, origin));
        };
        if has[1].start <= columns.start {
            return Some(self.slice(made, has, region, origin));
        }
        let (kept_has, kept) = before?;
        let left = self.slice(kept, kept_has, &[rows.clone(), columns.start..has[1].start], origin);
        let right = self.slice(made, has, &[rows, has[1].start..columns.end], origin);
        let ty = self.cut_type(made, region);
        let whole = self.push(Concat { axis: 2 }.into(), vec![left, right], vec![ty], origin)[0];
        self.name_as(whole, made);
        Some(whole)
    }

    /// The given region of a tensor: of what the tile has of it, or of the whole tensor from outside.
    fn region(
        &mut self,
        value: Value,
        region: &Region,
        plan: &TilePlan,
        parts: &mut HashMap<Value, Value>,
        origin: &Origin,
    ) -> Value {
        let all = whole(&shape_of(self.function, value));
        // Of a tensor from outside, all readers of the tile share one slice.
        let has = plan.regions.get(&value).unwrap_or(&all).clone();
        let part = match parts.get(&value) {
            Some(&part) => part,
            None => {
                let part = self.slice(value, &all, &has, origin);
                parts.insert(value, part);
                part
            }
        };
        self.slice(part, &has, region, origin)
    }

    /// Region `wanted` of a value that holds region `has`.
    fn slice(&mut self, value: Value, has: &Region, wanted: &Region, origin: &Origin) -> Value {
        if has == wanted {
            return value;
        }
        let shape = shape_of(self.function, value);
        let mut begin = vec![0; shape.rank()];
        for axis in 0..2 {
            if let Some(dimension) = super::region::dimension(shape.rank(), axis) {
                begin[dimension] = wanted[axis].start - has[axis].start;
            }
        }
        let (size, stride) = (cut(&shape, wanted), vec![1; shape.rank()]);
        let ty = self.cut_type(value, wanted);
        let sliced = self.push(Slice { begin, size, stride }.into(), vec![value], vec![ty], origin)[0];
        self.name_as(sliced, value);
        sliced
    }

    /// Puts a tile in its place: into `into`, or, if it is the first, into a tensor of padding.
    fn put(
        &mut self,
        whole_value: Value,
        into: Option<Value>,
        tile: Value,
        part: &Region,
        origin: &Origin,
    ) -> Value {
        let ty = self.function.ty(whole_value).clone();
        let shape = shape_of(self.function, whole_value);
        let mut begin = vec![0; shape.rank()];
        (begin[1], begin[2]) = (part[0].start, part[1].start);
        let made = match into {
            Some(into) => self.push(Insert { begin }.into(), vec![into, tile], vec![ty], origin),
            None => {
                let mut high = vec![0; shape.rank()];
                (high[1], high[2]) = (shape[1] - part[0].end, shape[2] - part[1].end);
                let value = zero(ty.as_tensor());
                self.push(Pad { low: begin, high, value }.into(), vec![tile], vec![ty], origin)
            }
        }[0];
        self.name_as(made, whole_value);
        made
    }

    fn name_as(&mut self, value: Value, named: Value) {
        self.function.values[value].name = self.function.values[named].name.clone();
    }

    fn cut_type(&self, value: Value, region: &Region) -> Type {
        match self.function.ty(value).as_tensor() {
            Some(ty) => ty.with_shape(Shape::from(cut(&ty.shape, region))).into(),
            None => self.function.ty(value).clone(),
        }
    }

    fn push(&mut self, kind: OpKind, operands: Vec<Value>, types: Vec<Type>, origin: &Origin) -> Vec<Value> {
        let op = self.function.create_op(kind, operands, types, Vec::new(), origin.clone());
        self.made.push(op);
        self.function.ops[op].results.clone()
    }
}

/// What stands for zero in a type.
fn zero(ty: Option<&TensorType>) -> Number {
    match ty {
        Some(ty) if ty.storage().is_float() => Number::Real(0.0.into()),
        Some(ty) => Number::Int(ty.affine().map_or(0, |affine| affine.zero_point.into())),
        None => Number::Int(0),
    }
}
