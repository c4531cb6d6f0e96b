//! Buffers of one size of which the one is overwritten in place with the next: they are placed as one.

use crate::analysis::liveness::{BufferLife, Interval, Liveness};

/// The first buffer of a group.
fn root(head: &[usize], mut buffer: usize) -> usize {
    while head[buffer] != buffer {
        buffer = head[buffer];
    }
    buffer
}

/// Whether lives meet only in steps in which one of `before` ends and one of `after` begins.
fn hands_over(before: &[Interval], after: &[Interval]) -> bool {
    let apart = |a: &Interval, b: &Interval| a[1] < b[0] || b[1] < a[0] || a[1] == b[0];
    before.iter().all(|a| after.iter().all(|b| apart(a, b)))
}

/// Buffers that are placed together, since each is overwritten in place with the next.
pub struct Groups {
    /// Group of every buffer.
    pub of_buffer: Vec<usize>,
    /// Buffers of every group.
    pub members: Vec<Vec<usize>>,
}

impl Groups {
    /// Groups of the pairs that have slots of the same sizes. Sharing is never worse than lying apart.
    pub fn of(liveness: &Liveness) -> Self {
        let count = liveness.buffers.len();
        let mut head: Vec<usize> = (0..count).collect();
        // What has been found of a group, at its first buffer.
        let mut lives: Vec<Vec<Vec<Interval>>> = liveness.buffers.iter().map(|b| b.slots.clone()).collect();
        for pair in &liveness.in_place {
            let (written, read) = (&liveness.buffers[pair.written], &liveness.buffers[pair.read]);
            let form = |buffer: &BufferLife| (buffer.bytes, buffer.slots.len(), buffer.scattered);
            let alike = form(written) == form(read);
            let root = root(&head, pair.read);
            // A buffer gets the bytes of one other.
            let fits =
                lives[root].iter().zip(&written.slots).all(|(before, after)| hands_over(before, after));
            if alike && fits && head[pair.written] == pair.written {
                head[pair.written] = root;
                for (slot, more) in lives[root].iter_mut().zip(&written.slots) {
                    slot.extend(more);
                    slot.sort_unstable();
                }
            }
        }
        let root = |i: usize| root(&head, i);
        let roots: Vec<usize> = (0..count).filter(|&i| head[i] == i).collect();
        let of_buffer: Vec<usize> =
            (0..count).map(|i| roots.binary_search(&root(i)).unwrap_or_default()).collect();
        let mut members = vec![Vec::new(); roots.len()];
        for (i, &group) in of_buffer.iter().enumerate() {
            members[group].push(i);
        }
        Self { of_buffer, members }
    }
}
