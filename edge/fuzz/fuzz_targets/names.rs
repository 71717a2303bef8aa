//! libFuzzer on `edge::fuzzing::names`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::names(data));
