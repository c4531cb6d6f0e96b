//! Addresses in loops: accesses that differ by a literal share a pointer.
//!
//! A load or store reaches 4095 bytes beyond its pointer. The pointer moves with the loop: by an addition, or by the access
//! itself where that steps by its own size (gcc looks for no other step). Accesses through `memcpy`, which unaligned words
//! are read by, don't move pointers.

use mcunet_ir::module::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that an access reaches beyond its pointer.
const REACH: i64 = 4096;

/// Pointers of one group at most; more than registers is enough.
const MAX_POINTERS: usize = 64;

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

/// Accesses through one pointer, or several that are as far apart as they are copied.
#[derive(Clone, Debug)]
pub struct Group {
    /// How they are made.
    pub access: Access,
    bytes: [i64; 2],
    /// Copies of each access, by its first byte, that have pointers of their own.
    apart: BTreeMap<i64, usize>,
    segments: BTreeSet<usize>,
    accesses: usize,
}

impl Group {
    /// No accesses yet.
    pub fn new(access: Access) -> Self {
        Self {
            access,
            bytes: [i64::MAX, i64::MIN],
            apart: BTreeMap::new(),
            segments: BTreeSet::new(),
            accesses: 0,
        }
    }

    /// Adds accesses from the first to the last of `bytes`, in a run of instructions.
    pub fn add(&mut self, bytes: [i64; 2], access: Access, segment: usize, apart: usize) {
        self.bytes = [self.bytes[0].min(bytes[0]), self.bytes[1].max(bytes[1])];
        self.access.plain &= access.plain;
        self.segments.insert(segment);
        self.accesses += 1;
        if apart > 1 {
            self.apart.insert(bytes[0], apart);
        }
    }

    /// Pointers that reach all of them.
    pub fn pointers(&self) -> usize {
        if !self.apart.is_empty() {
            return self.apart.values().sum();
        }
        let far = self.bytes[1].saturating_sub(self.bytes[0]) / REACH;
        1 + usize::try_from(far).unwrap_or(0).min(MAX_POINTERS)
    }

    /// Whether there is one access, of one element.
    pub fn is_single(&self) -> bool {
        self.accesses == 1 && self.access.plain && self.bytes[0] == self.bytes[1]
    }

    /// Runs of instructions that use the pointer.
    pub fn uses(&self) -> usize {
        self.segments.len()
    }

    /// How often the pointer is moved by `step` bytes by an access instead of an addition. Words that are read at any
    /// alignment do it where the last of them has no offset: in half of the loops that were looked at.
    pub fn moved_by_access(&self, step: i64) -> f64 {
        match self.access.plain {
            true if step == self.access.element_bytes => 1.0,
            true => 0.0,
            false => 0.5,
        }
    }
}
