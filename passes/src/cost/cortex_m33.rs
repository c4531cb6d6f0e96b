//! Cortex-M33: one instruction at a time, results of loads and multiplications a cycle late.
//!
//! Source: jnk0le/random, from which the simulator has its rules. The compiler fills about half of the cycles in which a
//! result is awaited. Not calibrated.

use super::{Isa, Timing};

/// The table.
pub const TIMING: Timing = Timing {
    isa: Isa { dsp: true, float: true, wide: true, multiply_accumulate: true, long: true, registers: 14 },
    alu: 1.0,
    lane_op: 1.0,
    condition: 1.0,
    multiply: 1.3,
    long_multiply: 1.5,
    paired: 1.0,
    division: 6.0,
    load: 1.5,
    narrow_load: 0.0,
    load_pair: 2.5,
    scheduled_load: 1.0,
    load_run: 0.5,
    unaligned_load: 1.0,
    scheduled_store: 1.0,
    store: 1.0,
    saved_word: 1.1,
    untaken: 1.0,
    taken: 2.0,
    surprise: 0.0,
    float_add: 1.5,
    float_multiply: 1.5,
    float_division: 14.0,
    instruction_bytes: 3.2,
};
