//! Bytes as the choices of the random graph generator. See `testing/src/bodies.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mcunet_testing::bodies::graph(bytes));
