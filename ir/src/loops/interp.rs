//! Runs lowered functions.
//!
//! Buffers without a place get memory of their own; once plan-memory gave them places they share the arenas of their
//! regions, as in the firmware. Here these lie one after the other in one array, whose bytes are meant where nothing else is
//! said. With [`Options::shadow`], every byte of the arena remembers which row of which buffer it was written as, and
//! reading a byte that belongs to another buffer, or to a row that the kernel does not say it needs, stops the run, as does
//! writing another row than the one that is made. A plan is wrong exactly if some run stops so, and which bytes a kernel
//! touches does not depend on the data.

use super::LoopOp;
use super::depthwise::{self, Record};
use super::eval::{Trap, Word, evaluate};
use super::matmul;
use super::ops::{Buffer, Depthwise, Kernel, Matmul, Role, Widen};
use super::program::{Program, Step};
use super::view::View;
use crate::diag::Origin;
use crate::module::{Block, Function, Module, Op, OpKind, Value};
use crate::tensor::{Data, Tensor};
use crate::types::Scalar;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// How to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Check on every access that the bytes are the buffer's own, and of a row that the kernel may touch.
    pub shadow: bool,
}

/// Why a run ended without a result.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RunError {
    /// A kernel stopped.
    #[error("kernel {kernel} '{layer}': {trap}")]
    Trap {
        /// Position of the kernel.
        kernel: usize,
        /// The op it was lowered from.
        layer: String,
        /// Where that comes from.
        origin: Origin,
        /// Why it stopped.
        trap: Trap,
    },
    /// The function can't be run at all.
    #[error("{0}")]
    Setup(String),
}

/// Runs a lowered function on inputs in the order of its ports.
///
/// # Errors
/// Wrong inputs, constants without data, or a kernel that stops (see [`Trap`]).
pub fn run<'m>(
    module: &'m Module,
    function: &'m Function,
    inputs: &'m [Tensor],
    options: Options,
) -> Result<Vec<Tensor>, RunError> {
    let mut machine = Machine::new(module, function, options)?;
    machine.set_inputs(inputs)?;
    machine.received = inputs;
    machine.run_steps()?;
    machine.outputs()
}

/// Runs single kernels on zeros with shadow checks, each row on an arena in which the rows that it needs are intact.
/// Returns what stopped them.
///
/// # Errors
/// If the function can't be run at all.
pub(crate) fn shadow_kernels(
    module: &Module,
    function: &Function,
    kernels: &[(usize, Op)],
) -> Result<Vec<RunError>, RunError> {
    let mut machine = Machine::new(module, function, Options { shadow: true })?;
    let mut stopped = Vec::new();
    for &(index, kernel) in kernels {
        let OpKind::Loop(LoopOp::Kernel(head)) = &function.ops[kernel].kind else { continue };
        machine.owners.fill(UNWRITTEN);
        machine.arena.fill(0);
        let mut run_row = |row: usize| {
            for (i, &buffer) in function.ops[kernel].operands.iter().skip(head.writes).enumerate() {
                let view = head.view(head.writes + i);
                machine.claim_rows(buffer, view, head.need(i).span(row), head.need(i).rows());
            }
            machine.run_row(Step { kernel: index, row }, kernel)
        };
        stopped.extend((0..head.rows).map(&mut run_row).find_map(Result::err));
    }
    Ok(stopped)
}

/// Where the elements of a memory are.
enum Storage {
    /// In the arena from this byte on.
    Arena(usize),
    /// In the arena, each row from a byte of its own on.
    Rows(Vec<usize>),
    /// Constant.
    Constant(Data),
}

struct Memory {
    value: Value,
    element: Scalar,
    count: usize,
    storage: Storage,
    /// Rows of the tensor.
    rows: usize,
    /// Elements that do not exist between two scattered rows.
    gap: usize,
    /// What the kernel may touch in this step, each time that it lists the buffer; all if it does not.
    touched: Vec<Touched>,
    /// The row that is made in this step, if not all are.
    made: Option<usize>,
}

impl Memory {
    /// Distance of two rows' offsets in a scattered buffer. Elements that do not exist lie between any two rows, so that who
    /// steps from one row to the next without asking for its offset is found out; how many differs from buffer to buffer, so
    /// that who takes the offset of another one's row is, too.
    fn pitch(&self) -> usize {
        self.row_elements() + self.gap
    }

    fn row_elements(&self) -> usize {
        self.count / self.rows.max(1)
    }

    /// The row of an element, of `counted` rows.
    fn row_of(&self, index: usize, counted: usize) -> usize {
        match self.storage {
            Storage::Rows(_) => index / self.pitch(),
            _ => index * counted / self.count.max(1),
        }
    }

    /// Whether the kernel may read an element in this step, or write it.
    fn may_touch(&self, index: usize, writes: bool) -> bool {
        let touches = |touched: &Touched| match (&touched.view, &touched.rows) {
            (Some(view), rows) => {
                let position = view.position(self.element(index));
                let row = |(_, counted): &(Range<usize>, usize)| {
                    position.map(|at| at * counted / view.elements().max(1))
                };
                let is_inside =
                    |rows: &(Range<usize>, usize)| row(rows).is_some_and(|row| rows.0.contains(&row));
                position.is_some() && rows.as_ref().is_none_or(is_inside)
            }
            (None, Some((rows, counted))) => rows.contains(&self.row_of(index, *counted)),
            (None, None) => true,
        };
        let mut touched = self.touched.iter().filter(|touched| touched.writes || !writes).peekable();
        touched.peek().is_none() || touched.any(touches)
    }

    /// Which element of the tensor an offset stands for.
    fn element(&self, index: usize) -> usize {
        match self.storage {
            Storage::Rows(_) => index / self.pitch() * self.row_elements() + index % self.pitch(),
            _ => index,
        }
    }

    /// The offset of an element of the tensor.
    fn offset(&self, element: usize) -> usize {
        match self.storage {
            Storage::Rows(_) => {
                let elements = self.row_elements().max(1);
                element / elements * self.pitch() + element % elements
            }
            _ => element,
        }
    }

    /// Whether elements lie inside, and side by side.
    fn contains(&self, first: usize, count: usize) -> bool {
        let (first, limit) = match self.storage {
            Storage::Rows(_) if first / self.pitch() >= self.rows => return false,
            Storage::Rows(_) => (first % self.pitch(), self.row_elements()),
            _ => (first, self.count),
        };
        first.checked_add(count).is_some_and(|end| end <= limit)
    }

    /// The arena's bytes of elements that lie inside and side by side; none of a constant.
    fn bytes_of(&self, first: usize, count: usize) -> Range<usize> {
        let size = self.element.size_bytes();
        let start = match &self.storage {
            Storage::Arena(base) => base + first * size,
            Storage::Rows(starts) => starts[first / self.pitch()] + first % self.pitch() * size,
            Storage::Constant(_) => return 0..0,
        };
        start..start + count * size
    }
}

/// What a kernel may touch of a buffer.
struct Touched {
    /// Whether it may write.
    writes: bool,
    /// A part of it; all if there is none.
    view: Option<View>,
    /// Rows, and of how many; all if there is none.
    rows: Option<(Range<usize>, usize)>,
}

/// Different gaps between scattered rows.
const GAPS: usize = 16;

/// Nobody has written the byte.
const UNWRITTEN: u32 = u32::MAX;

struct Machine<'m> {
    function: &'m Function,
    /// Inputs to hand over row by row.
    received: &'m [Tensor],
    /// Outputs that were handed over row by row, as far as they are: their bytes.
    sent: HashMap<usize, Vec<u8>>,
    registers: Vec<Word>,
    memories: Vec<Memory>,
    /// Arenas of the regions, one after the other, and memory of buffers without a place.
    arena: Vec<u8>,
    /// Names of the regions and where their arenas begin.
    regions: Vec<(Arc<str>, usize)>,
    /// Number of the memory that wrote each byte of the arena last; empty without shadow checks.
    owners: Vec<u32>,
    /// The row as part of which it was written, where only one was.
    written_rows: Vec<u32>,
}

impl<'m> Machine<'m> {
    fn new(module: &'m Module, function: &'m Function, options: Options) -> Result<Self, RunError> {
        let mut machine = Machine {
            function,
            received: &[],
            sent: HashMap::new(),
            registers: vec![Word::I1(false); function.values.len()],
            memories: Vec::new(),
            arena: Vec::new(),
            regions: Vec::new(),
            owners: Vec::new(),
            written_rows: Vec::new(),
        };
        let mut arena_bytes = machine.lay_out_regions();
        for &op in &function.blocks[function.body].ops {
            machine.declare(module, op, &mut arena_bytes)?;
        }
        machine.arena = vec![0; arena_bytes];
        if options.shadow {
            machine.owners = vec![UNWRITTEN; arena_bytes];
            machine.written_rows = vec![0; arena_bytes];
        }
        Ok(machine)
    }

    /// Lays the regions' arenas out; returns where the last one ends.
    fn lay_out_regions(&mut self) -> usize {
        let mut ends: Vec<(Arc<str>, usize)> = Vec::new();
        for &op in &self.function.blocks[self.function.body].ops {
            let OpKind::Loop(LoopOp::Buffer(Buffer { place: Some(place), .. })) = &self.function.ops[op].kind
            else {
                continue;
            };
            match ends.iter_mut().find(|(region, _)| *region == place.region) {
                Some((_, end)) => *end = place.end().max(*end),
                None => ends.push((place.region.clone(), place.end())),
            }
        }
        let mut base = 0usize;
        for (region, end) in ends {
            self.regions.push((region, base));
            base = base.saturating_add(end.saturating_add(7) / 8 * 8);
        }
        base
    }

    /// Where the arena of a region begins.
    fn base_of(&self, region: &str) -> usize {
        self.regions.iter().find(|(name, _)| **name == *region).map_or(0, |(_, base)| *base)
    }

    /// A byte of the arenas, for messages: counted from the start of its region, which is named if there are several.
    fn byte_name(&self, byte: usize) -> String {
        match self.regions.iter().rfind(|(_, base)| *base <= byte) {
            Some((region, base)) if self.regions.len() > 1 => {
                format!("byte {} of the arena '{region}'", byte - base)
            }
            _ => format!("byte {byte} of the arena"),
        }
    }

    fn declare(&mut self, module: &Module, op: Op, arena_bytes: &mut usize) -> Result<(), RunError> {
        let data = &self.function.ops[op];
        let OpKind::Loop(kind) = &data.kind else { return Ok(()) };
        let Some(memref) = data.results.first().and_then(|&value| self.function.ty(value).as_memref()) else {
            return Ok(());
        };
        let bytes = |reference| {
            module.bytes(reference).map(|bytes| Data::from_bytes(reference.element, bytes)).ok_or_else(|| {
                RunError::Setup(format!(
                    "expected the data of '{}', got a module without weights",
                    reference.name
                ))
            })
        };
        let storage = match kind {
            LoopOp::Buffer(buffer) => {
                let next = arena_bytes.next_multiple_of(8);
                let pieces = if buffer.scattered { buffer.rows } else { 1 };
                let bytes = memref.size_bytes() / pieces.max(1);
                let starts: Vec<usize> = match &buffer.place {
                    Some(place) if place.offsets.len() == pieces => {
                        let base = self.base_of(&place.region);
                        place.offsets.iter().map(|offset| base.saturating_add(*offset)).collect()
                    }
                    _ => (0..pieces).map(|piece| next + piece * bytes).collect(),
                };
                let end = starts.iter().max().map_or(0, |start| start.saturating_add(bytes));
                *arena_bytes = (*arena_bytes).max(end);
                match starts[..] {
                    [start] if !buffer.scattered => Storage::Arena(start),
                    _ => Storage::Rows(starts),
                }
            }
            LoopOp::Data(constant) => Storage::Constant(bytes(&constant.value)?),
            LoopOp::Pack(pack) => {
                let sources: Vec<Data> = pack.sources.iter().map(bytes).collect::<Result<_, _>>()?;
                Storage::Constant(pack.layout.evaluate(&sources).map_err(RunError::Setup)?)
            }
            _ => return Ok(()),
        };
        let value = data.results[0];
        self.registers[crate::arena::Handle::index(value)] = Word::Memory(self.memories.len() as u32);
        let (element, count) = (memref.element, memref.shape.elements());
        let rows = match kind {
            LoopOp::Buffer(buffer) => buffer.rows,
            _ => 1,
        };
        let gap = 1 + self.memories.len() % GAPS;
        self.memories.push(Memory {
            value,
            element,
            count,
            storage,
            rows,
            gap,
            touched: Vec::new(),
            made: None,
        });
        Ok(())
    }

    /// Marks the bytes of some of `counted` rows of a buffer, or of a view of it, as its own.
    fn claim_rows(&mut self, buffer: Value, view: Option<&View>, rows: Range<usize>, counted: usize) {
        let Word::Memory(number) = self.register(buffer) else { return };
        let memory = &mut self.memories[number as usize];
        memory.made = None;
        if let Some(view) = view {
            for span in view.spans(rows, counted) {
                let first = self.memories[number as usize].offset(span.start);
                self.mark(number, first, span.len());
            }
            return;
        }
        let (count, counted) = (memory.count, counted.max(1));
        let is_scattered = matches!(memory.storage, Storage::Rows(_));
        let (pitch, elements) = (memory.pitch(), memory.row_elements());
        for row in rows {
            let (first, end) = match is_scattered {
                true => (row * pitch, row * pitch + elements),
                false => (row * count / counted, (row + 1) * count / counted),
            };
            self.mark(number, first, end - first);
        }
    }

    /// Marks all bytes of a buffer as its own.
    fn claim(&mut self, buffer: Value) {
        if let Word::Memory(number) = self.register(buffer) {
            self.mark(number, 0, self.memories[number as usize].count);
        }
    }

    fn mark(&mut self, number: u32, first: usize, count: usize) {
        let memory = &self.memories[number as usize];
        if self.owners.is_empty() {
            return;
        }
        let bytes = memory.bytes_of(first, count);
        let row = memory.made.unwrap_or(memory.row_of(first, memory.rows));
        self.owners[bytes.clone()].fill(number);
        self.written_rows[bytes].fill(row as u32);
    }

    fn buffers(&self, role: Role) -> HashMap<usize, Value> {
        let ops = &self.function.blocks[self.function.body].ops;
        ops.iter()
            .filter_map(|&op| match &self.function.ops[op].kind {
                OpKind::Loop(LoopOp::Buffer(buffer)) if buffer.role == role => {
                    Some((buffer.index, self.function.ops[op].results[0]))
                }
                _ => None,
            })
            .collect()
    }

    fn set_inputs(&mut self, inputs: &[Tensor]) -> Result<(), RunError> {
        if inputs.len() != self.function.inputs.len() {
            let expected = self.function.inputs.len();
            return Err(RunError::Setup(format!("expected {expected} inputs, got {}", inputs.len())));
        }
        let buffers = self.buffers(Role::Input);
        for (index, input) in inputs.iter().enumerate() {
            let Some(&buffer) = buffers.get(&index) else { continue };
            let Word::Memory(number) = self.register(buffer) else { continue };
            let memory = &self.memories[number as usize];
            let Storage::Arena(base) = memory.storage else { continue };
            let bytes = input.data.to_bytes();
            if bytes.len() != memory.count * memory.element.size_bytes() {
                let (name, expected) =
                    (&self.function.inputs[index].name, memory.count * memory.element.size_bytes());
                let found = bytes.len();
                return Err(RunError::Setup(format!(
                    "expected {expected} bytes for input '{name}', got {found}"
                )));
            }
            self.arena[base..base + bytes.len()].copy_from_slice(&bytes);
            self.claim(buffer);
        }
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<Tensor>, RunError> {
        let buffers = self.buffers(Role::Output);
        let ports = self.function.outputs.iter().enumerate();
        ports
            .map(|(index, port)| {
                let missing = || RunError::Setup(format!("output '{}' has no buffer", port.name));
                let ty = port.ty.as_tensor().ok_or_else(missing)?;
                let tensor = |bytes: &[u8]| {
                    Tensor::from_bytes(ty.clone(), bytes).map_err(|error| RunError::Setup(error.to_string()))
                };
                if let Some(bytes) = self.sent.get(&index) {
                    return tensor(bytes);
                }
                let buffer = buffers.get(&index).ok_or_else(missing)?;
                let Word::Memory(number) = self.register(*buffer) else { return Err(missing()) };
                let Storage::Arena(base) = self.memories[number as usize].storage else {
                    return Err(missing());
                };
                tensor(self.arena.get(base..base.saturating_add(ty.size_bytes())).ok_or_else(missing)?)
            })
            .collect()
    }

    fn run_steps(&mut self) -> Result<(), RunError> {
        let program = Program::of(self.function);
        for &step in &program.steps {
            self.run_row(step, program.kernels[step.kernel])?;
        }
        Ok(())
    }

    fn run_row(&mut self, Step { kernel, row }: Step, op: Op) -> Result<(), RunError> {
        let function = self.function;
        let data = &function.ops[op];
        let body = data.regions[0];
        if let (OpKind::Loop(LoopOp::Kernel(head)), false) = (&data.kind, self.owners.is_empty()) {
            self.allow_rows(head, &data.operands, row);
        }
        if let Some(&argument) = function.blocks[body].args.first() {
            self.set(argument, Word::I32(i32::try_from(row).unwrap_or(i32::MAX)));
        }
        self.run_block(body).map(|_| ()).map_err(|trap| {
            let layer = match &data.kind {
                OpKind::Loop(LoopOp::Kernel(head)) => head.layer.to_string(),
                other => other.name().to_owned(),
            };
            RunError::Trap { kernel, layer, origin: data.origin.clone(), trap }
        })
    }

    /// Notes what a kernel may touch while it makes a row.
    fn allow_rows(&mut self, head: &Kernel, buffers: &[Value], row: usize) {
        for &buffer in buffers {
            if let Word::Memory(number) = self.register(buffer) {
                let memory = &mut self.memories[number as usize];
                (memory.made, memory.touched) = (None, Vec::new());
            }
        }
        for (i, &buffer) in buffers.iter().enumerate() {
            let Word::Memory(number) = self.register(buffer) else { continue };
            let memory = &mut self.memories[number as usize];
            let view = head.view(i).copied();
            let makes_row = head.rows > 1 && (view.is_some() || memory.rows == head.rows);
            let (writes, rows) = match i.checked_sub(head.writes).map(|read| head.need(read)) {
                Some(need) => (false, Some((need.span(row), need.rows()))),
                None => (true, makes_row.then(|| (row..row + 1, head.rows))),
            };
            if writes && makes_row && view.is_none() {
                memory.made = Some(row);
            }
            memory.touched.push(Touched { writes, view, rows });
        }
    }

    fn register(&self, value: Value) -> Word {
        self.registers[crate::arena::Handle::index(value)]
    }

    fn set(&mut self, value: Value, word: Word) {
        self.registers[crate::arena::Handle::index(value)] = word;
    }

    /// Runs a block and returns what it yields.
    fn run_block(&mut self, block: Block) -> Result<Vec<Word>, Trap> {
        let function = self.function;
        for &op in &function.blocks[block].ops {
            let data = &function.ops[op];
            let OpKind::Loop(kind) = &data.kind else { return Err(Trap::Operands(data.kind.name())) };
            match kind {
                LoopOp::Yield(_) => {
                    return Ok(data.operands.iter().map(|&value| self.register(value)).collect());
                }
                LoopOp::For(head) => self.run_for(op, head.step)?,
                LoopOp::If(_) => {
                    let taken = self.register(data.operands[0]) == Word::I1(true);
                    let values = self.run_block(data.regions[usize::from(!taken)])?;
                    self.set_all(&data.results, &values);
                }
                _ => self.run_op(op, kind)?,
            }
        }
        Ok(Vec::new())
    }

    fn set_all(&mut self, values: &[Value], words: &[Word]) {
        for (&value, &word) in values.iter().zip(words) {
            self.set(value, word);
        }
    }

    fn run_for(&mut self, op: Op, step: u32) -> Result<(), Trap> {
        let function = self.function;
        let data = &function.ops[op];
        let body = data.regions[0];
        let (induction, carried) =
            function.blocks[body].args.split_first().ok_or(Trap::Operands("loop.for"))?;
        let mut words: Vec<Word> = data.operands[2..].iter().map(|&init| self.register(init)).collect();
        let (Word::I32(mut i), Word::I32(upper)) =
            (self.register(data.operands[0]), self.register(data.operands[1]))
        else {
            return Err(Trap::Operands("loop.for"));
        };
        while i < upper {
            self.set(*induction, Word::I32(i));
            self.set_all(carried, &words);
            words = self.run_block(body)?;
            i = i.saturating_add_unsigned(step.max(1));
        }
        self.set_all(&data.results, &words);
        Ok(())
    }

    fn run_op(&mut self, op: Op, kind: &LoopOp) -> Result<(), Trap> {
        let data = &self.function.ops[op];
        let arg = |i: usize| self.register(data.operands[i]);
        let illegal = Trap::Operands(kind.spec().name);
        match kind {
            LoopOp::Load(_) => {
                let (Word::Memory(memory), Word::I32(offset)) = (arg(0), arg(1)) else { return Err(illegal) };
                let word = self.load(memory, offset)?;
                self.set(data.results[0], word);
            }
            LoopOp::LoadI8x4(_) | LoopOp::LoadI16x2(_) => {
                let (Word::Memory(memory), Word::I32(offset)) = (arg(0), arg(1)) else { return Err(illegal) };
                let word = self.load_lanes(memory, offset)?;
                self.set(data.results[0], word);
            }
            LoopOp::Store(_) => {
                let (value, Word::Memory(memory), Word::I32(offset)) = (arg(0), arg(1), arg(2)) else {
                    return Err(illegal);
                };
                self.store(value, memory, offset)?;
            }
            LoopOp::Row(_) => {
                let (Word::Memory(memory), Word::I32(row)) = (arg(0), arg(1)) else { return Err(illegal) };
                let offset = self.row_offset(memory, row)?;
                self.set(data.results[0], Word::I32(offset));
            }
            LoopOp::Fill(head) => {
                let (value, Word::Memory(memory), Word::I32(offset)) = (arg(0), arg(1), arg(2)) else {
                    return Err(illegal);
                };
                for i in 0..head.count {
                    self.store(value, memory, element_offset(offset, i))?;
                }
            }
            LoopOp::Receive(head) => {
                let (Word::I32(row), Word::Memory(memory), Word::I32(offset)) = (arg(0), arg(1), arg(2))
                else {
                    return Err(illegal);
                };
                let input = self.received.get(head.index).ok_or(illegal)?;
                let first = usize::try_from(row).unwrap_or(usize::MAX).saturating_mul(head.count);
                if first.saturating_add(head.count) > input.data.len() {
                    return Err(Trap::Bounds { offset: i64::from(row), count: input.data.len() });
                }
                for i in 0..head.count {
                    self.store(constant_word(&input.data, first + i), memory, element_offset(offset, i))?;
                }
            }
            LoopOp::Send(head) => {
                let (Word::I32(row), Word::Memory(memory), Word::I32(offset)) = (arg(0), arg(1), arg(2))
                else {
                    return Err(illegal);
                };
                self.send((head.index, row), memory, offset, head.count)?;
            }
            LoopOp::Copy(head) => {
                let (Word::Memory(source), Word::I32(from), Word::Memory(target), Word::I32(to)) =
                    (arg(0), arg(1), arg(2), arg(3))
                else {
                    return Err(illegal);
                };
                let words: Vec<Word> = (0..head.count)
                    .map(|i| self.load(source, element_offset(from, i)))
                    .collect::<Result<_, _>>()?;
                for (i, word) in words.into_iter().enumerate() {
                    self.store(word, target, element_offset(to, i))?;
                }
            }
            LoopOp::Widen(head) => {
                let [Word::Memory(source), Word::I32(offset), Word::I32(first), Word::I32(end)] =
                    [0, 1, 2, 3].map(arg)
                else {
                    return Err(illegal);
                };
                let (Word::Memory(target), Word::I32(to)) = (arg(4), arg(5)) else { return Err(illegal) };
                self.widen(head, (source, offset), first..end, (target, to))?;
            }
            LoopOp::Matmul(head) => {
                let [Word::Memory(weights), Word::Memory(inputs), Word::I32(from)] = [0, 1, 2].map(arg)
                else {
                    return Err(illegal);
                };
                let (Word::Memory(output), Word::I32(to)) = (arg(3), arg(4)) else { return Err(illegal) };
                self.matmul(head, weights, (inputs, from), (output, to))?;
            }
            LoopOp::Depthwise(head) => {
                let [Word::Memory(weights), Word::Memory(input), Word::Memory(output), Word::I32(to)] =
                    [0, 1, 2, 3].map(arg)
                else {
                    return Err(illegal);
                };
                let numbers = data.operands.get(4..).unwrap_or(&[]).iter();
                let numbers: Vec<i32> = numbers
                    .filter_map(|&value| match self.register(value) {
                        Word::I32(number) => Some(number),
                        _ => None,
                    })
                    .collect();
                let [first, end, rows @ ..] = &numbers[..] else { return Err(illegal) };
                self.depthwise(head, weights, (input, rows), *first..*end, (output, to))?;
            }
            _ => {
                let mut args = [Word::I1(false); 3];
                let count = data.operands.len().min(3);
                for (slot, &operand) in args.iter_mut().zip(&data.operands) {
                    *slot = self.register(operand);
                }
                let &result = data.results.first().ok_or(illegal)?;
                let word = evaluate(kind, &args[..count], self.function.ty(result))?;
                self.set(result, word);
            }
        }
        Ok(())
    }

    fn locate(&self, number: u32, offset: i32, lanes: usize) -> Result<usize, Trap> {
        let memory = &self.memories[number as usize];
        usize::try_from(offset)
            .ok()
            .filter(|&offset| memory.contains(offset, lanes))
            .ok_or(Trap::Bounds { offset: offset.into(), count: memory.count })
    }

    /// Offset of the first element of a row of a scattered buffer.
    fn row_offset(&self, number: u32, row: i32) -> Result<i32, Trap> {
        let memory = &self.memories[number as usize];
        if !matches!(memory.storage, Storage::Rows(_)) {
            return Err(Trap::Operands("loop.row"));
        }
        usize::try_from(row)
            .ok()
            .filter(|&row| row < memory.rows)
            .and_then(|row| i32::try_from(row * memory.pitch()).ok())
            .ok_or(Trap::Bounds { offset: row.into(), count: memory.rows })
    }

    /// The name of a memory, for messages.
    fn memory_name(&self, number: u32) -> String {
        let value = self.memories[number as usize].value;
        self.function.values[value].name.as_deref().map_or(format!("{value:?}"), str::to_owned)
    }

    /// Stops at an element outside of the rows that the kernel may touch now.
    fn check_row(&self, number: u32, index: usize, writes: bool) -> Result<(), Trap> {
        let memory = &self.memories[number as usize];
        if self.owners.is_empty() || memory.may_touch(index, writes) {
            return Ok(());
        }
        Err(Trap::Row { memory: self.memory_name(number), offset: index })
    }

    fn check_owner(&self, number: u32, index: usize) -> Result<(), Trap> {
        if self.owners.is_empty() {
            return Ok(());
        }
        self.check_row(number, index, false)?;
        let memory = &self.memories[number as usize];
        let mut bytes = memory.bytes_of(index, 1);
        if matches!(memory.storage, Storage::Rows(_)) {
            let (at, expected) = (bytes.start, memory.row_of(index, memory.rows));
            let row = self.written_rows[at];
            if self.owners[at] == number && row as usize != expected {
                let owner = format!("holds its row {row}");
                return Err(self.clobbered(number, at, owner));
            }
        }
        match bytes.find(|&byte| self.owners[byte] != number) {
            None => Ok(()),
            Some(byte) => {
                let owner = match self.owners[byte] {
                    UNWRITTEN => "nobody has written".to_owned(),
                    other => format!("buffer '{}' has overwritten", self.memory_name(other)),
                };
                Err(self.clobbered(number, byte, owner))
            }
        }
    }

    fn clobbered(&self, number: u32, byte: usize, owner: String) -> Trap {
        Trap::Clobbered { reader: self.memory_name(number), byte: self.byte_name(byte), owner }
    }

    fn load(&self, number: u32, offset: i32) -> Result<Word, Trap> {
        let index = self.locate(number, offset, 1)?;
        let memory = &self.memories[number as usize];
        match &memory.storage {
            Storage::Arena(_) | Storage::Rows(_) => {
                self.check_owner(number, index)?;
                Ok(widen(memory.element, &self.arena[memory.bytes_of(index, 1)]))
            }
            Storage::Constant(data) => Ok(constant_word(data, index)),
        }
    }

    /// Four i8 or two i16 elements as packed lanes.
    fn load_lanes(&self, number: u32, offset: i32) -> Result<Word, Trap> {
        let memory = &self.memories[number as usize];
        let (lanes, bits) = match memory.element {
            Scalar::I8 => (4, 8),
            Scalar::I16 => (2, 16),
            _ => return Err(Trap::Operands("loop.load of lanes")),
        };
        self.locate(number, offset, lanes)?;
        let mut packed = 0u32;
        for lane in 0..lanes {
            let Word::I32(value) = self.load(number, element_offset(offset, lane))? else {
                return Err(Trap::Operands("loop.load of lanes"));
            };
            let mask = u32::MAX >> (32 - bits);
            packed |= ((value as u32) & mask) << (lane as u32 * bits);
        }
        Ok(Word::Packed(packed))
    }

    /// Hands a row of an output over, `count` elements of a memory.
    fn send(
        &mut self,
        (output, row): (usize, i32),
        number: u32,
        offset: i32,
        count: usize,
    ) -> Result<(), Trap> {
        let mut bytes = Vec::new();
        for i in 0..count {
            let offset = element_offset(offset, i);
            self.load(number, offset)?;
            let index = self.locate(number, offset, 1)?;
            bytes.extend_from_slice(&self.arena[self.memories[number as usize].bytes_of(index, 1)]);
        }
        let sent = self.sent.entry(output).or_default();
        let next = sent.len() / bytes.len().max(1);
        if usize::try_from(row) != Ok(next) {
            return Err(Trap::Order { output, row, next });
        }
        sent.extend(bytes);
        Ok(())
    }

    /// Widens the elements `inside` of a run, and writes zeros for the others.
    fn widen(
        &mut self,
        head: &Widen,
        (source, offset): (u32, i32),
        inside: Range<i32>,
        (target, to): (u32, i32),
    ) -> Result<(), Trap> {
        let mut widened = vec![0; matmul::pairs_of_run(head.count) * 2];
        for column in 0..head.count {
            let at = element_offset(0, column);
            if inside.contains(&at) {
                let Word::I32(x) = self.load(source, offset.saturating_add(at))? else {
                    return Err(Trap::Operands("loop.widen"));
                };
                let (pair, second) = matmul::place_in_run(column, head.count);
                widened[pair * 2 + usize::from(second)] = x.wrapping_sub(head.zero_point);
            }
        }
        for (i, value) in widened.into_iter().enumerate() {
            let at = (i / 2).saturating_mul(head.step).saturating_mul(2) + i % 2;
            self.store(Word::I32(value), target, element_offset(to, at))?;
        }
        Ok(())
    }

    /// A row of a depthwise convolution, of which the window's rows `inside` exist.
    fn depthwise(
        &mut self,
        head: &Depthwise,
        weights: u32,
        (input, rows): (u32, &[i32]),
        inside: Range<i32>,
        (output, offset): (u32, i32),
    ) -> Result<(), Trap> {
        let word = |machine: &Self, memory, at| match machine.load(memory, at)? {
            Word::I32(word) => Ok(word),
            _ => Err(Trap::Operands("loop.depthwise")),
        };
        let taps = depthwise::Taps { rows: rows.len(), columns: head.columns, pitch: head.pitch };
        let words = taps.record_words();
        // depthwise C3
        if inside.is_empty() {
            return Err(Trap::Operands("loop.depthwise"));
        }
        let finish = matmul::Finish { signed: head.signed, limits: head.limits, zero_point: head.zero_point };
        for channel in 0..head.channels {
            let record = (0..words)
                .map(|at| word(self, weights, element_offset(0, channel * words + at)))
                .collect::<Result<Vec<_>, _>>()?;
            for x in 0..head.outputs {
                let mut pixels = Vec::with_capacity(rows.len() * head.columns);
                for (number, &row) in rows.iter().enumerate() {
                    let row = element_offset(row, channel.saturating_mul(head.width));
                    for column in 0..head.columns {
                        let at = (x * head.stride + column).checked_sub(head.before);
                        let at = at.filter(|&at| at < head.width && inside.contains(&(number as i32)));
                        let pixel = at.map(|at| word(self, input, element_offset(row, at))).transpose()?;
                        pixels.push(pixel.map(|pixel| pixel - head.input_zero_point));
                    }
                }
                let padding = head.padding - head.input_zero_point;
                let result = Record::new(&record, taps).result(&pixels, padding, finish);
                let at = channel.saturating_mul(head.channel_step).saturating_add(x * head.pixel_step);
                self.store(Word::I32(result), output, element_offset(offset, at))?;
            }
        }
        Ok(())
    }

    fn matmul(
        &mut self,
        head: &Matmul,
        weights: u32,
        (inputs, from): (u32, i32),
        (output, offset): (u32, i32),
    ) -> Result<(), Trap> {
        let word = |machine: &Self, memory, at| match machine.load(memory, at)? {
            Word::I32(word) => Ok(word),
            _ => Err(Trap::Operands("loop.matmul")),
        };
        let packed = (0..matmul::packed_words(head.rows, head.pairs, head.short_bias))
            .map(|at| word(self, weights, element_offset(0, at)))
            .collect::<Result<Vec<_>, _>>()?;
        for pixel in 0..head.pixels {
            let narrow = self.memories[inputs as usize].element == Scalar::I8;
            let half = |pair: usize, half: usize| {
                let at = match narrow {
                    true => pair / 2 * 4 + half * 2 + pair % 2,
                    false => (pair * head.pixels + pixel) * 2 + half,
                };
                word(self, inputs, element_offset(from, at))
                    .map(|value| u32::from((value - head.input_zero_point) as u16) << (16 * half))
            };
            let pairs = (0..head.pairs)
                .map(|pair| Ok(half(pair, 0)? | half(pair, 1)?))
                .collect::<Result<Vec<u32>, Trap>>()?;
            let (mut row, mut rest) = (0, &packed[..]);
            while row < head.rows {
                let rows = matmul::GROUP.min(head.rows - row);
                let (group, after) = rest.split_at(matmul::packed_words(rows, head.pairs, head.short_bias));
                let finish =
                    matmul::Finish { signed: head.signed, limits: head.limits, zero_point: head.zero_point };
                for result in matmul::group_results(rows, group, head.short_bias, &pairs, finish) {
                    let at = row.saturating_mul(head.row_step).saturating_add(pixel * head.pixel_step);
                    self.store(Word::I32(result), output, element_offset(offset, at))?;
                    row += 1;
                }
                rest = after;
            }
        }
        Ok(())
    }

    fn store(&mut self, value: Word, number: u32, offset: i32) -> Result<(), Trap> {
        let index = self.locate(number, offset, 1)?;
        self.check_row(number, index, true)?;
        let memory = &self.memories[number as usize];
        if matches!(memory.storage, Storage::Constant(_)) {
            return Err(Trap::Operands("loop.store"));
        }
        let raw: [u8; 8] = match value {
            Word::I32(value) => i64::from(value).to_le_bytes(),
            Word::I64(value) => value.to_le_bytes(),
            Word::F32(value) => u64::from(value.to_bits()).to_le_bytes(),
            _ => return Err(Trap::Operands("loop.store")),
        };
        let bytes = memory.bytes_of(index, 1);
        let size = bytes.len();
        self.arena[bytes].copy_from_slice(&raw[..size]);
        self.mark(number, index, 1);
        Ok(())
    }
}

fn element_offset(offset: i32, by: usize) -> i32 {
    offset.saturating_add(i32::try_from(by).unwrap_or(i32::MAX))
}

fn constant_word(data: &Data, index: usize) -> Word {
    match data {
        Data::I1(items) => Word::I32(items[index].into()),
        Data::I8(items) => Word::I32(items[index].into()),
        Data::I16(items) => Word::I32(items[index].into()),
        Data::I32(items) => Word::I32(items[index]),
        Data::I64(items) => Word::I64(items[index]),
        Data::U8(items) => Word::I32(items[index].into()),
        Data::U16(items) => Word::I32(items[index].into()),
        Data::U32(items) => Word::I32(items[index] as i32),
        Data::U64(items) => Word::I64(items[index] as i64),
        Data::F32(items) => Word::F32(items[index]),
    }
}

/// Reads one element from little-endian bytes.
fn widen(element: Scalar, bytes: &[u8]) -> Word {
    match *bytes {
        [a] if element == Scalar::I8 => Word::I32((a as i8).into()),
        [a] => Word::I32(a.into()),
        [a, b] if element == Scalar::I16 => Word::I32(i16::from_le_bytes([a, b]).into()),
        [a, b] => Word::I32(u16::from_le_bytes([a, b]).into()),
        [a, b, c, d] if element == Scalar::F32 => Word::F32(f32::from_le_bytes([a, b, c, d])),
        [a, b, c, d] => Word::I32(i32::from_le_bytes([a, b, c, d])),
        _ => {
            let mut raw = [0; 8];
            raw.copy_from_slice(bytes);
            Word::I64(i64::from_le_bytes(raw))
        }
    }
}
