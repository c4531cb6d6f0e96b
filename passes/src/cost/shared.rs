//! What kernels that share a function cost more than by themselves.
//!
//! A number that is another one in some layer is no literal of the function's: it is loaded when the function is called, takes a
//! register, and decides about no unrolling. The layer's own function calls the shared one.

use super::mix::Mix;
use mcunet_ir::attr::{Number, ResourceRef};
use mcunet_ir::loops::program::Program;
use mcunet_ir::loops::skeleton::{NumberPlace, Skeleton};
use mcunet_ir::loops::{LoopOp, ops as l};
use mcunet_ir::module::{Function, Op, Value};
use mcunet_ir::types::{MemRefType, Scalar};
use mcunet_ir::{Origin, Shape, Type};
use std::collections::{BTreeMap, HashMap};

/// Bytes of a pointer among what a layer gives the function.
const POINTER_BYTES: usize = 4;

/// Bytes of a number there, most of which are narrow.
const NUMBER_BYTES: usize = 2;

/// Bytes of the shape of a product of matrices there, instead of in a constant of its own.
const CALL_BYTES: usize = 12;

/// A kernel among those that share its function.
#[derive(Clone, Debug)]
pub struct Sharer {
    /// Whether the function is counted here.
    pub is_first: bool,
    /// Bytes of its own: a function that calls the shared one, and what that is given.
    pub own_bytes: usize,
}

/// Kernels that share functions, and the program as it is if they do.
pub struct Shared {
    /// The kernels.
    pub sharers: HashMap<Op, Sharer>,
    /// The function with loads where they differ; operations, values and blocks keep their handles.
    pub function: Option<Function>,
}

impl Shared {
    /// What a function's kernels share.
    pub fn of(function: &Function, program: &Program) -> Self {
        let mut classes: BTreeMap<&str, Vec<(Op, Skeleton)>> = BTreeMap::new();
        for (index, &kernel) in program.kernels.iter().enumerate() {
            let Some(name) = &program.head(function, index).shared else { continue };
            let Some(skeleton) = Skeleton::of(function, kernel) else { continue };
            classes.entry(name).or_default().push((kernel, skeleton));
        }
        let mut shared = Self { sharers: HashMap::new(), function: None };
        let mut open = Vec::new();
        for members in classes.into_values().filter(|members| members.len() > 1) {
            let differs = differing(&members);
            let memories = members[0].1.memories.len();
            let numbers = differs.iter().filter(|&&differs| differs).count();
            let own_bytes = CALL_BYTES + memories * POINTER_BYTES + numbers * NUMBER_BYTES;
            for (position, (kernel, skeleton)) in members.iter().enumerate() {
                shared.sharers.insert(*kernel, Sharer { is_first: position == 0, own_bytes });
                let numbers = skeleton.numbers.iter().zip(&differs).filter(|(_, differs)| **differs);
                let literals = numbers.filter_map(|(number, _)| match number.place {
                    NumberPlace::Literal(value) => Some(value),
                    NumberPlace::Rows | NumberPlace::Attribute(..) => None,
                });
                open.push((*kernel, literals.collect::<Vec<Value>>()));
            }
        }
        if !open.is_empty() {
            shared.function = Some(opened(function, &open));
        }
        shared
    }
}

/// Which of the numbers that are left open differ.
fn differing(members: &[(Op, Skeleton)]) -> Vec<bool> {
    let first = &members[0].1.numbers;
    let differs = |position: usize| {
        let values = members.iter().filter_map(|(_, skeleton)| skeleton.numbers.get(position));
        values.into_iter().any(|number| number.value != first[position].value)
    };
    (0..first.len()).map(differs).collect()
}

/// The function with loads from constants instead of literals, at the start of each kernel.
fn opened(function: &Function, kernels: &[(Op, Vec<Value>)]) -> Function {
    let mut opened = function.clone();
    let mut instead: HashMap<Value, Value> = HashMap::new();
    for (kernel, literals) in kernels.iter().filter(|(_, literals)| !literals.is_empty()) {
        let body = opened.ops[*kernel].regions[0];
        let mut make = |kind: LoopOp, operands: Vec<Value>, ty: Type| {
            let op = opened.create_op(kind.into(), operands, vec![ty], Vec::new(), Origin::default());
            (op, opened.ops[op].results[0])
        };
        let value = ResourceRef { name: "fields".into(), element: Scalar::I32, count: literals.len() };
        let memory = MemRefType { shape: Shape(vec![literals.len()]), element: Scalar::I32 };
        let (data, memory) = make(l::Data { value }.into(), Vec::new(), Type::MemRef(memory.into()));
        let mut start = vec![data];
        for (position, &literal) in literals.iter().enumerate() {
            let position = Number::Int(position as i64);
            let (offset_op, offset) = make(l::Const { value: position }.into(), Vec::new(), Type::I32);
            let (load, loaded) = make(l::Load {}.into(), vec![memory, offset], Type::I32);
            start.extend([offset_op, load]);
            instead.insert(literal, loaded);
        }
        let ops = &mut opened.blocks[body].ops;
        ops.splice(0..0, start);
    }
    for op in opened.walk() {
        for operand in &mut opened.ops[op].operands {
            if let Some(&loaded) = instead.get(operand) {
                *operand = loaded;
            }
        }
    }
    opened
}

/// From a layer's own function to the one that it shares.
pub fn call() -> Mix {
    Mix { alu: 1.0, flash_loads: 1.0, taken: 2.0, ..Mix::default() }
}
