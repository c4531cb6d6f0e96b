//! Runs a property on seeds: a fixed number of them always, then more until a time is up.
//!
//! `MCUNETC_PROPERTY_SECONDS` is the time of one property (default 5), `MCUNETC_PROPERTY_SEED` runs that seed alone.
//! What a seed means does not depend on the machine, so a seed that failed anywhere fails everywhere.

use crate::tools::assert_none_fail;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Time that one property or fuzz body may take beyond its fixed part.
pub fn budget() -> Duration {
    let seconds = std::env::var("MCUNETC_PROPERTY_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

/// The one seed that `MCUNETC_PROPERTY_SEED` asks for.
fn asked() -> Option<u64> {
    std::env::var("MCUNETC_PROPERTY_SEED").ok()?.parse().ok()
}

/// What is wrong with a seed, and how to repeat it.
fn failure(seed: u64, body: impl Fn(u64) -> Result<(), String>) -> Result<(), String> {
    let result = catch_unwind(AssertUnwindSafe(|| body(seed))).unwrap_or(Err("it panicked".to_owned()));
    result.map_err(|error| format!("seed {seed} (repeat with MCUNETC_PROPERTY_SEED={seed}): {error}"))
}

/// Runs `body` on the seeds from 0 on: `least` of them, then more while the budget lasts.
///
/// # Panics
/// If `body` fails or panics; the message has the seed.
pub fn for_seeds(least: u64, body: impl Fn(u64) -> Result<(), String>) {
    let check = |seed: u64| failure(seed, &body).unwrap_or_else(|error| panic!("{error}"));
    if let Some(seed) = asked() {
        return check(seed);
    }
    let start = Instant::now();
    let mut seed = 0;
    while seed < least || start.elapsed() < budget() {
        check(seed);
        seed += 1;
    }
    println!("{seed} seeds");
}

/// As [`for_seeds`], for bodies that wait for other programs: batches of `batch` seeds on two threads.
///
/// # Panics
/// If `body` fails or panics for a seed; the message has all such seeds of the batch.
pub fn for_seed_batches(batch: u64, body: impl Fn(u64) -> Result<(), String> + Sync) {
    let check = |seed: &u64| failure(*seed, &body);
    if let Some(seed) = asked() {
        return assert_none_fail(&[seed], check);
    }
    let start = Instant::now();
    let mut first = 0;
    while first == 0 || start.elapsed() < budget() {
        assert_none_fail(&(first..first + batch).collect::<Vec<_>>(), check);
        first += batch;
    }
    println!("{first} seeds");
}
