//! The e-graph as rules see it: what is equal to a value, what is known of it, and new nodes, which are checked by the
//! semantics of their operation before they are added.

use super::analysis::{Facts, Range};
use super::language::{Node, OpNode};
use egg::{EGraph, Id};
use mcunet_ir::nn::NnOp;
use mcunet_ir::types::Element;
use mcunet_ir::{Shape, Tensor, TensorType};
use std::collections::HashSet;
use std::sync::Arc;

/// A view of the e-graph for rules.
#[derive(Debug)]
pub struct Graph<'e> {
    egraph: &'e mut EGraph<Node, Facts>,
}

impl<'e> Graph<'e> {
    /// A view.
    pub fn new(egraph: &'e mut EGraph<Node, Facts>) -> Self {
        Self { egraph }
    }

    /// Type of a value.
    pub fn ty(&self, id: Id) -> Arc<TensorType> {
        self.egraph[id].data.ty.clone()
    }

    /// Range of an int8 value.
    pub fn range(&self, id: Id) -> Range {
        self.egraph[id].data.range
    }

    /// Whether a value is constant.
    pub fn is_constant(&self, id: Id) -> bool {
        self.egraph[id].data.constant.is_some()
    }

    /// Data of a value, if it is constant and its data is at hand.
    pub fn tensor(&self, id: Id) -> Option<Tensor> {
        let fact = &self.egraph[id].data;
        self.egraph.analysis.constants.tensor(fact.constant?, &fact.ty)
    }

    /// Whether two values are known to be equal.
    pub fn same(&self, a: Id, b: Id) -> bool {
        self.egraph.find(a) == self.egraph.find(b)
    }

    /// Whether a value is made from another one, in any number of steps: also in none.
    pub fn depends(&self, value: Id, on: Id) -> bool {
        let on = self.egraph.find(on);
        let (mut met, mut left) = (HashSet::new(), vec![self.egraph.find(value)]);
        while let Some(id) = left.pop() {
            if id == on {
                return true;
            }
            if met.insert(id) {
                let operands = self.ops(id).into_iter().flat_map(|op| op.operands);
                left.extend(operands.map(|operand| self.egraph.find(operand)));
            }
        }
        false
    }

    /// All operations that make a value.
    pub fn ops(&self, id: Id) -> Vec<OpNode> {
        self.egraph[id].nodes.iter().filter_map(Node::op).cloned().collect()
    }

    /// All ways to make a value by an operation of a kind: `select` returns its attributes.
    pub fn makers<T>(&self, id: Id, select: impl Fn(&NnOp) -> Option<&T>) -> Vec<(T, OpNode)>
    where
        T: Clone,
    {
        self.ops(id).into_iter().filter_map(|op| Some((select(&op.kind)?.clone(), op.clone()))).collect()
    }

    /// All operations that read a value.
    pub fn readers(&self, id: Id) -> Vec<(Id, OpNode)> {
        let id = self.egraph.find(id);
        let mut readers: Vec<(Id, OpNode)> = Vec::new();
        for parent in self.egraph[id].parents() {
            let parent = self.egraph.find(parent);
            for op in self.ops(parent) {
                let reads = op.operands.iter().any(|&operand| self.egraph.find(operand) == id);
                if reads && !readers.contains(&(parent, op.clone())) {
                    readers.push((parent, op));
                }
            }
        }
        readers
    }

    /// A constant; `name` is what its data is called if it is new.
    pub fn constant(&mut self, name: &str, tensor: &Tensor) -> Id {
        let id = self.egraph.analysis.constants.add(name, tensor);
        self.egraph.add(Node::Constant(id, Arc::new(tensor.ty.clone())))
    }

    /// An operation of one result. `None` if the operation refuses its operands or the type.
    pub fn op(&mut self, kind: impl Into<NnOp>, operands: &[Id], ty: TensorType) -> Option<Id> {
        let kind = kind.into();
        let shape = self.shape(&kind, operands)?;
        if shape != ty.shape {
            return None;
        }
        self.shaped(kind, operands, &ty.element)
    }

    /// As [`Self::op`], with the shape that the operation gives the result.
    pub fn shaped(&mut self, kind: impl Into<NnOp>, operands: &[Id], element: &Element) -> Option<Id> {
        let kind = kind.into();
        let result = TensorType { shape: self.shape(&kind, operands)?, element: element.clone() };
        let types: Vec<Arc<TensorType>> = operands.iter().map(|&id| self.ty(id)).collect();
        let types: Vec<&TensorType> = types.iter().map(|ty| &**ty).collect();
        let mut refused = Vec::new();
        kind.semantics().verify(&types, &[&result], &mut refused);
        if !refused.is_empty() {
            return None;
        }
        let node = OpNode {
            kind: Arc::new(kind),
            operands: operands.to_vec(),
            index: 0,
            results: Arc::from([result]),
        };
        Some(self.egraph.add(Node::Op(node)))
    }

    /// Shape of the single result of an operation that takes its operands.
    fn shape(&self, kind: &NnOp, operands: &[Id]) -> Option<Shape> {
        let types: Vec<Arc<TensorType>> = operands.iter().map(|&id| self.ty(id)).collect();
        let types: Vec<&TensorType> = types.iter().map(|ty| &**ty).collect();
        let shapes = kind.semantics().infer_shapes(&types).ok()?;
        <[Shape; 1]>::try_from(shapes).ok().map(|[shape]| shape)
    }
}
