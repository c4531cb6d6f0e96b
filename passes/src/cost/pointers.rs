//! Addresses in loops: accesses that differ by a literal share a pointer.
//!
//! A load or store reaches 4095 bytes beyond its pointer. The pointer moves with the loop: by an addition, or by the access
//! itself where that steps by its own size (gcc looks for no other step). Accesses through `memcpy`, which unaligned words
//! are read by, don't move pointers.

use mcunet_ir::module::Value;

/// Bytes that an access reaches beyond its pointer.
const REACH: i64 = 4096;

/// What accesses through one pointer have in common: the memory, and the terms of their offset.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// The memory.
    pub memory: Value,
    /// Values that the offset is a sum of, with their factors.
    pub terms: Vec<(Value, i64)>,
}

/// How memory is accessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Whether the memory is constant, so that it can be read before a loop instead of in it.
    pub constant: bool,
    /// Whether single elements are accessed.
    pub plain: bool,
    /// Bytes of an element.
    pub element_bytes: i64,
}

/// Accesses through one pointer.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// How they are made.
    pub access: Access,
    first: i64,
    last: i64,
    count: usize,
}

impl Group {
    /// No accesses yet.
    pub fn new(access: Access) -> Self {
        Self { access, first: i64::MAX, last: i64::MIN, count: 0 }
    }

    /// Adds accesses from byte `first` to byte `last`.
    pub fn add(&mut self, first: i64, last: i64, access: Access) {
        self.first = self.first.min(first);
        self.last = self.last.max(last);
        self.access.plain &= access.plain;
        self.count += 1;
    }

    /// Pointers that reach all of them.
    pub fn pointers(&self) -> usize {
        1 + usize::try_from((self.last - self.first) / REACH).unwrap_or(0)
    }

    /// Whether an access moves the pointer by `step` bytes itself.
    pub fn moves_itself(&self, step: i64) -> bool {
        self.access.plain && step == self.access.element_bytes
    }
}
