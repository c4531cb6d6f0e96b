//! A function as the cascade pass sees it: stages that make rows of buffers and read rows of others.
//!
//! A buffer is the memory of one tensor, or of several where an elementwise op may overwrite its operand, or where a
//! reshape gives it another shape. The graph says what lowering will make of the function, so that its figures are those of
//! the lowered program, except for scratch memory.

use crate::lower::kernel::kept_type;
use mcunet_ir::define::Trait;
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::rows::{RowNeed, image_rows};
use mcunet_ir::tile::{Stage, TileOp};
use mcunet_ir::{Function, Op, TensorType, Value};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// The memory of a tensor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// Rows of the tensor.
    pub rows: usize,
    /// Bytes of a row.
    pub row_bytes: usize,
    /// First stage that writes it; `None` for inputs of the function.
    pub first: Option<usize>,
    /// Last stage that reads it; the number of stages for outputs of the function.
    pub last: usize,
    /// Stages that write it, in order: its maker, and those that overwrite it in place.
    pub writers: Vec<usize>,
}

impl Buffer {
    /// Bytes of the whole tensor.
    pub fn bytes(&self) -> usize {
        self.rows * self.row_bytes
    }
}

/// Rows that a stage needs of a buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// The buffer.
    pub buffer: usize,
    /// The rows, counted as the stage sees the buffer.
    pub need: RowNeed,
    /// Whether the stage sees the buffer in another shape than its maker, through a reshape.
    pub reshaped: bool,
    /// The latest stage before this one that writes the buffer; `None` for inputs of the function.
    pub maker: Option<usize>,
    /// For every row of the stage, how many rows the maker must have made, and which rows are not needed by later ones.
    pub rows: Vec<RowRead>,
}

/// What a row of a stage does to the rows of a buffer that it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowRead {
    /// Rows that the buffer's maker must have made.
    pub made: u32,
    /// First row that no later row of the stage reads, and one past the last.
    pub done: [u32; 2],
}

impl Read {
    /// The stage that makes what is read, if it is not before `first`.
    pub fn maker_from(&self, first: usize) -> Option<usize> {
        self.maker.filter(|&maker| maker >= first)
    }

    /// What every row of the stage does, if it has `stage_rows` and the maker makes `maker_rows`.
    fn tabulate(&mut self, stage_rows: usize, maker_rows: usize, buffer: &Buffer) {
        // All, if the stage counts the rows otherwise.
        let span = |row: usize| match self.need.rows() == buffer.rows {
            true => self.need.span(row),
            false => 0..buffer.rows,
        };
        let spans: Vec<Range<usize>> = (0..stage_rows).map(span).collect();
        // Otherwise a row that was left may be read again: it counts each time.
        let forward =
            spans.windows(2).all(|pair| pair[0].start <= pair[1].start && pair[0].end <= pair[1].end);
        let read = |(row, span): (usize, &Range<usize>)| {
            // What makes everything at once has one row; one that folds rows has to fold all of them.
            let end = if maker_rows == buffer.rows { span.end } else { maker_rows };
            let made = if span.is_empty() { 0 } else { end };
            let next = spans.get(row + 1).filter(|_| forward).map_or(span.end, |next| next.start);
            RowRead {
                made: made as u32,
                done: [span.start as u32, span.end.min(next.max(span.start)) as u32],
            }
        };
        self.rows = spans.iter().enumerate().map(read).collect();
    }
}

/// An operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// Rows that it makes, or 1 if it makes all at once, or rows of its operand that it folds.
    pub rows: usize,
    /// What it keeps in a cascade from the first row that it folds to the last, unless it does so in the result's buffer.
    pub keeps: Option<usize>,
    /// Buffers of its results.
    pub writes: Vec<usize>,
    /// Buffers of its operands, constants aside.
    pub reads: Vec<Read>,
    /// The input that it receives row by row, if that is what it does.
    pub receives: Option<Value>,
    /// Whether it sends an output row by row: then it writes no buffer.
    pub sends: bool,
}

impl Node {
    /// Whether it hands rows over from or to the caller, and computes nothing.
    pub fn hands_over(&self) -> bool {
        self.receives.is_some() || self.sends
    }
}

/// Stages in order, and the buffers between them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Graph {
    /// Stages in the order of the function.
    pub nodes: Vec<Node>,
    /// Buffers.
    pub buffers: Vec<Buffer>,
}

impl Graph {
    /// The graph of a tensor function; `None` if it has regions of its own already.
    pub fn of(function: &Function) -> Option<Self> {
        let mut building = Building::new(function);
        let received: HashSet<Value> = function
            .walk()
            .into_iter()
            .filter(|&op| matches!(function.ops[op].kind, OpKind::Tile(TileOp::Receive(_))))
            .flat_map(|op| function.ops[op].operands.iter().copied())
            .collect();
        // What is received row by row is nowhere as a whole.
        let arguments = &function.blocks[function.body].args;
        for &argument in arguments.iter().filter(|argument| !received.contains(argument)) {
            building.define(argument, None);
        }
        for &op in &function.blocks[function.body].ops {
            building.visit(op)?;
        }
        building.returned();
        Some(building.graph)
    }

    /// Whether anything that a stage makes is used from stage `end` on.
    pub fn escapes(&self, stage: usize, end: usize) -> bool {
        self.nodes[stage].writes.iter().any(|&buffer| self.buffers[buffer].last >= end)
    }
}

struct Building<'f> {
    function: &'f Function,
    graph: Graph,
    /// Buffer of every value that is not constant, and whether it got there through a reshape.
    homes: HashMap<Value, (usize, bool)>,
    uses: HashMap<Value, usize>,
}

impl<'f> Building<'f> {
    fn new(function: &'f Function) -> Self {
        Self { function, graph: Graph::default(), homes: HashMap::new(), uses: function.use_counts() }
    }

    fn ty(&self, value: Value) -> Option<&'f TensorType> {
        self.function.ty(value).as_tensor()
    }

    /// Gives a value a buffer of its own.
    fn define(&mut self, value: Value, first: Option<usize>) -> Option<usize> {
        let ty = self.ty(value)?;
        let rows = image_rows(&ty.shape).unwrap_or(1);
        let (last, writers) = (first.unwrap_or(0), Vec::new());
        let buffer = Buffer { rows, row_bytes: ty.size_bytes() / rows, first, last, writers };
        self.graph.buffers.push(buffer);
        let index = self.graph.buffers.len() - 1;
        self.homes.insert(value, (index, false));
        Some(index)
    }

    fn visit(&mut self, op: Op) -> Option<()> {
        let data = &self.function.ops[op];
        match &data.kind {
            OpKind::Nn(NnOp::Const(_)) => {}
            OpKind::Nn(NnOp::Reshape(_)) => {
                if let Some(&(buffer, _)) = self.homes.get(&data.operands[0]) {
                    self.homes.insert(data.results[0], (buffer, true));
                }
            }
            OpKind::Nn(_) | OpKind::Tile(TileOp::Receive(_) | TileOp::Send(_)) => {
                let stage = Stage::of(self.function, op)?;
                let index = self.graph.nodes.len();
                let mut reads: Vec<Read> = data
                    .operands
                    .iter()
                    .zip(&stage.needs)
                    .filter_map(|(operand, need)| {
                        let &(buffer, reshaped) = self.homes.get(operand)?;
                        Some(self.read(stage.rows, buffer, need.clone(), reshaped))
                    })
                    .collect();
                // Rows are pulled in this order. The addend's come first: what it is made of may be all there, waiting.
                if matches!(data.kind, OpKind::Nn(NnOp::Conv2dAdd(_))) {
                    reads.reverse();
                }
                for read in &reads {
                    self.graph.buffers[read.buffer].last = index;
                }
                let sends = matches!(data.kind, OpKind::Tile(TileOp::Send(_)));
                let overwritten = self.overwritten(op, &stage);
                let writes = match overwritten {
                    // What is sent is nowhere as a whole.
                    _ if sends => Vec::new(),
                    Some(buffer) => {
                        self.homes.insert(data.results[0], (buffer, false));
                        vec![buffer]
                    }
                    None => data
                        .results
                        .iter()
                        .map(|&result| self.define(result, Some(index)))
                        .collect::<Option<_>>()?,
                };
                for &buffer in &writes {
                    self.graph.buffers[buffer].writers.push(index);
                }
                let keeps = self.kept(op, &stage);
                let receives =
                    matches!(data.kind, OpKind::Tile(TileOp::Receive(_))).then(|| data.operands[0]);
                self.graph.nodes.push(Node { op, rows: stage.rows, keeps, writes, reads, receives, sends });
            }
            OpKind::Tile(_) | OpKind::Loop(_) => return None,
            OpKind::Builtin(_) => {}
        }
        Some(())
    }

    fn read(&self, stage_rows: usize, buffer: usize, need: RowNeed, reshaped: bool) -> Read {
        let Graph { nodes, buffers } = &self.graph;
        let maker = buffers[buffer].writers.last().copied();
        let mut read = Read { buffer, need, reshaped, maker, rows: Vec::new() };
        read.tabulate(stage_rows, maker.map_or(0, |maker| nodes[maker].rows), &buffers[buffer]);
        read
    }

    /// A buffer for what an op keeps while it folds rows.
    fn kept(&mut self, op: Op, stage: &Stage) -> Option<usize> {
        let data = &self.function.ops[op];
        let OpKind::Nn(kind) = &data.kind else { return None };
        let result = self.ty(data.results[0])?;
        let element = kept_type(kind, result.storage());
        if !stage.folds || element == result.storage() {
            return None;
        }
        let row_bytes = result.elements() * element.size_bytes();
        let node = self.graph.nodes.len();
        let buffer = Buffer { rows: 1, row_bytes, first: Some(node), last: node, writers: vec![node] };
        self.graph.buffers.push(buffer);
        Some(self.graph.buffers.len() - 1)
    }

    /// The operand's buffer that an op overwrites, if it works element by element or changes only a part: one of its size
    /// that nobody else reads.
    fn overwritten(&self, op: Op, stage: &Stage) -> Option<usize> {
        let data = &self.function.ops[op];
        let candidates = match &data.kind {
            kind if kind.has(Trait::Elementwise) => 0..data.operands.len(),
            kind if kind.has(Trait::Updates) => 0..1,
            OpKind::Nn(NnOp::Conv2dAdd(_)) => 3..4,
            _ => 0..0,
        };
        let result = self.ty(data.results[0])?;
        let fits = |(&operand, need): (&Value, &RowNeed)| {
            let &(buffer, reshaped) = self.homes.get(&operand)?;
            let ty = self.ty(operand)?;
            let same_size =
                ty.shape == result.shape && ty.storage().size_bytes() == result.storage().size_bytes();
            let own = self.graph.buffers[buffer].first.is_some() && !reshaped;
            let rows = need.rows() == stage.rows || stage.rows == 1;
            (same_size && own && rows && self.uses.get(&operand) == Some(&1)).then_some(buffer)
        };
        candidates.filter_map(|at| Some((data.operands.get(at)?, stage.needs.get(at)?))).find_map(fits)
    }

    /// Outputs are needed to the end, and so is what a reshape reads whose result nobody uses.
    fn returned(&mut self) {
        let end = self.graph.nodes.len();
        for (value, &(buffer, reshaped)) in &self.homes {
            if reshaped && !self.uses.contains_key(value) {
                self.graph.buffers[buffer].last = end;
            }
        }
        let Some(last) = self.function.terminator(self.function.body) else { return };
        for value in &self.function.ops[last].operands {
            if let Some(&(buffer, _)) = self.homes.get(value) {
                self.graph.buffers[buffer].last = end;
            }
        }
    }
}
