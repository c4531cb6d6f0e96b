//! Cortex-M3: as the M4, without its multiplier and floating-point unit.
//!
//! Source: Arm Cortex-M3 Technical Reference Manual (100165), section 3.3.1: MUL takes one cycle and MLA two, and nearly all
//! multiplications are MLA; long ones take three to seven. What is measured of the M4 is taken over. Not calibrated.

use super::{Isa, Timing, cortex_m4};

/// The table.
pub const TIMING: Timing = Timing {
    isa: Isa { dsp: false, float: false, ..cortex_m4::TIMING.isa },
    multiply: 2.0,
    long_multiply: 4.0,
    ..cortex_m4::TIMING
};
