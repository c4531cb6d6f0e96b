//! Bytes as a `.tflite` file. See `testing/src/bodies.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mcunet_testing::bodies::tflite(bytes));
