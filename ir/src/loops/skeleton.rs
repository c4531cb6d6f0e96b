//! What kernels have in common: their code, with the memory that it works on and integers in it left open.
//!
//! Kernels of equal code differ in what a function can be given: buffers and constants, trips of loops, distances in memory,
//! zero points, limits. What is left open is listed in the order in which the code first mentions it, so that the entries of two
//! kernels correspond.
//!
//! Not left open are literals of which more depends than a number in an instruction: distances of shifts, divisors, multipliers,
//! floats and numbers of 64 bits.

use super::LoopOp;
use super::copies_onto_itself;
use super::matmul::GROUP;
use super::ops::{Buffer, Const, Matmul, Widen};
use crate::attr::Number;
use crate::module::{Block, Function, Op, OpKind, Value};
use crate::types::{Scalar, Type};
use std::collections::{HashMap, HashSet};

/// A kernel's code and what it leaves open.
#[derive(Clone, Debug)]
pub struct Skeleton {
    /// Kernels with equal code can share a function.
    pub code: Code,
    /// Memory that the body mentions.
    pub memories: Vec<Value>,
    /// Numbers of the body.
    pub numbers: Vec<Open>,
}

/// Code with nothing but references to what is open.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Code(Vec<Token>);

/// A number that is left open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open {
    /// Where it stands.
    pub place: NumberPlace,
    /// What it is.
    pub value: i64,
}

/// Where a number stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NumberPlace {
    /// Rows of a kernel that makes all of them in one go.
    Rows,
    /// The literal that a value is.
    Literal(Value),
    /// An attribute of an operation; of limits each by itself.
    Attribute(Op, &'static str),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Token {
    /// An operation without what is open, and the types of its results.
    Op(LoopOp, Vec<Type>),
    /// A value of the body, by its position among all of them.
    Value(usize),
    /// Memory, by its position; its elements, and whether it is a constant, written, and scattered.
    Memory {
        index: usize,
        element: Scalar,
        constant: bool,
        written: bool,
        scattered: bool,
    },
    /// A body with arguments of these types.
    Begin(Vec<Type>),
    End,
}

impl Skeleton {
    /// The skeleton of a kernel; nothing if it hands rows over, which goes on in the caller.
    pub fn of(function: &Function, kernel: Op) -> Option<Self> {
        let OpKind::Loop(LoopOp::Kernel(head)) = &function.ops[kernel].kind else { return None };
        let data = &function.ops[kernel];
        let [body] = data.regions[..] else { return None };
        let is_by_row = !function.blocks[function.body].ops.contains(&kernel);
        let mut found = Finder {
            function,
            fixed: fixed_literals(function, body),
            written: data.operands.iter().take(head.writes).copied().collect(),
            values: HashMap::new(),
            skeleton: Self { code: Code(Vec::new()), memories: Vec::new(), numbers: Vec::new() },
        };
        let mut shape = head.clone();
        // What is said of rows is for the plan, which the code does not see, but for whether there are several.
        shape.layer = "".into();
        shape.needs = Vec::new();
        shape.in_place = Vec::new();
        shape.views = Vec::new();
        shape.shared = None;
        shape.rows = if head.rows > 1 { 2 } else { 1 };
        if head.rows > 1 && !is_by_row {
            shape.rows = 3;
            found.number(NumberPlace::Rows, head.rows as i64);
        }
        found.token(Token::Op(shape.into(), Vec::new()));
        found.block(body).then_some(found.skeleton)
    }

    /// The numbers alone.
    pub fn values(&self) -> Vec<i64> {
        self.numbers.iter().map(|number| number.value).collect()
    }
}

/// Literals of which more depends than a number.
fn fixed_literals(function: &Function, body: Block) -> HashSet<Value> {
    let mut fixed = HashSet::new();
    function.walk_block(body, &mut |op| {
        let data = &function.ops[op];
        let OpKind::Loop(kind) = &data.kind else { return };
        match kind {
            LoopOp::Shl(_) | LoopOp::Shr(_) | LoopOp::ShrU(_) | LoopOp::Div(_) | LoopOp::Rem(_) => {
                fixed.extend(data.operands.get(1));
            }
            LoopOp::DoublingHighMul(_) | LoopOp::RoundShift(_) | LoopOp::Requantize(_) => {
                fixed.extend(data.operands.iter().skip(1));
            }
            _ => {}
        }
    });
    fixed
}

struct Finder<'f> {
    function: &'f Function,
    fixed: HashSet<Value>,
    written: HashSet<Value>,
    values: HashMap<Value, usize>,
    skeleton: Skeleton,
}

impl Finder<'_> {
    fn token(&mut self, token: Token) {
        self.skeleton.code.0.push(token);
    }

    fn number(&mut self, place: NumberPlace, value: i64) {
        self.skeleton.numbers.push(Open { place, value });
    }

    fn name(&mut self, value: Value) {
        let next = self.values.len();
        self.values.insert(value, next);
    }

    /// Whether the block hands nothing over.
    fn block(&mut self, block: Block) -> bool {
        let function = self.function;
        let arguments = &function.blocks[block].args;
        self.token(Token::Begin(arguments.iter().map(|&argument| function.ty(argument).clone()).collect()));
        arguments.iter().for_each(|&argument| self.name(argument));
        let all = function.blocks[block].ops.iter().all(|&op| self.op(op));
        self.token(Token::End);
        all
    }

    fn op(&mut self, op: Op) -> bool {
        let function = self.function;
        let data = &function.ops[op];
        let OpKind::Loop(kind) = &data.kind else { return false };
        // What is not run is no code.
        if copies_onto_itself(function, op) {
            return true;
        }
        let mut kind = kind.clone();
        match &mut kind {
            LoopOp::Receive(_) | LoopOp::Send(_) => return false,
            LoopOp::Const(head) => self.open_literal(head, data.results[0]),
            LoopOp::Widen(head) => self.open_widen(op, head),
            LoopOp::Matmul(head) => self.open_matmul(op, head),
            _ => {}
        }
        let types = data.results.iter().map(|&result| function.ty(result).clone()).collect();
        self.token(Token::Op(kind, types));
        data.operands.iter().for_each(|&operand| self.operand(operand));
        let all = data.regions.iter().all(|&region| self.block(region));
        data.results.iter().for_each(|&result| self.name(result));
        all
    }

    fn operand(&mut self, value: Value) {
        let function = self.function;
        let Some(memory) = function.ty(value).as_memref() else {
            let position = self.values.get(&value).copied().unwrap_or(usize::MAX);
            return self.token(Token::Value(position));
        };
        let memories = &mut self.skeleton.memories;
        let index = memories.iter().position(|&other| other == value).unwrap_or_else(|| {
            memories.push(value);
            memories.len() - 1
        });
        let kind = function.defining_op(value).map(|op| &function.ops[op].kind);
        let constant = !matches!(kind, Some(OpKind::Loop(LoopOp::Buffer(_))));
        let scattered = matches!(kind, Some(OpKind::Loop(LoopOp::Buffer(Buffer { scattered: true, .. }))));
        let written = self.written.contains(&value);
        self.token(Token::Memory { index, element: memory.element, constant, written, scattered });
    }

    fn open_literal(&mut self, head: &mut Const, result: Value) {
        if let Number::Int(value) = head.value
            && *self.function.ty(result) == Type::I32
            && !self.fixed.contains(&result)
        {
            self.number(NumberPlace::Literal(result), value);
            head.value = Number::Int(0);
        }
    }

    /// Whether a run is whole and how far apart its pairs go decides which code widens it.
    fn open_widen(&mut self, op: Op, head: &mut Widen) {
        let literal = |value: Value| match &self.function.ops[self.function.defining_op(value)?].kind {
            OpKind::Loop(LoopOp::Const(Const { value: Number::Int(value) })) => Some(*value),
            _ => None,
        };
        let [first, end] = [2, 3].map(|operand| literal(self.function.ops[op].operands[operand]));
        let is_whole = first == Some(0) && end == Some(head.count as i64);
        self.number(NumberPlace::Attribute(op, "count"), head.count as i64);
        self.number(NumberPlace::Attribute(op, "zero_point"), head.zero_point.into());
        head.count = usize::from(is_whole);
        head.zero_point = 0;
    }

    /// Open is everything but what decides which function multiplies, and how many rows are left over.
    fn open_matmul(&mut self, op: Op, head: &mut Matmul) {
        let Matmul { rows, pairs, row_step, pixel_step, .. } = *head;
        let Matmul { input_zero_point, zero_point, limits: [low, high], .. } = *head;
        let sizes = [("rows", rows), ("pairs", pairs), ("row_step", row_step), ("pixel_step", pixel_step)];
        let sizes = sizes.map(|(name, size)| (name, size as i64));
        let others = [
            ("input_zero_point", input_zero_point),
            ("zero_point", zero_point),
            ("low", low),
            ("high", high),
        ];
        for (name, value) in sizes.into_iter().chain(others.map(|(name, value)| (name, value.into()))) {
            self.number(NumberPlace::Attribute(op, name), value);
        }
        head.rows = rows.min(GROUP) / GROUP * GROUP + rows % GROUP;
        head.pairs = pairs % 2;
        head.row_step = row_step.min(2);
        head.pixel_step = pixel_step.min(2);
        head.input_zero_point = 0;
        head.zero_point = 0;
        head.limits = if head.limits == [-128, 127] { [-128, 127] } else { [0, 0] };
    }
}
