//! The random source of all tests: choices from a seed, or from a fuzzer's bytes.
//!
//! One type for both, so that a generator written for property tests is a fuzz target's as well. A seed means the same
//! choices on every machine; bytes that run out give the least choice, so that a generator always ends.

use arbitrary::Unstructured;

/// A source of choices.
#[derive(Debug)]
pub struct Random<'a>(Source<'a>);

#[derive(Debug)]
enum Source<'a> {
    Seed(fastrand::Rng),
    Bytes(Unstructured<'a>),
}

impl Random<'static> {
    /// Choices that follow from a number.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seed(fastrand::Rng::with_seed(seed)))
    }
}

impl<'a> Random<'a> {
    /// Choices that follow from bytes.
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Self(Source::Bytes(Unstructured::new(bytes)))
    }

    /// A seeded source that follows from this one: for bulk data, which would use up a fuzzer's bytes.
    pub fn fork(&mut self) -> Random<'static> {
        let seed = match &mut self.0 {
            Source::Seed(rng) => rng.u64(..),
            Source::Bytes(bytes) => bytes.arbitrary().unwrap_or_default(),
        };
        Random::seeded(seed)
    }

    /// A number of `low..=high`.
    pub fn range(&mut self, low: i64, high: i64) -> i64 {
        match &mut self.0 {
            Source::Seed(rng) => rng.i64(low..=high),
            Source::Bytes(bytes) => bytes.int_in_range(low..=high).unwrap_or(low),
        }
    }

    /// A number of `low..=high`.
    pub fn size(&mut self, low: usize, high: usize) -> usize {
        self.range(low as i64, high as i64) as usize
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.size(0, limit.max(1) - 1)
    }

    /// One of the items, which are at least one.
    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    /// A fair coin.
    pub fn flag(&mut self) -> bool {
        self.range(0, 1) == 1
    }

    /// Whether the rarer of two things happens, once in `n` times.
    pub fn one_in(&mut self, n: i64) -> bool {
        self.range(1, n) == n
    }

    /// A number of `[low, high)`.
    pub fn real(&mut self, low: f32, high: f32) -> f32 {
        const STEPS: i64 = 1 << 24;
        low + (high - low) * (self.range(0, STEPS - 1) as f32 / STEPS as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_bytes_run_out_at_the_least_choice() {
        let draw = |random: &mut Random<'_>| (0..8).map(|_| random.range(3, 900)).collect::<Vec<_>>();
        assert_eq!(draw(&mut Random::seeded(7)), draw(&mut Random::seeded(7)));
        assert_ne!(draw(&mut Random::seeded(7)), draw(&mut Random::seeded(8)));
        assert_eq!(draw(&mut Random::from_bytes(&[])), [3; 8]);
    }
}
