//! The language of the e-graph: an `nn` operation with its attributes is an e-node as it is.
//!
//! The types of the results belong to the node, since the same operation on the same operands computes something else if
//! its result is quantized otherwise. An operation of several results is one node per result; extraction joins them
//! again.

use super::constants::ConstantId;
use egg::Id;
use mcunet_ir::TensorType;
use mcunet_ir::nn::NnOp;
use std::mem::Discriminant;
use std::sync::Arc;

/// An e-node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Node {
    /// An argument of the function.
    Argument(usize, Arc<TensorType>),
    /// Constant data, by content.
    Constant(ConstantId, Arc<TensorType>),
    /// A result of an operation.
    Op(OpNode),
}

/// One result of an operation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpNode {
    /// The operation.
    pub kind: Arc<NnOp>,
    /// Its operands.
    pub operands: Vec<Id>,
    /// Which of its results.
    pub index: usize,
    /// Types of all results.
    pub results: Arc<[TensorType]>,
}

impl OpNode {
    /// Type of the result that the node stands for.
    pub fn ty(&self) -> &TensorType {
        &self.results[self.index]
    }
}

impl Node {
    /// The operation, if it is one.
    pub fn op(&self) -> Option<&OpNode> {
        match self {
            Node::Op(op) => Some(op),
            _ => None,
        }
    }
}

impl egg::Language for Node {
    type Discriminant = (Discriminant<Node>, Option<Discriminant<NnOp>>);

    fn discriminant(&self) -> Self::Discriminant {
        (std::mem::discriminant(self), self.op().map(|op| std::mem::discriminant(&*op.kind)))
    }

    fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Node::Op(a), Node::Op(b)) => {
                let same = (&a.kind, a.index, &a.results) == (&b.kind, b.index, &b.results);
                same && a.operands.len() == b.operands.len()
            }
            (Node::Op(_), _) | (_, Node::Op(_)) => false,
            _ => self == other,
        }
    }

    fn children(&self) -> &[Id] {
        self.op().map_or(&[], |op| &op.operands)
    }

    fn children_mut(&mut self) -> &mut [Id] {
        match self {
            Node::Op(op) => &mut op.operands,
            _ => &mut [],
        }
    }
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Node::Argument(index, _) => write!(f, "argument {index}"),
            Node::Constant(id, _) => write!(f, "constant {id:?}"),
            Node::Op(op) => f.write_str(op.kind.spec().name),
        }
    }
}
