//! The independent check of a memory plan. It shares no code with the planner and does not believe the lives that the
//! planner declares: it runs the program without computing anything, and looks at what every row that is read holds.
//!
//! Rules, for every function of a planned module:
//! - M1: every buffer has a place as long as its memory, a scattered one a place for each row; they are aligned to its
//!   elements, and inside of the largest arena, which those of all regions together don't exceed. Offsets count from the
//!   start of the region: bytes of two regions are never the same.
//! - M2: a kernel lists every buffer that it touches, and lists as written those it writes.
//! - M3: the declared life of a buffer covers its real one: from the first step that touches it (inputs: from the start) to
//!   the last (outputs: to the end).
//! - M4: every row that a step reads, and at the end every row of an output, holds what was written to it: every byte of it
//!   was written last as part of that row of that buffer. So does what a kernel keeps from one of its rows to the next.
//! - M5: a step overwrites nothing that it reads, unless its kernel permits that and both rows start at the same byte. A
//!   kernel that uses such a permission never reads a byte that it has overwritten: it is run on an arena that remembers
//!   who wrote each byte; which bytes a kernel touches does not depend on data, so one run proves it.
//! - M6: a kernel that hands rows of an output over sends them from the first to the last, each once, and reads nothing but
//!   the row that it needs: it is run in the same way. By M4, that row is complete then.
//! - M7: where kernels write views of a buffer, no element is written by two of them, nor in two views of one. What M4 says of
//!   rows holds for the elements of a view, and M5 within one buffer, too: no view that a step reads shares a byte with one that
//!   it writes.
//!
//! That a kernel's body reads no other rows than the kernel says, and of a view nothing else, is seen by running it: see
//! [`crate::loops::interp::Options::shadow`].

use super::program::buffer_of;
use crate::diag::{Diagnostic, Diagnostics};
use crate::loops::LoopOp;
use crate::loops::interp::{RunError, shadow_kernels};
use crate::loops::memory::Place;
use crate::loops::ops::{Buffer, Kernel, Role};
use crate::loops::program::Program;
use crate::loops::view::View;
use crate::module::{Function, Module, Op, OpKind, Value};
use crate::rows::RowNeed;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

/// Errors after which a function is not looked at any further: one mistake can spoil every row after it.
const MAX_ERRORS: usize = 8;

/// Arenas reach at most this size; see [`super::MAX_TENSOR_BYTES`] for why.
pub const MAX_ARENA_BYTES: usize = super::MAX_TENSOR_BYTES;

/// Checks the plan of every function.
///
/// # Errors
/// Every violation of M1 to M3, and the first ones of M4 and M5.
pub fn check_plan(module: &Module) -> Result<(), Diagnostics> {
    let mut errors = Diagnostics::default();
    for function in &module.functions {
        Checker { function, program: Program::of(function), errors: &mut errors }.check(module);
    }
    errors.into_result()
}

/// A buffer as the plan places it.
struct Placed<'f> {
    op: Op,
    value: Value,
    head: &'f Buffer,
    place: &'f Place,
    /// Bytes of an element.
    element_bytes: usize,
}

impl Placed<'_> {
    /// Bytes of the arena that a row lies in.
    fn bytes_of(&self, row: usize) -> Range<usize> {
        let (rows, bytes) = (self.head.rows.max(1), self.place.bytes);
        if self.head.scattered {
            let start = self.place.offsets[row];
            return start..start + bytes;
        }
        let start = self.place.start();
        start + row * bytes / rows..start + (row + 1) * bytes / rows
    }

    /// Elements of a row.
    fn row_elements(&self) -> usize {
        (self.bytes_of(0).len() / self.element_bytes.max(1)).max(1)
    }

    /// Rows of the buffer that a need speaks of; it may count them otherwise, if the buffer is not scattered.
    fn rows_of(&self, span: Range<usize>, rows: usize) -> Range<usize> {
        if span.is_empty() {
            return 0..0;
        }
        let (own, rows) = (self.head.rows, rows.max(1));
        span.start * own / rows..(span.end * own).div_ceil(rows).min(own)
    }
}

struct Checker<'c> {
    function: &'c Function,
    program: Program,
    errors: &'c mut Diagnostics,
}

impl<'c> Checker<'c> {
    fn check(mut self, module: &Module) {
        let before = self.errors.0.len();
        self.check_lists();
        let buffers = self.buffers();
        // Places that make no sense would only be reported again.
        if self.errors.0.len() > before {
            return;
        }
        self.check_lives(&buffers);
        self.check_writers(&buffers);
        let shared = self.run(&buffers);
        self.check_shared(module, &shared);
    }

    fn error(&mut self, op: Op, message: String) {
        let origin = self.function.ops[op].origin.clone();
        self.errors.push(Diagnostic::error(message).at(origin).note("found by the memory plan's checker"));
    }

    fn name(&self, value: Value) -> String {
        self.function.values[value].name.as_deref().map_or(format!("{value:?}"), |name| format!("%{name}"))
    }

    /// M2.
    fn check_lists(&mut self) {
        for index in 0..self.program.kernels.len() {
            let op = self.program.kernels[index];
            let writes = self.program.head(self.function, index).writes;
            let touched = Touched::by(self.function, op);
            let listed = self.function.ops[op].operands.clone();
            let all: BTreeSet<Value> = touched.reads.union(&touched.writes).copied().collect();
            for value in all.into_iter().filter(|value| !listed.contains(value)) {
                let name = self.name(value);
                let message =
                    format!("expected kernel {index} to list every buffer it touches, got {name} unlisted");
                self.error(op, message);
            }
            let written: BTreeSet<Value> = touched.writes.into_iter().collect();
            for value in written.into_iter().filter(|value| !listed.iter().take(writes).any(|w| w == value)) {
                let name = self.name(value);
                let message =
                    format!("expected kernel {index} to write listed buffers only, got a write to {name}");
                self.error(op, message);
            }
        }
    }

    /// M1.
    fn buffers(&mut self) -> Vec<Placed<'c>> {
        let function = self.function;
        let mut placed = Vec::new();
        for &op in &function.blocks[function.body].ops {
            let value = match function.ops[op].results[..] {
                [value] => value,
                _ => continue,
            };
            let (Some(head), Some(memref)) = (buffer_of(function, value), function.ty(value).as_memref())
            else {
                continue;
            };
            let name = self.name(value);
            let Some(place) = &head.place else {
                self.error(op, format!("expected buffer {name} to have a place, got none"));
                continue;
            };
            let pieces = if head.scattered { head.rows.max(1) } else { 1 };
            if place.offsets.len() != pieces {
                let found = place.offsets.len();
                self.error(op, format!("expected buffer {name} to lie in {pieces} pieces, got {found}"));
                continue;
            }
            let (bytes, align) = (memref.size_bytes() / pieces, memref.element.size_bytes());
            let odd = place.offsets.iter().find(|&&offset| place.bytes != bytes || offset % align != 0);
            if let Some(offset) = odd {
                let found = place.bytes;
                let message = format!(
                    "expected buffer {name} to have {bytes} bytes at a multiple of {align}, \
                     got {found} bytes at {offset}"
                );
                self.error(op, message);
                continue;
            }
            if place.end() > MAX_ARENA_BYTES {
                let message = format!(
                    "expected buffer {name} to end within {MAX_ARENA_BYTES} bytes, got {}",
                    place.start()
                );
                self.error(op, message);
                continue;
            }
            placed.push(Placed { op, value, head, place, element_bytes: align });
        }
        self.check_sum(&placed);
        placed
    }

    /// The arenas of all regions together are no larger than one may be.
    fn check_sum(&mut self, buffers: &[Placed<'c>]) {
        let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
        for buffer in buffers {
            let end = ends.entry(&*buffer.place.region).or_default();
            *end = buffer.place.end().max(*end);
        }
        let (sum, count) = (ends.values().sum::<usize>(), ends.len());
        if let (Some(last), true) = (buffers.last(), sum > MAX_ARENA_BYTES) {
            let message = format!(
                "expected the arenas of {count} regions to take at most {MAX_ARENA_BYTES} bytes together, got {sum}"
            );
            self.error(last.op, message);
        }
    }

    /// M3.
    fn check_lives(&mut self, buffers: &[Placed<'c>]) {
        let mut real: BTreeMap<Value, [usize; 2]> = BTreeMap::new();
        for (time, step) in self.program.steps.iter().enumerate() {
            let head = self.program.head(self.function, step.kernel);
            for (i, &value) in
                self.function.ops[self.program.kernels[step.kernel]].operands.iter().enumerate()
            {
                let reads = |read| !head.need(read).span(step.row).is_empty();
                if i.checked_sub(head.writes).is_none_or(reads) {
                    real.entry(value).or_insert([time, time])[1] = time;
                }
            }
        }
        let end = self.program.steps.len().saturating_sub(1);
        for buffer in buffers {
            let [mut first, mut last] = real.get(&buffer.value).copied().unwrap_or_default();
            if buffer.head.role == Role::Input {
                // Every row of it may be read for the last time before other rows of other buffers are touched.
                first = 0;
            }
            if buffer.head.role == Role::Output {
                last = end;
            }
            if buffer.head.live.is_none_or(|[from, to]| from > first || to < last) {
                let found = buffer.head.live.map_or("no life".to_owned(), |[a, b]| format!("[{a}, {b}]"));
                let name = self.name(buffer.value);
                let message =
                    format!("expected the life of buffer {name} to cover [{first}, {last}], got {found}");
                self.error(buffer.op, message);
            }
        }
    }

    /// M7.
    fn check_writers(&mut self, buffers: &[Placed<'c>]) {
        let mut listings: BTreeMap<Value, Vec<(usize, Option<View>)>> = BTreeMap::new();
        for (index, &op) in self.program.kernels.iter().enumerate() {
            let head = self.program.head(self.function, index);
            for (position, &value) in self.function.ops[op].operands.iter().take(head.writes).enumerate() {
                listings.entry(value).or_default().push((index, head.view(position).copied()));
            }
        }
        for buffer in buffers {
            let Some(listed) = listings.get(&buffer.value) else { continue };
            if listed.iter().all(|(_, view)| view.is_none()) {
                continue;
            }
            let elements = self.function.ty(buffer.value).as_memref().map_or(0, |ty| ty.shape.elements());
            let mut written: Vec<(Range<usize>, usize)> = Vec::new();
            for (kernel, view) in listed {
                match view {
                    Some(view) => written.extend(view.spans(0..1, 1).map(|span| (span, *kernel))),
                    None => written.push((0..elements, *kernel)),
                }
            }
            written.sort_unstable_by_key(|(span, kernel)| (span.start, span.end, *kernel));
            let overlap = written.windows(2).find(|pair| pair[1].0.start < pair[0].0.end);
            if let Some([(_, first), (span, second)]) = overlap {
                let name = self.name(buffer.value);
                let message = format!(
                    "expected every element of {name} to be written in one view, got element {} written by kernel {first} and \
                     by kernel {second}",
                    span.start
                );
                self.error(buffer.op, message);
            }
        }
    }

    /// Elements at which views of buffers begin and end, by buffers.
    fn viewed(&self, buffers: &[Placed<'c>], by_value: &BTreeMap<Value, usize>) -> Vec<BTreeSet<usize>> {
        let mut borders = vec![BTreeSet::new(); buffers.len()];
        for (index, &op) in self.program.kernels.iter().enumerate() {
            let head = self.program.head(self.function, index);
            for view in &head.views {
                let value = self.function.ops[op].operands.get(view.buffer);
                let Some(&buffer) = value.and_then(|value| by_value.get(value)) else { continue };
                let rows = match view.buffer.checked_sub(head.writes) {
                    Some(read) => head.need(read).rows(),
                    None => head.rows,
                };
                for row in 0..rows {
                    borders[buffer]
                        .extend(view.spans(row..row + 1, rows).flat_map(|span| [span.start, span.end]));
                }
            }
        }
        borders
    }

    /// M4 and M5; returns the kernels that rely on a permission to overwrite, and those of M6.
    fn run(&mut self, buffers: &[Placed<'c>]) -> Vec<(usize, Op)> {
        let by_value: BTreeMap<Value, usize> =
            buffers.iter().enumerate().map(|(index, buffer)| (buffer.value, index)).collect();
        let mut arena = Arena::new(buffers, &self.viewed(buffers, &by_value));
        for (index, buffer) in buffers.iter().enumerate().filter(|(_, b)| b.head.role == Role::Input) {
            for piece in arena.pieces(index, 0..buffer.head.rows) {
                arena.write(index, &piece);
            }
        }
        let before = self.errors.0.len();
        let mut shared = BTreeSet::new();
        for time in 0..self.program.steps.len() {
            let step = self.program.steps[time];
            let op = self.program.kernels[step.kernel];
            let head = self.program.head(self.function, step.kernel);
            let operands: Vec<usize> = self.function.ops[op]
                .operands
                .iter()
                .filter_map(|value| by_value.get(value).copied())
                .collect();
            for (position, &index) in operands.iter().enumerate().skip(head.writes) {
                let need = head.need(position - head.writes);
                // A row of a view is in several pieces.
                let mut told = None;
                for piece in arena.needed(buffers, index, need, step.row, head.view(position)) {
                    let found = arena.read(index, &piece, time).filter(|_| told != Some(piece.row));
                    if let Some(found) = found {
                        self.stale(op, step.kernel, step.row, &buffers[index], piece.row, found, buffers);
                        told = Some(piece.row);
                    }
                }
            }
            let writes = &operands[..head.writes.min(operands.len())];
            for (position, &index) in writes.iter().enumerate() {
                if step.row == 0 || head.view(position).is_some() || !keeps(head, &buffers[index]) {
                    continue;
                }
                for piece in arena.pieces(index, 0..buffers[index].head.rows) {
                    if let Some(found) = arena.read(index, &piece, time) {
                        self.stale(op, step.kernel, step.row, &buffers[index], piece.row, found, buffers);
                    }
                }
            }
            for (position, &index) in writes.iter().enumerate() {
                let mut told = BTreeSet::new();
                for piece in arena.written(buffers, index, head, step.row, head.view(position)) {
                    for partner in arena.overwritten(&piece, time) {
                        // What a kernel keeps from row to row it may overwrite.
                        let is_kept = partner == index && head.view(position).is_none();
                        if is_kept || !told.insert((piece.row, partner)) {
                            continue;
                        }
                        if permits(head, &operands, index, partner)
                            && starts_alike(&buffers[index], &buffers[partner], piece.row)
                        {
                            shared.insert((step.kernel, op));
                        } else {
                            let overlap = [&buffers[index], &buffers[partner]];
                            self.spoiled(op, step.kernel, step.row, overlap, buffers);
                        }
                    }
                    arena.write(index, &piece);
                }
            }
            if self.errors.0.len() - before >= MAX_ERRORS {
                return Vec::new();
            }
        }
        for (index, buffer) in buffers.iter().enumerate().filter(|(_, b)| b.head.role == Role::Output) {
            for piece in arena.pieces(index, 0..buffer.head.rows) {
                let row = piece.row;
                if let Some(found) = arena.spoiled(index, &piece) {
                    let name = self.name(buffer.value);
                    let found = self.holds(found, buffers);
                    let message =
                        format!("expected output {name} to hold its row {row} at the end, got {found}");
                    self.error(buffer.op, message);
                }
            }
        }
        // M6.
        let sends = crate::loops::program::sent(self.function);
        let kernels = self.program.kernels.iter().copied().enumerate();
        shared.extend(kernels.filter(|&(_, op)| sends.iter().any(|sent| sent.kernel == op)));
        shared.into_iter().collect()
    }

    #[allow(clippy::too_many_arguments)]
    fn stale(
        &mut self,
        op: Op,
        kernel: usize,
        making: usize,
        buffer: &Placed<'_>,
        row: usize,
        found: Option<Tag>,
        buffers: &[Placed<'_>],
    ) {
        let (name, found) = (self.name(buffer.value), self.holds(found, buffers));
        let message = format!(
            "expected kernel {kernel}, making its row {making}, to find row {row} of {name} in bytes {:?}{}, got {found}",
            buffer.bytes_of(row),
            in_region(&buffer.place.region, buffers),
        );
        self.error(op, message);
    }

    fn holds(&self, found: Option<Tag>, buffers: &[Placed<'_>]) -> String {
        match found {
            None => "bytes that nobody has written".to_owned(),
            Some(tag) => format!("row {} of {}", tag.row, self.name(buffers[tag.buffer].value)),
        }
    }

    fn spoiled(
        &mut self,
        op: Op,
        kernel: usize,
        row: usize,
        overlap: [&Placed<'_>; 2],
        buffers: &[Placed<'_>],
    ) {
        let [name, other] = overlap.map(|buffer| {
            let place = buffer.place;
            let (bytes, region) = (place.start()..place.end(), in_region(&place.region, buffers));
            format!("{} (bytes {bytes:?}{region})", self.name(buffer.value))
        });
        let message = format!(
            "expected {name} and {other} to be disjoint where kernel {kernel} writes the one while it reads the other, \
             got an overlap at its row {row}"
        );
        self.error(op, message);
    }

    /// M5 and M6.
    fn check_shared(&mut self, module: &Module, shared: &[(usize, Op)]) {
        if shared.is_empty() {
            return;
        }
        match shadow_kernels(module, self.function, shared) {
            Ok(stopped) => {
                for error in stopped {
                    let origin = match &error {
                        RunError::Trap { origin, .. } => origin.clone(),
                        RunError::Setup(_) => crate::diag::Origin::Unknown,
                    };
                    let note = "found by the memory plan's checker";
                    self.errors.push(Diagnostic::error(error.to_string()).at(origin).note(note));
                }
            }
            // Without constant data the kernels cannot be run; the geometry was still checked.
            Err(error) => self.errors.push(Diagnostic::warning(error.to_string())),
        }
    }
}

/// Says which region bytes are of, where there are several.
fn in_region(region: &str, buffers: &[Placed<'_>]) -> String {
    let several = buffers.iter().any(|buffer| *buffer.place.region != *region);
    if several { format!(" of '{region}'") } else { String::new() }
}

/// Rows of a buffer that a step writes.
fn rows_written(head: &Kernel, buffer: &Placed<'_>, row: usize) -> Range<usize> {
    let all = buffer.head.role == Role::Scratch || head.rows != buffer.head.rows;
    if all { 0..buffer.head.rows } else { row..row + 1 }
}

/// Whether a kernel finds in a buffer what it wrote when it made its last row.
fn keeps(head: &Kernel, buffer: &Placed<'_>) -> bool {
    buffer.head.role != Role::Scratch && head.rows != buffer.head.rows
}

/// Whether the kernel permits that the buffer it writes overwrites the one it reads.
fn permits(head: &Kernel, operands: &[usize], written: usize, read: usize) -> bool {
    head.in_place.iter().any(|&[w, r]| operands.get(w) == Some(&written) && operands.get(r) == Some(&read))
}

/// Whether elements of the same number, in the row that is written if rows are scattered, lie at the same byte.
fn starts_alike(written: &Placed<'_>, read: &Placed<'_>, row: usize) -> bool {
    let same_start = match written.head.scattered || read.head.scattered {
        true => {
            written.head.rows == read.head.rows && written.bytes_of(row).start == read.bytes_of(row).start
        }
        false => written.place.start() == read.place.start(),
    };
    written.place.region == read.place.region && same_start
}

/// What a byte holds: part of a row of a buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tag {
    buffer: usize,
    row: usize,
}

/// Cells that lie side by side, of one row of a buffer.
struct Piece {
    row: usize,
    cells: Range<usize>,
}

/// What the arena holds while the program runs. Bytes that no border of a row or a view separates are one cell.
struct Arena {
    /// Cells of every row of every buffer.
    cells: Vec<Vec<Range<usize>>>,
    /// Cells of every buffer of which there are views, by its elements at which they begin or end: within their row.
    within: Vec<BTreeMap<usize, usize>>,
    /// Elements of a row of every buffer.
    row_elements: Vec<usize>,
    holds: Vec<Option<Tag>>,
    /// Step that read a cell last, and which buffer's row it was.
    read: Vec<Option<(usize, usize)>>,
}

impl Arena {
    /// An empty arena; `viewed` are the elements of buffers at which views begin or end.
    fn new(buffers: &[Placed<'_>], viewed: &[BTreeSet<usize>]) -> Self {
        let row_elements: Vec<usize> = buffers.iter().map(Placed::row_elements).collect();
        let byte_of = |index: usize, element: usize| {
            let (buffer, of_row) = (&buffers[index], row_elements[index]);
            let row = (element / of_row).min(buffer.head.rows.max(1) - 1);
            let bytes = buffer.bytes_of(row);
            bytes.start + (element - row * of_row) * (bytes.len() / of_row)
        };
        let mut borders: Vec<(&str, usize)> = Vec::new();
        for (index, buffer) in buffers.iter().enumerate() {
            let region = &*buffer.place.region;
            for row in 0..buffer.head.rows.max(1) {
                let bytes = buffer.bytes_of(row);
                borders.extend([(region, bytes.start), (region, bytes.end)]);
            }
            borders.extend(viewed[index].iter().map(|&element| (region, byte_of(index, element))));
        }
        borders.sort_unstable();
        borders.dedup();
        let cell = |region: &str, byte: usize| borders.binary_search(&(region, byte)).unwrap_or_default();
        let cells = buffers
            .iter()
            .map(|buffer| {
                let cells_of = |row: usize| {
                    let bytes = buffer.bytes_of(row);
                    cell(&buffer.place.region, bytes.start)..cell(&buffer.place.region, bytes.end)
                };
                (0..buffer.head.rows.max(1)).map(cells_of).collect()
            })
            .collect();
        let within = buffers.iter().enumerate().map(|(index, buffer)| {
            let cell = |&element: &usize| (element, cell(&buffer.place.region, byte_of(index, element)));
            viewed[index].iter().map(cell).collect()
        });
        let within = within.collect();
        Self {
            cells,
            within,
            row_elements,
            holds: vec![None; borders.len()],
            read: vec![None; borders.len()],
        }
    }

    /// Rows of a buffer.
    fn pieces(&self, buffer: usize, rows: Range<usize>) -> Vec<Piece> {
        rows.map(|row| Piece { row, cells: self.cells[buffer][row].clone() }).collect()
    }

    /// Rows `rows`, of `all`, of a view of a buffer.
    fn viewed(&self, buffer: usize, view: &View, rows: Range<usize>, all: usize) -> Vec<Piece> {
        let of_row = self.row_elements[buffer];
        let cell = |element: usize| self.within[buffer].get(&element).copied();
        let mut pieces = Vec::new();
        for span in rows.flat_map(|row| view.spans(row..row + 1, all)) {
            for row in span.start / of_row..span.end.div_ceil(of_row) {
                let cells = &self.cells[buffer][row];
                let start = cell(span.start).filter(|_| span.start > row * of_row).unwrap_or(cells.start);
                let end = cell(span.end).filter(|_| span.end < (row + 1) * of_row).unwrap_or(cells.end);
                pieces.push(Piece { row, cells: start..end });
            }
        }
        pieces
    }

    /// What a step reads of a buffer.
    fn needed(
        &self,
        buffers: &[Placed<'_>],
        index: usize,
        need: &RowNeed,
        row: usize,
        view: Option<&View>,
    ) -> Vec<Piece> {
        match view {
            Some(view) => self.viewed(index, view, need.span(row), need.rows()),
            None => self.pieces(index, buffers[index].rows_of(need.span(row), need.rows())),
        }
    }

    /// What a step writes of a buffer.
    fn written(
        &self,
        buffers: &[Placed<'_>],
        index: usize,
        head: &Kernel,
        row: usize,
        view: Option<&View>,
    ) -> Vec<Piece> {
        match view {
            Some(view) => self.viewed(index, view, row..row + 1, head.rows),
            None => self.pieces(index, rows_written(head, &buffers[index], row)),
        }
    }

    fn write(&mut self, buffer: usize, piece: &Piece) {
        self.holds[piece.cells.clone()].fill(Some(Tag { buffer, row: piece.row }));
    }

    /// What the first spoiled cell of a piece holds instead, if there is one.
    fn spoiled(&self, buffer: usize, piece: &Piece) -> Option<Option<Tag>> {
        let expected = Some(Tag { buffer, row: piece.row });
        self.holds[piece.cells.clone()].iter().find(|&&tag| tag != expected).copied()
    }

    /// Reads a piece, and says whether it is spoiled.
    fn read(&mut self, buffer: usize, piece: &Piece, time: usize) -> Option<Option<Tag>> {
        self.read[piece.cells.clone()].fill(Some((time, buffer)));
        self.spoiled(buffer, piece)
    }

    /// Buffers that the step reads where it now writes.
    fn overwritten(&self, piece: &Piece, time: usize) -> BTreeSet<usize> {
        let reads = self.read[piece.cells.clone()].iter().flatten();
        reads.filter(|&&(when, _)| when == time).map(|&(_, other)| other).collect()
    }
}

/// Buffers that the ops of a kernel's body read and write.
#[derive(Default)]
struct Touched {
    reads: HashSet<Value>,
    writes: HashSet<Value>,
}

impl Touched {
    fn by(function: &Function, kernel: Op) -> Self {
        let mut touched = Self::default();
        for &body in &function.ops[kernel].regions {
            function.walk_block(body, &mut |op| touched.add(function, op));
        }
        touched
    }

    fn add(&mut self, function: &Function, op: Op) {
        let data = &function.ops[op];
        let (read, written) = match &data.kind {
            OpKind::Loop(LoopOp::Store(_)) => (None, Some(1)),
            OpKind::Loop(LoopOp::Fill(_) | LoopOp::Receive(_)) => (None, Some(1)),
            OpKind::Loop(LoopOp::Send(_)) => (Some(1), None),
            OpKind::Loop(LoopOp::Copy(_)) => (Some(0), Some(2)),
            OpKind::Loop(LoopOp::Widen(_)) => (Some(0), Some(4)),
            OpKind::Loop(LoopOp::Matmul(_)) => (Some(1), Some(3)),
            OpKind::Loop(LoopOp::Depthwise(_)) => (Some(1), Some(2)),
            _ => (Some(0), None),
        };
        let is_buffer = |value: Value| {
            function
                .defining_op(value)
                .is_some_and(|op| matches!(function.ops[op].kind, OpKind::Loop(LoopOp::Buffer(_))))
        };
        let operand = |i: Option<usize>| {
            i.and_then(|i| data.operands.get(i)).copied().filter(|&value| is_buffer(value))
        };
        self.reads.extend(operand(read));
        self.writes.extend(operand(written));
    }
}
