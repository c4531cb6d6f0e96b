//! Cortex-M7: two instructions at a time where they may pair.
//!
//! Arm publishes no cycle counts. The simulator's rules are from jnk0le/random; which of the instructions of our loops pair
//! under them is what the figures below say, so they are averages that were chosen to agree with it over the layers of 22
//! models, not latencies:
//! - One multiplier, one store unit, no pair with the other: nearly a cycle each. Anything else issues in pairs, or would
//!   if it had not to wait: 0.55 to 0.6.
//! - `paired`: nothing, but what the multiplications that they are issued with take more than the figure above: a cycle each.
//! - `narrow_load`: bytes and halfwords arrive a cycle later than words do, and what waits for them is mostly a multiplication.
//! - `surprise`: seven cycles for a branch that was not predicted, which is one at the end of each loop.

use super::{Isa, Timing};

/// The table.
pub const TIMING: Timing = Timing {
    isa: Isa { dsp: true, float: true, wide: true, multiply_accumulate: true, long: true, registers: 14 },
    alu: 0.55,
    lane_op: 0.95,
    condition: 0.6,
    multiply: 0.95,
    long_multiply: 1.0,
    paired: 0.07,
    division: 6.0,
    load: 0.58,
    narrow_load: 0.6,
    load_pair: 1.0,
    scheduled_load: 0.35,
    load_run: 0.0,
    unaligned_load: 3.0,
    scheduled_store: 1.0,
    store: 1.0,
    saved_word: 0.5,
    untaken: 0.5,
    taken: 0.8,
    surprise: 7.0,
    float_add: 0.9,
    float_multiply: 0.9,
    float_division: 16.0,
    instruction_bytes: 3.2,
};
