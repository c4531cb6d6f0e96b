//! The independent check of a memory plan. It shares no code with the planner and does not believe what the planner or
//! the lowering declare: lives are computed from what kernels really touch.
//!
//! Rules, for every function of a planned module:
//! - M1: every buffer has a place, as long as its memory, aligned to its elements, and inside of the largest arena.
//! - M2: a kernel lists every buffer that it touches, and lists as written those it writes.
//! - M3: the declared life of a buffer covers its real one: from the first kernel that touches it (inputs: from the
//!   start) to the last (outputs: to the end).
//! - M4: two buffers whose real lives meet have no byte in common, unless one dies in the kernel in which the other is
//!   born, that kernel permits it, and both start at the same byte. An input is born before all kernels, an output dies
//!   after all.
//! - M5: a kernel that uses such a permission never reads a byte that it has overwritten. The kernel is run on an arena
//!   that remembers who wrote each byte; which bytes a kernel touches does not depend on data, so one run proves it.

use crate::diag::{Diagnostic, Diagnostics};
use crate::loops::LoopOp;
use crate::loops::interp::{RunError, shadow_kernels};
use crate::loops::memory::Place;
use crate::loops::ops::{Buffer, Kernel, Role};
use crate::module::{Function, Module, Op, OpKind, Value};
use std::collections::BTreeMap;
use std::collections::HashSet;

/// Arenas reach at most this size; see [`super::MAX_TENSOR_BYTES`] for why.
pub const MAX_ARENA_BYTES: usize = super::MAX_TENSOR_BYTES;

/// Checks the plan of every function.
///
/// # Errors
/// Every violation of M1 to M5.
pub fn check_plan(module: &Module) -> Result<(), Diagnostics> {
    let mut errors = Diagnostics::default();
    for function in &module.functions {
        Checker::new(function, &mut errors).check(module);
    }
    errors.into_result()
}

struct BufferFacts<'f> {
    op: Op,
    head: &'f Buffer,
    place: &'f Place,
    first: usize,
    last: usize,
}

struct Checker<'c> {
    function: &'c Function,
    kernels: Vec<(Op, &'c Kernel)>,
    errors: &'c mut Diagnostics,
}

impl<'c> Checker<'c> {
    fn new(function: &'c Function, errors: &'c mut Diagnostics) -> Self {
        let kernels = function.blocks[function.body]
            .ops
            .iter()
            .filter_map(|&op| match &function.ops[op].kind {
                OpKind::Loop(LoopOp::Kernel(head)) => Some((op, head)),
                _ => None,
            })
            .collect();
        Self { function, kernels, errors }
    }

    fn check(mut self, module: &Module) {
        let touched: Vec<Touched> =
            self.kernels.iter().map(|&(op, _)| Touched::by(self.function, op)).collect();
        for (time, touched) in touched.iter().enumerate() {
            self.check_lists(time, touched);
        }
        let buffers = self.buffers(&touched);
        let shared = self.check_overlaps(&buffers);
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
    fn check_lists(&mut self, time: usize, touched: &Touched) {
        let (op, head) = self.kernels[time];
        let listed = &self.function.ops[op].operands;
        for &value in
            touched.reads.union(&touched.writes).copied().collect::<std::collections::BTreeSet<_>>().iter()
        {
            if !listed.contains(&value) {
                let name = self.name(value);
                self.error(
                    op,
                    format!("expected kernel {time} to list every buffer it touches, got {name} unlisted"),
                );
            }
        }
        for &value in &touched.writes {
            if !listed.iter().take(head.writes).any(|&written| written == value) {
                let name = self.name(value);
                self.error(
                    op,
                    format!("expected kernel {time} to write listed buffers only, got a write to {name}"),
                );
            }
        }
    }

    /// M1 and M3; buffers that pass M1, with their real lives.
    fn buffers(&mut self, touched: &[Touched]) -> BTreeMap<Value, BufferFacts<'c>> {
        let function = self.function;
        let end = self.kernels.len().saturating_sub(1);
        let mut facts = BTreeMap::new();
        for &op in &function.blocks[function.body].ops {
            let OpKind::Loop(LoopOp::Buffer(head)) = &function.ops[op].kind else { continue };
            let value = function.ops[op].results[0];
            let Some(memref) = function.ty(value).as_memref() else { continue };
            let name = self.name(value);
            let Some(place) = &head.place else {
                self.error(op, format!("expected buffer {name} to have a place, got none"));
                continue;
            };
            let (bytes, align) = (memref.size_bytes(), memref.element.size_bytes());
            if place.bytes != bytes || place.offset % align != 0 {
                let (found, offset) = (place.bytes, place.offset);
                self.error(
                    op,
                    format!(
                        "expected buffer {name} to have {bytes} bytes at a multiple of {align}, \
                         got {found} bytes at {offset}"
                    ),
                );
                continue;
            }
            if place.offset.saturating_add(bytes) > MAX_ARENA_BYTES {
                let message = format!(
                    "expected buffer {name} to end within {MAX_ARENA_BYTES} bytes, got {}",
                    place.offset
                );
                self.error(op, message);
                continue;
            }
            let times: Vec<usize> = (0..touched.len()).filter(|&t| touched[t].touches(value)).collect();
            let (first, last) =
                (times.first().copied().unwrap_or_default(), times.last().copied().unwrap_or_default());
            let first = if head.role == Role::Input { 0 } else { first };
            let last = if head.role == Role::Output { end } else { last };
            if head.live.is_none_or(|[from, to]| from > first || to < last) {
                let found = head.live.map_or("no life".to_owned(), |[from, to]| format!("[{from}, {to}]"));
                self.error(
                    op,
                    format!("expected the life of buffer {name} to cover [{first}, {last}], got {found}"),
                );
            }
            facts.insert(value, BufferFacts { op, head, place, first, last });
        }
        facts
    }

    /// M4; returns the kernels that rely on a permission to overwrite.
    fn check_overlaps(&mut self, buffers: &BTreeMap<Value, BufferFacts<'c>>) -> Vec<(usize, Op)> {
        let mut shared = std::collections::BTreeSet::new();
        let all: Vec<(&Value, &BufferFacts<'c>)> = buffers.iter().collect();
        for (i, &(&a_value, a)) in all.iter().enumerate() {
            for &(&b_value, b) in &all[i + 1..] {
                let meet = a.first <= b.last && b.first <= a.last;
                if !meet || !overlap(a.place, b.place) {
                    continue;
                }
                let permission = self
                    .permitted((a_value, a), (b_value, b))
                    .or_else(|| self.permitted((b_value, b), (a_value, a)));
                match permission {
                    Some(time) => {
                        shared.insert((time, self.kernels[time].0));
                    }
                    None => {
                        let (left, right) = (self.name(a_value), self.name(b_value));
                        let message = format!(
                            "expected {left} (bytes {}..{}) and {right} (bytes {}..{}) to be disjoint, \
                             since both live at kernel {}",
                            a.place.offset,
                            a.place.offset + a.place.bytes,
                            b.place.offset,
                            b.place.offset + b.place.bytes,
                            a.first.max(b.first),
                        );
                        self.error(b.op, message);
                    }
                }
            }
        }
        shared.into_iter().collect()
    }

    /// The kernel that permits `written` to overwrite `read`, if the plan keeps to the permission.
    fn permitted(
        &self,
        (written, w): (Value, &BufferFacts<'_>),
        (read, r): (Value, &BufferFacts<'_>),
    ) -> Option<usize> {
        let time = w.first;
        let &(op, head) = self.kernels.get(time)?;
        let operands = &self.function.ops[op].operands;
        let listed = head
            .in_place
            .iter()
            .any(|&[i, j]| operands.get(i) == Some(&written) && operands.get(j) == Some(&read));
        // The caller fills inputs before the first kernel and reads outputs after the last.
        let outlives = w.head.role == Role::Input || r.head.role == Role::Output;
        let hands_over = r.last == time && !outlives;
        (listed && hands_over && w.place.offset == r.place.offset).then_some(time)
    }

    /// M5.
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

fn overlap(a: &Place, b: &Place) -> bool {
    a.region == b.region && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes
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
            OpKind::Loop(LoopOp::Fill(_)) => (None, Some(1)),
            OpKind::Loop(LoopOp::Copy(_)) => (Some(0), Some(2)),
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

    fn touches(&self, value: Value) -> bool {
        self.reads.contains(&value) || self.writes.contains(&value)
    }
}
