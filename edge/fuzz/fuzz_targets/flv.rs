//! libFuzzer on `edge::fuzzing::flv`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::flv(data));
