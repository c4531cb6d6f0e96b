//! Cortex-M0+: 16-bit instructions, two cycles for each access.
//!
//! Source: Arm Cortex-M0+ Technical Reference Manual (DDI 0484C), table 3-1, with the single-cycle multiplier. Only eight
//! registers can be computed with; the others keep values at the price of a move. Floats and divisions are calls of a
//! library, whose instructions are counted as arithmetic. Not calibrated.

use super::{Isa, Timing};

/// The table.
pub const TIMING: Timing = Timing {
    isa: Isa {
        dsp: false,
        float: false,
        wide: false,
        multiply_accumulate: false,
        long: false,
        registers: 10,
    },
    alu: 1.0,
    lane_op: 1.0,
    condition: 1.0,
    multiply: 1.0,
    long_multiply: 1.0,
    paired: 1.0,
    division: 1.0,
    load: 2.0,
    narrow_load: 0.0,
    load_pair: 4.0,
    scheduled_load: 2.0,
    load_run: 0.0,
    unaligned_load: 0.0,
    scheduled_store: 2.0,
    store: 2.0,
    saved_word: 1.1,
    untaken: 1.0,
    taken: 2.0,
    surprise: 0.0,
    float_add: 1.0,
    float_multiply: 1.0,
    float_division: 1.0,
    instruction_bytes: 2.0,
};
