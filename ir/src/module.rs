//! Modules, functions, blocks, operations and values.
//!
//! SSA with structured control flow only: a region is a single block, a block is a list of operations that ends with a
//! terminator where its owner demands one, and a value is defined before it is used, in its own block or an enclosing
//! one. Handles are stable: erasing an operation never renames another.

use crate::arena::{Arena, define_handles};
use crate::attr::{Attr, ResourceRef};
use crate::builtin::BuiltinOp;
use crate::define::{OpSpec, Trait};
use crate::diag::Origin;
use crate::loops::LoopOp;
use crate::nn::NnOp;
use crate::tile::TileOp;
use crate::types::{Scalar, Type};
use indexmap::IndexMap;
use std::collections::HashMap;
use std::sync::Arc;

define_handles! {
    /// An operation of a function.
    Op
    /// A value of a function: a block argument or a result of an operation.
    Value
    /// A block of a function; the body of a region.
    Block
}

/// An operation with its attributes, of any dialect.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OpKind {
    /// Functions and what every dialect needs.
    Builtin(BuiltinOp),
    /// Quantized tensor operations.
    Nn(NnOp),
    /// Tensor operations that run row by row.
    Tile(TileOp),
    /// Counted loops over planned memory.
    Loop(LoopOp),
}

impl From<BuiltinOp> for OpKind {
    fn from(op: BuiltinOp) -> Self {
        OpKind::Builtin(op)
    }
}
impl From<NnOp> for OpKind {
    fn from(op: NnOp) -> Self {
        OpKind::Nn(op)
    }
}
impl From<TileOp> for OpKind {
    fn from(op: TileOp) -> Self {
        OpKind::Tile(op)
    }
}
impl From<LoopOp> for OpKind {
    fn from(op: LoopOp) -> Self {
        OpKind::Loop(op)
    }
}

impl OpKind {
    /// The op's row of its dialect's table.
    pub fn spec(&self) -> &'static OpSpec {
        match self {
            OpKind::Builtin(op) => op.spec(),
            OpKind::Nn(op) => op.spec(),
            OpKind::Tile(op) => op.spec(),
            OpKind::Loop(op) => op.spec(),
        }
    }

    /// `dialect.op`.
    pub fn name(&self) -> &'static str {
        self.spec().name
    }

    /// Whether the op has a property.
    pub fn has(&self, wanted: Trait) -> bool {
        self.spec().has(wanted)
    }

    /// Attributes that differ from their default, sorted by name.
    pub fn attrs(&self) -> Vec<(&'static str, Attr)> {
        match self {
            OpKind::Builtin(op) => op.attrs(),
            OpKind::Nn(op) => op.attrs(),
            OpKind::Tile(op) => op.attrs(),
            OpKind::Loop(op) => op.attrs(),
        }
    }

    /// Builds the op called `name` from text attributes; `None` if no dialect has such an op.
    ///
    /// # Errors
    /// One error per missing, unknown or ill-typed attribute.
    #[allow(clippy::type_complexity)]
    pub fn from_text(
        name: &str,
        attrs: &[(String, Attr)],
    ) -> Option<Result<Self, Vec<(String, crate::attr::AttrError)>>> {
        if let Some(op) = NnOp::from_text(name, attrs) {
            return Some(op.map(OpKind::Nn));
        }
        if let Some(op) = TileOp::from_text(name, attrs) {
            return Some(op.map(OpKind::Tile));
        }
        if let Some(op) = LoopOp::from_text(name, attrs) {
            return Some(op.map(OpKind::Loop));
        }
        BuiltinOp::from_text(name, attrs).map(|op| op.map(OpKind::Builtin))
    }

    /// Rows of all dialects' tables.
    pub fn all_specs() -> impl Iterator<Item = &'static OpSpec> {
        BuiltinOp::SPECS.iter().chain(NnOp::SPECS).chain(TileOp::SPECS).chain(LoopOp::SPECS)
    }
}

/// An operation in a function.
#[derive(Clone, Debug)]
pub struct OpData {
    /// What it is, with its attributes.
    pub kind: OpKind,
    /// Values it reads.
    pub operands: Vec<Value>,
    /// Values it defines.
    pub results: Vec<Value>,
    /// Bodies of its regions.
    pub regions: Vec<Block>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Who defines a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueDef {
    /// Result number `index` of an operation.
    Result {
        /// The operation.
        op: Op,
        /// Position among its results.
        index: usize,
    },
    /// Argument number `index` of a block.
    Argument {
        /// The block.
        block: Block,
        /// Position among its arguments.
        index: usize,
    },
}

/// A value in a function.
#[derive(Clone, Debug)]
pub struct ValueData {
    /// Its type.
    pub ty: Type,
    /// Its definition.
    pub def: ValueDef,
    /// The name it prints with, if it has one; the printer makes names unique.
    pub name: Option<Arc<str>>,
}

/// A block in a function.
#[derive(Clone, Debug, Default)]
pub struct BlockData {
    /// Values the block is entered with.
    pub args: Vec<Value>,
    /// Operations in order.
    pub ops: Vec<Op>,
}

/// An input or output of the model, as its user knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// Name in the model.
    pub name: Arc<str>,
    /// Type at the border; kept after lowering, when the function has no tensors left.
    pub ty: Type,
}

/// A function: the arguments of `body` are its inputs, the operands of its `func.return` its outputs.
#[derive(Clone, Debug)]
pub struct Function {
    /// Symbol name.
    pub name: Arc<str>,
    /// The entry block.
    pub body: Block,
    /// The model's inputs in order.
    pub inputs: Vec<Port>,
    /// The model's outputs in order.
    pub outputs: Vec<Port>,
    /// Operations by handle, erased ones included.
    pub ops: Arena<Op, OpData>,
    /// Values by handle.
    pub values: Arena<Value, ValueData>,
    /// Blocks by handle.
    pub blocks: Arena<Block, BlockData>,
}

impl Function {
    /// An empty function without arguments.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let mut blocks = Arena::default();
        let body = blocks.push(BlockData::default());
        Self {
            name: name.into(),
            body,
            inputs: Vec::new(),
            outputs: Vec::new(),
            ops: Arena::default(),
            values: Arena::default(),
            blocks,
        }
    }

    /// Adds an argument to a block.
    pub fn add_argument(&mut self, block: Block, ty: Type, name: Option<Arc<str>>) -> Value {
        let index = self.blocks[block].args.len();
        let value = self.values.push(ValueData { ty, def: ValueDef::Argument { block, index }, name });
        self.blocks[block].args.push(value);
        value
    }

    /// Adds a model input: an argument of the entry block and its port.
    pub fn add_input(&mut self, name: impl Into<Arc<str>>, ty: Type) -> Value {
        let name = name.into();
        self.inputs.push(Port { name: name.clone(), ty: ty.clone() });
        self.add_argument(self.body, ty, Some(name))
    }

    /// Creates an operation that is in no block yet.
    pub fn create_op(
        &mut self,
        kind: OpKind,
        operands: Vec<Value>,
        result_types: Vec<Type>,
        regions: Vec<Block>,
        origin: Origin,
    ) -> Op {
        let op = self.ops.push(OpData { kind, operands, results: Vec::new(), regions, origin });
        let results = result_types
            .into_iter()
            .enumerate()
            .map(|(index, ty)| {
                self.values.push(ValueData { ty, def: ValueDef::Result { op, index }, name: None })
            })
            .collect();
        self.ops[op].results = results;
        op
    }

    /// A value that nothing defines in any block: a stand-in while a broken text is read.
    pub(crate) fn add_detached_value(&mut self) -> Value {
        let block = self.blocks.push(BlockData::default());
        self.add_argument(block, Type::I1, None)
    }

    /// Creates an empty block.
    pub fn create_block(&mut self) -> Block {
        self.blocks.push(BlockData::default())
    }

    /// Type of a value.
    pub fn ty(&self, value: Value) -> &Type {
        &self.values[value].ty
    }

    /// The operation that defines a value; `None` for block arguments.
    pub fn defining_op(&self, value: Value) -> Option<Op> {
        match self.values[value].def {
            ValueDef::Result { op, .. } => Some(op),
            ValueDef::Argument { .. } => None,
        }
    }

    /// All operations that are in the function now, in order of printing (an op before the ops of its regions).
    pub fn walk(&self) -> Vec<Op> {
        let mut order = Vec::new();
        self.walk_block(self.body, &mut |op| order.push(op));
        order
    }

    /// Calls `visit` on every operation of a block and of the regions in it, in order of printing.
    pub fn walk_block(&self, block: Block, visit: &mut dyn FnMut(Op)) {
        for &op in &self.blocks[block].ops {
            visit(op);
            for &region in &self.ops[op].regions {
                self.walk_block(region, visit);
            }
        }
    }

    /// Number of uses of every used value.
    pub fn use_counts(&self) -> HashMap<Value, usize> {
        let mut counts = HashMap::new();
        self.walk_block(self.body, &mut |op| {
            for &operand in &self.ops[op].operands {
                *counts.entry(operand).or_insert(0) += 1;
            }
        });
        counts
    }

    /// Makes every user of `from` use `to` instead.
    pub fn replace_uses(&mut self, from: Value, to: Value) {
        for op in self.walk() {
            for operand in &mut self.ops[op].operands {
                if *operand == from {
                    *operand = to;
                }
            }
        }
    }

    /// Removes operations from their blocks.
    pub fn erase_ops(&mut self, dead: &std::collections::HashSet<Op>) {
        for block in self.blocks.keys() {
            self.blocks[block].ops.retain(|op| !dead.contains(op));
        }
    }

    /// The last operation of a block, if it is a terminator.
    pub fn terminator(&self, block: Block) -> Option<Op> {
        let &last = self.blocks[block].ops.last()?;
        self.ops[last].kind.has(Trait::Terminator).then_some(last)
    }
}

/// How far a module has come; the verifier's rules grow with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Stage {
    /// Tensor operations as imported or optimized.
    #[default]
    Imported,
    /// `loop` operations over buffers without a place.
    Lowered,
    /// Every buffer has a place in a memory.
    Planned,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Stage; 3] = [Stage::Imported, Stage::Lowered, Stage::Planned];

    /// The spelling in text.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Imported => "imported",
            Stage::Lowered => "lowered",
            Stage::Planned => "planned",
        }
    }
}

/// Constant data of a module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource {
    /// Element type.
    pub element: Scalar,
    /// Number of elements.
    pub count: usize,
    /// Little-endian bytes; `None` in a module read from a dump that left the data out.
    pub bytes: Option<Arc<[u8]>>,
}

/// A compilation unit: functions and the constant data they share.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Name of the model; a C identifier is derived from it where one is needed.
    pub name: Arc<str>,
    /// How far the module has come.
    pub stage: Stage,
    /// Functions in order.
    pub functions: Vec<Function>,
    resources: IndexMap<Arc<str>, Resource>,
    by_content: HashMap<(Scalar, Arc<[u8]>), Arc<str>>,
}

impl Module {
    /// An empty module.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Constant data by name, in order of creation.
    pub fn resources(&self) -> impl Iterator<Item = (&Arc<str>, &Resource)> {
        self.resources.iter()
    }

    /// Constant data called `name`.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.get(name)
    }

    /// Bytes of a resource; `None` if it is unknown or was left out of the dump that was read.
    pub fn bytes(&self, reference: &ResourceRef) -> Option<&Arc<[u8]>> {
        self.resources.get(&reference.name)?.bytes.as_ref()
    }

    /// Adds constant data and returns a reference to it. Equal data of one type is stored once, under the first name;
    /// a name that is taken gets a number.
    pub fn add_resource(&mut self, name: &str, element: Scalar, bytes: Vec<u8>) -> ResourceRef {
        let count = bytes.len() / element.size_bytes();
        let bytes: Arc<[u8]> = bytes.into();
        let key = (element, bytes);
        if let Some(existing) = self.by_content.get(&key) {
            return ResourceRef { name: existing.clone(), element, count };
        }
        let unique = self.unique_resource_name(name);
        self.by_content.insert(key.clone(), unique.clone());
        self.resources.insert(unique.clone(), Resource { element, count, bytes: Some(key.1) });
        ResourceRef { name: unique, element, count }
    }

    /// Declares a resource exactly as named, with or without data, as a parsed text does. An entry of the same name
    /// is replaced.
    pub fn declare_resource(&mut self, name: Arc<str>, resource: Resource) {
        if let Some(bytes) = &resource.bytes {
            self.by_content.entry((resource.element, bytes.clone())).or_insert_with(|| name.clone());
        }
        self.resources.insert(name, resource);
    }

    /// Drops constant data that no operation refers to.
    pub fn retain_used_resources(&mut self) {
        let mut used = std::collections::HashSet::new();
        for function in &self.functions {
            for op in function.walk() {
                for (_, attr) in function.ops[op].kind.attrs() {
                    collect_resources(&attr, &mut used);
                }
            }
        }
        self.resources.retain(|name, _| used.contains(name));
        self.by_content.retain(|_, name| used.contains(name));
    }

    fn unique_resource_name(&self, name: &str) -> Arc<str> {
        let base: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
        let base = match base.chars().next() {
            Some(c) if !c.is_ascii_digit() => base,
            _ => format!("r{base}"),
        };
        let mut candidate = base.clone();
        let mut number = 0;
        while self.resources.contains_key(candidate.as_str()) {
            number += 1;
            candidate = format!("{base}_{number}");
        }
        candidate.into()
    }
}

fn collect_resources(attr: &Attr, used: &mut std::collections::HashSet<Arc<str>>) {
    match attr {
        Attr::Resource(reference) => {
            used.insert(reference.name.clone());
        }
        Attr::Array(items) | Attr::Tuple(_, items) => {
            for item in items {
                collect_resources(item, used);
            }
        }
        _ => {}
    }
}
