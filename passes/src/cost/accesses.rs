//! Loads and stores, and the pointers they need.

use super::linear::{Linear, linear};
use super::mix::Mix;
use super::pointers::{Access, Group, Key};
use super::scope::find;
use super::values::Varies;
use super::walk::{Frame, Walk};
use mcunet_ir::loops::LoopOp;
use mcunet_ir::module::{Op, OpKind, Value};
use mcunet_ir::types::{Packed, Type};

/// A sum that is an offset.
struct Offset {
    /// The sum without the counters of unrolled loops.
    sum: Linear,
    /// How far those make it reach.
    reach: i64,
    /// In which loops it varies.
    varies: Varies,
}

impl Walk<'_> {
    fn offset(&self, value: Value) -> Offset {
        let represent = |value: Value| Linear::value(self.representative(value));
        let mut sum = linear(self.function, value, &represent);
        let (mut reach, mut varies) = (0, Varies::default());
        for (position, frame) in self.frames.iter().enumerate().rev().filter(|(_, frame)| frame.unrolled) {
            let Some(induction) = frame.induction else { continue };
            if let Some(factor) = sum.terms.remove(&induction) {
                varies.copies.insert(position, frame.trips);
                let far = frame.step.saturating_mul((frame.trips as i64 - 1).max(0));
                reach = far.saturating_mul(factor.saturating_abs()).saturating_add(reach);
                if let Some(lower) = frame.lower {
                    sum = sum.plus(&linear(self.function, lower, &represent), factor);
                }
            }
        }
        let varies = sum.terms.keys().fold(varies, |all, &term| all.and(&self.varies(term)));
        Offset { sum, reach, varies }
    }

    fn is_constant(&self, memory: Value) -> bool {
        let definition = self.function.defining_op(memory);
        definition.is_some_and(|op| !matches!(self.function.ops[op].kind, OpKind::Loop(LoopOp::Buffer(_))))
    }

    fn element_bytes(&self, memory: Value) -> i64 {
        self.function.ty(memory).as_memref().map_or(1, |ty| ty.element.size_bytes() as i64)
    }

    /// Notes an access; returns what its address consists of, its first byte, and in which loops it varies.
    fn access(&mut self, memory: Value, offset: Value, access: Access) -> (Key, i64, Varies) {
        let Offset { sum, reach, varies } = self.offset(offset);
        let innermost = self.innermost();
        let home = if access.constant { varies.level } else { innermost };
        let bytes = access.element_bytes;
        let first = sum.constant.saturating_mul(bytes);
        let key = Key { memory, terms: sum.terms.into_iter().collect() };
        // Addresses of words at any alignment that a loop does not change are kept one by one.
        let apart = !access.plain && !access.constant && varies.level < innermost;
        let copies = if apart { varies.times() as usize } else { 1 };
        let segment = self.segment;
        let group = self.frames[home].groups.entry(key.clone()).or_insert_with(|| Group::new(access));
        group.add([first, first.saturating_add(reach.saturating_mul(bytes))], access, segment, copies);
        (key, first, varies)
    }

    /// A load of an element, of packed ones, or of the place of a row from its table.
    pub fn load(&mut self, op: Op, kind: &LoopOp) {
        let function = self.function;
        let data = &function.ops[op];
        let [memory, offset] = data.operands[..] else { return };
        let result = data.results[0];
        let row = matches!(kind, LoopOp::Row(_));
        let lanes = matches!(function.ty(result), Type::Packed(Packed::I8x4 | Packed::I16x2));
        let constant = row || self.is_constant(memory);
        // Tables of rows have entries of two bytes.
        let element_bytes = if row { 2 } else { self.element_bytes(memory) };
        let access = Access { constant, plain: !lanes, element_bytes };
        let (key, first, varies) = self.access(memory, offset, access);
        let varies = if constant { varies } else { self.varies_here() };
        self.variance.insert(result, varies.clone());
        if constant {
            let name = (format!("{kind:?} {key:?} {first}"), Vec::new());
            if let Some(known) = find(&self.scopes, &name) {
                self.representatives.insert(result, known);
                return;
            }
            self.remember(&varies, name, result);
            let in_words = (element_bytes == 4 || lanes) && *function.ty(result) != Type::F32;
            if in_words && varies.level == self.innermost() {
                let segment = self.segment;
                let last = self.scopes.len() - 1;
                self.scopes[last].words.push((segment, key, first));
            }
        }
        let words = if *function.ty(result) == Type::I64 { 2.0 } else { 1.0 };
        let narrow_loads = if element_bytes < 4 && !lanes { 1.0 } else { 0.0 };
        let mix = match constant {
            true => Mix { flash_loads: words, narrow_loads, ..Mix::default() },
            false => Mix { ram_loads: words, narrow_loads, ..Mix::default() },
        };
        self.place(&varies, mix);
    }

    /// A store of an element.
    pub fn store(&mut self, op: Op) {
        let [value, memory, offset] = self.function.ops[op].operands[..] else { return };
        let element_bytes = self.element_bytes(memory);
        self.access(memory, offset, Access { constant: false, plain: true, element_bytes });
        let value = self.representative(value);
        self.read_outside(value);
        let words = if element_bytes > 4 { 2.0 } else { 1.0 };
        self.add_here(Mix { ram_stores: words, ..Mix::default() });
    }

    /// A call of memmove or memset: words in a loop of four, bytes if they are no words.
    pub fn move_bytes(&mut self, memory: Value, loads: bool, count: usize) {
        let bytes = count as i64 * self.element_bytes(memory);
        let in_words = bytes % 4 == 0;
        let units = if in_words { bytes / 4 } else { bytes } as f64;
        let trips = if in_words { units / 4.0 } else { units };
        let call = Mix { alu: 4.0, taken: 1.0, ..Mix::default() };
        self.add_here(call);
        // What the library does is executed here, but its code is not part of the layer.
        let inside = Mix {
            alu: 12.0 + 3.0 * trips,
            ram_loads: if loads { units } else { 0.0 },
            ram_stores: units,
            taken: 2.0 + trips,
            untaken: 4.0,
            surprises: 2.0,
            ..Mix::default()
        };
        let executions = self.executions_here();
        self.add(executions, 0.0, inside);
    }

    /// Decides how the addresses of the innermost loop are made.
    pub fn settle_pointers(&mut self) {
        let at = self.frames.len() - 1;
        let groups = std::mem::take(&mut self.frames[at].groups);
        for (key, group) in groups {
            let varies: Vec<Varies> = key.terms.iter().map(|&(term, _)| self.varies(term)).collect();
            let all = varies.iter().fold(Varies::default(), Varies::and);
            let pointers = group.pointers() * all.times() as usize;
            let moves = (1..=at).any(|level| self.is_affine(&key, &varies, level));
            let uses = group.uses();
            self.frames[at]
                .needs
                .pointers
                .extend(std::iter::repeat_n((uses, moves && all.level == at), pointers));
            if all.level == 0 && self.made.insert((key.clone(), 0)) {
                let Frame { count, copies, .. } = self.frames[0];
                // The address of a constant is a literal in the code, that of a buffer a sum.
                let sums = (key.terms.len() * pointers) as f64;
                self.add(count, copies, Mix { flash_loads: 1.0, alu: sums, ..Mix::default() });
            }
            for level in (1..=at).filter(|&level| varies.iter().any(|varies| varies.level == level)) {
                let pairs = || key.terms.iter().zip(&varies);
                let part: Vec<(Value, i64)> =
                    pairs().filter(|(_, varies)| varies.level <= level).map(|(&term, _)| term).collect();
                let here = pairs().filter(|(_, varies)| varies.level == level).count();
                if !self.made.insert((Key { memory: key.memory, terms: part }, level)) {
                    continue;
                }
                let affine = self.is_affine(&key, &varies, level);
                let frame = &mut self.frames[level];
                let (count, copies, entries) = (frame.count, frame.copies, frame.entries);
                let each = Mix::alu(pointers as f64);
                if !affine {
                    // One access alone adds the last term itself: it takes two registers.
                    let added = here - usize::from(level == at && group.is_single());
                    self.add(count, copies, each * added as f64);
                    continue;
                }
                frame.steps = true;
                let factor =
                    pairs().find(|(_, varies)| varies.level == level).map_or(0, |(&(_, factor), _)| factor);
                let step = factor.saturating_mul(frame.step).saturating_mul(group.access.element_bytes);
                let moved = if level == at { group.moved_by_access(step) } else { 0.0 };
                self.add(count, copies, each * (1.0 - moved));
                self.add(entries, copies, each);
            }
        }
    }

    /// Whether an address moves by the same distance in every iteration of the loop at `level`.
    fn is_affine(&self, key: &Key, varies: &[Varies], level: usize) -> bool {
        let mut here = key.terms.iter().zip(varies).filter(|(_, varies)| varies.level == level);
        let first = here.next().is_some_and(|((term, _), _)| self.frames[level].induction == Some(*term));
        first && here.next().is_none()
    }
}
