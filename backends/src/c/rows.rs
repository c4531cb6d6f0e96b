//! Tables that say where the rows of scattered buffers begin.
//!
//! An entry counts elements from the start of the arena, in sixteen bits where that reaches: as they are, or in units of
//! four bytes, or else in 32 bits. Buffers whose rows lie at the same places share a table.

use super::weights::initializer;
use mcunet_ir::loops::LoopOp;
use mcunet_ir::module::{Function, OpKind, Value};
use mcunet_ir::tensor::Data;
use std::collections::HashMap;
use std::fmt::Write;

/// Bytes that all rows begin at a multiple of, where planning aligns them.
const UNIT: usize = 4;

/// The table of a buffer.
#[derive(Clone, Debug)]
pub struct RowTable {
    /// Its name.
    pub name: String,
    /// Type of its entries.
    pub ty: &'static str,
    /// What they are to be multiplied with, to be elements.
    pub factor: usize,
}

/// The tables of a function.
#[derive(Clone, Debug, Default)]
pub struct RowTables {
    /// Table of every scattered buffer.
    of_buffer: HashMap<Value, RowTable>,
    /// Definitions of the tables.
    pub text: String,
}

impl RowTables {
    /// Tables of the scattered buffers of a planned function.
    pub fn of(function: &Function) -> Self {
        let mut tables = Self::default();
        // Tables by type and entries.
        let mut known: HashMap<(&str, String), String> = HashMap::new();
        for &op in &function.blocks[function.body].ops {
            let OpKind::Loop(LoopOp::Buffer(buffer)) = &function.ops[op].kind else { continue };
            let value = function.ops[op].results[0];
            let (Some(place), Some(memref), true) =
                (&buffer.place, function.ty(value).as_memref(), buffer.scattered)
            else {
                continue;
            };
            let (entries, factor) = entries(&place.offsets, memref.element.size_bytes());
            let ty = if matches!(entries, Data::U16(_)) { "uint16_t" } else { "int32_t" };
            let next = format!("rows_{:02}", known.len());
            let name = known.entry((ty, initializer(&entries))).or_insert_with_key(|(ty, values)| {
                let count = entries.len();
                // Writing to a String cannot fail.
                let _ = write!(tables.text, "static const {ty} {next}[{count}] = {{\n{values}}};\n");
                next
            });
            tables.of_buffer.insert(value, RowTable { name: name.clone(), ty, factor });
        }
        if !tables.text.is_empty() {
            let comment = "/* Where in the arena rows begin that are kept one by one, for as long as they are needed. */\n";
            tables.text = format!("{comment}{}\n", tables.text);
        }
        tables
    }

    /// Table of a scattered buffer.
    pub fn get(&self, buffer: Value) -> Option<&RowTable> {
        self.of_buffer.get(&buffer)
    }
}

/// The offsets in bytes as entries, and elements per unit.
fn entries(offsets: &[usize], element_bytes: usize) -> (Data, usize) {
    for unit in [element_bytes, element_bytes.max(UNIT)] {
        let fits =
            |&offset: &usize| u16::try_from(offset / unit).ok().filter(|_| offset.is_multiple_of(unit));
        if let Some(entries) = offsets.iter().map(fits).collect() {
            return (Data::U16(entries), unit / element_bytes);
        }
    }
    // Arenas end below 2^31.
    (Data::I32(offsets.iter().map(|&offset| (offset / element_bytes) as i32).collect()), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_take_the_fewest_bits() {
        assert_eq!(entries(&[0, 65535], 1), (Data::U16(vec![0, 65535]), 1));
        assert_eq!(entries(&[4, 131072], 1), (Data::U16(vec![1, 32768]), 4));
        assert_eq!(entries(&[4, 131072], 2), (Data::U16(vec![1, 32768]), 2));
        assert_eq!(entries(&[3, 131072], 1), (Data::I32(vec![3, 131072]), 1));
        assert_eq!(entries(&[8, 524280], 8), (Data::U16(vec![1, 65535]), 1));
    }
}
