//! What a picture of the arena is made of: for each buffer, which bytes hold some of it during which steps.

use crate::report::memory::place;
use mcunet_ir::Function;
use mcunet_passes::analysis::liveness::{BufferLife, Interval};
use std::ops::Range;

/// Bytes of the arena that hold a part of a buffer from one step to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Bytes of the arena.
    pub bytes: Range<usize>,
    /// First and last step.
    pub steps: Interval,
}

/// The pieces of a buffer, wherever its plan puts them, if the arena of its region begins at `base`; none if it is not
/// planned.
pub fn pieces(function: &Function, life: &BufferLife, base: usize) -> Vec<Piece> {
    let Some(place) = place(function, life) else { return Vec::new() };
    let mut pieces = Vec::new();
    for (slot, lives) in life.slots.iter().enumerate() {
        let start = match life.scattered {
            true => place.offsets.get(slot).copied(),
            false => Some(place.start() + slot * life.slot_bytes),
        };
        let Some(start) = start else { continue };
        let bytes = base + start..base + start + life.bytes_of(slot);
        pieces.extend(lives.iter().map(|&steps| Piece { bytes: bytes.clone(), steps }));
    }
    pieces
}
