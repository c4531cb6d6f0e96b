//! Cortex-M3: as the M4, without its multiplier and floating-point unit.
//!
//! Source: Arm Cortex-M3 Technical Reference Manual (100165), section 3.3.1: MUL takes one cycle and MLA two, and nearly all
//! multiplications are MLA; long ones take three to seven. What is measured of the M4 is taken over. Not calibrated.

use super::{Isa, Timing};

/// The table.
pub const TIMING: Timing = Timing {
    isa: Isa { dsp: false, float: false, wide: true, multiply_accumulate: true, long: true, registers: 14 },
    alu: 1.0,
    condition: 0.3,
    multiply: 2.0,
    long_multiply: 4.0,
    division: 6.0,
    load: 1.95,
    narrow_load: 0.0,
    load_pair: 3.0,
    store: 1.5,
    saved_word: 1.15,
    untaken: 1.0,
    taken: 2.0,
    surprise: 0.0,
    float_add: 1.0,
    float_multiply: 1.0,
    float_division: 14.0,
    instruction_bytes: 3.2,
};
