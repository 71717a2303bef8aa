//! libFuzzer on `edge::fuzzing::proxy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::proxy(data));
