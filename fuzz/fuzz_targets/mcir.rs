//! Bytes as a module's text. See `testing/src/bodies.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mcunet_testing::bodies::mcir(bytes));
