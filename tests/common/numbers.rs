//! Numbers for networks that tests make.

/// Numbers that look random, the same in every run.
pub struct Numbers(pub u32);

impl Numbers {
    /// The next, from `low` to `high`.
    pub fn next(&mut self, low: i32, high: i32) -> i32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        low + (self.0 >> 8) as i32 % (high - low + 1)
    }

    /// So many of them, as text.
    pub fn list(&mut self, count: usize, low: i32, high: i32) -> String {
        let numbers: Vec<String> = (0..count).map(|_| self.next(low, high).to_string()).collect();
        numbers.join(", ")
    }
}
