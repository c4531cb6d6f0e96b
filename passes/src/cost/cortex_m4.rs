//! Cortex-M4: one instruction at a time.
//!
//! Cycles without a note: Arm Cortex-M4 Technical Reference Manual (100166), section 3.3.1, with a pipeline refill of one cycle.
//! - `load`: two cycles, one if the next instruction is a load that the first can be pipelined with. How often gcc places
//!   them so, and how often 32-bit instructions that straddle words stall the fetch on top, was measured: cycles of the
//!   simulator, less instructions and taken branches, are 0.95 per load over the 705 layers of 22 models.
//! - `store`: one cycle; half of them are followed by a load, which waits for it, or follow one that they don't hide.
//! - `float_add`, `float_multiply`: one cycle, and another where the next instruction waits for the result.
//! - `condition`: an IT instruction after a 16-bit instruction is folded into it, which two out of three are.
//! - `instruction_bytes`: of the loops that were looked at, six in ten instructions are 32 bits wide.

use super::{Isa, Timing};

/// The table.
pub const TIMING: Timing = Timing {
    isa: Isa { dsp: true, float: true, wide: true, multiply_accumulate: true, long: true, registers: 14 },
    alu: 1.0,
    lane_op: 1.0,
    condition: 0.3,
    multiply: 1.0,
    long_multiply: 1.0,
    paired: 1.0,
    division: 6.0,
    load: 1.95,
    narrow_load: 0.0,
    load_pair: 3.0,
    scheduled_load: 1.0,
    load_run: 1.0,
    unaligned_load: 1.1,
    scheduled_store: 1.0,
    store: 1.5,
    saved_word: 1.15,
    untaken: 1.0,
    taken: 2.0,
    surprise: 0.0,
    float_add: 1.1,
    float_multiply: 1.1,
    float_division: 14.0,
    instruction_bytes: 3.2,
};
