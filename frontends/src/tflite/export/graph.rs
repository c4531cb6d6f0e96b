//! A subgraph in the making: tensors, operators and constants as plain data, before [`write`](super::write).

use crate::tflite::reader::{BuiltinOperator, OperatorOptions};
use mcunet_ir::TensorType;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Position of a tensor in its subgraph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Id(usize);

impl Id {
    /// The position as a file has it; tensors are fewer than 2^31, since each takes memory.
    pub(super) fn index(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX)
    }
}

/// A tensor.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) ty: TensorType,
    /// Position of its constant; 0, which is empty, for what is computed.
    pub(super) buffer: u32,
}

/// An operator.
#[derive(Debug)]
pub(super) struct Operator {
    /// Position of its code.
    pub(super) code: usize,
    pub(super) inputs: Vec<Id>,
    pub(super) outputs: Vec<Id>,
    pub(super) options: OperatorOptions<'static>,
}

/// The main subgraph, and the tables that it refers to.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) name: String,
    pub(super) tensors: Vec<Tensor>,
    pub(super) operators: Vec<Operator>,
    /// Operators with their versions, each once.
    pub(super) codes: Vec<(BuiltinOperator, i32)>,
    /// Constants by content; the first is empty.
    pub(super) buffers: Vec<Arc<[u8]>>,
    pub(super) inputs: Vec<Id>,
    pub(super) outputs: Vec<Id>,
    by_content: HashMap<Arc<[u8]>, u32>,
    /// Constant operands that options of operations became.
    constants: HashMap<(TensorType, u32), Id>,
    names: HashSet<String>,
}

impl Graph {
    pub(super) fn new(name: &str) -> Self {
        let empty: Arc<[u8]> = Arc::default();
        Self {
            name: name.to_owned(),
            tensors: Vec::new(),
            operators: Vec::new(),
            codes: Vec::new(),
            buffers: vec![empty.clone()],
            inputs: Vec::new(),
            outputs: Vec::new(),
            by_content: HashMap::from([(empty, 0)]),
            constants: HashMap::new(),
            names: HashSet::new(),
        }
    }

    /// Keeps a name for an input or output.
    pub(super) fn reserve(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    /// A tensor with exactly this name.
    pub(super) fn add_named(&mut self, name: &str, ty: TensorType) -> Id {
        self.tensors.push(Tensor { name: name.to_owned(), ty, buffer: 0 });
        Id(self.tensors.len() - 1)
    }

    /// A tensor with this name, and a number if another has the name.
    pub(super) fn add(&mut self, name: &str, ty: TensorType) -> Id {
        let mut unique = name.to_owned();
        let mut number = 0;
        while !self.names.insert(unique.clone()) {
            number += 1;
            unique = format!("{name}_{number}");
        }
        self.add_named(&unique, ty)
    }

    pub(super) fn tensor(&self, id: Id) -> &Tensor {
        // Ids are made here only.
        &self.tensors[id.0]
    }

    /// Makes a tensor constant.
    pub(super) fn fill(&mut self, id: Id, bytes: Arc<[u8]>) {
        self.tensors[id.0].buffer = self.buffer(bytes);
    }

    /// A constant operand; equal ones are one tensor.
    pub(super) fn constant(&mut self, name: &str, ty: TensorType, bytes: Arc<[u8]>) -> Id {
        let buffer = self.buffer(bytes);
        if let Some(&id) = self.constants.get(&(ty.clone(), buffer)) {
            return id;
        }
        let id = self.add(name, ty.clone());
        self.tensors[id.0].buffer = buffer;
        self.constants.insert((ty, buffer), id);
        id
    }

    fn buffer(&mut self, bytes: Arc<[u8]>) -> u32 {
        if let Some(&buffer) = self.by_content.get(&bytes) {
            return buffer;
        }
        let buffer = u32::try_from(self.buffers.len()).unwrap_or(u32::MAX);
        self.by_content.insert(bytes.clone(), buffer);
        self.buffers.push(bytes);
        buffer
    }

    /// Size of all constants, with what their alignment may take.
    pub(super) fn constant_bytes(&self) -> usize {
        self.buffers.iter().map(|bytes| bytes.len().saturating_add(64)).fold(0, usize::saturating_add)
    }

    /// Appends an operator.
    pub(super) fn push(
        &mut self,
        code: BuiltinOperator,
        version: i32,
        inputs: Vec<Id>,
        outputs: Vec<Id>,
        options: OperatorOptions<'static>,
    ) {
        let known = self.codes.iter().position(|&known| known == (code, version));
        let code = known.unwrap_or_else(|| {
            self.codes.push((code, version));
            self.codes.len() - 1
        });
        self.operators.push(Operator { code, inputs, outputs, options });
    }
}
