//! Sets of small numbers, as bits.

/// A set of numbers below a limit that its maker chose.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Set(Box<[u64]>);

impl Set {
    /// The empty set of numbers below `limit`.
    pub fn below(limit: usize) -> Self {
        Self(vec![0; limit.div_ceil(64)].into())
    }

    /// Whether a number is in the set.
    pub fn has(&self, number: usize) -> bool {
        self.0[number / 64] & (1 << (number % 64)) != 0
    }

    /// Adds a number.
    pub fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    /// Adds the numbers of a set of the same limit.
    pub fn extend(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    /// Whether all numbers of the set are in another of the same limit.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }
}
