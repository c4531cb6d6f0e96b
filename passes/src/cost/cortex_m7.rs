//! Cortex-M7.

use super::{Isa, Timing};

/// The table.
pub const TIMING: Timing = Timing {
    isa: Isa { dsp: true, float: true, wide: true, multiply_accumulate: true, long: true, registers: 14 },
    alu: 0.58,
    condition: 0.6,
    multiply: 0.95,
    long_multiply: 1.0,
    division: 6.0,
    load: 0.95,
    load_pair: 1.0,
    store: 1.2,
    saved_word: 0.5,
    untaken: 0.5,
    taken: 0.8,
    surprise: 7.0,
    float_add: 1.0,
    float_multiply: 1.0,
    float_division: 16.0,
    instruction_bytes: 3.2,
};
