//! Cortex-M33.

use super::{Isa, Timing};

/// The table.
pub const TIMING: Timing = Timing {
    isa: Isa { dsp: true, float: true, wide: true, multiply_accumulate: true, long: true, registers: 14 },
    alu: 1.0,
    condition: 1.0,
    multiply: 1.0,
    long_multiply: 1.0,
    division: 6.0,
    load: 1.2,
    load_pair: 3.0,
    store: 1.0,
    saved_word: 1.1,
    untaken: 1.0,
    taken: 2.0,
    surprise: 0.0,
    float_add: 1.0,
    float_multiply: 1.0,
    float_division: 14.0,
    instruction_bytes: 3.2,
};
