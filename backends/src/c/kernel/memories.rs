//! Pointers to the memories that a kernel uses, and where rows begin in them.

use super::KernelPrinter;
use crate::c::expression::{Expression, Precedence};
use crate::c::rows::RowTable;
use crate::c::weights::element_type;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::loops::memory::Place;
use mcunet_ir::loops::ops::Buffer;
use mcunet_ir::module::{Op, OpKind, Value};

impl KernelPrinter<'_> {
    /// Pointers to the memories that the body uses: buffers written, buffers read, constants.
    pub(super) fn declare_memories(&mut self, one_row: bool) {
        let mut touched: Vec<Value> = self
            .uses
            .keys()
            .copied()
            .filter(|&value| self.function.ty(value).as_memref().is_some())
            .collect();
        touched.sort();
        let listed = &self.function.ops[self.kernel].operands;
        let writes = match &self.function.ops[self.kernel].kind {
            OpKind::Loop(LoopOp::Kernel(kernel)) => kernel.writes,
            _ => 0,
        };
        let kernels = self.class.map_or_else(
            || vec![self.kernel],
            |class| class.members.iter().map(|member| member.kernel).collect(),
        );
        let disjoint = kernels.into_iter().all(|kernel| self.buffers_are_disjoint(kernel, one_row));
        let restrict = if disjoint { "restrict " } else { "" };
        let mut unused = self.arenas.touched(self.function, &[self.kernel]);
        for value in touched {
            let ty = element_type(self.memref(value).element);
            let Some(definition) = self.function.defining_op(value) else { continue };
            match self.op(definition) {
                Some(LoopOp::Data(data)) => {
                    let name = self.constants(value, &data.value.name);
                    self.memories.insert(value, name);
                }
                Some(LoopOp::Buffer(buffer)) => {
                    let Some(place) = &buffer.place else { continue };
                    let arena = self.arenas.holding(place);
                    unused.retain(|other| *other != arena);
                    // Rows of a scattered buffer are found in a table that counts from the start of the arena.
                    let start = match buffer.scattered {
                        true => arena.pointer.clone(),
                        false => format!("({} + {})", arena.pointer, self.start(value, place)),
                    };
                    let written = listed.iter().take(writes).any(|&other| other == value);
                    let (name, qualifier) =
                        if written { (self.fresh("out"), "") } else { (self.fresh("in"), "const ") };
                    // Through void, since the compiler cannot know that the offset is aligned.
                    let line = format!(
                        "{qualifier}{ty} *{restrict}const {name} = ({qualifier}{ty} *)(void *){start};"
                    );
                    self.line(&line);
                    self.memories.insert(value, name);
                }
                _ => {}
            }
        }
        for arena in unused {
            self.line(&format!("(void){};", arena.pointer));
        }
    }

    /// Whether the kernel's function writes no byte through one pointer that it reads through another. Of two buffers in
    /// one piece these are bytes that they share. Where rows are scattered and the function makes one row, a valid plan
    /// has that row over none that is read then, unless the kernel permits it.
    fn buffers_are_disjoint(&self, kernel: Op, one_row: bool) -> bool {
        let buffers = &self.function.ops[kernel].operands;
        let Some(LoopOp::Kernel(kernel)) = self.op(kernel) else { return false };
        let placed: Vec<(usize, &Buffer, &Place)> = buffers
            .iter()
            .enumerate()
            .filter_map(|(i, &value)| match self.op(self.function.defining_op(value)?)? {
                LoopOp::Buffer(buffer) => Some((i, buffer, buffer.place.as_ref()?)),
                _ => None,
            })
            .collect();
        let apart = |&(i, a, at): &(usize, &Buffer, &Place), &(j, b, bt): &(usize, &Buffer, &Place)| {
            let share = at.region == bt.region && at.start() < bt.end() && bt.start() < at.end();
            let by_row = one_row && (a.scattered || b.scattered);
            !share || i >= kernel.writes || (by_row && !kernel.in_place.contains(&[i, j]))
        };
        placed.iter().enumerate().all(|(i, a)| placed[i + 1..].iter().all(|b| apart(a, b)))
    }

    /// The name of constants, or the variable that points to those of a layer.
    fn constants(&mut self, value: Value, own: &str) -> String {
        let names = |value: Value| match self.op(self.function.defining_op(value)?)? {
            LoopOp::Data(data) => Some(self.names.data(&data.value.name).to_owned()),
            _ => None,
        };
        let own = self.names.data(own).to_owned();
        let of_all = self.class.map_or_else(Vec::new, |class| class.memories(value));
        let of_all: Vec<String> = of_all.into_iter().filter_map(names).collect();
        if of_all.iter().all(|name| *name == own) {
            return own;
        }
        let name = self.fresh("data");
        self.fields.pointer(element_type(self.memref(value).element), &name, of_all);
        name
    }

    /// Where a buffer begins in its arena.
    fn start(&mut self, value: Value, own: &Place) -> String {
        let place = |value: Value| match self.op(self.function.defining_op(value)?)? {
            LoopOp::Buffer(buffer) => buffer.place.as_ref(),
            _ => None,
        };
        let of_all = self.class.map_or_else(|| vec![value], |class| class.memories(value));
        let starts = |value: Value| place(value).unwrap_or(own).start() as i64;
        let starts: Vec<i64> = of_all.into_iter().map(starts).collect();
        self.fields.number(&starts, false).text
    }

    /// The table of a buffer's rows, or the variable that points to that of a layer.
    fn row_table(&mut self, buffer: Value) -> Option<(String, usize)> {
        let RowTable { name: own, ty, factor } = self.tables.get(buffer)?;
        if let Some(name) = self.row_tables.get(&buffer) {
            return Some((name.clone(), *factor));
        }
        let of_all = self.class.map_or_else(|| vec![buffer], |class| class.memories(buffer));
        let tables = of_all.into_iter().filter_map(|buffer| self.tables.get(buffer));
        let of_all: Vec<String> = tables.map(|table| table.name.clone()).collect();
        let name = match of_all.iter().all(|name| name == own) {
            true => own.clone(),
            false => {
                let name = self.fresh("rows");
                self.fields.pointer(ty, &name, of_all);
                name
            }
        };
        self.row_tables.insert(buffer, name.clone());
        Some((name, *factor))
    }

    /// Where a row of a scattered buffer begins, in elements from the start of its arena.
    pub(super) fn row_start(&mut self, memory: Option<Value>, row: &Expression) -> Expression {
        let table = memory.and_then(|memory| self.row_table(memory));
        let Some((table, factor)) = table else { return Expression::literal("0") };
        let entry = Expression::subscript(&table, row);
        match factor {
            1 => entry,
            _ => {
                Expression::binary(&entry, "*", &Expression::literal(factor.to_string()), Precedence::Product)
            }
        }
    }
}
