//! What each tile of a run of operations takes.
//!
//! From the tensors that leave the run backward, the region of every tensor that a tile needs is found; several readers of
//! a tensor get the region that covers what each of them needs. Strips whose columns are kept are planned from left to right,
//! each knowing what those before it have made.

use super::halo::{self, Halo, Kept, Made, NotKept};
use super::region::{Region, hull, part, whole};
use super::tile::{OpTile, tile_of};
use mcunet_ir::diag::{Category, Origin};
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::{Diagnostic, Diagnostics, Function, Op, Shape, TensorType, Value};
use std::collections::{HashMap, HashSet};

/// Who uses the values of a function.
pub(super) struct Users {
    of: HashMap<Value, Vec<Op>>,
    reshapes: Vec<Op>,
}

impl Users {
    /// The users in a function.
    pub fn of(function: &Function) -> Self {
        let mut users = Self { of: HashMap::new(), reshapes: Vec::new() };
        for op in function.walk() {
            let data = &function.ops[op];
            data.operands.iter().for_each(|&value| users.of.entry(value).or_default().push(op));
            if matches!(data.kind, OpKind::Nn(NnOp::Reshape(_))) {
                users.reshapes.push(op);
            }
        }
        users
    }

    fn any(&self, value: Value, is: impl Fn(&Op) -> bool) -> bool {
        self.of.get(&value).is_some_and(|users| users.iter().any(is))
    }
}

/// A run of operations.
pub(super) struct Run {
    /// The operations.
    pub ops: Vec<Op>,
    /// Results that are used outside.
    pub escaping: Vec<Value>,
    /// Reshapes of inner tensors that are read inside.
    reshapes: Vec<Op>,
}

/// Why there is no plan.
enum Refused {
    /// Operations that can't be made in tiles.
    Errors(Diagnostics),
    /// Columns that can't be kept.
    NotKept(NotKept),
}

impl From<NotKept> for Refused {
    fn from(refused: NotKept) -> Self {
        Refused::NotKept(refused)
    }
}

/// What one tile takes.
pub(super) struct TilePlan {
    /// The tile of every operation of the run; `None` if it isn't needed.
    pub ops: Vec<Option<OpTile>>,
    /// Regions that the tile has of inner tensors, and needs of those from outside.
    pub regions: HashMap<Value, Region>,
    /// What is kept of tensors: those of which anything may be, so that a region can be less than what is made.
    pub kept: HashMap<Value, Kept>,
    /// The part of every tensor that leaves the run, in the order of [`Run::escaping`].
    pub parts: Vec<Region>,
}

impl TilePlan {
    /// Columns of what leaves the run.
    pub fn width(&self) -> usize {
        self.parts.iter().map(|part| part[1].len()).max().unwrap_or(0)
    }
}

impl Run {
    /// Operations of a function that follow one another.
    pub fn of(function: &Function, users: &Users, ops: Vec<Op>) -> Self {
        let inside: HashSet<Op> = ops.iter().copied().collect();
        let results = ops.iter().flat_map(|&op| function.ops[op].results.iter().copied());
        let escaping = results.filter(|&result| users.any(result, |user| !inside.contains(user))).collect();
        let inner = |value: &Value| function.defining_op(*value).is_some_and(|op| inside.contains(&op));
        let joins = |op: &&Op| {
            let data = &function.ops[**op];
            let read = || users.any(data.results[0], |user| inside.contains(user));
            data.operands.iter().any(inner) && read()
        };
        let reshapes = users.reshapes.iter().filter(joins).copied().collect();
        Self { ops, escaping, reshapes }
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

    /// What each of the tiles takes, row by row of tiles.
    ///
    /// # Errors
    /// Every operation that can't be made in tiles, with the reason; tensors that have fewer rows or columns than there are
    /// tiles; tiles that don't have full height if their columns are to be kept.
    pub fn plans(
        &self,
        function: &Function,
        tiles: [usize; 2],
        halo: Halo,
    ) -> Result<Vec<TilePlan>, Diagnostics> {
        if halo != Halo::Recompute && tiles[0] > 1 {
            let message = format!(
                "expected strips of full height to keep columns, got {}x{} tiles",
                tiles[0], tiles[1]
            );
            let error = Diagnostic::error(message).category(Category::Usage);
            return Err(error.help(format!("rows need no tiles: take 1x{}", tiles[1])).into());
        }
        self.check(function, tiles)?;
        let mut keeps = halo::keeps(function, &self.ops, halo);
        loop {
            match self.plans_keeping(function, tiles, &keeps) {
                Ok(plans) => return Ok(plans),
                Err(Refused::NotKept(NotKept(index))) => keeps[index] = false,
                Err(Refused::Errors(errors)) => return Err(errors),
            }
        }
    }

    /// Plans of all tiles; the operations of `keeps` make no column twice.
    fn plans_keeping(
        &self,
        function: &Function,
        tiles: [usize; 2],
        keeps: &[bool],
    ) -> Result<Vec<TilePlan>, Refused> {
        let mut made = Made::without_keeping(self.ops.len());
        if keeps.contains(&true) {
            made = Made::nothing(&self.plan(function, [(0, 1), (0, 1)], &mut made)?, keeps);
        }
        let numbers = (0..tiles[0]).flat_map(|row| (0..tiles[1]).map(move |column| (row, column)));
        let plan = |(row, column)| self.plan(function, [(row, tiles[0]), (column, tiles[1])], &mut made);
        // The other tiles would say the same as the first that is refused.
        let mut plans = numbers.map(plan).collect::<Result<Vec<_>, _>>()?;
        halo::hand_on(function, self, keeps, &mut plans);
        Ok(plans)
    }

    /// What can be said without looking at a tile.
    fn check(&self, function: &Function, tiles: [usize; 2]) -> Result<(), Diagnostics> {
        let mut errors = Diagnostics::default();
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
        for &op in &self.reshapes {
            let message =
                "expected operations that can be made in tiles, got one that reads a reshaped tensor";
            errors.push(Diagnostic::error(message).at(function.ops[op].origin.clone()));
        }
        if errors.0.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// What one tile takes: number and count, downward and across.
    fn plan(
        &self,
        function: &Function,
        tile: [(usize, usize); 2],
        made: &mut Made,
    ) -> Result<TilePlan, Refused> {
        let mut errors = Diagnostics::default();
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
        for (index, (slot, &op)) in ops.iter_mut().zip(&self.ops).enumerate().rev() {
            let data = &function.ops[op];
            let wanted = data.results.iter().filter_map(|result| regions.get(result));
            let Some(needed) = wanted.cloned().reduce(|a, b| hull(&a, &b)) else { continue };
            let Some(wanted) = made.left(index, &needed)? else { continue };
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
            if !made.keeps(index) {
                for &result in &data.results {
                    regions.insert(result, found.made.clone());
                }
            }
            made.add(index, &found.made);
            *slot = Some(found);
        }
        match errors.0.is_empty() {
            true => Ok(TilePlan { ops, regions, kept: HashMap::new(), parts }),
            false => Err(Refused::Errors(errors)),
        }
    }
}

fn add(regions: &mut HashMap<Value, Region>, value: Value, region: &Region) {
    let region = regions.get(&value).map_or(region.clone(), |known| hull(known, region));
    regions.insert(value, region);
}

/// Shape of a tensor.
pub(super) fn shape_of(function: &Function, value: Value) -> Shape {
    function.ty(value).as_tensor().map(|ty| ty.shape.clone()).unwrap_or_default()
}

/// Where a value comes from.
pub(super) fn origin_of(function: &Function, value: Value) -> Origin {
    function.defining_op(value).map_or(Origin::Unknown, |op| function.ops[op].origin.clone())
}

fn types<'f>(function: &'f Function, values: &[Value]) -> Vec<&'f TensorType> {
    values.iter().filter_map(|&value| function.ty(value).as_tensor()).collect()
}
