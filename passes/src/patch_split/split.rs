//! The rewriting: a run of operations becomes one copy per tile, and the tiles are put together.
//!
//! From the tensors that leave the run backward, the region of every tensor that a tile needs is found; several readers of
//! a tensor get the region that covers what each of them needs, and slices of that. Then the tile's operations are built
//! forward. The first tile is padded to the size of the whole, the others are inserted, which overwrites the tensor in
//! place: it never exists twice.

use super::region::{Region, cut, hull, part, whole};
use super::tile::{OpTile, tile_of};
use mcunet_ir::attr::Number;
use mcunet_ir::diag::Origin;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops::{Insert, Pad, Slice};
use mcunet_ir::{Diagnostic, Diagnostics, Function, Op, Shape, TensorType, Type, Value};
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
/// Every operation that can't be made in tiles, with the reason; tensors that have fewer rows or columns than there are tiles.
pub fn split(function: &mut Function, range: Range<usize>, tiles: [usize; 2]) -> Result<(), Diagnostics> {
    let all = operations(function);
    let run = Run::of(function, all.get(range).unwrap_or_default().to_vec());
    let plans = run.plans(function, tiles)?;
    let mut building = Building { function, run: &run, made: Vec::new() };
    let mut results: HashMap<Value, Value> = HashMap::new();
    for plan in &plans {
        building.tile(plan, &mut results);
    }
    let made = building.made;
    run.replace(function, made, &results);
    Ok(())
}

/// A run of operations.
pub(super) struct Run {
    /// The operations.
    pub ops: Vec<Op>,
    /// Results that are used outside.
    pub escaping: Vec<Value>,
}

/// What one tile takes.
pub(super) struct TilePlan {
    /// The tile of every operation of the run; `None` if it isn't needed.
    pub ops: Vec<Option<OpTile>>,
    /// Regions that are made of inner tensors, and needed of those from outside.
    pub regions: HashMap<Value, Region>,
    /// The part of every tensor that leaves the run, in the order of [`Run::escaping`].
    parts: Vec<Region>,
}

impl Run {
    /// Operations of a function that follow one another.
    pub fn of(function: &Function, ops: Vec<Op>) -> Self {
        let inside: HashSet<Op> = ops.iter().copied().collect();
        let mut used = HashSet::new();
        for op in function.walk().into_iter().filter(|op| !inside.contains(op)) {
            used.extend(function.ops[op].operands.iter().copied());
        }
        let results = ops.iter().flat_map(|&op| function.ops[op].results.iter().copied());
        let escaping = results.filter(|result| used.contains(result)).collect();
        Self { ops, escaping }
    }

    /// What one of several strips of full height takes.
    ///
    /// # Errors
    /// As [`split`].
    pub fn strip(&self, function: &Function, index: usize, count: usize) -> Result<TilePlan, Diagnostics> {
        let mut errors = Diagnostics::default();
        self.check(function, [1, count], &mut errors);
        if errors.0.is_empty() {
            let plan = self.plan(function, [(0, 1), (index, count)], &mut errors);
            if errors.0.is_empty() {
                return Ok(plan);
            }
        }
        Err(errors)
    }

    /// Whether an operation of the run can't be made in tiles, wherever the run ends.
    pub fn refused(&self, function: &Function) -> bool {
        let refuses = |&op: &Op| {
            let data = &function.ops[op];
            let OpKind::Nn(kind) = &data.kind else { return true };
            let results = types(function, &data.results);
            let all = results.first().map_or([0..1, 0..1], |ty| whole(&ty.shape));
            tile_of(kind, &types(function, &data.operands), &results, &all).is_err()
        };
        self.ops.iter().any(refuses)
    }

    fn plans(&self, function: &Function, tiles: [usize; 2]) -> Result<Vec<TilePlan>, Diagnostics> {
        let mut errors = Diagnostics::default();
        self.check(function, tiles, &mut errors);
        if !errors.0.is_empty() {
            return Err(errors);
        }
        let mut plans = Vec::new();
        for row in 0..tiles[0] {
            for column in 0..tiles[1] {
                plans.push(self.plan(function, [(row, tiles[0]), (column, tiles[1])], &mut errors));
                // The other tiles would say the same again.
                if !errors.0.is_empty() {
                    return Err(errors);
                }
            }
        }
        Ok(plans)
    }

    /// What can be said without looking at a tile.
    fn check(&self, function: &Function, tiles: [usize; 2], errors: &mut Diagnostics) {
        for &value in &self.escaping {
            let size = shape_of(function, value).nhwc().map(|[_, height, width, _]| [height, width]);
            let fits = size.is_some_and(|size| size[0] >= tiles[0] && size[1] >= tiles[1]);
            if !fits {
                let shape = shape_of(function, value);
                let wanted = format!("{}x{}", tiles[0], tiles[1]);
                let message = format!("expected an image of at least {wanted} to split, got {shape}");
                errors.push(Diagnostic::error(message).at(origin_of(function, value)));
            }
        }
        for &op in self.ops.iter().filter(|&&op| !matches!(function.ops[op].kind, OpKind::Nn(_))) {
            let data = &function.ops[op];
            let name = data.kind.name();
            let message =
                format!("expected tensor operations to split, got '{name}', which runs row by row already");
            let error = Diagnostic::error(message).at(data.origin.clone());
            errors.push(error.help("run patch-split before cascade"));
        }
        let inside: HashSet<Op> = self.ops.iter().copied().collect();
        for op in function.walk() {
            let data = &function.ops[op];
            let is_reshape = matches!(data.kind, OpKind::Nn(NnOp::Reshape(_)));
            let inner = |value: &Value| function.defining_op(*value).is_some_and(|op| inside.contains(&op));
            let reads = |op: &Op| function.ops[*op].operands.contains(&data.results[0]);
            if is_reshape && data.operands.iter().any(inner) && self.ops.iter().any(reads) {
                let message =
                    "expected operations that can be made in tiles, got one that reads a reshaped tensor";
                errors.push(Diagnostic::error(message).at(data.origin.clone()));
            }
        }
    }

    fn plan(&self, function: &Function, tile: [(usize, usize); 2], errors: &mut Diagnostics) -> TilePlan {
        let inside: HashSet<Op> = self.ops.iter().copied().collect();
        let mut regions: HashMap<Value, Region> = HashMap::new();
        let parts: Vec<Region> = self
            .escaping
            .iter()
            .map(|&value| {
                let all = whole(&shape_of(function, value));
                [0, 1].map(|axis| part(all[axis].len(), tile[axis].0, tile[axis].1))
            })
            .collect();
        for (&value, part) in self.escaping.iter().zip(&parts) {
            add(&mut regions, value, part);
        }
        let mut ops = vec![None; self.ops.len()];
        for (slot, &op) in ops.iter_mut().zip(&self.ops).rev() {
            let data = &function.ops[op];
            let wanted = data.results.iter().filter_map(|result| regions.get(result));
            let Some(wanted) = wanted.cloned().reduce(|a, b| hull(&a, &b)) else { continue };
            let OpKind::Nn(kind) = &data.kind else { continue };
            let operands = types(function, &data.operands);
            let results = types(function, &data.results);
            let found = tile_of(kind, &operands, &results, &wanted);
            let refused = |reason: &str| {
                Diagnostic::error(format!(
                    "expected operations that can be made in tiles, got '{}', which {reason}",
                    data.kind.name()
                ))
                .at(data.origin.clone())
                .help("split fewer layers")
            };
            let found = match found {
                Ok(found) => found,
                Err(reason) => {
                    errors.push(refused(&reason));
                    continue;
                }
            };
            for (&operand, region) in data.operands.iter().zip(&found.operands) {
                let inner = function.defining_op(operand).is_some_and(|op| inside.contains(&op));
                match region {
                    Some(region) => add(&mut regions, operand, region),
                    None if inner => errors.push(refused("needs all of a tensor that is made in tiles")),
                    None => {}
                }
            }
            for &result in &data.results {
                regions.insert(result, found.made.clone());
            }
            *slot = Some(found);
        }
        TilePlan { ops, regions, parts }
    }

    /// Puts the new operations in the place of the run, and lets everybody use their results.
    fn replace(&self, function: &mut Function, made: Vec<Op>, results: &HashMap<Value, Value>) {
        let inside: HashSet<Op> = self.ops.iter().copied().collect();
        let old = std::mem::take(&mut function.blocks[function.body].ops);
        let last = old.iter().rposition(|op| inside.contains(op)).unwrap_or(0);
        // Reshapes of what the run makes may stand between its operations; they come after it now.
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut late: HashSet<Value> = self.escaping.iter().copied().collect();
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
}

/// Builds the operations of tiles.
struct Building<'b> {
    function: &'b mut Function,
    run: &'b Run,
    made: Vec<Op>,
}

impl Building<'_> {
    /// Builds a tile, and adds it to the results.
    fn tile(&mut self, plan: &TilePlan, results: &mut HashMap<Value, Value>) {
        let mut parts: HashMap<Value, Value> = HashMap::new();
        for (&op, tile) in self.run.ops.iter().zip(&plan.ops) {
            let Some(tile) = tile else { continue };
            let data = self.function.ops[op].clone();
            let mut operands = Vec::new();
            for (&operand, region) in data.operands.iter().zip(&tile.operands) {
                operands.push(match region {
                    Some(region) => self.region(operand, region, plan, &mut parts, &data.origin),
                    None => operand,
                });
            }
            let ty = |&result: &Value| self.cut_type(result, &tile.made);
            let types: Vec<Type> = data.results.iter().map(ty).collect();
            let built = self.push(tile.kind.clone().into(), operands, types, &data.origin);
            for (&result, value) in data.results.iter().zip(built) {
                self.function.values[value].name = self.function.values[result].name.clone();
                parts.insert(result, value);
            }
        }
        for (&value, part) in self.run.escaping.iter().zip(&plan.parts) {
            let origin = origin_of(self.function, value);
            let tile = self.region(value, part, plan, &mut parts, &origin);
            let put = self.put(value, results.get(&value).copied(), tile, part, &origin);
            results.insert(value, put);
        }
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
        let name = self.function.values[value].name.clone();
        let sliced = self.push(Slice { begin, size, stride }.into(), vec![value], vec![ty], origin)[0];
        self.function.values[sliced].name = name;
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
        self.function.values[made].name = self.function.values[whole_value].name.clone();
        made
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

fn add(regions: &mut HashMap<Value, Region>, value: Value, region: &Region) {
    let region = regions.get(&value).map_or(region.clone(), |known| hull(known, region));
    regions.insert(value, region);
}

fn shape_of(function: &Function, value: Value) -> Shape {
    function.ty(value).as_tensor().map(|ty| ty.shape.clone()).unwrap_or_default()
}

fn origin_of(function: &Function, value: Value) -> Origin {
    function.defining_op(value).map_or(Origin::Unknown, |op| function.ops[op].origin.clone())
}

fn types<'f>(function: &'f Function, values: &[Value]) -> Vec<&'f TensorType> {
    values.iter().filter_map(|&value| function.ty(value).as_tensor()).collect()
}

/// What stands for zero in a type.
fn zero(ty: Option<&TensorType>) -> Number {
    match ty {
        Some(ty) if ty.storage().is_float() => Number::Real(0.0.into()),
        Some(ty) => Number::Int(ty.affine().map_or(0, |affine| affine.zero_point.into())),
        None => Number::Int(0),
    }
}
