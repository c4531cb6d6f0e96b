//! Machine instructions of a piece of code, by how cores time them.

use std::ops::{Add, AddAssign, Mul};

macro_rules! define_mix {
    ($($(#[$doc:meta])* $field:ident),+ $(,)?) => {
        /// Instructions by kind. They are averages over executions, hence no integers.
        #[derive(Clone, Copy, PartialEq, Debug, Default)]
        pub struct Mix { $($(#[$doc])* pub $field: f64),+ }

        impl Add for Mix {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self { $($field: self.$field + other.$field),+ }
            }
        }

        impl Mul<f64> for Mix {
            type Output = Self;
            fn mul(self, times: f64) -> Self {
                Self { $($field: self.$field * times),+ }
            }
        }
    };
}

define_mix! {
    /// Integer arithmetic, moves and comparisons.
    alu,
    /// Arithmetic on the lanes of words, and saturation: what only one of two pipelines has.
    lane_ops,
    /// IT instructions, which make those that follow conditional.
    conditions,
    /// Multiplications with a 32-bit result, with or without an addition, of words or of two halfwords.
    multiplies,
    /// Multiplications with a 64-bit result.
    long_multiplies,
    /// Arithmetic that cores that issue two instructions at a time issue together with another, since it was placed so by hand.
    paired,
    /// Loads of a word from RAM, placed like that.
    paired_ram_loads,
    /// The same from constants.
    paired_flash_loads,
    /// Divisions.
    divisions,
    /// Loads of one word or less from RAM.
    ram_loads,
    /// Loads of one word or less from constants.
    flash_loads,
    /// Loads of one word from the stack: values that don't fit the registers.
    stack_loads,
    /// Loads of less than a word, among those above.
    narrow_loads,
    /// Loads of two words from constants at once.
    flash_pairs,
    /// Loads of one word from RAM or the stack that were placed by hand, one after the other.
    scheduled_ram_loads,
    /// The same from constants.
    scheduled_flash_loads,
    /// Such loads that something else follows.
    load_runs,
    /// Loads of two words from RAM or the stack at once, placed by hand.
    ram_pairs,
    /// Words beyond two that such an instruction, or one that loads pairs from constants, loads.
    further_words,
    /// Loads among those above whose address is not a multiple of four.
    unaligned_loads,
    /// Stores that were placed by hand, one after the other.
    scheduled_stores,
    /// Stores to RAM.
    ram_stores,
    /// Stores to the stack.
    stack_stores,
    /// Words saved and restored around functions.
    saved_words,
    /// Branches that are not taken.
    untaken,
    /// Branches that are taken.
    taken,
    /// Branches that leave their usual direction, counted as taken or untaken too.
    surprises,
    /// Additions, comparisons and conversions of floats.
    float_adds,
    /// Multiplications of floats.
    float_multiplies,
    /// Divisions and square roots of floats.
    float_divisions,
}

impl AddAssign for Mix {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mix {
    /// So many arithmetic instructions.
    pub fn alu(count: f64) -> Self {
        Self { alu: count, ..Self::default() }
    }

    /// Instructions that are executed.
    pub fn instructions(&self) -> f64 {
        self.alu
            + self.lane_ops
            + self.conditions
            + self.multiplies
            + self.long_multiplies
            + self.all_paired()
            + self.divisions
            + self.loads()
            + self.scheduled_loads()
            + self.scheduled_stores
            + self.flash_pairs
            + self.ram_pairs
            + self.stores()
            // Nine registers are saved by one instruction, and restored by another.
            + self.saved_words / 9.0
            + self.untaken
            + self.taken
            + self.float_adds
            + self.float_multiplies
            + self.float_divisions
    }

    /// Loads of one word or less.
    pub fn loads(&self) -> f64 {
        self.ram_loads + self.flash_loads + self.stack_loads
    }

    /// What is issued together with another instruction.
    pub fn all_paired(&self) -> f64 {
        self.paired + self.paired_ram_loads + self.paired_flash_loads
    }

    /// Loads that were placed by hand.
    pub fn scheduled_loads(&self) -> f64 {
        self.scheduled_ram_loads + self.scheduled_flash_loads
    }

    /// Stores of one word or less.
    pub fn stores(&self) -> f64 {
        self.ram_stores + self.stack_stores
    }
}
