//! Which tensors lie in the memory of others: parts of a concatenation, in that of the whole.
//!
//! Problem: parts that are stored by themselves are copied, and both exist at a time. Method: where the kernel that makes a
//! part can store it where it belongs, it does, and the concatenation has nothing left to do for it. A part of a part lies in
//! the outermost whole. Since the whole then exists from the first of its parts on, its memory may have to be there for longer
//! than that of the parts: parts are placed so only as long as no more bytes live at the peak than without. That is found
//! from the lives of the function's buffers as it is lowered without, in time linear in rows and parts for each try.
//!
//! Not placed are inputs, outputs and constants, tensors that others read whose kernels expect them in one piece, tensors
//! of other batches than 1, and what is made at once instead of row by row. Of a tensor that is joined several times, one
//! of them is placed, and the others are copied from it.
//!
//! Invariant: a view that is given to a tensor suits the kernels of its maker and of all its readers.

use super::Home;
use super::forms::{Form, form_of, makes_rows, read_form, stored_form};
use super::kernel::tensor_type;
use crate::analysis::liveness::{Interval, Liveness};
use mcunet_ir::loops::view::View;
use mcunet_ir::module::{OpKind, ValueDef};
use mcunet_ir::nn::NnOp;
use mcunet_ir::rows::image_rows;
use mcunet_ir::tile::{TileOp, body_of};
use mcunet_ir::{Function, Op, TensorType, Value};
use std::collections::{HashMap, HashSet};

/// Where a tensor lies in the memory of another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Placed {
    /// The other tensor.
    pub whole: Value,
    /// Its elements that are this one's.
    pub view: View,
    /// The concatenation, and which of its operands it is.
    pub by: (Op, usize),
}

/// Tensors that lie in the memory of others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Placements(HashMap<Value, Placed>);

impl Placements {
    /// Where a tensor lies, if it is in the memory of another one.
    pub fn get(&self, value: Value) -> Option<&Placed> {
        self.0.get(&value)
    }

    /// The operations whose operands or results lie in the memory of others, once for each of these.
    pub fn ops(&self) -> impl Iterator<Item = Op> + '_ {
        self.0.values().map(|placed| placed.by.0)
    }

    /// The outermost tensor in whose memory one lies, and which elements of it it is; none if it has memory of its own.
    pub fn resolve(&self, value: Value) -> Option<(Value, View)> {
        let Placed { whole, view, .. } = *self.0.get(&value)?;
        match self.resolve(whole) {
            // Only views that can be composed were placed.
            Some((outermost, outer)) => Some((outermost, outer.of(&view).unwrap_or(view))),
            None => Some((whole, view)),
        }
    }
}

/// The elements of the result of a concatenation along `axis` that an operand is.
pub(super) fn view_of_operand(whole: &TensorType, axis: usize, begin: usize, size: usize) -> View {
    let outer: usize = whole.shape[..axis].iter().product();
    let inner: usize = whole.shape[axis + 1..].iter().product();
    let (run, all) = (size * inner, whole.shape[axis] * inner);
    match outer {
        1 => View { buffer: 0, first: begin * inner, run, step: run, count: 1 },
        _ => View { buffer: 0, first: begin * inner, run, step: all, count: outer },
    }
}

/// The tensor whose memory a value shares: reshapes are looked through, and results of cascades are what their bodies yield.
pub(super) fn root(function: &Function, value: Value) -> Value {
    let mut value = value;
    while let ValueDef::Result { op, index } = function.values[value].def {
        let data = &function.ops[op];
        value = match data.kind {
            OpKind::Nn(NnOp::Reshape(_)) => data.operands[0],
            OpKind::Tile(TileOp::Cascade(_)) => match body_of(function, op) {
                Some((_, yielded)) => yielded[index],
                None => break,
            },
            _ => break,
        }
    }
    value
}

/// What is known of a function's tensors before any is placed.
struct Search<'f> {
    function: &'f Function,
    /// Operations that read a tensor, or a reshape of it, and as which operand.
    readers: HashMap<Value, Vec<(Op, usize)>>,
    /// Tensors that have to be as they are.
    fixed: HashSet<Value>,
    /// Tensors whose rows have places of their own.
    scattered: &'f HashSet<Value>,
    found: Placements,
    order: Vec<Value>,
}

/// All tensors that could lie in the memory of others, those of a concatenation one after the other.
pub(super) fn candidates(
    function: &Function,
    fixed: HashSet<Value>,
    scattered: &HashSet<Value>,
) -> (Placements, Vec<Value>) {
    let ops = function.walk();
    let mut readers: HashMap<Value, Vec<(Op, usize)>> = HashMap::new();
    for &op in &ops {
        let moves =
            !matches!(&function.ops[op].kind, OpKind::Nn(NnOp::Reshape(_)) | OpKind::Tile(TileOp::Yield(_)));
        for (position, &operand) in function.ops[op].operands.iter().enumerate().filter(|_| moves) {
            readers.entry(root(function, operand)).or_default().push((op, position));
        }
    }
    let mut search =
        Search { function, readers, fixed, scattered, found: Placements::default(), order: Vec::new() };
    for &op in &ops {
        search.cut(op);
    }
    // Wholes before their parts, so that it is known where these lie.
    for &op in ops.iter().rev() {
        if let OpKind::Nn(NnOp::Concat(concat)) = &function.ops[op].kind {
            search.concatenation(op, concat.axis);
        }
    }
    (search.found, search.order)
}

impl Search<'_> {
    /// Slices of a tensor and its pieces are views of it.
    fn cut(&mut self, op: Op) {
        let function = self.function;
        let data = &function.ops[op];
        let views: Vec<View> = match &data.kind {
            OpKind::Nn(NnOp::Split(split)) => {
                let ty = tensor_type(function, data.operands[0]);
                let mut begin = 0;
                let sizes = split.sizes.iter();
                let view = |&size: &usize| {
                    begin += size;
                    view_of_operand(ty, split.axis, begin - size, size)
                };
                sizes.map(view).collect()
            }
            OpKind::Nn(NnOp::Slice(slice)) => {
                let ty = tensor_type(function, data.operands[0]);
                let partial = |&axis: &usize| slice.size[axis] != ty.shape[axis];
                let mut axes = (0..ty.shape.rank()).filter(partial);
                let (axis, more) = (axes.next().unwrap_or(0), axes.next());
                if more.is_some() || slice.stride.iter().any(|&stride| stride != 1) {
                    return;
                }
                vec![view_of_operand(ty, axis, slice.begin[axis], slice.size[axis])]
            }
            _ => return,
        };
        let whole = root(function, data.operands[0]);
        for (index, (&part, view)) in data.results.iter().zip(views).enumerate() {
            let placed = Placed { whole, view, by: (op, index) };
            if !self.is_constant(whole) && self.may_be_read(part, placed) {
                self.found.0.insert(part, placed);
                self.order.push(part);
            }
        }
    }

    fn is_constant(&self, value: Value) -> bool {
        let op = self.function.defining_op(value);
        op.is_some_and(|op| matches!(self.function.ops[op].kind, OpKind::Nn(NnOp::Const(_))))
    }

    fn concatenation(&mut self, op: Op, axis: usize) {
        let function = self.function;
        let (data, whole) = (&function.ops[op], function.ops[op].results[0]);
        let ty = tensor_type(function, whole);
        let (mut begin, mut parts) = (0, Vec::new());
        for (index, &operand) in data.operands.iter().enumerate() {
            let size = tensor_type(function, operand).shape[axis];
            let view = view_of_operand(ty, axis, begin, size);
            begin += size;
            let (part, placed) = (root(function, operand), Placed { whole, view, by: (op, index) });
            if self.may_lie(part, placed) && parts.iter().all(|&(other, _)| other != part) {
                parts.push((part, placed));
            }
        }
        // A kernel that makes rows of which parts do not have any can't leave these out.
        if axis == 1 && makes_rows(function, op) && parts.len() < data.operands.len() {
            return;
        }
        for (part, placed) in parts {
            self.found.0.insert(part, placed);
            self.order.push(part);
        }
    }

    /// Whether the kernels of a tensor's maker and readers can work on it where it would lie.
    fn may_lie(&self, part: Value, placed: Placed) -> bool {
        let function = self.function;
        let Some(maker) = function.defining_op(part) else { return false };
        let stores = |form: Form| stored_form(function, maker) >= form;
        let ways = self.ways(placed);
        self.may_be_read(part, placed)
            && ways.last().is_some_and(|(_, view)| self.parts_have_views(maker, view))
            && ways.iter().all(|(whole, view)| self.form(part, view, *whole).is_some_and(stores))
    }

    /// Where a tensor would lie: in another one, and in the outermost one that this lies in. What that one is not placed in, in the
    /// end, it lies in alone.
    fn ways(&self, placed: Placed) -> Vec<(Value, View)> {
        let direct = (placed.whole, placed.view);
        match self.found.resolve(placed.whole) {
            Some((whole, outer)) => match outer.of(&placed.view) {
                Some(view) => vec![direct, (whole, view)],
                None => Vec::new(),
            },
            None => vec![direct],
        }
    }

    /// The form of a view that a tensor is, of another one.
    fn form(&self, value: Value, view: &View, whole: Value) -> Option<Form> {
        let ty = tensor_type(self.function, value);
        form_of(view, ty).filter(|_| self.rows_lie_in_rows(view, ty, whole))
    }

    /// Whether the kernels of a tensor's readers can work on it where it would lie.
    fn may_be_read(&self, part: Value, placed: Placed) -> bool {
        let function = self.function;
        if self.fixed.contains(&part) || self.found.get(part).is_some() || placed.view.elements() == 0 {
            return false;
        }
        let ways = self.ways(placed);
        let is_read = |&(reader, operand): &(Op, usize)| {
            let value = function.ops[reader].operands[operand];
            let read = read_form(function, reader, operand);
            ways.iter().all(|(whole, view)| self.form(value, view, *whole).is_some_and(|form| read >= form))
        };
        let readers = self.readers.get(&part).map_or(&[][..], |readers| readers);
        // A concatenation does not read what lies in it.
        let joins = matches!(function.ops[placed.by.0].kind, OpKind::Nn(NnOp::Concat(_)));
        let mut others = readers.iter().filter(|&&reader| !joins || reader != placed.by);
        !ways.is_empty() && others.all(is_read)
    }

    /// Whether the operands of an operation, if it joins some, are views of what its result is a view of.
    fn parts_have_views(&self, op: Op, outer: &View) -> bool {
        let data = &self.function.ops[op];
        let OpKind::Nn(NnOp::Concat(concat)) = &data.kind else { return true };
        let whole = tensor_type(self.function, data.results[0]);
        let mut begin = 0;
        data.operands.iter().all(|&operand| {
            let ty = tensor_type(self.function, operand);
            let view = view_of_operand(whole, concat.axis, begin, ty.shape[concat.axis]);
            begin += ty.shape[concat.axis];
            outer.of(&view).is_some_and(|view| form_of(&view, ty).is_some())
        })
    }

    /// If the whole's rows have places of their own, whether each row of the part lies in one of them, as far from its beginning
    /// as all others.
    fn rows_lie_in_rows(&self, view: &View, ty: &TensorType, whole: Value) -> bool {
        if !self.scattered.contains(&whole) {
            return true;
        }
        let whole = &tensor_type(self.function, whole).shape;
        let Some([_, rows, ..]) = ty.shape.nhwc() else { return false };
        let of_row = whole.elements() / image_rows(whole).unwrap_or(1).max(1);
        let elements = view.elements() / rows.max(1);
        let pitch = if view.count == 1 { elements } else { view.step * (view.count / rows.max(1)) };
        pitch == of_row
    }
}

/// Those of the candidates that raise the peak of memory no higher than it is without any. `homes` are the buffers of
/// tensors in the function as it is lowered without.
pub(super) fn that_pay(
    (all, order): (Placements, Vec<Value>),
    liveness: &Liveness,
    homes: &HashMap<Value, Home>,
) -> Placements {
    let peak = |placed: &Placements| with(placed, liveness, homes).lower_bound_bytes();
    let limit = peak(&Placements::default());
    if peak(&all) <= limit {
        return all;
    }
    let mut best = Placements::default();
    let mut rest = &order[..];
    while let Some(first) = rest.first() {
        let of = |value: &Value| all.get(*value).map(|placed| placed.by.0);
        let (parts, others) = rest.split_at(rest.iter().take_while(|part| of(part) == of(first)).count());
        rest = others;
        let add = |to: &Placements, parts: &[Value]| {
            let mut more = to.clone();
            more.0.extend(parts.iter().filter_map(|&part| Some((part, *all.get(part)?))));
            more
        };
        let together = add(&best, parts);
        if peak(&together) <= limit {
            best = together;
            continue;
        }
        for part in parts {
            let more = add(&best, std::slice::from_ref(part));
            if peak(&more) <= limit {
                best = more;
            }
        }
    }
    best
}

/// Lives of buffers if tensors are placed so: those of parts are gone, and the whole's begin with theirs.
fn with(placed: &Placements, liveness: &Liveness, homes: &HashMap<Value, Home>) -> Liveness {
    let mut changed = liveness.clone();
    let buffer = |value: Value| match homes.get(&value)? {
        Home::Buffer(buffer, _) => liveness.buffers.iter().position(|life| life.value == *buffer),
        Home::Constant(_) => None,
    };
    let mut gone = HashSet::new();
    for &part in placed.0.keys() {
        let Some((whole, view)) = placed.resolve(part) else { continue };
        let (Some(part), Some(whole)) = (buffer(part), buffer(whole)) else { continue };
        let elements = |life: usize| {
            let life = &liveness.buffers[life];
            (life.slot_bytes / life.element_bytes.max(1)).max(1)
        };
        let (of_part, of_whole) = (elements(part), elements(whole));
        for (slot, lives) in liveness.buffers[part].slots.iter().enumerate() {
            let (first, end) = (slot * of_part, ((slot + 1) * of_part).min(view.elements()));
            if first >= end {
                continue;
            }
            let slots = view.element(first) / of_whole..=view.element(end - 1) / of_whole;
            for slot in slots {
                if let Some(slot) = changed.buffers[whole].slots.get_mut(slot) {
                    extend(slot, lives);
                }
            }
        }
        gone.insert(part);
    }
    for &part in &gone {
        changed.buffers[part].slots.iter_mut().for_each(Vec::clear);
    }
    changed.in_place.retain(|pair| !gone.contains(&pair.written) && !gone.contains(&pair.read));
    changed
}

/// Makes a life cover others.
fn extend(life: &mut Vec<Interval>, others: &[Interval]) {
    let (Some(first), Some(last)) = (others.first(), others.last()) else { return };
    let from = life.first().map_or(first[0], |own| own[0].min(first[0]));
    let to = life.last().map_or(last[1], |own| own[1].max(last[1]));
    *life = vec![[from, to]];
}
