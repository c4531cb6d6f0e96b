//! From a function to an e-graph and back.
//!
//! Going back, values keep their names, and operations their origins: an operation that makes a tensor of the model has the
//! origin of the one that made it before, joined with the origins of operations that it made superfluous. One that makes a
//! new tensor has the origin of the operation that reads it.

use super::analysis::Facts;
use super::cost::{Cost, CostModel};
use super::extract::{Choice, cost_of, reachable};
use super::language::{Node, OpNode};
use egg::{EGraph, Id};
use mcunet_ir::define::Trait;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::{Function, Module, Op, Origin, TensorType, Type, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The e-graph of a function, and where its values are.
pub struct Translated {
    /// The e-graph.
    pub egraph: EGraph<Node, Facts>,
    /// The e-class of every value.
    pub classes: HashMap<Value, Id>,
    /// Values in order of definition.
    values: Vec<Value>,
}

/// Translates a function; `None` if it holds anything but pure tensor operations.
pub fn translate(module: &Module, function: &Function) -> Option<Translated> {
    let mut all =
        Translated { egraph: EGraph::new(Facts::default()), classes: HashMap::new(), values: Vec::new() };
    let ty = |value: Value| match function.ty(value) {
        Type::Tensor(ty) => Some(ty.clone()),
        _ => None,
    };
    for (index, &argument) in function.blocks[function.body].args.iter().enumerate() {
        all.insert(argument, Node::Argument(index, ty(argument)?));
    }
    for &op in &function.blocks[function.body].ops {
        let data = &function.ops[op];
        let kind = match &data.kind {
            OpKind::Nn(kind) if data.kind.has(Trait::Pure) && data.regions.is_empty() => kind,
            kind if kind.has(Trait::Terminator) => break,
            _ => return None,
        };
        if let NnOp::Const(constant) = kind {
            let id = all.egraph.analysis.constants.resource(module, &constant.value);
            all.insert(data.results[0], Node::Constant(id, ty(data.results[0])?));
            continue;
        }
        let operands: Vec<Id> =
            data.operands.iter().map(|value| all.classes.get(value).copied()).collect::<Option<_>>()?;
        let types = data.results.iter().map(|&value| ty(value).map(|ty| (*ty).clone()));
        let results: Arc<[TensorType]> = types.collect::<Option<_>>()?;
        let kind = Arc::new(kind.clone());
        for (index, &result) in data.results.iter().enumerate() {
            let (kind, operands, results) = (kind.clone(), operands.clone(), results.clone());
            all.insert(result, Node::Op(OpNode { kind, operands, index, results }));
        }
    }
    all.egraph.rebuild();
    Some(all)
}

impl Translated {
    fn insert(&mut self, value: Value, node: Node) {
        let id = self.egraph.add(node);
        self.classes.insert(value, id);
        self.values.push(value);
    }

    /// The e-class of a value as it is now.
    pub fn class(&self, value: Value) -> Option<Id> {
        Some(self.egraph.find(*self.classes.get(&value)?))
    }

    /// Outputs of the function.
    pub fn outputs(&self, function: &Function) -> Option<Vec<Id>> {
        let end = function.terminator(function.body)?;
        function.ops[end].operands.iter().map(|&value| self.class(value)).collect()
    }

    /// What the outputs of the function cost as it is, equal operations each by itself.
    pub fn cost(&self, function: &Function, model: &dyn CostModel) -> Option<Cost> {
        let end = function.terminator(function.body)?;
        let mut needed: HashSet<Value> = function.ops[end].operands.iter().copied().collect();
        let mut constants = HashSet::new();
        let mut sum = Cost::default();
        for &op in function.blocks[function.body].ops.iter().rev().filter(|&&op| op != end) {
            let data = &function.ops[op];
            if !data.results.iter().any(|result| needed.contains(result)) {
                continue;
            }
            needed.extend(&data.operands);
            let node = self.egraph.id_to_node(*self.classes.get(data.results.first()?)?);
            match node {
                Node::Constant(id, _) if !constants.insert(*id) => {}
                node => sum = sum + cost_of(&self.egraph, model, node),
            }
        }
        Some(sum)
    }

    /// The function as a choice of nodes: those that it has.
    pub fn incoming(&self, function: &Function) -> Choice {
        let mut choice = Choice::new();
        for &value in &self.values {
            let Some(class) = self.class(value) else { continue };
            let nodes = self.egraph.id_to_node(self.classes[&value]).clone();
            let node = egg::Language::map_children(nodes, |id| self.egraph.find(id));
            choice.entry(class).or_insert(node);
        }
        debug_assert!(self.outputs(function).is_none_or(|outputs| reachable(&outputs, &choice).is_some()));
        choice
    }
}

/// Puts the chosen graph in the place of the function's operations.
pub fn put_back(
    module: &mut Module,
    function: &mut Function,
    all: &Translated,
    choice: &Choice,
) -> Option<()> {
    let end = function.terminator(function.body)?;
    let outputs = all.outputs(function)?;
    let needed = reachable(&outputs, choice)?;
    let old: Vec<Op> = function.blocks[function.body].ops.iter().copied().filter(|&op| op != end).collect();
    let mut writer = Writer {
        module,
        function,
        all,
        choice,
        needed: needed.iter().copied().collect(),
        made: HashMap::new(),
        ops: HashMap::new(),
        order: Vec::new(),
        firsts: HashMap::new(),
    };
    for &value in &all.values {
        let class = all.class(value)?;
        writer.firsts.entry(class).or_insert(value);
    }
    // In the order of the operations that made the same values before.
    for &value in &all.values {
        let class = all.class(value)?;
        if writer.needed.contains(&class) {
            writer.make(class)?;
        }
    }
    outputs.iter().try_for_each(|&class| writer.make(class).map(|_| ()))?;
    let returned: Vec<Value> =
        outputs.iter().map(|class| writer.made.get(class).copied()).collect::<Option<_>>()?;
    let order = std::mem::take(&mut writer.order);
    writer.inherit_origins(&old, &order);
    function.ops[end].operands = returned;
    function.blocks[function.body].ops = order.into_iter().chain([end]).collect();
    Some(())
}

/// Writes a chosen graph into a function.
struct Writer<'w> {
    module: &'w mut Module,
    function: &'w mut Function,
    all: &'w Translated,
    choice: &'w Choice,
    needed: HashSet<Id>,
    /// The new value of every class that was made.
    made: HashMap<Id, Value>,
    /// New operations, by what they are regardless of which result is read.
    ops: HashMap<OpNode, Op>,
    /// New operations in order.
    order: Vec<Op>,
    /// The first value of the function in each class.
    firsts: HashMap<Id, Value>,
}

impl Writer<'_> {
    /// The new value of a class, made with all it needs.
    fn make(&mut self, class: Id) -> Option<Value> {
        for class in reachable(&[class], self.choice)? {
            if !self.made.contains_key(&class) {
                let value = self.make_one(class)?;
                self.made.insert(class, value);
            }
        }
        self.made.get(&class).copied()
    }

    /// The new value of a class whose operands are there.
    fn make_one(&mut self, class: Id) -> Option<Value> {
        let old = self.firsts.get(&class).copied();
        let origin = |function: &Function| {
            let op = old.and_then(|value| function.defining_op(value));
            op.map(|op| function.ops[op].origin.clone()).unwrap_or_default()
        };
        let value = match self.choice.get(&class)? {
            Node::Argument(index, _) => {
                return self.function.blocks[self.function.body].args.get(*index).copied();
            }
            Node::Constant(id, ty) => {
                let value = self.all.egraph.analysis.constants.into_module(*id, self.module)?;
                let (types, origin) = (vec![Type::Tensor(ty.clone())], origin(self.function));
                let kind = n::Const { value }.into();
                let op = self.function.create_op(kind, Vec::new(), types, Vec::new(), origin);
                self.order.push(op);
                self.function.ops[op].results[0]
            }
            Node::Op(node) => {
                let key = OpNode { index: 0, ..node.clone() };
                let op = match self.ops.get(&key) {
                    Some(&op) => op,
                    None => {
                        let operands = node.operands.iter().map(|id| self.made.get(id).copied());
                        let operands = operands.collect::<Option<Vec<Value>>>()?;
                        let types = node.results.iter().map(|ty| ty.clone().into()).collect();
                        let (kind, origin) = (OpKind::Nn((*node.kind).clone()), origin(self.function));
                        let op = self.function.create_op(kind, operands, types, Vec::new(), origin);
                        self.order.push(op);
                        self.ops.insert(key, op);
                        op
                    }
                };
                *self.function.ops[op].results.get(node.index)?
            }
        };
        if let Some(old) = old {
            self.function.values[value].name = self.function.values[old].name.clone();
        }
        Some(value)
    }

    /// Gives new operations the origins of old ones that are gone, and those that make new tensors the origins of their
    /// readers.
    fn inherit_origins(&mut self, old: &[Op], new: &[Op]) {
        let mut gone: HashMap<Op, Vec<Origin>> = HashMap::new();
        for (position, &op) in old.iter().enumerate() {
            let data = &self.function.ops[op];
            if !matches!(&data.kind, OpKind::Nn(NnOp::Const(_)))
                && self.maker(op).is_none()
                && let Some(heir) = self.heir(&old[position..], op)
            {
                gone.entry(heir).or_default().push(data.origin.clone());
            }
        }
        for (op, origins) in gone {
            let own = self.function.ops[op].origin.clone();
            self.function.ops[op].origin = Origin::fuse(origins.into_iter().chain([own]));
        }
        let mut readers: HashMap<Value, Origin> = HashMap::new();
        for &op in new.iter().rev() {
            let data = &mut self.function.ops[op];
            if data.origin == Origin::Unknown
                && let Some(origin) = data.results.iter().find_map(|result| readers.get(result))
            {
                data.origin = origin.clone();
            }
            for &operand in &data.operands {
                readers.insert(operand, data.origin.clone());
            }
        }
    }

    /// The new operation that makes a result of an old one.
    fn maker(&self, op: Op) -> Option<Op> {
        self.function.ops[op].results.iter().find_map(|&result| {
            let value = self.made.get(&self.all.class(result)?)?;
            self.function.defining_op(*value)
        })
    }

    /// The new operation that does what an old one did: the nearest after it that is still there and needs it.
    fn heir(&self, later: &[Op], op: Op) -> Option<Op> {
        let mut values: HashSet<Value> = self.function.ops[op].results.iter().copied().collect();
        later.iter().skip(1).find_map(|&reader| {
            let data = &self.function.ops[reader];
            if !data.operands.iter().any(|operand| values.contains(operand)) {
                return None;
            }
            values.extend(&data.results);
            self.maker(reader)
        })
    }
}
