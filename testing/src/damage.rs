//! Damaged inputs: flipped bits, cuts, and pieces of another input.

use crate::Random;

/// `bytes` with up to four changes; `other` gives what is spliced in.
pub fn damage(random: &mut Random<'_>, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for _ in 0..random.size(1, 4) {
        let at = random.below(damaged.len());
        match random.below(6) {
            0 => damaged.truncate(at),
            1 => {
                let from = random.below(other.len());
                let length = random.below(64).min(other.len() - from);
                let end = (at + length).min(damaged.len());
                damaged.splice(at..end, other[from..from + length].iter().copied());
            }
            _ => {
                if let Some(byte) = damaged.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    damaged
}
